"""What a run over many files has done: JSON lines that survive a kill, and the report made of them.

The outputs of a run and its journal are in one folder. An output is written aside, recorded, and renamed, in this
order: a kill at any moment, or an output that somebody changed, leads to that work being done again, and nothing else
does.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

logger = logging.getLogger(__name__)
FOLDER = ".translate"  # inside the output folder
REPORT = "report.jsonl"


@dataclass(frozen=True)
class Record:
    """What became of one file or scan. Only a record of status "done" lets a later run skip it."""

    file: str  # below the input folder
    status: Literal["done", "skipped", "failed"]
    output: str | None = None  # below the output folder
    width: int | None = None  # of the output
    height: int | None = None
    seconds: float | None = None  # from decoding to the written file, waiting included
    reason: str | None = None  # why it failed
    settings: str | None = None  # fingerprint of model and options
    input_sha256: str | None = None
    output_sha256: str | None = None
    slices: int | None = None  # of a scan
    clipped: int | None = None  # voxels that the derived file could not hold
    warnings: list[str] | None = None
    cleaning: list[str] | None = None  # what was done to a drawing first
    tiles: dict[str, Any] | None = None  # the TileReport of an image that was cut


class Journal:
    """The records of a run below `output`, one file a process."""

    def __init__(self, output: Path, process: int = 0) -> None:
        self.output = output
        self.folder = output / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / f"journal-{process}.jsonl"
        recorded = [record for record in _read_all(self.folder) if record.status == "done"]
        self.done = {(r.file, r.settings, r.input_sha256): r for r in recorded}  # by earlier runs
        self.outputs = {record.output for record in recorded if record.output}  # of all runs, this one included
        self._lock = threading.Lock()
        _end_last_line(self.path)
        if process == 0:
            for left in (*self.folder.glob("aside-*"), *self.folder.glob(".*")):  # by a run that was killed
                _remove(left)

    def find_done(self, file: str, settings: str, content: str) -> Record | None:
        """The record by which a file needs no work: same input, same settings, and the output is still as written."""
        record = self.done.get((file, settings, content))
        if record is None or record.output is None:
            return None
        written = self.output / record.output
        return record if written.exists() and checksum(written) == record.output_sha256 else None

    def add(self, record: Record) -> None:
        """Append a record; thread-safe."""
        with self._lock, open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(vars(record)) + "\n")  # ASCII: file names need not be valid UTF-8
            if record.status == "done" and record.output:
                self.outputs.add(record.output)

    def failed(self, file: str, error: Exception) -> Record:
        """Log and record that a file failed; thread-safe. Returns the record."""
        reason = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        logger.warning("%s: %s", file, reason)
        record = Record(file=file, status="failed", reason=reason)
        self.add(record)
        return record

    def put(self, record: Record, write: Callable[[Path], None]) -> Record:
        """Let `write` make the output of a record, and give it its place; thread-safe. Returns the record with its sum.

        The output is a file, or a folder, which replaces one that a run made before, but nothing of the user's.
        An error of `write` passes through, and leaves neither output nor record.

        Raises:
            FileExistsError: in the place of a folder is a file, or a folder that holds something else.
        """
        assert record.output is not None
        path = self.output / record.output
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f"aside-{uuid.uuid4().hex}{path.suffix}"
        try:
            write(aside)
            record = replace(record, output_sha256=checksum(aside))
            if aside.is_dir():
                self._make_room(path, aside)
            self.add(record)
            os.replace(aside, path)
        finally:
            _remove(aside)
        return record

    def put_file(self, record: Record, content: bytes) -> Record:
        """`put` of a file whose bytes are at hand: it is not read again for its sum."""
        assert record.output is not None
        path = self.output / record.output
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f"aside-{uuid.uuid4().hex}"
        try:
            aside.write_bytes(content)
            record = replace(record, output_sha256=hashlib.sha256(content).hexdigest())
            self.add(record)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        return record

    def _make_room(self, path: Path, aside: Path) -> None:
        """Remove the folder that a new one replaces. Raises FileExistsError."""
        if not path.exists():
            return
        known = path.is_dir() and checksum(path) in {record.output_sha256 for record in self.done.values()}
        if not known and (path.is_file() or _names(path) - _names(aside)):
            raise FileExistsError(
                f"{path} exists and holds something else than this output: remove it, or give another output folder"
            )
        old = self.folder / f"aside-{uuid.uuid4().hex}"
        os.replace(path, old)
        _remove(old)


def write_report(output: Path, records: list[Record]) -> Path:
    """Write `report.jsonl`, a line for each file that was asked for, and return its path."""
    path = output / REPORT
    aside = path.with_name(f".{REPORT}.new")
    lines = [json.dumps(_shown(record)) + "\n" for record in records]
    aside.write_text("".join(lines), encoding="utf-8")
    os.replace(aside, path)
    return path


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(path: Path) -> str:
    """The SHA-256 of a file; of a folder that of the names and sums of all files in it."""
    if not path.is_dir():
        return sha256(path)
    digest = hashlib.sha256()
    for name in sorted(_names(path)):
        digest.update(os.fsencode(name) + b"\0" + sha256(path / name).encode())
    return digest.hexdigest()


def _names(folder: Path) -> set[str]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _shown(record: Record) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if value is not None}


def _end_last_line(path: Path) -> None:
    """End a line that a kill cut short: what is appended next must not become a part of it."""
    if path.is_file() and not path.read_bytes().endswith(b"\n"):
        with open(path, "ab") as file:
            file.write(b"\n")


def _read_all(folder: Path) -> list[Record]:
    """The records of all processes; a line that a kill cut short is passed over."""
    records = []
    for path in sorted(folder.glob("journal-*.jsonl"), key=lambda path: path.stat().st_mtime):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError):
                records.append(Record(**json.loads(line)))
    return records
