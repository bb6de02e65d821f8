"""Photographs of drawings as a phone takes them, made up: to measure what cleaning is worth, and to test it."""

from dataclasses import dataclass

import cv2
import numpy as np

from translate.data.drawing_measures import grey_values
from translate.data.picture import ImageError, Picture

GAMMA = 2.2  # of the stored values; light is added and multiplied before it


@dataclass(frozen=True, eq=False)
class PhonePhoto:
    """A photograph of a sheet of paper.

    picture: (H, W, 3) uint8, the longer side from 1000 to 1600 pixels.
    corners: (4, 2) float64, x and y of the sheet's corners in pixels of the photograph, in the order top left, top
        right, bottom right, bottom left of the drawing; (0, 0) is the middle of the first pixel.
    """

    picture: Picture
    corners: np.ndarray


def simulate_phone_photo(picture: Picture, seed: int) -> PhonePhoto:
    """The drawing on a sheet of its own size and shape that lies on a desk, photographed by hand.

    Paper with a tone and grain, a darker desk with streaks, rotation and perspective of a real camera, uneven light,
    the soft shadow of a hand or phone, defocus, white balance, noise and JPEG of quality 70 to 90. All of it follows
    from the seed. What is transparent is paper.

    Raises:
        ImageError: a side is below 16 pixels, or values are not finite.
    """
    height, width = picture.pixels.shape[:2]
    if min(height, width) < 16:
        raise ImageError(f"a drawing of {width} x {height} is too small to photograph, both sides must be at least 16")
    rng = np.random.default_rng(seed)
    longer = int(rng.integers(1000, 1601))
    shorter = round(longer * 0.75)
    frame = (longer, shorter) if width > height else (shorter, longer)  # width and height
    corners = _corners(rng, (width, height), frame)
    light = _scene(rng, picture, corners, frame)
    light *= _illumination(rng, frame)[..., None]
    return PhonePhoto(_expose(rng, light), corners)


def _corners(rng: np.random.Generator, sheet: tuple[int, int], frame: tuple[int, int]) -> np.ndarray:
    """Where a camera sees the corners: turned by up to 12 degrees in the plane, tilted by up to 18 out of it."""
    aspect = sheet[0] / sheet[1]
    plane = np.array([[-aspect, -1, 0], [aspect, -1, 0], [aspect, 1, 0], [-aspect, 1, 0]]) / np.hypot(aspect, 1)
    turn, pitch, yaw = np.radians(rng.uniform([-12, -18, -18], [12, 18, 18]))
    rotation = cv2.Rodrigues(np.array([0.0, 0.0, turn]))[0]
    tilt = cv2.Rodrigues(np.array([pitch, yaw, 0.0]))[0]
    seen = plane @ (tilt @ rotation).T + [0, 0, 3.2]  # 3.2 half diagonals away
    points = seen[:, :2] / seen[:, 2:]
    low, high = points.min(axis=0), points.max(axis=0)
    # The principal point stays in the middle of the photograph, so the sheet is moved before it is enlarged.
    size = np.array(frame) * rng.uniform(0.78, 0.92)
    scale = (size / (high - low)).min()
    shift = (np.array(frame) - scale * (high - low)) / 2 * rng.uniform(-0.5, 0.5, 2)
    return np.asarray((points - (low + high) / 2) * scale + np.array(frame) / 2 - 0.5 + shift)


