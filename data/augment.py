"""Joint geometric augmentation through albumentations, which nothing else in the project imports."""

import os
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from translate.data.picture import ImageError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would otherwise ask the network for a newer version
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import albumentations
    import cv2


@dataclass(frozen=True, slots=True)
class Geometry:
    """What happens to the geometry of a training picture, in this order. Values are never changed.

    resize: length of the shorter side in pixels, the aspect is kept; None leaves the size.
    frame: the same for the longer side; at most one of both.
    zoom: largest relative change of the scale, 0.1 for 0.9 to 1.1.
    rotate: largest rotation in degrees, either way; the border is reflected.
    crop: side of a random square in pixels, padded by reflection where the picture is smaller; None for the whole.
        Of pictures of several scales it is the side in the smallest, and nothing is padded.
    flip, flip_vertical: each with probability 1/2.
    rotate90: by 0, 90, 180 or 270 degrees, all alike; with a flip every one of the eight positions is as likely.
    """

    resize: int | None = None
    frame: int | None = None
    zoom: float = 0.0
    rotate: float = 0.0
    crop: int | None = None
    flip: bool = False
    flip_vertical: bool = False
    rotate90: bool = False


def resized(height: int, width: int, shorter: int | None, longer: int | None = None) -> tuple[int, int]:
    """(H, W) of a picture whose shorter or longer side was brought to so many pixels, as albumentations does it."""
    scale = shorter / min(height, width) if shorter else longer / max(height, width) if longer else 1.0
    return max(1, round(height * scale)), max(1, round(width * scale))


class Augmentation:
    """The same random geometry for all pictures of a sample, a pure function of the seed.

    albumentations repeats its random numbers in workers and epochs (AlbumentationsX#266): each call therefore seeds it.
    Its steps share one stream: seeded each for itself they would all draw the same, and never flip one way alone.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._composed: dict[Geometry, Any] = {}  # built in the process that uses it: workers start from the geometry

    def __call__(
        self, pictures: Sequence[np.ndarray], seed: int, scales: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        """Transform arrays (H, W, C) alike.

        Args:
            pictures: of equal height and width; with `scales` each as many times larger as its scale says. Then only
                crop, flips and quarter turns are possible, which do not interpolate.
            seed: in [0, 2**32).
        """
        if scales is None:
            return self._together(pictures, self.geometry, seed)
        if self.geometry.crop:
            pictures = crop_alike(pictures, scales, self.geometry.crop, seed)
        rest = replace(self.geometry, crop=None)  # draws as much for a picture of any size, so that all move alike
        return [moved for picture in pictures for moved in self._together([picture], rest, seed)]

    def _together(self, pictures: Sequence[np.ndarray], geometry: Geometry, seed: int) -> list[np.ndarray]:
        if geometry not in self._composed:
            self._composed[geometry] = _compose(geometry)
        compose = self._composed[geometry]
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        names = ["image", *(f"image{index}" for index in range(1, len(pictures)))]
        changed = compose(**dict(zip(names, pictures, strict=True)))
        return [np.ascontiguousarray(changed[name]) for name in names]

    def __getstate__(self) -> dict[str, Any]:
        return {"geometry": self.geometry, "_composed": {}}


def crop_alike(pictures: Sequence[np.ndarray], scales: Sequence[int], side: int, seed: int) -> list[np.ndarray]:
    """Cut the same random square out of pictures of several scales: `side` pixels at scale 1, `scale * side` else.

    Raises:
        ImageError: a picture is smaller than that.
    """
    height, width = (length // scales[0] for length in pictures[0].shape[:2])
    if min(height, width) < side:
        raise ImageError(f"the picture has {width} x {height} pixels (W x H) at scale 1, and the crop {side}: lower it")
    rng = np.random.default_rng(sample_seed(seed, 2))  # apart from what the flips and the degradation draw
    top, left = (int(rng.integers(length - side + 1)) for length in (height, width))
    return [
        picture[top * scale : (top + side) * scale, left * scale : (left + side) * scale]
        for picture, scale in zip(pictures, scales, strict=True)
    ]


def sample_seed(*numbers: int) -> int:
    """One 32-bit seed from (run seed, epoch, index, ...), well mixed: neighbours share nothing."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _compose(geometry: Geometry) -> Any:
    steps: list[Any] = []
    if geometry.resize:
        steps.append(albumentations.SmallestMaxSize(geometry.resize, interpolation=cv2.INTER_AREA))
    if geometry.frame:
        steps.append(albumentations.LongestMaxSize(geometry.frame, interpolation=cv2.INTER_AREA))
    if geometry.zoom or geometry.rotate:
        steps.append(
            albumentations.Affine(
                scale=(1 - geometry.zoom, 1 + geometry.zoom),
                rotate=(-geometry.rotate, geometry.rotate),
                interpolation=cv2.INTER_LINEAR,
                border_mode=cv2.BORDER_REFLECT_101,
                p=1.0,
            )
        )
    if geometry.crop:
        steps.append(albumentations.PadIfNeeded(geometry.crop, geometry.crop, border_mode=cv2.BORDER_REFLECT_101))
        steps.append(albumentations.RandomCrop(geometry.crop, geometry.crop))
    if geometry.flip:
        steps.append(albumentations.HorizontalFlip(p=0.5))
    if geometry.flip_vertical:
        steps.append(albumentations.VerticalFlip(p=0.5))
    if geometry.rotate90:
        steps.append(albumentations.RandomRotate90(p=1.0))
    extra = {f"image{index}": "image" for index in range(1, 4)}
    return albumentations.Compose(steps, additional_targets=extra)
