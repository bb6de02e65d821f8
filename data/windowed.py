"""Pictures that may be larger than memory: which files are read by windows, and opening them.

>>> from tempfile import TemporaryDirectory
>>> import numpy as np
>>> from translate.data.images import from_array
>>> from translate.data.windowed_write import write_windowed
>>> with TemporaryDirectory() as folder:
...     write_windowed(InMemory(from_array(np.arange(60000, dtype=np.uint16).reshape(200, 300))), f"{folder}/a.zarr")
...     with open_windowed(f"{folder}/a.zarr") as image:
...         image.read(slice(100, 102), slice(0, 2)).pixels[..., 0].tolist()
[[30000, 30001], [30300, 30301]]
"""

from __future__ import annotations

import os
from pathlib import Path

import tifffile

from translate.data.picture import ImageError
from translate.data.slides import SLIDE_SUFFIXES, Slide
from translate.data.windowed_tiff import TiffImage
from translate.data.windowed_zarr import ZarrImage, is_zarr
from translate.data.windows import InMemory, WindowedImage, WindowReader

__all__ = [
    "WINDOWED_SUFFIXES",
    "InMemory",
    "WindowReader",
    "WindowedImage",
    "is_windowed",
    "open_windowed",
    "windowed_output_suffix",
]

TIFF_SUFFIXES = (".tif", ".tiff")
WINDOWED_SUFFIXES = (*TIFF_SUFFIXES, ".zarr", *SLIDE_SUFFIXES)
MANY_PIXELS = 2**26  # from here on a TIFF is read by windows, however it is stored
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_windowed(path: str | os.PathLike[str]) -> WindowReader:
    """Open a TIFF, a Zarr (a folder) or a whole-slide image, to be read by windows and closed, or used in a `with`.

    Windows have the values as stored, as `read_picture` gives them, upright, with straight alpha. Of pyramids the full
    resolution is read. Nothing is decoded but the file's own tiles or strips that a window touches.

    Raises:
        ImageError: if there is no such file, or it is damaged, of another kind, or needs an extra that is not
            installed. The message names the path and the reason.
    """
    path = Path(path)
    if path.is_dir():
        return ZarrImage(path)
    if not path.is_file():
        raise ImageError(f"cannot read {path}: there is no such file: check the path")
    if path.suffix.lower() in SLIDE_SUFFIXES:
        return Slide(path)
    if _head(path) in TIFF_HEADS:
        return TiffImage(path)
    raise ImageError(
        f"cannot read {path} by windows: it is no TIFF, Zarr or slide ({', '.join(WINDOWED_SUFFIXES)}): read it whole, "
        "or save it as a tiled TIFF"
    )


def is_windowed(path: str | os.PathLike[str], *, from_pixels: int = MANY_PIXELS) -> bool:
    """Whether a file or folder is to be read by windows: a Zarr, a slide, or a TIFF made for it (tiled, OME, BigTIFF).

    Any other TIFF is from `from_pixels` (height times width) on. What cannot be read is not, so that reading it as an
    ordinary picture says why.
    """
    path = Path(path)
    if path.is_dir():
        return is_zarr(path)
    suffix = path.suffix.lower()
    if suffix in SLIDE_SUFFIXES:
        return path.is_file()
    if suffix not in TIFF_SUFFIXES or not path.is_file():
        return False
    try:
        with tifffile.TiffFile(path) as tif:
            page = tif.pages.first
            large = page.imagelength * page.imagewidth >= from_pixels
            return bool(tif.is_bigtiff or tif.is_ome or page.is_tiled or large)
    except Exception:  # tifffile raises nearly any type on damaged files
        return False


def windowed_output_suffix(path: str | os.PathLike[str]) -> str:
    """The suffix for the result of such a file: .zarr, .ome.tif or .ome.tiff as it has it, otherwise .tif."""
    name = Path(path).name.lower()
    kept = (".ome.tif", ".ome.tiff", ".ome.zarr", ".zarr")
    if suffix := next((suffix for suffix in kept if name.endswith(suffix)), None):
        return suffix
    return ".zarr" if is_zarr(Path(path)) else ".tif"


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(4)
