"""What is trained towards what. An objective is a value: its methods return terms and change nothing."""

from typing import Any, Protocol

from torch import nn

from translate.objectives.cyclegan import CycleGAN
from translate.objectives.perceptual_gan import PerceptualGAN
from translate.objectives.pix2pix import Pix2Pix
from translate.objectives.pixel import Pixel
from translate.objectives.terms import Comparisons, Fakes, Made, View, as_is


class Objective(Protocol):
    """What the training loop asks of an objective; the loop owns backward and step."""

    generators: dict[str, nn.Module]
    discriminators: dict[str, nn.Module]
    adversarial: Any
    real_label: float

    def generator_terms(self, batch: Any, view: View = as_is) -> Made:
        """Weighted scalar terms of the generators, and what the discriminators are to be shown, detached.

        Args:
            view: through which the discriminators see images.
        """
        ...

    def comparisons(self, batch: Any, fakes: Fakes) -> Comparisons:
        """What each discriminator compares; its own terms and penalties follow from it."""
        ...


OBJECTIVES: dict[str, Any] = {
    "pix2pix": Pix2Pix,
    "cyclegan": CycleGAN,
    "pixel": Pixel,
    "perceptual_gan": PerceptualGAN,
}
