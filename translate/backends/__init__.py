"""What computes a generator in place of PyTorch's eager mode: the same function of (N, C, H, W), sooner.

A back end makes an artefact of a network once (`make`), which is kept, and loads it (`load`). What it gives is compared
with PyTorch on real images before it is used: see translate.backends.prepare.
"""

from translate.backends.base import Backend, BackendError, Forward
from translate.backends.compiled import Compiled
from translate.backends.onnx_runtime import OnnxRuntime
from translate.backends.open_vino import OpenVino
from translate.backends.tensor_rt import TensorRt

BACKENDS: dict[str, type[Backend]] = {
    "compile": Compiled,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "tensorrt": TensorRt,
}
CHOICES = ("auto", "torch", *BACKENDS)

__all__ = ["BACKENDS", "CHOICES", "Backend", "BackendError", "Forward"]
