"""Values as they are stored, a quarter of model space's bytes, on their way to the device that converts them."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from translate.data.augment import Moves, by_planes, turned, turned_shape
from translate.data.intensity import DTYPE_RANGES, LUMA, IntensityRange
from translate.data.picture import Picture

TORCH = {np.dtype(np.uint8): torch.uint8, np.dtype(np.uint16): torch.uint16}
RANGES = {torch.uint8: DTYPE_RANGES["uint8"], torch.uint16: DTYPE_RANGES["uint16"]}


def travels_stored(picture: Picture) -> bool:
    """Whether the device can make model values of it: 8 or 16 bits, without alpha."""
    return picture.alpha is None and picture.pixels.dtype in TORCH


def stack_stored(pictures: Sequence[Picture], moves: Sequence[Moves]) -> Tensor | None:
    """(N, C, H, W) uint8 or uint16 as they are stored, flipped and turned on the way.

    None where they are not all of one such kind and size.
    """
    kinds = {
        (turned_shape(picture.pixels.shape, move), picture.pixels.dtype, picture.alpha is None)
        for picture, move in zip(pictures, moves, strict=True)
    }
    if len(kinds) > 1 or not travels_stored(pictures[0]):
        return None
    (height, width, channels), dtype, _ = kinds.pop()
    stacked = torch.empty((len(pictures), channels, height, width), dtype=TORCH[dtype])
    for planes, picture, move in zip(stacked.numpy(), pictures, moves, strict=True):
        _put(picture.pixels, move, planes)
    return stacked


def _put(pixels: np.ndarray, moves: Moves, planes: np.ndarray) -> None:
    """Write (H, W, C), flipped and turned, into planes (C, H', W')."""
    code = moves.flip_code
    if code is not None and not moves.turns and by_planes(pixels):
        for given, plane in zip(pixels.transpose(2, 0, 1), planes, strict=True):
            cv2.flip(given, code, plane)
        return
    pixels = turned(pixels, moves)
    if by_planes(pixels):
        planes[...] = pixels.transpose(2, 0, 1)
    else:
        cv2.split(pixels, list(planes))


def stored_to_model(images: Tensor, channels: int, range: IntensityRange | None = None) -> Tensor:
    """`picture_to_tensor` of uint8 or uint16 values as they are stored, without alpha, on the device where they are.

    Args:
        images: (N, 1 or 3, H, W), uint8 or uint16. What is float already is in model space, and comes back as it is.
        channels: 1 or 3 of the result.
        range: what the values mean; None is the range of the dtype.

    Returns:
        (N, channels, H, W) float32, within 2.4e-7 of what `picture_to_tensor` gives for values in the range.
    """
    if images.is_floating_point():
        return images
    low, high = (range.low, range.high) if range else RANGES[images.dtype]
    values = images.to(torch.float32)
    if low:
        values.sub_((high + low) / 2).div_((high - low) / 2)
    else:  # in one pass instead of two
        torch.add(torch.full((), -1.0, device=values.device), values, alpha=_rounded_down(2 / high), out=values)
    if values.shape[1] == channels:
        return values
    if channels == 3:
        return values.expand(-1, 3, -1, -1).contiguous()
    red, green, blue = (values[:, channel : channel + 1] * weight for channel, weight in enumerate(LUMA))
    return red + green + blue


@cache
def _rounded_down(factor: float) -> float:
    """To float32, so that the highest value times the factor is not above what it should be."""
    single = np.float32(factor)
    return float(single) if float(single) <= factor else float(np.nextafter(single, np.float32(0)))
