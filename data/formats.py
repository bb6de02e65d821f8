"""The kinds of picture files: how they are named, how they begin, and what they can hold."""

from __future__ import annotations

import numpy as np

from translate.data import png
from translate.data.picture import DTYPES, ImageError

FORMATS = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".webp": "webp",
    ".bmp": "bmp",
}
IMAGE_SUFFIXES = tuple(FORMATS)
SIGNATURES = {
    png.SIGNATURE: "png",
    b"\xff\xd8\xff": "jpeg",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",  # BigTIFF
    b"MM\0+": "tiff",
    b"RIFF": "webp",
    b"BM": "bmp",
}
HOLDS = {  # format -> how many of DTYPES, and whether alpha
    "png": (DTYPES[:2], True),
    "tiff": (DTYPES, True),
    "webp": (DTYPES[:1], True),
    "jpeg": (DTYPES[:1], False),
    "bmp": (DTYPES[:1], False),
}


def holds(format: str, dtype: np.dtype | type, has_alpha: bool) -> bool:
    """Whether files of this format can hold such pictures."""
    dtypes, alpha = HOLDS[format]
    return np.dtype(dtype) in dtypes and (alpha or not has_alpha)


def lossless_suffix(format: str, dtype: np.dtype | type, has_alpha: bool = False) -> str:
    """The suffix for writing such a picture without loss, of its own kind of file where that can hold it.

    JPEG becomes .png. What the kind cannot hold becomes .png, or .tif for floats.
    """
    candidates = ["png" if format == "jpeg" else format, "png", "tiff"]
    chosen = next(name for name in candidates if holds(name, dtype, has_alpha))
    return {"png": ".png", "tiff": ".tif", "webp": ".webp", "bmp": ".bmp"}[chosen]


def format_of(head: bytes) -> str:
    """The format of a file that begins like this. Raises ImageError for one of none."""
    if not head:
        raise ImageError("the file is empty: copy or export it again")
    for signature, format in SIGNATURES.items():
        if head.startswith(signature):
            return format
    raise ImageError(
        f"its content is not a picture (it starts with {head[:8]!r}), allowed are {', '.join(HOLDS)}: "
        "convert it to one of these"
    )
