"""3x3 convolutions with a quarter of the multiplications, on CPUs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from translate.kernels.native import transforms
from translate.kernels.transforms import TILE

Padding = Literal["zeros", "reflect"]

_kept: ContextVar[dict[Tensor, Tensor] | None] = ContextVar("kept", default=None)

CHUNK = 256  # tiles that are computed at once: enough for products of matrices at full speed, few for the cache


def conv3x3(image: Tensor, weight: Tensor, bias: Tensor | None = None, padding: Padding = "zeros") -> Tensor:
    """A convolution of stride 1 that keeps the size, by F(4x4, 3x3) of Lavin and Gray 2016 (arXiv:1509.09308).

    Patches of 6 x 6 are transformed, multiplied with the transformed weights (36 matrix products), and transformed
    back to tiles of 4 x 4; gradients go the same way back. In float32 all differ from those of torch's convolution by
    about 1e-6 of their largest value.

    Shape:
        image (N, C, H, W) in any memory format, H and W at least 2 with padding "reflect"; weight (K, C, 3, 3);
        bias (K); output (N, K, H, W) in channels_last. Float32 or float64 on a CPU.

    Differentiable once: RuntimeError for a gradient of its gradient.
    """
    kept = _kept.get()
    if kept is not None:
        if weight not in kept:
            kept[weight] = transforms(weight.dtype).of_weights(weight)
        return _forward(image, kept[weight], bias, padding)
    made: Tensor = _Winograd.apply(image, weight, bias, padding)
    return made


@contextmanager
def fixed_weights(kept: dict[Tensor, Tensor]) -> Iterator[None]:
    """Inside, `conv3x3` has no gradients, and keeps the transformed weights, four times their size, in `kept`.

    For weights that never change: nothing would notice that they did.
    """
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None, padding: Padding) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.padding = padding
        return _forward(image, transforms(weight.dtype).of_weights(weight), bias, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "the fast 3x3 convolution has no second derivative: leave fast_kernels() for what differentiates "
                "a gradient (training.kernels: plain)"
            )
        image, weight = ctx.saved_tensors
        wants_image, wants_weight, wants_bias, _ = ctx.needs_input_grad
        d_image, d_weight = _backward(image, weight, gradient, ctx.padding, (wants_image, wants_weight))
        return d_image, d_weight, gradient.sum((0, 2, 3)) if wants_bias else None, None


def _forward(image: Tensor, filters: Tensor, bias: Tensor | None, padding: Padding) -> Tensor:
    """The convolution with weights that are transformed, (36, K, C)."""
    count, _, height, width = image.shape
    rows, columns = -(-height // TILE), -(-width // TILE)
    transform = transforms(image.dtype)
    padded, made, filters = _pad(image, padding), filters.shape[1], filters.transpose(1, 2)
    result = image.new_empty(count, rows, TILE, columns, TILE, made)
    for images, lines in _chunks(count, rows, columns):
        values = torch.bmm(transform.from_patches(_part(padded, images, lines)), filters)
        transform.to_tiles(values, result[images, lines])
    if bias is not None:
        result += bias
    result = result.view(count, rows * TILE, columns * TILE, made)
    return result[:, :height, :width].contiguous().permute(0, 3, 1, 2)


def _backward(
    image: Tensor, weight: Tensor, gradient: Tensor, padding: Padding, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients to image and weight: the transposed transforms, in reverse order."""
    count, channels, height, width = image.shape
    rows, columns = -(-height // TILE), -(-width // TILE)
    transform = transforms(image.dtype)
    beyond = (columns * TILE - width, rows * TILE - height)
    tiles = (F.pad(gradient, (0, beyond[0], 0, beyond[1])) if any(beyond) else gradient).permute(0, 2, 3, 1)
    tiles = tiles.contiguous().view(count, rows, TILE, columns, TILE, len(weight))
    padded = _pad(image, padding) if wanted[1] else None
    filters = transform.of_weights(weight) if wanted[0] else None
    d_padded = image.new_zeros(count, rows * TILE + 2, columns * TILE + 2, channels) if wanted[0] else None
    d_filters = None
    for images, lines in _chunks(count, rows, columns):
        values = transform.from_tiles(tiles[images, lines])
        if padded is not None:
            factors = (values.transpose(1, 2), transform.from_patches(_part(padded, images, lines)))
            d_filters = torch.bmm(*factors) if d_filters is None else d_filters.baddbmm_(*factors)
        if filters is not None and d_padded is not None:
            transform.to_patches(torch.bmm(values, filters), _part(d_padded, images, lines))
    d_image = None if d_padded is None else _unpad(d_padded, height, width, padding)
    return d_image, None if d_filters is None else transform.to_weights(d_filters)


def _chunks(count: int, rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Images and rows of tiles that are transformed at once."""
    fit = max(1, CHUNK // columns)  # rows
    images, lines = max(1, fit // rows), min(fit, rows)
    for first in range(0, count, images):
        for top in range(0, rows, lines):
            yield slice(first, first + images), slice(top, min(top + lines, rows))


def _part(padded: Tensor, images: slice, lines: slice) -> Tensor:
    return padded[images, lines.start * TILE : lines.stop * TILE + 2]


def _pad(image: Tensor, padding: Padding) -> Tensor:
    """(N, C, H, W) to (N, H', W', C), a pixel of padding around it, and zeros behind to whole patches."""
    count, channels, height, width = image.shape
    sides = [side + -side % TILE + 2 for side in (height, width)]
    padded = image.new_empty(count, *sides, channels)
    padded[:, 1 : height + 1, 1 : width + 1] = image.permute(0, 2, 3, 1)
    for edge in (slice(1), slice(height + 1, None)):
        padded[:, edge] = 0
    for edge in (slice(1), slice(width + 1, None)):
        padded[:, :, edge] = 0
    if padding == "reflect":
        for to, source in ((0, 2), (height + 1, height - 1)):
            padded[:, to] = padded[:, source]
        for to, source in ((0, 2), (width + 1, width - 1)):
            padded[:, :, to] = padded[:, :, source]
    return padded


def _unpad(padded: Tensor, height: int, width: int, padding: Padding) -> Tensor:
    """The gradient behind `_pad`, from the one before it, which is changed: (N, C, height, width)."""
    if padding == "reflect":
        for to, source in ((0, 2), (height + 1, height - 1)):
            padded[:, source] += padded[:, to]
        for to, source in ((0, 2), (width + 1, width - 1)):
            padded[:, :, source] += padded[:, :, to]
    return padded[:, 1 : height + 1, 1 : width + 1].contiguous().permute(0, 3, 1, 2)
