"""Paired restoration by distance alone: the pixel stage, which wins PSNR."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from translate.data.batches import Paired
from translate.losses import charbonnier, l1, mse
from translate.objectives.terms import Comparisons, Fakes, Terms

DISTANCES = {"l1": l1, "charbonnier": charbonnier, "mse": mse}


@dataclass(frozen=True, kw_only=True)
class Pixel:
    """The mean distance of the generator's output to the target, without a discriminator.

    Args:
        generators: one, "generator".
        discriminators: none.
        distance: "l1" (Lim et al. 2017, arXiv:1707.02921, train super-resolution with it, and gain PSNR over "mse"), or
            "charbonnier" (Lai et al. 2017, arXiv:1704.03915), which is smooth at 0.
    """

    generators: dict[str, nn.Module]
    discriminators: dict[str, nn.Module]
    distance: Literal["l1", "charbonnier", "mse"] = "l1"

    kind: ClassVar[str] = "paired"
    enlarges: ClassVar[bool] = True
    adversarial: ClassVar[str] = "lsgan"  # of no discriminator
    real_label: ClassVar[float] = 1.0

    @staticmethod
    def generator_channels(source: int, target: int) -> dict[str, tuple[int, int]]:
        """Input and output channels of each generator."""
        return {"generator": (source, target)}

    @staticmethod
    def discriminator_channels(source: int, target: int) -> dict[str, int]:
        """There is none."""
        return {}

    def generator_terms(self, batch: Paired) -> tuple[Terms, Fakes]:
        """One term, "g/l1" or whatever the distance is; no fakes."""
        output = self.generators["generator"](batch.source)
        return {f"g/{self.distance}": DISTANCES[self.distance](output, batch.target)}, {}

    def comparisons(self, batch: Paired, fakes: Fakes) -> Comparisons:
        """Nothing to compare."""
        return {}
