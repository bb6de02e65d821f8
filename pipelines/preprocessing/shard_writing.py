"""One tar of a set of shards: written whole, or taken over from an earlier run."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from translate.data.images import ImageError, probe_picture


class Member(NamedTuple):
    """A file to pack: its path in the tar, where it lies, its size in bytes, and when it was changed."""

    name: str
    path: Path
    size: int
    changed: int  # nanoseconds since 1970


@dataclass(frozen=True)
class Shard:
    """A tar to write: its name, and its files in the order in which they come."""

    name: str
    members: list[Member]

    def key(self) -> str:
        """Changes when a file does."""
        told = json.dumps([[m.name, str(m.path), m.size, m.changed] for m in self.members])
        return hashlib.sha256(told.encode()).hexdigest()


class Packed(NamedTuple):
    """What became of a shard.

    rows: of each member offset, size, CRC-32, height, width, and a list of channels, alpha, dtype and format.
    problems: why members cannot be packed, by name; then the shard was not written.
    """

    size: int
    sha256: str
    rows: list[list[Any]]
    problems: dict[str, str]


def pack(shard: Shard, output: Path, aside: Path, before_each: Callable[[], None]) -> Packed:
    """Write the tar into `output`, and what it holds into the folder `aside`, from which a later run takes it over.

    Args:
        before_each: called for each file; what it raises passes through, and leaves nothing of the shard.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    record, key = aside / f"{shard.name}.json", shard.key()
    if (known := _known(record, key, output / shard.name)) is not None:
        return known
    temporary = aside / f"{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "wb") as file:
            packed = _write(shard.members, file, before_each)
            file.flush()
            os.fsync(file.fileno())  # the record must not outlive a crash that takes the bytes
        if not packed.problems:
            record.unlink(missing_ok=True)
            os.replace(temporary, output / shard.name)
            temporary.write_text(json.dumps({"key": key, **packed._asdict()}))
            os.replace(temporary, record)
    finally:
        temporary.unlink(missing_ok=True)
    return packed


def below_side(name: str) -> str:
    """The path below split and side without extension; of a file without a side, below the split."""
    parts = name.rpartition(".")[0].split("/", 2)
    return parts[-1]


def _known(record: Path, key: str, tar: Path) -> Packed | None:
    """What an earlier run packed, if it is what is wanted now and still there."""
    try:
        values = json.loads(record.read_text())
        if values.pop("key") == key and tar.stat().st_size == values["size"]:
            return Packed(**values)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _write(members: list[Member], file: BinaryIO, before_each: Callable[[], None]) -> Packed:
    digest, position = hashlib.sha256(), 0
    rows: list[list[Any]] = []
    problems: dict[str, str] = {}
    for member in members:
        before_each()
        try:
            data, look = _read(member)
        except (ImageError, OSError) as error:
            problems[member.name] = str(error)
            continue
        head = _header(member)
        rows.append([position + len(head), len(data), zlib.crc32(data), *look])
        for part in (head, data, _padding(len(data), tarfile.BLOCKSIZE)):
            file.write(part)
            digest.update(part)
            position += len(part)
    end = b"\0" * (2 * tarfile.BLOCKSIZE)
    end += _padding(position + len(end), tarfile.RECORDSIZE)
    file.write(end)
    digest.update(end)
    return Packed(position + len(end), digest.hexdigest(), rows, problems)


def _read(member: Member) -> tuple[bytes, list[Any]]:
    """The bytes of a file, and height, width and look of its picture. Raises ImageError or OSError."""
    info = probe_picture(member.path)
    data = member.path.read_bytes()
    if len(data) != member.size:
        raise ImageError(f"{member.path} changed while it was packed: give the command again when nothing writes there")
    return data, [info.height, info.width, [info.channels, info.has_alpha, info.dtype.name, info.format]]


def _header(member: Member) -> bytes:
    """A POSIX (pax) header, which takes names of any length in UTF-8; of user and rights it tells nothing."""
    entry = tarfile.TarInfo(member.name)
    entry.size, entry.mtime = member.size, member.changed // 10**9
    return entry.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int, block: int) -> bytes:
    return b"\0" * (-size % block)
