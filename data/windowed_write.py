"""Writing a picture window by window, so that one larger than memory can be written: tiled TIFF, OME-TIFF and Zarr."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from translate.data.picture import ImageError
from translate.data.windowed_tiff_write import OME_SUFFIXES, write_tiff
from translate.data.windowed_zarr import ZarrImage
from translate.data.windowed_zarr_write import write_zarr
from translate.data.windows import WindowedImage

WRITTEN_SUFFIXES = (".tif", ".tiff", ".ome.tif", ".ome.tiff", ".zarr", ".ome.zarr")


def write_windowed(
    image: WindowedImage,
    path: str | os.PathLike[str],
    *,
    source: WindowedImage | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a picture by windows of 512 x 512, row by row, each read once, without loss.

    A TIFF is tiled and deflate-compressed, a BigTIFF where it could exceed 4 GiB, with profile, resolution and EXIF (in
    a BigTIFF without the camera's and the GPS directory). Zarr is version 3; it keeps the resolution in OME-NGFF 0.5,
    and neither profile nor EXIF. TIFFs and OME-NGFF pictures of more than 4096 pixels a side get a pyramid of halves.

    The file appears complete or not at all; a Zarr that was there is replaced. Folders are not created.

    Args:
        path: .tif, .tiff, .ome.tif, .ome.tiff, .zarr, or .ome.zarr, which makes it OME-NGFF.
        source: what the picture was made from. Of a Zarr the attributes are kept, and whether it is OME-NGFF.
        progress: is told the share that is written, up to 1.

    Raises:
        ImageError: if the suffix is another, the format cannot hold the picture, writing fails, or zarr is missing.
            Whatever else `image.read` raises is passed on.
    """
    path = Path(path)
    check_destination(path)
    name = path.name.lower()
    told = progress or (lambda share: None)
    with _placed(path) as temporary:
        if not name.endswith(".zarr"):
            write_tiff(image, temporary, name.endswith(OME_SUFFIXES), told)
            return
        zarr_source = source if isinstance(source, ZarrImage) else None
        attributes = {} if zarr_source is None else zarr_source.attributes
        is_ngff = name.endswith(".ome.zarr") or (zarr_source is not None and zarr_source.is_ngff)
        write_zarr(image, temporary, attributes, path.name.split(".")[0] if is_ngff else None, told)


def check_destination(path: Path) -> None:
    """Refuse a path that nothing can be written to; to be called before hours of work, too.

    Raises:
        ImageError: the suffix is of no kind that is written, the folder is not there, or another one is in the way.
    """
    if not path.name.lower().endswith(WRITTEN_SUFFIXES):
        raise ImageError(
            f"cannot write {path}: the suffix is {path.suffix!r}, allowed are {', '.join(WRITTEN_SUFFIXES)} for an "
            "image that is read by windows"
        )
    if not path.parent.is_dir():
        raise ImageError(f"cannot write {path}: the folder {path.parent} does not exist: create it first")
    if not os.access(path.parent, os.W_OK):
        raise ImageError(f"cannot write {path}: the folder {path.parent} may not be written to: choose another one")
    if path.is_dir() and not (path.suffix.lower() == ".zarr" and (_is_picture(path) or not any(path.iterdir()))):
        raise ImageError(f"cannot write {path}: it is a folder that holds something else: choose another name")


def _is_picture(path: Path) -> bool:
    """Whether a folder is a Zarr of one picture, which a new one may replace, and no group of other things."""
    try:
        ZarrImage(path).close()
    except ImageError:
        return False
    return True


@contextmanager
def _placed(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which gets its place if nothing is raised, and is removed otherwise."""
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error}") from error
    finally:
        _remove(temporary)


def _replace(temporary: Path, path: Path) -> None:
    """Rename; where a folder is in the way it steps aside first, since no rename replaces a folder."""
    if not path.is_dir():
        os.replace(temporary, path)
        return
    former = path.parent / f".{uuid.uuid4().hex}.tmp"
    os.rename(path, former)
    try:
        os.rename(temporary, path)
    except BaseException:
        os.rename(former, path)
        raise
    _remove(former)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
