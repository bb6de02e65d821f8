"""Picture files, in and out: the only place that reads or writes them.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     write_picture(from_array(np.full((4, 6, 3), 1000, np.uint16)), f"{folder}/dark.png")
...     read_picture(f"{folder}/dark.png").pixels.dtype
dtype('uint16')
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from translate.data import pil, png, tiff
from translate.data.picture import (
    DTYPES,
    ImageError,
    Metadata,
    Picture,
    PictureInfo,
    from_array,
    reading,
    to_array,
    turn_upright,
)
from translate.data.pil import from_pil, to_pil

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "ImageError",
    "Metadata",
    "Picture",
    "PictureInfo",
    "from_array",
    "from_pil",
    "lossless_suffix",
    "probe_picture",
    "read_picture",
    "to_array",
    "to_pil",
    "write_picture",
]

MAX_PIXELS = 300_000_000  # height times width
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


def read_picture(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a PNG, JPEG, TIFF, WebP or BMP file. The content says which it is, not the suffix.

    Returns the values as stored: 8-bit, 16-bit or float32 (float16, float64 and grey int16 TIFF are converted, float64
    is rounded; non-finite values stay), grey or RGB, alpha straight. Palettes become RGB, 1-bit pictures 8-bit grey.
    The EXIF orientation is applied. ICC profile, EXIF and resolution are kept in `metadata`.
    Of a phone's JPEG with further pictures behind the first (previews, gain maps), the first is read.

    Args:
        max_pixels: the largest height times width that is decoded.

    Raises:
        ImageError: if the file is missing, truncated, damaged or too large, holds several pictures (pages or an
            animation), or another colour model or value type. The message names the path and the reason.
    """
    with reading(path), _opened(path) as file:
        data = file.read()
        format = _format_of(data)
        stored = _inspect(BytesIO(data), format)
        _check_size(stored.info, max_pixels)
        values = _DECODERS[format](data)
        return from_array(turn_upright(values, stored.orientation), stored.metadata)


def probe_picture(path: str | os.PathLike[str]) -> PictureInfo:
    """What `read_picture` would give, from the header, without decoding. A truncated file may pass.

    Raises:
        ImageError: for files that the header alone shows to be unreadable.
    """
    with reading(path), _opened(path) as file:
        format = _format_of(file.read(16))
        file.seek(0)
        stored = _inspect(file, format)
        info = stored.info
        return replace(info, height=info.width, width=info.height) if stored.orientation >= 5 else info


def write_picture(picture: Picture, path: str | os.PathLike[str], *, quality: int | None = None) -> None:
    """Write a picture, in the format of the path's suffix, with its ICC profile, EXIF and resolution.

    The file appears complete or not at all. Folders are not created. PNG, TIFF, BMP and, without a quality, WebP
    are lossless. WebP turns grey into RGB and keeps no resolution; BMP keeps no profile and no EXIF.

    Args:
        quality: 1 to 100, for JPEG (default 95, always 4:4:4) and lossy WebP; the other formats ignore it.

    Raises:
        ImageError: if the format cannot hold the picture, the suffix or quality is unknown, or writing fails.
    """
    path = Path(path)
    format = FORMATS.get(path.suffix.lower())
    if format is None:
        raise ImageError(f"cannot write {path}: the suffix is {path.suffix!r}, allowed are {', '.join(FORMATS)}")
    if quality is not None and not 1 <= quality <= 100:
        raise ImageError(f"cannot write {path}: quality must be from 1 to 100, got {quality}")
    if not holds(format, picture.pixels.dtype, picture.alpha is not None):
        kind = f"{picture.pixels.dtype}{' with alpha' if picture.alpha is not None else ''}"
        able = [name for name in HOLDS if holds(name, picture.pixels.dtype, picture.alpha is not None)]
        raise ImageError(
            f"cannot write {path}: {format} cannot hold {kind}, {', '.join(able)} can: choose such a suffix, "
            "or convert the picture"
        )
    try:
        _replace_file(path, _encode(picture, format, quality))
    except (OSError, ValueError, OverflowError) as error:
        raise ImageError(f"cannot write {path}: {error}") from error


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


def _inspect(file: BinaryIO, format: str) -> pil.Stored:
    inspectors = {"png": png.inspect, "tiff": tiff.inspect}
    if format in inspectors:
        return inspectors[format](file)
    return pil.describe(pil.open_pillow(file, format), format)


_DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "png": png.decode,
    "tiff": tiff.decode,
    "jpeg": lambda data: pil.decode(pil.open_pillow(BytesIO(data), "jpeg")),
    "webp": lambda data: pil.decode(pil.open_pillow(BytesIO(data), "webp")),
    "bmp": lambda data: pil.decode(pil.open_pillow(BytesIO(data), "bmp")),
}


def _encode(picture: Picture, format: str, quality: int | None) -> bytes:
    if format == "png":
        return png.encode(picture)
    return tiff.encode(picture) if format == "tiff" else pil.encode(picture, format, quality)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    if Path(path).is_dir():
        raise ImageError("it is a folder: name a picture file")
    if not Path(path).is_file():
        raise ImageError("there is no such file: check the path")
    with open(path, "rb") as file:
        yield file


def _format_of(head: bytes) -> str:
    if not head:
        raise ImageError("the file is empty: copy or export it again")
    for signature, format in SIGNATURES.items():
        if head.startswith(signature):
            return format
    raise ImageError(
        f"its content is not a picture (it starts with {head[:8]!r}), allowed are {', '.join(HOLDS)}: "
        "convert it to one of these"
    )


def _check_size(info: PictureInfo, max_pixels: int) -> None:
    if info.height < 1 or info.width < 1:
        raise ImageError(f"its size is {info.height} x {info.width} (H x W), both must be at least 1: export it again")
    if info.height * info.width > max_pixels:
        raise ImageError(
            f"its size is {info.height} x {info.width} (H x W), {info.height * info.width / 1e6:.1f} megapixels, "
            f"allowed are {max_pixels / 1e6:.1f}: pass max_pixels={info.height * info.width} if you trust the file"
        )


def _replace_file(path: Path, content: bytes) -> None:
    """Write under a temporary name in the same folder, then rename: a reader never sees half a file."""
    if not path.parent.is_dir():
        raise OSError(f"the folder {path.parent} does not exist: create it first")
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
