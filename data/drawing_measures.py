"""What a drawing is like: its tones, its strokes, and the part of the picture that it takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np

from translate.data.drawing_style import DrawingStyle
from translate.data.intensity import IntensityRange, check_finite, opacity_of
from translate.data.picture import ImageError, Picture

STYLE_PICTURES = 64  # medians over more change little
INK_DENSITY = 0.25  # of the way from paper to ink, from which on a pixel counts as drawn
SOFT_EDGE = 0.006  # of the longer side: how far the soft edge of a stroke reaches, at least 2 pixels
UPSAMPLED, ENLARGED = 4, 1000  # strokes are measured on a picture up to so much larger, of about so many pixels


@dataclass(frozen=True)
class Tones:
    """Grey levels from 0 to 1: `paper` is the most frequent one, `ink` what a twentieth of the ink goes beyond."""

    paper: float
    ink: float


def measure_style(pictures: Iterable[Picture]) -> DrawingStyle:
    """The medians of the first 64 drawings, as they are given: the network's own pixels.

    Transparent is white paper. Empty pictures count for the frame only.

    Raises:
        ImageError: there is no picture, none shows a drawing, or values are not finite.
    """
    greys = [grey_values(picture) for picture in islice(pictures, STYLE_PICTURES)]
    if not greys:
        raise ImageError("the style of no drawings cannot be measured: give at least one")
    measured = [_measure(grey) for grey in greys]
    drawn = np.array([one for one in measured if one is not None])
    if not len(drawn):
        raise ImageError(f"no drawing is visible in {len(greys)} pictures, they are empty: give drawings")
    paper, ink, weight, coverage = (float(value) for value in np.median(drawn, axis=0))
    height, width = (round(float(side)) for side in np.median([grey.shape for grey in greys], axis=0))
    return DrawingStyle(paper=paper, ink=ink, line_weight=weight, width=width, height=height, coverage=coverage)


def grey_values(picture: Picture) -> np.ndarray:
    """(H, W) float32 in [0, 1], Rec. 601 luma, on white where the picture is transparent.

    Raises:
        ImageError: values are not finite.
    """
    check_finite(picture)
    high = np.float32(IntensityRange.of_dtype(picture.pixels.dtype).high)
    values = np.clip(picture.pixels.astype(np.float32) / high, 0, 1)
    grey = values[..., 0] if values.shape[2] == 1 else cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)
    if picture.alpha is not None:
        grey = 1 - (1 - grey) * opacity_of(picture.alpha, np.float32)
    return np.asarray(grey, np.float32)


def measure_tones(grey: np.ndarray) -> Tones | None:
    """Paper and ink of an evenly lit drawing (H, W), or None where nothing is drawn.

    Paper is the most frequent tone of the brighter or the darker half, whichever the border of the picture favours;
    in doubt the brighter one.
    """
    levels = np.rint(grey * 255).astype(np.int64)
    counts = np.convolve(np.bincount(levels.ravel(), minlength=256), np.ones(3), mode="same")
    dark = is_dark_ground(grey)
    half = slice(0, 128) if dark else slice(128, 256)
    paper = (int(np.argmax(counts[half])) + half.start) / 255
    away = paper - grey if not dark else grey - paper
    ink = away[away > 0.12]
    if ink.size < max(4, grey.size * 2e-4):
        return None
    reach = float(np.percentile(ink, 95))
    return Tones(paper, paper + reach if dark else paper - reach)


def is_dark_ground(grey: np.ndarray) -> bool:
    """Whether a drawing (H, W) is bright on dark: most of it is dark, and so is its border."""
    edge = max(1, min(grey.shape) // 40)
    border = np.concatenate(
        [grey[:edge].ravel(), grey[-edge:].ravel(), grey[:, :edge].ravel(), grey[:, -edge:].ravel()]
    )
    return bool(np.median(grey) < 0.45 and np.median(border) < 0.45)


def ink_density(grey: np.ndarray, tones: Tones) -> np.ndarray:
    """(H, W) float32: 0 for paper, 1 for ink, whichever of them is darker."""
    return np.clip((tones.paper - grey) / np.float32(tones.paper - tones.ink), 0, 1, dtype=np.float32)


def ink_box(density: np.ndarray) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom (past the end) of what is drawn, or None."""
    drawn = density > INK_DENSITY
    columns, rows = np.flatnonzero(drawn.any(axis=0)), np.flatnonzero(drawn.any(axis=1))
    if not columns.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def coverage_of(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> float:
    """How much of a picture (H, W) a box takes, in the direction in which it takes more."""
    return max((box[2] - box[0]) / shape[1], (box[3] - box[1]) / shape[0])


def line_weight_of(density: np.ndarray) -> float:
    """The usual width of strokes in pixels, 0 where nothing is drawn; filled areas hardly count.

    The median over the middle lines of the ink, found where the distance to paper is largest, of twice that distance.
    Of a shaded drawing it is the width of what pencil strokes leave dark.
    """
    factor = int(np.clip(round(ENLARGED / max(density.shape)), 1, UPSAMPLED))
    large = cv2.resize(density, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    inked = (large > 0.5).astype(np.uint8)
    inked = cv2.copyMakeBorder(inked, 1, 1, 1, 1, cv2.BORDER_REPLICATE)  # an end of the picture is no end of a stroke
    if not inked.any() or inked.all():
        return 0.0
    distance = cv2.distanceTransform(inked, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    middle = (distance >= cv2.dilate(distance, np.ones((3, 3), np.uint8))) & (distance > 0)
    return float(np.median(2 * distance[middle] - 1)) / factor


def shaded_share(density: np.ndarray) -> float:
    """How much of the ink is shading: mid-tones that are no soft edge of a solid stroke, from 0 to 1."""
    side = 2 * max(2, round(SOFT_EDGE * max(density.shape))) + 1
    solid = cv2.dilate((density > 0.75).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    drawn = density > INK_DENSITY
    return float((drawn & ~solid).sum() / max(1, drawn.sum()))


def _measure(grey: np.ndarray) -> tuple[float, float, float, float] | None:
    tones = measure_tones(grey)
    if tones is None:
        return None
    density = ink_density(grey, tones)
    box = ink_box(density)
    weight = line_weight_of(density)
    return None if box is None or not weight else (tones.paper, tones.ink, weight, coverage_of(box, grey.shape))
