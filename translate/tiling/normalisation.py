"""Norms whose statistics are those of a whole map, applied to its tiles."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from translate.tiling.maps import MemoryMap
from translate.tiling.moments import Moments
from translate.tiling.operations import SpatialNorm
from translate.tiling.regions import Sink

LARGEST_GROUP = 2**22  # values that are copied at once


@dataclass(frozen=True)
class Normalisation:
    """What a norm does to each value of a map, rounded as torch's group norm does.

    mean, scale: float32 (N, C, 1, 1).
    shift: the same, or None for a norm without a bias.
    """

    mean: Tensor
    scale: Tensor
    shift: Tensor | None

    @classmethod
    def of_moments(cls, moments: Moments, norm: SpatialNorm, channels: int, device: torch.device) -> Normalisation:
        """Of the moments (N, groups) of a whole map."""
        rate = (moments.variance + norm.eps).rsqrt()
        return cls._of(moments.mean.float().to(device), rate.float().to(device), norm, channels)

    @classmethod
    def of_map(cls, given: MemoryMap, norm: SpatialNorm) -> Normalisation:
        """Of a whole map that is there, by torch's own group norm: bit for bit what it finds in the whole image."""
        n, channels, height, width = given.shape
        alike = channels // norm.groups
        values = given.values.reshape(n * norm.groups, 1, alike, height, width)
        found = [
            torch.native_group_norm(group, None, None, 1, alike, height * width, 1, norm.eps)[1:] for group in values
        ]
        mean, rate = (torch.cat(parts).reshape(n, norm.groups) for parts in zip(*found, strict=True))
        return cls._of(mean, rate, norm, channels)

    @classmethod
    def _of(cls, mean: Tensor, rate: Tensor, norm: SpatialNorm, channels: int) -> Normalisation:
        mean, scale = (values.repeat_interleave(channels // norm.groups, dim=1) for values in (mean, rate))
        if norm.weight is not None:
            scale = scale * norm.weight.float()
        shift = None
        if norm.bias is not None:
            shift = (norm.bias.double() - scale.double() * mean.double()).float()[..., None, None]
        return cls(mean[..., None, None], scale[..., None, None], shift)

    def apply(self, values: Tensor, *, overwrite: bool = False) -> Tensor:
        """The norm of values (N, C, h, w), float32, in their memory if they may be overwritten."""
        values = values.float()
        if self.shift is not None:
            return torch.addcmul(self.shift, values, self.scale)
        return (values.sub_(self.mean) if overwrite else values - self.mean).mul_(self.scale)


def takes_whole(target: Sink, norms: Collection[SpatialNorm]) -> bool:
    """Whether the statistics are taken of the whole map: it is in memory, and its groups are small."""
    if not isinstance(target, MemoryMap) or target.values.dtype != torch.float32:
        return False
    return all(math.prod(target.shape[1:]) <= LARGEST_GROUP * norm.groups for norm in norms)
