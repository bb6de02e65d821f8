"""Making pictures smaller, and images in model space of any size."""

import cv2
import numpy as np
import torch
from torch import Tensor

from translate.data.imresize import imresize
from translate.data.picture import ImageError, Picture


def reduce_picture(picture: Picture, size: int | None) -> Picture:
    """Bring the shorter side down to `size` pixels by area averaging, keeping dtype, aspect, alpha and metadata.

    The very same object where it is not longer, or `size` is None. With alpha the colours are weighted by it, so that
    what is hidden under transparent pixels does not show.

    Raises:
        ImageError: `size` is below 1.
    """
    if size is None:
        return picture
    if size < 1:
        raise ImageError(f"the size must be at least 1 pixel, got {size}")
    height, width = picture.pixels.shape[:2]
    if min(height, width) <= size:
        return picture
    scale = size / min(height, width)
    sides = (max(1, round(width * scale)), max(1, round(height * scale)))
    if picture.alpha is None:
        return Picture(_average(picture.pixels, sides), None, picture.metadata)
    alpha = _average(picture.alpha.astype(np.float32)[..., None], sides)
    weighted = _average(picture.pixels.astype(np.float32) * picture.alpha[..., None], sides)
    plain = _average(picture.pixels.astype(np.float32), sides)  # for what is transparent anyway
    colours = np.where(alpha > 0, weighted / np.maximum(alpha, np.finfo(np.float32).tiny), plain)
    return Picture(_as(colours, picture), _as(alpha, picture)[..., 0], picture.metadata)


def shrink(picture: Picture, factor: int) -> Picture:
    """Divide the sides by an integer, rounding down, as MATLAB's imresize does; metadata are kept.

    Pixels at the right and at the bottom that make no whole pixel are cut off first.

    Raises:
        ImageError: nothing would be left.
    """
    height, width = (side // factor for side in picture.pixels.shape[:2])
    if min(height, width) < 1:
        raise ImageError(f"a picture of {picture.info.width} x {picture.info.height} cannot be divided by {factor}")

    def reduced(array: np.ndarray) -> np.ndarray:
        return imresize(array[: height * factor, : width * factor], (height, width))

    alpha = None if picture.alpha is None else reduced(picture.alpha)
    return Picture(reduced(picture.pixels), alpha, picture.metadata)


def resize_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) to (N, C, *size), bicubic and antialiased, float32; the same object where it has that size."""
    if tuple(images.shape[-2:]) == size:
        return images
    planes = images.flatten(0, 1).cpu().numpy()
    resized = np.empty((len(planes), *size), np.float32)
    for plane, result in zip(planes, resized, strict=True):
        result[:] = imresize(plane, size)
    return torch.from_numpy(resized).reshape(*images.shape[:2], *size).to(images.device)


def _average(values: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """(H, W, C) to (sides[1], sides[0], C)."""
    return cv2.resize(values, sides, interpolation=cv2.INTER_AREA).reshape(sides[1], sides[0], -1)


def _as(values: np.ndarray, picture: Picture) -> np.ndarray:
    dtype = picture.pixels.dtype
    return np.rint(values).astype(dtype) if dtype.kind == "u" else values.astype(dtype)
