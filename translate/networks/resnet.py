"""The generator of CycleGAN."""

from typing import Literal

import torch
from torch import Tensor, nn

from translate.kernels.convolution import LEAST_CHANNELS, Conv3x3, Conv7x7, arranged
from translate.networks.blocks import (
    Norm,
    Upsample,
    check_at_least,
    check_choice,
    check_image,
    check_residual,
    has_bias,
    upsampler,
    with_norm,
)
from translate.networks.dropout import Dropout

Padding = Literal["reflect", "zeros"]


class ResNet(nn.Module):
    """Residual generator (Johnson et al. 2016, arXiv:1603.08155) as in CycleGAN (Zhu et al. 2017, arXiv:1703.10593).

    A 7x7 convolution, two that halve the resolution, residual blocks at a quarter of it, two upsamplings, a 7x7
    convolution. Published: 9 blocks for 256x256 images, norm "instance"; 11.378 million parameters.

    Args:
        in_channels: of the source image.
        out_channels: of the translation.
        width: channels at full resolution; 4 * width in the blocks.
        blocks: number of residual blocks, at least 1.
        norm: behind every convolution but the last.
        dropout: drop half of the activations inside every block.
        upsample: "transposed" as published, or "resize": nearest x2 and a 3x3 convolution.
        padding: of the 7x7 convolutions and the blocks; "reflect" as published; "zeros" is faster, and its gradient is
            deterministic on CUDA, too.
        residual: the network computes what to add to its input, in place of the output.

    Shape:
        input (N, in_channels, H, W) in [-1, 1], H and W multiples of 4, at least 8;
        output (N, out_channels, H, W) in [-1, 1], by tanh. With residual=True the output is input plus head without
        a tanh, hence not confined to [-1, 1]: whoever stores it clips it.

    Raises:
        ValueError: for any other size, saying which one to pad to; for width, blocks or channels below 1, or residual
            with in_channels != out_channels.
    """

    scale = 1
    size_multiple = 4
    size_minimum = 8  # reflection and instance norm need more than one pixel in the blocks

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        width: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        dropout: bool = False,
        upsample: Upsample = "transposed",
        padding: Padding = "reflect",
        residual: bool = False,
    ) -> None:
        super().__init__()
        check_at_least(1, in_channels=in_channels, out_channels=out_channels, width=width, blocks=blocks)
        check_choice(Norm, norm=norm)
        check_choice(Upsample, upsample=upsample)
        check_choice(Padding, padding=padding)
        check_residual(residual, in_channels, out_channels)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.residual = residual
        self.trunk_format = torch.channels_last if 4 * width >= LEAST_CHANNELS else torch.contiguous_format

        bias = has_bias(norm)
        stem = Conv7x7(in_channels, width, padding=padding, bias=bias)
        self.stem = nn.Sequential(*with_norm(stem, norm), nn.ReLU(inplace=True))
        self.downs = nn.Sequential(_down(width, norm), _down(2 * width, norm))
        self.blocks = nn.Sequential(
            *(ResidualBlock(4 * width, norm=norm, dropout=dropout, padding=padding) for _ in range(blocks))
        )
        self.ups = nn.Sequential(_up(4 * width, norm, upsample), _up(2 * width, norm, upsample))
        self.head = Conv7x7(width, out_channels, padding=padding)

    def forward(self, image: Tensor) -> Tensor:
        check_image(image, channels=self.in_channels, multiple=self.size_multiple, minimum=self.size_minimum)
        features = arranged(self.downs(self.stem(image)), self.trunk_format)
        change = self.head(self.ups(arranged(self.blocks(features), torch.contiguous_format)))
        return image + change if self.residual else change.tanh()


class ResidualBlock(nn.Module):
    """Input plus two normalised 3x3 convolutions of it, without an activation behind the sum; shapes stay."""

    def __init__(self, width: int, *, norm: Norm, dropout: bool, padding: Padding) -> None:
        super().__init__()

        def convolution() -> list[nn.Module]:
            conv = Conv3x3(width, width, padding=padding, bias=has_bias(norm))
            return with_norm(conv, norm)

        drop = [Dropout(0.5)] if dropout else []
        self.change = nn.Sequential(*convolution(), nn.ReLU(inplace=True), *drop, *convolution())

    def forward(self, image: Tensor) -> Tensor:
        return image + self.change(image)


def _down(width: int, norm: Norm) -> nn.Sequential:
    convolution = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=has_bias(norm))
    return nn.Sequential(*with_norm(convolution, norm), nn.ReLU(inplace=True))


def _up(width: int, norm: Norm, upsample: Upsample) -> nn.Sequential:
    convolution = upsampler(width, width // 2, kernel_size=3, kind=upsample, bias=has_bias(norm))
    return nn.Sequential(*with_norm(convolution, norm), nn.ReLU(inplace=True))
