"""The networks a recipe can name: generators translate images, discriminators judge them.

A generator declares `scale`, `size_multiple`, `size_minimum`, `in_channels` and `out_channels`; its forward takes and
returns model space, float (N, C, H, W) in [-1, 1]. A discriminator declares `in_channels` and `size_minimum`; its
forward returns, for every scale it looks at, the activations of all its layers, of which the last are the logits.

To add a network: one file, one line here, one row in tests/test_networks.py. The recipe's schema is the constructor's
signature.
"""

from torch import nn

from translate.networks.edsr import EDSR
from translate.networks.identity import Identity
from translate.networks.initialise import initialise
from translate.networks.patchgan import MultiScalePatchGAN, PatchGAN, PixelDiscriminator, logits
from translate.networks.residual_unet import ResidualUNet
from translate.networks.resnet import ResNet
from translate.networks.rrdb import RRDB
from translate.networks.unet import UNet
from translate.networks.unet_discriminator import UNetDiscriminator
from translate.networks.upsampled_unet import UpsampledUNet

GENERATORS: dict[str, type[nn.Module]] = {
    "unet": UNet,
    "resnet": ResNet,
    "edsr": EDSR,
    "rrdb": RRDB,
    "upsampled_unet": UpsampledUNet,
    "residual_unet": ResidualUNet,
    "identity": Identity,
}
DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "patchgan": PatchGAN,
    "pixel": PixelDiscriminator,
    "multiscale": MultiScalePatchGAN,
    "unet": UNetDiscriminator,
}

__all__ = [
    "DISCRIMINATORS",
    "EDSR",
    "GENERATORS",
    "RRDB",
    "Identity",
    "MultiScalePatchGAN",
    "PatchGAN",
    "PixelDiscriminator",
    "ResNet",
    "ResidualUNet",
    "UNet",
    "UNetDiscriminator",
    "UpsampledUNet",
    "initialise",
    "logits",
]
