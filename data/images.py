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

from translate.data import jpeg, pil, png, tiff
from translate.data.formats import FORMATS, HOLDS, IMAGE_SUFFIXES, format_of, holds, lossless_suffix
from translate.data.packing import COMPRESSIONS, Compression
from translate.data.picture import (
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
    "decode_picture",
    "encode_picture",
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
    return decode_picture(data, path, max_pixels=max_pixels)


def decode_picture(data: bytes, name: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """`read_picture` of a file's bytes; errors call it by this name."""
    with reading(name):
        format = format_of(data)
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
        format = format_of(file.read(16))
        file.seek(0)
        stored = _inspect(file, format)
        info = stored.info
        return replace(info, height=info.width, width=info.height) if stored.orientation >= 5 else info


def write_picture(
    picture: Picture,
    path: str | os.PathLike[str],
    *,
    quality: int | None = None,
    compression: Compression = "fast",
) -> None:
    """Write a picture: `encode_picture`'s bytes. The file appears complete or not at all; folders are not created.

    Raises:
        ImageError: as `encode_picture`, and if writing fails.
    """
    content = encode_picture(picture, path, quality=quality, compression=compression)
    try:
        _replace_file(Path(path), content)
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error}") from error


def encode_picture(
    picture: Picture,
    name: str | os.PathLike[str],
    *,
    quality: int | None = None,
    compression: Compression = "fast",
) -> bytes:
    """A file of a picture, in the format of the name's suffix, with its ICC profile, EXIF and resolution.

    PNG, TIFF, BMP and, without a quality, WebP are lossless. WebP turns grey into RGB and keeps no resolution; BMP
    keeps no profile and no EXIF.

    Args:
        quality: 1 to 100, for JPEG (default 95, always 4:4:4) and lossy WebP; the other formats ignore it.
        compression: "small" packs PNG, TIFF and WebP harder, in 15 times the time, and "none" leaves TIFF unpacked;
            the other formats ignore it.

    Raises:
        ImageError: if the format cannot hold the picture, or the suffix, quality or compression is unknown.
    """
    suffix = Path(name).suffix
    format = FORMATS.get(suffix.lower())
    if format is None:
        raise ImageError(f"cannot write {name}: the suffix is {suffix!r}, allowed are {', '.join(FORMATS)}")
    if quality is not None and not 1 <= quality <= 100:
        raise ImageError(f"cannot write {name}: quality must be from 1 to 100, got {quality}")
    if compression not in COMPRESSIONS:
        raise ImageError(
            f"cannot write {name}: compression must be one of {', '.join(COMPRESSIONS)}, got {compression!r}"
        )
    if not holds(format, picture.pixels.dtype, picture.alpha is not None):
        kind = f"{picture.pixels.dtype}{' with alpha' if picture.alpha is not None else ''}"
        able = [other for other in HOLDS if holds(other, picture.pixels.dtype, picture.alpha is not None)]
        raise ImageError(
            f"cannot write {name}: {format} cannot hold {kind}, {', '.join(able)} can: choose such a suffix, "
            "or convert the picture"
        )
    try:
        return _encode(picture, format, quality, compression)
    except (OSError, ValueError, OverflowError) as error:
        raise ImageError(f"cannot write {name}: {error}") from error


def _inspect(file: BinaryIO, format: str) -> pil.Stored:
    inspectors = {"png": png.inspect, "tiff": tiff.inspect}
    if format in inspectors:
        return inspectors[format](file)
    return pil.describe(pil.open_pillow(file, format), format)


_DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "png": png.decode,
    "tiff": tiff.decode,
    "jpeg": jpeg.decode,
    "webp": lambda data: pil.decode(pil.open_pillow(BytesIO(data), "webp")),
    "bmp": lambda data: pil.decode(pil.open_pillow(BytesIO(data), "bmp")),
}


def _encode(picture: Picture, format: str, quality: int | None, compression: Compression) -> bytes:
    if format == "png":
        return png.encode(picture, compression)
    if format == "tiff":
        return tiff.encode(picture, compression)
    return pil.encode(picture, format, quality, compression)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    if Path(path).is_dir():
        raise ImageError("it is a folder: name a picture file")
    if not Path(path).is_file():
        raise ImageError("there is no such file: check the path")
    with open(path, "rb") as file:
        yield file


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
