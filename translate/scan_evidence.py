"""What was done to a scan, told from input and output alone: no reference is needed.

Every measure picks its pixels in a way that does not see the noise of the pixel itself. To pick by the noisy value
would shift the mean by itself: the brightest pixels of pure noise have noise above 0, and any denoiser lowers them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from translate.noise_statistics import SOFT_TISSUE, NoisePower, radial_mean
from translate.residual_structure import Structure, blur
from translate.tissue import HU_BANDS, QUARTERS, band_limits, cut, detrend, flat_patches, ring_extremes, ring_median

SPECTRUM_PATCH = 32  # pixels a side
LOW_PASS = 16  # pixels, standard deviation of the strong low-pass

DEFINITIONS = {  # of what `Evidence.result` gives, for reports
    "residual": "Output minus input, in the scan's units; changed is the part of pixels that differ at all.",
    "bands": "Mean residual of each tissue (bias), and well inside of it (bias_inside). A pixel's tissue is told by "
    "the median of the input on a ring of 4 pixels around it, not by its own noisy value: taking noise away gives 0.",
    "noise": "In the flattest quarter of the patches of 32 x 32 pixels of soft tissue, after a fit of second order: "
    "standard deviation, and noise power in squared units times mm^2. A falling mean frequency is the plastic look.",
    "structure": "From 0 to 1: the correlation, at edges, of the residual with the output's difference of Gaussians "
    "(1.5 and 3 pixels). An edge is where the output's gradient is 6 times that of noise.",
    "between_slices": "In tissue of both slices: how far neighbouring slices differ, output to input "
    "(difference_ratio), and the RMS step of the mean residual from slice to slice (flicker).",
    "low_frequency": "The residual after a Gaussian of 16 pixels: denoising should leave it near 0.",
}


@dataclass
class _Sums:
    """Sums from which mean and deviation come."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray) -> None:
        self.count += values.size
        self.total += float(values.sum())
        self.squares += float(np.square(values).sum())

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    @property
    def rms(self) -> float | None:
        return math.sqrt(self.squares / self.count) if self.count else None

    @property
    def deviation(self) -> float | None:
        if not self.count:
            return None
        return math.sqrt(max(0.0, self.squares / self.count - (self.total / self.count) ** 2))


@dataclass
class _Band:
    everywhere: _Sums = field(default_factory=_Sums)
    inside: _Sums = field(default_factory=_Sums)


@dataclass
class _Noise:
    """Of source and output in the flat patches: sum of squares of pixels, and of the spectra."""

    patches: int = 0
    squares: float = 0.0
    power: np.ndarray = field(default_factory=lambda: np.zeros((SPECTRUM_PATCH, SPECTRUM_PATCH)))

    def add(self, patches: np.ndarray) -> None:
        residual = detrend(patches, 2)
        self.patches += len(residual)
        self.squares += float(np.square(residual).sum())
        self.power += np.square(np.abs(np.fft.fft2(residual))).sum(axis=0)

    @property
    def sigma(self) -> float | None:
        return math.sqrt(self.squares / (self.patches * SPECTRUM_PATCH**2)) if self.patches else None


