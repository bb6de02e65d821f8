"""The shape of a sheet of paper in a photograph, and its picture as if seen from above."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

SNAP = 0.06  # how far the shape of a sheet may be from the frame's to be taken for it


@dataclass(frozen=True, eq=False)
class Sheet:
    """corners: (4, 2) float64, x and y in pixels, top left, top right, bottom right, bottom left; the middle of the
    first pixel is (0, 0)."""

    corners: np.ndarray

    @property
    def sides(self) -> tuple[float, float]:
        """Mean lengths across and down, in pixels."""
        lengths = np.linalg.norm(self.corners - np.roll(self.corners, -1, axis=0), axis=1)
        return float(lengths[0] + lengths[2]) / 2, float(lengths[1] + lengths[3]) / 2


def sheet_aspect(sheet: Sheet, shape: tuple[int, ...], wanted: float) -> float:
    """Width by height of the sheet in a photograph (H, W), or `wanted` where it is within 6 percent of that.

    From the perspective of the four corners, with the optical axis in the middle of the photograph (Zhang & He 2007,
    doi:10.1016/j.dsp.2006.05.006), or from the lengths of the sides where that says nothing.
    """
    across, down = sheet.sides
    plain = across / down
    seen = _aspect_in_perspective(sheet, shape)
    options = [plain] if seen is None or not 0.65 < seen / plain < 1.5 else [seen, plain]
    near = [one for one in options if abs(math.log(one / wanted)) < SNAP]
    return wanted if near else options[0]


def rectify(values: np.ndarray, sheet: Sheet, aspect: float, longest: int) -> np.ndarray:
    """The sheet of a picture (H, W) or (H, W, C) float32 as a rectangle, about as large as it is there.

    Args:
        aspect: width by height.
        longest: the most pixels of the longer side.
    """
    across, down = sheet.sides
    height = max(down, across / aspect)
    height = min(height, longest, longest / aspect)
    size = (max(8, round(height * aspect)), max(8, round(height)))
    factor = max(across / size[0], down / size[1])
    corners = sheet.corners
    if factor > 1.5:  # a warp looks at few pixels, so that it must not reduce
        before = np.array(values.shape[1::-1])
        values = cv2.resize(values, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        corners = (corners + 0.5) * values.shape[1::-1] / before - 0.5
    target = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size - 0.5
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32))
    flat = cv2.warpPerspective(values, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    edge = max(2, round(0.005 * min(size)))  # where the ground shines in
    inner = flat[edge:-edge, edge:-edge]
    return np.asarray(np.clip(cv2.copyMakeBorder(inner, edge, edge, edge, edge, cv2.BORDER_REPLICATE), 0, 1))


def _aspect_in_perspective(sheet: Sheet, shape: tuple[int, ...]) -> float | None:
    """None where the sheet is seen so straight that the perspective says nothing, or makes no sense."""
    size = max(shape[:2])
    centre = np.array([shape[1] - 1, shape[0] - 1]) / 2
    top_left, top_right, bottom_right, bottom_left = (np.array([*((c - centre) / size), 1.0]) for c in sheet.corners)
    across = np.cross(top_left, bottom_right)
    second = (across @ bottom_left) / (np.cross(top_right, bottom_right) @ bottom_left) * top_right - top_left
    third = (across @ top_right) / (np.cross(bottom_left, bottom_right) @ top_right) * bottom_left - top_left
    if min(abs(second[2]), abs(third[2])) < 0.02:
        return None
    focal = -(second[:2] @ third[:2]) / (second[2] * third[2])  # squared, in longer sides
    if not 0.2 < focal < 25:
        return None
    weights = np.array([1 / focal, 1 / focal, 1.0])
    return math.sqrt(float(second**2 @ weights) / float(third**2 @ weights))
