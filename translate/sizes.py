"""Any image size for any network: pad to the size rule that a generator declares, and cut the result."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def padded_side(side: int, multiple: int, minimum: int) -> int:
    """The smallest allowed side that is not below `side`."""
    return max(minimum + -minimum % multiple, side + -side % multiple)


def pad_to_rule(images: Tensor, generator: nn.Module, scale: int = 1) -> Tensor:
    """Pad (N, C, H, W) at the bottom and on the right, by reflection, to the generator's size rule.

    Args:
        scale: of images that belong to an input `scale` times smaller, such as the targets of super-resolution: they
            are padded as that input is, pixel by pixel of it.
    """
    multiple, minimum = int(generator.size_multiple), int(generator.size_minimum)  # type: ignore[arg-type]
    sides = [side // scale for side in images.shape[-2:]]
    padded = [padded_side(side, multiple, minimum) for side in sides]
    if [side * scale for side in padded] == list(images.shape[-2:]):
        return images
    rows, columns = (
        _enlarged(mirrored(side, wanted, images.device), scale) for side, wanted in zip(sides, padded, strict=True)
    )
    return images[..., rows, :][..., columns]


def translate_any_size(
    generator: nn.Module, images: Tensor, forward: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Run a generator on (N, C, H, W) of any size: returns (N, C', scale * H, scale * W).

    Args:
        forward: what computes the generator, if not itself.
    """
    height, width = (side * int(generator.scale) for side in images.shape[-2:])  # type: ignore[arg-type]
    return (forward or generator)(pad_to_rule(images, generator))[..., :height, :width]


def centre_crop(images: list[Tensor]) -> Tensor:
    """Cut (C, H, W) images to the smallest height and width among them, around their centres: (N, C, h, w)."""
    height, width = min(i.shape[-2] for i in images), min(i.shape[-1] for i in images)
    tops = [(i.shape[-2] - height) // 2 for i in images]
    lefts = [(i.shape[-1] - width) // 2 for i in images]
    cut = [i[:, t : t + height, s : s + width] for i, t, s in zip(images, tops, lefts, strict=True)]
    return torch.stack(cut)


def _enlarged(places: Tensor, scale: int) -> Tensor:
    """The indices of the `scale` pixels of each place, in their reverse order where the places run backwards."""
    backwards = torch.diff(places, prepend=places[:1] - 1) < 0
    within = torch.arange(scale, device=places.device)
    return (places[:, None] * scale + torch.where(backwards[:, None], within.flip(0), within)).flatten()


def mirrored(side: int, wanted: int, device: torch.device) -> Tensor:
    """Indices 0, 1, ..., side - 1, side - 2, ..., 1, 0, 1, ... of length `wanted`."""
    if side == 1:
        return torch.zeros(wanted, dtype=torch.long, device=device)
    place = torch.arange(wanted, device=device) % (2 * side - 2)
    return torch.minimum(place, 2 * side - 2 - place)
