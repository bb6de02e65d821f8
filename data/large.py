"""Which files are translated by windows, in memory for one of them."""

from __future__ import annotations

from pathlib import Path

from translate.data.picture import ImageError
from translate.data.windowed import MANY_PIXELS, is_windowed, open_windowed, windowed_output_suffix


def is_large(path: Path, from_pixels: int = MANY_PIXELS) -> bool:
    """Whether a file or folder is translated by windows: a Zarr, a slide, an OME-TIFF, or a TIFF of many pixels.

    Any other TIFF is read whole, with all that can be done to such pictures.
    """
    if not is_windowed(path, from_pixels=from_pixels):
        return False
    if path.is_dir() or path.suffix.lower() not in (".tif", ".tiff") or ".ome." in path.name.lower():
        return True
    try:
        with open_windowed(path) as image:
            return image.info.height * image.info.width >= from_pixels
    except ImageError:
        return False  # reading it whole says why


def large_output_name(path: Path) -> str:
    """The name for the result of such a file: of its kind, a TIFF for a slide."""
    suffix = windowed_output_suffix(path)
    name = path.name
    return (name[: -len(suffix)] if name.lower().endswith(suffix) else path.stem) + suffix
