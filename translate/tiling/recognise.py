"""What a recorded function is to tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from translate.networks.bicubic import enlarge
from translate.tiling.errors import Untraceable
from translate.tiling.operations import (
    BicubicEnlargement,
    Convolution,
    Enlargement,
    Operation,
    Padding,
    Pointwise,
    SpatialNorm,
    TransposedConvolution,
)
from translate.tiling.shapes import TRANSPOSED, bound, name_of, pair
from translate.tiling.trace import Node, Shape, Value


def operation_of(node: Node, nodes: Sequence[Node]) -> Operation:
    """What a recorded function is to tiles.

    Raises:
        Untraceable: it is none of those that tiles know.
    """
    name = name_of(node.function)
    sizes = {nodes[index].shape[-2:] for index in node.inputs}
    if node.function is enlarge:
        _, kernel, scale = _bound(node, image=None, kernel=None, scale=None)
        return BicubicEnlargement(kernel, scale, sizes.pop())
    if name in _MAKERS:
        _require(len(node.inputs) == 1 and isinstance(next(iter(node.arguments), None), Value), node, "of one map")
        return _MAKERS[name](node, nodes[node.inputs[0]].shape)
    _require(sizes == {node.shape[-2:]}, node, "of maps of one size")
    dtypes = {one for one in _leaves((node.arguments, tuple(node.options.values()))) if isinstance(one, torch.dtype)}
    _require(dtypes <= {torch.float32}, node, "in float32")
    constants = [one for one in _leaves((node.arguments, tuple(node.options.values()))) if isinstance(one, Tensor)]
    spread = {one.shape[-2:] for one in constants if one.numel() > 1 and name != "prelu"}
    _require(spread <= {node.shape[-2:], (1, 1)}, node, "with constants for channels or for the whole map")
    return Pointwise(node)


def _convolution(node: Node, shape: Shape) -> Operation:
    _, weight, bias, stride, padding, dilation, groups = _bound(
        node, input=None, weight=None, bias=None, stride=1, padding=0, dilation=1, groups=1
    )
    stride, dilation, kernel = pair(stride), pair(dilation), weight.shape[2:]
    if padding == "same":
        total = [dilation[axis] * (kernel[axis] - 1) for axis in (0, 1)]
        before = (total[0] // 2, total[1] // 2)
    else:
        before = (0, 0) if padding == "valid" else pair(padding)
    reach = [dilation[axis] * (kernel[axis] - 1) for axis in (0, 1)]
    _require(before[0] <= reach[0] and before[1] <= reach[1], node, "with no more padding than its kernel reaches over")
    return Convolution(weight, bias, stride, before, dilation, groups, shape[2:])


def _transposed(node: Node, shape: Shape) -> Operation:
    _, weight, bias, stride, padding, extra, groups, dilation = _bound(node, **TRANSPOSED)
    _require(pair(dilation) == (1, 1), node, "without dilation")
    return TransposedConvolution(weight, bias, pair(stride), pair(padding), pair(extra), groups, shape[2:])


def _padding(node: Node, shape: Shape) -> Operation:
    _, pad, mode, value = _bound(node, input=None, pad=None, mode="constant", value=None)
    left, _, top, _ = (*pad, 0, 0)[:4]
    _require(mode in ("constant", "reflect", "replicate"), node, "by what is near: a tile would need the other border")
    return Padding((top, left), mode, value or 0.0, shape[2:])


def _interpolation(node: Node, shape: Shape) -> Operation:
    _, _, by, mode = _bound(node, input=None, size=None, scale_factor=None, mode="nearest")
    factors = [Fraction(out, given) for out, given in zip(node.shape[2:], shape[2:], strict=True)]
    whole = all(factor.denominator == 1 for factor in factors) and all(
        float(one).is_integer() for one in _leaves(by or 1)
    )
    _require(mode == "nearest" and whole, node, "by nearest neighbour, n times")
    rows, columns = (int(factor) for factor in factors)
    return Enlargement((rows, columns), lambda values: F.interpolate(values, scale_factor=(rows, columns)))


def _shuffle(node: Node, shape: Shape) -> Operation:
    factor = _bound(node, input=None, upscale_factor=None)[1]
    return Enlargement((factor, factor), lambda values: F.pixel_shuffle(values, factor))


def _group_norm(node: Node, shape: Shape) -> Operation:
    _, groups, weight, bias, eps = _bound(node, input=None, num_groups=None, weight=None, bias=None, eps=1e-5)
    return SpatialNorm(groups, weight, bias, eps)


def _instance_norm(node: Node, shape: Shape) -> Operation:
    _, _, _, weight, bias, own, _, eps = _bound(
        node,
        input=None,
        running_mean=None,
        running_var=None,
        weight=None,
        bias=None,
        use_input_stats=True,
        momentum=0.1,
        eps=1e-5,
    )
    return SpatialNorm(shape[1], weight, bias, eps) if own else Pointwise(node)


def _batch_norm(node: Node, shape: Shape) -> Operation:
    training = _bound(node, input=None, mean=None, var=None, weight=None, bias=None, training=False)[5]
    _require(not training, node, "with running statistics")
    return Pointwise(node, dense=True)


def _dropout(node: Node, shape: Shape) -> Operation:
    _require(not _bound(node, input=None, p=0.5, training=True)[2], node, "outside of training")
    return Pointwise(node)


_MAKERS: dict[str, Callable[[Node, Shape], Operation]] = {
    "conv2d": _convolution,
    "conv_transpose2d": _transposed,
    "pad": _padding,
    "interpolate": _interpolation,
    "pixel_shuffle": _shuffle,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "dropout": _dropout,
}


def _bound(node: Node, **defaults: Any) -> list[Any]:
    return bound(node.arguments, node.options, **defaults)


def _require(condition: bool, node: Node, what: str) -> None:
    if not condition:
        raise Untraceable(f"tiles know {name_of(node.function)} {what}")


def _leaves(given: Any) -> list[Any]:
    return [one for part in given for one in _leaves(part)] if isinstance(given, tuple | list) else [given]
