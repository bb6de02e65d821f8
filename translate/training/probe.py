"""Real validation images that the discriminators are shown now and then, to see whether they know the training set."""

from collections.abc import Callable
from typing import Any

import torch

from translate.data.sampling import Draw
from translate.health.signals import Signals, unseen
from translate.networks import logits
from translate.objectives import Objective
from translate.objectives.terms import Fakes, bare
from translate.training.validation import Dataset, evaluating

IMAGES = 8  # of each kind that are shown at a time
BATCHES = 4  # kept, and shown in turn


class Probe:
    """Batches of validation images, cropped as those of the training are.

    Args:
        size: images of a batch.
        arrange: brings a batch to the device, in the dtype and memory format of the training.
    """

    def __init__(self, dataset: Dataset, size: int, arrange: Callable[[Any], Any]) -> None:
        count = min(IMAGES * BATCHES, *dataset.lengths) // size * size
        draws = [Draw(0, place, tuple(place for _ in dataset.lengths)) for place in range(count)]
        self.batches: list[Any] = [_batch(dataset, draws[start : start + size]) for start in range(0, count, size)]
        self.arrange = arrange

    @torch.no_grad()
    def show(self, turn: int, objective: Objective, batch: Any, fakes: Fakes) -> Signals:
        """What each discriminator says of real training images, of validation images, and of fakes.

        The discriminators are in evaluation mode, and see the images as they are.
        """
        found: Signals = {}
        held_out = self.arrange(self.batches[turn % len(self.batches)])
        seen, held = objective.comparisons(batch, fakes), objective.comparisons(held_out, fakes)
        critics = {suffix: bare(comparison.discriminator) for suffix, comparison in seen.items()}
        with evaluating(critics):
            for suffix, critic in critics.items():
                shown = (seen[suffix].real, held[suffix].real, seen[suffix].fake)
                train, val, fake = (logits(critic(images)) for images in shown)
                found |= unseen(train, val, fake, objective.adversarial, suffix)
        return found


def _batch(dataset: Any, draws: list[Draw]) -> Any:
    return dataset.collate([dataset[draw] for draw in draws])
