"""Noise of MR and X-ray images, and plain noise. Numpy in, numpy out; the same seed gives the same noise.

For CT see `ct_noise`. All functions leave their input alone and return float32 of its shape, neither rounded nor
clipped. Each image needs a seed of its own: with equal seeds the noise is equal.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from translate.data.scans import ScanError


def white(values: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Independent Gaussian noise; sigma in the values' units.

    Raises:
        ScanError: sigma is negative.
    """
    _not_negative(sigma, "sigma")
    noise = np.random.default_rng(seed).standard_normal(values.shape, dtype=np.float32)
    return np.asarray(values, np.float32) + np.float32(sigma) * noise


def rician(values: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """The magnitude of an MR signal with noise in both channels (Gudbjartsson 1995, doi:10.1002/mrm.1910340618).

    Where there is no signal the result has the mean sigma * sqrt(pi / 2); it is never negative.

    Args:
        values: of any shape, the magnitude without noise.
        sigma: of one channel, in the values' units; see `percent_of_maximum`.

    Raises:
        ScanError: sigma is negative.
    """
    _not_negative(sigma, "sigma")
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *values.shape), dtype=np.float32)
    return np.hypot(np.asarray(values, np.float32) + np.float32(sigma) * real, np.float32(sigma) * imaginary)


def percent_of_maximum(values: np.ndarray, percent: float) -> float:
    """The sigma that literature on MR denoising calls "9 %": of the largest value of the volume, not of a slice."""
    return percent / 100 * float(np.max(values))


def poisson_gaussian(values: np.ndarray, photons: float, electronic: float, seed: int) -> np.ndarray:
    """Photon counts with Gaussian noise of the detector, in the values' units. The mean is kept.

    Args:
        values: in [0, 1]: 1 is what a pixel without an object receives. Divide by the white level first.
        photons: at 1, in a pixel.
        electronic: standard deviation of the detector's own noise, in photons.

    Raises:
        ScanError: values are negative or not finite, photons are not positive, or electronic is negative.
    """
    if not photons > 0:
        raise ScanError(f"the photons at white must be above 0, got {photons!r}")
    _not_negative(electronic, "the electronic noise")
    if not (np.isfinite(values).all() and np.min(values, initial=0) >= 0):
        raise ScanError(
            "photons are counted where values are finite and 0 or more: "
            "subtract the offset, and divide by the white level"
        )
    random = np.random.default_rng(seed)
    counts = random.poisson(np.asarray(values, np.float64) * photons).astype(np.float32)
    counts += np.float32(electronic) * random.standard_normal(values.shape, dtype=np.float32)
    return counts / np.float32(photons)


def detector_blur(values: np.ndarray, mtf: float | Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What a detector with this modulation transfer function sees. The mean is kept; edges are mirrored.

    Args:
        values: (H, W).
        mtf: the sigma of a Gaussian in pixels, 0 for a perfect detector; or a function of the frequency in cycles per
            pixel, 0 to 0.71 along the diagonal, that is 1 at 0.

    Raises:
        ScanError: the sigma is negative, or the function is not 1 at 0.
    """
    if callable(mtf):
        response = mtf
    else:
        _not_negative(mtf, "the sigma of a detector")
        spread = 2 * (np.pi * mtf) ** 2

        def response(frequency: np.ndarray) -> np.ndarray:
            return np.exp(-spread * frequency**2)

    height, width = values.shape
    # Twice the image, mirrored: a filter that is equal in all directions keeps the mean of each half.
    mirrored = np.pad(np.asarray(values, np.float64), ((0, height), (0, width)), mode="symmetric")
    frequency = np.hypot(np.fft.fftfreq(2 * height)[:, None], np.fft.rfftfreq(2 * width))
    gain = np.asarray(response(frequency), np.float64)
    if not abs(gain[0, 0] - 1) < 1e-6:
        raise ScanError(f"a modulation transfer function is 1 at the frequency 0, got {float(gain[0, 0])!r}")
    blurred = np.fft.irfft2(np.fft.rfft2(mirrored) * gain, s=mirrored.shape)
    return blurred[:height, :width].astype(np.float32)


def xray(
    values: np.ndarray,
    photons: float,
    seed: int,
    *,
    electronic: float = 10.0,
    mtf: float | Callable[[np.ndarray], np.ndarray] = 0.0,
) -> np.ndarray:
    """A radiograph of fewer photons: `poisson_gaussian`, then `detector_blur`. The mean is kept.

    The blur is of image and noise. For a pair whose target is as sharp as its source, the target is
    `detector_blur(values, mtf)`.

    Args:
        values: (H, W) in [0, 1], see `poisson_gaussian`.

    Raises:
        ScanError: as these two.
    """
    return detector_blur(poisson_gaussian(values, photons, electronic, seed), mtf)


def _not_negative(value: float, name: str) -> None:
    if not (value >= 0 and np.isfinite(value)):
        raise ScanError(f"{name} must be a finite number of 0 or more, got {value!r}")
