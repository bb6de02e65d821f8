"""What a prepared folder holds: the recipe's settings for it, and the files of its splits."""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from translate.data.augment import Geometry
from translate.data.degrade import DegradationConfig
from translate.data.folders import Pair, check_halves, check_sizes, list_images, pair_folders, side_by_side
from translate.data.images import ImageError
from translate.data.intensity import IntensityRange
from translate.data.scan_slices import next_slice
from translate.data.tones import Tones

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

    # degraded: sources are made of targets. neighbouring_slices, blind_spot: scans alone, without clean targets
    kind: Literal["paired", "side_by_side", "unpaired", "degraded", "neighbouring_slices", "blind_spot"] = "paired"
    folder: Path | None = None  # given by --data
    source: str = "source"  # folder in train/ and val/ (side_by_side: the files lie in train/ and val/ themselves)
    target: str = "target"
    source_suffix: str = ""  # what source names end in beyond the common name: "x2", "_LR"
    target_suffix: str = ""
    source_on: Literal["left", "right"] = "left"  # side_by_side: the half that is the source
    source_channels: Literal[1, 3] = 3  # grey or colour, as the model sees it
    target_channels: Literal[1, 3] = 3
    modality: str | None = None  # of scans: "CT", "MR"; values beyond the ranges are cut off; None: pictures
    target_modality: str | None = None  # where the model makes another one; None: the same
    neighbours: int = Field(0, ge=0, le=3)  # of scans: slices above and below that the model sees as channels (2.5D)
    scale: Literal[1, 2, 3, 4, 8] = 1  # of super-resolution: sides of the target divided by those of the source
    degradation: DegradationConfig = DegradationConfig()  # of kind degraded
    source_range: RangeConfig | None = None  # what -1 and 1 mean; None: the limits of the file's dtype
    target_range: RangeConfig | None = None
    resize: Pixels | None = None  # shorter side, before everything else, in training and validation
    frame: Pixels | None = None  # longer side, in place of resize: whole pictures at one scale
    crop: Pixels | None = None  # side of a random square of the source in training; None: whole pictures of one size
    zoom: float = Field(0.0, ge=0, lt=1)  # random scale, 0.1: from 0.9 to 1.1
    rotate: float = Field(0.0, ge=0, le=180)  # random rotation, largest angle in degrees
    flip: bool = True  # left-right
    flip_vertical: bool = False
    rotate90: bool = False  # by quarter turns
    mix_channels: bool = False  # of one channel: grey is a random mixture of R, G and B instead of luma
    invert: bool = False  # dark and bright of both sides change places, half the time
    redraw: float = Field(0.0, ge=0, le=1)  # of drawings, sources alone: random line weight, tone, softness and grain
    workers: int = Field(2, ge=0)  # loader processes of each training process
    cache: bool = False  # decode once into FOLDER/cache, shared by workers and processes

    @property
    def network_channels(self) -> tuple[int, int]:
        """Channels that a network takes and gives: those of the source with its neighbours, and of the target."""
        return self.source_channels * (1 + 2 * self.neighbours), self.target_channels

    @property
    def alone(self) -> bool:
        """Whether there are scans without targets, which are trained from themselves."""
        return self.kind in ("neighbouring_slices", "blind_spot")

    def training_geometry(self) -> Geometry:
        return Geometry(
            self.resize,
            self.frame,
            self.zoom,
            self.rotate,
            self.crop,
            self.flip,
            self.flip_vertical,
            self.rotate90,
        )

    def training_tones(self) -> Tones:
        return Tones(self.mix_channels, self.invert, self.redraw)


class Split(NamedTuple):
    """The files of train/ or val/: pairs, or two independent lists. `alone`: the pairs have no clean targets."""

    pairs: list[Pair]
    a: list[Path]
    b: list[Path]
    alone: bool = False

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
    if config.kind == "side_by_side":
        pairs = side_by_side(folder)
        check_halves(pairs, split=name)
        return Split(pairs, [], [])
    if config.kind == "degraded":
        return Split(side_by_side(_side(folder, config.target, "target")), [], [])
    if config.alone and not (name == "val" and (folder / config.target).is_dir()):
        return Split(_alone(config, _side(folder, config.source, "source")), [], [], alone=True)
    source, target = (_side(folder, getattr(config, side), side) for side in ("source", "target"))
    if config.kind == "unpaired":
        return Split([], list_images(source), list_images(target))
    pairs = pair_folders(
        source, target, source_suffix=config.source_suffix, target_suffix=config.target_suffix, split=name
    )
    check_sizes(pairs, scale=config.scale, split=name)
    return Split(pairs, [], [])


def _alone(config: DataConfig, folder: Path) -> list[Pair]:
    """Slices paired with the next ones of their scan, or with themselves to tell hidden pixels from."""
    if config.kind == "blind_spot":
        return side_by_side(folder)
    following = [(path, next_slice(path)) for path in list_images(folder)]
    pairs = [
        Pair(path.relative_to(folder).with_suffix("").as_posix(), path, after) for path, after in following if after
    ]
    if not pairs:
        raise ImageError(
            f"no two of the {len(following)} slices in {folder} are neighbours in space: data.kind neighbouring_slices "
            "needs consecutive slices"
        )
    return pairs


def _side(split: Path, name: str, key: str) -> Path:
    """The folder of one side, which must be there."""
    if (split / name).is_dir():
        return split / name
    there = sorted(path.name for path in split.iterdir() if path.is_dir() and not path.name.startswith("."))
    raise ImageError(
        f"{split} has no folder {name!r}, it has {', '.join(there) or 'no folders'}: name yours with --data.{key}, or "
        "choose a recipe for its kind (pix2pix for pairs, cyclegan for unpaired images)"
    )


def find_training(config: DataConfig) -> Split:
    """The training split, which must exist."""
    split = find_split(config, "train")
    if split is None:
        inside = {"side_by_side": "", "degraded": config.target}.get(config.kind, config.source)
        raise ImageError(
            f"{_root(config)} has no folder train/: give a prepared folder (translate preprocess makes one) "
            f"with train/{inside} and, for validation, val/{inside}"
        )
    return split


def _root(config: DataConfig) -> Path:
    if config.folder is None:
        raise ImageError("no data set was given: name its folder with --data DIR")
    if not config.folder.is_dir():
        what = "is a file" if config.folder.exists() else "does not exist"
        raise ImageError(f"the data set {config.folder} {what}: give a folder that translate preprocess made")
    return config.folder
