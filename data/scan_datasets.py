"""Slices of scans as samples: with their neighbours as channels, or without clean targets, from themselves."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from translate.data.augment import draw_seed, sample_seed
from translate.data.batches import Paired, collate_paired
from translate.data.datasets import PairedImages
from translate.data.folders import Pair
from translate.data.loader import Loader, View
from translate.data.picture import ImageError, naming
from translate.data.sampling import Draw
from translate.data.scan_slices import neighbour_paths

BLIND_SHARE = 0.02  # of the pixels that are hidden from the network in a sample of BlindSpots
BLIND_REACH = 2  # pixels; a hidden one gets the value of another one at most so far away
ANATOMY_BLUR = 3.0  # pixels, standard deviation; noise is averaged away, what is left of a difference is anatomy
ANATOMY_LIMIT = 1.5  # times the median difference: more counts as other anatomy


class ScanSlices(PairedImages):
    """Registered pairs of slices; the source has its neighbours above and below as channels (2.5D)."""

    def __init__(
        self, pairs: Sequence[Pair], views: tuple[View, View], loader: Loader, seed: int, neighbours: int = 0
    ) -> None:
        super().__init__(pairs, views, loader, seed, None)
        self.neighbours = neighbours

    def __getitem__(self, draw: Draw) -> Paired:
        pair = self.pairs[draw.indices[0]]
        seed = draw_seed(self.seed, draw.epoch, draw.place)
        with naming(f"pair {pair.name!r}"):
            stack = np.dstack([self.slice(path) for path in neighbour_paths(pair.source, self.neighbours)])
            source, target = self.loader.augmentation([stack, self.slice(pair.target)], seed)
            return Paired(self.model(source, 0), self.model(target, 1), [pair.name])

    def batch(self, draws: Sequence[Draw]) -> Paired:
        """In model space already: values beyond the range are cut off first."""
        return collate_paired([self[draw] for draw in draws])

    def slice(self, path: object) -> np.ndarray:
        """(H, W, 1) as it is stored."""
        picture = self.loader.read(path)  # type: ignore[arg-type]
        if picture.pixels.shape[2] != 1 or picture.alpha is not None:
            raise ImageError("a slice has one channel and no alpha: prepare scans with translate preprocess scans")
        if picture.pixels.dtype != np.float32:
            raise ImageError(
                f"a slice holds physical values, float or int16, got the {picture.pixels.dtype} of a picture: prepare "
                "scans with translate preprocess scans"
            )
        return picture.pixels

    def model(self, pixels: np.ndarray, side: int) -> Tensor:
        """(C, H, W) in model space, cut off at the range of the source (0) or the target (1)."""
        range = self.views[side].range
        assert range is not None  # checked with the recipe
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return torch.from_numpy(range.to_model(np.clip(planes, range.low, range.high)))


class NeighbouringSlices(ScanSlices):
    """Two slices that are neighbours in space, one as the noisy target of the other.

    The noise of both must be independent (Noise2Noise, Lehtinen et al. 2018, arXiv:1803.04189; with neighbours: Niu et
    al. 2023, Noise2Sim, arXiv:2011.03384). Where their anatomy differs they do not count: where the difference of both,
    blurred, is more than `ANATOMY_LIMIT` times its median.
    """

    def __getitem__(self, draw: Draw) -> Paired:
        pair = self.pairs[draw.indices[0]]
        seed = draw_seed(self.seed, draw.epoch, draw.place)
        with naming(f"pair {pair.name!r}"):
            source, target = self.loader.augmentation([self.slice(pair.source), self.slice(pair.target)], seed)
        if np.random.default_rng(sample_seed(seed, 5)).random() < 0.5:
            source, target = target, source
        weight = torch.from_numpy(same_anatomy(source[..., 0], target[..., 0]))[None]
        return Paired(self.model(source, 0), self.model(target, 1), [pair.name], weight)


class BlindSpots(ScanSlices):
    """Slices in which some pixels are hidden, to be told from those around them (Noise2Void, arXiv:1811.10980).

    For noise that is independent from pixel to pixel, and no other.
    """

    def __getitem__(self, draw: Draw) -> Paired:
        pair = self.pairs[draw.indices[0]]
        seed = draw_seed(self.seed, draw.epoch, draw.place)
        with naming(f"pair {pair.name!r}"):
            (pixels,) = self.loader.augmentation([self.slice(pair.source)], seed)
        hidden, mask = hide_pixels(pixels[..., 0], sample_seed(seed, 6))
        weight = torch.from_numpy(mask.astype(np.float32))[None]
        return Paired(self.model(hidden[..., None], 0), self.model(pixels, 1), [pair.name], weight)


def same_anatomy(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(H, W) float32: 1 where two slices (H, W) show the same but for noise, else 0."""
    difference = np.abs(cv2.GaussianBlur(a.astype(np.float32) - b.astype(np.float32), (0, 0), ANATOMY_BLUR))
    return (difference <= ANATOMY_LIMIT * np.median(difference)).astype(np.float32)


def hide_pixels(pixels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A slice (H, W) in which some pixels have the value of another one nearby, and where (H, W) bool."""
    random = np.random.default_rng(seed)
    mask = random.random(pixels.shape) < BLIND_SHARE
    rows, columns = np.nonzero(mask)
    side = 2 * BLIND_REACH + 1
    shifts = random.integers(side**2 - 1, size=rows.size)
    shifts += shifts >= side**2 // 2  # the middle is no shift
    down, right = shifts // side - BLIND_REACH, shifts % side - BLIND_REACH
    height, width = pixels.shape
    hidden = pixels.copy()
    hidden[rows, columns] = pixels[_mirrored(rows + down, height), _mirrored(columns + right, width)]
    return hidden, mask


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Indices beyond an end, reflected there; the end itself is not repeated."""
    inside = np.abs(index)
    return np.where(inside < length, inside, 2 * (length - 1) - inside)
