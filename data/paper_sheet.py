"""Where a sheet of paper lies in a photograph."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from translate.data.sheet_shape import Sheet

COMPARED = 800  # pixels of the longer side, to choose among guesses
SEARCHED = 400  # pixels of the longer side, for a first guess
SMALLEST = 0.1  # of the photograph, of a sheet that is worth cutting out
SAMPLES = 160  # places along each side where the edge is looked for
SUPPORT = 0.6  # of these, on the lines of all four sides together
LEAST, SPAN = 0.1, 0.6  # on each line, and how much of the side they reach over: drawings may run out of the sheet
STEP = 0.3  # of the way from ground to paper, across an edge of the sheet


@dataclass(frozen=True, eq=False)
class Side:
    """line: a, b and c of a x + b y = c with a unit normal. support: the share of it where there is such an edge, or
    of a side that the photograph cuts off where paper reaches its border."""

    line: np.ndarray
    support: float
    cut_off: bool


def find_sheet(colours: np.ndarray) -> Sheet | None:
    """The bright sheet with four straight sides on another ground, in a photograph (H, W, 3) float32 in [0, 1].

    A side may be cut off by the photograph's own border. None where there is no such sheet, or where its
    surroundings are as bright as itself, as around a frame that somebody drew.
    """
    scale = min(1.0, COMPARED / max(colours.shape))
    small = cv2.resize(colours, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else colours
    found = [one for guess in _guesses(small) if (one := _refined(small, guess, (0.03, 0.008))) is not None]
    if not found:
        return None
    best = max(found, key=lambda one: one[0])[1]
    if scale == 1:
        return best
    exact = _refined(colours, (best.corners + 0.5) / scale - 0.5, (0.006,))
    return exact[1] if exact else None


def _guesses(colours: np.ndarray) -> list[np.ndarray]:
    """Quadrilaterals (4, 2) around what is brighter or less coloured than the rest, at many thresholds."""
    scale = min(1.0, SEARCHED / max(colours.shape[:2]))
    small = cv2.resize(colours, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else colours
    small = cv2.GaussianBlur(small, (0, 0), 1.5)
    found: list[np.ndarray] = []
    for channel in (small.mean(axis=2), small.min(axis=2), small.min(axis=2) - small.max(axis=2)):
        low, high = np.percentile(channel, [2, 98])
        if high - low < 0.05:
            continue
        for level in np.linspace(low, high, 12)[1:-1]:
            found += _quadrilaterals((channel > level).astype(np.uint8))
    scaled = [(quad + 0.5) / scale - 0.5 for quad in found]
    distinct: list[np.ndarray] = []
    for quad in scaled:
        if all(np.abs(quad - other).max() > 0.015 * max(colours.shape) for other in distinct):
            distinct.append(quad)
    return distinct


def _quadrilaterals(mask: np.ndarray) -> list[np.ndarray]:
    """Around the largest part of a mask, with and without its small gaps closed."""
    found = []
    for size in (1, 9):
        closed = cv2.morphologyEx(
            cv2.copyMakeBorder(mask, 9, 9, 9, 9, cv2.BORDER_CONSTANT, value=0),
            cv2.MORPH_CLOSE,
            np.ones((size, size), np.uint8),
        )
        outlines, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(-9, -9))
        largest = max(outlines, key=cv2.contourArea, default=None)
        if largest is None or cv2.contourArea(largest) < SMALLEST * mask.size:
            continue
        hull = cv2.convexHull(largest)
        for share in (0.01, 0.02, 0.03, 0.05, 0.08):
            quad = cv2.approxPolyDP(hull, share * cv2.arcLength(hull, True), True)
            if len(quad) == 4:
                found.append(_ordered(quad[:, 0].astype(np.float64)))
                break
    return found


def _ordered(quad: np.ndarray) -> np.ndarray:
    """Clockwise as seen, from the corner that makes the first side the upper one."""
    middle = quad.mean(axis=0)
    quad = quad[np.argsort(np.arctan2(*(quad - middle).T[::-1]))]
    turns = [np.roll(quad, -turn, axis=0) for turn in range(4)]
    return max(turns, key=lambda q: float((q[1] - q[0] + q[2] - q[3])[0] + (q[3] - q[0] + q[2] - q[1])[1]))


def _refined(colours: np.ndarray, quad: np.ndarray, reaches: tuple[float, ...]) -> tuple[float, Sheet] | None:
    """A guess with its sides moved to the edges, and how well they fit; None where they are not those of a sheet."""
    ramp = _paper_against_ground(colours, quad)
    if ramp is None:
        return None
    sides: list[Side] = []
    for reach in reaches:
        found = [_side(ramp, quad[i], quad[(i + 1) % 4], reach * max(ramp.shape)) for i in range(4)]
        sides = [side for side in found if side is not None]
        if len(sides) < 4:
            return None
        quad = np.array([_crossing(sides[i - 1].line, sides[i].line) for i in range(4)])
        if not np.isfinite(quad).all() or not cv2.isContourConvex(quad.astype(np.float32)):
            return None
    real = [side.support for side in sides if not side.cut_off]
    area = cv2.contourArea(quad.astype(np.float32)) / ramp.size
    if len(real) < 2 or sum(side.support for side in sides) < 4 * SUPPORT or not SMALLEST < area < 1.05:
        return None
    return (sum(real) * math.sqrt(area), Sheet(quad)) if _stands_out(ramp, quad) else None


def _mask(shape: tuple[int, ...], quad: np.ndarray) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(quad).astype(np.int32), 1)
    return mask


def _paper_against_ground(colours: np.ndarray, quad: np.ndarray) -> np.ndarray | None:
    """(H, W) about 0 on the ground and 1 on paper: the direction of colour in which the two differ."""
    step = max(1, max(colours.shape) // 300)
    small, inside = colours[::step, ::step], _mask(colours.shape, quad)[::step, ::step] > 0
    if inside.mean() > 0.99 or not inside.any():
        return None
    bright = small[inside]
    luma = bright.mean(axis=1)
    paper = np.median(bright[luma >= np.percentile(luma, 60)], axis=0)
    ground = np.median(small[~inside], axis=0)
    direction = paper - ground
    if np.linalg.norm(direction) < 0.08 or direction.mean() <= 0:
        return None
    return np.asarray((colours - ground) @ (direction / (direction @ direction)), np.float32)


def _stands_out(ramp: np.ndarray, quad: np.ndarray) -> bool:
    """Whether little outside looks like paper, also at the very border of the photograph."""
    outside = cv2.dilate(_mask(ramp.shape, quad), np.ones((5, 5))) == 0
    return bool(outside.mean() > 0.01 and (ramp[outside] > 0.7).mean() < 0.25)


def _side(ramp: np.ndarray, start: np.ndarray, end: np.ndarray, reach: float) -> Side | None:
    """The side of the paper near a guess."""
    height, width = ramp.shape
    for axis, limit in ((0, width), (1, height)):
        if abs(start[axis] - end[axis]) < 0.01 * limit:
            for place in (0, limit - 1):
                if abs((start[axis] + end[axis]) / 2 - place) < 0.006 * limit:  # cut off by the border
                    inner = ramp.take(place, axis=1 - axis) > 0.6
                    return Side(np.array([axis == 0, axis == 1, place], np.float64), float(inner.mean()), True)
    along = (end - start) / np.linalg.norm(end - start)
    inward = np.array([-along[1], along[0]])
    places = start + np.linspace(0.03, 0.97, SAMPLES)[:, None] * (end - start)
    offsets = np.arange(-reach, reach + 0.25, 0.5)
    points = (places[:, None] + offsets[:, None] * inward).astype(np.float32)
    profile = cv2.remap(ramp, points[..., 0], points[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    slope = np.gradient(cv2.GaussianBlur(profile, (0, 0), sigmaX=2, sigmaY=1), axis=1)
    peak = slope[:, 1:-1].argmax(axis=1) + 1
    rows = np.arange(SAMPLES)
    before, at, after = slope[rows, peak - 1], slope[rows, peak], slope[rows, peak + 1]
    bend = np.minimum(before - 2 * at + after, -1e-9)
    shift = np.clip((before - after) / (2 * bend), -0.5, 0.5)
    found = places + (offsets[peak] + 0.5 * shift)[:, None] * inward
    near = round(0.004 * max(ramp.shape)) * 2 + 2  # half pixels to either side
    columns = np.clip(peak[:, None] + [near, -near], 0, len(offsets) - 1)
    inner, outer = np.take_along_axis(profile, columns, axis=1).T
    tolerance = max(1.0, 0.0012 * max(ramp.shape))
    return _line(found[inner - outer > STEP], tolerance, SPAN * float(np.linalg.norm(end - start)))


def _line(points: np.ndarray, tolerance: float, span: float) -> Side | None:
    """RANSAC, then least squares on what agrees; None where that is little, or reaches over less than `span`."""
    if len(points) < LEAST * SAMPLES:
        return None
    rng = np.random.default_rng(0)
    pairs = rng.integers(len(points), size=(200, 2))
    one, two = points[pairs[:, 0]], points[pairs[:, 1]]
    normals = np.stack([two[:, 1] - one[:, 1], one[:, 0] - two[:, 0]], axis=1)
    lengths = np.linalg.norm(normals, axis=1)
    apart = lengths > 20 * tolerance
    if not apart.any():
        return None
    normals = normals[apart] / lengths[apart, None]
    errors = np.abs(points @ normals.T - (one[apart] * normals).sum(axis=1))
    agreeing = errors[:, (errors < tolerance).sum(axis=0).argmax()] < tolerance
    for _ in range(3):
        middle = points[agreeing].mean(axis=0)
        normal = np.linalg.svd(points[agreeing] - middle, full_matrices=False)[2][1]
        agreeing = np.abs((points - middle) @ normal) < tolerance
        if agreeing.sum() < LEAST * SAMPLES:
            return None
    if np.ptp(points[agreeing] @ [normal[1], -normal[0]]) < span:
        return None
    return Side(np.array([*normal, normal @ middle]), float(agreeing.sum()) / SAMPLES, False)


def _crossing(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    crossed = np.cross([*one[:2], -one[2]], [*two[:2], -two[2]])
    return np.asarray(crossed[:2] / crossed[2] if abs(crossed[2]) > 1e-9 else [np.nan, np.nan])
