"""Joint random geometry of the pictures of a sample. albumentations turns and zooms; nothing else imports it."""

import hashlib
import os
import random
import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from translate.data.picture import ImageError

TURNS = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)  # by 1, 2 and 3 quarters


@dataclass(frozen=True, slots=True)
class Geometry:
    """What happens to the geometry of a training picture, in this order. Values are never changed.

    resize: length of the shorter side in pixels, the aspect is kept; None leaves the size.
    frame: the same for the longer side; at most one of both.
    zoom: largest relative change of each side's scale, 0.1 for 0.9 to 1.1.
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


class Moves(NamedTuple):
    """What a seed draws of crop, flips and quarter turns.

    down, across: where the crop begins, from 0 to below 1 of the places that it can begin at.
    turns: quarters, counter-clockwise, after the flips.
    """

    down: float
    across: float
    flip: bool
    flip_vertical: bool
    turns: int

    def place(self, height: int, width: int, side: int) -> tuple[int, int]:
        """Top and left of a crop with this side, in pixels; 0 where the picture has no room for it."""
        return int(self.down * max(1, height - side + 1)), int(self.across * max(1, width - side + 1))

    @property
    def flip_code(self) -> int | None:
        """OpenCV's name of the flips; None for none."""
        if self.flip:
            return -1 if self.flip_vertical else 1
        return 0 if self.flip_vertical else None


UNMOVED = Moves(0.0, 0.0, False, False, 0)


def draw_moves(geometry: Geometry, seed: int) -> Moves:
    """A pure function of the seed, the same for a picture of any size."""
    # Five numbers of a hash: a generator that is seeded for each sample takes most of a sample's time.
    drawn = struct.unpack("<5I", hashlib.blake2b(struct.pack("<I", seed), digest_size=20).digest())
    return Moves(
        drawn[0] / 2**32,
        drawn[1] / 2**32,
        geometry.flip and drawn[2] < 2**31,
        geometry.flip_vertical and drawn[3] < 2**31,
        drawn[4] % 4 if geometry.rotate90 else 0,
    )


def resized(height: int, width: int, shorter: int | None, longer: int | None = None) -> tuple[int, int]:
    """(H, W) of a picture whose shorter or longer side was brought to so many pixels."""
    scale = shorter / min(height, width) if shorter else longer / max(height, width) if longer else 1.0
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_array(array: np.ndarray, shorter: int | None, longer: int | None = None) -> np.ndarray:
    """(H, W, C) with one side of that length, by area where it becomes smaller; the same object where it is so."""
    if shorter == min(array.shape[:2]) or longer == max(array.shape[:2]):
        return array
    height, width = resized(array.shape[0], array.shape[1], shorter, longer)
    if array.shape[:2] == (height, width):
        return array
    return _by_channels(array, lambda part: cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA))


def by_planes(array: np.ndarray) -> bool:
    """Whether the planes of (H, W, C) lie one after another, as a cache keeps them, which saves parting them."""
    return array.strides[1] == array.itemsize


