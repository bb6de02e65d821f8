"""What every back end does, and what they share."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]  # (N, C, H, W) float32 of the network's size rule -> (N, C', H', W'), same device


class BackendError(ValueError):
    """A back end that cannot be used."""


class Backend(Protocol):
    """Runs a network in float32 on one device.

    Attributes:
        packages: whose versions an artefact depends on.
        suffix: of the artefact's file.
        code: whether the artefact is machine code. It is then kept in the user's own cache, never read from a model
            folder, which may come from anywhere.
    """

    packages: ClassVar[tuple[str, ...]]
    suffix: ClassVar[str]
    code: ClassVar[bool]

    def __init__(self, device: torch.device) -> None:
        """Raises BackendError if a package is missing, or the device cannot be used."""

    def make(self, network: nn.Module, file: Path) -> None:
        """Write the artefact of a network in eval mode, for every size. Raises BackendError if it cannot be made."""

    def load(self, file: Path, network: nn.Module) -> Forward:
        """What computes the artefact of this network; safe to call from several threads."""


def require(packages: tuple[str, ...], extra: str) -> None:
    """Raises BackendError, with the command that installs them, unless all packages are installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendError(
            f"this needs {', '.join(missing)}, which is not installed: "
            f'python -m pip install "translate-images[{extra}]", or use --backend torch'
        )


def require_cpu(name: str, device: torch.device) -> None:
    """Raises BackendError for another device."""
    if device.type != "cpu":
        raise BackendError(
            f"{name} runs on the CPU here, got the device {device}: give --device cpu or --backend torch"
        )


def versions(packages: tuple[str, ...]) -> str:
    """Names and versions, as they are installed. A distribution may have another name than its package."""
    found = []
    for name in packages:
        for distribution in (name, f"{name}-gpu"):
            try:
                found.append(f"{name} {importlib.metadata.version(distribution)}")
            except importlib.metadata.PackageNotFoundError:
                continue
            break
    return ", ".join(found)


def size_rule(network: nn.Module) -> tuple[int, int]:
    """(multiple, minimum) of the sides that a generator takes."""
    return int(network.size_multiple), int(network.size_minimum)  # type: ignore[arg-type]
