"""The index of a data set in shards: which file lies where in which tar, and how large its picture is.

One safetensors file of columns, a row for each file. It is mapped into memory, so that opening takes milliseconds for
millions of files, and all processes share it.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from translate.data.picture import ImageError

INDEX = "index.safetensors"
FORMAT = "translate shards"
VERSION = 1
ABOUT = "about"  # the key of the metadata
SEPARATOR = b"\0"  # in place of /: then the order of bytes is the order of paths, part by part
COLUMNS = {  # by row but for names, the UTF-8 paths one after the other, and ends, where each of them ends there
    "names": np.uint8,
    "ends": np.uint64,
    "shard": np.uint32,
    "offset": np.uint64,  # of the file's first byte in the tar
    "size": np.uint64,  # bytes
    "crc": np.uint32,  # CRC-32 of the file
    "height": np.uint32,  # of the upright picture
    "width": np.uint32,
    "look": np.uint16,  # which of `Facts.looks`
    "order": np.uint32,  # the rows sorted by their path without extension
    "stem": np.uint64,  # hash of the path below split and side without extension: what the two files of a pair share
}
SIZES = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64}  # as safetensors calls them


class Facts(NamedTuple):
    """What the index says of the set as a whole."""

    shards: list[tuple[str, int]]  # file name and bytes
    looks: list[list[Any]]  # channels, alpha, dtype and format of pictures
    splits: dict[str, tuple[int, str]]  # files and fingerprint of each
    origin: str  # of the folder that was packed
    plan: str  # of its files and the options


class Names(Sequence[bytes]):
    """The paths in their order, with `SEPARATOR`; each is made when it is asked for."""

    def __init__(self, blob: np.ndarray, ends: np.ndarray) -> None:
        self._blob, self._ends = blob.data, ends.data

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: Any) -> Any:
        return self._blob[self._ends[row - 1] if row else 0 : self._ends[row]].tobytes()


class Index:
    """The columns, mapped. Opening reads nothing but the header."""

    def __init__(self, path: Path) -> None:
        """Raises ImageError for a file that is no such index, is damaged, or of another version."""
        try:
            about, self.columns = _mapped(path)
            format, version, self.crc = (about.pop(key) for key in ("format", "version", "crc32"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ImageError(f"{path} is damaged ({error}): {_AGAIN}") from None
        if (format, version) != (FORMAT, VERSION):
            raise ImageError(
                f"{path} is of format {format!r}, version {version!r}, this program reads {FORMAT!r}, version "
                f"{VERSION}: {_AGAIN}"
            )
        if self.columns.keys() != COLUMNS.keys() or about.keys() != set(Facts._fields):
            raise ImageError(f"{path} is damaged (it has not what it should have): {_AGAIN}")
        self.path, self.facts = path, Facts(**about)
        self.names = Names(self.columns["names"], self.columns["ends"])

    def __len__(self) -> int:
        return len(self.names)

    def check(self) -> None:
        """Read all of it. Raises ImageError if a bit is not as it was written."""
        if _crc_of(self.columns, self.facts) != self.crc:
            raise ImageError(f"{self.path} is damaged (its checksum differs): {_AGAIN}")

    def name(self, row: int) -> str:
        return str(self.names[row].replace(SEPARATOR, b"/").decode())

    def row(self, name: str) -> int | None:
        """The row of a path such as train/source/a.png; None if there is no such file."""
        wanted = _key(name)
        row = bisect_left(self.names, wanted)
        return row if row < len(self) and self.names[row] == wanted else None

    def rows(self, folder: str) -> range:
        """All rows below a folder, in the order of `list_images`."""
        inside = _key(folder) + SEPARATOR
        return range(bisect_left(self.names, inside), bisect_left(self.names, inside[:-1] + b"\1"))

    def by_name(self, folder: str) -> np.ndarray:
        """All rows below a folder, sorted by their path without extension: the order of pairs."""
        rows, order = self.rows(folder), self.columns["order"]
        return np.asarray(order[(order >= rows.start) & (order < rows.stop)])


def write_index(path: Path, columns: dict[str, np.ndarray], facts: Facts) -> None:
    """Write the columns to `path`, which must be a temporary name."""
    typed = {name: np.ascontiguousarray(columns[name], dtype) for name, dtype in COLUMNS.items()}
    about = {"format": FORMAT, "version": VERSION, "crc32": _crc_of(typed, facts), **facts._asdict()}
    save_file(typed, path, {ABOUT: json.dumps(about)})  # one key, since several come in no fixed order


def name_columns(names: list[str]) -> dict[str, np.ndarray]:
    """The columns names and ends of paths, which must be in the order of `sort_key`."""
    keys = [_key(name) for name in names]
    ends = np.cumsum([len(key) for key in keys], dtype=np.uint64)
    return {"names": np.frombuffer(b"".join(keys), np.uint8), "ends": ends}


def sort_key(name: str) -> bytes:
    """Rows are sorted by this."""
    return _key(name)


_AGAIN = "pack the data set again with translate preprocess shards --overwrite, or copy the file again"


def _key(name: str) -> bytes:
    return name.encode().replace(b"/", SEPARATOR)


def _mapped(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a safetensors file says, and its columns: 8 bytes with the length of a header, which is JSON; the values."""
    content = np.memmap(path, np.uint8, "r")
    start = 8 + int(content[:8].view("<u8")[0])
    header = json.loads(content[8:start].tobytes())
    about = json.loads(header.pop("__metadata__")[ABOUT])
    columns = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        if start + last > content.size:
            raise ValueError(f"{content.size} bytes of at least {start + last} are there")
        columns[name] = content[start + first : start + last].view(SIZES[entry["dtype"]])
    return about, columns


def _crc_of(columns: dict[str, np.ndarray], facts: Facts) -> int:
    crc = zlib.crc32(json.dumps(facts).encode())
    for name in sorted(columns):
        crc = zlib.crc32(columns[name].data, crc)
    return crc
