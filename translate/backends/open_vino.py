"""OpenVINO, on CPUs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from translate.backends.base import Forward, require, require_cpu
from translate.backends.exported import write_onnx


class OpenVino:
    """https://docs.openvino.ai, by an ONNX file."""

    packages: ClassVar[tuple[str, ...]] = ("torch", "onnxscript", "openvino")
    suffix: ClassVar[str] = ".onnx"
    code: ClassVar[bool] = False

    def __init__(self, device: torch.device) -> None:
        require(("onnx", "onnxscript", "openvino"), "openvino")
        require_cpu("openvino", device)

    def make(self, network: nn.Module, file: Path) -> None:
        write_onnx(network, file)

    def load(self, file: Path, network: nn.Module) -> Forward:
        import openvino

        core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",  # it takes bf16 by itself where the processor has units for it
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        request = core.compile_model(core.read_model(file), "CPU", settings).create_infer_request()
        alone = threading.Lock()  # a request is for one thread at a time

        def forward(images: Tensor) -> Tensor:
            with alone:
                (result,) = request.infer([images.detach().contiguous().numpy()]).to_tuple()
                return torch.from_numpy(result)

        return forward
