"""The light on a sheet of paper: found where paper is bare, continued where it is drawn on, and divided away."""

from dataclasses import dataclass

import cv2
import numpy as np

ANALYSED = 400  # pixels of the longer side on which light is looked at: coarser than grain, finer than shadows
DEEPEST = 0.35  # the darkest shadow, as a part of the light beside it; what is darker is ink
LIKE = (0.85, 1.15)  # how far bare paper may be from the light expected there
DARKEST = 0.02  # keeps logarithms finite


@dataclass(frozen=True, eq=False)
class PaperLight:
    """level: (H, W) float32, the grey of bare paper at each pixel. grain: standard deviation of paper divided by it."""

    level: np.ndarray
    grain: float

    @property
    def span(self) -> tuple[float, float]:
        """The darkest and the brightest hundredth."""
        low, high = np.percentile(self.level[::4, ::4], [1, 99])
        return float(low), float(high)


def paper_light(grey: np.ndarray) -> PaperLight:
    """The light on the paper of a drawing (H, W) in [0, 1], darker than its paper.

    Paper is what has no texture and either goes over into bright paper without an edge, as the edge of a shadow does,
    or has the tone that the paper around it leads to expect, or comes in from the border of the picture, as shadows
    of hands do. Where it is drawn on, the light is interpolated. Drawn areas without texture and edge are lost.
    """
    scale = min(1.0, ANALYSED / max(grey.shape))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    tone = np.log(np.maximum(small, DARKEST)).astype(np.float32)
    flat = _flat(tone)
    bare = _bare(tone, flat)
    light = _spread(tone, bare)
    for _ in range(3):
        bare |= _like(tone, flat, light)
        light = _spread(tone, bare)
    light = _spread(*_with_edges(tone, bare, light))
    level = cv2.resize(np.exp(light), grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    paper = cv2.resize(
        cv2.erode(bare.astype(np.uint8), np.ones((5, 5))), grey.shape[::-1], interpolation=cv2.INTER_NEAREST
    )
    relative = (grey / level)[paper > 0]
    spread = (
        np.subtract(*np.percentile(relative, [75, 25])) / 1.349 if relative.size else 0.0
    )  # of a normal distribution
    return PaperLight(np.asarray(level, np.float32), float(spread))


def _flat(tone: np.ndarray) -> np.ndarray:
    """Where there is no more texture than that of paper."""
    texture = _texture(tone)
    bright = texture[tone >= np.percentile(tone, 60)]
    return np.asarray(texture < 1.5 * np.percentile(bright, 30) + 0.012)


def _texture(tone: np.ndarray) -> np.ndarray:
    """Local deviation from the blurred picture: a ramp has none."""
    detail = tone - cv2.GaussianBlur(tone, (0, 0), 2)
    return np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), 1.5))


def _bare(tone: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Areas of paper that can be told by themselves."""
    relative = np.exp(tone - _global(tone, flat))
    candidates = (flat & (relative > DEEPEST)).astype(np.uint8)
    candidates = cv2.morphologyEx(candidates, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(candidates, connectivity=4)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    bright = np.bincount(labels[relative > LIKE[0]], minlength=count)
    at_border = np.bincount(border, minlength=count)
    area = stats[:, cv2.CC_STAT_AREA]
    fading = bright > 0.05 * area
    entering = (area > 0.01 * tone.size) & (at_border > 0.03 * border.size)
    accepted = fading | entering
    accepted[0] = False  # what is no candidate
    return np.asarray(accepted[labels])


def _global(tone: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """A quadratic through the brightest of what is flat: drawn areas and shadows lie below it and do not pull."""
    height, width = tone.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    rows, values = terms[flat].reshape(-1, 6), tone[flat].astype(np.float64)
    if len(values) < 50:
        return np.full_like(tone, np.percentile(tone, 90))
    fit = np.full(len(values), np.percentile(values, 80))
    coefficients = np.zeros(6)
    for _ in range(8):
        below = np.maximum(fit - values, 0)
        weights = 1 / (1 + (below / 0.06) ** 4)
        weighted = rows * weights[:, None]
        coefficients = np.linalg.solve(
            weighted.T @ rows + 1e-3 * weights.sum() * np.diag([0, 1, 1, 1, 1, 1]), weighted.T @ values
        )
        fit = rows @ coefficients
    return np.asarray(terms @ coefficients, np.float32)


def _like(tone: np.ndarray, flat: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Flat areas as bright as the light there, such as paper inside an outline."""
    relative = np.exp(tone - light)
    return flat & (relative > LIKE[0]) & (relative < LIKE[1])


def _spread(tone: np.ndarray, bare: np.ndarray) -> np.ndarray:
    """The tone of bare paper, smoothed a little, and continued over the rest from ever wider surroundings."""
    weight = bare.astype(np.float32)
    if not bare.any():
        return np.full_like(tone, np.percentile(tone, 95))
    light = np.full_like(tone, np.median(tone[bare]))
    for sigma in (128, 64, 32, 16, 8, 4):
        share = _blur(weight, sigma)
        mean = _blur(weight * (tone - light), sigma) / np.maximum(share, 1e-6)
        # Beside strokes, fine changes are shading rather than light.
        trust = share / 0.25 if sigma > 8 else (share - 0.8) / 0.2
        light += mean * np.clip(trust, 0, 1)
    return light


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian; coarse ones on a smaller picture."""
    step = max(1, int(sigma // 4))
    if step == 1:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma))
    height, width = values.shape
    size = (max(2, -(-width // step)), max(2, -(-height // step)))
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _with_edges(tone: np.ndarray, bare: np.ndarray, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paper with the narrow gaps in it, in which hard edges of shadows lie; thin strokes in them are closed first."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    closed = cv2.morphologyEx(tone, cv2.MORPH_CLOSE, disc)
    wide = cv2.morphologyEx(bare.astype(np.uint8), cv2.MORPH_CLOSE, disc) > 0
    gaps = wide & ~bare & _within(closed, bare, tone)
    return np.where(gaps, closed, tone), bare | gaps


def _within(closed: np.ndarray, bare: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Where the closed tone lies between the darkest and the brightest bare paper nearby."""
    window = np.ones((11, 11), np.uint8)
    low = cv2.erode(np.where(bare, tone, np.float32(9)), window)
    high = cv2.dilate(np.where(bare, tone, np.float32(-9)), window)
    return np.asarray((closed > low - 0.02) & (closed < high + 0.02))
