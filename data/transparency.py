"""Colours for what is transparent, so that what nobody sees misleads no network that looks at a neighbourhood."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from translate.data.intensity import as_dtype, check_finite, opacity_of
from translate.data.picture import Picture

VISIBLE = 1 / 32  # the opacity from which on a pixel keeps its own colour


def fill_transparent(picture: Picture) -> Picture:
    """The picture with the colours of its visible surroundings where it is transparent, and with the same alpha.

    Straight colours can then be resized, or changed by a network, without alpha: no edge is where the alpha has one,
    so none is sharpened into a fringe. The very same object where all is visible, or nothing.

    By pull-push (Gortler et al. 1996, doi:10.1145/237170.237200): averages of visible colours over ever larger
    squares, and back from coarse to fine. Below an opacity of 1/32 a pixel fades into that.

    Raises:
        ImageError: values that are not finite.
    """
    if picture.alpha is None:
        return picture
    check_finite(picture)
    weight = np.clip(opacity_of(picture.alpha, np.float32) / VISIBLE, 0, 1)
    if weight.min() == 1 or weight.max() == 0:
        return picture
    colours = torch.from_numpy(picture.pixels.astype(np.float32)).permute(2, 0, 1)[None]
    filled = _pull_push(colours, torch.from_numpy(weight)[None, None])[0].permute(1, 2, 0).numpy()
    hidden = as_dtype(filled.copy(), picture.pixels.dtype)
    return replace(picture, pixels=np.where(weight[..., None] == 1, picture.pixels, hidden))


def _pull_push(colours: Tensor, weight: Tensor) -> Tensor:
    """(1, C, H, W) with the surroundings' colours where weight (1, 1, H, W) is 0, mixed where it is below 1."""
    if weight.numel() == 1:
        return colours
    share = F.avg_pool2d(weight, 2, ceil_mode=True)
    mean = F.avg_pool2d(colours * weight, 2, ceil_mode=True) / share.clamp(min=1e-12)
    coarse = _pull_push(mean, (4 * share).clamp(max=1))
    around = F.interpolate(coarse, size=colours.shape[-2:], mode="bilinear")
    return torch.lerp(around, colours, weight)
