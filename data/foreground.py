"""What a picture shows and what lies behind it: cutting out the subject, and putting it on a plain ground."""

from dataclasses import replace

import cv2
import numpy as np

from translate.data.intensity import DTYPE_RANGES, as_dtype, check_finite, opacity_of
from translate.data.picture import ImageError, Picture

WORKING_SIDE = 240  # pixels of the longer side at which subjects are looked for
ROUNDS = 3  # of GrabCut
BORDER = 0.04  # share of the sides, left, right and above, that shows no subject; below it may go on
SMALLEST, LARGEST = 0.03, 0.97  # share of the picture that a subject takes
PIECE = 0.1  # a part that is smaller than this share of the largest one is none of the subject


def cut_out(picture: Picture) -> Picture:
    """The picture with an alpha that leaves the subject alone, with soft edges.

    GrabCut (Rother, Kolmogorov and Blake 2004, doi:10.1145/1015706.1015720) with nothing but a prior: the border on the
    left, on the right and above is ground. The same picture gives the same alpha.

    Raises:
        ImageError: values that are not finite, or nothing that could be a subject: below 3 % or above 97 % of the
            picture.
    """
    check_finite(picture)
    height, width = picture.pixels.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    sides = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(_bytes(picture), sides, interpolation=cv2.INTER_AREA)
    subject = _largest(_grab(small))
    share = float(subject.mean())
    if not SMALLEST <= share <= LARGEST:
        raise ImageError(
            f"no subject could be told from its ground, GrabCut's takes {share:.0%} of the picture: give the picture "
            "an alpha channel"
        )
    soft = cv2.GaussianBlur(subject.astype(np.float32), (0, 0), 1.0)
    # The blur made the edge wider than the subject: half of that is taken back, so that no rim of the ground shows.
    opacity = np.clip(2 * cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR) - 0.8, 0, 1)
    alpha = as_dtype(opacity * DTYPE_RANGES[picture.pixels.dtype.name][1], picture.pixels.dtype)
    return replace(picture, alpha=alpha)


def flatten(picture: Picture, background: tuple[int, int, int] = (255, 255, 255)) -> Picture:
    """The picture on a plain ground, without alpha; the very same object where it has none.

    Grey becomes RGB, and loses its ICC profile, where the ground has a colour.

    Args:
        background: red, green and blue, 0 to 255.

    Raises:
        ImageError: values that are not finite.
    """
    if picture.alpha is None:
        return picture
    check_finite(picture)
    grey = picture.pixels.shape[2] == 1
    coloured = grey and len(set(background)) > 1
    pixels = np.repeat(picture.pixels, 3, axis=2) if coloured else picture.pixels
    high = DTYPE_RANGES[picture.pixels.dtype.name][1]
    shades = background[:1] if grey and not coloured else background
    ground = np.array(shades, np.float32) * np.float32(high / 255)
    opacity = opacity_of(picture.alpha, np.float32)[..., None]
    mixed = pixels * opacity + ground * (1 - opacity)
    metadata = replace(picture.metadata, icc=None) if coloured else picture.metadata
    return Picture(as_dtype(mixed, picture.pixels.dtype), None, metadata)


def _grab(pixels: np.ndarray) -> np.ndarray:
    """Boolean (H, W) of uint8 RGB: where GrabCut sees the subject."""
    height, width = pixels.shape[:2]
    if min(height, width) < 8:
        return np.zeros((height, width), bool)
    mask = np.full((height, width), cv2.GC_PR_FGD, np.uint8)
    rows, columns = max(1, round(BORDER * height)), max(1, round(BORDER * width))
    mask[:rows] = mask[:, :columns] = mask[:, -columns:] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # of this thread
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(np.ascontiguousarray(pixels[..., ::-1]), mask, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)


def _largest(subject: np.ndarray) -> np.ndarray:
    """The largest connected part and those of a tenth of its size, without holes of less than that."""
    kept = _parts(subject)
    holes = ~kept
    return ~_parts(holes, PIECE * int(kept.sum())) if holes.any() and kept.any() else kept


def _parts(mask: np.ndarray, least: float | None = None) -> np.ndarray:
    """The connected parts of at least so many pixels; by default a tenth of those of the largest."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    sizes = statistics[:, cv2.CC_STAT_AREA].copy()
    sizes[0] = 0  # what is outside
    kept = sizes >= max(1.0, PIECE * sizes.max() if least is None else least)
    return kept[labels]


def _bytes(picture: Picture) -> np.ndarray:
    """uint8 RGB."""
    high = DTYPE_RANGES[picture.pixels.dtype.name][1]
    pixels = as_dtype(picture.pixels * np.float32(255 / high), np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
