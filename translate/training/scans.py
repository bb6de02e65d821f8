"""What a run must know of the scans that it trains on, and the intensity contract that its model carries."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from translate.contract import IntensityContract
from translate.data.splits import Split
from translate.noise_statistics import SOFT_TISSUE, check_noise_assumption, measure_noise_correlation
from translate.recipe import ConfigError, Recipe

logger = logging.getLogger(__name__)
SLICES_MEASURED = 8  # of which the correlation of the noise is measured


def contract_of(recipe: Recipe) -> IntensityContract | None:
    """The contract of a recipe for scans, with what its data set says of them; None for pictures.

    Raises:
        ConfigError: the data set holds scans of another modality, or in other units.
    """
    data = recipe.data
    if data.modality is None:
        return None
    assert data.folder is not None
    assert data.source_range is not None
    facts = scan_facts(data.folder)
    for key, wanted in (("modality", data.modality), ("units", data.source_range.units)):
        if facts.get(key, wanted) != wanted:
            raise ConfigError(
                f"{data.folder} holds scans whose {key} is {facts[key]!r}, and the recipe is for {wanted!r}: choose a "
                "recipe for them, or set data.modality and both ranges"
            )
    bound = recipe.generator.model_dump().get("largest_change")
    range = data.source_range.build()
    return IntensityContract.of(
        range,
        modality=data.modality,
        spacing=_span(facts.get("spacing")),
        thickness=_span(facts.get("thickness")),
        kernels=_kernels(facts),
        neighbours=data.neighbours,
        largest_change=bound and bound * (range.high - range.low) / 2,
        output_modality=data.target_modality,
    )


def check_scans(recipe: Recipe, train: Split) -> IntensityContract | None:
    """What can be known before a run for scans starts; a warning where its contract will know little.

    Returns:
        The contract of its model; None for pictures.

    Raises:
        ConfigError: the data set is of another modality or in other units, or its noise is not what the recipe needs.
    """
    contract = contract_of(recipe)
    if contract is None:
        return None
    assert recipe.data.folder is not None
    if not scan_facts(recipe.data.folder):
        logger.warning(
            "%s has no dataset.json that describes its scans: the model will not know their pixel size, slice "
            "thickness and kernel, and take any; translate preprocess scans writes it",
            recipe.data.folder,
        )
    check_noise(recipe, train)
    return contract


def scan_facts(folder: Path) -> dict[str, Any]:
    """What dataset.json says of the scans of train/; nothing where there is no such file or it does not tell."""
    manifest = folder / "dataset.json"
    if not manifest.is_file():
        return {}
    try:
        facts = json.loads(manifest.read_text(encoding="utf-8"))["splits"]["train"].get("scans") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{manifest} is damaged: prepare the data set again") from None
    return dict(facts)


def check_noise(recipe: Recipe, train: Split) -> None:
    """Measure whether the noise is as independent as training without clean targets takes for granted.

    Raises:
        ConfigError: it is not; the message says what was measured.
    """
    kind = recipe.data.kind
    if kind not in ("neighbouring_slices", "blind_spot"):
        return
    files = _consecutive(train)
    assert recipe.data.source_range is not None
    inside = SOFT_TISSUE if recipe.data.source_range.units == "HU" else None
    try:
        correlation = measure_noise_correlation(
            np.stack([train.source.read(path).pixels[..., 0] for path in files]), inside=inside
        )
        check_noise_assumption(kind, correlation)
    except ValueError as error:
        raise ConfigError(
            f"data.kind {kind}, measured in {len(files)} slices from {files[0].name} on: {error}"
        ) from None


def _consecutive(train: Split) -> list[Path]:
    """Slices in the middle of the split; neighbours in space where the pairs are made of neighbours."""
    middle = max(0, len(train.pairs) // 2 - SLICES_MEASURED // 2)
    chosen = train.pairs[middle : middle + SLICES_MEASURED]
    files = [chosen[0].source]
    for pair in chosen:
        if pair.source == pair.target:
            files.append(pair.source)
        elif pair.source == files[-1]:
            files.append(pair.target)
        else:  # another scan begins
            break
    return list(dict.fromkeys(files))


def _kernels(facts: dict[str, Any]) -> tuple[str, ...] | None:
    """Whose noise was trained on; None where it was simulated of any kernel, or nothing is known."""
    noise = facts.get("noise") or {}
    return tuple(facts["kernels"]) if facts.get("kernels") and not noise.get("any_kernel") else None


def _span(limits: Any) -> tuple[float, float] | None:
    return (float(limits[0]), float(limits[1])) if limits else None
