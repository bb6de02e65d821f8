"""Pictures that are read by windows, so that one that is larger than memory can be read and translated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from translate.data.picture import ImageError, Metadata, Picture, PictureInfo, from_array, reading, to_array

CACHE_BYTES = 64 * 2**20
MAX_TILE_BYTES = 2**30  # what a file makes us decode at once
MICROMETRES_PER_INCH = 25400.0
LARGE = 'pip install "translate-images[large]"'

Read = Callable[[slice, slice], np.ndarray]  # rows and columns to (H, W, samples)


class WindowedImage(Protocol):
    """A picture of any size that gives any window of itself."""

    @property
    def info(self) -> PictureInfo:
        """Of the whole picture, seen upright."""
        ...

    @property
    def metadata(self) -> Metadata: ...

    def read(self, rows: slice, columns: slice) -> Picture:
        """The window as a picture of its own, with values as `read_picture` would give them.

        Raises:
            ImageError: the window is empty or reaches over the border, or the file is damaged there.
        """
        ...

    def close(self) -> None:
        """Let go of the file. Nothing can be read afterwards."""
        ...


class WindowReader(ABC):
    """An open file that is a WindowedImage, and a context manager that closes it."""

    def __init__(self, path: Path, info: PictureInfo, metadata: Metadata) -> None:
        self.path = path
        self.info = info
        self.metadata = metadata

    def read(self, rows: slice, columns: slice) -> Picture:
        with reading(self.path):
            check_window(rows, columns, self.info)
            return from_array(self._values(rows, columns), self.metadata)

    @abstractmethod
    def _values(self, rows: slice, columns: slice) -> np.ndarray:
        """(H, W, channels and straight alpha) of a window that is inside."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class InMemory:
    """A picture as a WindowedImage. Its windows share the picture's memory."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.info = picture.info
        self.metadata = picture.metadata

    def read(self, rows: slice, columns: slice) -> Picture:
        check_window(rows, columns, self.info)
        alpha = None if self.picture.alpha is None else self.picture.alpha[rows, columns]
        return Picture(self.picture.pixels[rows, columns], alpha, self.metadata)

    def close(self) -> None:
        """Nothing to do."""


class Tiles:
    """The tiles of a stored picture, each decoded when a window first needs it; the last ones are kept.

    Args:
        shape: (H, W, samples) of the whole.
        side: height and width of a tile. The first one begins at row and column 0.
        load: gives the tile of a row and a column of tiles, (side[0], side[1], samples); those at the right and at the
            bottom may be cut at the border.

    Raises:
        ImageError: the tiles are too large to be decoded one at a time.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        side: tuple[int, int],
        dtype: np.dtype,
        load: Callable[[int, int], np.ndarray],
    ) -> None:
        self.shape, self.side, self.dtype, self.load = shape, side, dtype, load
        self._kept: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._bytes = 0
        size = min(side[0], shape[0]) * min(side[1], shape[1]) * shape[2] * dtype.itemsize
        if size > MAX_TILE_BYTES:
            raise ImageError(
                f"its pixels are stored in blocks of {side[0]} x {side[1]} (H x W), {size / 2**30:.1f} GiB each, of "
                f"which allowed is {MAX_TILE_BYTES / 2**30:.0f}: save it with smaller tiles, 512 x 512 for example"
            )

    def window(self, rows: slice, columns: slice) -> np.ndarray:
        """(rows, columns, samples) of a window that is inside."""
        (height, width), (last_row, last_column) = self.side, self.shape[:2]
        out = np.empty((rows.stop - rows.start, columns.stop - columns.start, self.shape[2]), self.dtype)
        for row in range(rows.start // height, -(-rows.stop // height)):
            top, bottom = max(rows.start, row * height), min(rows.stop, (row + 1) * height, last_row)
            for column in range(columns.start // width, -(-columns.stop // width)):
                left, right = max(columns.start, column * width), min(columns.stop, (column + 1) * width, last_column)
                tile = self._tile(row, column)
                part = tile[top - row * height : bottom - row * height, left - column * width : right - column * width]
                out[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = part
        return out

    def _tile(self, row: int, column: int) -> np.ndarray:
        if (row, column) in self._kept:
            self._kept.move_to_end((row, column))
            return self._kept[row, column]
        tile = self.load(row, column)
        self._kept[row, column] = tile
        self._bytes += tile.nbytes
        while len(self._kept) > 1 and self._bytes > CACHE_BYTES:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return tile


def cover(height: int, width: int, side: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of windows of at most side x side that cover a picture, row by row."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield slice(top, min(top + side, height)), slice(left, min(left + side, width))


def array_reader(image: WindowedImage) -> Read:
    """Reads windows as (H, W, samples), alpha last."""

    def read(rows: slice, columns: slice) -> np.ndarray:
        picture = image.read(rows, columns)
        return to_array(picture).reshape(*picture.pixels.shape[:2], -1)

    return read


def check_window(rows: slice, columns: slice, info: PictureInfo) -> None:
    """Raise ImageError unless both slices have a start and a stop inside the picture, and no step."""
    for name, window, side in (("rows", rows, info.height), ("columns", columns, info.width)):
        whole = isinstance(window.start, int) and isinstance(window.stop, int) and window.step in (None, 1)
        if not whole or not 0 <= window.start < window.stop <= side:
            raise ImageError(
                f"the window has the {name} {window.start} to {window.stop} (step {window.step}), allowed are some of "
                f"0 to {side}, without a step: cut it at the border"
            )


def dpi_of(spacing: tuple[float, float] | None) -> tuple[float, float] | None:
    """Pixels per inch of a horizontal and vertical distance of pixels in micrometres; None where it makes no sense."""
    if spacing is None or not all(0 < value < 1e9 for value in spacing):
        return None
    return MICROMETRES_PER_INCH / spacing[0], MICROMETRES_PER_INCH / spacing[1]


def spacing_of(metadata: Metadata) -> tuple[float, float] | None:
    """The inverse of `dpi_of`: horizontal and vertical distance of pixels in micrometres, or None."""
    if metadata.dpi is None:
        return None
    return MICROMETRES_PER_INCH / metadata.dpi[0], MICROMETRES_PER_INCH / metadata.dpi[1]
