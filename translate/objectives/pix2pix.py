"""Paired translation: a conditional GAN and a distance to the target."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from translate.data.batches import Paired
from translate.losses import l1
from translate.objectives.terms import (
    Comparison,
    Comparisons,
    Fakes,
    Made,
    Terms,
    Translation,
    View,
    as_is,
    check_settings,
    generator_adversarial,
)


@dataclass(frozen=True, kw_only=True)
class Pix2Pix:
    """Conditional GAN plus L1 (Isola et al. 2017, arXiv:1611.07004).

    The discriminator sees source and translation side by side, so it has C + C' input channels.

    Args:
        generators: one, "generator".
        discriminators: one, "discriminator".
        gan_weight: of the adversarial term; 0 trains with the other terms alone, and the discriminator still learns.
        feature_matching_weight: L1 between the discriminator's features (pix2pixHD, arXiv:1711.11585, uses 10).
        real_label: 0.9 for one-sided label smoothing (Salimans et al. 2016, arXiv:1606.03498).
    """

    generators: dict[str, nn.Module]
    discriminators: dict[str, nn.Module]
    adversarial: Literal["bce", "lsgan", "hinge", "wasserstein"] = "lsgan"
    gan_weight: float = 1.0
    l1_weight: float = 100.0
    feature_matching_weight: float = 0.0
    real_label: float = 1.0

    kind: ClassVar[str] = "paired"
    enlarges: ClassVar[bool] = False  # source and translation lie side by side before the discriminator
    weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(
            self.adversarial,
            self.real_label,
            gan_weight=self.gan_weight,
            l1_weight=self.l1_weight,
            feature_matching_weight=self.feature_matching_weight,
        )

    @staticmethod
    def generator_channels(source: int, target: int) -> dict[str, tuple[int, int]]:
        """Input and output channels of each generator."""
        return {"generator": (source, target)}

    @staticmethod
    def discriminator_channels(source: int, target: int) -> dict[str, tuple[int, ...]]:
        """The channels of the pictures that lie side by side before each discriminator."""
        return {"discriminator": (source, target)}

    def generator_terms(self, batch: Paired, view: View = as_is) -> Made:
        """Terms "g/gan", "g/l1" and, with a weight, "g/feature_matching"; fakes {"pair": source beside translation}."""
        fake = self.generators["generator"](batch.source)
        pair = torch.cat([batch.source, fake], dim=1)
        comparison = self.comparisons(batch, {"pair": pair})[""]
        gan, matching = generator_adversarial(comparison, self.adversarial, self.feature_matching_weight, view)
        terms: Terms = {"g/gan": self.gan_weight * gan, "g/l1": self.l1_weight * l1(fake, batch.target)}
        if matching is not None:
            terms["g/feature_matching"] = matching
        return Made(terms, {"pair": pair.detach()}, {"": Translation(batch.source, fake, batch.target)})

    def comparisons(self, batch: Paired, fakes: Fakes) -> Comparisons:
        """The pair that the artist made against the pair that the generator made."""
        real = torch.cat([batch.source, batch.target], dim=1)
        return {"": Comparison(self.discriminators["discriminator"], real, fakes["pair"])}
