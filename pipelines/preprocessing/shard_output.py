"""The folder that a set of shards is written to: whose it is, and what turns its shards into a data set."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from translate.data.folders import shown
from translate.data.images import ImageError
from translate.data.shard_index import INDEX, Facts, Index, name_columns, sort_key, write_index
from translate.data.shards import SHARD_NAMES, Shards
from translate.pipelines.journal import sha256
from translate.pipelines.preprocessing.manifest import MANIFEST
from translate.pipelines.preprocessing.shard_writing import Packed, Shard, below_side

logger = logging.getLogger(__name__)
SUMS = "SHA256SUMS"  # as sha256sum -c reads it
UNKNOWN = ""  # origin of shards whose index cannot be read
UNFINISHED = ".packing"  # inside the output; what a later run needs to go on
CACHE = "cache"  # where training keeps decoded pictures


@contextmanager
def claimed(output: Path, origin: str, *, overwrite: bool) -> Iterator[None]:
    """Inside, nobody else packs into `output`, which is ours to write.

    Raises:
        ImageError: it holds files of somebody else, shards of another folder, or another process packs there.
    """
    _check_owned(output, origin, overwrite)
    unfinished = output / UNFINISHED
    unfinished.mkdir(parents=True, exist_ok=True)
    with open(unfinished / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ImageError(f"another process is packing into {output}: wait for it, or give another folder") from None
        for left in unfinished.glob("*.tmp"):  # by a run that was killed
            left.unlink()
        aside = unfinished / "origin.tmp"
        aside.write_text(json.dumps({"origin": origin}))
        os.replace(aside, unfinished / "origin.json")
        yield


def _check_owned(output: Path, origin: str, overwrite: bool) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise ImageError(f"{output} is a file: give a folder for the shards")
    ours = {INDEX, MANIFEST, SUMS, UNFINISHED, CACHE, *(path.name for path in output.glob(SHARD_NAMES))}
    strangers = sorted(path.name for path in output.iterdir() if path.name not in ours)
    known = _origin(output)
    if strangers or (known is None and any(output.iterdir())):
        listed = strangers or sorted(path.name for path in output.iterdir())
        raise ImageError(
            f"{output} holds {len(listed)} files that preprocess shards did not write, {shown(listed)}: give another "
            "folder for the shards"
        )
    if known not in (None, origin) and not overwrite:
        raise ImageError(
            f"{output} holds shards of another folder, or their index is damaged: give another output, or --overwrite "
            "to replace them"
        )


def _origin(output: Path) -> str | None:
    """What the shards in a folder were packed from; None if there are none."""
    note = output / UNFINISHED / "origin.json"
    if note.is_file():
        return str(json.loads(note.read_text())["origin"])
    try:
        return Index(output / INDEX).facts.origin if (output / INDEX).is_file() else None
    except ImageError:
        return UNKNOWN


def is_finished(output: Path, plan: str) -> bool:
    """Whether the shards that are wanted are there, whole."""
    try:
        return (output / INDEX).is_file() and Shards.open(output).index.facts.plan == plan
    except ImageError as error:
        logger.warning("%s; it is packed again", error)
        return False


def finish(folder: Path, output: Path, shards: list[Shard], packed: list[Packed], facts: Facts) -> None:
    """Write the sums and, last, the index; remove what is left of other shards."""
    sums = {shard.name: done.sha256 for shard, done in zip(shards, packed, strict=True)}
    for old in output.glob(SHARD_NAMES):
        if old.name not in sums:
            old.unlink()
    sizes = [(shard.name, done.size) for shard, done in zip(shards, packed, strict=True)]
    columns, looks = _columns(shards, packed)
    aside = output / UNFINISHED
    write_index(aside / INDEX, columns, facts._replace(shards=sizes, looks=looks))
    (output / MANIFEST).unlink(missing_ok=True)
    files = [aside / INDEX]
    if (folder / MANIFEST).is_file():  # what it says of scans, training reads
        shutil.copyfile(folder / MANIFEST, aside / MANIFEST)
        files.insert(0, aside / MANIFEST)
    sums |= {path.name: sha256(path) for path in files}
    (aside / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
    for path in (aside / SUMS, *files):
        os.replace(path, output / path.name)


def _columns(shards: list[Shard], packed: list[Packed]) -> tuple[dict[str, np.ndarray], list[list[Any]]]:
    """The columns of the index, and what its column look points to."""
    found = [
        (member.name, number, *row)
        for number, (shard, done) in enumerate(zip(shards, packed, strict=True))
        for member, row in zip(shard.members, done.rows, strict=True)
    ]
    found.sort(key=lambda row: sort_key(row[0]))
    names = [row[0] for row in found]
    looks = [list(look) for look in dict.fromkeys(tuple(row[-1]) for row in found)]
    places = {tuple(look): place for place, look in enumerate(looks)}
    stems = [hashlib.blake2b(below_side(name).encode(), digest_size=8).digest() for name in names]
    numbers = np.array([row[1:-1] for row in found], np.uint64).T
    columns = dict(zip(("shard", "offset", "size", "crc", "height", "width"), numbers, strict=True))
    columns["look"] = np.array([places[tuple(row[-1])] for row in found])
    columns["order"] = np.array(sorted(range(len(names)), key=lambda row: names[row].rpartition(".")[0]))
    columns["stem"] = np.frombuffer(b"".join(stems), "<u8")
    return columns | name_columns(names), looks
