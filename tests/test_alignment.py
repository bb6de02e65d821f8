"""Where drawings lie on their photographs: what is found, and bringing them there."""

import math

import cv2
import numpy as np
import pytest
from conftest import ROOT
from skimage import data as skimage_data

from translate.data.alignment import Alignment, measure_alignment
from translate.data.drawing_place import Place, fit_drawing, move_drawing
from translate.data.images import ImageError, Picture, from_array, read_picture
from translate.data.sketch import SketchSettings, sketch
from translate.data.sketch_pencil import Pencil

PENCIL = SketchSettings(Pencil(0.03, 1.0, 0.8, 1.0, 45.0, 0.3, 5), 1.0)


MARGIN = 24  # pixels of the drawing beyond the photograph


@pytest.fixture(scope="module")
def photograph():
    return from_array(np.ascontiguousarray(wide()[MARGIN:-MARGIN, MARGIN:-MARGIN]))


@pytest.fixture(scope="module")
def drawing():
    """Of more than the photograph shows, so that parts of it come into the frame when it is misplaced."""
    return sketch(from_array(wide()), PENCIL)


def wide():
    return cv2.resize(skimage_data.astronaut(), (200 + 2 * MARGIN,) * 2, interpolation=cv2.INTER_AREA)


def misplaced(picture, place, margin=MARGIN):
    """The picture as it would be drawn at another place, without its margin."""
    height, width = picture.pixels.shape[:2]
    moved = cv2.warpAffine(
        picture.pixels, place.matrix(width, height), (width, height), flags=cv2.INTER_CUBIC, borderValue=(255,) * 3
    )
    return from_array(np.ascontiguousarray(moved[margin : height - margin, margin : width - margin]))


def distance(found, wanted, width, height):
    """How far the found place is from the wanted one, on average over the pixels, in pixels."""
    y, x = np.mgrid[:height, :width]
    points = np.stack([x, y, np.ones_like(x)]).reshape(3, -1)
    apart = (found.matrix(width, height) - wanted.matrix(width, height)) @ points
    return float(np.hypot(*apart).mean())


KNOWN = [
    Place(right=3, down=-2),
    Place(right=-9, down=8),
    Place(right=12.5, down=0.5),
    Place(rotation=2),
    Place(rotation=-2),
    Place(scale=1.03),
    Place(scale=0.97),
    Place(right=6, down=-7, rotation=2, scale=0.97),
]


@pytest.mark.parametrize("place", KNOWN)
def test_a_known_place_is_found_within_half_a_pixel(photograph, drawing, place):
    found = measure_alignment(misplaced(drawing, place), photograph)
    assert distance(found.place, place, 200, 200) < 0.5
    assert found.place.rotation == pytest.approx(place.rotation, abs=0.2)
    assert found.place.scale == pytest.approx(place.scale, abs=0.005)
    assert found.after > found.before + 0.02
    assert found.known


@pytest.mark.parametrize("name", ["angry-face", "grimacing-face", "cat-face"])
def test_the_place_of_a_real_drawing_is_found_within_two_pixels(name):
    drawn, photographed = (
        read_picture(ROOT / "pipelines/pictures" / side / f"{name}.png") for side in ("sketch", "render")
    )
    before = measure_alignment(drawn, photographed).place
    assert before.off(128, 128) < 5  # heavy outlines lie half inside and half outside
    after = measure_alignment(misplaced(drawn, Place(right=7, down=-5), 0), photographed).place
    assert after.right - before.right == pytest.approx(7, abs=2)
    assert after.down - before.down == pytest.approx(-5, abs=2)


def test_a_drawing_in_its_place_lies_there(photograph, drawing):
    found = measure_alignment(misplaced(drawing, Place()), photograph)
    assert found.place.off(200, 200) < 0.5
    assert found.before == pytest.approx(found.after, abs=0.005)


