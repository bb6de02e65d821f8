"""A data set in shards: tars of many files, read at random through an index. POSIX systems only."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from translate.data.folders import (
    Listing,
    Pair,
    Suffixes,
    check_halves,
    check_sizes,
    fingerprint,
    match_names,
)
from translate.data.images import ImageError, Picture, PictureInfo, decode_picture
from translate.data.shard_index import INDEX, Index

OPEN_SHARDS = 128  # of a process at once
SHARD_NAMES = "*-[0-9][0-9][0-9][0-9][0-9][0-9].tar"


def holds_shards(folder: Path) -> bool:
    """Whether a folder holds a data set in shards.

    Raises:
        ImageError: it holds shards, but no index of them.
    """
    if (folder / INDEX).is_file():
        return True
    if any(folder.glob(SHARD_NAMES)):
        raise ImageError(
            f"{folder} holds shards without {INDEX}: they are not complete, give the same translate preprocess shards "
            "again, or copy the rest of the folder"
        )
    return False


class ShardFiles(Sequence[Path]):
    """Files of shards by their rows; each path is made when it is asked for."""

    def __init__(self, shards: Shards, rows: np.ndarray) -> None:
        self.shards, self.rows = shards, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.shards.path(int(row)) for row in self.rows[index]]
        return self.shards.path(int(self.rows[index]))


class ShardPairs(Sequence[Pair]):
    """Pairs by the rows of their two files; each is made when it is asked for."""

    def __init__(self, shards: Shards, source: Path, suffix: str, rows: tuple[np.ndarray, np.ndarray]) -> None:
        """`source`: the folder from which the names of pairs count; `suffix` what is cut off the sources' names."""
        self.shards, self.source, self.suffix = shards, source, suffix
        self.rows = rows
        self._cut = len(shards.inside(source)) + 1

    def __len__(self) -> int:
        return len(self.rows[0])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        one, other = (int(rows[index]) for rows in self.rows)
        name = self.shards.index.name(one)[self._cut :].rpartition(".")[0].removesuffix(self.suffix)
        return Pair(name, self.shards.path(one), self.shards.path(other))


