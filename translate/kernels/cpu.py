"""Where the kernels of ours for CPUs may compute."""

import torch
from torch import Tensor

from translate.kernels.switch import fast


def fast_on(image: Tensor, weight: Tensor | None = None) -> bool:
    """Whether this thread is inside `fast_kernels()`, and both are float32 or float64 on a CPU without autocast."""
    return (
        fast()
        and image.device.type == "cpu"
        and image.dtype in (torch.float32, torch.float64)
        and (weight is None or weight.dtype == image.dtype)
        and not torch.is_autocast_enabled("cpu")
    )
