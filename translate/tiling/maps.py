"""Activation maps that outlive a tile: in host memory, or on disk where they are too large for it."""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import shutil
import uuid
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from translate.tiling.errors import TilingError
from translate.tiling.memory import give_back_freed
from translate.tiling.regions import Region, Sink, Source
from translate.tiling.runner import Crew

Shape = tuple[int, int, int, int]  # N, C, H, W
RESIDENT = 2**24  # bytes of a map on disk that are touched before its pages are given back
LARGEST_FP16 = 65504.0


class Map(Source, Sink, Protocol):
    """An activation map (N, C, H, W)."""

    bytes: int

    def release(self) -> None:
        """Give the memory or the disk space back."""
        ...


class MappedFile:
    """A file that is memory-mapped by all processes of a crew.

    It has no name any more once all have opened it: nothing is left behind, not even after a kill.

    Raises:
        TilingError: the disk has not enough space.
    """

    def __init__(self, size: int, folder: Path, crew: Crew) -> None:
        give_back_freed()
        self._touched = 0
        path = Path(crew.gather(str(folder / f".{uuid.uuid4().hex}.map"))[0])
        try:
            with crew.together():
                if crew.index == 0:
                    _reserve(path, size)
            with crew.together(), open(path, "r+b") as file:
                self._mapped = mmap.mmap(file.fileno(), size)
        finally:
            if crew.index == 0:
                with contextlib.suppress(OSError):  # Windows keeps the name of an open file
                    path.unlink()

    def array(self, shape: tuple[int, ...], dtype: Any, offset: int = 0) -> np.ndarray:
        """A part of the file, which lets go of it before `close`."""
        return np.ndarray(shape, dtype, self._mapped, offset)

    def touched(self, rows: int, each: int) -> None:
        """Give pages back now and then: they stay in the file, and would count as memory of this process.

        Args:
            rows: that were read or written, apart from each other.
            each: bytes of one.
        """
        self._touched += rows * (-(-each // mmap.PAGESIZE) + 1) * mmap.PAGESIZE
        if self._touched > RESIDENT and hasattr(self._mapped, "madvise"):  # not on Windows
            self._mapped.madvise(mmap.MADV_DONTNEED)
            self._touched = 0

    def close(self) -> None:
        self._mapped.close()


class MemoryMap:
    """A map in host memory."""

    def __init__(self, shape: Shape, dtype: torch.dtype) -> None:
        self.shape = shape
        self.values = torch.empty(shape, dtype=dtype)
        self.bytes = math.prod(shape) * dtype.itemsize

    def read(self, region: Region) -> Tensor:
        rows, columns = region.slices
        return self.values[..., rows, columns].to(torch.float32, copy=True)

    def write(self, region: Region, values: Tensor) -> None:
        rows, columns = region.slices
        self.values[..., rows, columns] = _checked(values, self.values.dtype).to(self.values.dtype)

    def release(self) -> None:
        self.values = torch.empty(0)


class DiskMap:
    """A map in a file, row by row (N, H, C, W), so that a row of tiles lies together.

    Raises:
        TilingError: the disk has not enough space.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype, folder: Path, crew: Crew) -> None:
        self.shape = shape
        self.bytes = math.prod(shape) * dtype.itemsize
        self._file = MappedFile(self.bytes, folder, crew)
        n, channels, height, width = shape
        order = self._file.array((n, height, channels, width), _numpy_dtype(dtype))
        self._values: np.ndarray | None = order.transpose(0, 2, 1, 3)

    def read(self, region: Region) -> Tensor:
        assert self._values is not None
        rows, columns = region.slices
        values = torch.from_numpy(self._values[..., rows, columns].astype(np.float32))
        self._touch(region)
        return values

    def write(self, region: Region, values: Tensor) -> None:
        assert self._values is not None
        rows, columns = region.slices
        dtype = torch.float16 if self._values.dtype == np.float16 else torch.float32
        self._values[..., rows, columns] = _checked(values, dtype).float().cpu().numpy()
        self._touch(region)

    def _touch(self, region: Region) -> None:
        assert self._values is not None
        n, channels = self.shape[:2]
        self._file.touched(n * channels * region.height, region.width * self._values.itemsize)

    def release(self) -> None:
        self._values = None
        self._file.close()


class MapStore:
    """Makes maps: in memory up to a limit for all that are there at once, on disk beyond it.

    Args:
        limit: in bytes. Maps that several processes share are always on disk, which they must share, too.
        dtype: float32 or float16, of which the rounding (relative 5e-4) adds up over the layers.
        folder: for those on disk.
    """

    def __init__(self, limit: int, dtype: torch.dtype, folder: Path, crew: Crew) -> None:
        self.limit, self.dtype, self.folder, self.crew = limit, dtype, folder, crew
        self._maps: list[Map] = []
        self._in_memory = self._on_disk = 0
        self.peak_memory = self.peak_disk = 0  # bytes

    def make(self, shape: Shape) -> Map:
        """Raises TilingError: the disk has not enough space."""
        size = math.prod(shape) * self.dtype.itemsize
        made: Map
        if self.crew.count == 1 and self._in_memory + size <= self.limit:
            made = MemoryMap(shape, self.dtype)
            self._in_memory += size
        else:
            made = DiskMap(shape, self.dtype, self.folder, self.crew)
            self._on_disk += size
        self._maps.append(made)
        self.peak_memory = max(self.peak_memory, self._in_memory)
        self.peak_disk = max(self.peak_disk, self._on_disk)
        return made

    def release(self, made: Map) -> None:
        self._maps.remove(made)
        if isinstance(made, MemoryMap):
            self._in_memory -= made.bytes
        else:
            self._on_disk -= made.bytes
        made.release()

    def close(self) -> None:
        for made in list(self._maps):
            self.release(made)


def _checked(values: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.float16 and values.abs().amax() > LARGEST_FP16:
        raise TilingError(
            f"an activation is {float(values.abs().amax()):.3g}, maps in float16 hold up to {LARGEST_FP16:.0f}: keep "
            "them in float32"
        )
    return values


def _numpy_dtype(dtype: torch.dtype) -> type[np.floating]:
    return np.float16 if dtype == torch.float16 else np.float32


def _reserve(path: Path, size: int) -> None:
    """A file of this size, whose blocks are there: running out of space later would kill the process."""
    try:
        with open(path, "xb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
                if shutil.disk_usage(path.parent).free < size:
                    raise OSError("no space left")
    except OSError as error:
        full = error.errno in (None, errno.ENOSPC, errno.EDQUOT)
        advice = ", keep maps in float16, or allow them more memory (--map-memory)" if full else ""
        raise TilingError(
            f"a file of {size / 2**30:.2f} GiB for what is kept while the image is translated cannot be made in "
            f"{path.parent} ({error.strerror or error}): choose another folder (--scratch){advice}"
        ) from None
