"""Folders on disk that are whole or absent: the training state, and the parts that a model folder shares with it.

Tensors are safetensors, everything else is JSON: nothing here pickles or unpickles.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

logger = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A model folder or training state that cannot be used."""


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder aside, then put it in place of `folder`; a failure leaves the old one."""
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        write(aside)
        for path in aside.iterdir():
            _flush(path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    replaced = _replaced(folder)
    if folder.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        folder.rename(replaced)
    aside.rename(folder)
    _flush(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Bring back the old folder where a kill came between the two renames of `write_folder`."""
    if not folder.exists() and _replaced(folder).exists():
        _replaced(folder).rename(folder)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write named tensors as safetensors."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors.

    Raises:
        CheckpointError: the file is missing, truncated or no safetensors file.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: the folder is incomplete, copy it again") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): copy it again, or use an older one") from None


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a network's weights strictly: every tensor, in its shape, and no other.

    Raises:
        CheckpointError: naming the file and the first tensors that do not fit.
    """
    tensors = load_tensors(path)
    expected = network.state_dict()
    missing, unknown = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    reshaped = [n for n in expected.keys() & tensors.keys() if expected[n].shape != tensors[n].shape]
    if missing or unknown or reshaped:
        raise CheckpointError(
            f"{path} does not fit its network: {len(missing)} tensors missing {missing[:3]}, {len(unknown)} unknown "
            f"{unknown[:3]}, {len(reshaped)} of another shape {sorted(reshaped)[:3]}: config.json and weights must be "
            "of one model"
        )
    network.load_state_dict(tensors)


@dataclass(frozen=True)
class Stored:
    """A training state as read: plain values, tensors by file, and where it was found."""

    progress: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]
    folder: Path


def save_state(
    root: Path,
    step: int,
    progress: dict[str, Any],
    tensors: dict[str, dict[str, Tensor]],
    keep: int,
    protected: Collection[int | None] = (),
) -> Path:
    """Write `root/step_00001000` with one safetensors file for each entry of `tensors`, then prune to `keep`.

    state.json holds `progress` and the SHA-256 of every file, by which a damaged state is seen.

    Args:
        protected: steps whose states are kept beyond `keep`.
    """
    folder = _folder(root, step)

    def write(aside: Path) -> None:
        for name, named in tensors.items():
            save_tensors(named, aside / f"{name}.safetensors")
        sums = {path.name: _sha256(path) for path in sorted(aside.iterdir())}
        (aside / "state.json").write_text(json.dumps({"progress": progress, "sha256": sums}))

    write_folder(folder, write)
    spared = {_folder(root, other) for other in protected if other is not None}
    for old in list_states(root)[:-keep]:
        if old not in spared:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def list_states(root: Path) -> list[Path]:
    """The training states below `root`, oldest first."""
    return sorted(path for path in root.glob("step_*") if path.is_dir())


def load_newest_state(root: Path) -> Stored | None:
    """The newest training state that is whole; None if there never was one.

    A damaged one is named in a warning and the one before is taken.

    Raises:
        CheckpointError: there are states, and all are damaged.
    """
    found = list_states(root)
    for folder in reversed(found):
        try:
            return _load_state(folder)
        except CheckpointError as error:
            logger.warning("the training state %s cannot be used, going back to the one before: %s", folder, error)
    if found:
        raise CheckpointError(
            f"all {len(found)} training states in {root} are damaged: start again with a new --output"
        )
    return None


def read_state(root: Path, step: int) -> Stored:
    """Read the state of one step.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    return _load_state(_folder(root, step))


def has_state(root: Path, step: int) -> bool:
    """Whether there is a state of one step."""
    return _folder(root, step).is_dir()


def _folder(root: Path, step: int) -> Path:
    return root / f"step_{step:08d}"


def _load_state(folder: Path) -> Stored:
    try:
        state = json.loads((folder / "state.json").read_text())
        progress, sums = state["progress"], state["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / 'state.json'} is missing or damaged ({error})") from None
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file() or _sha256(path) != expected:
            raise CheckpointError(f"{path} is missing or damaged")
    return Stored(progress, {Path(name).stem: load_tensors(folder / name) for name in sums}, folder)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer as named tensors, "<parameter>.<quantity>"."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Take over what `optimizer_tensors` gave; the settings (learning rate, betas) stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:  # fused Adam reads its moments in the order of the weights' memory
                values[name] = torch.empty_like(parameter).copy_(value)


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file or a folder's entries are on the disk (where the system can)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
