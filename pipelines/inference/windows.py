"""Slices among their neighbours, in order, with few of them in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np

from translate.data.scans import Scan, ScanError

Window = tuple[int, list[np.ndarray]]  # the index of a slice, and it among its neighbours, all float32 (H, W)


def windows(scan: Scan, neighbours: int, indices: Iterable[int] | None = None) -> Iterator[Window]:
    """Each slice among its neighbours, as the header's `around` has them.

    In order nothing is read twice, and no more than one window is kept.

    Args:
        indices: of the slices wanted; None is all.

    Raises:
        ScanError: a slice cannot be read.
    """
    kept: dict[int, np.ndarray] = {}
    for index in range(scan.header.shape[0]) if indices is None else indices:
        wanted = scan.header.around(index, neighbours)
        kept = {other: kept[other] if other in kept else scan.read(other) for other in dict.fromkeys(wanted)}
        yield index, [kept[other] for other in wanted]


@contextlib.contextmanager
def naming(scan: Scan, index: int) -> Iterator[None]:
    """Say which slice of which scan an error is about."""
    try:
        yield
    except ScanError as error:
        raise ScanError(f"{scan.header.name}: slice {index + 1} of {scan.header.shape[0]}: {error}") from None
