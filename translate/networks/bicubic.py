"""Bicubic enlargement as a layer: what a super-resolver adds its details to."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from translate.data.imresize import contributions
from translate.networks.blocks import check_at_least


class Bicubic(nn.Module):
    """Enlarges by an integer as MATLAB's imresize does (Keys 1981, a = -0.5), equal to it but for rounding.

    One convolution that gives the scale x scale pixels of each input pixel at once, with fixed weights that are no
    part of the state dict.

    Shape:
        input (N, C, H, W) of any range, H and W at least 2; output (N, C, scale * H, scale * W), which can leave the
        range a little at sharp edges. It is computed in float32 also under autocast.
    """

    kernel: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        check_at_least(1, scale=scale)
        self.scale = scale
        self.register_buffer("kernel", _phases(scale), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return enlarge(image, self.kernel, self.scale)


def enlarge(image: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """What Bicubic does to (N, C, H, W), with its kernel. One function to torch.overrides: tiles know its borders."""
    if has_torch_function_unary(image):
        return handle_torch_function(enlarge, (image,), image, kernel, scale)
    return enlarge_inside(_mirror_border(image), kernel, scale)


def enlarge_inside(image: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """Of (N, C, H + 4, W + 4), the enlargement of all but a border of two pixels: (N, C, scale * H, scale * W)."""
    n, channels, height, width = image.shape
    with torch.autocast(image.device.type, enabled=False):  # half precision would cost a grey level of 8 bits
        wide = image.float() if image.dtype in (torch.float16, torch.bfloat16) else image
        planes = wide.reshape(n * channels, 1, height, width)
        enlarged = F.pixel_shuffle(F.conv2d(planes, kernel.to(planes.dtype)), scale)
    return enlarged.reshape(n, channels, (height - 4) * scale, (width - 4) * scale)


def _phases(scale: int) -> Tensor:
    """(scale * scale, 1, 5, 5): the weights of the 5x5 pixels around a pixel for each pixel that it becomes."""
    line = np.zeros((scale, 5))
    weights, indices = contributions(11, 11 * scale, scale)
    for phase in range(scale):
        row = 5 * scale + phase  # of the pixel in the middle, far from the border
        np.add.at(line[phase], indices[row] - 3, weights[row])
    both = np.einsum("ay,bx->abyx", line, line).reshape(scale * scale, 1, 5, 5)
    return torch.from_numpy(both.astype(np.float32))


def _mirror_border(planes: Tensor) -> Tensor:
    """Two pixels on each side, the border pixel repeated: ... 1 0 | 0 1 ..."""
    top, bottom = planes[..., :2, :].flip(-2), planes[..., -2:, :].flip(-2)
    planes = torch.cat([top, planes, bottom], dim=-2)
    left, right = planes[..., :2].flip(-1), planes[..., -2:].flip(-1)
    return torch.cat([left, planes, right], dim=-1)
