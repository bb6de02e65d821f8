"""Where a drawing lies on the photograph that it was made of, found by the agreement of their edges."""

import itertools
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from translate.data.drawing_place import Place
from translate.data.picture import ImageError, Picture
from translate.data.sketch import light_of

SIDE = 256  # pixels of the longer side at which edges are compared
COARSE = 64  # likewise, of the search
TURNS = (-6, -3, 0, 3, 6)  # degrees that are searched
SCALES = (0.9, 0.95, 1, 1.05, 1.1)
FURTHEST = 0.25  # shift that is searched, as a share of the longer side
STARTS = 3  # places that are refined
NEARBY = 0.02  # they lie further apart, as a share of the longer side
ANOTHER = 0.06  # places that differ by more, as a share of the longer side, are not the same place
SMOOTHING = (4.0, 2.0)  # sigmas in pixels at which the place is refined, one after the other
STEPS = 15  # of each refinement
OVERLAP = 0.3  # share of the photograph that a drawing must still cover
LOOKED_FOR = 0.15, 0.25  # confidence and agreement from which on a place is known


@dataclass(frozen=True)
class Alignment:
    """What `measure_alignment` finds.

    place: where the drawing lies.
    before, after: agreement of the edges as they are, and with the drawing moved: correlation, 1 is perfect.
    confidence: by how much the place fits better than every other one that is searched, as a share of its agreement;
        near 0 says that the place is not known.
    """

    place: Place
    before: float
    after: float
    confidence: float

    @property
    def known(self) -> bool:
        """Whether the place can be relied on."""
        return self.confidence >= LOOKED_FOR[0] and self.after >= LOOKED_FOR[1]


def measure_alignment(drawing: Picture, photograph: Picture) -> Alignment:
    """Find where a drawing lies on its photograph: shifts of up to 25 % of the longer side, 6 degrees, 10 % of scale.

    Edges are compared, smoothed so that a hand's inexactness does not matter: all places on a coarse grid by
    correlation, and the best one refined by Gauss-Newton steps on the correlation (as the ECC of Evangelidis and
    Psarakis 2008, doi:10.1109/TPAMI.2008.113, for a similarity).

    Raises:
        ImageError: pictures of different sizes or with values that are not finite.
    """
    if drawing.pixels.shape[:2] != photograph.pixels.shape[:2]:
        raise ImageError(
            f"the drawing has {drawing.info.width} x {drawing.info.height} pixels and the photograph "
            f"{photograph.info.width} x {photograph.info.height}: fit the drawing first"
        )
    moving, fixed = (_reduced(light_of(picture), SIDE) for picture in (drawing, photograph))
    height, width = photograph.pixels.shape[:2]
    factor = max(fixed.shape) / max(height, width)
    starts, confidence = _search(_reduced(moving, COARSE), _reduced(fixed, COARSE), max(fixed.shape))
    rough, edges = ((_edges(moving, sigma), _edges(fixed, sigma)) for sigma in SMOOTHING)
    found = max((_refine(*rough, start) for start in starts), key=lambda place: _agreement(*rough, place))
    found = _refine(*edges, found)
    before, after = (_agreement(*edges, place) for place in (Place(), found))
    if after <= before:
        return Alignment(Place(), before, before, confidence)
    place = replace(found, right=found.right / factor, down=found.down / factor)
    return Alignment(place, before, after, confidence)


def _reduced(light: np.ndarray, side: int) -> np.ndarray:
    scale = min(1.0, side / max(light.shape))
    height, width = (max(1, round(length * scale)) for length in light.shape)
    return cv2.resize(light, (width, height), interpolation=cv2.INTER_AREA)


def _edges(light: np.ndarray, sigma: float) -> np.ndarray:
    """Strength of edges (H, W), evened so that faint contours count beside strong ones, and smoothed."""
    smooth = cv2.GaussianBlur(light, (0, 0), 1.0)
    strength = np.sqrt(np.hypot(*(cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))))
    return cv2.GaussianBlur(strength, (0, 0), sigma)


