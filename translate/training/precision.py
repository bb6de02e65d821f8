"""Which precision a device is good at."""

import logging
from typing import Literal

import torch

from translate.recipe import ConfigError

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16", "fp64"]


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Resolve "auto": bf16 on CUDA devices with units for it (compute capability 8), fp32 everywhere else.

    Raises:
        ConfigError: fp16 or fp64 where the device cannot do it.
    """
    if wanted == "auto":
        good = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return "bf16" if good else "fp32"
    if wanted == "fp16" and device.type == "cpu":
        raise ConfigError("training.precision fp16 needs a GPU, this run is on the CPU: use fp32, or auto")
    if wanted == "fp64" and device.type == "mps":
        raise ConfigError("training.precision fp64 does not exist on Apple GPUs: use fp32, or auto")
    if wanted == "bf16" and device.type == "cpu":
        logger.warning("bf16 on a CPU is often many times slower than fp32: auto would choose fp32 here")
    return wanted  # type: ignore[return-value]
