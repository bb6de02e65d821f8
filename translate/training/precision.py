"""Which precision and memory format a device is good at."""

import logging
from typing import Literal

import torch

from translate.recipe import ConfigError

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16", "fp64"]


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Resolve "auto": bf16 where the device has units for it, fp32 everywhere else.

    These are CUDA devices of compute capability 8 and more, and CPUs with AVX512-BF16 or AMX. On two cores with
    AVX512-BF16 a step takes 0.5 to 0.7 of its time in fp32 with the fast kernels, and a wide CycleGAN's as long; CPUs
    without are many times slower in bf16 than in fp32.

    Raises:
        ConfigError: fp16 or fp64 where the device cannot do it.
    """
    if wanted == "auto":
        return "bf16" if _has_bf16_units(device) else "fp32"
    if wanted == "fp16" and device.type == "cpu":
        raise ConfigError("training.precision fp16 needs a GPU, this run is on the CPU: use fp32, or auto")
    if wanted == "fp64" and device.type == "mps":
        raise ConfigError("training.precision fp64 does not exist on Apple GPUs: use fp32, or auto")
    if wanted == "bf16" and not _has_bf16_units(device):
        logger.warning("this device has no units for bf16, it can be many times slower than fp32, which auto chooses")
    return wanted  # type: ignore[return-value]


def choose_layout(wanted: bool | Literal["auto"], device: torch.device, precision: Precision) -> torch.memory_format:
    """Resolve `training.channels_last`: what the tensor cores of a CUDA device read, and on CPUs slower for most.

    A pix2pix step in float32 on a CPU takes 1.2 times as long in channels_last.
    """
    if wanted == "auto":
        wanted = device.type == "cuda" and precision in ("bf16", "fp16")
    return torch.channels_last if wanted else torch.contiguous_format


def _has_bf16_units(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # of torch 2.12 and later
    return device.type == "cpu" and bool(known.get("avx512_bf16") or known.get("amx_bf16"))
