"""What noise is like: its power at each frequency, and how alike neighbours are; measured in one noisy scan, too.

Noise is measured in flat patches, from which a surface of second order is taken off. That lowers every correlation by
a known amount, which is put right exactly for noise whose correlation ends within `REACH` pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np

from translate.tissue import cut, detrend, flat_patches, polynomials

SOFT_TISSUE = (-200.0, 300.0)  # HU: fat, muscle, organs; without air, where CT cuts noise off, lung and bone
PATCH = 13  # pixels, side of the patches in which correlation is measured
REACH = 4  # pixels, beyond which noise is taken for uncorrelated
FEWEST_PIXELS = 2000  # the standard error of a correlation is then about 0.02
LARGEST_IN_PLANE = 0.1  # four neighbours of 0.1 foretell 4 % of a pixel's noise variance, of 0.5 nearly all of it
LARGEST_THROUGH_PLANE = 0.2  # the part of the noise's amplitude that training on pairs of slices leaves


class NoiseAssumptionError(ValueError):
    """A way of training without clean scans, whose assumption about noise does not hold for these."""


@dataclass(frozen=True)
class NoisePower:
    """Radial mean of a noise power spectrum.

    Args:
        frequency: (bins,) per mm, increasing, from the first above 0 to the lower Nyquist frequency of both axes.
        power: (bins,) in squared units times mm^2. White noise has sigma^2 * dx * dy everywhere.
    """

    frequency: np.ndarray
    power: np.ndarray

    @property
    def mean_frequency(self) -> float:
        """Per mm, weighted by the radial power (AAPM TG-233, doi:10.1002/mp.13763); 0 without any noise."""
        total = float(self.power.sum())
        return float((self.frequency * self.power).sum()) / total if total else 0.0


@dataclass(frozen=True)
class NoiseCorrelation:
    """How much the noise of a pixel tells of its neighbours', from -1 to 1, 0 for independent noise.

    Args:
        rows, columns: correlation with the pixel one row below, and one column to the right.
        through_plane: with the same pixel of the next slice; None where only one slice was given.
        sigma: standard deviation of noise in the flattest patches.
        pixels: in these patches.
    """

    rows: float
    columns: float
    through_plane: float | None
    sigma: float
    pixels: int

    @property
    def in_plane(self) -> float:
        """The stronger one of rows and columns, with its sign."""
        return max(self.rows, self.columns, key=abs)


def noise_power_spectrum(noise: np.ndarray, spacing: tuple[float, float], *, order: int = 0) -> NoisePower:
    """Noise power, dx dy / (Nx Ny) times the mean of |DFT|^2, as ICRU 54 and IEC 62220-1 define it.

    Args:
        noise: (H, W) or (N, H, W): regions of noise, or of flat tissue, of at least 8 pixels a side.
        spacing: mm between rows and between columns.
        order: of the polynomial that is taken off each region first: 0 is the mean, 2 what lies below about 1.5
            periods a region.

    Raises:
        ValueError: for other shapes, or a spacing that is not positive.
    """
    regions = noise[None] if noise.ndim == 2 else noise
    if regions.ndim != 3 or not len(regions) or min(regions.shape[1:]) < 8:
        raise ValueError(f"a noise power spectrum needs regions (N, H, W) of at least 8 x 8 pixels, got {noise.shape}")
    if min(spacing) <= 0:
        raise ValueError(f"a spacing must be positive, got {spacing}: give mm between rows and between columns")
    height, width = regions.shape[1:]
    residual = detrend(regions, order)
    power = np.square(np.abs(np.fft.fft2(residual))).mean(axis=0) * spacing[0] * spacing[1] / (height * width)
    return radial_mean(power, spacing)


def radial_mean(power: np.ndarray, spacing: tuple[float, float]) -> NoisePower:
    """Rings of a spectrum (H, W) in the order of numpy.fft, as wide as its coarser step; the mean's ring left out."""
    height, width = power.shape
    radius = np.hypot(np.fft.fftfreq(height, spacing[0])[:, None], np.fft.fftfreq(width, spacing[1])[None])
    step = max(1 / (height * spacing[0]), 1 / (width * spacing[1]))
    ring = np.rint(radius / step).astype(int)
    counts = np.bincount(ring.ravel())
    last = round(0.5 / max(spacing) / step)
    frequency, mean = (np.bincount(ring.ravel(), v.ravel())[1 : last + 1] for v in (radius, power))
    return NoisePower(frequency / counts[1 : last + 1], mean / counts[1 : last + 1])


