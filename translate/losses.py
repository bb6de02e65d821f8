"""Loss terms as plain functions: tensors in, one scalar tensor out, no weights of terms and no networks of ours.

An adversarial loss takes the logits of one scale, of any shape and not passed through a sigmoid; the caller averages
over scales. Logits of real and of fake images are averaged apart, so that their shapes may differ.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


def bce_generator(fake_logits: Tensor) -> Tensor:
    """Non-saturating generator loss (Goodfellow et al. 2014, arXiv:1406.2661): the cross entropy of fake towards 1.

    ln 2 = 0.693 for an undecided discriminator (logit 0), 0 for a fooled one.
    """
    return F.softplus(-fake_logits).mean()


def bce_discriminator(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """Mean of two cross entropies (Goodfellow et al. 2014, arXiv:1406.2661): real towards `real_label`, fake towards 0.

    ln 2 = 0.693 for an undecided discriminator (logit 0), 0 for a perfect one.

    Args:
        real_label: in (0, 1]; 0.9 is the usual one-sided label smoothing (Salimans et al. 2016, arXiv:1606.03498).

    Raises:
        ValueError: for another real_label.
    """
    _check_label(real_label)
    real = F.binary_cross_entropy_with_logits(real_logits, torch.full_like(real_logits, real_label))
    return (real + F.softplus(fake_logits).mean()) / 2


def lsgan_generator(fake_logits: Tensor) -> Tensor:
    """Least-squares generator loss (Mao et al. 2017, arXiv:1611.04076): fake towards 1.

    0.25 for a discriminator that answers 0.5 everywhere, 0 for one that is fooled.
    """
    return (fake_logits - 1).square().mean()


def lsgan_discriminator(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """Least-squares discriminator loss (Mao et al. 2017, arXiv:1611.04076): real towards `real_label`, fake towards 0.

    0.25 for a discriminator that answers 0.5 everywhere, 0 for a perfect one.

    Args:
        real_label: in (0, 1]; 0.9 is the usual one-sided label smoothing (Salimans et al. 2016, arXiv:1606.03498).

    Raises:
        ValueError: for another real_label.
    """
    _check_label(real_label)
    return ((real_logits - real_label).square().mean() + fake_logits.square().mean()) / 2


def hinge_generator(fake_logits: Tensor) -> Tensor:
    """Generator's part of the hinge loss (Lim and Ye 2017, arXiv:1705.02894): minus the mean logit, without a bound."""
    return -fake_logits.mean()


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """Hinge loss (Lim and Ye 2017, arXiv:1705.02894): real above 1, fake below -1, nothing gained beyond.

    The sum of both halves as published: 2 for an undecided discriminator (logit 0), 0 for a perfect one.

    Raises:
        ValueError: if real_label is not 1, because there is no label to smooth.
    """
    _refuse_label(real_label, "hinge")
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def wasserstein_generator(fake_logits: Tensor) -> Tensor:
    """Generator's part of the Wasserstein loss (Arjovsky et al. 2017, arXiv:1701.07875): minus the mean logit."""
    return -fake_logits.mean()


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """Wasserstein critic loss (Arjovsky et al. 2017, arXiv:1701.07875): mean fake logit minus mean real logit.

    Minus the estimated distance, hence 0 for an undecided critic and negative for a good one. It means something only
    while the critic is kept Lipschitz, by `gradient_penalty` or spectral norm.

    Raises:
        ValueError: if real_label is not 1, because there is no label to smooth.
    """
    _refuse_label(real_label, "wasserstein")
    return fake_logits.mean() - real_logits.mean()


