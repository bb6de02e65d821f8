"""JPEG, decoded by libjpeg-turbo itself: the same pixels as Pillow's in two thirds of the time, without the GIL."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import simplejpeg

from translate.data import pil


def decode(data: bytes) -> np.ndarray:
    """The values as stored: (H, W, 1 or 3) uint8, the first picture of several.

    simplejpeg refuses every file that libjpeg has a word about. Pillow then reads what is harmless, such as bytes
    between the parts, and says what is wrong with the rest.
    """
    try:
        grey = simplejpeg.decode_jpeg_header(data)[2] == "Gray"
        return simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB")
    except ValueError:
        return pil.decode(pil.open_pillow(BytesIO(data), "jpeg"))
