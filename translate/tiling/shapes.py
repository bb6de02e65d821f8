"""The functions that tiles know, and the shapes of what they give.

torch could tell the shapes itself, with tensors on its meta device, but takes seconds to import what that needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from translate.networks.bicubic import enlarge
from translate.tiling.errors import Untraceable

Shape = tuple[int, ...]

JOINED = {"add", "sub", "rsub", "mul", "div", "maximum", "minimum"}  # of maps or constants of any shapes that fit
# Each value of the result depends on the values at its own place alone.
POINTWISE = JOINED | {
    *("neg", "abs", "square", "sqrt", "exp", "clamp", "contiguous", "to", "float", "clone", "detach"),
    *(
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "celu",
        "selu",
        "gelu",
        "silu",
        "mish",
        "hardtanh",
        "hardswish",
        "softplus",
    ),
    *("tanh", "sigmoid", "hardsigmoid", "logsigmoid", "prelu"),
}
NORMS = {"group_norm", "instance_norm", "batch_norm", "dropout"}
TRANSPOSED: dict[str, Any] = {  # arguments of conv_transpose2d
    "input": None,
    "weight": None,
    "bias": None,
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "groups": 1,
    "dilation": 1,
}
ALIASES = {"contiguous", "to", "float", "detach", "dropout", "__getitem__"}  # may give the memory that they are given
ASKING = {"__get__", "size", "dim", "numel", "__len__", "is_floating_point", "is_contiguous", "element_size"}


def name_of(function: Any) -> str:
    return getattr(function, "__name__", str(function))


def bound(arguments: tuple[Any, ...], options: Mapping[str, Any], **defaults: Any) -> list[Any]:
    """The arguments of a call, by position or by name, in the order of these names."""
    given = dict(zip(defaults, arguments, strict=False)) | dict(options)
    return [given.get(name, default) for name, default in defaults.items()]


def pair(value: Any) -> tuple[int, int]:
    """What is given for rows and columns, or as one number for both."""
    first, second = (value, value) if isinstance(value, int) else (value[0], value[-1])
    return int(first), int(second)


def shape_of(function: Any, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Shape:
    """The shape of a function's result.

    Raises:
        Untraceable: it is none of those that tiles know.
    """
    name = name_of(function)
    if function is enlarge:
        n, channels, height, width = arguments[0].shape
        return n, channels, height * arguments[2], width * arguments[2]
    if name in JOINED:
        return np.broadcast_shapes(*(tuple(one.shape) for one in arguments if isinstance(one, Tensor)))
    if name in POINTWISE | NORMS:
        return tuple(bound(arguments, options, input=None)[0].shape)
    if name in _SHAPES:
        return _SHAPES[name](arguments, options)
    raise Untraceable(f"{name} is no function that tiles know")


def _convolution(arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Shape:
    image, weight, _, stride, padding, dilation = bound(
        arguments, options, input=None, weight=None, bias=None, stride=1, padding=0, dilation=1
    )
    sides = []
    for axis in (0, 1):
        reach = pair(dilation)[axis] * (weight.shape[2 + axis] - 1)
        both = {"same": reach, "valid": 0}[padding] if isinstance(padding, str) else 2 * pair(padding)[axis]
        sides.append((image.shape[2 + axis] + both - reach - 1) // pair(stride)[axis] + 1)
    return image.shape[0], weight.shape[0], *sides


def _transposed(arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Shape:
    image, weight, _, stride, padding, extra, groups, dilation = bound(
        arguments,
        options,
        input=None,
        weight=None,
        bias=None,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        dilation=1,
    )
    sides = [
        (image.shape[2 + axis] - 1) * pair(stride)[axis]
        - 2 * pair(padding)[axis]
        + pair(dilation)[axis] * (weight.shape[2 + axis] - 1)
        + pair(extra)[axis]
        + 1
        for axis in (0, 1)
    ]
    return image.shape[0], weight.shape[1] * groups, *sides


def _padding(arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Shape:
    image, pad = bound(arguments, options, input=None, pad=None)
    if len(pad) not in (2, 4) or min(pad) < 0:
        raise Untraceable(f"tiles know pad of rows and columns, by 0 or more, this one is by {tuple(pad)}")
    left, right, top, bottom = (*pad, 0, 0)[:4]
    return *image.shape[:2], image.shape[2] + top + bottom, image.shape[3] + left + right


def _interpolation(arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Shape:
    image, size, factor = bound(arguments, options, input=None, size=None, scale_factor=None)
    if size is not None:
        return *image.shape[:2], *pair(size)
    factors = (factor, factor) if isinstance(factor, int | float) else factor
    return *image.shape[:2], *(int(side * by) for side, by in zip(image.shape[2:], factors, strict=True))


def _shuffle(arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Shape:
    image, by = bound(arguments, options, input=None, upscale_factor=None)
    n, channels, height, width = image.shape
    return n, channels // by**2, height * by, width * by


def _cat(arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Shape:
    images, dim = bound(arguments, options, tensors=None, dim=0)
    if dim not in (1, -3):
        raise Untraceable(f"tiles know cat of channels alone, this one is along dimension {dim}")
    return images[0].shape[0], sum(image.shape[1] for image in images), *images[0].shape[2:]


def _part(arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Shape:
    index = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
    if len(index) > 2 or not all(isinstance(one, slice) for one in index):
        raise Untraceable(f"tiles know __getitem__ of channels alone, this one has the index {index}")
    return tuple(arguments[0][index].shape)


_SHAPES: dict[str, Callable[[tuple[Any, ...], Mapping[str, Any]], Shape]] = {
    "conv2d": _convolution,
    "conv_transpose2d": _transposed,
    "pad": _padding,
    "interpolate": _interpolation,
    "pixel_shuffle": _shuffle,
    "cat": _cat,
    "__getitem__": _part,
}
