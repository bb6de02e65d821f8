"""The running average of the generators' weights."""

import copy

import torch
from torch import Tensor, nn

RAMP = 0.05


class Ema:
    """Exponential moving average with a half-life in images, so that it does not depend on batch and world size.

    Args:
        networks: the networks that are averaged, unwrapped; the averages start as their copies.
        half_life: images after which an old weight counts half (Karras et al. 2020, arXiv:1912.04958, use 10,000).
    """

    def __init__(self, networks: dict[str, nn.Module], half_life: float) -> None:
        self.half_life = half_life
        self.sources = networks
        self.networks = {
            name: copy.deepcopy(network).eval().requires_grad_(False) for name, network in networks.items()
        }

    @torch.no_grad()
    def update(self, images: int, seen: int) -> None:
        """Move the averages towards the networks after a step over `images` images; buffers are copied.

        Args:
            seen: images of all steps so far. The half-life is at most RAMP of them (Karras et al. 2021,
                arXiv:2106.12423), so that a short run does not end with an average that is still noise.
        """
        share = 1 - 0.5 ** (images / min(self.half_life, RAMP * seen))
        for name, average in self.networks.items():
            source = self.sources[name]
            torch._foreach_lerp_(list(average.parameters()), list(source.parameters()), share)
            for old, new in zip(average.buffers(), source.buffers(), strict=True):
                old.copy_(new)

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": value for name, net in self.networks.items() for key, value in net.state_dict().items()
        }
