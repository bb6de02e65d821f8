"""What the schema of a recipe alone cannot see: settings that do not fit one another."""

import logging
from pathlib import Path

from torch import nn

from translate.data.splits import DataConfig
from translate.objectives import OBJECTIVES
from translate.recipe import ConfigError, Recipe
from translate.sizes import padded_side

logger = logging.getLogger(__name__)


def check_recipe_fits(recipe: Recipe) -> None:
    """Refuse combinations of settings.

    Raises:
        ConfigError: naming the keys and what to set.
    """
    objective = OBJECTIVES[recipe.objective.name]
    judged = bool(objective.discriminator_channels(*recipe.data.network_channels))
    if judged != (recipe.discriminator is not None):
        raise ConfigError(
            f"objective.name {recipe.objective.name!r} needs {'a' if judged else 'no'} discriminator, and the recipe "
            f"has {'none: add a section discriminator' if judged else 'one: set discriminator to null'}"
        )
    wanted = objective.kind
    paired = recipe.data.kind != "unpaired"
    if paired != (wanted == "paired"):
        raise ConfigError(
            f"objective.name {recipe.objective.name!r} needs {wanted} data, got data.kind {recipe.data.kind!r}: "
            "choose another recipe or set data.kind"
        )
    if recipe.data.resize and recipe.data.frame:
        raise ConfigError(
            f"data.resize {recipe.data.resize} is for the shorter side and data.frame {recipe.data.frame} for the "
            "longer one: set one of them to null"
        )
    _check_judged(recipe, judged)
    _check_scale(recipe.data, recipe.objective.name)
    _check_tones(recipe.data)
    _check_drawings(recipe.data)
    _check_augment_on(recipe.data)
    _check_scans(recipe)
    if recipe.objective.name == "perceptual_gan" and not recipe.training.start_from:
        logger.warning("a GAN stage begins with a pixel stage: name its model with --training.start_from")
    for side in ("source", "target"):
        folder, wanted_range = getattr(recipe.data, side), getattr(recipe.data, f"{side}_range")
        if Path(folder).is_absolute():
            raise ConfigError(f"data.{side} must be the name of a folder in train/ and in val/, got {folder!r}")
        try:
            _ = wanted_range and wanted_range.build()
        except ValueError as error:
            raise ConfigError(f"data.{side}_range: {error}") from None


def _check_judged(recipe: Recipe, judged: bool) -> None:
    """Settings of what discriminators are shown."""
    if not judged and (recipe.instance_noise.sigma or recipe.augmentation.kind != "none"):
        raise ConfigError(
            f"objective.name {recipe.objective.name!r} has no discriminator that could be shown noise or augmented "
            "images: leave out instance_noise and augmentation"
        )
    group = getattr(recipe.discriminator, "minibatch_std", 0)
    if group and recipe.training.batch_size % group:
        raise ConfigError(
            f"discriminator.minibatch_std {group} needs groups of as many images, got training.batch_size "
            f"{recipe.training.batch_size}: choose a multiple of {group}"
        )


def _check_scale(data: DataConfig, objective: str) -> None:
    enlarging = data.scale != 1
    if (enlarging or data.kind == "degraded") and (data.resize or data.frame or data.zoom or data.rotate):
        raise ConfigError(
            "super-resolution needs pictures whose pixels stay as they are: leave out data.resize, data.frame, "
            "data.zoom and data.rotate"
        )
    if enlarging and data.kind not in ("paired", "degraded"):
        raise ConfigError(f"data.scale {data.scale} needs data.kind paired or degraded, got {data.kind!r}")
    if enlarging and not OBJECTIVES[objective].enlarges:
        able = ", ".join(name for name, build in OBJECTIVES.items() if build.enlarges)
        raise ConfigError(
            f"objective.name {objective!r} needs pictures of one size, got data.scale {data.scale}: choose {able}, or "
            "set data.scale to 1"
        )
    if data.kind == "degraded" and not enlarging and data.degradation.kind == "bicubic":
        raise ConfigError(
            "data.kind degraded with data.degradation.kind bicubic changes nothing at data.scale 1: set another scale, "
            "or data.degradation.kind real"
        )


def _check_tones(data: DataConfig) -> None:
    grey = data.source_channels == data.target_channels == 1
    if data.mix_channels and (not grey or data.source_range or data.target_range):
        raise ConfigError(
            "data.mix_channels mixes colours to grey: set data.source_channels and data.target_channels to 1, and "
            "leave out the ranges"
        )
    if data.invert and data.kind == "unpaired":
        raise ConfigError("data.invert changes both sides alike, and unpaired data has no two sides: leave it out")


def _check_drawings(data: DataConfig) -> None:
    if data.redraw and (data.kind not in ("paired", "side_by_side") or data.source_range or data.modality):
        raise ConfigError(
            f"data.redraw {data.redraw} changes the sources of pairs of pictures: it needs data.kind paired or "
            "side_by_side, and no data.source_range or data.modality; set it to 0"
        )


def _check_augment_on(data: DataConfig) -> None:
    whole = data.kind in ("paired", "side_by_side", "unpaired") and data.scale == 1
    if data.augment_on == "device" and (not whole or data.modality or data.redraw):
        raise ConfigError(
            "data.augment_on device moves pictures of one scale as they are: it needs data.kind paired, side_by_side "
            "or unpaired, data.scale 1, and no data.modality or data.redraw; set it to cpu"
        )


def _check_scans(recipe: Recipe) -> None:
    """Settings of slices of scans, and those that only they have."""
    data = recipe.data
    if recipe.validation.window is not None:
        _check_window(recipe)
    if data.modality is None:
        if data.neighbours or data.alone or data.target_modality:
            raise ConfigError(
                "data.neighbours, data.target_modality and data without targets need data.modality: CT, MR"
            )
        return
    ranges = (data.source_range, data.target_range)
    if data.source_channels != 1 or data.target_channels != 1 or None in ranges:
        raise ConfigError(
            f"data.modality {data.modality} is for slices of scans: set data.source_channels and data.target_channels "
            "to 1, and data.source_range and data.target_range"
        )
    if data.mix_channels or data.invert or data.scale != 1 or data.kind in ("side_by_side", "degraded"):
        raise ConfigError(
            f"data.modality {data.modality} needs data.kind paired, unpaired, neighbouring_slices or blind_spot, and "
            "cannot be used with data.mix_channels, data.invert or data.scale"
        )
    if data.neighbours and data.kind != "paired":
        raise ConfigError(
            f"data.neighbours {data.neighbours} needs data.kind paired, got {data.kind!r}: set data.neighbours to 0"
        )
    if data.alone and not OBJECTIVES[recipe.objective.name].weighted:
        able = ", ".join(name for name, build in OBJECTIVES.items() if build.weighted)
        raise ConfigError(
            f"data.kind {data.kind} needs an objective that weighs pixels, got {recipe.objective.name!r}: choose {able}"
        )


def _check_window(recipe: Recipe) -> None:
    window, range = recipe.validation.window, recipe.data.target_range
    assert window is not None
    if range is None or not window[0] < window[1]:
        raise ConfigError(
            f"validation.window {list(window)} needs low < high, in the units of data.target_range, which must be given"
        )


def check_networks(recipe: Recipe, generators: dict[str, nn.Module], discriminators: dict[str, nn.Module]) -> None:
    """Refuse networks that do not fit the data.

    Raises:
        ConfigError: the generators enlarge by another scale, or the crop is too small for a discriminator.
    """
    scales = {int(network.scale) for network in generators.values()}  # type: ignore[arg-type]
    if scales != {recipe.data.scale}:
        raise ConfigError(
            f"generator {recipe.generator.name!r} enlarges {scales.pop()} times, and data.scale is "
            f"{recipe.data.scale}: set generator.scale and data.scale alike"
        )
    _check_crop(recipe, generators, discriminators)


def _check_crop(recipe: Recipe, generators: dict[str, nn.Module], discriminators: dict[str, nn.Module]) -> None:
    """Training pictures must not be smaller than what a discriminator judges, after padding for the generators."""
    if recipe.data.crop is None:
        return
    for name, judge in discriminators.items():
        for generator in generators.values():
            side = padded_side(recipe.data.crop, int(generator.size_multiple), int(generator.size_minimum))  # type: ignore[arg-type]
            side *= recipe.data.scale
            if side < int(judge.size_minimum):  # type: ignore[arg-type]
                raise ConfigError(
                    f"data.crop {recipe.data.crop} gives pictures of {side} pixels, and the {name} needs at least "
                    f"{judge.size_minimum}: raise data.crop or choose fewer discriminator.layers"
                )
