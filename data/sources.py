"""Where the files of a data set are: in a folder, or in shards. Both are asked in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from translate.data.folders import (
    Pair,
    Suffixes,
    check_halves,
    check_sizes,
    fingerprint,
    list_images,
    pair_folders,
    side_by_side,
)
from translate.data.images import Picture, PictureInfo, probe_picture, read_picture
from translate.data.shards import Shards, holds_shards


class FileSource(Protocol):
    """Files by their paths; of shards the paths are those that the files had, below the folder of the shards."""

    def is_folder(self, path: Path) -> bool: ...

    def folders(self, path: Path) -> list[str]:
        """Names of the folders in a folder, sorted; hidden ones are left out."""
        ...

    def images(self, folder: Path) -> Sequence[Path]:
        """As `list_images`."""
        ...

    def pairs(self, source: Path, target: Path, suffixes: Suffixes, split: str) -> Sequence[Pair]:
        """As `pair_folders`."""
        ...

    def singles(self, folder: Path) -> Sequence[Pair]:
        """As `side_by_side`."""
        ...

    def check_sizes(self, pairs: Sequence[Pair], scale: int, split: str) -> None: ...

    def check_halves(self, pairs: Sequence[Pair], split: str) -> None: ...

    def files(self, pairs: Sequence[Pair], *lists: Sequence[Path]) -> Sequence[Path]:
        """All files of pairs and lists, sorted, each once."""
        ...

    def sources(self, pairs: Sequence[Pair]) -> Sequence[Path]:
        """The source of each pair."""
        ...

    def examples(self, files: Sequence[Path]) -> Iterable[tuple[Path, PictureInfo]]:
        """Files with their headers, in their order: at least the first of each size and the first of each kind."""
        ...

    def fingerprint(self, files: Sequence[Path], root: Path) -> str:
        """Changes when a file comes, goes or changes its size in bytes; the same for a folder and its shards."""
        ...

    def stamp(self, path: Path) -> str:
        """Changes when a file does."""
        ...

    def probe(self, path: Path) -> PictureInfo:
        """As `probe_picture`."""
        ...

    def read(self, path: Path) -> Picture:
        """As `read_picture`."""
        ...


@dataclass(frozen=True)
class Folder:
    """Files on disk."""

    def is_folder(self, path: Path) -> bool:
        return path.is_dir()

    def folders(self, path: Path) -> list[str]:
        return sorted(inside.name for inside in path.iterdir() if inside.is_dir() and not inside.name.startswith("."))

    def images(self, folder: Path) -> Sequence[Path]:
        return list_images(folder)

    def pairs(self, source: Path, target: Path, suffixes: Suffixes, split: str) -> Sequence[Pair]:
        one, other = suffixes
        return pair_folders(source, target, source_suffix=one, target_suffix=other, split=split)

    def singles(self, folder: Path) -> Sequence[Pair]:
        return side_by_side(folder)

    def check_sizes(self, pairs: Sequence[Pair], scale: int, split: str) -> None:
        check_sizes(pairs, scale=scale, split=split)

    def check_halves(self, pairs: Sequence[Pair], split: str) -> None:
        check_halves(pairs, split=split)

    def files(self, pairs: Sequence[Pair], *lists: Sequence[Path]) -> Sequence[Path]:
        return sorted({path for pair in pairs for path in (pair.source, pair.target)}.union(*lists))

    def sources(self, pairs: Sequence[Pair]) -> Sequence[Path]:
        return [pair.source for pair in pairs]

    def examples(self, files: Sequence[Path]) -> Iterable[tuple[Path, PictureInfo]]:
        return ((path, probe_picture(path)) for path in files)

    def fingerprint(self, files: Sequence[Path], root: Path) -> str:
        return fingerprint((path.relative_to(root).as_posix(), path.stat().st_size) for path in files)

    def stamp(self, path: Path) -> str:
        facts = path.stat()
        return f"{facts.st_size} {facts.st_mtime_ns}"

    def probe(self, path: Path) -> PictureInfo:
        return probe_picture(path)

    def read(self, path: Path) -> Picture:
        return read_picture(path)


FOLDER = Folder()


def open_source(folder: Path) -> FileSource:
    """Shards where `folder` holds a set of them, else plain files.

    Raises:
        ImageError: the shards are incomplete or damaged.
    """
    return Shards.open(folder) if holds_shards(folder) else FOLDER
