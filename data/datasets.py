"""Prepared folders as data sets: how a file becomes a sample in model space."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from translate.data.augment import Augmentation, sample_seed
from translate.data.batches import Paired, Unpaired, collate_paired, collate_unpaired
from translate.data.cache import PictureCache
from translate.data.degrade import DegradationConfig, degrade
from translate.data.folders import Pair
from translate.data.images import ImageError, Picture, read_picture
from translate.data.intensity import IntensityRange, picture_to_tensor
from translate.data.picture import naming
from translate.data.sampling import Draw
from translate.data.tones import AS_IT_IS, Tones


@dataclass(frozen=True)
class View:
    """How one side is shown to the model: grey or colour, and what -1 and 1 mean (None: the file's dtype).

    clip: whether values beyond the range are cut off, as those of scans are.
    """

    channels: int
    range: IntensityRange | None
    clip: bool = False

    def tensor(self, pixels: np.ndarray, alpha: np.ndarray | None, picture: Picture) -> Tensor:
        """(C, H, W) in model space."""
        if self.clip and self.range:
            pixels = np.clip(pixels, self.range.low, self.range.high)
        return picture_to_tensor(Picture(pixels, alpha, picture.metadata), self.channels, self.range)[0]


@dataclass(frozen=True)
class Loader:
    """Reads a file or its cached copy, and changes pictures that belong together alike."""

    augmentation: Augmentation
    cache: PictureCache | None = None
    tones: Tones = AS_IT_IS

    def read(self, path: Path) -> Picture:
        return self.cache.read(path) if self.cache else read_picture(path)

    def tensors(
        self, pictures: list[Picture], views: list[View], seed: int, scales: list[int] | None = None
    ) -> list[Tensor]:
        """One tensor (C, H, W) a picture; they move alike, and have equal height and width but for their `scales`."""
        arrays = [picture.pixels for picture in pictures]
        arrays += [picture.alpha[..., None] for picture in pictures if picture.alpha is not None]
        if scales is not None:
            scales = scales + [s for s, picture in zip(scales, pictures, strict=True) if picture.alpha is not None]
        moved = self.augmentation(arrays, seed, scales)
        colours, rest = moved[: len(pictures)], iter(moved[len(pictures) :])
        alphas = [next(rest)[..., 0] if picture.alpha is not None else None for picture in pictures]
        return self.shown(colours, alphas, pictures, views, seed)

    def shown(
        self,
        colours: list[np.ndarray],
        alphas: list[np.ndarray | None],
        pictures: list[Picture],
        views: list[View],
        seed: int,
    ) -> list[Tensor]:
        """One tensor (C, H, W) for what became of the pixels (H, W, C) and the alpha (H, W) of each picture."""
        if all(alpha is None for alpha in alphas):
            colours = self.tones.mix(colours, seed)
        colours = self.tones.draw(colours, seed)
        sign = self.tones.sign(seed)
        return [
            sign * view.tensor(pixels, alpha, picture)
            for pixels, alpha, picture, view in zip(colours, alphas, pictures, views, strict=True)
        ]


class PairedImages(Dataset[Paired]):
    """Registered pairs. An item is asked for by its Draw, so that augmentation repeats with the seed alone."""

    collate: Callable[[list[Any]], Any]

    def __init__(
        self, pairs: list[Pair], views: tuple[View, View], loader: Loader, seed: int, halves: str | None, scale: int = 1
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
        pair = self.pairs[draw.indices[0]]
        pictures = self.pictures(pair)
        seed = sample_seed(self.seed, draw.epoch, draw.place)
        with naming(f"pair {pair.name!r}"):
            source, target = self.loader.tensors(list(pictures), list(self.views), seed, self.scales)
        return Paired(source, target, [pair.name])

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
        pairs: list[Pair],
        views: tuple[View, View],
        loader: Loader,
        seed: int,
        degradation: DegradationConfig,
        scale: int,
    ) -> None:
        super().__init__(pairs, views, loader, seed, None, scale)
        self.degradation, self.scale = degradation, scale

    def __getitem__(self, draw: Draw) -> Paired:
        pair = self.pairs[draw.indices[0]]
        picture = self.loader.read(pair.target)
        with naming(pair.target):
            if picture.alpha is not None:
                raise ImageError("a picture with alpha cannot be degraded while training: remove it, or prepare pairs")
            height, width = (side // self.scale * self.scale for side in picture.pixels.shape[:2])
            pixels = picture.pixels[:height, :width]
            seed = sample_seed(self.seed, draw.epoch, draw.place)
            (good,) = self.loader.augmentation([pixels], seed, [self.scale])
            bad = degrade(good, self.degradation, self.scale, sample_seed(seed, 1))
            views = list(self.views)
            source, target = self.loader.shown([bad, good], [None, None], [picture, picture], views, seed)
        return Paired(source, target, [pair.name])


class UnpairedImages(Dataset[Unpaired]):
    """Two independent lists of pictures; each side has its own random geometry."""

    def __init__(self, a: list[Path], b: list[Path], views: tuple[View, View], loader: Loader, seed: int) -> None:
        self.a, self.b, self.views, self.loader, self.seed = a, b, views, loader, seed
        self.lengths = (len(a), len(b))
        self.collate = collate_unpaired

    def __len__(self) -> int:
        return max(self.lengths)

    def __getitem__(self, draw: Draw) -> Unpaired:
        path_a, path_b = self.a[draw.indices[0]], self.b[draw.indices[-1]]
        a, b = (
            self._load(path, view, sample_seed(self.seed, draw.epoch, draw.place, side))
            for side, (path, view) in enumerate(zip((path_a, path_b), self.views, strict=True))
        )
        return Unpaired(a, b, [path_a.stem], [path_b.stem])

    def _load(self, path: Path, view: View, seed: int) -> Tensor:
        picture = self.loader.read(path)
        with naming(path):
            return self.loader.tensors([picture], [view], seed)[0]


def cut_in_half(picture: Picture) -> tuple[Picture, Picture]:
    """The left and the right half of a picture of even width."""
    width = picture.pixels.shape[1]
    if width % 2:
        raise ImageError(f"a side-by-side image needs an even width, got {width}: both halves must be of one size")
    alpha = picture.alpha
    return (
        Picture(picture.pixels[:, : width // 2], None if alpha is None else alpha[:, : width // 2], picture.metadata),
        Picture(picture.pixels[:, width // 2 :], None if alpha is None else alpha[:, width // 2 :], picture.metadata),
    )


def start_worker(_worker: int) -> None:
    """Start-up of a loader process: one thread, since it shares the cores with the training process.

    A Ctrl-C in the terminal reaches it too: the training process decides when to stop, and still needs its batch.
    SIGTERM keeps its meaning, by which the loader ends a worker.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
