"""Paired restoration that shall look real: the GAN stage, which gives up PSNR for sharpness."""

from dataclasses import dataclass
from typing import ClassVar, Literal

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
class PerceptualGAN:
    """L1, a distance of features, and a discriminator that judges the output alone (SRGAN, Ledig et al. 2017,
    arXiv:1609.04802; ESRGAN, Wang et al. 2018, arXiv:1809.00219).

    The features are those of a trained classifier where its weights are given (`perceptual_weight`), and otherwise the
    discriminator's own (`feature_matching_weight`, Wang et al. 2018, arXiv:1711.11585).

    Args:
        generators: one, "generator".
        discriminators: one, "discriminator", with the channels of the target.
        features: gives the perceptual distance of two batches of images; needed with a perceptual_weight.
        l1_weight, gan_weight: Real-ESRGAN (arXiv:2107.10833) takes 1 and 0.1.
        perceptual_weight: of the distance of a classifier's features; Real-ESRGAN takes 1.
        feature_weights: file with the weights of a VGG network in torchvision's layout (.safetensors or .pth); None
            looks for vgg19 in torch's hub cache. Nothing is downloaded.
        real_label: 0.9 for one-sided label smoothing (Salimans et al. 2016, arXiv:1606.03498).

    Raises:
        ValueError: a weight is negative, or there is a perceptual_weight and there are no features.
    """

    generators: dict[str, nn.Module]
    discriminators: dict[str, nn.Module]
    features: nn.Module | None = None
    adversarial: Literal["bce", "lsgan", "hinge", "wasserstein"] = "bce"
    l1_weight: float = 1.0
    gan_weight: float = 0.1
    perceptual_weight: float = 0.0
    feature_weights: str | None = None
    feature_matching_weight: float = 0.0
    real_label: float = 1.0

    kind: ClassVar[str] = "paired"
    enlarges: ClassVar[bool] = True
    weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(
            self.adversarial,
            self.real_label,
            l1_weight=self.l1_weight,
            gan_weight=self.gan_weight,
            perceptual_weight=self.perceptual_weight,
            feature_matching_weight=self.feature_matching_weight,
        )
        if self.perceptual_weight and self.features is None:
            raise ValueError("a perceptual_weight needs features: give them, or set perceptual_weight to 0")

    @staticmethod
    def generator_channels(source: int, target: int) -> dict[str, tuple[int, int]]:
        """Input and output channels of each generator."""
        return {"generator": (source, target)}

    @staticmethod
    def discriminator_channels(source: int, target: int) -> dict[str, tuple[int, ...]]:
        """The channels of the pictures that lie side by side before each discriminator."""
        return {"discriminator": (target,)}

    def generator_terms(self, batch: Paired, view: View = as_is) -> Made:
        """Terms "g/gan", "g/l1" and, with a weight, "g/perceptual" and "g/feature_matching"; fakes {"output": ...}."""
        output = self.generators["generator"](batch.source)
        comparison = self.comparisons(batch, {"output": output})[""]
        gan, matching = generator_adversarial(comparison, self.adversarial, self.feature_matching_weight, view)
        terms: Terms = {"g/gan": self.gan_weight * gan, "g/l1": self.l1_weight * l1(output, batch.target)}
        if matching is not None:
            terms["g/feature_matching"] = matching
        if self.features is not None:
            terms["g/perceptual"] = self.perceptual_weight * self.features(output, batch.target)
        return Made(terms, {"output": output.detach()}, {"": Translation(batch.source, output, batch.target)})

    def comparisons(self, batch: Paired, fakes: Fakes) -> Comparisons:
        """The targets against the generator's outputs."""
        return {"": Comparison(self.discriminators["discriminator"], batch.target, fakes["output"])}
