"""CT scans of a lower dose, from scans in Hounsfield units. Numpy in, numpy out; the same seed gives the same noise.

A slice is attenuation, mu = MU_WATER (1 + HU / 1000), seen by parallel rays: `counts = photons * exp(-p)` behind a
line integral p. Real scanners differ (fan, bow-tie filter, tube current that follows the body, spectrum): what has
been compared with a real scanner is the noise power spectrum, see KERNELS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from translate.data.projection import back_project, detectors_for, half_turn, project
from translate.data.ramp_filter import filter_views, window
from translate.data.scans import ScanError

MU_WATER = 0.0192  # per mm, at about 70 keV
PADDING = -1024.0  # HU: what is below is no measurement
PITCH = 0.5  # pixels between detectors: kernels of scanners pass more than an image can hold, which folds back
COARSE = 2  # pixels: how fine the noise's strength is computed


@dataclass(frozen=True)
class CtKernel:
    """The window of a reconstruction kernel: exp(-(f / frequency) ** exponent) at f cycles per millimetre.

    Args:
        frequency: in cycles per mm, where the window has fallen to 1 / e.
        exponent: 2 is a Gaussian, more holds longer and falls faster.
    """

    frequency: float
    exponent: float


# Fitted to (quarter dose - full dose) of 24 slices of three patients and pixel sizes (0.66, 0.70 and 0.82 mm),
# 2016 AAPM Low Dose CT Grand Challenge. With compensation 0.4 and 1.2e5 (B30f) or 1.6e5 (D45f) photons the simulated
# noise power has the real one's shape within 2 to 6 % (RMS of its logarithm, above 0.04 cycles per mm; 10 % for D45f in
# the largest patient), and its sigma is 0.9 to 1.3 times the real one; 0.6 and 0.8 times in two slices of that patient.
KERNELS = {"B30f": CtKernel(0.43, 2.3), "D45f": CtKernel(0.84, 3.8)}


@dataclass(frozen=True)
class CtDose:
    """How a slice is scanned.

    Args:
        fraction: of the dose that the slice was made with, above 0 and at most 1.
        photons: that arrive, without an object, per view and millimetre of detector at the full dose.
        electronic: standard deviation of the detector's own noise, in photons, per view and root of a millimetre.
        compensation: of attenuation, by tube current, bow-tie filter and a beam that hardens, 0 to 1: of a line
            integral p, only (1 - compensation) p weakens the beam. 0 is the plain law.
        filter: one of KERNELS, another CtKernel, or a name that `ramp_filter.window` knows.
        cutoff: of such a window, as a fraction of the highest frequency that the image holds; 1 for kernels.
        views: over half a turn.
    """

    fraction: float
    photons: float = 1.4e5
    electronic: float = 10.0
    compensation: float = 0.4
    filter: str | CtKernel = "B30f"
    cutoff: float = 1.0
    views: int = 720

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ScanError(f"a dose is a fraction of the scan's, above 0 and at most 1, got {self.fraction!r}")
        if not self.photons > 0 or not self.electronic >= 0 or not self.views >= 1:
            raise ScanError(
                "a dose needs photons above 0, electronic noise of 0 or more and at least 1 view, "
                f"got {self.photons!r}, {self.electronic!r} and {self.views!r}"
            )
        if not 0 <= self.compensation <= 1:
            raise ScanError(f"the compensation of attenuation is from 0 to 1, got {self.compensation!r}")
        if isinstance(self.filter, str) and self.filter not in KERNELS:
            window(self.filter, self.cutoff)
        elif self.cutoff != 1:
            raise ScanError(f"a kernel has no cutoff, got {self.cutoff!r}: change the frequency of a CtKernel")


def simulate_low_dose(hu: np.ndarray, pixel_mm: float, dose: CtDose, seed: int) -> np.ndarray:
    """The slice as a scan with a fraction of its dose would have given it.

    The slice holds the noise of its own dose, so only what a lower one adds is inserted (Yu et al. 2012,
    doi:10.1097/RCT.0b013e318258e891): in the projections, where noise is independent. Only the noise is filtered and
    back-projected: the slice is not reconstructed again and stays as sharp as it was.

    A ray has L = fraction * photons * exp(-(1 - compensation) p) photons. To the variance L + electronic^2 of a scan
    with this dose, (1 - fraction) L + (1 - fraction^2) electronic^2 is what the slice does not hold yet. The logarithm
    of these counts, at least 1, is taken less its expectation: the noise has the mean 0 in each ray, also where hardly
    a photon arrives. (The plain logarithm of `simulate_scan` shifts such places by tens of HU, up or down.)

    Args:
        hu: (H, W) in Hounsfield units. What is below -1024 is padding: it counts as air and is not changed.
        pixel_mm: side of a pixel.
        seed: of this slice; each slice needs its own, or their noise is equal.

    Returns:
        (H, W) float32 in HU, neither rounded nor clipped: noise in air goes below -1024. Equal to the slice if the
        fraction is 1.

    Raises:
        ScanError: the slice is not a finite (H, W), or the pixel size is not positive.
    """
    _check(hu, pixel_mm)
    hu = np.asarray(hu, np.float32)
    if dose.fraction == 1:
        return hu.copy()
    padding = hu < PADDING
    noise = _noise_views(_attenuation(hu), pixel_mm, dose, np.random.default_rng(seed))
    image = _reconstruct(noise, pixel_mm, dose, max(hu.shape))[: hu.shape[0], : hu.shape[1]]
    return np.where(padding, hu, hu + image * np.float32(1000 / MU_WATER))


def simulate_scan(hu: np.ndarray, pixel_mm: float, dose: CtDose, seed: int) -> np.ndarray:
    """The whole chain, of an object without noise: projection, Poisson and electronic noise, logarithm, reconstruction.

    Counts below 1 become 1 and nothing corrects the logarithm's bias, so where few photons arrive the result is too
    bright or too dark. For reference: `simulate_low_dose` is for scans.

    Args:
        hu: (H, W) in Hounsfield units, padding as in `simulate_low_dose`.

    Returns:
        (H, W) float32 in HU; padding is reconstructed, too.

    Raises:
        ScanError: as `simulate_low_dose`.
    """
    _check(hu, pixel_mm)
    random = np.random.default_rng(seed)
    attenuation = _attenuation(np.asarray(hu, np.float32))
    size = attenuation.shape[-1]
    angles = half_turn(dose.views)
    sums = project(attenuation, angles, detectors_for(size, PITCH), pitch=PITCH).numpy()[0] * (pixel_mm * MU_WATER)
    photons, electronic = _per_detector(dose, pixel_mm)
    arriving = photons * np.exp(dose.compensation * sums.astype(np.float64))  # without an object
    counts = random.poisson(arriving * np.exp(-sums)) + random.normal(0, electronic, sums.shape)
    measured = np.log(arriving / np.maximum(counts, 1)).astype(np.float32)
    image = _reconstruct(measured, pixel_mm, dose, size)[: hu.shape[0], : hu.shape[1]]
    return image * np.float32(1000 / MU_WATER) - np.float32(1000)


def _check(hu: np.ndarray, pixel_mm: float) -> None:
    if hu.ndim != 2 or not np.isfinite(hu).all():
        raise ScanError(f"a slice has rows and columns of finite numbers in HU, got the shape {hu.shape}, or NaN")
    if not pixel_mm > 0:
        raise ScanError(f"the side of a pixel is given in millimetres and above 0, got {pixel_mm!r}")


def _attenuation(hu: np.ndarray) -> Tensor:
    """(1, S, S), relative to water, not negative, with air around up to an even square."""
    values = torch.from_numpy(np.maximum(1 + hu / 1000, 0))
    size = max(hu.shape) + max(hu.shape) % 2
    return F.pad(values, (0, size - hu.shape[1], 0, size - hu.shape[0]))[None]


def _per_detector(dose: CtDose, pixel_mm: float) -> tuple[float, float]:
    """Photons and electronic noise of one view of one detector, at this dose."""
    width = pixel_mm * PITCH
    return dose.fraction * dose.photons * width, dose.electronic * math.sqrt(width)


def _noise_views(attenuation: Tensor, pixel_mm: float, dose: CtDose, random: np.random.Generator) -> np.ndarray:
    """(V, D) float32: what the dose adds to line integrals."""
    coarse = F.avg_pool2d(attenuation, COARSE)
    sums = project(coarse, half_turn(dose.views), detectors_for(coarse.shape[-1])) * (pixel_mm * COARSE * MU_WATER)
    sums = F.interpolate(sums, scale_factor=COARSE / PITCH, mode="linear")[0]
    photons, electronic = _per_detector(dose, pixel_mm)
    expected = (photons * torch.exp((dose.compensation - 1) * sums)).numpy()
    drawn = expected + _missing(expected, electronic, dose.fraction) * random.standard_normal(
        expected.shape, dtype=np.float32
    )
    return _mean_log(expected, electronic, dose.fraction) - np.log(np.maximum(drawn, 1))


def _missing(expected: np.ndarray, electronic: float, fraction: float) -> np.ndarray:
    """Standard deviation of the counts that a scan at the higher dose does not have, scaled to the lower one."""
    return np.sqrt((1 - fraction) * expected + (1 - fraction**2) * electronic**2)


def _mean_log(expected: np.ndarray, electronic: float, fraction: float) -> np.ndarray:
    """The mean of log(max(counts, 1)) for these expected counts, by a table over their logarithm."""
    logs = np.log(np.maximum(expected, 1e-6))
    nodes = np.linspace(logs.min() - 1e-3, logs.max() + 1e-3, 512)
    counts = np.exp(nodes)[:, None]
    normal = np.linspace(-6, 6, 601)
    weights = np.exp(-(normal**2) / 2)
    drawn = counts + _missing(counts, electronic, fraction) * normal
    means = np.log(np.maximum(drawn, 1)) @ (weights / weights.sum())
    return np.interp(logs, nodes, means).astype(np.float32)


def _reconstruct(sums: np.ndarray, pixel_mm: float, dose: CtDose, size: int) -> np.ndarray:
    """(V, D) line integrals, without unit -> (size', size') attenuation per mm; size' is `size`, made even."""
    filtered = filter_views(torch.from_numpy(sums)[None], _response(dose, pixel_mm), pitch=PITCH)
    image = back_project(filtered, half_turn(dose.views), size + size % 2, pitch=PITCH)[0]
    return (image * (math.pi / dose.views / pixel_mm)).numpy()


def _response(dose: CtDose, pixel_mm: float) -> Callable[[Tensor], Tensor]:
    """The window over cycles per detector. It makes up for what the linear interpolation of back-projection takes."""
    kernel = KERNELS.get(dose.filter) if isinstance(dose.filter, str) else dose.filter

    def response(frequency: Tensor) -> Tensor:
        if kernel is None:
            wanted = window(str(dose.filter), dose.cutoff)(frequency / PITCH)
        else:
            wanted = torch.exp(-((frequency / (PITCH * pixel_mm) / kernel.frequency) ** kernel.exponent))
        return wanted / torch.sinc(frequency).square()

    return response
