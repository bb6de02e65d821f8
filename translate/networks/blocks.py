"""What the networks share: norms, upsampling, and the checks of sizes and arguments."""

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from translate.kernels.convolution import Conv3x3
from translate.kernels.cpu import fast_on
from translate.kernels.matmul_conv import ConvTranspose2d
from translate.kernels.norm import instance_norm

Norm = Literal["instance", "batch", "group", "none"]
Upsample = Literal["transposed", "resize"]


class InstanceNorm(nn.Module):
    """Each channel of each image to mean 0 and variance 1, without weights (Ulyanov et al. 2016, arXiv:1607.08022).

    The variance is the biased one, and 1e-5 is added to it: a constant channel becomes 0 with finite gradients.

    Shape:
        input and output (N, C, H, W) with H * W > 1.
    """

    def forward(self, image: Tensor) -> Tensor:
        # Not F.instance_norm: on a CPU, torch 2.13 returns a wrong gradient at batch 1 if the incoming one is
        # channels_last. Contiguous, because group_norm is several times slower and less exact in channels_last.
        return instance_norm(image) if fast_on(image) else F.group_norm(image.contiguous(), image.shape[1], eps=1e-5)


def group_count(channels: int) -> int:
    """Groups of a group norm: the largest divisor of `channels` that is at most 32 (so 48 channels make 24 groups)."""
    return max(groups for groups in range(1, min(channels, 32) + 1) if channels % groups == 0)


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """The norm of that name for (N, channels, H, W). Batch and group norm have trainable weights, the others none."""
    match norm:
        case "instance":
            return InstanceNorm()
        case "batch":
            return nn.BatchNorm2d(channels)
        case "group":
            return nn.GroupNorm(group_count(channels), channels)
        case "none":
            return nn.Identity()


def has_bias(norm: Norm) -> bool:
    """Whether the convolutions of a network with this norm have a bias: as published, all but those with batch norm."""
    return norm != "batch"


def with_norm(convolution: nn.Sequential | nn.Conv2d | nn.ConvTranspose2d, norm: Norm) -> list[nn.Module]:
    """A convolution (or a Sequential that ends with one) and the norm behind it."""
    last = convolution[-1] if isinstance(convolution, nn.Sequential) else convolution
    assert isinstance(last, (nn.Conv2d, nn.ConvTranspose2d))
    channels = last.out_channels
    if last.bias is not None and (norm == "instance" or (norm == "group" and group_count(channels) == channels)):
        # The norm subtracts this bias again, so its true gradient is zero. Published parameter counts and weights
        # include it, so it stays; frozen, because Adam would amplify the rounding noise in its gradient until
        # processes that must stay equal drift apart.
        nn.init.zeros_(last.bias)
        last.bias.requires_grad_(False)
    return [convolution, make_norm(norm, channels)]


def upsampler(
    in_channels: int, out_channels: int, *, kernel_size: Literal[3, 4], kind: Upsample, bias: bool
) -> nn.Sequential | nn.ConvTranspose2d:
    """Double height and width of (N, in_channels, H, W).

    Args:
        kernel_size: of the transposed convolution with stride 2.
        kind: "transposed", or "resize": nearest neighbour followed by a 3x3 convolution, which leaves no checkerboard
            (Odena et al. 2016, doi:10.23915/distill.00003).
    """
    if kind == "resize":
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), Conv3x3(in_channels, out_channels, bias=bias))
    return ConvTranspose2d(
        in_channels, out_channels, kernel_size, stride=2, padding=1, output_padding=4 - kernel_size, bias=bias
    )


def check_image(image: Tensor, *, channels: int, multiple: int = 1, minimum: int = 1, advice: str = "") -> None:
    """Refuse what a network cannot take.

    Args:
        advice: what else helps besides padding, in the user's words.

    Raises:
        ValueError: unless `image` is (N, channels, H, W) with H and W multiples of `multiple` and at least `minimum`;
            the message computes the size to pad to.
    """
    if image.ndim != 4 or image.shape[1] != channels:
        raise ValueError(
            f"this network needs images of shape (N, {channels}, H, W), got {tuple(image.shape)}: "
            "convert the images, or build the network for their number of channels"
        )
    height, width = image.shape[-2:]
    if height % multiple or width % multiple or min(height, width) < minimum:
        fit = [max(minimum, side + -side % multiple) for side in (height, width)]
        raise ValueError(
            f"this network needs sides that are multiples of {multiple} and at least {minimum}, got an image of "
            f"{height} x {width} (H x W): pad it to {fit[0]} x {fit[1]}{advice}"
        )


def check_at_least(minimum: int, **values: int) -> None:
    """Raises ValueError unless every value is an int of at least `minimum`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise ValueError(f"{name} must be an int of at least {minimum}, got {value!r}: give a larger one")


def check_choice(allowed: object, **values: str) -> None:
    """Raises ValueError unless every value is one of the strings of the Literal `allowed`."""
    for name, value in values.items():
        if value not in get_args(allowed):
            choices = ", ".join(map(repr, get_args(allowed)))
            raise ValueError(f"{name} must be one of {choices}, got {value!r}: choose one of them")


def check_residual(residual: bool, in_channels: int, out_channels: int) -> None:
    """Raises ValueError if a network is to add its input to its output and their channels differ."""
    if residual and in_channels != out_channels:
        raise ValueError(
            f"residual=True needs as many output as input channels, got in_channels={in_channels} and "
            f"out_channels={out_channels}: make them equal, or use residual=False"
        )
