"""Line drawings of photographs: Canny's edges, difference of Gaussians, and its extension XDoG.

Lengths in settings are pixels of a picture whose shorter side is 256; `unit` is how many real pixels one of them has.
Every style maps the light of a picture, float32 (H, W), 0 black to 1 white, to ink of the same shape, 0 none to 1 full.
What is strong or dark is judged by the pixels that are `seen`, boolean (H, W), some of them true; a plain ground has no
say. Values are drawn evenly from ranges that were chosen by eye, so that most drawings look drawn.
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

FAINTEST = 0.03  # contrast, as a share of the step from black to white, below which nothing is an edge
RATIO = 1.6  # of the two Gaussians, near the Laplacian of a Gaussian (Marr and Hildreth 1980)


@dataclass(frozen=True)
class Canny:
    """Edges of one width (Canny 1986, doi:10.1109/TPAMI.1986.4767851).

    blur: sigma of the Gaussian before the gradients.
    edges: the share of pixels whose gradient is strong enough to begin a line.
    shortest: lines that take less of the shorter side are left out.
    weight: width of a line.
    """

    blur: float
    edges: float
    shortest: float
    weight: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        return cls(rng.uniform(0.8, 1.6), rng.uniform(0.05, 0.12), rng.uniform(0.04, 0.1), rng.uniform(0.9, 2.4))

    def ink(self, light: np.ndarray, unit: float, seen: np.ndarray) -> np.ndarray:
        height, width = light.shape
        factor = 2 if unit < 2 else 1  # lines of few pixels are smooth when they are drawn larger
        large = cv2.resize(light, (factor * width, factor * height), interpolation=cv2.INTER_LINEAR)
        pixels = factor * unit
        smooth = blurred(large, self.blur * pixels)
        gradients = [cv2.Sobel(smooth, cv2.CV_32F, *order, scale=pixels / 8) for order in ((1, 0), (0, 1))]
        strength = np.hypot(*gradients)
        judged = np.repeat(np.repeat(seen, factor, axis=0), factor, axis=1)
        high = max(float(np.quantile(strength[judged], 1 - self.edges)), FAINTEST / (self.blur * np.sqrt(2 * np.pi)))
        scale = 16000 / max(float(strength.max()), high)  # Canny takes gradients as 16-bit integers
        across, down = (np.rint(gradient * scale).astype(np.int16) for gradient in gradients)
        edges = cv2.Canny(across, down, 0.4 * high * scale, high * scale, L2gradient=True)
        kept = _without_short(edges > 0, self.shortest * factor * min(height, width))
        if not kept.any():
            return np.zeros_like(light)
        distance = cv2.distanceTransform((~kept).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        lines = np.clip(self.weight * pixels / 2 + 0.5 - distance, 0, 1)
        return cv2.resize(lines, (width, height), interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Dog:
    """Soft lines where a picture is darker than its surroundings: difference of Gaussians.

    sigma: of the narrow Gaussian, which sets the width of the lines.
    flow: sigma of the smoothing along the lines (Kang et al. 2007, doi:10.1145/1274871.1274878).
    threshold, softness: of the response, as shares of a strong one.
    """

    sigma: float
    flow: float
    threshold: float
    softness: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        return cls(rng.uniform(0.8, 1.5), rng.uniform(1.8, 3.5), rng.uniform(0.2, 0.4), rng.uniform(0.3, 0.8))

    def ink(self, light: np.ndarray, unit: float, seen: np.ndarray) -> np.ndarray:
        darker = blurred(light, RATIO * self.sigma * unit) - blurred(light, self.sigma * unit)
        darker = along_flow(darker, light, self.sigma * unit, self.flow * unit)
        strong = max(float(np.quantile(np.abs(darker[seen]), 0.97)), FAINTEST / 4)
        return np.clip((darker / strong - self.threshold) / self.softness, 0, 1)


@dataclass(frozen=True)
class Xdog:
    """Lines and black areas: XDoG (Winnemöller, Kyprianidis and Olsen 2012, doi:10.1016/j.cag.2012.03.004).

    sigma: of the narrow Gaussian.
    tau: weight of the wide one; the nearer to 1, the more lines and the less tone.
    epsilon: light from which on there is paper, of the sharpened picture.
    phi: steepness of the step from paper to ink.
    flow: sigma of the smoothing along the lines.
    """

    sigma: float
    tau: float
    epsilon: float
    phi: float
    flow: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        return cls(
            rng.uniform(0.6, 1.3),
            rng.uniform(0.945, 0.975),
            rng.uniform(0.35, 0.5),
            rng.uniform(2.5, 6.0),
            rng.uniform(1.5, 3.5),
        )

    def ink(self, light: np.ndarray, unit: float, seen: np.ndarray) -> np.ndarray:
        even = evened(light, seen)
        wide = blurred(even, RATIO * self.sigma * unit)
        response = blurred(even, self.sigma * unit) - self.tau * wide
        response = along_flow(response, light, self.sigma * unit, self.flow * unit) / (1 - self.tau)
        return np.tanh(self.phi * np.clip(self.epsilon - response, 0, None))


def blurred(values: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), max(sigma, 0.3), borderType=cv2.BORDER_REFLECT)


def evened(light: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The light stretched to [0, 1], with a gamma that brings its median to 0.7: dark pictures are not all ink."""
    low, middle, high = np.quantile(light[seen], (0.01, 0.5, 0.99))
    if high - low < FAINTEST:
        return np.ones_like(light)
    stretched = np.clip((light - low) / (high - low), 0, 1)
    gamma = np.log(0.7) / np.log(np.clip((middle - low) / (high - low), 0.1, 0.9))
    return stretched ** np.float32(gamma)


def along_flow(values: np.ndarray, light: np.ndarray, sigma: float, reach: float) -> np.ndarray:
    """Values averaged along the edges of a picture, which joins the pieces of a line and drops specks.

    Directions are those of the structure tensor, smoothed over 2 * sigma pixels. `reach` is the sigma of the average.
    """
    smooth = blurred(light, sigma)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    tensor = [blurred(product, 2 * sigma) for product in (across * across, across * down, down * down)]
    angle = np.arctan2(2 * tensor[1], tensor[0] - tensor[2]) / 2  # of the gradient
    step = max(1.0, reach / 2)
    x, y = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in reversed(light.shape)))
    total, weights = values.copy(), 1.0
    for distance in np.arange(step, 2 * reach + step / 2, step):
        weight = float(np.exp(-0.5 * (distance / reach) ** 2))
        for way in (float(distance), -float(distance)):
            places = (x - way * np.sin(angle), y + way * np.cos(angle))
            total += weight * cv2.remap(values, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        weights += 2 * weight
    return (total / weights).astype(np.float32)


def _without_short(edges: np.ndarray, length: float) -> np.ndarray:
    """The edges without the connected ones of fewer pixels."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(edges.astype(np.uint8), connectivity=8)
    long = statistics[:, cv2.CC_STAT_AREA] >= length
    long[0] = False  # what is no edge
    return long[labels]
