"""What the evidence page shows as pictures: slices through a display window, maps of change, and plots, all as PNG."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

SIDE = 768  # pixels; a larger slice is shown reduced
CHANGE_COLOURS = "RdBu_r"  # diverging and safe for the colour-blind; white is no change
UNCERTAINTY_COLOURS = "viridis"
CHANGE_LEVELS, UNCERTAINTY_LEVELS = 61, 32  # finer steps cannot be seen, and double the size of the page
LUNG, TISSUE = (-900.0, -600.0), -200.0  # HU
LUNG_SHARE = 0.3  # of lung to tissue; of the abdomen, gas and the couch are less


@dataclass(frozen=True)
class SliceView:
    """One slice to be looked at.

    Args:
        index: of the slice, from 0.
        source: (H, W) float32 in the scan's units, as it was read.
        output: the same, as it was written.
        uncertainty: (H, W) in the same units, or None.
    """

    index: int
    source: np.ndarray
    output: np.ndarray
    uncertainty: np.ndarray | None = None

    @property
    def change(self) -> np.ndarray:
        """Output minus source."""
        return self.output - self.source


@dataclass(frozen=True)
class Window:
    """Which values are black and white on the screen."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Limits:
    """What all slices of a page share, so that they can be compared.

    Args:
        windows: for source and output.
        change: the colours of change go from minus this to plus this.
        uncertainty: its colours go from 0 to this.
    """

    windows: tuple[Window, ...]
    change: float
    uncertainty: float


def choose_limits(views: list[SliceView], units: str) -> Limits:
    """Standard windows of CT for HU, percentiles of the source for other units; `views` must not be empty."""
    return Limits(
        _windows(views, units),
        _round_up(max(_percentile(np.abs(view.change), 99) for view in views)),
        _round_up(max((_percentile(v.uncertainty, 99) for v in views if v.uncertainty is not None), default=0.0)),
    )


def _windows(views: list[SliceView], units: str) -> tuple[Window, ...]:
    if units != "HU":
        low = min(_percentile(view.source, 1) for view in views)
        high = max(_percentile(view.source, 99.5) for view in views)
        return (Window("percentiles 1 to 99.5 of the input", low, high if high > low else low + 1),)
    lung = sum(int(((view.source > LUNG[0]) & (view.source < LUNG[1])).sum()) for view in views)
    tissue = sum(int((view.source > TISSUE).sum()) for view in views)
    lungs = lung > LUNG_SHARE * tissue
    second = Window("lung, C -600 W 1500", -1350, 150) if lungs else Window("bone, C 400 W 1800", -500, 1300)
    return (Window("soft tissue, C 40 W 400", -160, 240), second)


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(np.nan_to_num(values), percent))


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7.5 times a power of ten; 1 for nothing."""
    if not (math.isfinite(value) and value > 0):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1, 1.5, 2, 3, 5, 7.5) if value <= step * power * 1.0001), 10 * power)


def whole(view: SliceView) -> tuple[SliceView, int]:
    """A slice in at most SIDE pixels a side, and how many of its pixels a side were averaged to one."""
    factor = -(-max(view.source.shape) // SIDE)
    if factor == 1:
        return view, 1
    uncertainty = None if view.uncertainty is None else _reduce(view.uncertainty, factor)
    source, output = _reduce(view.source, factor), _reduce(view.output, factor)
    return SliceView(view.index, source, output, uncertainty), factor


def detail(view: SliceView, window: Window) -> tuple[SliceView, slice, slice]:
    """The piece of a slice, a quarter as wide, with the most change that is visible in a window; its rows, its columns.

    It is in the slice's own pixels.
    """
    height, width = view.source.shape
    side = max(min(max(height, width) // 4, SIDE), 32)
    seen = [values.clip(window.low, window.high).astype(np.float32) for values in (view.source, view.output)]
    size = (min(side, width), min(side, height))
    sums = cv2.boxFilter(np.abs(seen[1] - seen[0]), -1, size, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    rows, columns = _around(int(row), height, side), _around(int(column), width, side)
    uncertainty = None if view.uncertainty is None else view.uncertainty[rows, columns]
    return SliceView(view.index, view.source[rows, columns], view.output[rows, columns], uncertainty), rows, columns


def _around(position: int, extent: int, side: int) -> slice:
    start = max(0, min(position - side // 2, extent - side))
    return slice(start, min(start + side, extent))


def _reduce(values: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor x factor pixels, of fewer at the right and at the bottom."""
    return np.asarray(Image.fromarray(values.astype(np.float32)).reduce(factor))


def grey_png(values: np.ndarray, window: Window) -> bytes:
    """(H, W) as 8-bit grey: at the window's low end and below black, at its high end and above white."""
    scaled = (np.nan_to_num(values) - window.low) / (window.high - window.low)
    return _png(Image.fromarray((scaled.clip(0, 1) * 255).round().astype(np.uint8)))


def change_png(change: np.ndarray, limit: float) -> bytes:
    """(H, W) in colours: -limit and below blue, 0 white, limit and above red."""
    return _colour_png((change / limit + 1) / 2, CHANGE_COLOURS, CHANGE_LEVELS)


def uncertainty_png(uncertainty: np.ndarray, limit: float) -> bytes:
    """(H, W) in colours: 0 dark, limit and above bright."""
    return _colour_png(uncertainty / limit, UNCERTAINTY_COLOURS, UNCERTAINTY_LEVELS)


def _colour_png(unit: np.ndarray, name: str, levels: int) -> bytes:
    indices = (np.nan_to_num(unit).clip(0, 1) * (levels - 1)).round().astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette([value for colour in palette(name, levels) for value in colour])
    return _png(image)


def palette(name: str, levels: int) -> list[tuple[int, int, int]]:
    """A colour map of matplotlib at equal steps, as RGB of 8 bits."""
    from matplotlib import colormaps

    colours = colormaps[name](np.linspace(0, 1, levels), bytes=True)
    return [(int(red), int(green), int(blue)) for red, green, blue, _ in colours]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()
