"""What a prepared folder holds: the recipe's settings for it, and the files of its splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from translate.data.augment import Geometry
from translate.data.degrade import DegradationConfig
from translate.data.folders import Pair
from translate.data.images import ImageError
from translate.data.intensity import IntensityRange
from translate.data.scan_slices import next_slice
from translate.data.sources import FOLDER, FileSource, open_source
from translate.data.tones import Tones
from translate.data.working_size import WorkingSize

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
    augment_on: Literal["cpu", "device"] = "cpu"  # where zoom, rotate, crop, flips and quarter turns are computed
    workers: int | None = Field(None, ge=0)  # loader processes of a training process; 0: a thread; None: see processes
    cache: bool = False  # decode once into FOLDER/cache, shared by workers and processes
    cache_limit: float = Field(64.0, gt=0)  # GiB that the decoded pictures may take

    @property
    def network_channels(self) -> tuple[int, int]:
        """Channels that a network takes and gives: those of the source with its neighbours, and of the target."""
        return self.source_channels * (1 + 2 * self.neighbours), self.target_channels

    @property
    def alone(self) -> bool:
        """Whether there are scans without targets, which are trained from themselves."""
        return self.kind in ("neighbouring_slices", "blind_spot")

    def processes(self, device: str) -> int:
        """Loader processes: those asked for, else 2 where files are decoded for a GPU.

        On a CPU, and with the cache, handing a batch over from another process costs more than a thread.
        """
        if self.workers is not None:
            return self.workers
        return 0 if self.cache or device == "cpu" else 2

    def working_size(self) -> WorkingSize:
        return WorkingSize(self.resize, self.frame, self.kind == "side_by_side")

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

    pairs: Sequence[Pair]
    a: Sequence[Path]
    b: Sequence[Path]
    alone: bool = False
    source: FileSource = FOLDER  # where they are read from

    def files(self) -> Sequence[Path]:
        return self.source.files(self.pairs, self.a, self.b)

    def __str__(self) -> str:
        return f"{len(self.pairs)} pairs" if self.pairs else f"{len(self.a)} and {len(self.b)} images"

    def fingerprint(self, root: Path) -> str:
        """Changes when a file of the split comes, goes or changes its size in bytes."""
        return self.source.fingerprint(self.files(), root)


def find_split(config: DataConfig, name: str) -> Split | None:
    """List and check the files of a split; None if there is no such folder.

    Raises:
        ImageError: a side is missing or empty, files have no partner, or sizes do not fit; shards are damaged.
    """
    root = _root(config)
    files, folder = open_source(root), root / name
    if not files.is_folder(folder):
        return None
    if config.kind == "side_by_side":
        pairs = files.singles(folder)
        files.check_halves(pairs, name)
        return Split(pairs, [], [], source=files)
    if config.kind == "degraded":
        return Split(files.singles(_side(files, folder, config.target, "target")), [], [], source=files)
    if config.alone and not (name == "val" and files.is_folder(folder / config.target)):
        return Split(_alone(config, files, _side(files, folder, config.source, "source")), [], [], True, files)
    source, target = (_side(files, folder, getattr(config, side), side) for side in ("source", "target"))
    if config.kind == "unpaired":
        return Split([], files.images(source), files.images(target), source=files)
    if config.neighbours:
        _check_on_disk(files, root, f"data.neighbours {config.neighbours}")
    pairs = files.pairs(source, target, (config.source_suffix, config.target_suffix), name)
    files.check_sizes(pairs, config.scale, name)
    return Split(pairs, [], [], source=files)


def _alone(config: DataConfig, files: FileSource, folder: Path) -> Sequence[Pair]:
    """Slices paired with the next ones of their scan, or with themselves to tell hidden pixels from."""
    if config.kind == "blind_spot":
        return files.singles(folder)
    _check_on_disk(files, _root(config), f"data.kind {config.kind}")
    following = [(path, next_slice(path)) for path in files.images(folder)]
    pairs = [
        Pair(path.relative_to(folder).with_suffix("").as_posix(), path, after) for path, after in following if after
    ]
    if not pairs:
        raise ImageError(
            f"no two of the {len(following)} slices in {folder} are neighbours in space: data.kind neighbouring_slices "
            "needs consecutive slices"
        )
    return pairs


def _check_on_disk(files: FileSource, root: Path, setting: str) -> None:
    if files is not FOLDER:
        raise ImageError(
            f"{setting} looks for the slices beside a slice in a folder, and {root} holds shards: give the folder that "
            "they were packed from"
        )


def _side(files: FileSource, split: Path, name: str, key: str) -> Path:
    """The folder of one side, which must be there."""
    if files.is_folder(split / name):
        return split / name
    raise ImageError(
        f"{split} has no folder {name!r}, it has {', '.join(files.folders(split)) or 'no folders'}: name yours with "
        f"--data.{key}, or choose a recipe for its kind (pix2pix for pairs, cyclegan for unpaired images)"
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
