"""Whether a file is DICOM, by its first bytes and whatever it is called. Needs no other package."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

PREAMBLE, MAGIC = 128, b"DICM"
FIRST_ELEMENTS = {2: (0, 1, 2, 0x10), 8: (0, 1, 5, 8, 0x12, 0x16, 0x18)}  # by group, of files without preamble
FIRST_TYPES = (b"UL", b"OB", b"CS", b"UI", b"SH", b"DA")  # their value representations, where they are written


def is_dicom(path: Path) -> bool:
    """By the magic, or where that is missing by a first element that DICOM begins with. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(PREAMBLE + len(MAGIC))
    if start[PREAMBLE:] == MAGIC:
        return True
    if start[:4] in _first("little"):
        return start[4:6] in FIRST_TYPES or start[6:8] == b"\0\0"  # implicit: the length of a value, below 65536
    return start[:4] in _first("big") and start[4:6] in FIRST_TYPES


def _first(order: Literal["little", "big"]) -> set[bytes]:
    return {
        group.to_bytes(2, order) + element.to_bytes(2, order)
        for group, elements in FIRST_ELEMENTS.items()
        for element in elements
    }
