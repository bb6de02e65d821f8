"""ONNX Runtime, on a CPU, or with its CUDA provider."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from translate.backends.base import BackendError, Forward, require
from translate.backends.exported import INPUT, write_onnx


class OnnxRuntime:
    """https://onnxruntime.ai, by an ONNX file. Images go through NumPy, also to a GPU."""

    packages: ClassVar[tuple[str, ...]] = ("torch", "onnxscript", "onnxruntime")
    suffix: ClassVar[str] = ".onnx"
    code: ClassVar[bool] = False
    extra: ClassVar[str] = "onnx"

    def __init__(self, device: torch.device) -> None:
        require(("onnx", "onnxscript", "onnxruntime"), self.extra)
        self.device = device
        self.providers(Path())  # refuses a device before any work

    def providers(self, file: Path) -> list[tuple[str, dict[str, Any]]]:
        """What computes, by the names of ONNX Runtime, with options. Raises BackendError for another device."""
        if self.device.type == "cpu":
            return [("CPUExecutionProvider", {})]
        if self.device.type == "cuda":
            self._check_provider("CUDAExecutionProvider", "onnxruntime-gpu")
            return [("CUDAExecutionProvider", {"device_id": self.device.index or 0, "use_tf32": "0"})]
        raise BackendError(f"onnxruntime runs on cpu or cuda, got the device {self.device}: give another --device")

    def make(self, network: nn.Module, file: Path) -> None:
        write_onnx(network, file)

    def load(self, file: Path, network: nn.Module) -> Forward:
        onnxruntime = runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(str(file), options, providers=self.providers(file))

        def forward(images: Tensor) -> Tensor:
            (result,) = session.run(None, {INPUT: images.detach().cpu().contiguous().numpy()})
            return torch.from_numpy(result).to(images.device)

        return forward

    def _check_provider(self, provider: str, package: str) -> None:
        if provider not in runtime().get_available_providers():
            raise BackendError(
                f"the onnxruntime that is installed has no {provider}: python -m pip install {package} in its place, "
                "or give --device cpu or --backend torch"
            )


def runtime() -> Any:
    """The package onnxruntime; nothing of ours imports it in another way."""
    # Its own builds tell Microsoft of each process and session, and keep an identifier of the machine on disk, unless
    # this is set before it is imported (its Privacy.md). What is translated here may be of patients.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime
