"""Pictures that a run would stumble over when it comes to them, found in their headers before it starts."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from translate.data.augment import resized
from translate.data.folders import shown
from translate.data.images import PictureInfo
from translate.data.splits import DataConfig, Split
from translate.metrics import SSIM_WINDOW, SWD_SMALLEST
from translate.recipe import ConfigError, Recipe
from translate.training.setup import Splits

Infos = Iterable[tuple[Path, PictureInfo]]


def check_pictures(recipe: Recipe, splits: Splits) -> None:
    """Refuse training pictures that cannot be in one batch, and validation pictures too small for their figures.

    Raises:
        ConfigError: naming some of them with their sizes.
    """
    _check_one_size(recipe, splits.train)
    if recipe.data.scale != 1 or recipe.data.kind == "degraded":
        _check_crop_fits(recipe.data, splits.train)
    if splits.val is not None:
        _check_measurable(recipe, splits.val)


def _check_one_size(recipe: Recipe, train: Split) -> None:
    data, training = recipe.data, recipe.training
    reasons = {
        "a batch": training.batch_size > 1,
        "unpaired data": data.kind == "unpaired",
        "the image pool": training.image_pool > 0,
    }
    reason = next((name for name, given in reasons.items() if given), None)
    on_device = data.augment_on == "device"  # whole pictures go there, and are cropped there
    if reason is None or (data.crop is not None and not on_device):
        return
    examples: dict[tuple[int, int], Path] = {}
    several = data.scale != 1  # the crops have one size if the sources have
    files = train.source.sources(train.pairs) if several else train.files()
    found = train.source.examples(files)
    for path, (height, width) in _source_sizes(data, found) if several else _sizes(data, found):
        examples.setdefault((height, width), path)
        if data.rotate90 and data.crop is None:
            examples.setdefault((width, height), path)
    if len(examples) > 1:
        listed = shown(f"{width} x {height} ({path.name})" for (height, width), path in examples.items())
        remedy = "data.augment_on to cpu, and data.crop" if on_device else "data.crop"
        raise ConfigError(f"{reason} needs training images of one size, got {listed} (W x H): set {remedy}")


def _check_crop_fits(data: DataConfig, train: Split) -> None:
    """Pictures of several scales are not padded to the crop."""
    files = train.source.sources(train.pairs)
    if not _too_small(data, train.source.examples(files)):
        return
    small = _too_small(data, _probed(train, files))
    raise ConfigError(
        f"{len(small)} sources in train/ are smaller than data.crop {data.crop}: {shown(small)} (W x H): lower it, "
        "or leave them out"
    )


def _too_small(data: DataConfig, files: Infos) -> list[str]:
    return [
        f"{path.name} ({width} x {height})"
        for path, (height, width) in _source_sizes(data, files)
        if data.crop and min(height, width) < data.crop
    ]


def _check_measurable(recipe: Recipe, val: Split) -> None:
    paired, count = recipe.data.kind != "unpaired", recipe.validation.images
    minimum, figure = (SSIM_WINDOW, "SSIM") if paired else (SWD_SMALLEST, "the sliced Wasserstein distance")
    files = [*(pair.target for pair in val.pairs[:count]), *val.a[:count], *val.b[:count]]
    small = [
        f"{path.name} ({width} x {height})"
        for path, (height, width) in _sizes(recipe.data, _probed(val, files))
        if min(height, width) < minimum
    ]
    if small:
        raise ConfigError(
            f"{len(small)} images in val/ are too small for {figure}, which needs sides of {minimum} pixels: "
            f"{shown(small)} (W x H): leave them out, or set data.resize"
        )


def _sizes(data: DataConfig, files: Infos) -> Iterable[tuple[Path, tuple[int, int]]]:
    """(H, W) of each picture as the model is shown it, before the crop."""
    halves = 2 if data.kind == "side_by_side" else 1
    multiple = data.scale if data.kind == "degraded" else 1  # what is over is cut off
    for path, info in files:
        height, width = resized(info.height, info.width // halves, data.resize, data.frame)
        yield path, (height // multiple * multiple, width // multiple * multiple)


def _source_sizes(data: DataConfig, files: Infos) -> Iterable[tuple[Path, tuple[int, int]]]:
    """(H, W) of each source of pairs; of kind degraded they are made of the targets."""
    divisor = data.scale if data.kind == "degraded" else 1
    for path, (height, width) in _sizes(data, files):
        yield path, (height // divisor, width // divisor)


def _probed(split: Split, files: Sequence[Path]) -> Infos:
    return ((path, split.source.probe(path)) for path in files)
