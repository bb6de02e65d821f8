"""Convolutions with few output pixels as one product of matrices each: the deep layers of a U-Net, on CPUs.

There a convolution does little but read its weights, and oneDNN spends most of its time on bringing them and their
gradients into another order. A product of matrices takes them as they lie.

`Conv2d` and `ConvTranspose2d` are torch's layers, with the same state dicts, which compute so inside `fast_kernels()`
where it pays: on a CPU, without autocast, in float32 (or float64). The transposed convolution is the adjoint of the
convolution, so the forward of one is the backward of the other, and each of both is one matrix product.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.kernels.switch import fast

MOST_PIXELS = 64  # of the smaller map, over all images: measured, beyond it oneDNN is as fast
LEAST_WEIGHTS = 2**18  # numbers; smaller layers cost little, and as many calls

Pair = tuple[int, int]


class Conv2d(nn.Conv2d):
    """torch's convolution: zero padding, given in pixels, no groups, no dilation."""

    def forward(self, input: Tensor) -> Tensor:
        stride: Any = self.stride
        if not _pays(input, self.weight, input.shape[0] * input.shape[2] * input.shape[3] // (stride[0] * stride[1])):
            return super().forward(input)
        made: Tensor = _Convolution.apply(input, self.weight, stride, self.padding)
        return made if self.bias is None else made + self.bias[:, None, None]


class ConvTranspose2d(nn.ConvTranspose2d):
    """torch's transposed convolution: no groups, no dilation."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None or not _pays(input, self.weight, input.shape[0] * input.shape[2] * input.shape[3]):
            return super().forward(input, output_size)
        sides = zip(input.shape[2:], self.stride, self.padding, self.kernel_size, self.output_padding, strict=True)
        size = tuple((side - 1) * step - 2 * pad + kernel + more for side, step, pad, kernel, more in sides)  # type: ignore[operator]
        made: Tensor = _Transposed.apply(input, self.weight, size, self.stride, self.padding)
        return made if self.bias is None else made + self.bias[:, None, None]


def _pays(input: Tensor, weight: Tensor, pixels: int) -> bool:
    return (
        fast()
        and input.device.type == "cpu"
        and pixels <= MOST_PIXELS
        and weight.numel() >= LEAST_WEIGHTS
        and input.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
    )


class _Convolution(torch.autograd.Function):
    """(N, C, H, W) and (O, C, K, K) to (N, O, H', W')."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.stride, ctx.padding = stride, padding
        return _gather(image, weight, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        image, weight = ctx.saved_tensors
        size = tuple(image.shape[2:])
        to_image = _spread(gradient, weight, size, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None
        to_weight = _outer(gradient, image, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[1] else None
        return to_image, to_weight, None, None


class _Transposed(torch.autograd.Function):
    """(N, C, H, W) and (C, O, K, K) to (N, O, *size)."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, size: Pair, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.stride, ctx.padding = stride, padding
        return _spread(image, weight, size, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        image, weight = ctx.saved_tensors
        to_image = _gather(gradient, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None
        to_weight = _outer(image, gradient, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[1] else None
        return to_image, to_weight, None, None, None


def _gather(large: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Each pixel of the smaller map from its patch of the larger one: what a convolution does."""
    height, width = (
        (side + 2 * pad - kernel) // step + 1
        for side, pad, kernel, step in zip(large.shape[2:], padding, weight.shape[2:], stride, strict=True)
    )
    made = _patches(large, weight, stride, padding) @ weight.flatten(1).t()
    return made.view(len(large), height, width, -1).permute(0, 3, 1, 2).contiguous()


def _spread(small: Tensor, weight: Tensor, size: Pair, stride: Pair, padding: Pair) -> Tensor:
    """Each pixel of the smaller map to its patch of the larger one, where they add up: its adjoint."""
    patches = _pixels(small) @ weight.flatten(1)
    patches = patches.view(len(small), -1, patches.shape[1]).transpose(1, 2)
    return F.fold(patches, size, weight.shape[2:], padding=padding, stride=stride)


def _outer(small: Tensor, large: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of the weight, in its shape."""
    return (_pixels(small).t() @ _patches(large, weight, stride, padding)).view_as(weight)


def _pixels(small: Tensor) -> Tensor:
    """(N, O, H', W') to (N * H' * W', O)."""
    return small.permute(0, 2, 3, 1).flatten(0, 2)


def _patches(large: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """(N, C, H, W) to (N * H' * W', C * K * K)."""
    return F.unfold(large, weight.shape[2:], padding=padding, stride=stride).transpose(1, 2).flatten(0, 1)
