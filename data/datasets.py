"""Prepared folders as data sets: how a file becomes a sample in model space."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from translate.data.augment import UNMOVED, draw_seed, sample_seed
from translate.data.batches import Paired, Unpaired, collate_paired, collate_unpaired
from translate.data.degrade import DegradationConfig, degrade
from translate.data.folders import Pair
from translate.data.images import ImageError, Picture
from translate.data.loader import Loader, Moved, View
from translate.data.picture import naming
from translate.data.sampling import Draw
from translate.data.working_size import cut_in_half


class PairedImages(Dataset[Paired]):
    """Registered pairs. A sample is asked for by its Draw, so that augmentation repeats with the seed alone."""

    collate: Callable[[list[Any]], Any]

    def __init__(
        self,
        pairs: Sequence[Pair],
        views: tuple[View, View],
        loader: Loader,
        seed: int,
        halves: str | None,
        scale: int = 1,
    ) -> None:
        """`halves`: None for two files; "left" or "right", where the source is, for one file side by side.

        `scale`: the target's sides divided by the source's.
        """
        self.pairs, self.views, self.loader, self.seed, self.halves = pairs, views, loader, seed, halves
        self.scales = None if scale == 1 else [1, scale]
        self.lengths = (len(pairs),)
        self.collate = collate_paired

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: Draw) -> Paired:
        """In model space, (C, H, W)."""
        batch = self.to_model(self.batch([draw]))
        return Paired(batch.source[0], batch.target[0], batch.name)

    def batch(self, draws: Sequence[Draw]) -> Paired:
        """As it travels to the device, where `to_model` takes it."""
        samples = [self.moved(draw) for draw in draws]
        source, target = self.loader.batched(samples, self.views)
        return Paired(source, target, [sample.name for sample in samples], None, self.loader.places(samples))

    def to_model(self, batch: Paired) -> Paired:
        """A batch in model space, on the device where it is. Batches that are there already stay as they are."""
        source = self.loader.on_arrival(batch.source, batch.places, self.views[0])
        target = self.loader.on_arrival(batch.target, batch.places, self.views[1])
        return Paired(source, target, batch.name, batch.weight)

    def moved(self, draw: Draw) -> Moved:
        """Source and target after their geometry but for flips and turns."""
        pair = self.pairs[draw.indices[0]]
        pictures = self.pictures(pair)
        seed = draw_seed(self.seed, draw.epoch, draw.place)
        called = f"pair {pair.name!r}"
        with naming(called):
            return Moved(*self.loader.moved(list(pictures), seed, self.scales), seed, pair.name, called)

    def pictures(self, pair: Pair) -> tuple[Picture, Picture]:
        """Both sides as they are stored."""
        if self.halves is None:
            return self.loader.read(pair.source), self.loader.read(pair.target)
        left, right = cut_in_half(self.loader.read(pair.source))
        return (left, right) if self.halves == "left" else (right, left)


class DegradedImages(PairedImages):
    """Pictures and what a degradation makes of them on the fly: other sources in every epoch, and no files of them.

    With a crop it is the crop that is degraded, so that a bicubic source has a border of its own, two pixels wide:
    `translate preprocess super-resolution` makes sources without.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        views: tuple[View, View],
        loader: Loader,
        seed: int,
        degradation: DegradationConfig,
        scale: int,
    ) -> None:
        super().__init__(pairs, views, loader, seed, None, scale)
        self.degradation, self.scale = degradation, scale

    def moved(self, draw: Draw) -> Moved:
        pair = self.pairs[draw.indices[0]]
        picture = self.loader.read(pair.target)
        with naming(pair.target):
            if picture.alpha is not None:
                raise ImageError("a picture with alpha cannot be degraded while training: remove it, or prepare pairs")
            height, width = (side // self.scale * self.scale for side in picture.pixels.shape[:2])
            seed = draw_seed(self.seed, draw.epoch, draw.place)
            (good,) = self.loader.augmentation([picture.pixels[:height, :width]], seed, [self.scale])
            bad = degrade(np.ascontiguousarray(good), self.degradation, self.scale, sample_seed(seed, 1))
        pictures = [Picture(pixels, None, picture.metadata) for pixels in (bad, good)]
        return Moved(pictures, UNMOVED, seed, pair.name, str(pair.target))


class UnpairedImages(Dataset[Unpaired]):
    """Two independent lists of pictures; each side has its own random geometry."""

    def __init__(
        self, a: Sequence[Path], b: Sequence[Path], views: tuple[View, View], loader: Loader, seed: int
    ) -> None:
        self.a, self.b, self.views, self.loader, self.seed = a, b, views, loader, seed
        self.lengths = (len(a), len(b))
        self.collate = collate_unpaired

    def __len__(self) -> int:
        return max(self.lengths)

    def __getitem__(self, draw: Draw) -> Unpaired:
        """In model space, (C, H, W)."""
        batch = self.to_model(self.batch([draw]))
        return Unpaired(batch.a[0], batch.b[0], batch.name_a, batch.name_b)

    def batch(self, draws: Sequence[Draw]) -> Unpaired:
        """As it travels to the device, where `to_model` takes it."""
        sides = [[self.moved(draw, side) for draw in draws] for side in (0, 1)]
        (a,), (b,) = (self.loader.batched(side, [view]) for side, view in zip(sides, self.views, strict=True))
        names_a, names_b = ([sample.name for sample in side] for side in sides)
        places_a, places_b = (self.loader.places(side) for side in sides)
        return Unpaired(a, b, names_a, names_b, places_a, places_b)

    def to_model(self, batch: Unpaired) -> Unpaired:
        """A batch in model space, on the device where it is. Batches that are there already stay as they are."""
        a = self.loader.on_arrival(batch.a, batch.places_a, self.views[0])
        b = self.loader.on_arrival(batch.b, batch.places_b, self.views[1])
        return Unpaired(a, b, batch.name_a, batch.name_b)

    def moved(self, draw: Draw, side: int) -> Moved:
        """A picture of a (0) or b (1) after its geometry but for flips and turns."""
        path = self.a[draw.indices[0]] if side == 0 else self.b[draw.indices[-1]]
        picture = self.loader.read(path)
        seed = draw_seed(self.seed, draw.epoch, draw.place, side)
        with naming(path):
            return Moved(*self.loader.moved([picture], seed), seed, path.stem, str(path))
