"""Strokes and specks of a drawing, as ink density: (H, W) float32, 0 for paper and 1 for ink."""

import cv2
import numpy as np

from translate.data.drawing_measures import line_weight_of

SPECK = 0.006  # of the longer side: the largest speck
APART = 0.02  # of the longer side: how far a speck is from any stroke
SPECK_SHARE = 0.05  # of the ink: with more of it in specks they are how it was drawn
FINER = 4  # pixels for each pixel of the result while lines are changed
GRAIN = 0.1  # the density up to which it is paper, where strokes grow


def find_specks(density: np.ndarray) -> tuple[np.ndarray, int]:
    """A mask (H, W) of small spots far from every stroke, such as dust, and their number."""
    nothing = np.zeros(density.shape, bool), 0
    drawn = (density > 0.15).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(drawn, connectivity=8)
    longer = max(density.shape)
    small = stats[:, cv2.CC_STAT_AREA] <= max(2.0, (SPECK * longer) ** 2)
    small[0] = False
    strokes = ~small[labels] & (drawn > 0)
    if not small.any() or not strokes.any():
        return nothing
    distance = cv2.distanceTransform((~strokes).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    nearest = np.full(count, np.inf)
    np.minimum.at(nearest, labels[drawn > 0], distance[drawn > 0])
    specks = small & (nearest > max(3.0, APART * longer))
    mask = specks[labels]
    if density[mask].sum() > SPECK_SHARE * density[drawn > 0].sum():
        return nothing
    return cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0, int(specks.sum())


def change_line_weight(density: np.ndarray, scale: float, wanted: float) -> np.ndarray:
    """The drawing, four times as large as in the result, with strokes of another weight.

    Filled areas grow or shrink by as much. Where two strokes would grow together over paper between them, that paper
    stays as it is. Strokes get no thinner than one pixel of the result.

    Args:
        scale: pixels of the result for one of `density`.
        wanted: the weight in pixels of the result.
    """
    factor = scale * FINER
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    large = cv2.resize(density, None, fx=factor, fy=factor, interpolation=method)
    radius = (max(wanted, 1.0) * FINER - line_weight_of(large)) / 2
    if radius < 0:
        return 1 - _grown(1 - large, -radius)
    bare = np.clip((large - GRAIN) / (1 - GRAIN), 0, 1)  # grain must not grow
    return _with_holes(large, _grown(bare, radius))


def _grown(density: np.ndarray, radius: float) -> np.ndarray:
    """Dilated by a disc; a radius between two pixels is a mixture of both."""
    whole = int(radius)
    less, more = (_dilated(density, whole + extra) for extra in (0, 1))
    return less + np.float32(radius - whole) * (more - less)


def _dilated(density: np.ndarray, radius: int) -> np.ndarray:
    if radius == 0:
        return density
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(density, disc))


def _with_holes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Pieces of paper that have vanished are put back, as they were."""
    count, labels = cv2.connectedComponents((before < 0.5).astype(np.uint8), connectivity=4)
    left = np.bincount(labels[after < 0.5], minlength=count) > 0
    gone = ~left[labels] & (labels > 0)
    return np.where(cv2.dilate(gone.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0, before, after)
