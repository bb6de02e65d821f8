"""Stage 1 for super-resolution: pictures become pairs of a low-resolution source and a high-resolution target."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from translate.data.augment import sample_seed
from translate.data.degradation_steps import apply
from translate.data.degrade import DegradationConfig, draw
from translate.data.folders import shown
from translate.data.images import ImageError, Picture, PictureInfo, probe_picture
from translate.data.intensity import IntensityRange
from translate.data.resize import shrink
from translate.pipelines.preprocessing.dataset import Options, choose_splits, write_dataset
from translate.pipelines.preprocessing.folders import check_apart, unique_names, warn_of_splits
from translate.pipelines.preprocessing.items import Item, Opened
from translate.pipelines.preprocessing.ownership import origin_of

logger = logging.getLogger(__name__)
SCALES = (2, 3, 4, 8)
MARGIN = 8  # low-resolution pixels around a sub-image that are degraded with it, so that it has no border of its own


@dataclass(frozen=True)
class Making:
    """How pairs are made.

    scale: sides of the target divided by those of the source.
    tile: side of the sub-images that the targets are cut into, in pixels; None leaves them whole.
    reduce: factors by which each picture is first made smaller; [1, 2] gives two pictures of each. Photographs that
        are soft at full size make better targets when they are smaller. A reduced one that is smaller than a tile is
        left out.
    min_detail: sub-images whose neighbouring pixels differ by less, on average and in grey levels of 256, are left out:
        sky and blurred backgrounds, of which nothing can be learned.
    degradation: how the source is made of the target.
    """

    scale: int
    tile: int | None = None
    reduce: tuple[int, ...] = (1,)
    min_detail: float = 0.0
    degradation: DegradationConfig = field(default_factory=DegradationConfig)

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ImageError(f"the scale must be one of {', '.join(map(str, SCALES))}, got {self.scale}")
        if self.tile is not None and self.tile < 2 * self.scale:
            raise ImageError(
                f"a tile must have at least {2 * self.scale} pixels at scale {self.scale}, got {self.tile}"
            )
        if not self.reduce or min(self.reduce) < 1 or len(set(self.reduce)) < len(self.reduce):
            raise ImageError(f"pictures can be reduced by different factors of at least 1, got {list(self.reduce)}")
        if self.min_detail < 0:
            raise ImageError(f"the detail must be at least 0 grey levels, got {self.min_detail}: 0 keeps everything")


class Box(NamedTuple):
    """A part of a picture in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class HighResolution:
    """The target: a part of the reduced picture."""

    reduce: int
    box: Box
    min_detail: float

    @property
    def settings(self) -> str:
        return f"reduce={self.reduce} box={tuple(self.box)} min_detail={self.min_detail}"

    def __call__(self, opened: Opened) -> Picture | None:
        part = _cut(opened.reduced(self.reduce), self.box)
        return None if detail(part) < self.min_detail else part

    def facts(self) -> dict[str, Any]:
        return {"reduce": self.reduce, "box": list(self.box)}


