"""Paired restoration by distance alone: the pixel stage, which wins PSNR."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from translate.data.batches import Paired
from translate.losses import charbonnier, l1, mean_shift, mse, structural_dissimilarity
from translate.objectives.terms import Comparisons, Fakes, Made, Translation, View, as_is, check_settings

DISTANCES = {"l1": l1, "charbonnier": charbonnier, "mse": mse}


@dataclass(frozen=True, kw_only=True)
class Pixel:
    """The mean distance of the generator's output to the target, without a discriminator.

    Args:
        generators: one, "generator".
        discriminators: none.
        distance: "l1" (Lim et al. 2017, arXiv:1707.02921, train super-resolution with it, and gain PSNR over "mse"),
            "charbonnier" (Lai et al. 2017, arXiv:1704.03915), which is smooth at 0, or "mse", whose best answer is the
            mean: what noisy targets need (Lehtinen et al. 2018, arXiv:1803.04189).
        ssim_weight: of 1 - SSIM within `window` (Zhao et al. 2017, arXiv:1511.08861); 0 leaves it out.
        mean_weight: of the squared error of the means of 16 x 16 pixels: it keeps a denoiser from moving brightness,
            which the distance hardly notices beside the noise; 0 leaves it out.
        window: lowest and highest value in model space that the SSIM term sees, as a window of a CT does.
    """

    generators: dict[str, nn.Module]
    discriminators: dict[str, nn.Module]
    distance: Literal["l1", "charbonnier", "mse"] = "l1"
    ssim_weight: float = 0.0
    mean_weight: float = 0.0
    window: tuple[float, float] = (-1.0, 1.0)

    kind: ClassVar[str] = "paired"
    enlarges: ClassVar[bool] = True
    weighted: ClassVar[bool] = True  # pixels count as the batch's weight says
    adversarial: ClassVar[str] = "lsgan"  # of no discriminator
    real_label: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_settings(self.adversarial, self.real_label, ssim_weight=self.ssim_weight, mean_weight=self.mean_weight)
        if not self.window[0] < self.window[1]:
            raise ValueError(f"window must be low < high, got {self.window}: [-1, 1] is the whole range")

    @staticmethod
    def generator_channels(source: int, target: int) -> dict[str, tuple[int, int]]:
        """Input and output channels of each generator."""
        return {"generator": (source, target)}

    @staticmethod
    def discriminator_channels(source: int, target: int) -> dict[str, tuple[int, ...]]:
        """There is none."""
        return {}

    def generator_terms(self, batch: Paired, view: View = as_is) -> Made:
        """Terms "g/l1", or whatever the distance is, and with weights "g/ssim" and "g/mean"; no fakes.

        The distance is a mean over the pixels, or over those that the batch's weight selects; the others have no such.
        """
        output, target = self.generators["generator"](batch.source), batch.target
        distance = DISTANCES[self.distance]
        if batch.weight is None:
            terms = {f"g/{self.distance}": distance(output, target)}
        else:
            share = batch.weight.mean().clamp_min(1e-6)  # of the pixels that count
            terms = {f"g/{self.distance}": distance(output * batch.weight, target * batch.weight) / share}
        if self.ssim_weight:
            terms["g/ssim"] = self.ssim_weight * structural_dissimilarity(output, target, *self.window)
        if self.mean_weight:
            terms["g/mean"] = self.mean_weight * mean_shift(output, target)
        return Made(terms, {}, {"": Translation(batch.source, output, target)})

    def comparisons(self, batch: Paired, fakes: Fakes) -> Comparisons:
        """Nothing to compare."""
        return {}
