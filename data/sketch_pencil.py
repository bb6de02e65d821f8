"""Pencil drawings of photographs: outlines of straight strokes, and tone laid down as hatching.

Lu, Xu and Jia 2012 (doi:10.2312/PE/EXPRESSIVE/NPAR12/065-074). Their scanned texture of pencil strokes is made here:
noise smeared along a direction. Lengths in settings are pixels of a picture whose shorter side is 256.
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from translate.data.sketch_lines import blurred

DIRECTIONS = 8  # of the strokes of outlines
LEVELS = 256  # grey levels to which tones are matched
MEAN = 0.8  # light of a sheet that was hatched over once


@dataclass(frozen=True)
class Pencil:
    """Outlines and hatching.

    stroke: length of the strokes of outlines, as a share of the shorter side.
    outline: darkness of the outlines, 1 is as the gradients ask for.
    shading: darkness of the tone; 0 leaves the outlines alone.
    grain: width of a hatching stroke.
    angle: direction of the hatching in degrees, anticlockwise from the horizontal.
    cross: share of the dark tones' ink that is hatched in a second direction.
    seed: of the hatching.
    """

    stroke: float
    outline: float
    shading: float
    grain: float
    angle: float
    cross: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        return cls(
            rng.uniform(0.02, 0.045),
            rng.uniform(0.8, 1.6),
            rng.uniform(0.35, 1.0),
            rng.uniform(0.7, 1.4),
            rng.uniform(20, 70) + 90 * rng.integers(2),
            rng.uniform(0, 0.6),
            int(rng.integers(2**32)),
        )

    def ink(self, light: np.ndarray, unit: float, seen: np.ndarray) -> np.ndarray:
        outlines = self._outlines(light, unit, seen)
        return 1 - (1 - outlines) * self._hatching(light, unit, seen)

    def _outlines(self, light: np.ndarray, unit: float, seen: np.ndarray) -> np.ndarray:
        """Gradients as strokes: each is drawn along the direction in which its neighbours continue it best."""
        smooth = blurred(light, 0.6 * unit)
        strength = np.hypot(*(cv2.Sobel(smooth, cv2.CV_32F, *order, scale=unit / 8) for order in ((1, 0), (0, 1))))
        kernels = [_line(self.stroke * min(light.shape), turn * np.pi / DIRECTIONS) for turn in range(DIRECTIONS)]
        responses = np.stack([cv2.filter2D(strength, -1, kernel) for kernel in kernels])
        best = responses.argmax(axis=0)
        strokes = sum(cv2.filter2D(strength * (best == turn), -1, kernel) for turn, kernel in enumerate(kernels))
        assert isinstance(strokes, np.ndarray)
        strong = max(float(np.quantile(strokes[seen], 0.985)), 0.01)
        return np.clip(self.outline * np.clip(strokes / strong - 0.08, 0, None), 0, 0.95)

    def _hatching(self, light: np.ndarray, unit: float, seen: np.ndarray) -> np.ndarray:
        """The light of the tones: what a sheet hatched over beta times has, beta from the tone, is sheet**beta."""
        tone = np.clip(pencil_tone(blurred(light, unit), seen), 0.02, 1) ** self.shading
        beta = blurred(np.log(tone) / np.log(MEAN), unit)
        rng = np.random.default_rng(self.seed)
        first, second = (_sheet(light.shape, self.grain * unit, self.angle + turn, rng) for turn in (0.0, 65.0))
        dark = self.cross * np.clip((beta - 1.5) / 3, 0, 1)
        return first ** (beta * (1 - dark)) * second ** (beta * dark)


def pencil_tone(light: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The light with the histogram of pencil drawings: mostly paper, some even grey, a little dark (section 4.1)."""
    level = np.arange(LEVELS)
    bright = np.exp((level - 255) / 9) / 9
    middle = ((level >= 105) & (level <= 225)) / 120
    dark = np.exp(-((level - 90) ** 2) / (2 * 11**2)) / np.sqrt(2 * np.pi * 11**2)
    wanted = np.cumsum(0.52 * bright / bright.sum() + 0.37 * middle / middle.sum() + 0.11 * dark / dark.sum())
    given = np.cumsum(np.bincount(np.rint(np.clip(light[seen], 0, 1) * 255).astype(int), minlength=LEVELS))
    matched = np.interp(given / given[-1], wanted, level) / 255
    return np.interp(np.clip(light, 0, 1) * 255, level, matched).astype(np.float32)


def _sheet(shape: tuple[int, ...], grain: float, angle: float, rng: np.random.Generator) -> np.ndarray:
    """Light of paper that was hatched over once: strokes of a direction, some pressed harder, MEAN on average."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    smeared = cv2.filter2D(blurred(noise, grain / 2), -1, _line(24 * grain, np.deg2rad(angle)))
    smeared += 0.5 * smeared.std() * blurred(noise[::-1].copy(), max(grain / 2, 0.5))
    smeared = (smeared - smeared.mean()) / max(float(smeared.std()), 1e-6)
    return np.clip(MEAN + 0.12 * smeared, 0.3, 0.995)


def _line(length: float, angle: float) -> np.ndarray:
    """A kernel that averages along a line of this length in pixels."""
    half = max(1, round(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    across, down = round(half * np.cos(angle)), round(-half * np.sin(angle))
    cv2.line(kernel, (half - across, half - down), (half + across, half + down), 1.0)
    return kernel / kernel.sum()
