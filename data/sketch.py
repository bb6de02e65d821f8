"""Drawings derived from photographs, in several styles and strengths: random settings, and what they make of a picture.

The settings say everything, also the seeds of textures: kept as JSON, they give the same drawing of the same picture
again with the same versions of NumPy and OpenCV.
"""

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import cv2
import numpy as np

from translate.data.foreground import flatten
from translate.data.intensity import DTYPE_RANGES, LUMA, check_finite
from translate.data.picture import ImageError, Metadata, Picture
from translate.data.sketch_lines import Canny, Dog, Xdog, blurred
from translate.data.sketch_pencil import Pencil

STYLES: dict[str, type[Canny] | type[Dog] | type[Xdog] | type[Pencil]] = {
    "canny": Canny,
    "dog": Dog,
    "pencil": Pencil,
    "xdog": Xdog,
}
SIDE = 256  # shorter side of the picture whose pixels are the unit of lengths in settings
LONGEST = 32_766  # pixels, of a side that OpenCV can resample


@dataclass(frozen=True)
class Paper:
    """Paper that is not plain white.

    tone: its light, 1 is white.
    grain: standard deviation of its light from place to place.
    missed: share of the ink that is missing where the paper lies lowest.
    seed: of grain and ink.
    """

    tone: float
    grain: float
    missed: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        return cls(rng.uniform(0.82, 1), rng.uniform(0.004, 0.025), rng.uniform(0.2, 0.7), int(rng.integers(2**32)))

    def put(self, ink: np.ndarray, unit: float) -> np.ndarray:
        """Light (H, W) of ink (H, W) on this paper."""
        rng = np.random.default_rng(self.seed)
        tooth = _texture(rng, ink.shape, 0.7 * unit)  # what the pencil catches on
        pressure = _texture(rng, ink.shape, 12 * unit)
        uneven = 1 - self.missed * np.clip(0.35 + 0.3 * tooth + 0.2 * pressure, 0, 1)
        return (self.tone + self.grain * tooth) * (1 - uneven * ink)


@dataclass(frozen=True)
class SketchSettings:
    """How one drawing is made.

    darkness: of full ink, 1 is black.
    paper: None is plain white.
    """

    style: Canny | Dog | Xdog | Pencil
    darkness: float
    paper: Paper | None = None

    def to_json(self) -> dict[str, Any]:
        name = next(name for name, style in STYLES.items() if type(self.style) is style)
        paper = asdict(self.paper) if self.paper else None
        return {"style": name, "settings": asdict(self.style), "darkness": self.darkness, "paper": paper}

    @classmethod
    def from_json(cls, entries: dict[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ImageError: for an unknown style, and where something is missing or unknown.
        """
        try:
            check_styles([entries["style"]])
            style = STYLES[entries["style"]](**entries["settings"])
            return cls(style, entries["darkness"], Paper(**entries["paper"]) if entries["paper"] else None)
        except (KeyError, TypeError) as error:
            raise ImageError(
                f"{entries!r} does not say how a drawing is made: {error}; take an entry of dataset.json"
            ) from None


def draw_style(seed: int, styles: Sequence[str] = tuple(STYLES), *, textured: bool = False) -> SketchSettings:
    """Random settings of one of these styles, a pure function of its arguments.

    Args:
        textured: on paper with a tone and a grain, that takes ink unevenly.

    Raises:
        ImageError: for styles that do not exist, or none.
    """
    check_styles(styles)
    rng = np.random.default_rng(seed)
    style = STYLES[styles[int(rng.integers(len(styles)))]].draw(rng)
    darkness = rng.uniform(0.7, 1)
    return SketchSettings(style, darkness, Paper.draw(rng) if textured else None)


def check_styles(styles: Sequence[str]) -> None:
    """Raise ImageError unless these are different styles, and at least one."""
    for name in styles:
        if name not in STYLES:
            close = difflib.get_close_matches(str(name), STYLES, 1)
            advice = f"; did you mean {close[0]!r}?" if close else ""
            raise ImageError(f"unknown style {name!r}, allowed are {', '.join(STYLES)}{advice}")
    if not styles or len(set(styles)) < len(styles):
        raise ImageError(f"drawings need different styles, at least one of {', '.join(STYLES)}, got {list(styles)}")


def sketch(picture: Picture, settings: SketchSettings) -> Picture:
    """A drawing of a picture: uint8 (H, W, 1), dark on light paper. A pure function of its arguments.

    Where the picture is transparent there is paper. Lines are as wide as the picture asks for: twice the size has lines
    of twice the width.

    Raises:
        ImageError: values that are not finite, or a side of more than 32766 pixels.
    """
    check_finite(picture)
    height, width = picture.pixels.shape[:2]
    if max(height, width) > LONGEST:
        raise ImageError(
            f"the picture has {width} x {height} pixels, drawings have at most {LONGEST} a side: reduce it with a size"
        )
    unit = max(min(height, width) / SIDE, 0.5)
    seen = np.ones((height, width), bool) if picture.alpha is None else picture.alpha > 0
    drawn = settings.style.ink(light_of(picture), unit, seen) if seen.any() else np.zeros((height, width))
    ink = settings.darkness * drawn
    light = settings.paper.put(ink, unit) if settings.paper else 1 - ink
    pixels = np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)
    return Picture(pixels[..., None], None, Metadata("png", dpi=picture.metadata.dpi))


def light_of(picture: Picture) -> np.ndarray:
    """float32 (H, W) in [0, 1]: the luma of a picture on white, Rec. 601."""
    pixels = flatten(picture).pixels
    values = pixels.astype(np.float32) / np.float32(DTYPE_RANGES[pixels.dtype.name][1])
    light = values[..., 0] if values.shape[2] == 1 else values @ np.array(LUMA, np.float32)
    return np.clip(np.ascontiguousarray(light), 0, 1)


def _texture(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Smooth noise (H, W) of mean 0 and standard deviation 1. Made small and enlarged where it is coarse."""
    step = max(1, int(sigma / 2))
    noise = rng.standard_normal([-(-side // step) + 1 for side in shape], dtype=np.float32)
    smooth = cv2.resize(blurred(noise, sigma / step), shape[::-1], interpolation=cv2.INTER_LINEAR)
    return (smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)
