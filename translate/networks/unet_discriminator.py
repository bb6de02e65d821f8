"""The discriminator of Real-ESRGAN."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as apply_spectral_norm

from translate.networks.blocks import check_at_least, check_image


class UNetDiscriminator(nn.Module):
    """Judges every pixel by what is around it, near and far (Schonfeld et al. 2020, arXiv:2002.12655), as in
    Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833): a U-Net whose skip connections are added.

    Published: width 64, depth 3; 4.377 million parameters.

    Args:
        in_channels: of the image judged.
        width: channels at full resolution; doubles at each level, up to 8 * width.
        depth: number of times the resolution is halved.
        spectral_norm: divide the weight of every convolution but the first and the last by its largest singular value
            (Miyato et al. 2018, arXiv:1802.05957), tracked by one power iteration in each forward while training.

    Shape:
        input (N, in_channels, H, W) in [-1, 1], sides at least `size_minimum`; output a list of one list, the
        2 * depth + 4 activations from the first to the last convolution, the last of which are the logits,
        (N, 1, H, W) of any range.

    Raises:
        ValueError: for a smaller image, saying which size to pad to; for width, depth or channels below 1.
    """

    def __init__(self, in_channels: int = 3, *, width: int = 64, depth: int = 3, spectral_norm: bool = True) -> None:
        super().__init__()
        check_at_least(1, in_channels=in_channels, width=width, depth=depth)
        self.in_channels = in_channels
        self.size_minimum = 2**depth

        levels = list(pairwise(width * min(2**level, 8) for level in range(depth + 1)))  # [(shallow, deep), ...]

        def spectral(convolution: nn.Conv2d) -> nn.Module:
            return apply_spectral_norm(convolution) if spectral_norm else convolution

        downs = (nn.Conv2d(shallow, deep, 4, stride=2, padding=1, bias=False) for shallow, deep in levels)
        ups = (nn.Conv2d(deep, shallow, 3, padding=1, bias=False) for shallow, deep in reversed(levels))
        refine = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.stem = _activated(nn.Conv2d(in_channels, width, 3, padding=1))
        self.downs = nn.ModuleList(_activated(spectral(layer)) for layer in downs)
        self.ups = nn.ModuleList(_activated(spectral(layer)) for layer in ups)
        self.refine = nn.ModuleList(_activated(spectral(layer)) for layer in refine)
        self.head = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        check_image(image, channels=self.in_channels, minimum=self.size_minimum, advice=", or use a smaller depth")
        activations = [self.stem(image)]
        for down in self.downs:
            activations.append(down(activations[-1]))
        skips = activations[:-1]
        for up in self.ups:
            skip = skips.pop()
            # To the size of the skip connection: halving an odd side dropped a pixel.
            enlarged = F.interpolate(activations[-1], size=skip.shape[-2:], mode="bilinear", align_corners=False)
            activations.append(up(enlarged) + skip)
        for layer in (*self.refine, self.head):
            activations.append(layer(activations[-1]))
        return [activations]


def _activated(convolution: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution, nn.LeakyReLU(0.2, inplace=True))
