"""Where artefacts are kept: beside their model, or in the user's cache. Whole or absent, and by what they depend on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock
from torch import nn

import translate
from translate.model_folder import CACHE

logger = logging.getLogger(__name__)
RECORD = "record.json"


@dataclass(frozen=True)
class Key:
    """What an artefact depends on: another one of any of these is another artefact."""

    backend: str
    versions: str  # of the packages that made it
    network: str  # digest of architecture and weights
    device: str
    machine: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(dataclasses.astuple(self)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Record:
    """An artefact, and what was measured when it was made.

    difference: the largest one from PyTorch on real images, in model space.
    plain, seconds: medians of PyTorch and of the back end for an image of `pixels`.
    loading: seconds until it can be used.
    """

    key: Key
    sha256: str
    difference: float
    pixels: int
    plain: float
    seconds: float
    loading: float

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError for what nobody measured."""
        if not (min(self.pixels, self.plain, self.seconds) > 0 and min(self.loading, self.difference) >= 0):
            raise ValueError("a record's pixels and times are above 0")

    @property
    def ratio(self) -> float:
        """How many times as fast as PyTorch it was."""
        return self.plain / self.seconds


@dataclass(frozen=True)
class Store:
    """A folder of artefacts of one model, each a folder with the artefact and its record."""

    folder: Path

    def records(self) -> Iterator[tuple[Path, Record]]:
        """All that can be read, with their folders."""
        for path in sorted(self.folder.glob(f"*/{RECORD}")):
            try:
                values = json.loads(path.read_text(encoding="utf-8"))
                yield path.parent, Record(**values | {"key": Key(**values["key"])})
            except (OSError, ValueError, KeyError, TypeError):
                logger.debug("%s is no record of this version", path)

    def find(self, key: Key, name: str) -> tuple[Path, Record] | None:
        """The artefact's file and record, if it is there and whole."""
        folder = self._folder(key)
        for path, record in self.records():
            if path == folder and record.key == key:
                file = folder / name
                return (file, record) if file.is_file() and _sha256(file) == record.sha256 else None
        return None

    def add(self, key: Key, name: str, make: Callable[[Path], Record]) -> None:
        """Let `make` write an artefact and measure it; a failure leaves nothing. Older ones of its kind are removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        prefix = f".new-{key.digest}-"
        for left in self.folder.glob(f"{prefix}*"):  # by a process that was killed: `lock` lets one make it at a time
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=self.folder) as aside:
            made = Path(aside) / "made"
            made.mkdir()
            record = dataclasses.replace(make(made / name), sha256=_sha256(made / name))
            (made / RECORD).write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n", encoding="utf-8")
            self._remove_stale(key)
            made.rename(self._folder(key))
            trust(record)

    def lock(self, key: Key) -> FileLock:
        """Held by the one process that makes an artefact."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / f".{self._folder(key).name}.lock")

    def _folder(self, key: Key) -> Path:
        return self.folder / f"{key.backend}-{key.digest}"

    def _remove_stale(self, key: Key) -> None:
        """Artefacts for the same back end and machine of weights or versions that are no more, and a damaged one."""
        shutil.rmtree(self._folder(key), ignore_errors=True)
        for path, record in self.records():
            other = record.key
            if (other.backend, other.device, other.machine) == (key.backend, key.device, key.machine):
                shutil.rmtree(path, ignore_errors=True)


def is_trusted(record: Record) -> bool:
    """Whether this user's processes have compared the artefact with PyTorch. A model folder may come from anywhere."""
    return _trusted(record).exists()


def trust(record: Record) -> None:
    """Remember that it was compared, where the user's cache can be written."""
    with suppress(OSError):
        _trusted(record).parent.mkdir(parents=True, exist_ok=True)
        _trusted(record).touch()


def _trusted(record: Record) -> Path:
    compared = hashlib.sha256(f"{record.sha256} {record.key.digest}".encode()).hexdigest()
    return _cache() / "compared" / compared


def stores(model: Path | None, name: str, *, code: bool) -> list[Store]:
    """Where artefacts of a generator may lie; the first is where new ones are written.

    Beside the model, where that can be written; models that ship, of the hub, or that are in no folder have theirs in
    the user's cache, and so has all machine code.

    Args:
        model: the model folder.
        name: of the generator in it.
    """
    own = Store(_cache() / _label(model) / name)
    if code or model is None or _belongs_to_others(model):
        return [own]
    beside = Store(model / CACHE / name)
    return [beside, own] if os.access(model, os.W_OK) else [own, beside]


def network_digest(network: nn.Module) -> str:
    """Changes when the class, its settings as its modules show them, or the weights change."""
    digest = hashlib.sha256(f"{translate.__version__} {network!r}".encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()[:32]


def machine() -> str:
    """Processor, its instruction sets and the threads that it computes with: what speed and machine code depend on."""
    return f"{_processor()}, {torch.get_num_threads()} threads"


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    sets = hashlib.sha256(found.get("flags", found.get("Features", "")).encode()).hexdigest()[:8]
    return f"{found.get('model name') or platform.processor() or platform.machine()} {sets}"


def _cache() -> Path:
    """The user's cache of this project."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "translate" / "backends"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "translate" / "backends"
    folder = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return folder / "translate" / "backends"


def _label(model: Path | None) -> str:
    if model is None:
        return "unnamed"
    path = model.resolve()
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"


def _belongs_to_others(model: Path) -> bool:
    """Whether a folder is the package's, or of the hub's cache."""
    path = model.resolve()
    return Path(translate.__file__).resolve().parent in path.parents or path.parent.name == "snapshots"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