class Evidence:
    """Gathers, slice by slice, what was done to one scan. It holds two slices at most, and two
    numbers of each.

    Args:
        units: "HU" has bands of tissue; in other units each slice is divided into quarters of its values.
        spacing: mm between rows and between columns; None where unknown: frequencies are then per pixel.
    """

    def __init__(self, units: str, spacing: tuple[float, float] | None) -> None:
        self.units, self.spacing = units, spacing
        self.slices = 0
        self._residual, self._low = _Sums(), _Sums()
        self._changed = 0
        self._largest: dict[str, Any] | None = None
        self._largest_low: dict[str, Any] | None = None
        self._bands = {name: _Band() for name in (HU_BANDS if units == "HU" else QUARTERS)}
        self._before, self._after = _Noise(), _Noise()
        self._edges = Structure()
        self._steps_before, self._steps_after, self._flicker = _Sums(), _Sums(), _Sums()
        self._each_slice: list[dict[str, float]] = []
        self._previous: tuple[int, np.ndarray, np.ndarray, np.ndarray] | None = None

    def add(self, index: int, source: np.ndarray, output: np.ndarray) -> None:
        """Take one slice (H, W), before and after, both in the units. Neighbours in order show what is between slices.

        Raises:
            ValueError: for unequal or other shapes, sides below 16 pixels, and values that are not finite.
        """
        if source.shape != output.shape or source.ndim != 2 or min(source.shape) < 16:
            raise ValueError(
                f"evidence compares two slices of one shape (H, W), at least 16 x 16, got {source.shape} and "
                f"{output.shape}: give the slice before and after"
            )
        before, after = source.astype(np.float64), output.astype(np.float64)
        residual = after - before
        if not np.isfinite(residual).all():
            raise ValueError(f"slice {index} has values that are NaN or infinite: run the model in float32")
        self.slices += 1
        self._residual.add(residual)
        rms = math.sqrt(float(np.square(residual).mean()))
        self._each_slice.append({"slice": index, "mean": float(residual.mean()), "rms": rms})
        self._changed += int(np.count_nonzero(residual))
        self._largest = _larger(self._largest, _extreme(index, residual))
        tissue = self._add_bands(before, residual)
        self._add_noise(before, after)
        self._add_low(index, residual)
        self._add_step(index, before, residual, tissue)

    def result(self) -> dict[str, Any]:
        """Everything as JSON holds it, explained by DEFINITIONS; None stands for what could not be measured.

        Raises:
            ValueError: if no slice was added.
        """
        if not self.slices:
            raise ValueError("there is no evidence without a slice: add one first")
        pixels = self._residual.count
        return {
            "units": self.units,
            "slices": self.slices,
            "residual": {
                "mean": self._residual.mean,
                "sd": self._residual.deviation,
                "rms": self._residual.rms,
                "changed": self._changed / pixels,
                "largest": self._largest,
            },
            "bands": {name: self._band(name) for name in self._bands},
            "noise": self._noise(),
            "structure": self._edges.value,
            "between_slices": {
                "difference_ratio": _ratio(self._steps_after.rms, self._steps_before.rms),
                "flicker": self._flicker.rms,
            },
            "low_frequency": {"rms": self._low.rms, "largest": self._largest_low},
            "each_slice": self._each_slice,
        }

    def _add_bands(self, before: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """Returns where a pixel is well inside one tissue that is not air, or in the darkest quarter."""
        middle, (low, high) = ring_median(before), ring_extremes(before)
        tissue = np.zeros(before.shape, dtype=bool)
        for number, (name, (start, end)) in enumerate(band_limits(middle, self.units).items()):
            chosen = (middle >= start) & (middle < end)
            inside = (low >= start) & (high < end)
            self._bands[name].everywhere.add(residual[chosen])
            self._bands[name].inside.add(residual[inside])
            if number:
                tissue |= inside
        return tissue

    def _add_noise(self, before: np.ndarray, after: np.ndarray) -> None:
        places = flat_patches(before, SPECTRUM_PATCH, SOFT_TISSUE if self.units == "HU" else None)
        if not places:
            return
        self._before.add(cut(before, places, SPECTRUM_PATCH))
        self._after.add(cut(after, places, SPECTRUM_PATCH))
        self._edges.add(before, after, places, SPECTRUM_PATCH)

    def _add_low(self, index: int, residual: np.ndarray) -> None:
        # Means of 8 x 8 pixels first: the blur of the full slice would take most of the time.
        height, width = (max(1, side // 8) for side in residual.shape)
        small = blur(cv2.resize(residual, (width, height), interpolation=cv2.INTER_AREA), LOW_PASS / 8)
        self._low.add(small)
        extreme = _extreme(index, small)
        scales = residual.shape[0] / height, residual.shape[1] / width
        place = {key: int((extreme[key] + 0.5) * scale) for key, scale in zip(("row", "column"), scales, strict=True)}
        self._largest_low = _larger(self._largest_low, {**extreme, **place})

    def _add_step(self, index: int, before: np.ndarray, residual: np.ndarray, tissue: np.ndarray) -> None:
        if self._previous is not None and self._previous[0] == index - 1 and self._previous[1].shape == before.shape:
            _, last, last_residual, last_tissue = self._previous
            flat = tissue & last_tissue
            if flat.any():
                step, change = (before - last)[flat], (residual - last_residual)[flat]
                self._steps_before.add(step)
                self._steps_after.add(step + change)
                self._flicker.add(change.mean())
        self._previous = index, before, residual, tissue

    def _band(self, name: str) -> dict[str, Any]:
        band = self._bands[name]
        entry = {"pixels": band.everywhere.count, "bias": band.everywhere.mean, "bias_inside": band.inside.mean}
        if self.units == "HU":
            entry |= {"from": _finite(HU_BANDS[name][0]), "below": _finite(HU_BANDS[name][1])}
        return entry

    def _noise(self) -> dict[str, Any]:
        before, after = (self._spectrum(noise) for noise in (self._before, self._after))
        return {
            "patches": self._before.patches,
            "sd_before": self._before.sigma,
            "sd_after": self._after.sigma,
            "mean_frequency_before": before and before.mean_frequency,
            "mean_frequency_after": after and after.mean_frequency,
            "frequency": before and before.frequency.tolist(),
            "frequency_units": "per mm" if self.spacing else "per pixel",
            "power_before": before and before.power.tolist(),
            "power_after": after and after.power.tolist(),
        }

    def _spectrum(self, noise: _Noise) -> NoisePower | None:
        if not noise.patches:
            return None
        spacing = self.spacing or (1.0, 1.0)
        area = spacing[0] * spacing[1]
        return radial_mean(noise.power * area / (noise.patches * SPECTRUM_PATCH**2), spacing)


def _extreme(index: int, residual: np.ndarray) -> dict[str, Any]:
    row, column = np.unravel_index(int(np.abs(residual).argmax()), residual.shape)
    return {"value": float(residual[row, column]), "slice": index, "row": int(row), "column": int(column)}


def _larger(one: dict[str, Any] | None, two: dict[str, Any]) -> dict[str, Any]:
    return two if one is None or abs(two["value"]) > abs(one["value"]) else one


def _ratio(one: float | None, two: float | None) -> float | None:
    return one / two if one is not None and two else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
