"""Decoded pictures in one flat file and an index of it, each with its checksum."""

import hashlib
import json
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from translate.data.images import Metadata, Picture
from translate.data.picture import DTYPES

PIXELS, INDEX, FACTS = "pixels.bin", "index.npy", "cache.json"
ROW = np.dtype([
    ("offset", "<u8"), ("height", "<u4"), ("width", "<u4"), ("channels", "u1"), ("alpha", "?"), ("dtype", "u1"),
    ("format", "S8"), ("crc", "<u4"),
])  # fmt: skip
ALIGNED = 16  # bytes, for every dtype
CHECKED = 64  # pictures that a thread checks at a time

T = TypeVar("T")
R = TypeVar("R")


class DamagedCache(Exception):
    """What is on disk is not what was written. The message says which file and how."""


class Packed(NamedTuple):
    """A picture's bytes, plane by plane and pixels before alpha, and its row without the offset."""

    data: bytes
    row: tuple[int, int, int, bool, int, bytes, int]


def pack(picture: Picture) -> Packed:
    """As it lies in the file."""
    height, width, channels = picture.pixels.shape
    data = np.ascontiguousarray(picture.pixels.transpose(2, 0, 1)).tobytes()
    if picture.alpha is not None:
        data += np.ascontiguousarray(picture.alpha).tobytes()
    dtype, format = DTYPES.index(picture.pixels.dtype), picture.metadata.format.encode()
    return Packed(data, (height, width, channels, picture.alpha is not None, dtype, format, zlib.crc32(data)))


def write(folder: Path, pictures: Iterable[Packed]) -> None:
    """Write pictures in their order. The facts come last: with them the folder is complete."""
    rows = []
    with open(folder / PIXELS, "wb") as file:
        for picture in pictures:
            file.write(b"\0" * (-file.tell() % ALIGNED))
            rows.append((file.tell(), *picture.row))
            file.write(picture.data)
        size = file.tell()
    np.save(folder / INDEX, np.array(rows, ROW))
    facts = {"pictures": len(rows), "bytes": size, "index": _digest(folder / INDEX)}
    (folder / FACTS).write_text(json.dumps(facts))


class CacheFile:
    """The pictures of a folder by their rows. Mapped into memory: processes share what the system keeps of it."""

    def __init__(self, folder: Path) -> None:
        """Raises DamagedCache: a file is missing, or not the one that was written."""
        self.folder = folder
        try:
            facts = json.loads((folder / FACTS).read_text())
            if _digest(folder / INDEX) != facts["index"]:
                raise DamagedCache(f"{INDEX} has changed")
            self.index = np.load(folder / INDEX)
            if (folder / PIXELS).stat().st_size != facts["bytes"]:
                raise DamagedCache(f"{PIXELS} has {(folder / PIXELS).stat().st_size} bytes of {facts['bytes']}")
        except (OSError, ValueError, KeyError) as error:
            raise DamagedCache(str(error)) from error
        self.size: int = facts["bytes"]
        self._pixels = np.memmap(folder / PIXELS, np.uint8, "r") if self.size else np.empty(0, np.uint8)

    def read(self, row: int) -> Picture:
        """The picture, without its metadata but for the format. Its arrays are views that cannot be written to."""
        offset, height, width, channels, has_alpha, dtype, format, _ = self.index[row].item()
        kind = DTYPES[dtype]
        planes: np.ndarray = np.ndarray((channels, height, width), kind, self._pixels, offset)
        alpha = None
        if has_alpha:
            alpha = np.ndarray((height, width), kind, self._pixels, offset + planes.nbytes)
        return Picture(planes.transpose(1, 2, 0), alpha, _metadata(format))

    def check(self, threads: int) -> None:
        """Read every byte once. Raises DamagedCache: a picture is not what was written."""
        blocks = range(0, len(self.index), CHECKED)
        for bad in in_threads(self._damaged, blocks, threads):
            if bad is not None:
                raise DamagedCache(f"{PIXELS} is damaged in picture {bad + 1} of {len(self.index)}")

    def _damaged(self, first: int) -> int | None:
        for row, entry in enumerate(self.index[first : first + CHECKED], first):
            samples = int(entry["height"]) * int(entry["width"]) * (int(entry["channels"]) + bool(entry["alpha"]))
            begin = int(entry["offset"])
            data = self._pixels[begin : begin + samples * DTYPES[entry["dtype"]].itemsize]
            if zlib.crc32(data.data) != entry["crc"]:
                return row
        return None


@cache
def _metadata(format: bytes) -> Metadata:
    return Metadata(format.decode())


def in_threads(work: Callable[[T], R], items: Sequence[T], threads: int) -> Iterator[R]:
    """`map` in threads that are a little ahead, not by the whole list; no work is begun after an error."""
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
