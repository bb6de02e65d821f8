"""Where slices lie: their order along the normal, and gaps, duplicates and tilt by name.

Positions are millimetres in DICOM's system (left, posterior, superior); affines are RAS+ as NIfTI has them.
Tolerances: positions are printed with few digits, so 0.02 mm, or 1 % of the distance between slices if that is more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from translate.data.dicom_rescale import number
from translate.data.scans import ScanError

Allowed = Literal["gaps", "duplicates", "tilt", "mixed"]
ALLOWED: tuple[Allowed, ...] = ("gaps", "duplicates", "tilt", "mixed")
SAME_PLACE = 0.01  # mm
PRINTED = 0.02  # mm, of rounding in positions
RELATIVE = 0.01  # of the distance between slices; sideways it is a tilt of 0.6 degrees
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Plane:
    """Image Position and Image Orientation (Patient): the centre of the first pixel, and two unit vectors."""

    position: tuple[float, ...]
    along_row: tuple[float, ...]  # the direction in which the column index grows
    along_column: tuple[float, ...]

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.along_row, self.along_column)


@dataclass(frozen=True)
class Arrangement:
    """Slices in order.

    Args:
        order: indices into the planes that were given.
        slices_per_volume: fewer than all where every place is occupied several times.
        distance: millimetres between slices along the normal; None for one slice and where it is uneven.
        step: (3,) millimetres RAS from one slice to the next; the usual one where it is uneven.
        breaks: places in the order before which there is a gap.
    """

    order: tuple[int, ...]
    slices_per_volume: int
    distance: float | None
    step: np.ndarray
    breaks: frozenset[int] = frozenset()
    warnings: tuple[str, ...] = ()


def plane_of(dataset: Any) -> Plane | None:
    """None where position or orientation is missing or no plane."""
    position, orientation = _vector(dataset, "ImagePositionPatient", 3), _vector(dataset, "ImageOrientationPatient", 6)
    if position is None or orientation is None:
        return None
    row, column = orientation[:3], orientation[3:]
    lengths = [float(np.linalg.norm(vector)) for vector in (row, column)]
    if not np.allclose(lengths, 1, atol=1e-2) or abs(np.dot(row, column)) > 1e-2:
        return None
    along_row, along_column = (
        tuple(value / length for value in vector) for vector, length in zip((row, column), lengths, strict=True)
    )
    return Plane(position, along_row, along_column)


def _vector(dataset: Any, keyword: str, length: int) -> tuple[float, ...] | None:
    try:
        values = tuple(float(value) for value in dataset.get(keyword) or ())
    except (TypeError, ValueError):
        return None
    return values if len(values) == length and np.isfinite(values).all() else None


def pixel_spacing(dataset: Any) -> tuple[float | None, float | None]:
    """Millimetres between rows and between columns; Imager Pixel Spacing where there is no other. 0 is None."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = _vector(dataset, keyword, 2)
        if spacing and min(spacing) > 0:
            return spacing[0], spacing[1]
    return None, None


def thickness_of(dataset: Any) -> float | None:
    value = number(dataset, "SliceThickness")
    return value if value and value > 0 else None


def affine_of(
    plane: Plane | None, pixels: tuple[float | None, float | None], thickness: float | None, arrangement: Arrangement
) -> np.ndarray:
    """(4, 4), (column, row, slice) to RAS+ millimetres. Unknown distances count as 1, and a missing plane as the axes.

    Args:
        plane: of the first slice.
        pixels: millimetres between rows and between columns.
    """
    affine = np.eye(4)
    between_rows, between_columns = (value or 1.0 for value in pixels)
    if plane is None:
        affine[[0, 1, 2], [0, 1, 2]] = between_columns, between_rows, thickness or 1.0
        return affine
    affine[:3, 0] = np.multiply(plane.along_row, between_columns) * LPS_TO_RAS
    affine[:3, 1] = np.multiply(plane.along_column, between_rows) * LPS_TO_RAS
    one = len(arrangement.order) == 1 or not arrangement.step.any()
    affine[:3, 2] = plane.normal * LPS_TO_RAS * (thickness or 1.0) if one else arrangement.step
    affine[:3, 3] = np.asarray(plane.position) * LPS_TO_RAS
    return affine


