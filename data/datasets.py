"""Prepared folders as data sets: what is in them, and how a file becomes a sample in model space."""

import hashlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.utils.data import Dataset

from translate.data.augment import Augmentation, Geometry, sample_seed
from translate.data.batches import Paired, Unpaired, collate_paired, collate_unpaired
from translate.data.cache import PictureCache
from translate.data.folders import Pair, check_halves, check_sizes, list_images, pair_folders, side_by_side
from translate.data.images import ImageError, Picture, read_picture
from translate.data.intensity import IntensityRange, picture_to_tensor
from translate.data.picture import naming
from translate.data.sampling import Draw

Pixels = Annotated[int, Field(gt=0)]


class RangeConfig(BaseModel):
    """An IntensityRange in a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: float
    high: float
    units: str

    def build(self) -> IntensityRange:
        return IntensityRange(self.low, self.high, self.units)


class DataConfig(BaseModel):
    """Where the pictures are and how they are shown to the model. The folder holds train/ and, if wanted, val/."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["paired", "side_by_side", "unpaired"] = "paired"
    folder: Path | None = None  # given by --data
    source: str = "source"  # folder in train/ and val/ (side_by_side: the files lie in train/ and val/ themselves)
    target: str = "target"
    source_suffix: str = ""  # what source names end in beyond the common name: "x2", "_LR"
    target_suffix: str = ""
    source_on: Literal["left", "right"] = "left"  # side_by_side: the half that is the source
    source_channels: Literal[1, 3] = 3  # grey or colour, as the model sees it
    target_channels: Literal[1, 3] = 3
    source_range: RangeConfig | None = None  # what -1 and 1 mean; None: the limits of the file's dtype
    target_range: RangeConfig | None = None
    resize: Pixels | None = None  # shorter side, before everything else, in training and validation
    crop: Pixels | None = None  # side of a random square in training; None: whole pictures, all of one size
    zoom: float = Field(0.0, ge=0, lt=1)  # random scale, 0.1: from 0.9 to 1.1
    rotate: float = Field(0.0, ge=0, le=180)  # random rotation, largest angle in degrees
    flip: bool = True  # left-right
    flip_vertical: bool = False
    rotate90: bool = False
    workers: int = Field(2, ge=0)  # loader processes of each training process
    cache: bool = False  # decode once into FOLDER/cache, shared by workers and processes

    def training_geometry(self) -> Geometry:
        return Geometry(self.resize, self.zoom, self.rotate, self.crop, self.flip, self.flip_vertical, self.rotate90)


@dataclass(frozen=True)
class View:
    """How one side is shown to the model: grey or colour, and what -1 and 1 mean (None: the file's dtype)."""

    channels: int
    range: IntensityRange | None

    def tensor(self, pixels: np.ndarray, alpha: np.ndarray | None, picture: Picture) -> Tensor:
        """(C, H, W) in model space."""
        return picture_to_tensor(Picture(pixels, alpha, picture.metadata), self.channels, self.range)[0]


@dataclass(frozen=True)
class Loader:
    """Reads a file or its cached copy and applies one geometry to pictures that belong together."""

    augmentation: Augmentation
    cache: PictureCache | None = None

    def read(self, path: Path) -> Picture:
        return self.cache.read(path) if self.cache else read_picture(path)

    def tensors(self, pictures: list[Picture], views: list[View], seed: int) -> list[Tensor]:
        """One tensor (C, H, W) a picture; the pictures have equal height and width and move alike."""
        arrays = [picture.pixels for picture in pictures]
        arrays += [picture.alpha[..., None] for picture in pictures if picture.alpha is not None]
        moved = self.augmentation(arrays, seed)
        colours, alphas = moved[: len(pictures)], iter(moved[len(pictures) :])
        return [
            view.tensor(pixels, next(alphas)[..., 0] if picture.alpha is not None else None, picture)
            for pixels, picture, view in zip(colours, pictures, views, strict=True)
        ]


