"""The folder of a run: what lies where, and whether a run found there is the one that is asked for."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate.checkpoint import list_states, recover_folder
from translate.config import read_recipe, write_yaml
from translate.model_folder import CONFIG
from translate.recipe import ConfigError, Recipe
from translate.training.setup import Splits

MAY_CHANGE = (  # keys that a resumed run may give anew: but for the last they do not touch what is computed
    "data.folder",
    "data.workers",
    "data.cache",
    "data.cache_limit",
    "training.steps",
    "training.batch_size",  # with another number of processes; load_training compares the images a step
    "training.compile",
    "training.channels_last",
    "training.kernels",
    "training.start_from",
    "training.start_partly",
    "validation",
    "logging",
    "checkpoint",
    "health",  # a run that is sick may go on with another action
)


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.root / "recipe.yaml"

    @property
    def fingerprint(self) -> Path:
        """Of the training files."""
        return self.root / "data.txt"

    @property
    def log(self) -> Path:
        return self.root / "log.jsonl"

    @property
    def curves(self) -> Path:
        return self.root / "curves.png"

    @property
    def samples(self) -> Path:
        return self.root / "samples"

    @property
    def checkpoints(self) -> Path:
        """Training states."""
        return self.root / "checkpoints"

    @property
    def model(self) -> Path:
        """Model folder of the last validation."""
        return self.root / "model"

    @property
    def best(self) -> Path:
        """Model folder with the best main figure."""
        return self.root / "best"

    def create(self, recipe: Recipe, splits: Splits) -> None:
        """Make the folders and write the resolved recipe."""
        for folder in (self.model, self.best):
            recover_folder(folder)
        self.root.mkdir(parents=True, exist_ok=True)
        _write(self.recipe, write_yaml(recipe))  # first: the folder is a run from here on
        self.samples.mkdir(exist_ok=True)
        self.checkpoints.mkdir(exist_ok=True)
        assert recipe.data.folder is not None
        _write(self.fingerprint, splits.train.fingerprint(recipe.data.folder) + "\n")


def check_same_run(folder: RunFolder, recipe: Recipe, splits: Splits) -> None:
    """Refuse to go on in a folder that holds a run of another recipe or of other data, or no run but other files.

    A run that was stopped before it kept anything may begin again with another recipe.

    Raises:
        ConfigError: naming the keys that differ and both values, or the files in the way.
    """
    if not folder.recipe.is_file():
        _check_unused(folder)
        return
    if not list_states(folder.checkpoints) and not folder.model.is_dir():
        return
    old, new = flatten(read_recipe(folder.recipe).to_json()), flatten(recipe.to_json())
    differ = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key) and not _may_change(key))
    if differ:
        listed = ", ".join(f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in differ[:5])
        more = f" and {len(differ) - 5} more" if len(differ) > 5 else ""
        raise ConfigError(
            f"{folder.root} holds a run of another recipe ({listed}{more}): resume it with the recipe it began with, "
            "or give a new --output, with training.start_from to begin from its model"
        )
    assert recipe.data.folder is not None
    if folder.fingerprint.is_file() and folder.fingerprint.read_text().strip() != splits.train.fingerprint(
        recipe.data.folder
    ):
        raise ConfigError(
            f"the training files in {recipe.data.folder} are not those that the run in {folder.root} began with: bring "
            "them back, or give a new --output, with training.start_from to begin from its model"
        )


def _check_unused(folder: RunFolder) -> None:
    """Refuse a folder that is no run, where a run would replace or mix with what is there."""
    root = folder.root
    if root.is_file():
        raise ConfigError(f"--output {root} is a file: give a folder for the run")
    if (root / CONFIG).is_file():
        raise ConfigError(f"--output {root} is a model folder: give a new folder, and this one as training.start_from")
    ours = (folder.model, folder.best, folder.log, folder.curves, folder.fingerprint, *list_states(folder.checkpoints))
    if taken := [path.relative_to(root).as_posix() for path in ours if path.exists()]:
        raise ConfigError(
            f"--output {root} holds no run (no {folder.recipe.name}), but {', '.join(taken)}, which a run would "
            "replace: give a new folder"
        )


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE)


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