def arrange(
    planes: Sequence[Plane],
    names: Sequence[str],
    allow: frozenset[Allowed],
    scan: str,
    *,
    thickness: float | None = None,
    repeats: bool = False,
) -> Arrangement:
    """Sort parallel planes by their position along the normal.

    Where every place is occupied equally often and that is allowed, the result is volumes one after another, each
    made of the n-th plane given at every place. Where only some are, the first given stays and the others are left out.

    Args:
        names: of files or frames, for messages.
        scan: its name, for messages.
        thickness: of a slice in millimetres. Where distances are uneven, more than two of it is a gap too.
        repeats: volumes are expected (multi-frame files): even repetition needs no permission.

    Raises:
        ScanError: duplicates, gaps or tilt that were not allowed, naming files.
    """
    positions = np.array([plane.position for plane in planes])
    places = _places(positions @ planes[0].normal)
    first = [place[0] for place in places]
    order, per_volume, warnings = _repeated(places, names, allow, scan, repeats)
    if len(first) == 1:
        return Arrangement(tuple(order), per_volume, None, np.zeros(3), warnings=tuple(warnings))
    steps = np.diff(positions[first], axis=0)
    along = steps @ planes[0].normal
    sideways = np.linalg.norm(steps - along[:, None] * planes[0].normal, axis=1)
    usual = float(np.median(along))
    uneven = np.abs(along - usual) > max(PRINTED, RELATIVE * usual)
    ordered = [names[index] for index in first]
    found = {"tilt": _tilt(sideways, along, ordered), "gaps": _gaps(uneven, along, ordered)}
    if refused := [f"{kind}: {text}" for kind, text in found.items() if text and kind not in allow]:
        raise ScanError(f"{scan}: {'; and '.join(refused)}")
    warnings += [f"{kind}: {text.split(': ')[0]}" for kind, text in found.items() if text]
    whole = positions[first][-1] - positions[first][0]
    step = whole / along.sum() * usual if uneven.any() else whole / len(along)
    apart = uneven | (uneven.any() and along > 2 * (thickness or np.inf))
    starts = range(0, len(order), per_volume)
    return Arrangement(
        order=tuple(order),
        slices_per_volume=per_volume,
        distance=None if uneven.any() else float(along.mean()),
        step=step * LPS_TO_RAS,
        breaks=frozenset(int(gap) + 1 + start for gap in np.flatnonzero(apart) for start in starts),
        warnings=tuple(warnings),
    )


def _places(distances: np.ndarray) -> list[list[int]]:
    """Indices at the same place together, in the order in which they were given; places in order."""
    order = np.argsort(distances, kind="stable")
    places = [[int(order[0])]]
    for before, index in pairwise(order):
        if distances[index] - distances[before] <= SAME_PLACE:
            places[-1].append(int(index))
        else:
            places.append([int(index)])
    return [sorted(place) for place in places]


def _repeated(
    places: list[list[int]], names: Sequence[str], allow: frozenset[Allowed], scan: str, expected: bool
) -> tuple[list[int], int, list[str]]:
    """The order of slices, how many are a volume, and warnings."""
    counts = Counter(len(place) for place in places)
    if counts.keys() == {1}:
        return [place[0] for place in places], len(places), []
    even = len(counts) == 1
    double = next(place for place in places if len(place) > 1)
    if not (expected and even) and "duplicates" not in allow:
        number = sum(len(place) > 1 for place in places)
        raise ScanError(
            f"{scan}: duplicates: {number} of {len(places)} places hold several slices, for instance "
            f"{listed([names[index] for index in double])}: remove one of each, or allow it with --allow duplicates "
            "(volumes where every place has equally many, else the first by instance number stays)"
        )
    if even:
        volumes = next(iter(counts))
        order = [place[volume] for volume in range(volumes) for place in places]
        return order, len(places), [f"{volumes} volumes of {len(places)} slices at the same places"]
    dropped = sum(len(place) - 1 for place in places)
    return [place[0] for place in places], len(places), [f"{dropped} slices at places that are taken were left out"]


def _tilt(sideways: np.ndarray, along: np.ndarray, names: list[str]) -> str:
    """What is said about slices that are moved sideways; empty where they are not."""
    if not (sideways > np.maximum(PRINTED, RELATIVE * along)).any():
        return ""
    worst = int(np.argmax(sideways / along))
    angle = float(np.degrees(np.arctan2(sideways[worst], along[worst])))
    return (
        f"slices are not straight above each other, but {angle:.1f} degrees to the side (gantry tilt), for instance "
        f"{names[worst]} and {names[worst + 1]}: read them as they are with --allow tilt"
    )


def _gaps(uneven: np.ndarray, along: np.ndarray, names: list[str]) -> str:
    """What is said about uneven distances; empty where they are even."""
    gaps = np.flatnonzero(uneven)
    if not len(gaps):
        return ""
    shown = [f"{along[gap]:.4g} mm from {names[gap]} to {names[gap + 1]}" for gap in gaps]
    return (
        f"slices are {np.median(along):.4g} mm apart, but {listed(shown, 3)}: add what is missing, or read them as "
        "they are with --allow gaps"
    )


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names for a message, not too many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
