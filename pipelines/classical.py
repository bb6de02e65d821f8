"""Classical denoisers that a model has to beat: non-local means and total variation, from scikit-image.

Both work in the units of the scan: twice the values with twice the settings give twice the result, so that nothing is
normalised. Settings are held as multiples of the noise of a slice, which is measured in that slice, because one dose
or one patient's girth is not the next one's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from translate.data.scans import ScanError
from translate.noise_statistics import SOFT_TISSUE
from translate.scan_metrics import Preset, measure
from translate.tissue import cut, detrend, flat_patches

CROP = 192  # pixels, side of the middle of a slice on which settings are tried
NOISE_PATCH = 13  # pixels, as in translate.noise_statistics
ROUNDS = 3  # at most, of trying each setting in turn; the second seldom changes anything


@dataclass(frozen=True)
class NonLocalMeans:
    """Settings of `nlm`; h and sigma are multiples of the slice's noise. Callable: slice in, denoised slice out.

    Args:
        h: how unlike patches may be that are averaged.
        sigma: what unlikeness noise alone explains; below 1 for correlated noise.
        patch, distance: pixels; side of a patch, and how far away patches are looked for.
        inside: what values flat tissue has, for measuring noise; None for magnitudes such as MR's.
    """

    h: float = 0.6
    sigma: float = 0.8
    patch: int = 5
    distance: int = 9
    inside: tuple[float, float] | None = SOFT_TISSUE

    def __call__(self, values: np.ndarray) -> np.ndarray:
        noise = noise_of(values, self.inside)
        return nlm(values, sigma=self.sigma * noise, h=self.h * noise, patch=self.patch, distance=self.distance)


@dataclass(frozen=True)
class TotalVariation:
    """Settings of `tv`; the weight is a multiple of the slice's noise. Callable: slice in, denoised slice out."""

    weight: float = 1.0
    inside: tuple[float, float] | None = SOFT_TISSUE

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return tv(values, weight=self.weight * noise_of(values, self.inside))


Settings = NonLocalMeans | TotalVariation
METHODS: dict[str, type[NonLocalMeans] | type[TotalVariation]] = {"nlm": NonLocalMeans, "tv": TotalVariation}
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "nlm": {
        "h": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5),
        "sigma": (0.0, 0.4, 0.7, 0.9, 1.1, 1.3),
        "patch": (3, 5, 7),
        "distance": (3, 5, 7, 9, 13),
    },
    "tv": {"weight": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5)},
}


def nlm(values: np.ndarray, *, sigma: float, h: float, patch: int = 5, distance: int = 9) -> np.ndarray:
    """Non-local means (Buades et al. 2005, doi:10.1109/CVPR.2005.38) of a slice (H, W), float64, with `sigma` and `h`
    in its units. With h = 0 the slice comes back.

    Raises:
        ScanError: scikit-image is missing.
    """
    restoration = _skimage()
    if h == 0:
        return values.astype(np.float64)
    denoised: np.ndarray = restoration.denoise_nl_means(
        values.astype(np.float64),
        patch_size=patch,
        patch_distance=distance,
        h=h,
        sigma=sigma,
        fast_mode=True,
        preserve_range=True,
    )
    return denoised


def tv(values: np.ndarray, *, weight: float) -> np.ndarray:
    """Total variation (Chambolle 2004, doi:10.1023/B:JMIV.0000011325.36760.1e) of a slice (H, W), float64, with the
    weight in its units. With a weight of 0 the slice comes back.

    Raises:
        ScanError: scikit-image is missing.
    """
    restoration = _skimage()
    if weight == 0:
        return values.astype(np.float64)
    denoised: np.ndarray = restoration.denoise_tv_chambolle(values.astype(np.float64), weight=weight)
    return denoised


def noise_of(values: np.ndarray, inside: tuple[float, float] | None) -> float:
    """Standard deviation of a slice's noise in its flattest patches; where it has none, from its finest detail."""
    places = flat_patches(values, NOISE_PATCH, inside)
    if places:
        return float(detrend(cut(values, places, NOISE_PATCH), 2).std())
    fine = np.diff(np.diff(values.astype(np.float64), axis=0), axis=1)
    return float(np.median(np.abs(fine)) / 0.6745 / 2)  # of four values with signs, normally distributed


def settings_to_json(settings: Settings) -> dict[str, Any]:
    name = next(name for name, kind in METHODS.items() if isinstance(settings, kind))
    return {"method": name, **{key: value for key, value in asdict(settings).items() if key != "inside"}}


def tune(
    method: Literal["nlm", "tv"],
    noisy: Sequence[np.ndarray],
    clean: Sequence[np.ndarray],
    preset: Preset,
    *,
    inside: tuple[float, float] | None = SOFT_TISSUE,
) -> Settings:
    """The settings with the highest mean PSNR of training slices, by the preset; without any, those for noise alone.

    Each setting is tried in turn over its whole grid, until a round changes nothing; only the middle of each slice is
    denoised. The same slices give the same settings.

    Args:
        noisy, clean: slices (H, W) at the same places; 4 to 8 of different patients are enough.
        inside: what values flat tissue has, for measuring noise; None for magnitudes.

    Raises:
        ValueError: an unknown method, unequal numbers, or a preset that needs a mask.
        ScanError: scikit-image is missing.
    """
    if method not in METHODS:
        raise ValueError(f"there is no classical method {method!r}: use one of {', '.join(METHODS)}")
    if len(noisy) != len(clean):
        raise ValueError(f"tuning needs a clean slice for each noisy one, got {len(noisy)} and {len(clean)}")
    if preset.needs_mask:
        raise ValueError(f"{preset.name} needs a mask of the body: tune with a preset of whole slices")
    best: Settings = METHODS[method](inside=inside)
    if not noisy:
        return best
    score = _scorer([_middle(values) for values in noisy], [_middle(values) for values in clean], preset)
    for _ in range(ROUNDS):
        before = best
        for key, grid in GRIDS[method].items():
            best = max((_with(best, key, value) for value in grid), key=score)
        if best == before:
            break
    return best


def _with(settings: Settings, key: str, value: float) -> Settings:
    change: dict[str, Any] = {key: value}
    return replace(settings, **change)


def _scorer(noisy: list[np.ndarray], clean: list[np.ndarray], preset: Preset) -> Callable[[Settings], float]:
    known: dict[Settings, float] = {}

    def score(settings: Settings) -> float:
        if settings not in known:
            figures = [measure(settings(x), y, preset)["psnr"] for x, y in zip(noisy, clean, strict=True)]
            known[settings] = math.fsum(figures) / len(figures)
        return known[settings]

    return score


def _middle(values: np.ndarray) -> np.ndarray:
    top, left = (max(0, side - CROP) // 2 for side in values.shape)
    return values[top : top + CROP, left : left + CROP]


def _skimage() -> Any:
    try:
        from skimage import restoration
    except ModuleNotFoundError as error:
        raise ScanError('the classical denoisers need scikit-image: pip install "translate-images[medical]"') from error
    return restoration
