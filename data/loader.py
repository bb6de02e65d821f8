"""How pictures become samples: read, moved alike, and shown to the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from translate.data.augment import UNMOVED, Augmentation, Geometry, Moves, turned
from translate.data.batches import stack
from translate.data.device_moves import move_on_device, places_of, result_side
from translate.data.folders import shown
from translate.data.images import ImageError, Picture
from translate.data.intensity import IntensityRange, picture_to_tensor
from translate.data.picture import naming
from translate.data.sources import FOLDER
from translate.data.stored import stack_stored, stored_to_model, travels_stored
from translate.data.tones import AS_IT_IS, Tones


class Store(Protocol):
    """Where pictures come from: files, shards, or a cache of them."""

    def read(self, path: Path) -> Picture: ...


@dataclass(frozen=True)
class View:
    """How one side is shown to the model: grey or colour, and what -1 and 1 mean (None: the file's dtype).

    clip: whether values beyond the range are cut off, as those of scans are.
    """

    channels: int
    range: IntensityRange | None
    clip: bool = False

    def model(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in model space of a batch as it arrives on the device."""
        return stored_to_model(images, self.channels, self.range)

    def tensor(self, picture: Picture) -> Tensor:
        """(C, H, W) in model space."""
        if self.clip and self.range:
            pixels = np.clip(picture.pixels, self.range.low, self.range.high)
            picture = Picture(pixels, picture.alpha, picture.metadata)
        elif travels_stored(picture):  # the same numbers as those of a batch
            stored = stack_stored([picture], [UNMOVED])
            assert stored is not None
            return self.model(stored)[0]
        return picture_to_tensor(picture, self.channels, self.range)[0]


class Moved(NamedTuple):
    """Pictures that belong together after their geometry on the host, but for its flips and turns.

    moves: these flips and turns, which are done when the pictures are copied into a batch.
    seed: of what is still random.
    called: what errors call them.
    """

    pictures: list[Picture]
    moves: Moves
    seed: int
    name: str
    called: str


@dataclass(frozen=True)
class Loader:
    """Reads pictures, and changes those that belong together alike.

    on_device: the geometry that is left to the device; None for none.
    """

    augmentation: Augmentation
    store: Store = FOLDER
    tones: Tones = AS_IT_IS
    on_device: Geometry | None = None

    def read(self, path: Path) -> Picture:
        return self.store.read(path)

    def moved(self, pictures: list[Picture], seed: int, scales: list[int] | None = None) -> tuple[list[Picture], Moves]:
        """They move alike, and have equal height and width but for their `scales`. The flips and turns are to come."""
        arrays = [picture.pixels for picture in pictures]
        arrays += [picture.alpha[..., None] for picture in pictures if picture.alpha is not None]
        if scales is not None:
            scales = scales + [s for s, picture in zip(scales, pictures, strict=True) if picture.alpha is not None]
        moved, moves = self.augmentation.cropped(arrays, seed, scales)
        alphas = iter(moved[len(pictures) :])
        return [
            Picture(pixels, None if picture.alpha is None else next(alphas)[..., 0], picture.metadata)
            for pixels, picture in zip(moved, pictures, strict=False)
        ], moves

    def shown(self, sample: Moved, views: Sequence[View]) -> list[Tensor]:
        """One tensor (C, H, W) in model space for each picture, in random tones."""
        pictures, seed = [_turned(picture, sample.moves) for picture in sample.pictures], sample.seed
        colours = [picture.pixels for picture in pictures]
        if all(picture.alpha is None for picture in pictures):
            colours = self.tones.mix(colours, seed)
        colours = self.tones.draw(colours, seed)
        sign = self.tones.sign(seed)
        return [
            sign * view.tensor(Picture(pixels, picture.alpha, picture.metadata))
            for pixels, picture, view in zip(colours, pictures, views, strict=True)
        ]

    def batched(self, samples: Sequence[Moved], views: Sequence[View]) -> list[Tensor]:
        """(N, C, H, W) for each view: the values as they are stored where the device can convert them."""
        names = [sample.name for sample in samples]
        if self.tones == AS_IT_IS and not any(view.clip for view in views):
            moves = [sample.moves for sample in samples]
            stored = [stack_stored([sample.pictures[side] for sample in samples], moves) for side in range(len(views))]
            if all(side is not None for side in stored):
                return stored  # type: ignore[return-value]
        shown = []
        for sample in samples:
            with naming(sample.called):
                shown.append(self.shown(sample, views))
        return [stack(side, names) for side in zip(*shown, strict=True)]

    def places(self, samples: Sequence[Moved]) -> Tensor | None:
        """What the device does to the pictures of each sample."""
        if self.on_device is None:
            return None
        sides = {sample.pictures[0].pixels.shape[:2] for sample in samples}
        if len(sides) > 1:
            listed = shown(f"{width} x {height}" for height, width in sorted(sides))
            raise ImageError(
                f"data.augment_on device needs pictures of one size, got {listed} (W x H): prepare them with one size, "
                "or set data.augment_on to cpu"
            )
        return places_of(self.on_device, [sample.seed for sample in samples], *sides.pop())

    def on_arrival(self, images: Tensor, places: Tensor | None, view: View) -> Tensor:
        """(N, C, H, W) in model space of one side of a batch that is on the device."""
        images = view.model(images)
        if self.on_device is None or places is None:
            return images
        height, width = images.shape[-2:]
        return move_on_device(images, places, result_side(self.on_device, height, width))


def _turned(picture: Picture, moves: Moves) -> Picture:
    """With its flips and turns, pixel by pixel in memory."""
    alpha = None if picture.alpha is None else turned(picture.alpha[..., None], moves)[..., 0]
    return Picture(np.ascontiguousarray(turned(picture.pixels, moves)), alpha, picture.metadata)
