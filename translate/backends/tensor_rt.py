"""TensorRT, by ONNX Runtime's provider. Written by its documentation: no machine of ours has run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from translate.backends.base import BackendError, require
from translate.backends.onnx_runtime import OnnxRuntime


class TensorRt(OnnxRuntime):
    """https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html, on NVIDIA GPUs.

    TensorRT builds an engine for the sizes that it meets, which takes minutes at first; engines are kept beside the
    artefact. What it does not know runs in ONNX Runtime's CUDA provider.
    """

    packages: ClassVar[tuple[str, ...]] = (*OnnxRuntime.packages, "tensorrt")
    code: ClassVar[bool] = True  # the engines
    extra: ClassVar[str] = "tensorrt"

    def providers(self, file: Path) -> list[tuple[str, dict[str, Any]]]:
        if self.device.type != "cuda":
            raise BackendError(
                f"tensorrt runs on NVIDIA GPUs, got the device {self.device}: give --device cuda where there is one, "
                "or another back end"
            )
        require(("tensorrt",), self.extra)
        self._check_provider("TensorrtExecutionProvider", "onnxruntime-gpu")
        engines = {
            "device_id": self.device.index or 0,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(file.parent),
        }
        return [("TensorrtExecutionProvider", engines), *super().providers(file)]
