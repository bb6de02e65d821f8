"""Drawings as strokes, the way a pen or a drawing pad gives them.

A file of strokes is JSON: {"width": 256, "height": 256, "strokes": [[[10, 20], [30.5, 40]], ...]}, and "line_weight" if
it shall not be the model's.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from translate.data.drawing_style import DrawingStyle
from translate.data.frame import framed_size
from translate.data.images import ImageError, Picture

MAX_SIDE = 4096  # pixels
MAX_POINTS = 100_000
MAX_WEIGHT = 1000.0  # pixels
MAX_REACH = 1e6  # pixels that a point may be away from the canvas's corner
MAX_BYTES = 16_000_000  # of a file
KEYS = ("width", "height", "strokes", "line_weight")


@dataclass(frozen=True, eq=False)
class Strokes:
    """Polylines on a canvas. What lies outside of the canvas is not drawn.

    Args:
        lines: each a sequence of points (x, y) or an array (n, 2), in pixels from the canvas's top left corner to the
            right and down: the first pixel reaches from 0 to 1. One point is a dot. Kept as float64 arrays.
        width, height: of the canvas, up to 4096.
        line_weight: of all lines in pixels; None is what the model's training drawings have.

    Raises:
        ImageError: no line, a line without a point, points that are no pairs of finite numbers or are too many or too
            far away, a canvas or a weight that cannot be.
    """

    lines: Sequence[npt.ArrayLike]
    width: int
    height: int
    line_weight: float | None = None

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            side = getattr(self, name)
            if not _is_a(Integral, side) or not 1 <= side <= MAX_SIDE:
                raise ImageError(f"the {name} of a canvas is a whole number from 1 to {MAX_SIDE} pixels, got {side!r}")
        weight = self.line_weight
        if weight is not None and not (_is_a(Real, weight) and 0 < weight <= MAX_WEIGHT):
            raise ImageError(f"line_weight must be above 0 and at most {MAX_WEIGHT:.0f} pixels, got {weight!r}")
        if not isinstance(self.lines, Sequence) or isinstance(self.lines, str) or not self.lines:
            raise ImageError("a drawing needs a list of at least one line: [[(x, y), (x, y), ...], ...]")
        lines = tuple(_points(number, line) for number, line in enumerate(self.lines, start=1))
        if (points := sum(map(len, lines))) > MAX_POINTS:
            raise ImageError(f"the lines have {points} points, allowed are {MAX_POINTS}: draw fewer or simpler lines")
        object.__setattr__(self, "lines", lines)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The strokes of a file's content, see above.

        Raises:
            ImageError: it is no JSON, has other keys, or is no drawing.
        """
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ImageError(f"the strokes are not valid JSON ({error}): export them again") from None
        if not isinstance(entries, dict) or not set(KEYS[:3]) <= entries.keys() <= set(KEYS):
            found = ", ".join(map(str, entries)) if isinstance(entries, dict) else type(entries).__name__
            raise ImageError(
                f"strokes are a JSON object with width, height, strokes and, if wanted, line_weight, got {found[:200]}"
            )
        return cls(entries["strokes"], entries["width"], entries["height"], entries.get("line_weight"))


def read_strokes(path: str | Path) -> Strokes:
    """Read a JSON file of strokes.

    Raises:
        ImageError: it is missing, too large or no drawing; the message names the path.
    """
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise ImageError(f"the file has more than {MAX_BYTES / 1e6:.0f} MB: draw fewer or simpler lines")
        return Strokes.from_json(Path(path).read_text(encoding="utf-8"))
    except (ImageError, OSError, UnicodeDecodeError) as error:
        raise ImageError(f"cannot read {path}: {error}") from error


def holds_polylines(drawing: object) -> bool:
    """Whether this is a list of polylines, not one of images: its first element is a list or array of points.

    A point is a pair of numbers, a list of points a list, a tuple or an array (n, 2). An empty list is no drawing.

    Raises:
        ImageError: it is one polyline, in no list.
    """
    if not isinstance(drawing, list | tuple) or not drawing:
        return False
    if _is_point(drawing[0]):
        raise ImageError("this is one polyline: a drawing is a list of them, put it into a list")
    first = drawing[0]
    if isinstance(first, np.ndarray):
        return first.ndim == 2 and first.shape[1] == 2
    return isinstance(first, list | tuple) and bool(first) and _is_point(first[0])


def draw_strokes(strokes: Strokes, style: DrawingStyle) -> Picture:
    """Draw lines with round caps and joins, antialiased, in the ink and on the paper of the style.

    Lines without a weight of their own get the style's, as they will have it when the drawing has been brought to the
    style's frame (see `framed_size`).

    Returns:
        The canvas, uint8 (height, width, 1).
    """
    seen = framed_size(strokes.height, strokes.width, style)
    weight = strokes.line_weight or style.line_weight * max(strokes.height, strokes.width) / max(seen)
    share = _coverage(strokes, min(weight, MAX_WEIGHT))
    levels = style.paper + (style.ink - style.paper) * share
    return Picture(np.rint(255 * levels).astype(np.uint8)[..., None])


def _coverage(strokes: Strokes, weight: float) -> np.ndarray:
    """(H, W) float64: how much of every pixel is ink, 0 to 1."""
    from matplotlib.backends.backend_agg import RendererAgg  # here: it takes half a second
    from matplotlib.path import Path as Outline
    from matplotlib.transforms import IdentityTransform

    border = int(np.ceil(weight / 2)) + 1  # lines are cut where they leave the renderer's canvas, not ours
    renderer = RendererAgg(strokes.width + 2 * border, strokes.height + 2 * border, 72)  # 72: a point is a pixel
    pen = renderer.new_gc()
    pen.set_linewidth(weight)
    pen.set_capstyle("round")
    pen.set_joinstyle("round")
    pen.set_snap(False)
    for line in strokes.lines:
        for piece in _pieces(np.asarray(line)):
            outline = Outline(np.column_stack([piece[:, 0] + border, strokes.height + border - piece[:, 1]]))
            outline.should_simplify = False
            renderer.draw_path(pen, outline, IdentityTransform())
    ink = np.asarray(renderer.buffer_rgba())[border:-border, border:-border, 3]
    return ink / 255


def _pieces(line: np.ndarray, longest: float = 100_000.0) -> Iterator[np.ndarray]:
    """A line in parts of about `longest` pixels, each beginning where the one before ends: Agg has a limit."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    if not steps.any():  # Agg draws nothing that has no length
        yield np.stack([line[0], line[0] + 1e-3])
        return
    cuts = np.flatnonzero(np.diff(steps.cumsum() // longest)) + 1
    for start, end in zip([0, *cuts], [*cuts, len(steps)], strict=True):
        yield line[start : end + 1]


def _points(number: int, line: Any) -> np.ndarray:
    """(n, 2) float64 of the line of this number."""
    try:
        points = np.asarray(line)
    except ValueError:  # points of different lengths
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or points.dtype.kind not in "iuf":
        raise ImageError(
            f"line {number} must be a list of points (x, y) with at least one, all of them numbers, got "
            f"{str(line)[:60]}"
        )
    if not np.isfinite(points).all() or np.abs(points).max() > MAX_REACH:
        raise ImageError(
            f"line {number} has a point that is not finite or more than {MAX_REACH:.0f} pixels away: leave it out"
        )
    return points.astype(np.float64)


def _is_point(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.shape == (2,) and value.dtype.kind in "iuf"
    return isinstance(value, list | tuple) and len(value) == 2 and all(_is_a(Real, number) for number in value)


def _is_a(kind: type, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
