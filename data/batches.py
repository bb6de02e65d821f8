"""What the training loop receives: batches as named tuples."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from translate.data.folders import shown
from translate.data.picture import ImageError


class Paired(NamedTuple):
    """Registered pairs, model space: source (N, C, H, W), target (N, C', H, W), and the N names.

    On their way to the device uint8 and uint16 are values as they are stored, and `places`, (N, 2, 3), says what is
    left to do to the geometry: `dataset.to_model` does it there.

    weight: (N, 1, H, W) in [0, 1], how much each pixel of the target counts; None where all count alike.
    """

    source: Tensor
    target: Tensor
    name: list[str]
    weight: Tensor | None = None
    places: Tensor | None = None


class Unpaired(NamedTuple):
    """Independent draws from two kinds of image, model space: a (N, C, H, W), b (N, C', H, W), and their names.

    On their way to the device they may be as they are stored, as those of `Paired`.
    """

    a: Tensor
    b: Tensor
    name_a: list[str]
    name_b: list[str]
    places_a: Tensor | None = None
    places_b: Tensor | None = None


def collate_paired(samples: list[Paired]) -> Paired:
    """Stack samples of one size."""
    names = [sample.name[0] for sample in samples]
    weights = [sample.weight for sample in samples if sample.weight is not None]
    return Paired(
        stack([s.source for s in samples], names),
        stack([s.target for s in samples], names),
        names,
        stack(weights, names) if weights else None,
    )


def collate_unpaired(samples: list[Unpaired]) -> Unpaired:
    """Stack samples of one size."""
    names_a, names_b = [s.name_a[0] for s in samples], [s.name_b[0] for s in samples]
    return Unpaired(stack([s.a for s in samples], names_a), stack([s.b for s in samples], names_b), names_a, names_b)


def stack(tensors: Sequence[Tensor], names: list[str]) -> Tensor:
    """(N, C, H, W) of tensors (C, H, W) of one size.

    Raises:
        ImageError: they have several, naming them.
    """
    if len({tensor.shape for tensor in tensors}) > 1:
        sizes = sorted({f"{t.shape[-1]} x {t.shape[-2]} ({name})" for t, name in zip(tensors, names, strict=True)})
        raise ImageError(
            f"a batch needs images of one size, got {shown(sizes)} (W x H): set data.crop, or training.batch_size 1"
        )
    return torch.stack(list(tensors))
