"""Mean and variance of values that come in parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of values, in float64, of any leading shape.

    Parts are put together by the update of Chan, Golub and LeVeque 1983 (doi:10.1080/00031305.1983.10483115), which
    loses nothing where the mean is large and the variance small.

    count: of the values behind each mean.
    mean, squares: float64 (...) on the CPU.
    """

    count: int
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Moments:
        """Of the last dimension of values (..., n), n at least 1, of any float dtype, on any device."""
        mean = values.mean(dim=-1, dtype=torch.float32)
        deviations = values - mean[..., None]
        rest = deviations.mean(dim=-1, dtype=torch.float32).double()  # what rounding left in the mean
        squares = deviations.square_().sum(dim=-1, dtype=torch.float32).double()
        count = values.shape[-1]
        return cls(count, (mean.double() + rest).cpu(), (squares - count * rest.square()).clamp_min(0).cpu())

    def merge(self, other: Moments) -> Moments:
        """Of the values of both."""
        count = self.count + other.count
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.count / count)
        squares = self.squares + other.squares + delta.square() * (self.count * other.count / count)
        return Moments(count, mean, squares)

    @property
    def variance(self) -> Tensor:
        """The biased variance, float64 (...)."""
        return self.squares / self.count


def merged(parts: Iterable[Moments]) -> Moments:
    """Of the values of all parts, of which there is at least one."""
    first, *others = parts
    for other in others:
        first = first.merge(other)
    return first
