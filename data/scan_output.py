"""What the writers of scans share: checks, and a volume of slices that is put together on disk."""

from __future__ import annotations

import os
import uuid
from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path

import numpy as np

from translate.data.scans import ScanError, ScanHeader, ScanWriter, check_slice

UNITS = {"HU": "CT", "SUV": "PT", "stored": ""}  # that a user can declare, and the modality that they imply


def check_units(units: str, name: str) -> None:
    """Raise ScanError for units that are not known."""
    if units not in UNITS:
        raise ScanError(f"{name}: units are {', '.join(UNITS)}, got {units!r}")


def refuse_existing(output: Path) -> None:
    """Raise ScanError if there is something where an output shall appear."""
    if output.exists():
        raise ScanError(f"{output} exists: nothing is overwritten, give a new name or remove it")


def check_complete(header: ScanHeader, written: Collection[int]) -> None:
    """Raise ScanError unless all slices were written."""
    if missing := sorted(set(range(header.shape[0])) - set(written)):
        raise ScanError(
            f"{header.name}: {len(missing)} of {header.shape[0]} slices were not written, the first is number "
            f"{missing[0] + 1}: the output was discarded, run it again"
        )


def name_aside(output: Path) -> Path:
    """A hidden name beside an output, of the same suffix, which no other run uses."""
    return output.with_name(f".{uuid.uuid4().hex[:8]}.{output.name}")


class VolumeFileWriter(ScanWriter):
    """A file of all slices, one after the other, collected beside the output; not thread-safe.

    Args:
        header: of the scan; gives the shape.
        dtype: of the file; integers are rounded half to even and clipped, floats are neither.
        offset: bytes before the first slice.
    """

    def __init__(self, output: Path, header: ScanHeader, dtype: np.dtype, offset: int = 0) -> None:
        super().__init__(output)
        self.header = header
        self.dtype = dtype
        self.offset = offset
        self.aside = name_aside(output)
        self.finished = name_aside(output)
        self._clipped: dict[int, int] = {}  # of each slice that was written
        refuse_existing(output)

    def write(self, index: int, values: np.ndarray) -> np.ndarray:
        check_slice(values, self.header)
        stored, clipped = self._stored(values)
        if not self._clipped:
            self.aside.parent.mkdir(parents=True, exist_ok=True)
        with open(self.aside, "r+b" if self._clipped else "wb") as file:
            file.seek(self.offset + index * stored.nbytes)
            file.write(stored.tobytes())
        self._clipped[index] = clipped
        self.clipped = sum(self._clipped.values())
        return stored.astype(np.float32)

    def finish(self) -> None:
        check_complete(self.header, self._clipped)
        self.complete()
        refuse_existing(self.output)
        os.rename(self.finished, self.output)
        self.aside.unlink(missing_ok=True)

    def discard(self) -> None:
        self.aside.unlink(missing_ok=True)
        self.finished.unlink(missing_ok=True)

    @abstractmethod
    def complete(self) -> None:
        """Make the file `finished` of the slices in the file `aside`."""

    def _stored(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        if self.dtype.kind == "f":
            return values.astype(self.dtype), 0
        limits = np.iinfo(self.dtype)
        rounded = np.rint(values)
        clipped = int(((rounded < limits.min) | (rounded > limits.max)).sum())
        return np.clip(rounded, limits.min, limits.max).astype(self.dtype), clipped
