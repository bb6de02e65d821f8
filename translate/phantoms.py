"""Known objects put into real scans: what a denoiser keeps of them, loses, and invents.

A denoiser is any function from a slice (H, W) to a slice of the same shape, in the same units, so that a model and a
classical method are measured alike. Every slice is denoised with and without the objects: what differs is what became
of them, whatever the anatomy behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from translate.noise_statistics import SOFT_TISSUE

Denoise = Callable[[np.ndarray], np.ndarray]
Position = tuple[float, float]  # row, column in pixels
SHARPNESS = 0.8  # pixels, standard deviation: the blur of a scanner, without which an object would look drawn
BIN = 0.25  # pixels of an edge profile
REACH = 8.0  # pixels of profile on either side of an edge


@dataclass(frozen=True)
class Detection:
    """What became of low-contrast discs. "before" is of the noisy input, "after" of the output.

    Args:
        discs: that were inserted, over all slices.
        recovered: contrast in the output as a part of what was inserted, mean over discs; 1 is unchanged.
        kept: part of the discs with at least half of their contrast left.
        invented: part of the empty places where the output shows, brighter or darker, at least half of the contrast
            and at least a quarter of it more than the input did.
        cnr_before, cnr_after: contrast to the ring around, over the standard deviation there; mean over discs.
        detectability_before, detectability_after: d' of a matched filter that does not whiten (a disc minus the ring
            around it), from places with and without a disc. Denoising cannot be expected to raise it.
    """

    discs: int
    recovered: float
    kept: float
    invented: float
    cnr_before: float
    cnr_after: float
    detectability_before: float
    detectability_after: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class EdgeSharpness:
    """Frequencies per mm at which 50 % and 10 % of an edge's contrast are left; None if that is beyond 1 per pixel."""

    contrast: float
    mtf50_before: float | None
    mtf10_before: float | None
    mtf50_after: float | None
    mtf10_after: float | None


