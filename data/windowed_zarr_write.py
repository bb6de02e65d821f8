"""A Zarr array, or an OME-NGFF picture with its pyramid, written chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from translate.data import ngff
from translate.data.halves import halve, level_sides
from translate.data.picture import ImageError
from translate.data.windows import LARGE, Read, WindowedImage, array_reader, cover, spacing_of

SIDE = 512  # of chunks


def write_zarr(
    image: WindowedImage,
    path: Path,
    attributes: Mapping[str, Any],
    ngff_name: str | None,
    progress: Callable[[float], None],
) -> None:
    """Write a folder of Zarr version 3, each window once.

    Args:
        attributes: what the array or group shall say about itself.
        ngff_name: the picture's name; None writes a bare array (H, W) or (H, W, samples), else OME-NGFF (y, x) or
            (c, y, x).

    Raises:
        ImageError: OME-NGFF with alpha, or zarr is not installed.
        OSError: writing fails.
    """
    try:
        import zarr
    except ImportError as error:
        raise ImageError(f"Zarr needs zarr, which is not installed: {LARGE}") from error
    info = image.info
    if ngff_name is not None and info.has_alpha:
        raise ImageError("OME-NGFF has no alpha: write a .tif or a .zarr that is not OME-NGFF")
    samples = info.channels + info.has_alpha
    sides = level_sides(info.height, info.width) if ngff_name is not None else [(info.height, info.width)]
    group = zarr.create_group(path, attributes=dict(attributes)) if ngff_name is not None else None
    axes = "yx" if samples == 1 else "yxc" if group is None else "cyx"
    total, done = sum(len(list(cover(*side, SIDE))) for side in sides), 0
    read = array_reader(image)
    for level, side in enumerate(sides):
        measures = {"y": side[0], "x": side[1], "c": samples}
        chunks = {"y": SIDE, "x": SIDE, "c": 1 if axes[0] == "c" else samples}
        array = (zarr.create_array if group is None else group.create_array)(
            path if group is None else str(level),
            shape=tuple(measures[axis] for axis in axes),
            chunks=tuple(chunks[axis] for axis in axes),
            dtype=info.dtype,
            dimension_names=list(axes),
            attributes=dict(attributes) if group is None else None,
        )
        for rows, columns in cover(*side, SIDE):
            array[_place(axes, rows, columns)] = _arranged(axes, read(rows, columns))
            done += 1
            progress(done / total)
        read = _halves_of(array, axes)
    if group is not None:
        told = ngff.describe(ngff_name or "", info.channels, sides, spacing_of(image.metadata))
        colours = {"omero": ngff.describe_colours(info.dtype)} if info.channels == 3 else {}
        group.attrs["ome"] = told | colours


def _place(axes: str, rows: slice, columns: slice) -> tuple[slice, ...]:
    places = {"y": rows, "x": columns, "c": slice(None)}
    return tuple(places[axis] for axis in axes)


def _arranged(axes: str, values: np.ndarray) -> np.ndarray:
    """(H, W, samples) in the order of the array's axes."""
    return {"yx": values[..., 0], "yxc": values, "cyx": np.moveaxis(values, -1, 0)}[axes]


def _halves_of(array: Any, axes: str) -> Read:
    """Windows of a version with half the sides of the array, whose pixels have no alpha."""

    def read(rows: slice, columns: slice) -> np.ndarray:
        doubled = [slice(2 * window.start, 2 * window.stop) for window in (rows, columns)]
        values = array[_place(axes, *doubled)]  # cut at the border, as slices are
        return halve(np.moveaxis(values, 0, -1) if axes == "cyx" else values[..., None], has_alpha=False)

    return read
