"""The generator of pix2pix."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.kernels.matmul_conv import Conv2d
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


class UNet(nn.Module):
    """U-Net generator (Isola et al. 2017, arXiv:1611.07004), layer by layer that of the published PyTorch code.

    Published: depth 8 for 256x256 images, norm "batch", dropout on; 54.414 million parameters.

    Args:
        in_channels: of the source image.
        out_channels: of the translation.
        width: channels after the first convolution; doubles at each level, up to 8 * width.
        depth: number of times the resolution is halved, at least 2.
        norm: behind every convolution but the outermost two and the innermost downward one.
        dropout: drop half of the activations in the depth - 5 upward blocks next to the innermost one.
        upsample: "transposed" as published, or "resize": nearest x2 and a 3x3 convolution.
        residual: the network computes what to add to its input, in place of the output.
        detail: channels of one more skip connection, at full resolution. Published is 0: the finest skip connection has
            half the resolution, of which an adversarial term makes edges like stairs.

    Shape:
        input (N, in_channels, H, W) in [-1, 1], H and W multiples of `size_multiple`, at least `size_minimum`;
        output (N, out_channels, H, W) in [-1, 1], by tanh. With residual=True the output is input plus head without
        a tanh, hence not confined to [-1, 1]: whoever stores it clips it.

    Raises:
        ValueError: for any other size, saying which one to pad to; for width or channels below 1, depth below 2, detail
            below 0, or residual with in_channels != out_channels.
    """

    scale = 1

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        width: int = 64,
        depth: int = 8,
        norm: Norm = "instance",
        dropout: bool = False,
        upsample: Upsample = "transposed",
        residual: bool = False,
        detail: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(1, in_channels=in_channels, out_channels=out_channels, width=width)
        check_at_least(2, depth=depth)
        check_at_least(0, detail=detail)
        check_choice(Norm, norm=norm)
        check_choice(Upsample, upsample=upsample)
        check_residual(residual, in_channels, out_channels)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.residual = residual
        self.size_multiple = 2**depth
        self.size_minimum = 2**depth  # one pixel at the bottom, which no norm sees

        widths = [width * min(2**level, 8) for level in range(depth)]
        levels = list(enumerate(pairwise(widths), start=1))  # [(level, (shallow, deep)), ...] downward
        deepest = depth - 1
        self.downs = nn.ModuleList([Conv2d(in_channels, widths[0], 4, stride=2, padding=1, bias=has_bias(norm))])
        for level, (shallow, deep) in levels:
            self.downs.append(_down(shallow, deep, norm=norm, normalised=level < deepest))
        self.ups = nn.ModuleList()
        for level, (shallow, deep) in reversed(levels):
            channels = deep if level == deepest else 2 * deep  # 2: the skip connection
            drop = dropout and 4 <= level < deepest
            self.ups.append(_up(channels, shallow, norm=norm, upsample=upsample, dropout=drop))
        head = upsampler(2 * widths[0], detail or out_channels, kernel_size=4, kind=upsample, bias=True)
        self.head = nn.Sequential(nn.ReLU(inplace=True), head)
        self.detail = _Detail(in_channels, detail, out_channels) if detail else None

    def forward(self, image: Tensor) -> Tensor:
        advice = ", or use a smaller depth"
        check_image(
            image, channels=self.in_channels, multiple=self.size_multiple, minimum=self.size_minimum, advice=advice
        )
        x, skips = image, []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.ups:
            x = torch.cat([skips.pop(), up(x)], dim=1)
        change = self.head(x)
        if self.detail is not None:
            change = self.detail(image, change)
        return image + change if self.residual else change.tanh()


class _Detail(nn.Module):
    """The last layers, at full resolution: the image meets what the U-Net made of it; no norm, as outermost."""

    def __init__(self, in_channels: int, channels: int, out_channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.join = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.out = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, image: Tensor, made: Tensor) -> Tensor:
        joined = self.join(F.leaky_relu(torch.cat([self.stem(image), made], dim=1), 0.2))
        return self.out(F.leaky_relu(joined, 0.2))


def _down(in_channels: int, out_channels: int, *, norm: Norm, normalised: bool) -> nn.Sequential:
    convolution = Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=has_bias(norm))
    # The activation is not in place: its input is also the skip connection.
    return nn.Sequential(nn.LeakyReLU(0.2), *(with_norm(convolution, norm) if normalised else [convolution]))


def _up(in_channels: int, out_channels: int, *, norm: Norm, upsample: Upsample, dropout: bool) -> nn.Sequential:
    convolution = upsampler(in_channels, out_channels, kernel_size=4, kind=upsample, bias=has_bias(norm))
    layers = [nn.ReLU(inplace=True), *with_norm(convolution, norm)]
    return nn.Sequential(*layers, *([Dropout(0.5)] if dropout else []))
