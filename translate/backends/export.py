"""A model for other programs: ONNX or torch.export, with all that is needed to use it, checked before it is there."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

import translate
from translate.backends.base import BackendError, Forward, require, size_rule
from translate.backends.exported import INPUT, OPSET, OUTPUT, exported, write_onnx
from translate.backends.onnx_runtime import OnnxRuntime
from translate.backends.prepare import LARGEST_DIFFERENCE, largest_difference
from translate.checkpoint import write_folder
from translate.model_folder import CONFIG, ModelConfig, Side

Format = Literal["onnx", "torch"]
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
OPSETS = range(18, 24)


def export_model(
    network: nn.Module,
    config: ModelConfig,
    name: str,
    folder: Path,
    *,
    samples: Sequence[Tensor],
    format: Format = "onnx",
    opset: int = OPSET,
) -> dict[str, Any]:
    """Write NAME.onnx or NAME.pt2 and config.json, whole or not at all.

    The file takes any batch, height and width that the size rule allows. It is run on the samples first, and compared
    with PyTorch. An ONNX file has what config.json says in its metadata, too.

    Args:
        network: the generator `name` of `config`, in eval mode on the CPU.
        folder: new, empty, or an earlier export, which is replaced.
        samples: real images in model space, (N, C, H, W) of several sizes.
        opset: of ONNX, 18 to 23.

    Returns:
        What config.json says.

    Raises:
        BackendError: an argument is wrong, the network cannot be exported, or the export differs from PyTorch by more
            than 1e-4.
    """
    if format not in get_args(Format):
        raise BackendError(f"format must be one of {', '.join(get_args(Format))}, got {format!r}")
    if opset not in OPSETS:
        raise BackendError(f"opset must be from {OPSETS[0]} to {OPSETS[-1]}, got {opset!r}")
    if format == "onnx":
        require(("onnx", "onnxscript", "onnxruntime"), "onnx")
    folder = folder.resolve()
    made: dict[str, Any] = {}

    def write(aside: Path) -> None:
        file = aside / f"{name}{SUFFIXES[format]}"
        told = _described(network, config, name) | {"file": file.name}
        if format == "onnx":
            told |= {"opset": opset}
            write_onnx(network, file, opset=opset, metadata={key: _text(value) for key, value in told.items()})
        else:
            torch.export.save(exported(network), file)
        difference = largest_difference(network, _loaded(file, network, format), samples)
        if not difference <= LARGEST_DIFFERENCE:
            raise BackendError(
                f"the export differs from PyTorch by {difference:.1e} on real images, allowed are "
                f"{LARGEST_DIFFERENCE:.0e} (model space): nothing was written"
            )
        sizes = [list(images.shape) for images in samples]
        made.update(told | {"check": {"images": sizes, "largest_difference": difference}})
        (aside / CONFIG).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")

    with _alone(folder):
        _check_folder(folder)
        write_folder(folder, write)
    return made


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no other process exports to the same folder. Raises BackendError."""
    user = getattr(os, "getuid", lambda: "")()  # of Windows the temporary folder is the user's own
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    try:
        with FileLock(Path(tempfile.gettempdir()) / f"translate-export-{user}-{name}.lock", timeout=0):
            yield
    except Timeout as error:
        raise BackendError(f"another process exports to {folder}: wait for it, or give another folder") from error


def _described(network: nn.Module, config: ModelConfig, name: str) -> dict[str, Any]:
    """What whoever runs the file needs to know."""
    entry = config.generators[name]
    multiple, minimum = size_rule(network)
    scale = int(network.scale)  # type: ignore[arg-type]
    return {
        "kind": "export",  # and no model folder, whose config.json has other keys
        "translate_version": translate.__version__,
        "task": config.task,
        "generator": {"name": name, "network": entry.name, "arguments": entry.arguments},
        "input": {"name": INPUT, **_side(entry.input)},
        "output": {"name": OUTPUT, **_side(entry.output, scale)},
        "scale": scale,
        "size_multiple": multiple,
        "size_minimum": minimum,
        "padding": "mirror at the bottom and on the right to size_multiple and size_minimum, cut the output to scale "
        "times the size before",
        "follow_input_channels": config.follow_input_channels,
        "contract": config.contract.model_dump(mode="json") if config.contract else None,
    }


def _side(side: Side, scale: int = 1) -> dict[str, Any]:
    span = side.range
    meaning = "the lowest and highest value of the file's type" if span is None else None
    return {
        "shape": [
            "batch",
            side.channels,
            *(f"{scale} * {name}" if scale > 1 else name for name in ("height", "width")),
        ],
        "dtype": "float32",
        "values": "-1 to 1",
        "range": span.model_dump(mode="json") if span else None,
        "meaning_of_-1_and_1": meaning or "low and high of range, linear between them",
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _loaded(file: Path, network: nn.Module, format: Format) -> Forward:
    if format == "onnx":
        return OnnxRuntime(torch.device("cpu")).load(file, network)
    module: Forward = torch.export.load(file).module()
    return module


def _check_folder(folder: Path) -> None:
    """Refuse to replace anything but an export. Raises BackendError."""
    if folder.suffix in SUFFIXES.values() or folder.is_file():
        raise BackendError(f"an export is a folder, with the file and its {CONFIG}, got {folder}: give a new folder")
    if folder == Path.cwd():
        raise BackendError(f"{folder} is the current folder, and an export takes the place of its: give a new one")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        own = told.get("kind") == "export" and {path.name for path in folder.iterdir()} == {CONFIG, told["file"]}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        own = False
    if not own:
        raise BackendError(f"{folder} holds something else than an export: give a new or empty folder, it is replaced")
