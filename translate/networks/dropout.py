"""Dropout, which is also the noise of pix2pix: off after training, and on again where variations are wanted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

# Of this thread and task alone: others that run the same network at this moment see none.
_GENERATORS: ContextVar[tuple[torch.Generator, ...] | None] = ContextVar("generators", default=None)


@contextmanager
def noise(seeds: Sequence[int]) -> Iterator[None]:
    """Inside, networks in eval mode drop activations too: the noise of pix2pix (Isola et al. 2017, arXiv:1611.07004).

    Sample n of a batch has masks of its own, which depend on its seed, the network and the image's size, and on
    nothing else: not on the device, the other samples or torch's seed. A second forward pass inside has other masks.

    Args:
        seeds: one for each sample of the batch, 0 to 2**64 - 1.
    """
    token = _GENERATORS.set(tuple(torch.Generator().manual_seed(seed) for seed in seeds))
    try:
        yield
    finally:
        _GENERATORS.reset(token)


class Dropout(nn.Dropout):
    """torch's dropout in training; in eval mode the identity, but inside `noise`, where it drops as in training.

    Shape:
        (N, ...) to the same.

    Raises:
        ValueError: inside `noise`, for a batch of another size than the number of seeds.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            return super().forward(input)
        generators = _GENERATORS.get()
        if generators is None:
            return input
        if len(generators) != len(input):
            raise ValueError(f"noise was given {len(generators)} seeds for a batch of {len(input)}: give one a sample")
        kept = torch.stack([torch.rand(input.shape[1:], generator=own) >= self.p for own in generators])
        return input * kept.to(input.device) / (1 - self.p)
