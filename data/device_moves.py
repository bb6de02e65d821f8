"""Random geometry on the device: all crops, zooms, rotations, flips and turns of a batch in one interpolation."""

from collections.abc import Sequence

import numpy as np
import torch
from kornia.geometry.transform import remap
from torch import Tensor

from translate.data.augment import Geometry, draw_moves, sample_seed
from translate.data.picture import ImageError


def move_on_device(images: Tensor, places: Tensor, side: tuple[int, int]) -> Tensor:
    """Pictures as `places` say, bilinear, reflected beyond the border. Whole pixels stay exact but for rounding.

    Args:
        images: (N, C, H, W), float.
        places: (N, 2, 3) of `places_of`, float32, on the same device.
        side: height and width of the result.

    Returns:
        (N, C, *side).
    """
    height, width = side
    down = torch.arange(height, device=images.device, dtype=torch.float32)[:, None]
    across = torch.arange(width, device=images.device, dtype=torch.float32)
    # Not as a matrix product: a GPU may compute those with 10 bits of mantissa, and a coordinate needs more.
    x, y = (
        row[:, 0, None, None] * across + row[:, 1, None, None] * down + row[:, 2, None, None]
        for row in places.unbind(dim=1)
    )
    return remap(images, x, y, mode="bilinear", padding_mode="reflection", align_corners=True)


def places_of(geometry: Geometry, seeds: Sequence[int], height: int, width: int) -> Tensor:
    """(N, 2, 3): where each pixel (x, y, 1) of a result lies in its picture; a pure function of each seed.

    Crop, flips and quarter turns are those that `Augmentation` draws from the same seed; zoom and rotation are drawn
    from the same distributions, but are others.

    Args:
        geometry: without resize and frame, which the pictures have behind them.
        height, width: of the pictures.

    Raises:
        ImageError: whole pictures that are not square would be turned by 90 degrees.
    """
    if geometry.rotate90 and not geometry.crop and height != width:
        raise ImageError(
            f"pictures of {width} x {height} (W x H) cannot be turned by 90 degrees in one batch: set data.crop, or "
            "data.rotate90 to false"
        )
    return torch.from_numpy(np.stack([_place_of(geometry, seed, height, width)[:2] for seed in seeds])).float()


def result_side(geometry: Geometry, height: int, width: int) -> tuple[int, int]:
    """(H, W) of what becomes of a picture."""
    return (geometry.crop, geometry.crop) if geometry.crop else (height, width)


def _place_of(geometry: Geometry, seed: int, height: int, width: int) -> np.ndarray:
    """(3, 3), from a pixel of the result back to one of the picture."""
    moves = draw_moves(geometry, seed)
    out_height, out_width = result_side(geometry, height, width)
    place = np.eye(3)
    if geometry.crop:
        top, left = moves.place(height, width, geometry.crop)
        top -= max(0, geometry.crop - height) // 2  # a small picture is in the middle
        left -= max(0, geometry.crop - width) // 2
        place = _shift(left, top)
    if moves.flip:
        place = place @ np.array([[-1, 0, out_width - 1], [0, 1, 0], [0, 0, 1.0]])
    if moves.flip_vertical:
        place = place @ np.array([[1, 0, 0], [0, -1, out_height - 1], [0, 0, 1.0]])
    quarter = np.array([[0, -1, out_width - 1], [1, 0, 0], [0, 0, 1.0]])  # counter-clockwise; the result is square
    place = place @ np.linalg.matrix_power(quarter, moves.turns)
    return _turned_and_zoomed(geometry, seed, height, width) @ place


def _turned_and_zoomed(geometry: Geometry, seed: int, height: int, width: int) -> np.ndarray:
    """(3, 3), around the middle: zoomed, then rotated, and here back."""
    if not (geometry.zoom or geometry.rotate):
        return np.eye(3)
    random = np.random.default_rng(sample_seed(seed, 8))
    across, down = 1 / random.uniform(1 - geometry.zoom, 1 + geometry.zoom, 2)
    angle = np.deg2rad(random.uniform(-geometry.rotate, geometry.rotate))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    middle = ((width - 1) / 2, (height - 1) / 2)
    return _shift(*middle) @ np.diag([across, down, 1]) @ turn @ _shift(-middle[0], -middle[1])


def _shift(across: float, down: float) -> np.ndarray:
    return np.array([[1, 0, across], [0, 1, down], [0, 0, 1.0]])
