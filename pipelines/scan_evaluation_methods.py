"""What is measured side by side: a model, doing nothing, and classical methods that were tuned on other patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from translate.noise_statistics import SOFT_TISSUE
from translate.pipelines.classical import METHODS, settings_to_json, tune
from translate.pipelines.inference.scan_denoising import ScanDenoising
from translate.pipelines.scan_evaluation_cases import Case, spread
from translate.scan_metrics import Preset

TUNED_ON = 8  # slices; more hardly change the settings
BLIND = "not tuned: settings for noise alone"


@dataclass(frozen=True)
class Method:
    """Something that denoises.

    Args:
        denoise: from a slice float32 (H, W) in the middle of its neighbours, all in units, to that slice denoised.
        facts: what it is, for reports.
    """

    denoise: Callable[[list[np.ndarray]], np.ndarray]
    facts: dict[str, Any] = field(default_factory=dict)


def model_method(pipeline: ScanDenoising) -> Method:
    """The model as it is applied to a scan, before values are rounded for a file."""

    def denoise(around: list[np.ndarray]) -> np.ndarray:
        prepared = pipeline.prepare(around)
        return pipeline.finish(pipeline.run(prepared.images), prepared)

    return Method(denoise, {"name": pipeline.title, "fingerprint": pipeline.fingerprint()})


def do_nothing() -> Method:
    """The source as it is."""
    return Method(lambda around: around[len(around) // 2])


def baselines(tuned: list[Case], presets: list[Preset], units: str) -> dict[str, Method]:
    """Non-local means and total variation, with the settings of the highest PSNR on these cases; none: blind settings.

    Tuned are up to 8 slices, evenly from all patients, by the first preset of whole slices.

    Raises:
        ScanError: scikit-image is missing.
        ValueError: all presets need a mask.
    """
    inside = SOFT_TISSUE if units == "HU" else None
    preset = next((preset for preset in presets if not preset.needs_mask), presets[0])
    noisy, clean, people = [], [], set()
    for case, index in spread(tuned, TUNED_ON) if tuned else []:
        noisy.append(case.source.read(index))
        clean.append(case.targets[index].read())
        people.add(case.person)
    told = f"tuned on {len(noisy)} slices of {len(people)} patients, by the PSNR of {preset.name}" if noisy else BLIND
    return {name: _baseline(name, noisy, clean, preset, inside, told) for name in ("nlm", "tv")}


def _baseline(
    name: Literal["nlm", "tv"],
    noisy: list[np.ndarray],
    clean: list[np.ndarray],
    preset: Preset,
    inside: tuple[float, float] | None,
    told: str,
) -> Method:
    settings = tune(name, noisy, clean, preset, inside=inside) if noisy else METHODS[name](inside=inside)

    def denoise(around: list[np.ndarray]) -> np.ndarray:
        return settings(around[len(around) // 2]).astype(np.float32)

    return Method(denoise, {"settings": settings_to_json(settings), "tuning": told})
