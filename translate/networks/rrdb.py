"""The generator of ESRGAN."""

import torch
from torch import Tensor, nn

from translate.networks.bicubic import Bicubic
from translate.networks.blocks import check_at_least, check_image
from translate.networks.edsr import check_super_resolver, zero

RESIDUAL_SCALE = 0.2


class RRDB(nn.Module):
    """Residual-in-residual dense blocks without norm (ESRGAN, Wang et al. 2018, arXiv:1809.00219).

    Published: width 64, growth 32, 23 blocks, 16.70 million parameters for x4; all convolutions start at a tenth of
    He's deviation, which steadies so deep a network. Ours is the bicubic skip, which has no parameters: the last layer
    starts at zero, and the network as the bicubic enlargement.

    Args:
        in_channels, out_channels: equal; 1 for luminance alone, 3 for colour.
        scale: 1, 2, 3, 4 or 8, by one enlargement (nearest neighbour and a 3x3 convolution) for each factor of 2, or
            one of 3; 1 restores without enlarging.
        width: channels of the trunk.
        growth: channels that each convolution of a dense block adds to what the next one sees.
        blocks: each of three dense blocks of five convolutions.

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
        scale: int = 4,
        width: int = 64,
        growth: int = 32,
        blocks: int = 23,
    ) -> None:
        super().__init__()
        check_super_resolver(in_channels, out_channels, scale)
        check_at_least(1, width=width, growth=growth, blocks=blocks)
        self.scale, self.in_channels, self.out_channels = scale, in_channels, out_channels

        self.enlarge = Bicubic(scale)
        self.head = nn.Conv2d(in_channels, width, 3, padding=1)
        self.body = nn.Sequential(*(Block(width, growth) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1))
        self.ups = nn.Sequential(*(_enlargement(width, factor) for factor in _factors(scale)))
        last = nn.Conv2d(width, out_channels, 3, padding=1)
        self.tail = nn.Sequential(*_activated(width, width), last)
        _start_small(self)
        zero(last)

    def forward(self, image: Tensor) -> Tensor:
        check_image(image, channels=self.in_channels, minimum=self.size_minimum)
        features = self.head(image)
        return self.enlarge(image) + self.tail(self.ups(features + self.body(features)))


class Block(nn.Module):
    """Three dense blocks in a row, a fifth of their sum added to the input (N, width, H, W)."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, features: Tensor) -> Tensor:
        return features + RESIDUAL_SCALE * self.dense(features)


class DenseBlock(nn.Module):
    """Five 3x3 convolutions, each of which sees the input and all before it; a fifth of the last is added to the input.

    Shape:
        input and output (N, width, H, W).
    """

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.grow = nn.ModuleList(nn.Sequential(*_activated(width + i * growth, growth)) for i in range(4))
        self.reduce = nn.Conv2d(width + 4 * growth, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        seen = features
        for grow in self.grow:
            seen = torch.cat([seen, grow(seen)], dim=1)
        return features + RESIDUAL_SCALE * self.reduce(seen)


def _factors(scale: int) -> list[int]:
    """The enlargements that make `scale`: 8 is 2 * 2 * 2, 1 none."""
    return [3] if scale == 3 else [2] * (scale.bit_length() - 1)


def _enlargement(width: int, factor: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=factor, mode="nearest"), *_activated(width, width))


def _activated(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]


def _start_small(network: nn.Module) -> None:
    """Every convolution to a tenth of the deviation of He et al. 2015 (arXiv:1502.01852), biases to 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(0.1)
            nn.init.zeros_(layer.bias)
