"""Convolutions with few output channels, which oneDNN computes as if there were 16: the last one of a generator."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BAND = 2**19  # numbers that are made at once: what a processor's cache holds


def conv_to_few(image: Tensor, weight: Tensor) -> Tensor:
    """A convolution of stride 1 without padding and bias, by kn2row (Vasudevan et al. 2017, arXiv:1704.04428).

    One product of matrices gives what every pixel adds to each of its neighbours, which is then added there.

    Shape:
        image (N, C, H, W), weight (K, C, h, w); output (N, K, H - h + 1, W - w + 1), contiguous.
        Float32 or float64 on a CPU.

    Differentiable once: RuntimeError for a gradient of its gradient.
    """
    made: Tensor = _FewOutputs.apply(image.contiguous(), weight)
    return made


class _FewOutputs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(image, weight)
        return _forward(image, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the fast convolution to few channels has no second derivative: leave fast_kernels() for what "
                "differentiates a gradient (training.kernels: plain)"
            )
        image, weight = ctx.saved_tensors
        return _backward(image, weight, gradient, ctx.needs_input_grad)


def _forward(image: Tensor, weight: Tensor) -> Tensor:
    made, _, high, wide = weight.shape
    count, _, height, width = image.shape
    rows, columns = height - high + 1, width - wide + 1
    result = image.new_zeros(count, made, rows, columns)
    factors = weight.permute(2, 3, 0, 1).reshape(high * wide * made, -1)
    for index, top, bottom in _bands(image, len(factors)):
        added = torch.mm(factors, image[index, :, top:bottom].flatten(1)).view(high, wide, made, bottom - top, width)
        for i in range(high):
            first, last = max(top - i, 0), min(bottom - i, rows)
            if first < last:
                for j in range(wide):
                    part = added[i, j, :, first + i - top : last + i - top, j : j + columns]
                    result[index, :, first:last].add_(part)
    return result


def _backward(
    image: Tensor, weight: Tensor, gradient: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    made, channels, high, wide = weight.shape
    # What a pixel added where: the gradient around it, the other way round.
    factors = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(high * wide * made, channels)
    around = F.pad(gradient, (wide - 1, wide - 1, high - 1, high - 1))
    d_image = torch.empty_like(image) if wanted[0] else None
    d_factors = torch.zeros_like(factors) if wanted[1] else None
    for index, top, bottom in _bands(image, len(factors)):
        windows = around[index, :, top : bottom + high - 1].unfold(1, bottom - top, 1).unfold(2, image.shape[3], 1)
        taken = windows.permute(1, 2, 0, 3, 4).reshape(len(factors), -1)
        if d_image is not None:
            d_image[index, :, top:bottom] = torch.mm(factors.t(), taken).view(channels, bottom - top, -1)
        if d_factors is not None:
            d_factors.addmm_(taken, image[index, :, top:bottom].flatten(1).t())
    if d_factors is None:
        return d_image, None
    return d_image, d_factors.view(high, wide, made, channels).permute(2, 3, 0, 1).flip(2, 3)


def _bands(image: Tensor, numbers: int) -> Iterator[tuple[int, int, int]]:
    """Of each image the rows that are computed at once, where every pixel makes so many numbers."""
    count, _, height, width = image.shape
    lines = max(1, BAND // (numbers * width))
    for index in range(count):
        for top in range(0, height, lines):
            yield index, top, min(top + lines, height)
