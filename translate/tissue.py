"""Where a scan is flat, and which tissue a pixel is in, told without looking at the noise of the pixel itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

HU_BANDS = {  # from, below; between lung and fat there is no tissue, only mixtures
    "air": (-math.inf, -900.0),
    "lung": (-900.0, -500.0),
    "fat": (-150.0, -30.0),
    "soft tissue": (-30.0, 200.0),
    "bone": (200.0, math.inf),
}
QUARTERS = ("darkest quarter", "second quarter", "third quarter", "brightest quarter")  # of each slice, in other units
FLATTEST = 0.25  # part of the patches of a slice that is used, by their standard deviation


def band_limits(middle: np.ndarray, units: str) -> dict[str, tuple[float, float]]:
    """The bands of tissue, from and below, by name: HU_BANDS, or the quarters of a slice's values in other units."""
    if units == "HU":
        return HU_BANDS
    cuts = [-math.inf, *np.quantile(middle, (0.25, 0.5, 0.75)).tolist(), math.inf]
    return {name: (cuts[number], cuts[number + 1]) for number, name in enumerate(QUARTERS)}


def ring_median(values: np.ndarray) -> np.ndarray:
    """The median of 13 pixels on a ring of 4 pixels around each pixel of (H, W), float32.

    The pixel itself and its neighbours take no part. Up to the very edge between two tissues it is a value of the
    pixel's side, never one in between, because most of the ring lies there and the number is odd.
    """
    ring = _ring(values.astype(np.float32), 4, 13)
    ring.partition(6, axis=0)
    return ring[6]


def ring_extremes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value, of little noise, on a ring of 5 pixels around each pixel of (H, W), float32."""
    smooth = cv2.GaussianBlur(values.astype(np.float32), (5, 5), 1.0, borderType=cv2.BORDER_REFLECT)
    ring = _ring(smooth, 5, 12)
    return ring.min(axis=0), ring.max(axis=0)


def _ring(values: np.ndarray, radius: int, points: int) -> np.ndarray:
    """(points, H, W): the values at points around each pixel, mirrored at the borders."""
    padded = np.pad(values, radius, mode="reflect")
    height, width = values.shape
    angles = 2 * np.pi * np.arange(points) / points
    offsets = np.rint(radius * np.stack([1 + np.sin(angles), 1 + np.cos(angles)], axis=1)).astype(int)
    return np.stack([padded[down : down + height, right : right + width] for down, right in offsets])


def flat_patches(values: np.ndarray, side: int, inside: tuple[float, float] | None) -> list[tuple[int, int]]:
    """The (top, left) of the flattest patches of a slice (H, W), which do not overlap.

    They are those whose remainder after a fit of second order deviates least. Patches of a constant (cut-off air,
    padding) are left out.

    Args:
        side: pixels.
        inside: where the fitted values must lie. None is for magnitudes such as MR's: a patch's mean must be five
            times its noise, so that air, whose noise is Rician, is left out.

    Returns:
        the flattest quarter of such patches, at least one of them; none where there are none.
    """
    height, width = values.shape
    places = [(top, left) for top in range(0, height - side + 1, side) for left in range(0, width - side + 1, side)]
    if not places:
        return []
    patches = cut(values, places, side)
    residual = detrend(patches, 2)
    fitted, deviation = patches - residual, residual.std(axis=(1, 2))
    if inside is None:
        tissue = fitted.mean(axis=(1, 2)) > 5 * deviation
    else:
        tissue = (fitted.min(axis=(1, 2)) >= inside[0]) & (fitted.max(axis=(1, 2)) <= inside[1])
    tissue &= (np.diff(patches, axis=2) == 0).mean(axis=(1, 2)) < 0.5
    chosen = np.flatnonzero(tissue)
    chosen = chosen[np.argsort(deviation[chosen], kind="stable")][: max(1, round(FLATTEST * len(chosen)))]
    return [places[index] for index in sorted(chosen)]


def cut(values: np.ndarray, places: Sequence[tuple[int, int]], side: int) -> np.ndarray:
    """(N, side, side) float64: the patches at these places."""
    patches = [values[top : top + side, left : left + side] for top, left in places]
    return np.array(patches, dtype=np.float64).reshape(-1, side, side)


def detrend(regions: np.ndarray, order: int) -> np.ndarray:
    """(N, H, W) float64: what a polynomial of this order, fitted to each region, leaves."""
    basis = polynomials(*regions.shape[1:], order)
    flat = regions.reshape(len(regions), -1).astype(np.float64)
    return (flat - flat @ basis @ basis.T).reshape(regions.shape)


@cache
def polynomials(height: int, width: int, order: int) -> np.ndarray:
    """(H * W, terms), orthonormal."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = [y**i * x**j for i in range(order + 1) for j in range(order + 1 - i)]
    return np.linalg.qr(np.stack([term.ravel() for term in terms], axis=1))[0]
