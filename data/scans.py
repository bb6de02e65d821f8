"""Scans: what every reader of DICOM, NIfTI and TIFF gives, and every writer takes. No file format is known here.

A scan is a stack of slices that belong together, in physical units. It is read and written slice by slice, so that no
more than a few slices are in memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from translate.data.intensity import IntensityRange


class ScanError(ValueError):
    """A scan that cannot be read, used or written. The message names the file or series, and says what to do."""


@dataclass(frozen=True)
class ScanHeader:
    """What a scan says about itself. Nothing in here identifies a person, except `patient`, which is never written.

    Args:
        name: what logs, reports and folders call the scan: its place below the folder that was given, in POSIX form.
        modality: DICOM's code, "CT", "MR", "CR", "DX", "PT"; "" where the file does not say (NIfTI, TIFF).
        units: "HU", "SUV", or "stored" for numbers whose meaning the file does not say.
        shape: slices, rows, columns.
        slices_per_volume: slices that are neighbours in space; fewer than shape[0] in a series of volumes over time.
        spacing: millimetres between slices, between rows, between columns; None where unknown or uneven.
        thickness: of a slice in millimetres.
        kernel: of the reconstruction, such as "B30f".
        storable: the smallest and largest values that a derived file of the same kind can hold; None for floats.
        affine: (4, 4) from (column, row, slice) to millimetres right, anterior, superior (RAS+), as NIfTI has it.
        patient: tells whether two scans are of one person; may hold a name. Not for logs, files or messages.
        breaks: slices that are no neighbours of the one before, as something is missing between them.
        padding: from and to which values, both included, there is no measurement, as the file declares it.
    """

    name: str
    modality: str
    units: str
    shape: tuple[int, int, int]
    slices_per_volume: int
    spacing: tuple[float | None, float | None, float | None] = (None, None, None)
    thickness: float | None = None
    kernel: str | None = None
    storable: IntensityRange | None = None
    affine: np.ndarray = field(default_factory=lambda: np.eye(4), repr=False, compare=False)
    patient: str | None = field(default=None, repr=False)
    breaks: frozenset[int] = frozenset()
    padding: tuple[float, float] | None = None

    def renamed(self, name: str) -> ScanHeader:
        return replace(self, name=name)

    def around(self, index: int, neighbours: int) -> list[int]:
        """2 * neighbours + 1 indices of slices around a slice, in order.

        Beyond the ends of its volume, and beyond a break, it is repeated.
        """
        start = index // self.slices_per_volume * self.slices_per_volume
        first = max([start, *(here for here in self.breaks if here <= index)])
        last = min([start + self.slices_per_volume, *(here for here in self.breaks if here > index)]) - 1
        wanted = range(index - neighbours, index + neighbours + 1)
        return [other if first <= other <= last else index for other in wanted]


@dataclass(frozen=True)
class Derivation:
    """What was done to a scan, for the file that is derived from it.

    Args:
        purpose: in a few words, for the series description: "denoised".
        description: one sentence with tool, version, model and the first digits of its hash.
        synthetic: whether the pixels are of another modality than the source's (MR to CT).
        modality: of the derived scan; None is the source's.
        neighbours: slices on each side that a derived slice was made of too: they are named as its sources.
    """

    purpose: str
    description: str
    synthetic: bool = False
    modality: str | None = None
    neighbours: int = 0


@dataclass(frozen=True)
class Scan(ABC):
    """A stack of slices, not in memory.

    Args:
        header: what it says about itself.
        files: what it is made of: one a slice in the order of slices, or one for all.
        warnings: what the user should know, in sentences without patient data.
    """

    header: ScanHeader
    files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """One slice, float32 (rows, columns) in the header's units, high is bright. Raises ScanError."""

    @abstractmethod
    def writer(self, output: Path, derivation: Derivation) -> ScanWriter:
        """A writer of a derived scan of the same kind. Raises ScanError where the kind cannot be written."""

    @property
    @abstractmethod
    def suffix(self) -> str:
        """Of the derived file, ".nii.gz" or ".tif"; "" where it is a folder of DICOM files."""


class ScanWriter(ABC):
    """Writes a derived scan slice by slice. Use it in a `with` block: the output appears at its end, or not at all.

    Args:
        output: the file, or the folder of DICOM files, that appears. It must not exist.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.clipped = 0  # voxels that the derived file cannot hold and that were moved to its limits

    @abstractmethod
    def write(self, index: int, values: np.ndarray) -> np.ndarray:
        """Write the values (rows, columns) of a slice in the header's units, in any order of slices.

        Returns:
            The same values as a reader will find them: rounded to what the file can hold and clipped, float32.

        Raises:
            ScanError: they are not finite, or of another shape.
        """

    @abstractmethod
    def finish(self) -> None:
        """Give the output its name. Raises ScanError if a slice was not written."""

    @abstractmethod
    def discard(self) -> None:
        """Leave nothing behind."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.finish()
        except BaseException:
            self.discard()
            raise


def check_slice(values: np.ndarray, header: ScanHeader) -> None:
    """Raise ScanError unless a slice can be written in the place of one of this scan."""
    if values.shape != header.shape[1:]:
        raise ScanError(f"{header.name}: a slice has {header.shape[1:]} rows and columns, got {values.shape}")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise ScanError(
            f"{header.name}: {bad} values of a slice are NaN or infinite: run the model in float32, or use another one"
        )
