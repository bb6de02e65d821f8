"""A U-Net as super-resolver: enlarge first, then add the details."""

from math import gcd

from torch import Tensor, nn

from translate.networks.bicubic import Bicubic
from translate.networks.blocks import Norm, Upsample, check_image
from translate.networks.edsr import check_super_resolver, zero
from translate.networks.initialise import initialise
from translate.networks.unet import UNet


class UpsampledUNet(nn.Module):
    """Bicubic enlargement plus what a U-Net (Isola et al. 2017, arXiv:1611.07004) makes of it.

    As in VDSR (Kim et al. 2016, arXiv:1511.04587) all convolutions work at the size of the output, so it costs about
    scale * scale times what a network at the size of the input does. The U-Net starts with He's weights and its last
    layer at zero: the network starts as the bicubic enlargement.

    Args:
        in_channels, out_channels: equal; 1 for luminance alone, 3 for colour.
        scale: 1, 2, 3, 4 or 8; 1 restores without enlarging.
        width, depth, norm, upsample: of the U-Net; "none" keeps the brightness of an image that a norm would remove.

    Shape:
        input (N, C, H, W) in [-1, 1], H and W multiples of `size_multiple`, at least `size_minimum`: the enlarged sides
        are then multiples of 2**depth; output (N, C, scale * H, scale * W), less than 1 away from the enlargement, not
        clipped.

    Raises:
        ValueError: for any other size, saying which one to pad to; for another scale, unequal channels, width below 1
            or depth below 2.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        scale: int = 2,
        width: int = 64,
        depth: int = 5,
        norm: Norm = "none",
        upsample: Upsample = "transposed",
    ) -> None:
        super().__init__()
        check_super_resolver(in_channels, out_channels, scale)
        self.scale, self.in_channels, self.out_channels = scale, in_channels, out_channels

        self.enlarge = Bicubic(scale)
        self.unet = UNet(in_channels, out_channels, width=width, depth=depth, norm=norm, upsample=upsample)
        initialise(self.unet, "kaiming")
        zero(self.unet.head)

        self.size_multiple = self.unet.size_multiple // gcd(self.unet.size_multiple, scale)
        self.size_minimum = max(self.size_multiple, 2)  # 2: the border that the enlargement mirrors

    def forward(self, image: Tensor) -> Tensor:
        advice = ", or use a smaller depth"
        check_image(
            image, channels=self.in_channels, multiple=self.size_multiple, minimum=self.size_minimum, advice=advice
        )
        enlarged = self.enlarge(image)
        return enlarged + self.unet(enlarged)
