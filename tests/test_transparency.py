"""Transparent pixels take the colours of their surroundings, and nothing that is seen changes."""

import numpy as np
import pytest
from skimage import data

from translate.data.images import ImageError, Picture
from translate.data.transparency import fill_transparent

RANDOM = np.random.default_rng(0)
FACE = data.astronaut()[90:130, 190:246]


def cut_out():
    """(64, 64): the astronaut's face in a circle with a soft edge, and green around it."""
    rows, columns = np.mgrid[:64, :64] - 31.5
    opacity = np.clip(24.5 - np.hypot(rows, columns), 0, 1)
    pixels = np.where(opacity[..., None] > 0, data.astronaut()[80:144, 190:254], np.uint8([0, 255, 0]))
    return Picture(pixels, np.rint(255 * opacity).astype(np.uint8))


def test_filling_changes_only_what_is_transparent():
    picture = cut_out()
    filled = fill_transparent(picture)
    visible = picture.alpha >= 8
    np.testing.assert_array_equal(filled.pixels[visible], picture.pixels[visible])
    assert filled.alpha is picture.alpha
    assert (filled.pixels[picture.alpha == 0] != (0, 255, 0)).any(axis=1).all()
    assert filled.pixels[0, 0].mean() == pytest.approx(picture.pixels[visible].mean(), abs=60)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (5, 7), (2, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_one_visible_pixel_gives_its_colour_to_all(dtype, shape):
    pixels = RANDOM.integers(0, 200, (*shape, 3)).astype(dtype)
    alpha = np.zeros(shape, dtype)
    alpha[-1, 0] = 1 if dtype == np.float32 else np.iinfo(dtype).max
    filled = fill_transparent(Picture(pixels, alpha)).pixels
    np.testing.assert_allclose(filled, np.broadcast_to(pixels[-1, 0], filled.shape), rtol=1e-6)


def test_the_nearest_colours_are_taken():
    pixels, alpha = np.zeros((32, 32, 1), np.uint8), np.zeros((32, 32), np.uint8)
    alpha[:, :16], alpha[16, 28] = 255, 255  # a dark half, and one bright pixel far from it
    pixels[16, 28] = 200
    filled = fill_transparent(Picture(pixels, alpha)).pixels[..., 0]
    assert filled[17, 28] > 150
    assert filled[2, 18] < 50


def test_a_nearly_transparent_pixel_fades_into_its_surroundings():
    picture = Picture(np.uint8([[[200], [0]]]), np.uint8([[255, 4]]))  # 4 / 255 is half of 1 / 32
    around = (200 * 1 + 0 * 0.5) / 1.5
    assert fill_transparent(picture).pixels[0, 1, 0] == pytest.approx(around / 2, abs=1)


def test_a_picture_with_nothing_or_all_to_see_is_not_copied():
    for alpha in (None, np.full((40, 56), 9, np.uint8), np.zeros((40, 56), np.uint8)):
        picture = Picture(FACE, alpha)
        assert fill_transparent(picture) is picture


def test_values_that_are_not_finite_are_refused():
    pixels, alpha = np.zeros((3, 4, 1), np.float32), np.ones((3, 4), np.float32)
    pixels[0, 0], alpha[1, 1] = np.nan, np.inf
    with pytest.raises(ImageError, match="2 values are NaN or infinite, all must be finite"):
        fill_transparent(Picture(pixels, alpha))
