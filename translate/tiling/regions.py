"""Rectangles of an image or of an activation map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from torch import Tensor


class Region(NamedTuple):
    """Half-open rows and columns, in pixels of the map that it belongs to."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: Region) -> tuple[slice, slice]:
        """Where this region is in an array that holds `outer`."""
        top, left = self.top - outer.top, self.left - outer.left
        return slice(top, top + self.height), slice(left, left + self.width)

    def hull(self, other: Region) -> Region:
        """The smallest region that holds both."""
        return Region(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )

    def quarters(self) -> list[Region]:
        """The region in up to four parts, each side halved (the first half is the larger one)."""
        row, column = self.top + (self.height + 1) // 2, self.left + (self.width + 1) // 2
        parts = [
            Region(top, bottom, left, right)
            for top, bottom in ((self.top, row), (row, self.bottom))
            for left, right in ((self.left, column), (column, self.right))
        ]
        return [part for part in parts if part.height and part.width]


class Source(Protocol):
    """Something that gives its pixels by regions.

    shape: (N, C, H, W).
    """

    @property
    def shape(self) -> tuple[int, int, int, int]: ...

    def read(self, region: Region) -> Tensor:
        """(N, C, region.height, region.width), float32 on the CPU."""
        ...


class Sink(Protocol):
    """Something that takes its pixels by regions, in any order."""

    def write(self, region: Region, values: Tensor) -> None:
        """Take (N, C, region.height, region.width) of any float dtype, on any device."""
        ...


def cover(height: int, width: int, side: int) -> Iterator[Region]:
    """Regions of at most side x side that cover a map without overlap, row by row; the last ones are smaller."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield Region(top, min(top + side, height), left, min(left + side, width))
