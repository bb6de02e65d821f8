"""OME-NGFF (OME-Zarr) 0.4 and 0.5: which array of a group is the picture, and what its axes are.

The specification is https://ngff.openmicroscopy.org (Moore et al. 2021, doi:10.1038/s41592-021-01326-w).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from translate.data.picture import ImageError

MICROMETRES = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6}
KEYS = ("ome", "multiscales", "omero")  # of the attributes: written anew


@dataclass(frozen=True)
class Multiscale:
    """The full resolution of a picture.

    Args:
        path: of its array in the group.
        axes: a letter for each dimension of the array, "cyx" for example.
        spacing: horizontal and vertical micrometres per pixel, where both are known.
    """

    path: str
    axes: str
    spacing: tuple[float, float] | None


def find_multiscale(attributes: Mapping[str, Any]) -> Multiscale:
    """The first multiscale that a group's attributes tell of.

    Raises:
        ImageError: it tells of none, or in another version's way.
    """
    told = attributes.get("ome", attributes)
    if "multiscales" not in told:
        raise ImageError(
            "it is a Zarr group without a multiscale (OME-NGFF 0.4 or 0.5): name the array or the picture inside it, "
            "IMAGE.zarr/0 for example"
        )
    first = told["multiscales"][0]
    axes = [axis if isinstance(axis, str) else axis["name"] for axis in first.get("axes", ())]
    if not {"y", "x"} <= set(axes) <= set("tczyx"):
        raise ImageError(
            f"its axes are {', '.join(axes) or 'not named'}, allowed are y and x, with t, c and z: convert it to "
            "OME-NGFF 0.4 or 0.5"
        )
    level = first["datasets"][0]
    scale = np.ones(len(axes))
    for transformation in (*level.get("coordinateTransformations", ()), *first.get("coordinateTransformations", ())):
        if transformation["type"] == "scale":
            scale = scale * transformation["scale"]
    return Multiscale(level["path"], "".join(axes), _spacing(first["axes"], axes, scale))


def _spacing(described: Sequence[Any], axes: Sequence[str], scale: np.ndarray) -> tuple[float, float] | None:
    spacing = []
    for name in ("x", "y"):
        axis = described[axes.index(name)]
        unit = MICROMETRES.get(axis.get("unit", "")) if isinstance(axis, Mapping) else None
        if unit is None:
            return None
        spacing.append(float(scale[axes.index(name)]) * unit)
    return spacing[0], spacing[1]


def describe(name: str, channels: int, levels: Sequence[tuple[int, int]], spacing: tuple[float, float] | None) -> dict:
    """The attribute `ome` (version 0.5) of a group with a picture (y, x), or (c, y, x) with three channels.

    Args:
        levels: (height, width) of the arrays "0", "1", ..., from full resolution down.
        spacing: horizontal and vertical micrometres per pixel of the first.
    """
    unit = {} if spacing is None else {"unit": "micrometer"}
    axes = [{"name": axis, "type": "space", **unit} for axis in "yx"]
    across, down = spacing or (1.0, 1.0)
    datasets = []
    for level, (height, width) in enumerate(levels):
        scale = [down * levels[0][0] / height, across * levels[0][1] / width]
        if channels == 3:
            scale = [1.0, *scale]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    told = {"multiscales": [{"name": name, "axes": axes, "datasets": datasets}], "version": "0.5"}
    if channels == 3:
        axes.insert(0, {"name": "c", "type": "channel"})
    return told


def describe_colours(dtype: np.dtype) -> dict:
    """The entry `omero`, by which viewers show three channels as red, green and blue."""
    top = float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
    window = {"min": 0.0, "max": top, "start": 0.0, "end": top}
    colours = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
    return {
        "channels": [
            {"label": label, "color": colour, "active": True, "window": window} for label, colour in colours.items()
        ],
        "rdefs": {"model": "color"},
    }
