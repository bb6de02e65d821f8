"""Pictures decoded once: read from one file that workers and processes map into memory and share."""

import hashlib
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from translate.data.cache_file import ALIGNED, CacheFile, DamagedCache, Packed, cores, in_threads, pack, write
from translate.data.images import ImageError, Picture
from translate.data.sources import FOLDER, FileSource
from translate.data.working_size import WorkingSize

logger = logging.getLogger(__name__)

VERSION = 3  # of what lies in the folder
KEPT_FREE = 2**30  # bytes of the disk that a cache leaves free
GIB = 2**30


class PictureCache:
    """The pictures of a data set in their working size.

    >>> cache = PictureCache.build(paths, Path("cache"))  # doctest: +SKIP
    >>> cache.read(paths[0]).pixels.dtype  # doctest: +SKIP
    dtype('uint8')
    """

    def __init__(self, file: CacheFile, paths: Iterable[Path]) -> None:
        """`paths` in the order of the rows of `file`."""
        self.file = file
        self.rows = {str(path): row for row, path in enumerate(paths)}

    @classmethod
    def build(
        cls,
        paths: Sequence[Path],
        root: Path,
        *,
        source: FileSource = FOLDER,
        size: WorkingSize | None = None,
        limit: float | None = None,
        check: bool = True,
    ) -> "PictureCache":
        """Open the cache of these files in `root`, or make it: with one thread a core, under a temporary name.

        The name covers path, size and time of every file, and the working size, so that whatever changes makes a new
        cache. That then takes the place of older ones of the same folders and working size. One that is damaged is
        made anew; two processes building at once do no harm.

        Args:
            source: where the files are read from.
            limit: the most GiB that the decoded pictures may take; None for as much as the disk has, but for one.
            check: whether every byte of a cache that is there already is compared with its checksum.

        Raises:
            ImageError: a file cannot be read, or the pictures take more than the limit or the free disk space.
        """
        size = size or WorkingSize()
        purpose, key = _names(paths, root, source, size)
        folder = root / f"{purpose}-{key}"
        if folder.is_dir():
            try:
                return cls(_open(folder, check), paths)
            except DamagedCache as damage:
                logger.warning("the cache %s is damaged (%s): it is made anew", folder, damage)
                _remove_damaged(folder, check)
        _check_space(paths, root, source, size, limit)
        _make(paths, folder, partial(_packed, source, size))
        for old in root.glob(f"{purpose}-*"):
            if old != folder:
                logger.info("the cache %s is of files that have changed since: it is removed", old)
                shutil.rmtree(old, ignore_errors=True)
        return cls(CacheFile(folder), paths)

    @property
    def folder(self) -> Path:
        return self.file.folder

    def read(self, path: Path) -> Picture:
        """The picture in its working size, without its metadata. Raises KeyError for a path not in the cache."""
        return self.file.read(self.rows[str(path)])

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "rows": self.rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.file, self.rows = CacheFile(state["folder"]), state["rows"]  # a worker maps the file itself


def _packed(source: FileSource, size: WorkingSize, path: Path) -> Packed:
    return pack(size.apply(source.read(path)))


def _names(paths: Sequence[Path], root: Path, source: FileSource, size: WorkingSize) -> tuple[str, str]:
    """What a cache is for (folders of files, working size), and what it is of (the files as they are now)."""
    prefix = f"{root.parent}{os.sep}"  # a data set may be moved together with its cache
    folders, digest = set(), hashlib.sha256()
    for path in paths:
        name = str(path).removeprefix(prefix)
        folders.add(name.rpartition(os.sep)[0])
        digest.update(os.fsencode(f"{name}\0{source.stamp(path)}\n"))
    purpose = hashlib.sha256(os.fsencode(f"{VERSION} {size} {sorted(folders)}"))
    return purpose.hexdigest()[:8], digest.hexdigest()[:16]


def _remove_damaged(folder: Path, check: bool) -> None:
    """Unless another process has put a whole one in its place meanwhile."""
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if folder.is_dir():
            try:
                _open(folder, check)
            except DamagedCache:
                shutil.rmtree(folder, ignore_errors=True)


def _open(folder: Path, check: bool) -> CacheFile:
    file = CacheFile(folder)
    if check:
        began = time.monotonic()
        file.check(cores())
        logger.info("checked %.2f GiB of decoded pictures in %.1f s", file.size / GIB, time.monotonic() - began)
    return file


def _check_space(paths: Sequence[Path], root: Path, source: FileSource, size: WorkingSize, limit: float | None) -> None:
    def needed(path: Path) -> int:
        info = source.probe(path)
        height, width = size.of(info)
        return height * width * (info.channels + info.has_alpha) * info.dtype.itemsize + ALIGNED

    total = sum(in_threads(needed, paths, cores()))
    there = next(folder for folder in (root, *root.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free - KEPT_FREE
    advice = "make the pictures smaller with data.resize, or read them from their files with data.cache false"
    if limit is not None and total > limit * GIB:
        raise ImageError(
            f"{len(paths)} decoded pictures take {total / GIB:.3g} GiB, and data.cache_limit is {limit:g}: raise it, "
            f"{advice}"
        )
    if total > free:
        raise ImageError(
            f"{len(paths)} decoded pictures take {total / GIB:.3g} GiB, and the disk of {root} has {free / GIB:.3g} to "
            f"spare: free some, {advice}"
        )


def _make(paths: Sequence[Path], folder: Path, packed: Callable[[Path], Packed]) -> None:
    """Decode into a folder aside, which gets its name when it is whole."""
    began, root = time.monotonic(), folder.parent
    aside = root / f".{folder.name}-{socket.gethostname()}-{os.getpid()}"
    logger.info("decoding %d pictures into %s", len(paths), folder)
    try:
        root.mkdir(exist_ok=True)
        _remove_leftovers(root)
        aside.mkdir()
        write(aside, in_threads(packed, paths, cores()))
        aside.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # no other process was faster
            raise ImageError(
                f"cannot make a cache in {root} ({error}): make it writable, or set data.cache to false"
            ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    logger.info("decoded them in %.1f s", time.monotonic() - began)


def _remove_leftovers(root: Path) -> None:
    """What processes of this machine that were killed have left aside."""
    for aside in root.glob(f".*-{socket.gethostname()}-*"):
        owner = aside.name.rpartition("-")[2]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(aside, ignore_errors=True)
