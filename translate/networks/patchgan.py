"""Discriminators that judge patches of an image."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as apply_spectral_norm

from translate.networks.blocks import Norm, check_at_least, check_choice, check_image, has_bias, with_norm


def logits(outputs: list[list[Tensor]]) -> list[Tensor]:
    """The logits of each scale, from what a discriminator's forward returns."""
    return [layers[-1] for layers in outputs]


class MinibatchStd(nn.Module):
    """Adds a channel that says how much the images of a group differ (Karras et al. 2018, arXiv:1710.10196, in the
    grouped form of Karras et al. 2020, arXiv:1912.04958): a generator with one output for all inputs gives itself away.

    The channel holds the standard deviation over the group, averaged over channels and positions: one figure for the
    group, as published, because what is alike in a collapse is the images, while the spread at one position depends on
    what happens to be there (the sky in all of them). It is 1e-4, not 0, where all are alike.

    Args:
        group: consecutive images that are compared. A batch that is no multiple of it makes groups of the greatest
            common divisor; a group of one image has no spread.

    Shape:
        input (N, C, H, W) of any range; output (N, C + 1, H, W) of the same dtype.

    Raises:
        ValueError: for groups of less than 2.
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        if not isinstance(group, int) or group < 2:
            raise ValueError(f"minibatch_std must be 0 (none) or an int of at least 2 images, got {group!r}: give 4")
        self.group = group

    def forward(self, image: Tensor) -> Tensor:
        # The greatest common divisor; math.gcd would break the graph of torch.compile where the batch size varies.
        group = next(n for n in range(self.group, 0, -1) if self.group % n == 0 and len(image) % n == 0)
        exact = image.to(torch.promote_types(image.dtype, torch.float32))  # squares overflow in float16
        variance = exact.unflatten(0, (-1, group)).var(dim=1, correction=0)  # (N / group, C, H, W)
        # Equal images have a variance of 0, where a root has no slope: 1e-8 keeps the gradient finite.
        spread = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))
        channel = spread.repeat_interleave(group).to(image.dtype).reshape(-1, 1, 1, 1)
        return torch.cat([image, channel.expand(-1, 1, *image.shape[2:])], dim=1)


class PatchGAN(nn.Module):
    """Judges overlapping patches (Isola et al. 2017, arXiv:1611.07004), 70x70 pixels each at 3 layers.

    Published for pix2pix: 6 channels (source and translation side by side), norm "batch", 2.769 million parameters;
    for CycleGAN: 3 channels, norm "instance", 2.765 million.

    Args:
        in_channels: of the image judged.
        width: channels of the first layer; doubles at each layer, up to 8 * width.
        layers: convolutions of stride 2; two of stride 1 follow. 1, 2, 3, 4, 5 layers judge patches of side 16, 34, 70,
            142, 286.
        norm: behind every convolution but the first and the last.
        spectral_norm: divide every convolution's weight by its largest singular value (Miyato et al. 2018,
            arXiv:1802.05957), tracked by one power iteration in each forward while training.
        minibatch_std: images a group whose spread the last convolution sees beside its features, against mode
            collapse, see MinibatchStd; 0 for none. The images of a group are judged together, so real and fake ones
            must not share a group, and the gradient penalties see the sum over a group instead of one image's verdict.

    Shape:
        input (N, in_channels, H, W) in [-1, 1], sides at least `size_minimum`; output a list of one list, the
        activations of the layers + 2 blocks, the last of which are the logits, (N, 1, H', W') of any range.
        At 3 layers H' = floor(H / 8) - 2.

    Raises:
        ValueError: for a smaller image, saying which size to pad to; for width, layers or channels below 1; for
            groups of one image.
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        width: int = 64,
        layers: int = 3,
        norm: Norm = "instance",
        spectral_norm: bool = False,
        minibatch_std: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(1, in_channels=in_channels, width=width, layers=layers)
        check_choice(Norm, norm=norm)
        self.in_channels = in_channels
        self.size_minimum = 3 * 2**layers  # two convolutions of stride 1 each take a pixel away

        widths = [width * min(2**level, 8) for level in range(layers + 1)]
        first = nn.Conv2d(in_channels, width, 4, stride=2, padding=1)
        self.blocks = nn.ModuleList([nn.Sequential(first, nn.LeakyReLU(0.2, inplace=True))])
        for level, (shallow, deep) in enumerate(pairwise(widths), start=1):
            stride = 2 if level < layers else 1
            convolution = nn.Conv2d(shallow, deep, 4, stride=stride, padding=1, bias=has_bias(norm))
            self.blocks.append(nn.Sequential(*with_norm(convolution, norm), nn.LeakyReLU(0.2, inplace=True)))
        # Behind the last norm: an instance norm would subtract a channel that is the same at all positions.
        spread = [MinibatchStd(minibatch_std)] if minibatch_std else []
        self.blocks.append(nn.Sequential(*spread, nn.Conv2d(widths[-1] + len(spread), 1, 4, padding=1)))
        if spectral_norm:
            _normalise_spectrum(self)

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        check_image(image, channels=self.in_channels, minimum=self.size_minimum, advice=", or use fewer layers")
        return [_activations(self.blocks, image)]


