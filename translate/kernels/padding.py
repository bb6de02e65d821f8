"""Reflection padding whose gradient costs what the padding does."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def reflect_pad(image: Tensor, width: int) -> Tensor:
    """As F.pad with mode "reflect" and the same width on all four sides.

    Shape:
        image (N, C, H, W) with H and W above `width`; output (N, C, H + 2 width, W + 2 width).
    """
    made: Tensor = _Reflected.apply(image, width)
    return made


class _Reflected(torch.autograd.Function):
    """torch's backward adds pixel after pixel; here whole rows and columns are added."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, width: int) -> Tensor:
        ctx.width = width
        return F.pad(image, (width,) * 4, mode="reflect")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _folded(_folded(gradient, ctx.width, 2), ctx.width, 3), None


def _folded(gradient: Tensor, width: int, dim: int) -> Tensor:
    """Without the padding along one dimension, which is added to what it mirrored."""
    size = gradient.shape[dim] - 2 * width
    before, inner, behind = gradient.split((width, size, width), dim)
    inner = inner.clone(memory_format=torch.preserve_format)
    inner.narrow(dim, 1, width).add_(before.flip(dim))
    inner.narrow(dim, size - 1 - width, width).add_(behind.flip(dim))
    return inner
