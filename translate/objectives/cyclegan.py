"""Unpaired translation: two generators that must undo each other."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from translate.data.batches import Unpaired
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
    bare,
    check_settings,
    generator_adversarial,
    mixes_images,
)

MERGED_PIXELS = 2 * 64 * 64  # of one forward on a CPU, over all images: measured, at 256 x 256 it is a little slower


@dataclass(frozen=True, kw_only=True)
class CycleGAN:
    """Two GANs with cycle consistency (Zhu et al. 2017, arXiv:1703.10593).

    Args:
        generators: "a_to_b" and "b_to_a".
        discriminators: "discriminator_a" and "discriminator_b", each judging images of its kind.
        cycle_weight: of |b_to_a(a_to_b(a)) - a| and its mirror image.
        identity_weight: of |a_to_b(b) - b| and its mirror image, relative to cycle_weight; needs kinds of equal
            channels.
    """

    generators: dict[str, nn.Module]
    discriminators: dict[str, nn.Module]
    adversarial: Literal["bce", "lsgan", "hinge", "wasserstein"] = "lsgan"
    gan_weight: float = 1.0
    cycle_weight: float = 10.0
    identity_weight: float = 0.5
    feature_matching_weight: float = 0.0
    real_label: float = 1.0

    kind: ClassVar[str] = "unpaired"
    enlarges: ClassVar[bool] = False  # what is translated back must have the size that it had
    weighted: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(
            self.adversarial,
            self.real_label,
            gan_weight=self.gan_weight,
            cycle_weight=self.cycle_weight,
            identity_weight=self.identity_weight,
            feature_matching_weight=self.feature_matching_weight,
        )
        channels = {(bare(g).in_channels, bare(g).out_channels) for g in self.generators.values()}
        if self.identity_weight and any(given != made for given, made in channels):
            raise ValueError(
                f"the identity term needs kinds of equal channels, got generators of {sorted(channels)}: "
                "set objective.identity_weight to 0, or data.source_channels and data.target_channels alike"
            )

    @staticmethod
    def generator_channels(source: int, target: int) -> dict[str, tuple[int, int]]:
        """Input and output channels of each generator."""
        return {"a_to_b": (source, target), "b_to_a": (target, source)}

    @staticmethod
    def discriminator_channels(source: int, target: int) -> dict[str, tuple[int, ...]]:
        """The channels of the pictures that lie side by side before each discriminator."""
        return {"discriminator_a": (source,), "discriminator_b": (target,)}

    def generator_terms(self, batch: Unpaired, view: View = as_is) -> Made:
        """Terms "g/gan_*", "g/cycle_*", "g/identity_*" for a and b; fakes {"a": ..., "b": ...}."""
        a_to_b, b_to_a = self.generators["a_to_b"], self.generators["b_to_a"]
        fake_b, same_b = self._translated(a_to_b, batch.a, batch.b)
        fake_a, same_a = self._translated(b_to_a, batch.b, batch.a)
        fakes = {"a": fake_a, "b": fake_b}
        terms: Terms = {}
        for suffix, comparison in self.comparisons(batch, fakes).items():
            gan, matching = generator_adversarial(comparison, self.adversarial, self.feature_matching_weight, view)
            terms[f"g/gan{suffix}"] = self.gan_weight * gan
            if matching is not None:
                terms[f"g/feature_matching{suffix}"] = matching
        terms["g/cycle_a"] = self.cycle_weight * l1(b_to_a(fakes["b"]), batch.a)
        terms["g/cycle_b"] = self.cycle_weight * l1(a_to_b(fakes["a"]), batch.b)
        if same_a is not None and same_b is not None:
            weight = self.cycle_weight * self.identity_weight
            terms["g/identity_a"] = weight * l1(same_a, batch.a)
            terms["g/identity_b"] = weight * l1(same_b, batch.b)
        translations = {
            "_a": Translation(batch.b, fakes["a"], batch.a),
            "_b": Translation(batch.a, fakes["b"], batch.b),
        }
        return Made(terms, {name: fake.detach() for name, fake in fakes.items()}, translations)

    def _translated(self, generator: nn.Module, image: Tensor, made: Tensor) -> tuple[Tensor, Tensor | None]:
        """The translation of `image`, and of what is of the kind already, where the identity term wants it."""
        if not self.identity_weight:
            return generator(image), None
        if image.shape[1:] != made.shape[1:] or not _merges(generator, image):
            return generator(image), generator(made)
        translation, same = generator(torch.cat([image, made])).split([len(image), len(made)])
        return translation, same

    def comparisons(self, batch: Unpaired, fakes: Fakes) -> Comparisons:
        """Each kind's real images against its fakes."""
        return {
            "_a": Comparison(self.discriminators["discriminator_a"], batch.a, fakes["a"]),
            "_b": Comparison(self.discriminators["discriminator_b"], batch.b, fakes["b"]),
        }


def _merges(generator: nn.Module, image: Tensor) -> bool:
    """Whether one forward of two batches is faster than two, and equal to them."""
    small = 2 * len(image) * image.shape[2] * image.shape[3] <= MERGED_PIXELS
    return (small or image.device.type != "cpu") and not mixes_images(generator)
