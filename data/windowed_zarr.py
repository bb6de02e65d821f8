"""Zarr by windows: arrays of versions 2 and 3, and OME-NGFF pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from translate.data import ngff
from translate.data.picture import ImageError, Metadata, PictureInfo, reading
from translate.data.tiff import READ_AS
from translate.data.windows import LARGE, Tiles, WindowReader, dpi_of

MARKS = ("zarr.json", ".zarray", ".zgroup")  # files, one of which a folder of Zarr has
SMALLEST_TILE = 256  # chunks below are read several at once


class ZarrImage(WindowReader):
    """An array (H, W) or (H, W, 1 to 4: grey, grey and alpha, RGB, RGBA), or the full resolution of an OME-NGFF group.

    Chunks that were never written are the array's fill value.

    Attributes:
        attributes: what the array or group says about itself, less what OME-NGFF defines.
        is_ngff: whether it is an OME-NGFF group.
    """

    def __init__(self, path: Path) -> None:
        with reading(path):
            found = _open(path)
            kept = dict(found.attrs)
            multiscale = None if hasattr(found, "shape") else ngff.find_multiscale(kept)
            array = found if multiscale is None else found[multiscale.path]
            axes = "yxc"[: array.ndim] if multiscale is None else multiscale.axes
            _check(array, axes, multiscale is not None)
            self._tiles = _tiles(array, axes)
            dtype = np.dtype(READ_AS[str(array.dtype)])
        samples = self._tiles.shape[2]
        alpha = samples in (2, 4)
        self.attributes: dict[str, Any] = {name: value for name, value in kept.items() if name not in ngff.KEYS}
        self.is_ngff = multiscale is not None
        super().__init__(
            path,
            PictureInfo(*self._tiles.shape[:2], samples - alpha, alpha, dtype, "zarr"),
            Metadata("zarr", dpi=dpi_of(multiscale.spacing) if multiscale else None),
        )

    def close(self) -> None:
        """Nothing to do: no file stays open."""

    def _values(self, rows: slice, columns: slice) -> np.ndarray:
        values = self._tiles.window(rows, columns)
        if values.dtype == bool:
            values = values.astype(np.uint8) * 255
        with np.errstate(over="ignore"):
            return values.astype(self.info.dtype, copy=False)


def is_zarr(path: Path) -> bool:
    """Whether this is a folder with a Zarr array or group."""
    return path.is_dir() and any((path / mark).is_file() for mark in MARKS)


def _open(path: Path) -> Any:
    try:
        import zarr
    except ImportError as error:
        raise ImageError(f"Zarr needs zarr, which is not installed: {LARGE}") from error
    if not is_zarr(path):
        raise ImageError(f"it holds no Zarr, a folder of which has one of {', '.join(MARKS)}: check the path")
    return zarr.open(path, mode="r")


def _check(array: Any, axes: str, is_ngff: bool) -> None:
    """Raise ImageError for shapes and values that are no picture's."""
    sides = dict(zip(axes, array.shape, strict=False))
    told = f"its shape is {tuple(array.shape)}" + (f" ({', '.join(axes)})" if is_ngff else "")
    if array.ndim != len(axes) or array.ndim < 2 or 0 in array.shape:
        raise ImageError(f"{told}, allowed are (H, W) and (H, W, 1 to 4) with sides of at least 1: write it like this")
    if is_ngff and (sides.get("c", 1) not in (1, 3) or sides.get("t", 1) > 1 or sides.get("z", 1) > 1):
        raise ImageError(
            f"{told}, allowed are one t and z, and 1 or 3 channels c: write the plane and the channels that are wanted "
            "to a Zarr of their own"
        )
    if sides.get("c", 1) > 4:
        raise ImageError(f"{told}, allowed are (H, W) and (H, W, 1 to 4): put the channels last, or write fewer")
    grey = sides.get("c", 1) == 1
    if str(array.dtype) not in READ_AS or (str(array.dtype) == "int16" and not grey):
        raise ImageError(
            f"its values are {array.dtype}, allowed are uint8, uint16 and float32 (bool, float16, float64 and int16 of "
            "one grey channel are converted): save it as one of these"
        )


def _tiles(array: Any, axes: str) -> Tiles:
    sides = dict(zip(axes, array.shape, strict=True))
    chunks = dict(zip(axes, array.chunks, strict=True))
    side = (_at_least(chunks["y"]), _at_least(chunks["x"]))

    def load(row: int, column: int) -> np.ndarray:
        places = {"y": slice(row * side[0], (row + 1) * side[0]), "x": slice(column * side[1], (column + 1) * side[1])}
        values = array[tuple(places.get(axis, slice(None) if axis == "c" else 0) for axis in axes)]
        if "c" not in axes:
            return values[..., None]
        return np.moveaxis(values, [axis for axis in axes if axis in "cyx"].index("c"), -1)

    return Tiles((sides["y"], sides["x"], sides.get("c", 1)), side, array.dtype, load)


def _at_least(chunk: int) -> int:
    return chunk * -(-SMALLEST_TILE // chunk)
