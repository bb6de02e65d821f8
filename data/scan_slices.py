"""Slices of scans as files for training: one TIFF a slice, in the numbers of the scan, and which are neighbours.

A file is named pNNN_sNN_IIII.tif or pNNN_sNN_IIII_rN.tif: patient, series, slice, noisy copy. Slices with consecutive
numbers are neighbours in space; where the next slice is missing a number is left out.
"""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import tifffile

from translate.data.scans import ScanError

Storage = Literal["int16", "float16", "float32"]
STORAGES: tuple[Storage, ...] = get_args(Storage)  # the smallest first; an integer before a float of its size
_NAME = re.compile(r"(?P<series>p\d+_s\d+)_(?P<index>\d+)(?P<copy>_r\d+)?")


class StorageError(ScanError):
    """A type that does not hold the values of a slice."""


def choose_storage(values: np.ndarray) -> Storage:
    """The smallest type that holds every value of a float32 slice exactly. Raises ScanError for NaN or infinity."""
    _check_finite(values)
    return next(storage for storage in STORAGES if storage_loss(values, storage) == 0)


def storage_loss(values: np.ndarray, storage: Storage) -> float:
    """The largest difference between float32 values and what a file of this type gives back; infinite beyond it."""
    dtype = np.dtype(storage)
    if dtype.kind == "i":
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            return np.inf
        return float(np.abs(values - np.rint(values)).max())
    with np.errstate(over="ignore"):  # beyond float16 is infinite, which is what is returned
        return float(np.abs(values - values.astype(dtype).astype(np.float32)).max())


def write_slice(path: Path, values: np.ndarray, storage: Storage) -> None:
    """Write a slice as an uncompressed grey TIFF of one page, whole or not at all.

    `read_picture` gives the same float32 values back. Uncompressed, since deflate saves a third of a CT and makes
    reading nine times as slow.

    Args:
        values: float32 (H, W), finite.

    Raises:
        ScanError: the values are not so.
        StorageError: the type does not hold them; the message tells the loss.
    """
    if values.ndim != 2 or 0 in values.shape or values.dtype != np.float32:
        raise ScanError(f"a slice is float32 (H, W), got {values.dtype} of shape {values.shape}")
    _check_finite(values)
    loss = storage_loss(values, storage)
    if loss == np.inf:
        raise StorageError(
            f"{storage} does not reach from {values.min():g} to {values.max():g}, as this slice does: store it as "
            f"{choose_storage(values)}, or let auto choose"
        )
    if loss > 0:
        raise StorageError(
            f"{storage} would change the values of this slice by up to {loss:.3g}: store it as "
            f"{choose_storage(values)}, or let auto choose"
        )
    aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        tifffile.imwrite(aside, values.astype(storage), photometric="minisblack", metadata=None, software=False)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_stored(path: Path) -> np.ndarray:
    """(H, W) of the type that `write_slice` stored. For training there is `read_picture`."""
    values: np.ndarray = tifffile.imread(path)
    return values


def neighbour_paths(path: Path, neighbours: int) -> list[Path]:
    """2 * neighbours + 1 files of slices around one, in order, the slice itself in the middle.

    What is missing or lies behind a missing one is the slice itself, as in `ScanHeader.around`. Of a noisy copy the
    neighbours are copies of the same number, so that their noise is independent of its own.

    Raises:
        ScanError: the file has no name of the module's kind.
    """
    return [*reversed(_walk(path, -1, neighbours)), path, *_walk(path, 1, neighbours)]


def next_slice(path: Path) -> Path | None:
    """The neighbour with the next number, if there is one. Raises ScanError as `neighbour_paths` does."""
    following = _beside(path, 1)
    return following if following.is_file() else None


def _walk(path: Path, direction: int, steps: int) -> list[Path]:
    found: list[Path] = []
    for step in range(1, steps + 1):
        beside = _beside(path, direction * step)
        if not beside.is_file():
            break
        found.append(beside)
    return found + [path] * (steps - len(found))


def _beside(path: Path, offset: int) -> Path:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        raise ScanError(
            f"{path.name} does not tell its neighbours: slices are named like p001_s01_0001.tif by translate "
            "preprocess scans, make the data set with it"
        )
    index = int(match["index"]) + offset
    return path.with_name(f"{match['series']}_{index:04d}{match['copy'] or ''}{path.suffix}")


def _check_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ScanError(
            f"{int((~np.isfinite(values)).sum())} values of a slice are NaN or infinite: replace them in the scan first"
        )