def autocorrelation(noise: np.ndarray, lag: tuple[int, int]) -> float:
    """Correlation of noise (..., H, W) with itself, moved by (rows, columns) >= 0: 1 at (0, 0), 0 for white noise."""
    values = noise.astype(np.float64) - noise.mean(dtype=np.float64)
    height, width = values.shape[-2:]
    one, two = values[..., lag[0] :, lag[1] :], values[..., : height - lag[0], : width - lag[1]]
    return float((one * two).mean() / np.square(values).mean())


def measure_noise_correlation(slices: np.ndarray, *, inside: tuple[float, float] | None) -> NoiseCorrelation:
    """Correlation and strength of the noise of one scan, without a clean partner.

    In the plane the flattest quarter of patches is measured. White noise gives 0, noise of true correlation 0.78 gives
    0.72, because such patches are picked by their deviation; sigma is low by up to 7 % for the same reason. Texture of
    tissue counts as noise and moves the result towards 1.

    Between slices only the finest detail is compared (the Laplacian), because anatomy hardly changes from slice to
    slice; that gives the noise's correlation where it is separable, as after interpolation.

    Args:
        slices: (S, H, W), neighbours in order.
        inside: what values tissue has: SOFT_TISSUE in HU; None for magnitudes such as MR's, see `flat_patches`.

    Raises:
        ValueError: for another shape, or fewer flat pixels than a useful figure needs.
    """
    if slices.ndim != 3:
        raise ValueError(f"noise is measured in slices (S, H, W), got {slices.shape}: stack them")
    places = [flat_patches(values, PATCH, inside) for values in slices]
    pixels = PATCH**2 * sum(map(len, places))
    if pixels < FEWEST_PIXELS:
        raise ValueError(
            f"only {pixels} pixels lie in flat tissue, {FEWEST_PIXELS} are needed to measure noise: give more slices, "
            f"or other limits than {inside} for the values of tissue"
        )
    pairs = zip(slices, places, strict=True)
    residual = detrend(np.concatenate([cut(values, where, PATCH) for values, where in pairs]), 2)
    sums = np.array([_lagged(residual, lag) for lag in _lags()]) / len(residual)
    covariance = dict(zip(_lags(), np.linalg.solve(_mixing(PATCH), sums), strict=True))
    variance = covariance[0, 0]
    if variance <= (1e-6 * np.abs(slices).max()) ** 2:  # rounding
        raise ValueError("the scan has no noise to measure in its flat tissue: train on it as it is")
    return NoiseCorrelation(
        rows=float(covariance[1, 0] / variance),
        columns=float(covariance[0, 1] / variance),
        through_plane=_through_plane(slices, places),
        sigma=float(np.sqrt(variance)),
        pixels=pixels,
    )


def _through_plane(slices: np.ndarray, places: list[list[tuple[int, int]]]) -> float | None:
    if len(slices) < 2:
        return None
    detail = [cv2.Laplacian(values.astype(np.float64), cv2.CV_64F) for values in slices]
    product, energy = 0.0, 0.0
    for index, where in enumerate(places[:-1]):
        one, two = (cut(layer, where, PATCH) for layer in detail[index : index + 2])
        product += float((one * two).sum())
        energy += float(np.square(one).sum() + np.square(two).sum()) / 2
    return product / energy if energy else None


