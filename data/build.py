"""Which data set the recipe's settings ask for."""

from dataclasses import replace

import cv2

from translate.data.augment import Augmentation, Geometry
from translate.data.cache import PictureCache
from translate.data.datasets import DegradedImages, PairedImages, UnpairedImages
from translate.data.loader import Loader, View
from translate.data.scan_datasets import BlindSpots, NeighbouringSlices, ScanSlices
from translate.data.splits import DataConfig, Split
from translate.data.tones import AS_IT_IS, Tones


def build_dataset(
    config: DataConfig,
    split: Split,
    geometry: Geometry,
    seed: int,
    cache: PictureCache | None = None,
    tones: Tones | None = None,
) -> PairedImages | UnpairedImages:
    """The data set of a split under a geometry and tones. From here on OpenCV has one thread in this process."""
    cv2.setNumThreads(1)  # its threads are lost in a fork, and a loader process would wait for them for ever
    ranges = (config.source_range, config.target_range)
    channels = (config.source_channels, config.target_channels)
    clip = config.modality is not None
    source, target = (View(c, r.build() if r else None, clip) for c, r in zip(channels, ranges, strict=True))
    views = (source, target)
    here, there = geometry, None
    if config.augment_on == "device":
        here = Geometry(resize=geometry.resize, frame=geometry.frame)
        there = replace(geometry, resize=None, frame=None)
    loader = Loader(
        Augmentation(here), cache or split.source, tones or AS_IT_IS, there if there != Geometry() else None
    )
    if config.kind == "unpaired":
        return UnpairedImages(split.a, split.b, views, loader, seed)
    if split.alone:
        alone = NeighbouringSlices if config.kind == "neighbouring_slices" else BlindSpots
        return alone(split.pairs, views, loader, seed)
    if config.modality and config.kind == "paired":
        return ScanSlices(split.pairs, views, loader, seed, config.neighbours)
    if config.kind == "degraded":
        return DegradedImages(split.pairs, views, loader, seed, config.degradation, config.scale)
    halves = config.source_on if config.kind == "side_by_side" else None
    return PairedImages(split.pairs, views, loader, seed, halves, config.scale)