def _search(moving: np.ndarray, fixed: np.ndarray, side: int) -> tuple[list[Place], float]:
    """The best places on a grid, in pixels of a picture whose longer side is `side`; and how much better one is."""
    height, width = fixed.shape
    factor = side / max(fixed.shape)
    edges = _edges(moving, 1.0)
    padded = tuple(cv2.getOptimalDFTSize(2 * length) for length in fixed.shape)
    spectrum = np.fft.rfft2(_normalised(_edges(fixed, 1.0)), s=padded).conj()
    reach = [max(1, min(length - 1, round(FURTHEST * max(fixed.shape)))) for length in fixed.shape]
    rows, columns = (np.arange(-far, far + 1) for far in reach)
    scored = []
    for turn, scale in itertools.product(TURNS, SCALES):
        grid = Place(rotation=float(turn), scale=float(scale))
        turned = _normalised(_warped(edges, grid.matrix(width, height), float(edges.mean())))
        values = np.fft.irfft2(np.fft.rfft2(turned, s=padded) * spectrum, s=padded)[np.ix_(rows, columns)]
        for _ in range(3):  # the best, and what lies elsewhere
            down, right = np.unravel_index(values.argmax(), values.shape)
            shift = _turned(float(columns[right]) * factor, float(rows[down]) * factor, grid)
            scored.append((float(values[down, right]), replace(grid, right=shift[0], down=shift[1])))
            values[max(0, down - 4) : down + 5, max(0, right - 4) : right + 5] = -1
    scored.sort(key=lambda entry: -entry[0])
    starts: list[Place] = []
    for _, place in scored:
        if len(starts) < STARTS and all(_apart(place, start) > NEARBY * side for start in starts):
            starts.append(place)
    best = scored[0][0]
    others = [score for score, place in scored if _apart(place, starts[0]) > ANOTHER * side]
    return starts, min(1.0, 1 - max(others) / best) if best > 0 and others else 0.0


def _apart(one: Place, other: Place) -> float:
    return math.hypot(one.right - other.right, one.down - other.down)


def _turned(right: float, down: float, grid: Place) -> tuple[float, float]:
    """A shift that was measured after turning, as one before it."""
    cos, sin = (grid.scale * part(math.radians(grid.rotation)) for part in (math.cos, math.sin))
    return cos * right + sin * down, -sin * right + cos * down


def _refine(moving: np.ndarray, fixed: np.ndarray, start: Place) -> Place:
    """The place near `start` at which the correlation is largest, by Gauss-Newton steps that are taken if it grows."""
    height, width = fixed.shape
    slopes = [cv2.Sobel(moving, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1))]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    place, score = start, _agreement(moving, fixed, start)
    for _ in range(STEPS):
        matrix = place.matrix(width, height)
        inside = _inside(matrix, fixed.shape)
        if not inside.any():
            break
        given = _warped(moving, matrix, 0.0)[inside]
        across, down = (_warped(slope, matrix, 0.0)[inside] for slope in slopes)
        left, top = x[inside], y[inside]
        columns = np.stack([across, down, across * left + down * top, across * top - down * left], axis=1)
        centred = given - given.mean()
        wanted = fixed[inside] - fixed[inside].mean()
        basis = np.column_stack([columns - columns.mean(axis=0), centred]).astype(np.float64)
        change = np.linalg.lstsq(basis.T @ basis + 1e-9 * np.eye(5), basis.T @ wanted, rcond=None)[0]
        step = change[:4] / change[4] if change[4] > 0 else np.zeros(4)
        for share in (1.0, 0.5, 0.25):
            tried = _stepped(place, share * step)
            if (better := _agreement(moving, fixed, tried)) > score + 1e-6:
                place, score = tried, better
                break
        else:
            break
    return place


def _stepped(place: Place, step: np.ndarray) -> Place:
    """The place after a step (right, down, scale * cos, scale * sin)."""
    turn = math.radians(place.rotation)
    cos, sin = place.scale * math.cos(turn) + step[2], place.scale * math.sin(turn) + step[3]
    return Place(
        place.right + float(step[0]),
        place.down + float(step[1]),
        math.degrees(math.atan2(sin, cos)),
        float(np.clip(math.hypot(cos, sin), 0.5, 2)),
    )


def _agreement(moving: np.ndarray, fixed: np.ndarray, place: Place) -> float:
    """Correlation of two edge maps where both are; -1 where they hardly overlap."""
    matrix = place.matrix(fixed.shape[1], fixed.shape[0])
    inside = _inside(matrix, fixed.shape)
    if inside.mean() < OVERLAP:
        return -1.0
    given, wanted = (values[inside] - values[inside].mean() for values in (_warped(moving, matrix, 0.0), fixed))
    norm = float(np.linalg.norm(given) * np.linalg.norm(wanted))
    return float(np.dot(given, wanted)) / norm if norm > 0 else 0.0


def _inside(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return _warped(np.ones(shape, np.float32), matrix, 0.0) > 0.999


def _warped(values: np.ndarray, matrix: np.ndarray, border: float) -> np.ndarray:
    return cv2.warpAffine(
        values,
        matrix,
        (values.shape[1], values.shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=border,
    )


def _normalised(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-12)
