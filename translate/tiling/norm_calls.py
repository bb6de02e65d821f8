"""The norms of any network that look at the whole map, caught while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from translate.tiling.moments import Moments
from translate.tiling.normalisation import Normalisation
from translate.tiling.operations import SpatialNorm
from translate.tiling.regions import Region

_ATEN = torch.ops.aten
_LOOKS_AT_ITS_INPUT = {  # the argument that says so
    _ATEN.instance_norm.default: "use_input_stats",
    _ATEN.batch_norm.default: "training",
}
_FUNCTIONS = (*_LOOKS_AT_ITS_INPUT, _ATEN.group_norm.default, _ATEN.layer_norm.default)


@dataclass(frozen=True)
class NormCall:
    """One call of a norm whose statistics are those of the whole map.

    values: (N, C, H, W), what it normalises.
    norm: its groups of channels, and the weights of channels.
    pooled: the statistics are of all images of the batch together (batch norm without running statistics).
    weight, bias: of each pixel (layer norm), for the whole map: they broadcast to (C, H, W); or None.
    """

    values: Tensor
    norm: SpatialNorm
    pooled: bool = False
    weight: Tensor | None = None
    bias: Tensor | None = None

    def moments(self, rows: slice, columns: slice) -> Moments:
        """Of a part of `values`, which has at least one pixel: (N, groups), or (1, groups) where pooled."""
        values = self.values[..., rows, columns].float()
        values = values.transpose(0, 1)[None] if self.pooled else values
        return Moments.of(values.reshape(len(values), self.norm.groups, -1))

    def normalisation(self, moments: Moments) -> Normalisation:
        """What the norm does where the whole map has these moments."""
        return Normalisation.of_moments(moments, self.norm, self.values.shape[1], self.values.device)

    def normalised(self, normalisation: Normalisation, window: Region) -> Tensor:
        """The norm's result; `values` are the part of the map at `window`."""
        result = normalisation.apply(self.values)
        if self.weight is not None:
            result = result * self.weight[(..., *window.slices)]
        if self.bias is not None:
            result = result + self.bias[(..., *window.slices)]
        return result.to(self.values.dtype)


def norm_call(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> NormCall | None:
    """What a call of an operator of torch normalises by the whole map; None for any other call.

    Instance and batch norm with running statistics are local, as is a layer norm over channels. To be used in a
    TorchDispatchMode in inference mode, where norms arrive as one operator each, of whatever module, function or
    script they come from.
    """
    if function not in _FUNCTIONS:
        return None
    arguments = function._schema.arguments
    own = {argument.name: argument.default_value for argument in arguments}
    own |= {argument.name: value for argument, value in zip(arguments, args, strict=False)} | dict(kwargs)
    values, weight, bias, eps = own["input"], own["weight"], own["bias"], own["eps"]
    if values.ndim != 4 or not own.get(_LOOKS_AT_ITS_INPUT.get(function, ""), True):
        return None
    channels = values.shape[1]
    if function is _ATEN.layer_norm.default:
        dimensions = len(own["normalized_shape"])
        if dimensions not in (2, 3):
            return None
        groups = 1 if dimensions == 3 else channels
        return NormCall(values, SpatialNorm(groups, None, None, eps), weight=weight, bias=bias)
    groups = own.get("num_groups", channels)
    return NormCall(values, SpatialNorm(groups, weight, bias, eps), pooled=function is _ATEN.batch_norm.default)
