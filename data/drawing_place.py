"""The place of a drawing on the photograph that it was made of, and bringing it there."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from translate.data.foreground import flatten
from translate.data.picture import ImageError, Picture
from translate.data.sketch import LONGEST

ASPECT = 0.02  # relative difference of aspect ratios that may be rounding


@dataclass(frozen=True)
class Place:
    """Where a drawing lies on its photograph, as a similarity about the photograph's centre.

    right, down: how far the drawing's middle lies from its place, in pixels of the photograph.
    rotation: in degrees, anticlockwise.
    scale: 1.03 for a drawing that is 3 % too large.
    """

    right: float = 0.0
    down: float = 0.0
    rotation: float = 0.0
    scale: float = 1.0

    def matrix(self, width: int, height: int) -> np.ndarray:
        """(2, 3), from pixels of the photograph (x, y) to those of the drawing that show the same."""
        across, along = (width - 1) / 2, (height - 1) / 2
        cos, sin = (self.scale * part(math.radians(self.rotation)) for part in (math.cos, math.sin))
        linear = np.array([[cos, sin], [-sin, cos]])
        centre = np.array([across, along])
        return np.column_stack([linear, centre + np.array([self.right, self.down]) - linear @ centre])

    def off(self, width: int, height: int) -> float:
        """How far pixels lie from their place, in pixels: the root of the mean square over a picture of this size."""
        spread = (width**2 + height**2) / 12  # mean square distance from the centre
        turn = math.radians(self.rotation)
        stretched = (self.scale * math.cos(turn) - 1) ** 2 + (self.scale * math.sin(turn)) ** 2
        return math.sqrt(self.right**2 + self.down**2 + stretched * spread)


def fit_drawing(drawing: Picture, width: int, height: int) -> Picture:
    """A drawing on white paper, without alpha, brought to the size of its photograph.

    Raises:
        ImageError: the aspect ratios differ by more than 2 %.
    """
    flat = flatten(drawing)
    given = flat.info
    if (given.width, given.height) == (width, height):
        return flat
    if abs(given.width * height / (given.height * width) - 1) > ASPECT:
        raise ImageError(
            f"the drawing has {given.width} x {given.height} pixels and its photograph {width} x {height}: give both "
            "the same aspect ratio, cut them to the same frame"
        )
    method = cv2.INTER_AREA if width < given.width else cv2.INTER_CUBIC
    return replace(flat, pixels=_stacked(cv2.resize(flat.pixels, (width, height), interpolation=method)))


def move_drawing(drawing: Picture, place: Place) -> Picture:
    """The drawing from `place` moved onto its photograph; what comes from outside is paper, as at its border.

    Raises:
        ImageError: a side of more than 32766 pixels.
    """
    height, width = drawing.pixels.shape[:2]
    if max(height, width) > LONGEST:
        raise ImageError(
            f"the drawing has {width} x {height} pixels, at most {LONGEST} a side can be moved: make it smaller"
        )
    border = np.concatenate([*drawing.pixels[[0, -1]], *drawing.pixels[:, [0, -1]].swapaxes(0, 1)])
    moved = cv2.warpAffine(
        drawing.pixels,
        place.matrix(width, height),
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=np.median(border, axis=0).tolist(),
    )
    return replace(drawing, pixels=_stacked(moved))


def _stacked(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C): OpenCV drops a channel that is alone."""
    return pixels.reshape(*pixels.shape[:2], -1)