class PairedImages(Dataset[Paired]):
    """Registered pairs. An item is asked for by its Draw, so that augmentation repeats with the seed alone."""

    collate: Callable[[list[Any]], Any]

    def __init__(
        self, pairs: list[Pair], views: tuple[View, View], loader: Loader, seed: int, halves: str | None
    ) -> None:
        """`halves`: None for two files; "left" or "right", where the source is, for one file side by side."""
        self.pairs, self.views, self.loader, self.seed, self.halves = pairs, views, loader, seed, halves
        self.lengths = (len(pairs),)
        self.collate = collate_paired

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: Draw) -> Paired:
        pair = self.pairs[draw.indices[0]]
        pictures = self.pictures(pair)
        seed = sample_seed(self.seed, draw.epoch, draw.place)
        with naming(f"pair {pair.name!r}"):
            source, target = self.loader.tensors(list(pictures), list(self.views), seed)
        return Paired(source, target, [pair.name])

    def pictures(self, pair: Pair) -> tuple[Picture, Picture]:
        """Both sides as they are stored."""
        if self.halves is None:
            return self.loader.read(pair.source), self.loader.read(pair.target)
        left, right = cut_in_half(self.loader.read(pair.source))
        return (left, right) if self.halves == "left" else (right, left)


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


class Split(NamedTuple):
    """The files of train/ or val/: pairs, or two independent lists."""

    pairs: list[Pair]
    a: list[Path]
    b: list[Path]

    def files(self) -> list[Path]:
        return sorted({path for pair in self.pairs for path in (pair.source, pair.target)} | {*self.a, *self.b})

    def __str__(self) -> str:
        return f"{len(self.pairs)} pairs" if self.pairs else f"{len(self.a)} and {len(self.b)} images"

    def fingerprint(self, root: Path) -> str:
        """Changes when a file of the split comes, goes or changes its size in bytes."""
        digest = hashlib.sha256()
        for path in self.files():
            digest.update(os.fsencode(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\n"))
        return digest.hexdigest()[:16]


def find_split(config: DataConfig, name: str) -> Split | None:
    """List and check the files of a split; None if there is no such folder.

    Raises:
        ImageError: a side is missing or empty, files have no partner, or sizes do not fit.
    """
    folder = _root(config) / name
    if not folder.is_dir():
        return None
    if config.kind == "unpaired":
        return Split([], list_images(folder / config.source), list_images(folder / config.target))
    if config.kind == "side_by_side":
        pairs = side_by_side(folder)
        check_halves(pairs, split=name)
        return Split(pairs, [], [])
    pairs = pair_folders(
        folder / config.source,
        folder / config.target,
        source_suffix=config.source_suffix,
        target_suffix=config.target_suffix,
        split=name,
    )
    check_sizes(pairs, split=name)
    return Split(pairs, [], [])


def find_training(config: DataConfig) -> Split:
    """The training split, which must exist."""
    split = find_split(config, "train")
    if split is None:
        inside = config.source if config.kind != "side_by_side" else ""
        raise ImageError(
            f"{_root(config)} has no folder train/: give a prepared folder (translate preprocess makes one) "
            f"with train/{inside} and, for validation, val/{inside}"
        )
    return split


def build_dataset(
    config: DataConfig, split: Split, geometry: Geometry, seed: int, cache: PictureCache | None = None
) -> PairedImages | UnpairedImages:
    """The data set of a split under a geometry. From here on OpenCV has one thread in this process."""
    cv2.setNumThreads(1)  # its threads are lost in a fork, and a loader process would wait for them for ever
    ranges = (config.source_range, config.target_range)
    channels = (config.source_channels, config.target_channels)
    source, target = (View(c, r.build() if r else None) for c, r in zip(channels, ranges, strict=True))
    loader = Loader(Augmentation(geometry), cache)
    if config.kind == "unpaired":
        return UnpairedImages(split.a, split.b, (source, target), loader, seed)
    halves = config.source_on if config.kind == "side_by_side" else None
    return PairedImages(split.pairs, (source, target), loader, seed, halves)


def start_worker(_worker: int) -> None:
    """Start-up of a loader process: one thread, since it shares the cores with the training process.

    A Ctrl-C in the terminal or a scheduler's SIGTERM reaches it too: the training process decides when to stop, and
    still needs its batch.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _root(config: DataConfig) -> Path:
    if config.folder is None:
        raise ImageError("no data set was given: name its folder with --data DIR")
    if not config.folder.is_dir():
        what = "is a file" if config.folder.exists() else "does not exist"
        raise ImageError(f"the data set {config.folder} {what}: give a folder that translate preprocess made")
    return config.folder
