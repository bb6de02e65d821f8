"""The slices below a folder: where each lies, whose it is, and how it is numbered."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from translate.data.folders import shown
from translate.data.scans import Scan, ScanError

if TYPE_CHECKING:
    from translate.data.dicom_geometry import Allowed

logger = logging.getLogger(__name__)
EVEN = 0.02  # share by which the distances of slices may differ that still are one step
NEXT = 1.5  # steps, or slice thicknesses, within which the next slice is a neighbour


@dataclass(frozen=True)
class Reading:
    """How scans are read.

    allow: what `find_scans` shall let pass.
    units: of files that do not say.
    patient: an expression; its group 1, or else what it matches, in the path below the folder is the patient. None
        takes the patient from the scans' tags.
    """

    allow: frozenset[Allowed] = frozenset()
    units: str | None = None
    patient: str | None = None

    def __post_init__(self) -> None:
        if self.patient is not None:
            expression(self.patient, "--patient")


@dataclass(frozen=True, eq=False)
class Slice:
    """A slice of a scan, not in memory.

    number: slices of a volume that are neighbours in space have consecutive ones.
    corners: (3, 3) millimetres of the first pixel, the last of the first row, and the first of the last row.
    patient: not for messages, logs or files.
    """

    scan: Scan
    index: int
    number: int
    corners: np.ndarray = field(repr=False)
    name: str  # its file below the folder that was given
    patient: str = field(repr=False)

    @property
    def file(self) -> Path:
        files = self.scan.files
        return files[self.index] if len(files) == self.scan.header.shape[0] else files[0]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.scan.header.shape[1:]

    @property
    def volume(self) -> int:
        """Which one of a series over time."""
        return self.index // self.scan.header.slices_per_volume

    @cached_property
    def place(self) -> str:
        """Tells it from the other slices of its file."""
        return "0" if len(self.scan.files) == self.scan.header.shape[0] else str(self.index)

    def read(self) -> np.ndarray:
        """float32 (rows, columns) in the scan's units. Raises ScanError."""
        return self.scan.read(self.index)


@dataclass(frozen=True)
class Found:
    """What is below a folder.

    slices: in the order of the scans' names and of space.
    problems: scans that cannot be used, by their names, and why.
    """

    slices: list[Slice]
    problems: dict[str, str]


def find_slices(folder: Path, reading: Reading) -> Found:
    """All slices below a folder, or of one file. What scans warn of and what cannot be used is logged.

    Raises:
        ScanError: no scan can be used; a slice does not say whose it is; or modalities or units are mixed.
    """
    from translate.data.scan_folder import find_scans, survey

    surveyed = survey(folder, allow=reading.allow, units=reading.units)
    scans = surveyed.scans or find_scans(folder, allow=reading.allow, units=reading.units)  # raises where there is none
    for problem in surveyed.problems.values():
        logger.warning("%s", problem)
    warnings: dict[str, list[str]] = defaultdict(list)
    for scan in scans:
        for warning in scan.warnings:
            warnings[warning].append(scan.header.name)
    for warning, names in warnings.items():
        logger.warning("%s: %s", shown(names), warning)
    _check_alike(folder, scans)
    slices = [slice for scan in scans for slice in _slices_of(folder, scan, reading)]
    _check_named(folder, slices, reading)
    return Found(slices, {name: str(problem) for name, problem in surveyed.problems.items()})


def _check_alike(folder: Path, scans: list[Scan]) -> None:
    for what in ("modality", "units"):
        if len(found := sorted({getattr(scan.header, what) or "unknown" for scan in scans})) > 1:
            raise ScanError(
                f"{folder} holds scans whose {what} differ, {', '.join(found)}: prepare each kind on its own, from a "
                "folder of its own"
            )


def _slices_of(folder: Path, scan: Scan, reading: Reading) -> Iterator[Slice]:
    corners = corners_of(scan)
    for index, number in enumerate(numbers_of(scan, corners)):
        file = scan.files[index if len(scan.files) == scan.header.shape[0] else 0]
        name = _below(folder, file)
        yield Slice(scan, index, number, corners[index], name, _patient(scan, name, reading) or "")