class DiscriminatorLoss(Protocol):
    def __call__(self, real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor: ...


class Adversarial(NamedTuple):
    """The two sides of an adversarial loss."""

    generator: Callable[[Tensor], Tensor]  # of fake logits
    discriminator: DiscriminatorLoss
    threshold: float | None  # the logit between fake and real; None for a critic, whose logits have no zero
    undecided: float | None  # the discriminator's loss where it cannot tell real from fake


ADVERSARIAL = {
    "bce": Adversarial(bce_generator, bce_discriminator, 0.0, math.log(2)),
    "lsgan": Adversarial(lsgan_generator, lsgan_discriminator, 0.5, 0.25),
    "hinge": Adversarial(hinge_generator, hinge_discriminator, 0.0, 2.0),
    "wasserstein": Adversarial(wasserstein_generator, wasserstein_discriminator, None, None),
}


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, in the units of the images.

    Raises:
        ValueError: unless the shapes are equal, because silent broadcasting would hide a bug.
    """
    _check_shapes("l1", prediction, target)
    return (prediction - target).abs().mean()


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, in the squared units of the images.

    Raises:
        ValueError: unless the shapes are equal, because silent broadcasting would hide a bug.
    """
    _check_shapes("mse", prediction, target)
    return (prediction - target).square().mean()


def charbonnier(prediction: Tensor, target: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2) (Lai et al. 2017, arXiv:1704.03915): L1, but smooth at 0.

    `epsilon`, its value for equal images, for errors far above it the same as `l1`.

    Raises:
        ValueError: unless the shapes are equal, because silent broadcasting would hide a bug.
    """
    _check_shapes("charbonnier", prediction, target)
    return ((prediction - target).square() + epsilon**2).sqrt().mean()


def mean_shift(prediction: Tensor, target: Tensor, side: int = 16) -> Tensor:
    """Mean squared error of the means of blocks of side x side pixels: brightness that was moved, without the noise.

    0.01 where all of the prediction is 0.1 brighter. What is left over at the right and below does not count.

    Raises:
        ValueError: unless the shapes are equal, with sides of at least `side`.
    """
    _check_shapes("mean_shift", prediction, target)
    if min(prediction.shape[-2:]) < side:
        raise ValueError(
            f"mean_shift needs sides of at least {side} pixels, got {tuple(prediction.shape[-2:])} (H x W): use larger "
            "crops"
        )
    return F.avg_pool2d(prediction - target, side).square().mean()


def structural_dissimilarity(prediction: Tensor, target: Tensor, low: float, high: float) -> Tensor:
    """1 - SSIM (Wang et al. 2004; as a loss Zhao et al. 2017, arXiv:1511.08861) of what is shown between low and high.

    Both images are clipped to the window, whose extent is the data range; Gaussian window of 11x11 pixels and sigma
    1.5, placed only where it fits. 0 for equal images; what is beyond the window has no gradient.

    Raises:
        ValueError: unless the shapes are equal, with sides of at least 11 pixels, and low < high.
    """
    from kornia.metrics import ssim  # imported here because it takes seconds

    _check_shapes("structural_dissimilarity", prediction, target)
    if min(prediction.shape[-2:]) < 11 or not low < high:
        raise ValueError(
            f"structural_dissimilarity needs sides of at least 11 pixels and low < high, got images of "
            f"{tuple(prediction.shape[-2:])} (H x W), low {low} and high {high}"
        )
    shown = [(image.float().clamp(low, high) - low) / (high - low) for image in (prediction, target)]
    return 1 - ssim(*shown, 11, max_val=1.0, eps=0.0, padding="valid").mean()


def feature_matching(fake_outputs: list[list[Tensor]], real_outputs: list[list[Tensor]]) -> Tensor:
    """How far the discriminator's activations of fake images are from those of real ones (Wang et al. 2018,
    arXiv:1711.11585): the L1 distance, averaged over the layers in front of the logits, then over the scales.

    The published sum over 4 layers with weight 10 is this mean with weight 40. No gradient flows into the real ones.

    Args:
        fake_outputs, real_outputs: what a discriminator returns: a list of activations a scale, logits last.

    Raises:
        ValueError: if the two differ in scales, layers or shapes, or have no layer in front of the logits.
    """
    layers = [len(scale) for scale in fake_outputs]
    if layers != [len(scale) for scale in real_outputs] or min(layers, default=0) < 2:
        raise ValueError(
            f"feature_matching needs the same layers of fake and real at every scale, at least 2, got {layers} and "
            f"{[len(scale) for scale in real_outputs]}: give it the whole outputs of one discriminator"
        )
    scales = [
        torch.stack([l1(a, b.detach()) for a, b in zip(fake[:-1], real[:-1], strict=True)]).mean()
        for fake, real in zip(fake_outputs, real_outputs, strict=True)
    ]
    return torch.stack(scales).mean()


def gradient_penalty(
    discriminator: Callable[[Tensor], list[Tensor]],
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028): the mean over images of (norm of the gradient - 1)^2.

    The gradient is that of an image's verdict, the mean of its logits over the patches and then over the scales (what
    the Wasserstein loss averages), by the image, at one random point between each real and fake. 0 if all gradients
    have norm 1, 1 if they vanish. Published weight: 10. A batch norm would mix the images' gradients: use another one.

    Args:
        discriminator: images to logits, one tensor (N, ...) a scale.
        real, fake: (N, C, H, W) of the same shape; no gradient flows into them.
        generator: draws the points; None is torch's global one.

    Raises:
        ValueError: unless the shapes are equal.
    """
    _check_shapes("gradient_penalty", real, fake)
    device = real.device if generator is None else generator.device
    share = torch.rand((len(real), *[1] * (real.ndim - 1)), generator=generator, device=device).to(real)
    with torch.enable_grad():
        points = torch.lerp(real.detach(), fake.detach(), share).requires_grad_()
        (gradient,) = torch.autograd.grad(_verdicts(discriminator(points)).sum(), points, create_graph=True)
    return (torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1).square().mean()


def r1_penalty(logits: list[Tensor], real: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018, arXiv:1801.04406): half the mean over real images of the gradient's squared norm.

    The gradient is that of an image's verdict, the mean of its logits over the patches and then over the scales, by
    the image. 0.5 if all gradients have norm 1. Published weight: 10. A batch norm would mix the images' gradients.

    Args:
        logits: of the real images, one tensor (N, ...) a scale.
        real: (N, C, H, W), what the logits were computed from, after `real.requires_grad_()`.

    Raises:
        ValueError: if real does not require a gradient.
    """
    if not real.requires_grad:
        raise ValueError(
            "r1_penalty needs real images that require a gradient, got requires_grad=False: "
            "call real.requires_grad_() before the discriminator sees them"
        )
    (gradient,) = torch.autograd.grad(_verdicts(logits).sum(), real, create_graph=True)
    return gradient.flatten(1).square().sum(dim=1).mean() / 2


def _verdicts(logits: list[Tensor]) -> Tensor:
    """(N,): the mean over each image's patches, then over the scales."""
    return torch.stack([scale.flatten(1).mean(dim=1) for scale in logits]).mean(dim=0)


def _check_shapes(name: str, a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(
            f"{name} needs equal shapes, got {tuple(a.shape)} and {tuple(b.shape)}: bring both to one shape first"
        )


def _check_label(real_label: float) -> None:
    if not 0 < real_label <= 1:
        raise ValueError(
            f"real_label must be above 0 and at most 1, got {real_label!r}: 1 is no smoothing, 0.9 is usual"
        )


def _refuse_label(real_label: float, name: str) -> None:
    if real_label != 1:
        raise ValueError(
            f"the {name} loss has no label to smooth, got real_label={real_label!r}: use 1, or bce or lsgan"
        )