def _scene(rng: np.random.Generator, picture: Picture, corners: np.ndarray, frame: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) float32: what the sheet and the desk reflect, linear."""
    drawing = grey_values(picture)
    height, width = drawing.shape
    factor = max(1, round(max(frame) / max(height, width)))
    large = cv2.resize(drawing, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    paper = np.array([0.93, 0.93, 0.93]) - rng.uniform(0, 0.12) * np.array([0.2, 0.5, 1.0]) - rng.uniform(0, 0.08)
    grain = 1 + 0.012 * _noise(rng, large.shape, 0.8) + 0.008 * _noise(rng, large.shape, 4)
    sheet = (np.clip(large, 0, 1) * grain)[..., None] ** GAMMA * paper.astype(np.float32)
    inner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * [large.shape[1], large.shape[0]] - 0.5
    matrix = cv2.getPerspectiveTransform(inner.astype(np.float32), corners.astype(np.float32))
    padded = cv2.copyMakeBorder(sheet.astype(np.float32), 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    move = np.array([[1, 0, -2], [0, 1, -2], [0, 0, 1]])
    seen = cv2.warpPerspective(padded, matrix @ move, frame, flags=cv2.INTER_LINEAR)
    share = cv2.warpPerspective(np.ones(large.shape, np.float32), matrix, frame, flags=cv2.INTER_LINEAR)[..., None]
    tone = rng.uniform(0.04, 0.3) * rng.uniform([0.9, 0.55, 0.3], [1.1, 0.9, 0.9])
    streaks = 1 + 0.12 * _noise(rng, (frame[1], 1), 2) + 0.06 * _noise(rng, frame[::-1], 1.5)
    desk = np.clip(streaks, 0.3, 2)[..., None] * tone.astype(np.float32)
    return np.asarray(seen * share + desk * (1 - share), np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Normal noise as coarse as a blur of `sigma` pixels makes it, with a standard deviation of about 1."""
    white = rng.standard_normal(shape, dtype=np.float32)
    blurred = cv2.GaussianBlur(white, (0, 0), sigma)
    return np.asarray(blurred / max(float(blurred.std()), 1e-6), np.float32)


def _illumination(rng: np.random.Generator, frame: tuple[int, int]) -> np.ndarray:
    """(H, W) float32, linear: a lamp at one side, darker corners, and a shadow that comes in from an edge."""
    width, height = frame
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.35)
    light = 1 + slope * (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)))
    light *= 1 - np.float32(rng.uniform(0.05, 0.2)) * (x**2 + y**2) / 2
    return np.asarray(light * (1 - rng.uniform(0.25, 0.5) * _shadow(rng, frame)), np.float32)


def _shadow(rng: np.random.Generator, frame: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 from 0 to 1: an arm with a hand or a phone at its end, with soft edges."""
    mask = np.zeros(frame[::-1], np.float32)
    size = max(frame)
    side = rng.integers(4)
    along = rng.uniform(0.2, 0.8)
    start = np.array([(along, -0.1), (1.1, along), (along, 1.1), (-0.1, along)][side]) * frame
    middle = np.array(frame) * rng.uniform(0.35, 0.65, 2)
    end = start + (middle - start) * rng.uniform(0.5, 0.9)
    cv2.line(mask, _point(start), _point(end), 1.0, int(size * rng.uniform(0.1, 0.18)))
    box = (_point(end), (size * rng.uniform(0.15, 0.25), size * rng.uniform(0.1, 0.2)), rng.uniform(0, 180))
    cv2.fillPoly(mask, [np.rint(cv2.boxPoints(box)).astype(np.int32)], 1.0)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), size * rng.uniform(0.01, 0.03)), np.float32)


def _point(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _expose(rng: np.random.Generator, light: np.ndarray) -> Picture:
    """What the camera makes of linear light (H, W, 3)."""
    blurred = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.6, 1.3))
    balance = rng.uniform([0.92, 0.97, 0.85], [1.05, 1.0, 1.03]).astype(np.float32)
    exposed = blurred * balance * np.float32(rng.uniform(0.7, 0.95) / np.percentile(blurred, 99))
    sigma = np.sqrt(np.float32(rng.uniform(1e-5, 1e-4)) * exposed + np.float32(1e-5))  # of photons and of the sensor
    noisy = exposed + sigma * rng.standard_normal(exposed.shape, dtype=np.float32)
    pixels = np.rint(255 * np.clip(noisy, 0, 1) ** np.float32(1 / GAMMA)).astype(np.uint8)
    quality = int(rng.integers(70, 91))
    encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return Picture(np.ascontiguousarray(decoded[..., ::-1]))