def test_shifts_are_in_pixels_of_large_photographs_too():
    large = from_array(skimage_data.astronaut())
    found = measure_alignment(misplaced(sketch(large, PENCIL), Place(right=20, down=-11), 0), large)
    assert (found.place.right, found.place.down) == (pytest.approx(20, abs=1), pytest.approx(-11, abs=1))


@pytest.mark.parametrize("other", ["blank", "noise"])
def test_the_place_of_what_fits_nowhere_is_not_known(photograph, other):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    array = np.full((200, 200), 255, np.uint8) if other == "blank" else noise
    assert not measure_alignment(from_array(array), photograph).known


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (8, 8), (3, 300)])
def test_pictures_of_any_size_are_measured(size):
    noise = from_array(np.random.default_rng(0).integers(0, 256, size, np.uint8))
    assert isinstance(measure_alignment(noise, noise), Alignment)


def test_pictures_of_different_sizes_cannot_be_compared(photograph):
    with pytest.raises(ImageError, match="the drawing has 8 x 9 pixels and the photograph 200 x 200: fit the drawing"):
        measure_alignment(from_array(np.zeros((9, 8), np.uint8)), photograph)


def test_how_far_a_place_is_off():
    assert Place(3, 4).off(100, 50) == 5
    assert Place(scale=1.1).off(100, 100) == pytest.approx(0.1 * math.sqrt(20000 / 12))
    assert Place(rotation=180).off(30, 40) == pytest.approx(2 * math.sqrt(2500 / 12))


def test_a_place_maps_pixels_of_the_photograph_to_those_of_the_drawing():
    turned = Place(right=1, down=2, rotation=90, scale=2).matrix(5, 5)  # about (2, 2)
    assert (turned @ [2, 2, 1]) == pytest.approx([3, 4])
    assert (turned @ [3, 2, 1]) == pytest.approx([3, 2])  # right of the middle is drawn above it, twice as far


def test_moving_brings_a_drawing_onto_its_photograph_and_fills_with_paper(drawing):
    beige = from_array(np.minimum(drawing.pixels, 200))
    place = Place(right=15, down=4)
    away = move_drawing(beige, Place(right=-15, down=-4))
    assert away.pixels.shape == beige.pixels.shape
    back = move_drawing(away, place)
    assert np.array_equal(back.pixels[4:-4, 15:-15], beige.pixels[4:-4, 15:-15])
    assert (away.pixels[:3] == 200).all()  # not black, not white


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_drawings_keep_dtype_and_channels(dtype, channels):
    picture = from_array(np.full((40, 50, channels), 1, dtype))
    fitted = fit_drawing(picture, 25, 20)
    moved = move_drawing(fitted, Place(2, 3, 1.0))
    assert (moved.pixels.dtype, moved.pixels.shape) == (dtype, (20, 25, channels))
    assert np.allclose(moved.pixels, 1)


def test_drawings_of_the_same_size_stay_and_others_need_the_same_aspect():
    picture = from_array(np.zeros((40, 50), np.uint8))
    assert fit_drawing(picture, 50, 40) is picture
    assert fit_drawing(picture, 101, 80).pixels.shape == (80, 101, 1)  # 1 % is rounding
    with pytest.raises(ImageError, match="the drawing has 50 x 40 pixels and its photograph 100 x 77: give both the"):
        fit_drawing(picture, 100, 77)


def test_a_transparent_drawing_is_put_on_white_paper():
    ink = Picture(np.zeros((4, 4, 1), np.uint8), np.eye(4, dtype=np.uint8) * 255)
    assert fit_drawing(ink, 4, 4).pixels[..., 0].tolist() == (255 - 255 * np.eye(4)).tolist()


def test_what_opencv_cannot_move_is_refused():
    with pytest.raises(ImageError, match="40000 x 1 pixels, at most 32766 a side"):
        move_drawing(from_array(np.zeros((1, 40000), np.uint8)), Place(1, 1))
