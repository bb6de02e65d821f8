"""The same drawing by another hand: random line weight, tone, softness and grain, so that no model learns one pen."""

import cv2
import numpy as np

from translate.data.augment import sample_seed
from translate.data.intensity import IntensityRange

# At a strength of 1
LINE_WEIGHT = 1.0  # share of a pixel that lines grow or shrink by on each side
SOFTNESS = 0.8  # sigma of the blur, in pixels
PAPER = 0.1  # how much darker paper can be
CONTRAST = 0.3  # relative change of how dark the ink is
GRAIN = 0.03  # standard deviation of the noise


def redraw(pixels: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """A drawing (H, W, C) of any dtype, dark on bright, as float32 in [0, 1]; a pure function of the seed.

    Args:
        strength: 0 changes nothing but the dtype; at 1 each of the constants above is the largest change.
    """
    high = np.float32(IntensityRange.of_dtype(pixels.dtype).high)
    drawing = pixels.astype(np.float32) / high
    rng = np.random.default_rng(sample_seed(seed, 5))
    growth, softness, paper, contrast, grain = rng.uniform((-1, 0, 0, -1, 0), 1) * strength
    neighbour = cv2.erode if growth > 0 else cv2.dilate  # the darkest or the brightest of 3 x 3 pixels
    changed = neighbour(drawing, np.ones((3, 3), np.uint8)).reshape(drawing.shape)
    drawing = drawing + np.float32(abs(growth) * LINE_WEIGHT) * (changed - drawing)
    if softness:
        drawing = cv2.GaussianBlur(drawing, (0, 0), softness * SOFTNESS).reshape(drawing.shape)
    drawing = (1 - paper * PAPER) * (1 - (1 + contrast * CONTRAST) * (1 - drawing))
    drawing = drawing + rng.normal(0, grain * GRAIN, (*drawing.shape[:2], 1))
    return np.clip(drawing, 0, 1).astype(np.float32)
