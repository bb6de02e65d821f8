"""A residual super-resolver without norm."""

import torch
from torch import Tensor, nn

from translate.kernels.convolution import LEAST_CHANNELS, Conv3x3, arranged
from translate.networks.bicubic import Bicubic
from translate.networks.blocks import check_at_least, check_image

SCALES = (1, 2, 3, 4, 8)


class EDSR(nn.Module):
    """Residual blocks without norm at the input's resolution, then pixel shuffle (Lim et al. 2017, arXiv:1707.02921).

    It predicts what the bicubic enlargement lacks: the last layer starts at zero, and the network as that enlargement.
    Published as EDSR-baseline: width 64, 16 blocks, 1.37 million parameters for x2 with another tail, which enlarges by
    two convolutions; here one convolution gives all scale * scale pixels, so that a small network costs little more
    for x4 than for x2. `inner` wider than `width` is the wide activation of Yu et al. 2018 (arXiv:1808.08718).

    Args:
        in_channels, out_channels: equal; 1 for luminance alone, 3 for colour.
        scale: 1, 2, 3, 4 or 8; 1 restores without enlarging.
        width: channels of the trunk.
        blocks: residual blocks of two 3x3 convolutions each.
        inner: channels between the two convolutions of a block; None for `width`.
        residual_scale: what a block's output is multiplied by (0.1 steadies trunks of 256 channels).

    Shape:
        input (N, C, H, W) in [-1, 1], sides at least 2; output (N, C, scale * H, scale * W), not clipped.

    Raises:
        ValueError: for another scale, unequal channels, a number below 1, or a smaller image.
    """

    size_multiple = 1
    size_minimum = 2  # the border that the enlargement mirrors

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        scale: int = 2,
        width: int = 64,
        blocks: int = 16,
        inner: int | None = None,
        residual_scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_super_resolver(in_channels, out_channels, scale)
        check_at_least(1, width=width, blocks=blocks, inner=width if inner is None else inner)
        self.scale, self.in_channels, self.out_channels = scale, in_channels, out_channels
        fast = min(width, inner or width) >= LEAST_CHANNELS
        self.trunk_format = torch.channels_last if fast else torch.contiguous_format

        self.enlarge = Bicubic(scale)
        self.head = nn.Conv2d(in_channels, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width, inner or width, residual_scale) for _ in range(blocks)))
        self.tail = nn.Sequential(nn.Conv2d(width, out_channels * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        zero(self.tail[0])

    def forward(self, image: Tensor) -> Tensor:
        check_image(image, channels=self.in_channels, minimum=self.size_minimum)
        features = self.body(arranged(self.head(image), self.trunk_format))
        return self.enlarge(image) + self.tail(arranged(features, torch.contiguous_format))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a ReLU in between, added to the input (N, width, H, W)."""

    def __init__(self, width: int, inner: int, residual_scale: float) -> None:
        super().__init__()
        self.expand = Conv3x3(width, inner)
        self.reduce = Conv3x3(inner, width)
        self.residual_scale = residual_scale
        nn.init.kaiming_normal_(self.expand.weight)
        nn.init.normal_(self.reduce.weight, 0.0, 0.1 * (2 / (9 * inner)) ** 0.5)  # a block starts as little change
        for layer in (self.expand, self.reduce):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.residual_scale * self.reduce(self.expand(features).relu())


def check_super_resolver(in_channels: int, out_channels: int, scale: int) -> None:
    """Refuse what cannot be added to a bicubic enlargement. Raises ValueError."""
    check_at_least(1, in_channels=in_channels)
    if in_channels != out_channels:
        raise ValueError(
            f"a super-resolver has as many output as input channels, got in_channels={in_channels} and "
            f"out_channels={out_channels}: make them equal"
        )
    if scale not in SCALES or isinstance(scale, bool):
        raise ValueError(f"scale must be one of {', '.join(map(str, SCALES))}, got {scale!r}")


def zero(layer: nn.Module) -> None:
    """Weights and bias of a convolution to 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
