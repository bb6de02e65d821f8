"""The models of the page: which there are, what each is for, and the few that are in memory."""

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from translate.checkpoint import CheckpointError
from translate.data.drawing_style import DrawingStyle
from translate.model_folder import CONFIG, ModelConfig, build_network, read_config
from translate.model_sources import find_model, shipped_models
from translate.networks import GENERATORS
from translate.networks.dropout import Dropout
from translate.pipelines.inference.load import load_pipeline
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.pretrained import task_of
from translate.pipelines.inference.scan_denoising import ScanDenoising

logger = logging.getLogger(__name__)
Kind = Literal["drawing", "picture", "scan"]
KINDS: dict[str, Kind] = {"sketch_to_photo": "drawing", "scan_denoising": "scan"}  # by task; others take pictures
KEPT = 4  # pipelines in memory
MANY = 10**9  # pixels that a page may be asked for: a back end is worth its loading
CARD_LINES = 60


@dataclass(frozen=True)
class Entry:
    """A model of the page, which needs not be in memory."""

    name: str
    folder: Path
    config: ModelConfig

    @property
    def kind(self) -> Kind:
        return KINDS.get(task_of(self.config), "picture")

    @property
    def enlarges(self) -> bool:
        return self.config.task == "super_resolution"

    @property
    def directions(self) -> tuple[str, ...]:
        return tuple(self.config.generators)

    @property
    def style(self) -> DrawingStyle:
        """Of the drawings that it knows."""
        return self.config.drawing or DrawingStyle()

    @property
    def varies(self) -> bool:
        """Whether it makes pictures of drawings, and the noise of dropout gives several for one drawing."""
        if self.kind != "drawing":
            return False
        with torch.device("meta"):  # built without its weights
            network = build_network(next(iter(self.config.generators.values())), GENERATORS)
        return any(isinstance(layer, Dropout) for layer in network.modules())

    @property
    def trained_size(self) -> int | None:
        """The shorter side in pixels to which pictures were reduced for the training."""
        size = (self.config.recipe or {}).get("data", {}).get("resize")
        return size if isinstance(size, int) else None

    @property
    def units(self) -> str | None:
        """Of the scans that it knows."""
        return self.config.contract.units if self.config.contract else None

    def card(self) -> str:
        """The beginning of its README.md as Markdown, without pictures, which would be fetched from somewhere."""
        path = self.folder / "README.md"
        if not path.is_file():
            return ""
        text = path.read_text(encoding="utf-8", errors="replace")
        text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # the hub's header
        text = re.sub(r"!\[[^\]]*\]\([^)]*\)|<[^>\n]+>", "", text)
        lines = text.strip().splitlines()
        return "\n".join(lines[:CARD_LINES]) + ("\n\n..." if len(lines) > CARD_LINES else "")


def find_models(given: Sequence[str]) -> dict[str, Entry]:
    """The models that are named, and those in folders that are named, by a name for the list.

    Args:
        given: model folders, hub ids, models that ship, or folders that hold model folders, one or two levels deep.

    Raises:
        CheckpointError: one of them is no model and holds none, or its config is damaged.
    """
    entries: dict[str, Entry] = {}
    for one in given:
        for name, folder, config in _models_of(one):
            if any(entry.folder.resolve() == folder.resolve() for entry in entries.values()):
                continue
            free = next(n for n in (name, *(f"{name} ({i})" for i in range(2, len(entries) + 3))) if n not in entries)
            entries[free] = Entry(free, folder, config)
    return entries


def _models_of(given: str) -> list[tuple[str, Path, ModelConfig]]:
    folder = Path(given)
    if not folder.is_dir() or (folder / CONFIG).is_file() or _is_shipped(given):
        found = find_model(given)
        return [(_title(folder.resolve()) if folder.is_dir() else given, found, read_config(found))]
    inside = sorted(path.parent for pattern in ("*", "*/*") for path in folder.glob(f"{pattern}/{CONFIG}"))
    readable = []
    for model in inside:
        try:
            readable.append((_below(model, folder), model, read_config(model)))
        except CheckpointError as error:
            logger.warning("left out: %s", error)
    if not readable:
        raise CheckpointError(
            f"{folder} is no model folder, and holds none that can be read, one or two levels deep: give the model/ "
            "that training wrote, or the folder of the runs"
        )
    return readable


def _is_shipped(given: str) -> bool:
    return given in shipped_models()


def _title(folder: Path) -> str:
    return folder.parent.name if folder.name == "model" else folder.name


def _below(model: Path, folder: Path) -> str:
    """runs/faces/model is called faces, runs/faces/best is faces/best."""
    parts = model.relative_to(folder).parts
    if parts == ("model",):
        return folder.resolve().name
    return "/".join(parts[:-1] if parts[-1] == "model" else parts)


class Shelf:
    """Pipelines by the name of their entry: loaded when first wanted, the last few stay in memory. Thread-safe."""

    def __init__(self, entries: dict[str, Entry], device: str | None = None, backend: str = "torch") -> None:
        self.entries = entries
        self._device = device
        self._backend = backend
        self._lock = threading.Lock()
        self._loaded: OrderedDict[tuple[str, str | None], Pipeline | ScanDenoising] = OrderedDict()

    def entry(self, name: str) -> Entry:
        """Raises CheckpointError for a name that is not in the list."""
        if name not in self.entries:
            raise CheckpointError(f"there is no model {name!r} on this page: choose one of the list")
        return self.entries[name]

    def pipeline(self, name: str, direction: str | None = None) -> Pipeline | ScanDenoising:
        """Raises CheckpointError for a name that is not in the list, and for a damaged folder; BackendError."""
        entry = self.entry(name)
        key = (name, direction or entry.directions[0])
        with self._lock:
            if key not in self._loaded:
                made = load_pipeline(entry.folder, direction=key[1], device=self._device)
                self._loaded[key] = made.with_backend(self._backend, pixels=MANY)
            self._loaded.move_to_end(key)
            while len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[key]