def _check_named(folder: Path, slices: list[Slice], reading: Reading) -> None:
    files = list(dict.fromkeys(slice.name for slice in slices if not slice.patient))
    if not files:
        return
    advice = (
        f"--patient {reading.patient!r} matches nothing in their paths below {folder}, change it"
        if reading.patient
        else "their tags are empty or hold a word for nobody; give --patient, an expression that matches the patient "
        "in the path below the folder, such as 'L[0-9]+' for L143_0039.dcm"
    )
    raise ScanError(
        f"{len(files)} files in {folder} do not say whose they are, {shown(files)}: {advice}; splits and pairs are "
        "made by patient"
    )


def expression(text: str, option: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """A compiled regular expression. Raises ScanError."""
    try:
        return re.compile(text, flags)
    except re.error as error:
        raise ScanError(f"{option} {text!r} is not a regular expression: {error}") from None


def corners_of(scan: Scan) -> np.ndarray:
    """(slices, 3, 3) millimetres (RAS+), as `Slice.corners`: of DICOM by each file, since steps may be uneven."""
    slices, rows, columns = scan.header.shape
    if scan.suffix == "" and len(scan.files) == slices:
        found = [_corners_of_file(path, rows, columns) for path in scan.files]
        if all(corners is not None for corners in found):
            return np.stack([corners for corners in found if corners is not None])
    ends = np.array([(0, 0), (columns - 1, 0), (0, rows - 1)])
    depth = np.arange(slices) % scan.header.slices_per_volume
    points = np.concatenate(
        [np.broadcast_to(ends, (slices, 3, 2)), np.broadcast_to(depth[:, None, None], (slices, 3, 1))], axis=2
    )
    corners: np.ndarray = points @ scan.header.affine[:3, :3].T + scan.header.affine[:3, 3]
    return corners


def numbers_of(scan: Scan, corners: np.ndarray) -> list[int]:
    """Numbers from 0 for the slices of a scan: consecutive where slices are neighbours, and nowhere else.

    Neighbours are one step apart: the distance that at least half of a series has. Where there is no such, as between
    single slices of a series, it is what is usual among slices that are hardly farther apart than they are thick.
    """
    header = scan.header
    normal = np.cross(corners[0, 1] - corners[0, 0], corners[0, 2] - corners[0, 0])
    length = np.linalg.norm(normal)
    heights = corners[:, 0] @ (normal / length if length else normal)
    inside = np.arange(1, len(heights)) % header.slices_per_volume != 0
    distances = np.abs(np.diff(heights))
    known = distances[inside & (distances > 0)]
    step = _step(known, header.thickness) if len(known) else 1.0
    numbers = [0]
    for distance, same_volume in zip(distances, inside, strict=True):
        hole = max(2, round(distance / step)) if same_volume else 2
        numbers.append(numbers[-1] + (1 if same_volume and distance <= NEXT * step else hole))
    return numbers


def _step(distances: np.ndarray, thickness: float | None) -> float:
    usual = float(np.median(distances))
    alike = np.abs(distances - usual) <= EVEN * usual
    if len(distances) > 1 and alike.mean() >= 0.5:
        return usual
    near = distances[distances <= NEXT * thickness] if thickness else distances
    return float(np.median(near)) if len(near) else thickness or usual


def _corners_of_file(path: Path, rows: int, columns: int) -> np.ndarray | None:
    """None where the file does not say where its slice lies."""
    import pydicom

    tags = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
    dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)
    if any(not dataset.get(tag) for tag in tags):
        return None
    origin, spacing = np.array(dataset.ImagePositionPatient, float), np.array(dataset.PixelSpacing, float)
    right, down = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
    corners = np.stack([origin, origin + right * spacing[1] * (columns - 1), origin + down * spacing[0] * (rows - 1)])
    return corners * (-1, -1, 1)  # DICOM's axes point left and posterior


def _patient(scan: Scan, name: str, reading: Reading) -> str | None:
    if reading.patient is None:
        return scan.header.patient
    match = expression(reading.patient, "--patient").search(name)
    return (match[1] if match.re.groups else match[0]) or None if match else None


def _below(folder: Path, file: Path) -> str:
    root = folder if folder.is_dir() else folder.parent
    if file.is_relative_to(root):
        return file.relative_to(root).as_posix()
    return file.resolve().relative_to(root.resolve()).as_posix()