@dataclass(frozen=True)
class LowResolution:
    """The source: the same part, degraded."""

    reduce: int
    box: Box
    min_detail: float
    scale: int
    degradation: DegradationConfig
    seed: int

    @property
    def settings(self) -> str:
        place = f"reduce={self.reduce} box={tuple(self.box)} min_detail={self.min_detail}"
        return f"{place} scale={self.scale} {self.degradation} seed={self.seed}"

    def __call__(self, opened: Opened) -> Picture | None:
        whole = opened.reduced(self.reduce)
        part = _cut(whole, self.box)
        if detail(part) < self.min_detail:
            return None
        if self.degradation.kind == "bicubic":
            return self._bicubic(whole)
        if whole.alpha is not None:
            raise ImageError("a real degradation knows no alpha: remove it, or use the bicubic degradation")
        size = (self.box.height // self.scale, self.box.width // self.scale)
        return Picture(apply(part.pixels, self._steps(), size), None, part.metadata)

    def facts(self) -> dict[str, Any]:
        plan = {} if self.degradation.kind == "bicubic" else {"degradation": self._steps()}
        return {"reduce": self.reduce, "box": list(self.box), **plan}

    def _bicubic(self, whole: Picture) -> Picture:
        """As if the whole picture had been reduced and then cut."""
        around = MARGIN * self.scale
        height, width = (side // self.scale * self.scale for side in whole.pixels.shape[:2])
        top, left = max(0, self.box.top - around), max(0, self.box.left - around)
        bottom = min(height, self.box.top + self.box.height + around)
        right = min(width, self.box.left + self.box.width + around)
        small = shrink(_cut(whole, Box(top, left, bottom - top, right - left)), self.scale)
        place = ((self.box.top - top) // self.scale, (self.box.left - left) // self.scale)
        return _cut(small, Box(*place, self.box.height // self.scale, self.box.width // self.scale))

    def _steps(self) -> list[dict[str, Any]]:
        return draw(self.degradation, self.scale, self.seed)


def prepare_super_resolution(
    folder: Path, output: Path, options: Options, making: Making, *, show_progress: bool = True
) -> dict[str, Any]:
    """Write OUT/{train,val}/{source,target}: sub-images of the pictures in `folder`, and what becomes of them.

    Sides are cut to multiples of the scale. The split is by picture, so that no sub-image of a picture in val/ is in
    train/. What `write_dataset` returns; a picture that is too small is among its problems.

    Raises:
        ImageError: the folder holds no pictures, or the output lies in it; options have a size, or two sub-images would
            have one name.
    """
    if options.size is not None:
        raise ImageError(f"pictures for super-resolution are reduced by Making.reduce, got size {options.size}")
    check_apart(output, folder)
    warn_of_splits(options, folder)
    files = unique_names(folder)
    splits = choose_splits(list(files), options)
    made = {name: list(_items(name, path, splits[name], making, options.seed)) for name, path in files.items()}
    if small := [name for name in made if not made[name]]:
        logger.warning("%d pictures are left out, smaller than a tile when reduced: %s", len(small), shown(small))
    items = [item for parts in made.values() for item in parts]
    if not items:
        raise ImageError(
            f"every picture in {folder} is smaller than the tile of {making.tile} when reduced by "
            f"{', '.join(map(str, making.reduce))}: give a smaller tile, or 1 among the reductions"
        )
    if doubled := [key for key, count in Counter(item.key for item in items).items() if count > 1]:
        raise ImageError(
            f"{len(doubled)} files would be written twice, {shown(doubled)}: a picture has the name that another gets "
            "when it is reduced, rename it"
        )
    facts = {
        "scale": making.scale,
        "tile": making.tile,
        "reduce": list(making.reduce),
        "min_detail": making.min_detail,
        "degradation": making.degradation.model_dump(mode="json"),
    }
    origin = origin_of("super-resolution", folder)
    return write_dataset(items, output, "paired", options, origin, facts=facts, show_progress=show_progress)


def detail(picture: Picture) -> float:
    """Mean absolute difference of neighbouring pixels, over both directions and all channels, in grey levels of 256."""
    values = picture.pixels.astype(np.float32)
    differences = [np.abs(np.diff(values, axis=axis)) for axis in (0, 1) if values.shape[axis] > 1]
    if not differences:
        return 0.0
    intensity = IntensityRange.of_dtype(picture.pixels.dtype)
    return float(np.mean([d.mean() for d in differences])) * 255 / (intensity.high - intensity.low)


def _items(name: str, path: Path, split: str, making: Making, seed: int) -> Iterator[Item]:
    """Source and target of every sub-image of a picture; of one that cannot be read, the two that will fail."""
    for factor in making.reduce:
        try:
            info = probe_picture(path)
            if factor > 1 and making.tile and min(info.height, info.width) // factor < making.tile:
                continue
            boxes = list(_boxes(info, factor, making))
        except ImageError:
            boxes = [Box(0, 0, making.scale, making.scale)]
        for box in boxes:
            part = name if factor == 1 else f"{name}_r{factor}"
            part = part if making.tile is None else f"{part}_{box.top}_{box.left}"
            own = sample_seed(seed, *os.fsencode(part))
            low = LowResolution(factor, box, making.min_detail, making.scale, making.degradation, own)
            yield Item(part, f"{split}/source", path, low)
            yield Item(part, f"{split}/target", path, HighResolution(factor, box, making.min_detail))


def _boxes(info: PictureInfo, factor: int, making: Making) -> Iterator[Box]:
    """The sub-images of a picture, evenly spaced, all pixels covered but those beyond a multiple of the scale."""
    spans = []
    for length in (info.height // factor, info.width // factor):
        usable = length // making.scale * making.scale
        side = min(usable, making.tile // making.scale * making.scale if making.tile else usable)
        count = -(-usable // side) if side else 0
        starts = np.linspace(0, usable - side, count).astype(int) // making.scale * making.scale
        spans.append((side, starts))
    (height, tops), (width, lefts) = spans
    if not len(tops) or not len(lefts):
        raise ImageError(f"{info.width} x {info.height} pixels are too few to be divided by {factor} x {making.scale}")
    for top in tops:
        for left in lefts:
            yield Box(int(top), int(left), height, width)


def _cut(picture: Picture, box: Box) -> Picture:
    """A part of a picture. Raises ImageError where it is too small for it."""
    rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
    pixels = picture.pixels[rows, columns]
    if pixels.shape[:2] != (box.height, box.width):
        raise ImageError(
            f"{picture.info.width} x {picture.info.height} pixels are too few for the scale and the reduction"
        )
    alpha = None if picture.alpha is None else picture.alpha[rows, columns]
    return Picture(pixels, alpha, picture.metadata)
