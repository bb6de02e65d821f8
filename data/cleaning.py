"""A photograph or scan of a drawing on paper, brought to what the drawings of a training looked like."""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from translate.data.drawing_lines import FINER, change_line_weight, find_specks
from translate.data.drawing_measures import (
    Tones,
    grey_values,
    ink_box,
    ink_density,
    is_dark_ground,
    line_weight_of,
    measure_tones,
    shaded_share,
)
from translate.data.drawing_style import DrawingStyle
from translate.data.intensity import IntensityRange
from translate.data.paper_light import paper_light
from translate.data.paper_sheet import find_sheet
from translate.data.picture import ImageError, Picture
from translate.data.sheet_shape import rectify, sheet_aspect

SMALLEST = 16  # pixels of the shorter side
LARGEST = 2400  # pixels of the longer side that are looked at; more of them show no more of a drawing
SHEET = 1600  # pixels of the longer side of a sheet that is cut out
UNEVEN, GRAINY = 0.04, 0.015  # how far paper varies before it is evened
PAPER, INK = 0.03, 0.1  # how far tones may be from the wanted ones
SMALL = 0.6  # of the usual coverage, below which a drawing is brought closer
SAME_WEIGHT = 1.6  # times that lines may be thicker or thinner: drawings of one style differ by half
SHADED = 0.04  # of the ink, from which on a drawing is shaded and has no line weight


@dataclass(frozen=True, eq=False)
class CleanedDrawing:
    """picture: (H, W, 1) uint8 without alpha, of the style's width and height. steps: what was done, in plain words."""

    picture: Picture
    steps: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Drawing:
    """grey: (H, W) float32 in [0, 1], darker than its paper."""

    grey: np.ndarray
    steps: tuple[str, ...] = ()

    def now(self, grey: np.ndarray, *steps: str) -> "_Drawing":
        return _Drawing(grey, (*self.steps, *steps))


def clean_drawing(picture: Picture, style: DrawingStyle) -> CleanedDrawing:
    """Find the sheet, even its light, remove specks, and bring size, tones and line weight to those of the style.

    Each step measures first whether it is needed: a drawing that is like the style comes back as it is. Greys stay
    what they are in relation to the paper. What is transparent is paper. A sheet is found if it is brighter than what
    it lies on; else the picture is taken for all sheet. Lines on ruled paper are not removed.

    Raises:
        ImageError: the picture is smaller than 16 pixels, has values that are not finite, or shows nothing drawn.
    """
    height, width = picture.pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise ImageError(
            f"a drawing of {width} x {height} is too small to clean, both sides must be at least {SMALLEST} pixels: "
            "scan or photograph it larger"
        )
    drawing = _one_ground(_sheet(picture, style.width / style.height), style)
    wanted = Tones(1 - style.paper, 1 - style.ink) if style.paper < style.ink else Tones(style.paper, style.ink)
    drawing = _even(drawing, wanted)
    tones = measure_tones(drawing.grey)
    if tones is None:
        raise ImageError("nothing is drawn on this paper: give a picture of a drawing, or draw with a darker pen")
    drawing = _without_specks(drawing, tones)
    drawing = _in_frame(drawing, tones, style)
    drawing = _toned(drawing, tones, wanted)
    grey = 1 - drawing.grey if style.paper < style.ink else drawing.grey
    pixels = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)[..., None]
    return CleanedDrawing(Picture(pixels), drawing.steps or ("nothing to clean",))


def _sheet(picture: Picture, aspect: float) -> _Drawing:
    """The grey of the sheet of paper, or of the whole picture."""
    grey = _reduced(grey_values(picture))
    if picture.alpha is not None or picture.pixels.shape[2] == 1:
        colours = np.repeat(grey[..., None], 3, axis=2)
    else:
        high = np.float32(IntensityRange.of_dtype(picture.pixels.dtype).high)
        colours = _reduced(np.clip(picture.pixels.astype(np.float32) / high, 0, 1))
    sheet = find_sheet(colours)
    if sheet is None:
        return _Drawing(grey)
    shape = sheet_aspect(sheet, grey.shape, aspect)
    flat = rectify(grey, sheet, shape, SHEET)
    return _Drawing(flat, ("found the sheet of paper and made it rectangular",))


