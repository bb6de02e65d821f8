"""The controller of adaptive augmentation."""

from collections.abc import Callable

import torch
from torch import Tensor

HIGHEST = 0.8  # up to here the paper found no leak into what the generator makes


class AdaptiveProbability:
    """ADA's controller of a `View` (Karras et al. 2020, arXiv:2006.06676).

    The probability rises at a constant rate while r_t, the mean sign of the logits on real training images, is above
    its target, which a discriminator that overfits drives to 1, and falls while r_t is below. It stays in 0 to 0.8,
    where the paper found no leak into what the generator makes. Nothing here waits for the device.

    Args:
        target: of r_t, -1 to 1; 0.6 in the paper.
        images: in which the probability would go from 0 to 1; 500_000 in the paper.
        start: the first probability, 0 to 0.8.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, target: float, images: int, device: torch.device | str, start: float = 0.0) -> None:
        if not -1 <= target <= 1 or images < 1 or not 0 <= start <= HIGHEST:
            raise ValueError(
                f"adaptive augmentation needs a target from -1 to 1, images of at least 1 and a start from 0 to "
                f"{HIGHEST}, got target {target!r}, images {images!r} and start {start!r}: the paper has 0.6, 500000 "
                "and 0"
            )
        self.target = target
        self.images = images
        self.probability = torch.tensor(float(start), device=device)
        self.seen = torch.zeros(2, device=device)  # sum of the signs since the last update, and how many there were

    def add(self, signs: Tensor) -> None:
        """Take the mean sign of one step's logits on real images, a scalar on the device; NaN does not count."""
        signs = signs.detach().to(self.seen)
        self.seen += torch.where(signs.isnan(), torch.zeros_like(self.seen), torch.stack([signs, signs.new_ones(())]))

    def update(self, images: int, reduce: Callable[[Tensor], Tensor]) -> None:
        """Move the probability by what `add` took since the last update; the paper does so every 4 steps.

        Args:
            images: seen since then by all processes; they are the size of the step.
            reduce: averages a tensor over all processes, which therefore keep one probability.
        """
        total, number = reduce(self.seen)
        direction = torch.where(number > 0, torch.sign(total / number.clamp(min=1e-6) - self.target), 0.0)
        self.probability.add_(direction * (images / self.images)).clamp_(0, HIGHEST)
        self.seen = torch.zeros_like(self.seen)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that a restart needs, by name."""
        return {"probability": self.probability.clone(), "seen": self.seen.clone()}

    def load(self, state: dict[str, Tensor], device: torch.device | str) -> None:
        """Take over what `state` gave, on that device; a View that shares the probability goes on sharing it."""
        self.probability.copy_(state["probability"])
        self.seen = state["seen"].to(device, copy=True)
