"""Simulated photographs of drawings."""

import cv2
import numpy as np
import pytest
from skimage import data as skimage_data

from translate.data.images import ImageError, Picture, from_array
from translate.data.phone_photo import simulate_phone_photo


@pytest.fixture(scope="module")
def portrait():
    return from_array(cv2.resize(skimage_data.camera(), (96, 120), interpolation=cv2.INTER_AREA))


def test_the_same_seed_gives_the_same_photograph_and_another_seed_another(portrait):
    one, two, other = (simulate_phone_photo(portrait, seed) for seed in (1, 1, 2))
    assert one.picture.pixels.tobytes() == two.picture.pixels.tobytes()
    assert (one.corners == two.corners).all()
    assert abs(one.corners - other.corners).max() > 5


@pytest.mark.parametrize("seed", range(2))
def test_the_sheet_lies_where_the_corners_say_and_is_brighter_than_the_desk(seed):
    photo = simulate_phone_photo(from_array(np.full((100, 80), 255, np.uint8)), seed)
    pixels = photo.picture.pixels
    assert pixels.dtype == np.uint8
    assert 1000 <= max(pixels.shape) <= 1600
    middle = photo.corners.mean(axis=0)
    for corner in photo.corners:
        step = (corner - middle) / np.linalg.norm(corner - middle)
        (x0, y0), (x1, y1) = (np.rint(corner + distance * step).astype(int) for distance in (-12, 12))
        assert pixels[y0, x0].mean() > 1.2 * pixels[y1, x1].mean()
    lengths = np.linalg.norm(photo.corners - np.roll(photo.corners, -1, axis=0), axis=1)
    assert (lengths[1] + lengths[3]) / (lengths[0] + lengths[2]) == pytest.approx(100 / 80, rel=0.1)


def test_the_upper_left_of_the_drawing_is_at_the_first_corner():
    drawing = np.full((80, 80), 255, np.uint8)
    drawing[4:20, 4:20] = 0
    photo = simulate_phone_photo(from_array(drawing), 5)
    levels = []
    for index in range(4):
        x, y = np.rint(0.85 * photo.corners[index] + 0.15 * photo.corners[index - 2]).astype(int)
        levels.append(photo.picture.pixels[y - 3 : y + 4, x - 3 : x + 4].mean())
    assert np.argmin(levels) == 0
    assert levels[0] < 0.4 * min(levels[1:])


def test_transparent_is_paper():
    ink = np.zeros((40, 40, 1), np.uint16)
    alpha = np.zeros((40, 40), np.uint16)
    alpha[10:30, 10:30] = 65535
    seen = simulate_phone_photo(Picture(ink, alpha), 0).picture
    plain = simulate_phone_photo(from_array(np.where(alpha > 0, 0, 65535).astype(np.uint16)), 0).picture
    assert seen.pixels.tobytes() == plain.pixels.tobytes()


def test_a_tiny_drawing_is_refused():
    with pytest.raises(ImageError, match="a drawing of 20 x 15 is too small to photograph"):
        simulate_phone_photo(from_array(np.zeros((15, 20), np.uint8)), 0)