class Shards:
    """A `FileSource`. A process that gets it by fork or pickling maps the same index, and opens shards by itself."""

    def __init__(self, folder: Path) -> None:
        """Map the index, without the checks of `open`."""
        self.folder = folder
        self.index = Index(folder / INDEX)
        self._columns = self.index.columns
        self._prefix = str(folder / "_")[:-1]  # of every path
        self._shard = lru_cache(OPEN_SHARDS)(self._open_shard)

    def __reduce__(self) -> tuple[type[Shards], tuple[Path]]:
        return Shards, (self.folder,)

    @classmethod
    def open(cls, folder: Path) -> Shards:
        """Check the index whole, and that every shard is there in its length.

        Raises:
            ImageError: naming what is damaged or missing.
        """
        shards = cls(folder)
        shards.index.check()
        for name, size in shards.index.facts.shards:
            path = folder / name
            there = path.stat().st_size if path.is_file() else None
            if there != size:
                what = "is missing" if there is None else f"has {there} bytes of {size}"
                raise ImageError(f"the shard {path} {what}: copy it again, or pack the data set again with --overwrite")
        return shards

    def path(self, row: int) -> Path:
        return Path(self._prefix + self.index.name(row))

    def inside(self, path: Path) -> str:
        """A path from the folder of the shards on."""
        return path.relative_to(self.folder).as_posix()

    def is_folder(self, path: Path) -> bool:
        return len(self.index.rows(self.inside(path))) > 0

    def folders(self, path: Path) -> list[str]:
        cut = len(self.inside(path)) + 1
        names = (self.index.name(row)[cut:] for row in self.index.rows(self.inside(path)))
        return sorted({name.partition("/")[0] for name in names if "/" in name})

    def images(self, folder: Path) -> ShardFiles:
        return ShardFiles(self, np.asarray(self.index.rows(self.inside(folder)), np.uint32))

    def singles(self, folder: Path) -> ShardPairs:
        rows = self.images(folder).rows
        return ShardPairs(self, folder, "", (rows, rows))

    def pairs(self, source: Path, target: Path, suffixes: Suffixes, split: str) -> ShardPairs:
        """As `pair_folders`. The usual pairs, by equal names, are found without looking at the names one by one."""
        sides = [self.inside(folder) for folder in (source, target)]
        rows = [self.index.by_name(side) for side in sides]
        stems = [self._columns["stem"][side_rows] for side_rows in rows]
        plain = suffixes == ("", "") and all(side.count("/") == 1 for side in sides)
        if plain and np.array_equal(*stems) and (stems[0][1:] != stems[0][:-1]).all():
            return ShardPairs(self, source, "", (rows[0], rows[1]))
        listings = [self._listing(folder, suffix) for folder, suffix in zip((source, target), suffixes, strict=True)]
        matched = match_names(listings[0], listings[1], split)
        one, other = (
            self.index.rows(side).start + np.array([match[place] for match in matched], np.uint32)
            for place, side in enumerate(sides, 1)
        )
        return ShardPairs(self, source, suffixes[0], (one, other))

    def check_sizes(self, pairs: Sequence[Pair], scale: int, split: str) -> None:
        assert isinstance(pairs, ShardPairs)
        wrong = np.zeros(len(pairs), bool)
        for side in ("height", "width"):
            source, target = (self._columns[side][rows].astype(np.int64) for rows in pairs.rows)
            wrong |= target != source * scale
        some = [pairs[place] for place in np.flatnonzero(wrong)]
        check_sizes(some, scale=scale, split=split, of=len(pairs), probe=self.probe)

    def check_halves(self, pairs: Sequence[Pair], split: str) -> None:
        assert isinstance(pairs, ShardPairs)
        odd = np.flatnonzero(self._columns["width"][pairs.rows[0]] % 2)
        check_halves([pairs[place] for place in odd], split=split, of=len(pairs), probe=self.probe)

    def files(self, pairs: Sequence[Pair], *lists: Sequence[Path]) -> ShardFiles:
        wanted = np.zeros(len(self.index), bool)
        for rows in (side for some in (pairs, *lists) for side in _rows_of(some)):
            wanted[rows] = True
        return ShardFiles(self, np.flatnonzero(wanted).astype(np.uint32))

    def sources(self, pairs: Sequence[Pair]) -> ShardFiles:
        return ShardFiles(self, _rows_of(pairs)[0])

    def examples(self, files: Sequence[Path]) -> Iterable[tuple[Path, PictureInfo]]:
        (rows,) = _rows_of(files)
        height, width, look = (self._columns[name][rows].astype(np.uint64) for name in ("height", "width", "look"))
        firsts = [np.unique(facts, return_index=True)[1] for facts in (height << np.uint64(32) | width, look)]
        return [(path, self.probe(path)) for path in (files[first] for first in np.unique(np.concatenate(firsts)))]

    def fingerprint(self, files: Sequence[Path], root: Path) -> str:
        (rows,) = _rows_of(files)
        split = self.index.name(int(rows[0])).partition("/")[0]
        count, known = self.index.facts.splits[split]
        if len(rows) == count and split == self.index.name(int(rows[-1])).partition("/")[0]:
            return known
        return fingerprint((self.index.name(int(row)), int(self._columns["size"][row])) for row in rows)

    def stamp(self, path: Path) -> str:
        row = self._row(path)
        return f"{self._columns['size'][row]} {self._columns['crc'][row]:08x}"

    def probe(self, path: Path) -> PictureInfo:
        row = self._row(path)
        channels, alpha, dtype, format = self.index.facts.looks[int(self._columns["look"][row])]
        height, width = int(self._columns["height"][row]), int(self._columns["width"][row])
        return PictureInfo(height, width, channels, alpha, np.dtype(dtype), format)

    def read(self, path: Path) -> Picture:
        return decode_picture(self.content(path), path)

    def content(self, path: Path) -> bytes:
        """The bytes of a file, which are those that were packed.

        Raises:
            ImageError: there is no such file, or its bytes are not as they were packed.
        """
        row = self._row(path)
        name, _ = self.index.facts.shards[int(self._columns["shard"][row])]
        offset, size, crc = (int(self._columns[column][row]) for column in ("offset", "size", "crc"))
        try:
            data = _read_at(self._shard(name), offset, size)
        except OSError as error:
            raise ImageError(f"cannot read {path}: the shard {self.folder / name} cannot be read ({error})") from error
        if len(data) != size or zlib.crc32(data) != crc:
            raise ImageError(
                f"cannot read {path}: it is damaged in the shard {self.folder / name}: copy the shard again, or pack "
                "the data set again with --overwrite"
            )
        return data

    def _listing(self, folder: Path, suffix: str) -> Listing:
        inside = self.inside(folder)
        names = [self.index.name(row)[len(inside) + 1 :] for row in self.index.rows(inside)]
        return Listing(folder, names, suffix)

    def _row(self, path: Path) -> int:
        name = str(path)
        row = self.index.row(name.removeprefix(self._prefix)) if name.startswith(self._prefix) else None
        if row is None:
            raise ImageError(f"cannot read {path}: the shards in {self.folder} hold no such file")
        return row

    def _open_shard(self, name: str) -> FileIO:
        return FileIO(self.folder / name)


def _rows_of(files: Sequence[Any]) -> tuple[np.ndarray, ...]:
    if isinstance(files, ShardPairs):
        return files.rows
    return (files.rows if isinstance(files, ShardFiles) else np.empty(0, np.uint32),)


def _read_at(file: FileIO, offset: int, size: int) -> bytes:
    """So many bytes from there on, or fewer where the file ends; processes and threads may share the file."""
    data = os.pread(file.fileno(), size, offset)
    while len(data) < size and (more := os.pread(file.fileno(), size - len(data), offset + len(data))):
        data += more  # the system gives 2 GiB at most
    return data