def _reduced(values: np.ndarray) -> np.ndarray:
    scale = LARGEST / max(values.shape[:2])
    return values if scale >= 1 else cv2.resize(values, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _one_ground(drawing: _Drawing, style: DrawingStyle) -> _Drawing:
    """The drawing as ink on brighter paper, whatever it and the style are; what is noted is what the user gets."""
    dark = is_dark_ground(drawing.grey)
    grey = 1 - drawing.grey if dark else drawing.grey
    if dark == (style.paper < style.ink):
        return drawing.now(grey)
    turned = "bright on dark into dark on bright" if dark else "dark on bright into bright on dark"
    return drawing.now(grey, f"turned {turned}")


def _even(drawing: _Drawing, wanted: Tones) -> _Drawing:
    light = paper_light(drawing.grey)
    low, high = light.span
    if high - low < UNEVEN and light.grain < GRAINY:
        return drawing
    grey = np.clip(drawing.grey / light.level, 0, 1)
    return drawing.now(grey, f"evened the lighting: paper from {low:.2f}-{high:.2f} to {wanted.paper:.2f}")


def _without_specks(drawing: _Drawing, tones: Tones) -> _Drawing:
    mask, count = find_specks(ink_density(drawing.grey, tones))
    if not count:
        return drawing
    grey = np.where(mask, np.float32(tones.paper), drawing.grey)
    return drawing.now(grey, f"removed {count} speck{'s' if count > 1 else ''}")


def _in_frame(drawing: _Drawing, tones: Tones, style: DrawingStyle) -> _Drawing:
    """Scaled and padded to the frame, and closer where it was small; lines are changed before pixels are lost."""
    height, width = drawing.grey.shape
    density = ink_density(drawing.grey, tones)
    box = ink_box(density) or (0, 0, width, height)
    scale = min(style.width / width, style.height / height)
    offset = ((style.width - scale * width) / 2, (style.height - scale * height) / 2)
    coverage = scale * max((box[2] - box[0]) / style.width, (box[3] - box[1]) / style.height)
    steps = []
    if coverage < SMALL * style.coverage:
        scale *= style.coverage / coverage
        offset = (style.width / 2 - scale * (box[0] + box[2]) / 2, style.height / 2 - scale * (box[1] + box[3]) / 2)
        steps.append(f"brought the drawing closer: from {coverage:.0%} of the frame to {style.coverage:.0%}")
    weighted = _weighted(drawing, tones, scale, style.line_weight)
    scale *= width / weighted.grey.shape[1]
    placed = _placed(weighted.grey, scale, offset, (style.width, style.height), tones.paper)
    if (width, height) != (style.width, style.height) and not steps:
        steps.append(f"scaled from {width} x {height} to {style.width} x {style.height} pixels")
    return weighted.now(placed, *steps)


def _weighted(drawing: _Drawing, tones: Tones, scale: float, wanted: float) -> _Drawing:
    """Lines as thick as wanted, in pixels of the frame, the drawing then four times as large as in it.

    A shaded drawing stays as it is.
    """
    density = ink_density(drawing.grey, tones)
    weight = scale * line_weight_of(density)
    if not weight or 1 / SAME_WEIGHT < weight / wanted < SAME_WEIGHT or shaded_share(density) > SHADED:
        return drawing
    changed = change_line_weight(density, scale, wanted)
    reached = line_weight_of(changed) / FINER
    grey = tones.paper - changed * np.float32(tones.paper - tones.ink)
    return drawing.now(grey, f"lines from {weight:.1f} to {reached:.1f} pixels")


def _placed(
    grey: np.ndarray, scale: float, offset: tuple[float, float], size: tuple[int, int], paper: float
) -> np.ndarray:
    """The frame of `size` (width, height) in which the drawing's first pixel begins at `offset`, around it paper."""
    height, width = grey.shape
    if (width, height) == size and scale == 1:
        return grey
    # The part of the drawing that the frame shows, in its own pixels; its ends need not be whole.
    left, top = (max(0.0, -start / scale) for start in offset)
    right, bottom = (
        min(end, (side - start) / scale) for end, side, start in zip((width, height), size, offset, strict=True)
    )
    place = [round(start + scale * first) for start, first in zip(offset, (left, top), strict=True)]
    ends = [round(start + scale * last) for start, last in zip(offset, (right, bottom), strict=True)]
    sides = (max(1, ends[0] - place[0]), max(1, ends[1] - place[1]))
    image = Image.fromarray(np.ascontiguousarray(grey, np.float32))
    scaled = np.asarray(image.resize(sides, Image.Resampling.LANCZOS, box=(left, top, right, bottom)))
    frame = np.full(size[::-1], paper, np.float32)
    frame[place[1] : place[1] + sides[1], place[0] : place[0] + sides[0]] = np.clip(scaled, 0, 1)
    return frame


def _toned(drawing: _Drawing, tones: Tones, wanted: Tones) -> _Drawing:
    """Paper as bright as wanted, and ink as dark where it is far from that; else greys keep their share of it."""
    if abs(tones.ink / tones.paper * wanted.paper - wanted.ink) > INK:
        density = (tones.paper - drawing.grey) / np.float32(tones.paper - tones.ink)
        grey = wanted.paper - density * np.float32(wanted.paper - wanted.ink)
        return drawing.now(grey, f"ink from {tones.ink:.2f} to {wanted.ink:.2f}")
    if abs(tones.paper - wanted.paper) < PAPER:
        return drawing
    steps = [f"paper from {tones.paper:.2f} to {wanted.paper:.2f}"]
    return drawing.now(drawing.grey * np.float32(wanted.paper / tones.paper), *steps)
