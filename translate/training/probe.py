"""Real validation images that the discriminators are shown now and then, to see whether they know the training set."""

from collections.abc import Callable
from typing import Any

import torch

from translate.data.images import ImageError
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

    Images that are too small to be cropped, or to be judged, are left out.

    Args:
        size: images of a batch; 1 where they have several sizes.
        minimum: shortest side that the discriminators judge, in pixels.
        arrange: brings a batch to the device, in the dtype and memory format of the training.
    """

    def __init__(self, dataset: Dataset, size: int, minimum: int, arrange: Callable[[Any], Any]) -> None:
        most = min(size * BATCHES if size > 1 else IMAGES, *dataset.lengths)
        samples = [sample for place in range(most) if (sample := _sample(dataset, place, minimum)) is not None]
        collate: Any = dataset.collate
        whole = len(samples) // size * size
        self.batches: list[Any] = [collate(samples[first : first + size]) for first in range(0, whole, size)]
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


def _sample(dataset: Any, place: int, minimum: int) -> Any:
    try:
        sample = dataset[Draw(0, place, tuple(place for _ in dataset.lengths))]
    except ImageError:  # smaller than the crop; a broken one is the validation's to report
        return None
    sides = [side for image in sample if isinstance(image, torch.Tensor) for side in image.shape[-2:]]
    return sample if min(sides) >= minimum else None
