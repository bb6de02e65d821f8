"""What the training loop receives: batches as named tuples."""

from typing import NamedTuple

from torch import Tensor


class Paired(NamedTuple):
    """Registered pairs, model space: source (N, C, H, W), target (N, C', H, W), and the N names."""

    source: Tensor
    target: Tensor
    name: list[str]


class Unpaired(NamedTuple):
    """Independent draws from two kinds of image, model space: a (N, C, H, W), b (N, C', H, W), and their names."""

    a: Tensor
    b: Tensor
    name_a: list[str]
    name_b: list[str]
