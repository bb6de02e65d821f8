"""A U-Net that predicts what to change: for scans, whose values must not move without reason."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from translate.networks.blocks import check_at_least, check_image
from translate.networks.edsr import zero


class ResidualUNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015, arXiv:1505.04597) whose output is added to its input (Zhang et al. 2017,
    arXiv:1608.03981), without any norm.

    A norm over the image would let a bright object in one corner move the values of tissue far away; without one a
    change is local, and constant shifts of the input are not removed. The last layer starts at zero, and so does the
    change: an untrained network is the identity. First layer, last layer and sum are computed in float32, also in mixed
    precision.

    Args:
        in_channels: odd; the slice to be changed is in the middle, its neighbours around it (2.5D).
        out_channels: 1; or as many as in_channels, without neighbours, for colour.
        width: channels at full resolution; they double at each level.
        depth: number of times the resolution is halved.
        blocks: convolutions at each level, before and after its deeper levels.
        gain: what the input is multiplied by for the first layer, and the output of the last one divided by. The
            contrast of soft tissue is a hundredth of the range of a CT.
        largest_change: bound of the change in model space, which it approaches as a tanh; 0.1 of a range from -1024 to
            3071 HU is 205 HU. None: no bound.

    Shape:
        input (N, in_channels, H, W) in [-1, 1], H and W multiples of `size_multiple`; output (N, out_channels, H, W),
        at most `largest_change` away from the middle channel, not clipped.

    Raises:
        ValueError: for any other size, saying which one to pad to; for other channels, or a number below its minimum.
    """

    scale = 1

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        width: int = 32,
        depth: int = 3,
        blocks: int = 2,
        gain: float = 16.0,
        largest_change: float | None = 0.1,
    ) -> None:
        super().__init__()
        check_at_least(1, in_channels=in_channels, out_channels=out_channels, width=width, depth=depth, blocks=blocks)
        if in_channels != out_channels and (out_channels != 1 or in_channels % 2 == 0):
            raise ValueError(
                f"a slice and its neighbours are an odd number of channels and give 1, got in_channels={in_channels} "
                f"and out_channels={out_channels}: give 1 and 1, 3 and 1, 5 and 1, or equal numbers"
            )
        if not gain > 0 or (largest_change is not None and not largest_change > 0):
            raise ValueError(
                f"gain and largest_change must be above 0, got {gain!r} and {largest_change!r}: 16 and 0.1 are usual"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.size_multiple = self.size_minimum = 2**depth
        self.gain, self.largest_change = gain, largest_change
        widths = [width * 2**level for level in range(depth + 1)]
        levels = list(pairwise(widths))  # [(shallow, deep), ...] from full resolution down

        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(_convolutions(shallow, blocks) for shallow, _ in levels)
        self.downs = nn.ModuleList(nn.Conv2d(shallow, deep, 2, stride=2) for shallow, deep in levels)
        self.bottom = _convolutions(widths[-1], blocks)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for shallow, deep in reversed(levels))
        self.decoders = nn.ModuleList(_convolutions(shallow, blocks) for shallow, _ in reversed(levels))
        self.head = nn.Conv2d(width, out_channels, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in" if isinstance(layer, nn.Conv2d) else "fan_out")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        zero(self.head)

    def forward(self, image: Tensor) -> Tensor:
        advice = ", or use a smaller depth"
        check_image(
            image, channels=self.in_channels, multiple=self.size_multiple, minimum=self.size_minimum, advice=advice
        )
        x, skips = _exactly(self.stem, image * self.gain), []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.bottom(x)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(up(x) + skips.pop())
        return self._centre(image) + self._change(x)

    def _centre(self, image: Tensor) -> Tensor:
        """The channels that are changed, (N, out_channels, H, W), in float32 at least."""
        first = (self.in_channels - self.out_channels) // 2
        centre = image[:, first : first + self.out_channels]
        return centre if centre.dtype == torch.float64 else centre.float()

    def _change(self, features: Tensor) -> Tensor:
        """What is added, (N, out_channels, H, W), in the dtype of the weights."""
        change = _exactly(self.head, features) / self.gain
        if self.largest_change is None:
            return change
        return self.largest_change * torch.tanh(change / self.largest_change)


def _exactly(layer: nn.Conv2d, values: Tensor) -> Tensor:
    """A convolution in the dtype of its weights, also in mixed precision: in bf16 a CT has steps of 4 HU."""
    with torch.autocast(values.device.type, enabled=False):
        result: Tensor = layer(values.to(layer.weight.dtype))
        return result


def _convolutions(channels: int, count: int) -> nn.Sequential:
    """`count` 3x3 convolutions, each behind an activation."""
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [nn.LeakyReLU(0.1), nn.Conv2d(channels, channels, 3, padding=1)]
    return nn.Sequential(*layers)