@cache
def _lags() -> list[tuple[int, int]]:
    """Half of all (rows, columns) up to REACH: the other half is the same by symmetry."""
    reach = range(-REACH, REACH + 1)
    return [(rows, columns) for rows in range(REACH + 1) for columns in reach if rows or columns >= 0]


def _lagged(residual: np.ndarray, lag: tuple[int, int]) -> float:
    """Sum over all pixels of patches (N, H, W) of a pixel times the one at a lag."""
    rows, columns = lag
    height, width = residual.shape[1:]
    one = residual[:, : height - rows, max(0, -columns) : width - max(0, columns)]
    two = residual[:, rows:, max(0, columns) : width + min(0, columns)]
    return float((one * two).sum())


@cache
def _mixing(side: int) -> np.ndarray:
    """(lags, lags): what sum of products each lag of a detrended patch has for covariance 1 at one lag of the noise.

    For noise of covariance C the remainder has R C R, with R = 1 - projection on polynomials.
    """
    basis = polynomials(side, side, 2)
    numbers = np.arange(side**2).reshape(side, side)
    columns = []
    for lag in _lags():
        covariance = np.zeros((side**2, side**2))
        rows, right = lag
        one = numbers[: side - rows, max(0, -right) : side - max(0, right)].ravel()
        two = numbers[rows:, max(0, right) : side + min(0, right)].ravel()
        covariance[one, two] = covariance[two, one] = 1
        half = covariance - basis @ (basis.T @ covariance)
        remainder = (half - (half @ basis) @ basis.T).reshape(side, side, side, side)
        columns.append([_diagonal_sum(remainder, other) for other in _lags()])
    return np.array(columns).T


def _diagonal_sum(covariance: np.ndarray, lag: tuple[int, int]) -> float:
    """Sum of covariance (H, W, H, W) over all pairs of pixels at a lag."""
    rows, columns = lag
    height, width = covariance.shape[:2]
    y, x = np.mgrid[: height - rows, max(0, -columns) : width - max(0, columns)]
    return float(covariance[y, x, y + rows, x + columns].sum())


def check_noise_assumption(form: Literal["blind_spot", "neighbouring_slices"], correlation: NoiseCorrelation) -> None:
    """Refuse to train without clean scans where the noise is not what that needs.

    "blind_spot" (Noise2Void, Krull et al. 2019, arXiv:1811.10980) needs noise that is independent from pixel to pixel:
    else the network foretells the noise of a pixel from its neighbours, and keeps it. "neighbouring_slices"
    (Noise2Noise, Lehtinen et al. 2018, arXiv:1803.04189, as Noise2Sim, arXiv:2011.03384, and NS-N2N,
    arXiv:2411.10831, use it) needs noise that is independent from slice to slice, and lets it be correlated inside.

    Raises:
        NoiseAssumptionError: the correlation exceeds LARGEST_IN_PLANE or LARGEST_THROUGH_PLANE in magnitude, or was not
            measured.
    """
    if form == "blind_spot" and abs(correlation.in_plane) > LARGEST_IN_PLANE:
        raise NoiseAssumptionError(
            f"a blind spot needs noise that is independent from pixel to pixel, but here neighbours correlate by "
            f"{correlation.rows:.2f} (rows) and {correlation.columns:.2f} (columns), at most {LARGEST_IN_PLANE} is "
            "allowed: train on pairs of neighbouring slices, or on pairs of low and full dose"
        )
    if form == "neighbouring_slices":
        if correlation.through_plane is None:
            raise NoiseAssumptionError(
                "the noise of neighbouring slices cannot be compared with one slice: give series of several slices"
            )
        if abs(correlation.through_plane) > LARGEST_THROUGH_PLANE:
            raise NoiseAssumptionError(
                f"pairs of slices need noise that is independent from slice to slice, but here it correlates by "
                f"{correlation.through_plane:.2f}, at most {LARGEST_THROUGH_PLANE} is allowed (slices overlap, or were "
                "interpolated): use slices that do not overlap, such as every second one, or pairs of low and full dose"
            )
