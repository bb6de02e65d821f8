"""The generator that changes nothing."""

from torch import Tensor, nn

from translate.networks.blocks import check_at_least, check_image


class Identity(nn.Module):
    """Returns its input, and has no parameters: the baseline of every comparison, and the means to test a pipeline.

    Shape:
        input (N, in_channels, H, W) of any size and range; output the same tensor.

    Raises:
        ValueError: if out_channels differs from in_channels, or the image has another number of channels.
    """

    scale = 1
    size_multiple = 1
    size_minimum = 1

    def __init__(self, in_channels: int = 3, out_channels: int = 3) -> None:
        super().__init__()
        check_at_least(1, in_channels=in_channels, out_channels=out_channels)
        if in_channels != out_channels:
            raise ValueError(
                f"the identity has as many output as input channels, got in_channels={in_channels} and "
                f"out_channels={out_channels}: make them equal"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels

    def forward(self, image: Tensor) -> Tensor:
        check_image(image, channels=self.in_channels)
        return image
