"""How much of what was taken away is anatomy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from translate.tissue import cut

EDGE = 6.0  # times the gradient of noise is an edge
SCALES = (1.5, 3.0)  # pixels, standard deviations


class Structure:
    """The correlation of the residual with the edges of the output, from 0 to 1, over all slices that were added.

    At edges (where the output's gradient is EDGE times the noise's) a blur leaves a residual that looks like a
    difference of Gaussians of the picture; noise does not, be it correlated or not. The output tells where edges are
    and what they look like, because the input holds the very noise that was taken away.
    Measured on quarter-dose CT: full dose as output 0.01 to 0.02, NLM 0.04 to 0.1, median of 3 pixels 0.24 to 0.39,
    Gaussian of 1 and 2 pixels 0.56 to 0.71.
    """

    def __init__(self) -> None:
        self._sums = np.zeros(3)  # of residual^2, edge^2, residual * edge
        self._pixels = 0

    def add(self, source: np.ndarray, output: np.ndarray, places: Sequence[tuple[int, int]], side: int) -> None:
        """Take one slice (H, W) of float64; places are its flat patches, which say what gradients noise has."""
        noise = float(np.median(cut(gradient(blur(source, SCALES[0])), places, side)))
        fine, coarse = (blur(output, scale) for scale in SCALES)
        edges = gradient(fine) > EDGE * noise
        residual, edge = (output - source)[edges], (fine - coarse)[edges]
        self._sums += (residual @ residual, edge @ edge, residual @ edge)
        self._pixels += residual.size

    @property
    def value(self) -> float | None:
        """0 where nothing was changed, None where there is no edge."""
        if not self._pixels:
            return None
        residual, edge, both = self._sums.tolist()
        return abs(both) / math.sqrt(residual * edge) if residual and edge else 0.0


def blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian of sigma pixels, mirrored at the borders."""
    return cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def gradient(values: np.ndarray) -> np.ndarray:
    """Its length, in units per pixel (Sobel)."""
    down, right = (cv2.Sobel(values, cv2.CV_64F, *axes, scale=1 / 8) for axes in ((0, 1), (1, 0)))
    return np.hypot(down, right)
