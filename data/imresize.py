"""MATLAB's `imresize(image, scale, "bicubic")`, by which the literature of super-resolution makes its inputs.

Separable cubic convolution (Keys 1981, doi:10.1109/TASSP.1981.1163711, a = -0.5), stretched by 1 / scale when it
makes pictures smaller so that they do not alias, with the border mirrored. On integers MATLAB rounds and clamps between
the two passes, and so does this: the result is equal to the last bit.
"""

import numpy as np

from translate.data.picture import ImageError


def imresize(image: np.ndarray, size: tuple[int, int], scale: tuple[float, float] | float | None = None) -> np.ndarray:
    """Bicubic resize of (H, W) or (H, W, C) to `size` (H', W'), in the dtype it came in.

    Args:
        image: unsigned integers, which are rounded (half upwards) and clamped after each pass; or floats, which are
            computed in float64 and neither rounded nor clamped.
        size: height and width of the result.
        scale: of the sampling grid, (vertical, horizontal) or one for both; None for the ratio of the sizes. MATLAB,
            given a scale, uses that scale and the size rounded up.

    Raises:
        ImageError: neither (H, W) nor (H, W, C), another dtype, an empty picture, or a size below 1 x 1.
    """
    if image.ndim not in (2, 3) or image.dtype.kind not in "uf" or image.size == 0:
        raise ImageError(
            f"imresize takes (H, W) or (H, W, C) of unsigned integers or floats and at least one pixel, got "
            f"{image.shape} of {image.dtype}: convert the image first"
        )
    if min(size) < 1:
        raise ImageError(f"imresize needs a size of at least 1 x 1, got {size[0]} x {size[1]} (H x W)")
    scales = scale if isinstance(scale, tuple) else (scale, scale)
    factors = [given or size[axis] / image.shape[axis] for axis, given in enumerate(scales)]
    # As MATLAB: the axis that shrinks most first, rows before columns where they shrink alike.
    for axis in sorted((0, 1), key=lambda axis: factors[axis]):
        image = _resize_axis(image, axis, size[axis], factors[axis])
    return image


def _resize_axis(image: np.ndarray, axis: int, length: int, scale: float) -> np.ndarray:
    if length == image.shape[axis] and scale == 1:
        return image
    weights, indices = contributions(image.shape[axis], length, scale)
    shape = [1] * image.ndim
    shape[axis] = length
    out_shape = list(image.shape)
    out_shape[axis] = length
    total = np.zeros(out_shape)
    for tap in range(weights.shape[1]):  # one tap at a time: the memory of two pictures, not of all taps
        total += image.take(indices[:, tap], axis) * weights[:, tap].reshape(shape)
    if image.dtype.kind == "f":
        return total.astype(image.dtype)
    return np.clip(np.floor(total + 0.5), 0, np.iinfo(image.dtype).max).astype(image.dtype)


def contributions(length: int, wanted: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and source positions, each (wanted, taps), of every pixel of a line resized from `length` pixels.

    The weights of a pixel sum to 1; positions beyond the border are mirrored, the border pixel repeated.
    """
    stretch = min(scale, 1.0)  # antialiasing: a wider kernel when the picture becomes smaller
    support = 4 / stretch
    centre = (np.arange(wanted) + 0.5) / scale - 0.5
    first = np.floor(centre - support / 2).astype(int) + 1
    positions = first[:, None] + np.arange(int(np.ceil(support)) + 1)
    weights = stretch * cubic(stretch * (centre[:, None] - positions))
    weights /= weights.sum(axis=1, keepdims=True)
    mirror = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    used = np.any(weights != 0, axis=0)
    return weights[:, used], mirror[positions % (2 * length)][:, used]


def cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.5: 1 at 0, 0 at the other integers and from 2 on."""
    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