def flat_positions(
    values: np.ndarray, radius: float, count: int, *, seed: int, inside: tuple[float, float] | None = SOFT_TISSUE
) -> list[Position]:
    """Up to `count` places for discs in the flattest quarter of a slice (H, W), 4 radii apart, not on whole pixels.

    Args:
        inside: what values tissue has; None takes all above the slice's mean.

    Raises:
        ValueError: there is no such place.
    """
    side = 2 * int(np.ceil(2 * radius)) + 1
    smooth = cv2.GaussianBlur(values.astype(np.float64), (0, 0), 2.0)
    mean, squares = cv2.blur(smooth, (side, side)), cv2.blur(smooth * smooth, (side, side))
    deviation = np.sqrt(np.maximum(squares - mean**2, 0))
    low, high = inside or (float(values.mean()), np.inf)
    usable = (mean >= low) & (mean <= high)
    border = side // 2 + 1
    usable[:border] = usable[-border:] = usable[:, :border] = usable[:, -border:] = False
    if not usable.any():
        raise ValueError(
            f"the slice has no tissue of {side} pixels a side for a disc of radius {radius:g}: use a smaller radius, "
            f"or other limits than {inside} for the values of tissue"
        )
    usable &= deviation <= np.quantile(deviation[usable], 0.25)
    rng = np.random.default_rng(seed)
    places: list[Position] = []
    while len(places) < count and usable.any():
        row, column = np.argwhere(usable)[rng.integers(np.count_nonzero(usable))]
        places.append((row + rng.uniform(-0.5, 0.5), column + rng.uniform(-0.5, 0.5)))
        reach = int(np.ceil(4 * radius)) + 1
        usable[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = False
    return places


def insert_discs(values: np.ndarray, positions: Sequence[Position], *, contrast: float, radius: float) -> np.ndarray:
    """A slice (H, W) with discs of this contrast added, whose edges are as soft as a scanner's; float64."""
    discs = np.zeros(values.shape)
    for position in positions:
        np.maximum(discs, np.clip(radius + 0.5 - _distance(values.shape, position), 0, 1), out=discs)
    return values + contrast * cv2.GaussianBlur(discs, (0, 0), SHARPNESS)


def measure_discs(
    denoise: Denoise,
    slices: Sequence[np.ndarray],
    *,
    contrast: float,
    radius: float,
    count: int = 12,
    seed: int = 0,
    inside: tuple[float, float] | None = SOFT_TISSUE,
) -> Detection:
    """Insert discs into noisy slices (H, W), and tell which are kept, lost and invented. Denoises each slice twice.

    Args:
        contrast: of the discs, in the slices' units; 10 to 30 HU is what a liver lesion has.
        radius: pixels.
        count: discs in each slice, at most.

    Raises:
        ValueError: no slices, or a slice without a place for a disc.
    """
    if not slices:
        raise ValueError("discs are inserted into slices, got none: give at least one")
    rows = []  # of scores: input without, input with, output without, output with; and two noises
    for number, values in enumerate(slices):
        places = flat_positions(values, radius, count, seed=seed + number, inside=inside)
        with_discs = insert_discs(values, places, contrast=contrast, radius=radius)
        layers = (values.astype(np.float64), with_discs, denoise(values), denoise(with_discs))
        for position in places:
            distance = _distance(values.shape, position)
            disc, ring = distance <= radius, (distance >= 1.3 * radius) & (distance < 2 * radius)
            scores = [_score(layer, disc, ring) for layer in layers]
            rows.append([*(score for score, _ in scores), scores[1][1], scores[3][1]])
    empty, full, empty_after, full_after, noise, noise_after = np.array(rows).T
    recovered = (full_after - empty_after) / (full - empty)
    grown = np.abs(empty_after) - np.abs(empty)
    invented = (np.abs(empty_after) >= abs(contrast) / 2) & (grown >= abs(contrast) / 4)
    return Detection(
        discs=len(rows),
        recovered=float(recovered.mean()),
        kept=float((recovered >= 0.5).mean()),
        invented=float(invented.mean()),
        cnr_before=_ratio(full.mean(), noise.mean()),
        cnr_after=_ratio(full_after.mean(), noise_after.mean()),
        detectability_before=_ratio((full - empty).mean(), np.sqrt((full.var() + empty.var()) / 2)),
        detectability_after=_ratio(
            (full_after - empty_after).mean(), np.sqrt((full_after.var() + empty_after.var()) / 2)
        ),
    )


def edge_mtf(
    denoise: Denoise,
    values: np.ndarray,
    *,
    contrast: float,
    spacing: float,
    radius: float = 10.0,
    seeds: Sequence[int] = (0, 1, 2),
    inside: tuple[float, float] | None = SOFT_TISSUE,
) -> EdgeSharpness:
    """How sharp edges of this contrast stay: nonlinear denoisers blur faint edges more than strong ones.

    Discs are inserted into a noisy slice (H, W), as in the task-based transfer function (Richard et al. 2012,
    doi:10.1118/1.4725171); their radial profiles over all discs and seeds give one edge.

    Args:
        contrast: in the slice's units; 50, 200 and 1000 HU show the difference.
        spacing: mm between pixels.
        radius: pixels, of the discs; more than 8.
        seeds: each puts up to 4 discs into other places, and denoises the slice again.

    Raises:
        ValueError: a radius of 8 or less, or no place for a disc.
    """
    if radius <= REACH:
        raise ValueError(f"an edge needs discs of a radius above {REACH:g} pixels, got {radius:g}: use larger ones")
    plain = denoise(values)
    before, after = (np.zeros((2, round((radius + REACH) / BIN))) for _ in range(2))
    for seed in seeds:
        places = flat_positions(values, radius, 4, seed=seed, inside=inside)
        with_discs = insert_discs(values, places, contrast=contrast, radius=radius)
        for position in places:
            ring = (_distance(values.shape, position) / BIN).astype(int)
            near = ring < before.shape[1]
            for sums, change in ((before, with_discs - values), (after, denoise(with_discs) - plain)):
                sums[0] += np.bincount(ring[near], minlength=len(sums[0]))
                sums[1] += np.bincount(ring[near], change[near] / contrast, minlength=len(sums[0]))
    sharpness = [_crossing(sums, radius, level, spacing) for sums in (before, after) for level in (0.5, 0.1)]
    return EdgeSharpness(contrast, *sharpness)


def _crossing(sums: np.ndarray, radius: float, level: float, spacing: float) -> float | None:
    """The first frequency per mm at which the transfer function of an edge's profile falls to a level."""
    filled = sums[0] > 0
    places = (np.arange(len(filled)) + 0.5) * BIN
    profile = np.interp(places, places[filled], sums[1][filled] / sums[0][filled])
    middle = (places[1:] + places[:-1]) / 2 - radius
    taper = np.clip((REACH - np.abs(middle)) / (REACH / 4), 0, 1)  # only the outer quarter: blurred edges are wide
    window = np.sin(np.pi / 2 * taper) ** 2
    spectrum = np.abs(np.fft.rfft(-np.diff(profile) * window, 4096))
    frequency = np.fft.rfftfreq(4096, BIN)
    below = np.flatnonzero((spectrum <= level * spectrum[0]) & (frequency <= 1))
    if not len(below) or below[0] == 0:
        return None
    last = below[0] - 1
    share = (spectrum[last] - level * spectrum[0]) / (spectrum[last] - spectrum[last + 1])
    return float((frequency[last] + share * (frequency[1] - frequency[0])) / spacing)


def _score(values: np.ndarray, disc: np.ndarray, ring: np.ndarray) -> tuple[float, float]:
    """Mean of a disc minus the mean of the ring around it, and the ring's standard deviation."""
    around = values[ring]
    return float(values[disc].mean() - around.mean()), float(around.std())


def _distance(shape: tuple[int, ...], position: Position) -> np.ndarray:
    return np.hypot(np.arange(shape[0])[:, None] - position[0], np.arange(shape[1])[None] - position[1])


def _ratio(one: float, two: float) -> float:
    return float(one / two) if two > 0 else float("inf") if one else 0.0
