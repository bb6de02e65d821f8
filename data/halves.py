"""Smaller versions of a large picture, made tile by tile."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

LARGE_SIDE = 4096  # above, viewers need smaller versions
SMALL_SIDE = 1024  # no smaller version is needed below


def level_sides(height: int, width: int) -> list[tuple[int, int]]:
    """(height, width) from full resolution down; one alone for pictures of up to LARGE_SIDE. Halves are rounded up."""
    sides = [(height, width)]
    while max(height, width) > LARGE_SIDE and max(sides[-1]) > SMALL_SIDE:
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    return sides


def halve(values: np.ndarray, has_alpha: bool) -> np.ndarray:
    """Means of 2 x 2 pixels of (H, W, samples), at an odd border of what is there; colours are weighted by alpha."""
    height, width = values.shape[:2]
    exact: type[np.floating] = np.float64 if has_alpha else np.float32  # of products and of sums of 16-bit values
    padded = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge").astype(exact)
    means = _sums(padded) / 4
    if has_alpha:
        total = _sums(padded[..., -1:])
        weighted = _sums(padded[..., :-1] * padded[..., -1:])
        means[..., :-1] = np.where(total > 0, weighted / np.where(total > 0, total, 1), means[..., :-1])
    return (np.rint(means) if values.dtype.kind == "u" else means).astype(values.dtype)


def _sums(values: np.ndarray) -> np.ndarray:
    """Of 2 x 2 pixels."""
    rows = values[0::2] + values[1::2]
    return rows[:, 0::2] + rows[:, 1::2]


class Scratch:
    """A picture (H, W, samples) in an unnamed file, in and out by windows.

    Not a memory map: written pages of one count as the process's memory.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype, folder: Path) -> None:
        self.shape, self.dtype = shape, dtype
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115

    def write(self, row: int, column: int, values: np.ndarray) -> None:
        """Put values (H, W, samples) with their first pixel at a row and column."""
        for offset, line in enumerate(values):
            self._file.seek(self._place(row + offset, column))
            self._file.write(line.tobytes())

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        width = columns.stop - columns.start
        out = np.empty((rows.stop - rows.start, width, self.shape[2]), self.dtype)
        for offset, line in enumerate(out):
            self._file.seek(self._place(rows.start + offset, columns.start))
            line[:] = np.frombuffer(self._file.read(line.nbytes), self.dtype).reshape(line.shape)
        return out

    def close(self) -> None:
        self._file.close()

    def _place(self, row: int, column: int) -> int:
        return (row * self.shape[1] + column) * self.shape[2] * self.dtype.itemsize
