"""Stored integers of a DICOM image and the values that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Rescale:
    """Stored integers <-> values of one image: value = slope * stored + intercept.

    Args:
        inverted: high is dark in the file (MONOCHROME1): stored is replaced by lowest + highest - stored.
        lowest, highest: integers that can be stored, by Bits Stored and Pixel Representation.
        allocated: bits of an integer in the file.
    """

    slope: float
    intercept: float
    inverted: bool
    lowest: int
    highest: int
    allocated: int = 16

    @property
    def dtype(self) -> np.dtype:
        """Of the file's integers."""
        return np.dtype(f"{'int' if self.lowest < 0 else 'uint'}{self.allocated}")

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value that can be stored."""
        low, high = sorted(self.slope * stored + self.intercept for stored in (self.lowest, self.highest))
        return low, high

    def to_units(self, stored: np.ndarray) -> np.ndarray:
        """float32 of the same shape, high is bright. Computed in float64."""
        values = stored.astype(np.float64)
        if self.inverted:
            np.subtract(self.lowest + self.highest, values, out=values)
        values *= self.slope
        values += self.intercept
        return values.astype(np.float32)

    def to_stored(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """The inverse for finite values: rounded half to even and clipped, and how many values were clipped."""
        stored = np.rint((values.astype(np.float64) - self.intercept) / self.slope)
        clipped = int(np.count_nonzero((stored < self.lowest) | (stored > self.highest)))
        np.clip(stored, self.lowest, self.highest, out=stored)
        if self.inverted:
            np.subtract(self.lowest + self.highest, stored, out=stored)
        return stored.astype(self.dtype), clipped

    def is_exact(self) -> bool:
        """Whether float32 tells all stored integers apart: its rounding moves no value by a quarter of a step."""
        return max(map(abs, self.limits)) * 2.0**-24 < abs(self.slope) / 4


def number(dataset: Any, keyword: str) -> float | None:
    """The first value of an attribute; None where it is missing, empty or not finite."""
    try:
        value = dataset.get(keyword)
        first = value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value
        result = float(first)
    except (TypeError, ValueError, IndexError):
        return None
    return result if np.isfinite(result) else None
