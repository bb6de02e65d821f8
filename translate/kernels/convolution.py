"""Layers that compute with kernels of ours inside `fast_kernels()`, where they pay, and with torch's elsewhere.

They are torch's convolutions with stride 1 and padding that keeps the size, with the same parameters, state dict and
initialisation. They pay on a CPU, without autocast, from the sizes below on (measured: benchmarks/kernels.py). There a
gradient of a gradient is refused: no objective differentiates a generator twice.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.kernels.cpu import fast_on
from translate.kernels.few_outputs import conv_to_few
from translate.kernels.padding import reflect_pad
from translate.kernels.winograd import Padding, conv3x3

LEAST_CHANNELS = 64  # of input and output of a 3x3 convolution; below, transforming costs more than it saves
MOST_OUTPUTS = 4  # oneDNN computes 16 at once


class Conv3x3(nn.Conv2d):
    """A kernel of 3."""

    def __init__(self, in_channels: int, out_channels: int, *, padding: Padding = "zeros", bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, padding_mode=padding, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        if not fast_on(input, self.weight):
            return super().forward(input)
        if min(self.in_channels, self.out_channels) >= LEAST_CHANNELS and min(input.shape[2:]) >= 4:
            return conv3x3(input, self.weight, self.bias, "reflect" if self.padding_mode == "reflect" else "zeros")
        if self.padding_mode == "reflect":
            return F.conv2d(reflect_pad(input, 1), self.weight, self.bias)
        return super().forward(input)


class Conv7x7(nn.Conv2d):
    """A kernel of 7."""

    def __init__(self, in_channels: int, out_channels: int, *, padding: Padding = "zeros", bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 7, padding=3, padding_mode=padding, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        if not fast_on(input, self.weight):
            return super().forward(input)
        padded = reflect_pad(input, 3) if self.padding_mode == "reflect" else F.pad(input, (3,) * 4)
        if self.out_channels > MOST_OUTPUTS:
            return F.conv2d(padded, self.weight, self.bias)
        made = conv_to_few(padded, self.weight)
        return made if self.bias is None else made + self.bias[:, None, None]


def arranged(image: Tensor, memory_format: torch.memory_format) -> Tensor:
    """The image in this memory format, if the fast kernels compute with it; its gradient comes back in the old one.

    Winograd's convolution wants channels side by side, oneDNN's backward is twice as fast if they are not.
    """
    return _Arranged.apply(image, memory_format) if fast_on(image) else image


class _Arranged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, memory_format: torch.memory_format) -> Tensor:
        usual = image.is_contiguous()
        ctx.before = torch.contiguous_format if usual else torch.channels_last
        return image.contiguous(memory_format=memory_format)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.contiguous(memory_format=ctx.before), None
