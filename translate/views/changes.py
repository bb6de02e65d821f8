"""The random changes of a `View`: drawn once, then applied to each batch. What they are stands in its docstring."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Op = Literal["rotate", "scale", "colour", "flip", "rotate90", "translate", "cutout"]


class Change(NamedTuple):
    """What an operation draws for each image: so many numbers, and the number that leaves an image as it is."""

    op: Op
    numbers: int
    random: Callable[..., Tensor]
    none: float


CHANGES = {
    "turn": Change("rotate", 1, torch.rand, 0.5),
    "zoom": Change("scale", 1, torch.randn, 0.0),
    "brightness": Change("colour", 1, torch.rand, 0.5),
    "saturation": Change("colour", 1, torch.rand, 0.5),
    "contrast": Change("colour", 1, torch.rand, 0.5),
    "mirror": Change("flip", 1, torch.rand, 0.0),
    "quarters": Change("rotate90", 1, torch.rand, 0.0),
    "shift": Change("translate", 2, torch.rand, 0.5),
    "hole": Change("cutout", 2, torch.rand, -1.0),  # -1: beyond the border
}


def draw(policy: tuple[str, ...], probability: Tensor | float, images: Tensor) -> dict[str, Tensor]:
    """Of every change (numbers, N, 1, 1), with `none` for the images that it does not happen to."""
    drawn = {}
    for name, (op, numbers, random, none) in CHANGES.items():
        shape = (numbers, len(images), 1, 1)
        if op in policy:
            happens = torch.rand(shape[1:], device=images.device) < probability
            drawn[name] = torch.where(happens, random(shape, device=images.device), none)
        else:
            drawn[name] = torch.full(shape, none, device=images.device)
    return drawn


def warp(images: Tensor, turn: Tensor, zoom: Tensor) -> Tensor:
    """Rotate and scale (N, C, H, W) about the centre, in one resampling."""
    from kornia.geometry.transform import remap  # imported here because it takes seconds

    # Not kornia's warp_affine, whose inverse of a matrix waits for the GPU, nor a matrix product, which autocast and
    # TF32 would round to a tenth of a pixel.
    height, width = images.shape[-2:]
    exact = torch.promote_types(images.dtype, torch.float32)
    # Coordinates from the centre, in pixels, over (N, H, W).
    y = (torch.arange(height, device=images.device, dtype=exact) - (height - 1) / 2)[:, None]
    x = torch.arange(width, device=images.device, dtype=exact) - (width - 1) / 2
    angle = (2 * turn.to(exact) - 1) * math.pi
    enlarged = torch.exp2(0.2 * zoom.to(exact))
    cosine, sine = angle.cos() / enlarged, angle.sin() / enlarged
    source_x = (cosine * x + sine * y) * (2 / max(width - 1, 1))
    source_y = (cosine * y - sine * x) * (2 / max(height - 1, 1))
    warped = remap(
        images.to(exact), source_x, source_y, padding_mode="reflection", align_corners=True, normalized_coordinates=True
    )
    return torch.where(((turn != 0.5) | (zoom != 0))[:, None], warped.to(images.dtype), images)


def recolour(picture: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    """Brightness, saturation and contrast of (N, C, H, W), as sums in which a draw of 0.5 adds exactly nothing."""
    brightness, saturation, contrast = (
        (2 * drawn[name][0, :, None] - 1).to(picture.dtype) for name in ("brightness", "saturation", "contrast")
    )
    picture = picture + brightness / 2
    if picture.shape[1] == 3:
        picture = picture + saturation * (picture - picture.mean(dim=1, keepdim=True))
    return picture + contrast / 2 * (picture - picture.mean(dim=(1, 2, 3), keepdim=True))


def move(images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
    """Mirror, then turn by quarters, then translate (N, C, H, W): by the index of the pixel that comes to a place."""
    height, width = images.shape[-2:]
    down, right = (
        ((2 * reach + 1) * drawn["shift"][axis]).floor().clamp(max=2 * reach).long() - reach  # rounding may reach 1
        for axis, reach in enumerate(((height + 4) // 8, (width + 4) // 8))
    )
    rows = torch.arange(height, device=images.device)[:, None] - down
    columns = torch.arange(width, device=images.device) - right
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)

    quarters = (4 * drawn["quarters"][0]).long()
    if height == width:
        odd = quarters % 2 == 1
        rows, columns = torch.where(odd, columns, rows), torch.where(odd, width - 1 - rows, columns)
    rows = torch.where(quarters >= 2, height - 1 - rows, rows)
    columns = torch.where((quarters >= 2) ^ (drawn["mirror"][0] >= 0.5), width - 1 - columns, columns)

    index = (rows * width + columns).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    moved = images.flatten(2).gather(2, index).view(images.shape)
    return torch.where(inside[:, None], moved, 0)


def cut_out(images: Tensor, hole: Tensor) -> Tensor:
    """Set a rectangle of (N, C, H, W) to 0; `hole` (2, N, 1, 1) is its centre's place, 0 to 1 of height and width."""
    inside = torch.ones((), dtype=torch.bool, device=images.device)
    for axis, side in enumerate(images.shape[-2:]):
        size = (side + 1) // 2
        start = (hole[axis] * (side + 1 - size % 2)).floor() - size // 2
        place = torch.arange(side, device=images.device).unsqueeze(1 - axis)  # (H, 1), then (1, W)
        inside = inside & (place >= start) & (place < start + size)
    return torch.where(inside[:, None], 0, images)
