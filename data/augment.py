"""Joint geometric augmentation through albumentations, which nothing else in the project imports."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would otherwise ask the network for a newer version
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import albumentations
    import cv2


@dataclass(frozen=True, slots=True)
class Geometry:
    """What happens to the geometry of a training picture, in this order. Values are never changed.

    resize: length of the shorter side in pixels, the aspect is kept; None leaves the size.
    zoom: largest relative change of the scale, 0.1 for 0.9 to 1.1.
    rotate: largest rotation in degrees, either way; the border is reflected.
    crop: side of a random square in pixels, padded by reflection where the picture is smaller; None for the whole.
    flip, flip_vertical, rotate90: each with probability 1/2.
    """

    resize: int | None = None
    zoom: float = 0.0
    rotate: float = 0.0
    crop: int | None = None
    flip: bool = False
    flip_vertical: bool = False
    rotate90: bool = False


def resized(height: int, width: int, shorter: int | None) -> tuple[int, int]:
    """(H, W) of a picture whose shorter side was brought to `shorter` pixels, as SmallestMaxSize does it."""
    scale = shorter / min(height, width) if shorter else 1.0
    return max(1, round(height * scale)), max(1, round(width * scale))


class Augmentation:
    """The same random geometry for all pictures of a sample, a pure function of the seed.

    albumentations repeats its random numbers in workers and epochs (AlbumentationsX#266): each call therefore seeds it.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._compose: Any = None  # built in the process that uses it: workers start from the geometry alone

    def __call__(self, pictures: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
        """Transform arrays (H, W, C) of equal height and width alike. `seed` in [0, 2**32)."""
        if self._compose is None:
            self._compose = _compose(self.geometry)
        names = ["image", *(f"image{index}" for index in range(1, len(pictures)))]
        self._compose.set_random_seed(seed)
        changed = self._compose(**dict(zip(names, pictures, strict=True)))
        return [np.ascontiguousarray(changed[name]) for name in names]

    def __getstate__(self) -> dict[str, Any]:
        return {"geometry": self.geometry, "_compose": None}


def sample_seed(*numbers: int) -> int:
    """One 32-bit seed from (run seed, epoch, index, ...), well mixed: neighbours share nothing."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _compose(geometry: Geometry) -> Any:
    steps: list[Any] = []
    if geometry.resize:
        steps.append(albumentations.SmallestMaxSize(geometry.resize, interpolation=cv2.INTER_AREA))
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
        steps.append(albumentations.RandomRotate90(p=0.5))
    extra = {f"image{index}": "image" for index in range(1, 4)}
    return albumentations.Compose(steps, additional_targets=extra)
