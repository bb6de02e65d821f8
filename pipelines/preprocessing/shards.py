"""Stage 1 for large data sets: a prepared folder becomes a few large tars with an index, for training."""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Any

from tqdm.auto import tqdm

from translate.data.folders import fingerprint, list_images, shown
from translate.data.images import ImageError
from translate.data.shard_index import INDEX, Facts, Index, sort_key
from translate.pipelines.preprocessing.folders import check_apart
from translate.pipelines.preprocessing.ownership import origin_of
from translate.pipelines.preprocessing.shard_output import SUMS, UNFINISHED, claimed, finish, is_finished
from translate.pipelines.preprocessing.shard_writing import Member, Packed, Shard, below_side, pack

logger = logging.getLogger(__name__)
SPLITS = ("train", "val")


@dataclass(frozen=True)
class Packing:
    """How a data set is packed.

    shard_size: megabytes (10^6 bytes) of files in a shard; a larger file has a shard of its own.
    workers: shards that are written at once.
    overwrite: replace shards in the output that were packed from another folder.
    """

    shard_size: float = 1000.0
    workers: int = 2
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.shard_size < math.inf:
            raise ImageError(f"the size of a shard must be a number of MB above 0, got {self.shard_size:g}")
        if self.workers < 1:
            raise ImageError(f"workers must be at least 1, got {self.workers}")


def pack_shards(folder: Path, output: Path, packing: Packing, *, show_progress: bool = True) -> dict[str, Any]:
    """Pack train/ and val/ of a prepared data set, every file as it is, byte for byte.

    The tars hold the paths of the folder, so that unpacking them gives it back; sources and targets of one name lie
    side by side. The index comes last: without it the shards are not read. A run that was stopped goes on.

    Returns:
        {"kind": "shards", "images", "failed", "left_out", "splits": {split: files}, "shards", "bytes", "output",
        "manifest", "problems"}.

    Raises:
        ImageError: the folder is no data set, the output holds something else, or files cannot be read.
        OSError: the output cannot be written.
    """
    check_apart(output, folder)
    check_apart(folder, output)
    members = _members(folder)
    shards = _plan(members, round(packing.shard_size * 1e6))
    plan = hashlib.sha256("".join(shard.key() for shard in shards).encode()).hexdigest()
    origin = origin_of("shards", folder)
    with claimed(output, origin, overwrite=packing.overwrite):
        if packing.overwrite or not is_finished(output, plan):
            packed = _pack_all(shards, output, packing.workers, show_progress)
            finish(folder, output, shards, packed, Facts([], [], _fingerprints(members), origin, plan))
        shutil.rmtree(output / UNFINISHED)
    size = sum(size for _, size in Index(output / INDEX).facts.shards)
    return {
        "kind": "shards",
        "images": len(members),
        "failed": 0,
        "left_out": 0,
        "splits": {split: count for split, (count, _) in _fingerprints(members).items()},
        "shards": len(shards),
        "bytes": size,
        "output": str(output),
        "manifest": str(output / SUMS),
        "problems": {},
    }


def _members(folder: Path) -> list[Member]:
    """Every picture of train/ and val/, in the order of the index."""
    if not (folder / "train").is_dir():
        what = "is a file" if folder.is_file() else "has no folder train/" if folder.exists() else "does not exist"
        raise ImageError(
            f"{folder} {what}: give a prepared folder (translate preprocess makes one) with train/ and, if wanted, val/"
        )
    members = []
    for split in SPLITS:
        for path in list_images(folder / split) if (folder / split).is_dir() else []:
            name, facts = path.relative_to(folder).as_posix(), path.stat()
            if not _is_text(name):
                raise ImageError(f"the name {name!r} is no valid UTF-8, which the index needs: rename the file")
            members.append(Member(name, path, facts.st_size, facts.st_mtime_ns))
    return sorted(members, key=lambda member: sort_key(member.name))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plan(members: list[Member], limit: int) -> list[Shard]:
    """Fill shards of each split one after the other, with the files of a pair beside one another in one shard."""
    shards: list[Shard] = []
    for split in SPLITS:
        current: list[Member] = []
        room, number = limit, 0
        for together in _kept_together([m for m in members if m.name.startswith(f"{split}/")], limit):
            size = sum(member.size for member in together)
            if current and size > room:
                shards.append(Shard(f"{split}-{number:06d}.tar", current))
                current, room, number = [], limit, number + 1
            current += together
            room -= size
        if current:
            shards.append(Shard(f"{split}-{number:06d}.tar", current))
    return shards


def _kept_together(members: list[Member], limit: int) -> Iterator[list[Member]]:
    """Files of one name below split and side; each for itself where they are more than a shard holds."""
    ordered = sorted(members, key=lambda member: (below_side(member.name), member.name))
    for _, group in groupby(ordered, key=lambda member: below_side(member.name)):
        together = list(group)
        if sum(member.size for member in together) <= limit:
            yield together
        else:
            yield from ([member] for member in together)


def _fingerprints(members: list[Member]) -> dict[str, tuple[int, str]]:
    """Files and fingerprint of each split."""
    found = {}
    for split in SPLITS:
        own = [(m.name, m.size) for m in members if m.name.startswith(f"{split}/")]
        if own:
            found[split] = (len(own), fingerprint(own))
    return found


def _pack_all(shards: list[Shard], output: Path, workers: int, show_progress: bool) -> list[Packed]:
    """Write every shard. Raises ImageError if a file cannot be read, after all shards without such files are there."""
    (output / INDEX).unlink(missing_ok=True)  # from here on the old shards are replaced one by one
    stop = Event()
    total = sum(len(shard.members) for shard in shards)
    with ThreadPoolExecutor(workers) as pool, tqdm(total=total, unit="image", disable=not show_progress) as bar:

        def before_each() -> None:
            if stop.is_set():
                raise KeyboardInterrupt
            bar.update()

        try:
            done = list(pool.map(lambda shard: pack(shard, output, output / UNFINISHED, before_each), shards))
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    problems = {name: reason for packed in done for name, reason in packed.problems.items()}
    if problems:
        for name, reason in problems.items():
            logger.warning("%s: %s", name, reason)
        raise ImageError(
            f"{len(problems)} of {total} files cannot be packed, {shown(problems)}: repair them, or remove them "
            "with their partners; the same command goes on"
        )
    return done