class PixelDiscriminator(nn.Module):
    """Judges every pixel by itself (Isola et al. 2017, arXiv:1611.07004, the 1x1 PixelGAN): colours, not structure.

    With norm "none" a logit depends on one pixel; every other norm adds statistics of the whole image.

    Args:
        in_channels: of the image judged.
        width: channels of the first layer; the second has twice as many.
        norm: behind the second convolution.
        spectral_norm: as for PatchGAN.

    Shape:
        input (N, in_channels, H, W) in [-1, 1], sides at least 2; output a list of one list, the activations of the
        three blocks, the last of which are the logits, (N, 1, H, W) of any range.

    Raises:
        ValueError: for a smaller image, saying which size to pad to; for width or channels below 1.
    """

    size_minimum = 2  # a norm needs more than one pixel

    def __init__(
        self, in_channels: int = 3, *, width: int = 64, norm: Norm = "instance", spectral_norm: bool = False
    ) -> None:
        super().__init__()
        check_at_least(1, in_channels=in_channels, width=width)
        check_choice(Norm, norm=norm)
        self.in_channels = in_channels

        bias = has_bias(norm)
        first = nn.Conv2d(in_channels, width, 1)
        second = with_norm(nn.Conv2d(width, 2 * width, 1, bias=bias), norm)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(first, nn.LeakyReLU(0.2, inplace=True)),
                nn.Sequential(*second, nn.LeakyReLU(0.2, inplace=True)),
                nn.Sequential(nn.Conv2d(2 * width, 1, 1, bias=bias)),
            ]
        )
        if spectral_norm:
            _normalise_spectrum(self)

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        check_image(image, channels=self.in_channels, minimum=self.size_minimum)
        return [_activations(self.blocks, image)]


class MultiScalePatchGAN(nn.Module):
    """One PatchGAN for the image, one for its half, one for its quarter, ... (Wang et al. 2018, arXiv:1711.11585).

    The image is halved by averaging 3x3 pixels, those outside it left out.

    Args:
        in_channels: of the image judged.
        scales: number of PatchGANs.
        width, layers, norm, spectral_norm, minibatch_std: of each, as for PatchGAN.

    Shape:
        input (N, in_channels, H, W) in [-1, 1], sides at least `size_minimum`; output what PatchGAN returns, one list
        a scale, from the finest to the coarsest.

    Raises:
        ValueError: for a smaller image, saying which size to pad to; for scales, width, layers or channels below 1;
            for groups of one image.
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        scales: int = 3,
        width: int = 64,
        layers: int = 3,
        norm: Norm = "instance",
        spectral_norm: bool = False,
        minibatch_std: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(1, scales=scales)
        self.scales = nn.ModuleList(
            PatchGAN(
                in_channels,
                width=width,
                layers=layers,
                norm=norm,
                spectral_norm=spectral_norm,
                minibatch_std=minibatch_std,
            )
            for _ in range(scales)
        )
        self.in_channels = in_channels
        coarsest = 3 * 2**layers  # what the last PatchGAN needs; a side of n is halved to ceil(n / 2)
        self.size_minimum = (coarsest - 1) * 2 ** (scales - 1) + 1

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        advice = ", or use fewer scales or layers"
        check_image(image, channels=self.in_channels, minimum=self.size_minimum, advice=advice)
        outputs: list[list[Tensor]] = []
        for number, scale in enumerate(self.scales):
            if number > 0:
                image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
            outputs += scale(image)
        return outputs


def _activations(blocks: nn.ModuleList, image: Tensor) -> list[Tensor]:
    """What each block makes of the one before it."""
    activations = []
    for block in blocks:
        image = block(image)
        activations.append(image)
    return activations


def _normalise_spectrum(network: nn.Module) -> None:
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d):
            apply_spectral_norm(layer)
