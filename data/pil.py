"""Pillow images: the 8-bit part of every format, and the images of other programs that use Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from translate.data.metadata import orientation_of, upright_exif
from translate.data.packing import Compression
from translate.data.picture import ImageError, Metadata, Picture, PictureInfo, from_array, to_array, turn_upright

# Opened by name, not by Image.open: that one warns about large pictures, and its limit is one for the whole process.
PLUGINS: dict[str, type[Image.Image]] = {
    "png": PngImagePlugin.PngImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "bmp": BmpImagePlugin.BmpImageFile,
}

MODES = {  # Pillow's mode -> the mode it is read as; a transparent colour or palette adds an A
    "1": "L", "L": "L", "LA": "LA", "La": "LA",
    "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "RGBa": "RGBA",
    "I;16": "I;16", "I;16B": "I;16", "I;16L": "I;16", "I;16N": "I;16", "F": "F",
}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """A picture as it lies in its file: `info` before `orientation` (1 to 8) is applied, and what comes with it."""

    info: PictureInfo
    orientation: int
    metadata: Metadata


def open_pillow(file: BinaryIO, format: str) -> Image.Image:
    """Open the header of a file of this format, without decoding it."""
    return PLUGINS[format](file)  # type: ignore[call-arg]


def describe(image: Image.Image, format: str) -> Stored:
    """What a Pillow image says about itself, without decoding it.

    Raises:
        ImageError: for colour models other than grey and RGB, and for animations.
    """
    if getattr(image, "is_animated", False):
        raise ImageError("it holds several pictures, allowed is one: save each as a file of its own")
    mode = target_mode(image)
    dtype = {"I;16": np.uint16, "F": np.float32}.get(mode, np.uint8)
    channels = 3 if mode.startswith("RGB") else 1
    info = PictureInfo(image.height, image.width, channels, mode.endswith("A"), np.dtype(dtype), format)
    exif = image.getexif()
    metadata = Metadata(format, image.info.get("icc_profile") or None, upright_exif(exif), read_dpi(image.info))
    return Stored(info, orientation_of(exif), metadata)


def target_mode(image: Image.Image) -> str:
    """The Pillow mode in which the values are read: L, LA, RGB, RGBA, I;16 or F."""
    mode = MODES.get(image.mode)
    if mode is None:
        raise ImageError(
            f"its colour model is {image.mode}, allowed are grey and RGB, each with or without alpha: "
            "convert it to one of these first"
        )
    return mode + "A" if mode in ("L", "RGB") and image.has_transparency_data else mode


def read_dpi(info: dict[Any, Any]) -> tuple[float, float] | None:
    """Pixels per inch of Pillow's `info`; None where they are missing or make no sense."""
    try:
        horizontal, vertical = (float(value) for value in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (horizontal, vertical) if 0 < horizontal < 1e6 and 0 < vertical < 1e6 else None


def decode(image: Image.Image) -> np.ndarray:
    """The values as they are stored: (H, W, channels and alpha), uint8, uint16 or float32."""
    mode = target_mode(image)
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
    else:
        values = np.array(image if image.mode == mode else image.convert(mode))
    return values.reshape(image.height, image.width, -1)


def from_pil(image: Image.Image) -> Picture:
    """The picture of a Pillow image, with its EXIF orientation applied.

    Modes 1, L, LA, P, PA, RGB and RGBA become uint8, I;16 becomes uint16, F float32.

    Raises:
        ImageError: for other modes.
    """
    format = (image.format or "png").lower()
    stored = describe(image, format if format in PLUGINS else "png")
    return from_array(turn_upright(decode(image), stored.orientation), stored.metadata)


def to_pil(picture: Picture) -> Image.Image:
    """The Pillow image: L, LA, RGB or RGBA for uint8, I;16 for uint16 grey, F for float32 grey; with ICC and EXIF.

    Raises:
        ImageError: for 16-bit and float pictures with colour or alpha, for which Pillow has no mode.
    """
    array = to_array(picture)
    if array.dtype != np.uint8 and array.ndim != 2:
        raise ImageError(
            f"Pillow holds {array.dtype} only as grey without alpha, got {array.shape[2]} channels: "
            "use to_array, or convert the picture to uint8 or grey"
        )
    image = Image.fromarray(np.ascontiguousarray(array))
    metadata = picture.metadata
    carried = {"icc_profile": metadata.icc, "exif": metadata.exif, "dpi": metadata.dpi}
    image.info.update({name: value for name, value in carried.items() if value is not None})
    return image


def encode(picture: Picture, format: str, quality: int | None, compression: Compression = "fast") -> bytes:
    """A JPEG, WebP or BMP file of a uint8 picture. WebP without a quality is lossless, JPEG's default is 95."""
    image = to_pil(picture)
    metadata = picture.metadata
    options: dict[str, Any] = {}
    if format == "jpeg":
        options = {"quality": 95 if quality is None else quality, "subsampling": 0}  # 0 is 4:4:4
    elif format == "webp":
        options = {"exact": True} | _webp_options(quality, compression)  # keeps the colour under transparent pixels
    options |= {"icc_profile": metadata.icc, "exif": metadata.exif or b""} if format != "bmp" else {}
    options |= {"dpi": metadata.dpi} if metadata.dpi is not None and format != "webp" else {}
    image.info.clear()  # Pillow writes what it finds there
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _webp_options(quality: int | None, compression: Compression) -> dict[str, Any]:
    """Of lossless files method and quality are effort, not loss."""
    if quality is not None:
        return {"quality": quality, "method": 6 if compression == "small" else 4}
    effort = {"method": 4, "quality": 75} if compression == "small" else {"method": 0, "quality": 20}
    return {"lossless": True} | effort