def _by_channels(array: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Change (H, W, C) by OpenCV, which takes at most 4 channels, pixel by pixel, and drops the axis of one."""
    if by_planes(array):
        return np.stack([change(plane) for plane in array.transpose(2, 0, 1)]).transpose(1, 2, 0)
    parts = [change(array[..., first : first + 4]) for first in range(0, array.shape[2], 4)]
    stacked = [part[..., None] if part.ndim == 2 else part for part in parts]
    return stacked[0] if len(stacked) == 1 else np.concatenate(stacked, axis=2)


class Augmentation:
    """The same random geometry for all pictures of a sample, a pure function of the seed."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._affine: Any = None  # built in the process that uses it: workers start from the geometry

    def __call__(
        self, pictures: Sequence[np.ndarray], seed: int, scales: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        """Transform arrays (H, W, C) alike. What nothing happens to is a view of what was given.

        Args:
            pictures: of equal height and width; with `scales` each as many times larger as its scale says. Then only
                crop, flips and quarter turns are possible, which do not interpolate.
            seed: in [0, 2**32).
        """
        cropped, moves = self.cropped(pictures, seed, scales)
        return [turned(picture, moves) for picture in cropped]

    def cropped(
        self, pictures: Sequence[np.ndarray], seed: int, scales: Sequence[int] | None = None
    ) -> tuple[Sequence[np.ndarray], Moves]:
        """All but the flips and quarter turns, and what these are: they can be done while a picture is copied."""
        geometry = self.geometry
        if scales is None:
            pictures = [resize_array(picture, geometry.resize, geometry.frame) for picture in pictures]
            if geometry.zoom or geometry.rotate:
                pictures = self._turned_and_zoomed(pictures, seed)
        moves = draw_moves(geometry, seed)
        if geometry.crop:
            pictures = crop_alike(pictures, scales, geometry.crop, moves)
        return pictures, moves

    def _turned_and_zoomed(self, pictures: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
        """By albumentations, which repeats its random numbers in workers and epochs (AlbumentationsX#266).

        Each call therefore seeds it, apart from what the moves draw.
        """
        if self._affine is None:
            self._affine = _affine(self.geometry)
        own = sample_seed(seed, 7)
        self._affine.set_random_state(np.random.default_rng(own), random.Random(own))
        names = ["image", *(f"image{index}" for index in range(1, len(pictures)))]
        changed = self._affine(**dict(zip(names, map(np.ascontiguousarray, pictures), strict=True)))
        return [changed[name] for name in names]

    def __getstate__(self) -> dict[str, Any]:
        return {"geometry": self.geometry, "_affine": None}


def crop_alike(
    pictures: Sequence[np.ndarray], scales: Sequence[int] | None, side: int, moves: Moves
) -> list[np.ndarray]:
    """Cut the same square out of pictures (H, W, C): `side` pixels at scale 1, `scale * side` else.

    Args:
        scales: None for pictures of one size, which are padded by reflection where they are smaller.

    Raises:
        ImageError: a picture of several scales is smaller than that.
    """
    height, width = (length // (scales[0] if scales else 1) for length in pictures[0].shape[:2])
    if min(height, width) < side:
        if scales:
            raise ImageError(
                f"the picture has {width} x {height} pixels (W x H) at scale 1, and the crop {side}: lower it"
            )
        pictures = [_padded(picture, side) for picture in pictures]
    top, left = moves.place(height, width, side)
    return [
        picture[top * scale : (top + side) * scale, left * scale : (left + side) * scale]
        for picture, scale in zip(pictures, scales or [1] * len(pictures), strict=True)
    ]


def turned_shape(shape: tuple[int, ...], moves: Moves) -> tuple[int, ...]:
    """(H, W, C) of what quarter turns make of a picture (H, W, C)."""
    return (shape[1], shape[0], shape[2]) if moves.turns % 2 else shape


def turned(picture: np.ndarray, moves: Moves) -> np.ndarray:
    """Flips, then quarter turns, of (H, W, C). By OpenCV: views that run backwards are 10 times slower to read."""
    if moves.flip_code is not None:
        code = moves.flip_code
        picture = _by_channels(picture, lambda part: cv2.flip(part, code))
    if moves.turns:
        picture = _by_channels(picture, lambda part: cv2.rotate(part, TURNS[moves.turns - 1]))
    return picture


def sample_seed(*numbers: int) -> int:
    """One 32-bit seed from (run seed, epoch, index, ...), well mixed: neighbours share nothing."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def draw_seed(*numbers: int) -> int:
    """Such a seed ten times as fast, for what is asked for with each sample. Numbers from 0 to below 2**64."""
    return int.from_bytes(hashlib.blake2b(struct.pack(f"<{len(numbers)}Q", *numbers), digest_size=4).digest())


def _padded(picture: np.ndarray, side: int) -> np.ndarray:
    """(H, W, C) with no side shorter than that, the picture in the middle."""
    height, width, channels = picture.shape
    down, across = max(0, side - height), max(0, side - width)
    edges = (down // 2, down - down // 2, across // 2, across - across // 2)
    padded = cv2.copyMakeBorder(np.ascontiguousarray(picture), *edges, borderType=cv2.BORDER_REFLECT_101)
    return padded.reshape(height + down, width + across, channels)


def _affine(geometry: Geometry) -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would otherwise ask the network for a newer one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import albumentations

    step = albumentations.Affine(
        scale=(1 - geometry.zoom, 1 + geometry.zoom),
        rotate=(-geometry.rotate, geometry.rotate),
        interpolation=cv2.INTER_LINEAR,
        border_mode=cv2.BORDER_REFLECT_101,
        p=1.0,
    )
    extra = {f"image{index}": "image" for index in range(1, 4)}
    return albumentations.Compose([step], additional_targets=extra)
