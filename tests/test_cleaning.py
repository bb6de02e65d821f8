"""Photographs and scans of drawings become what a model was trained on; clean drawings stay as they are."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT

from translate.data.cleaning import clean_drawing
from translate.data.drawing_measures import (
    grey_values,
    ink_density,
    is_dark_ground,
    line_weight_of,
    measure_style,
    measure_tones,
    shaded_share,
)
from translate.data.drawing_style import DrawingStyle
from translate.data.images import ImageError, Picture, from_array, read_picture
from translate.data.paper_light import paper_light
from translate.data.paper_sheet import find_sheet
from translate.data.phone_photo import simulate_phone_photo
from translate.data.sheet_shape import Sheet, rectify, sheet_aspect
from translate.metrics import ssim

NAMES = ("angry-face", "cat-face", "cinema", "cool-button", "anguished-face")
STYLE = DrawingStyle(paper=1.0, ink=0.13, line_weight=7.75, width=128, height=128, coverage=0.94)


def sketch(name: str) -> np.ndarray:
    """(128, 128) uint8, black lines of 6 to 8 pixels on white."""
    return read_picture(ROOT / "pipelines" / "pictures" / "sketch" / f"{name}.png").pixels[..., 0]


def doodle(weight: int, size: int = 256, radius: int = 90, centre: tuple[int, int] = (128, 128)) -> np.ndarray:
    """A face of lines of this weight, white paper. Made four times as large: OpenCV's own soft lines are too wide."""
    canvas = np.full((4 * size, 4 * size), 255, np.uint8)
    middle = (4 * centre[0], 4 * centre[1])
    cv2.circle(canvas, middle, 4 * radius, 30, 4 * weight)
    cv2.ellipse(canvas, middle, (2 * radius, 2 * radius), 0, 20, 160, 30, 4 * weight)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)


def shaded(size: int = 250) -> np.ndarray:
    """A pencil-like head: dark hair over most of the width, hatched shading, shoulders that run out below."""
    rng = np.random.default_rng(0)
    height, width = size, size * 4 // 5
    y, x = np.mgrid[:height, :width] / size
    hatching = 0.5 + 0.5 * np.sin((x + 0.6 * y) * 260) + rng.normal(0, 0.15, (height, width))
    hair = (((x - 0.4) / 0.3) ** 2 + ((y - 0.25) / 0.17) ** 2 < 1) * (0.65 + 0.2 * hatching)
    cheek = (((x - 0.55) / 0.08) ** 2 + ((y - 0.6) / 0.12) ** 2 < 1) * 0.3 * hatching
    shoulders = ((y > 0.9 - 0.3 * (0.4 - abs(x - 0.4))) & (abs(x - 0.4) < 0.33)) * (0.3 + 0.25 * hatching)
    ink = np.clip(np.maximum(np.maximum(hair, cheek), shoulders), 0, 1)
    return np.rint(255 * (1 - cv2.GaussianBlur(ink, (0, 0), 0.6))).astype(np.uint8)


def likeness(one: np.ndarray, two: np.ndarray) -> float:
    """SSIM of two grey pictures, uint8 (H, W) or (H, W, 1)."""
    a, b = (torch.from_numpy(array.reshape(1, 1, *array.shape[:2]).astype(np.float32)) for array in (one, two))
    return ssim(a, b, data_range=255.0).item()


# What drawings are like


def test_the_style_of_the_emoji_drawings_is_what_one_sees():
    paths = sorted(Path(ROOT / "pipelines" / "pictures" / "sketch").glob("*.png"))[:16]
    style = measure_style(read_picture(path) for path in paths)
    assert (style.width, style.height) == (128, 128)
    assert style.paper > 0.98
    assert style.ink == pytest.approx(33 / 255, abs=0.01)
    assert 6 <= style.line_weight <= 8.5
    assert 0.85 < style.coverage <= 1


@pytest.mark.parametrize("weight", [2, 5, 9])
def test_line_weight_is_that_of_the_strokes_even_beside_a_filled_area(weight):
    canvas = doodle(weight)
    cv2.circle(canvas, (128, 90), 25, 30, -1, cv2.LINE_AA)
    grey = canvas / np.float32(255)
    assert line_weight_of(ink_density(grey, measure_tones(grey))) == pytest.approx(weight, abs=1)


def test_alpha_alone_is_a_drawing_too():
    ink = 255 - sketch("cat-face")
    hidden = Picture(np.zeros((128, 128, 3), np.uint16), ink.astype(np.uint16) * 257)
    plain = measure_style([from_array(255 - ink)])
    assert measure_style([hidden]).model_dump() == pytest.approx(plain.model_dump(), abs=0.01)


def test_chalk_has_dark_paper_and_bright_ink():
    style = measure_style([from_array(255 - sketch("cat-face"))])
    assert style.paper < 0.02
    assert style.ink == pytest.approx(1 - 33 / 255, abs=0.01)
    assert is_dark_ground(np.zeros((20, 20), np.float32))
    assert not is_dark_ground(grey_values(from_array(sketch("cinema"))))


def test_only_pencil_is_shading():
    for array, low, high in ((sketch("cinema"), 0, 0.01), (shaded(), 0.1, 1)):
        grey = array / np.float32(255)
        assert low <= shaded_share(ink_density(grey, measure_tones(grey))) <= high


def test_no_style_of_nothing():
    with pytest.raises(ImageError, match="the style of no drawings cannot be measured"):
        measure_style([])
    with pytest.raises(ImageError, match="no drawing is visible in 2 pictures"):
        measure_style([from_array(np.full((20, 20), 250, np.uint8))] * 2)
    with pytest.raises(ImageError, match="finite"):
        measure_style([from_array(np.full((20, 20), np.nan, np.float32))])


# The sheet


@pytest.mark.parametrize("seed", [0, 8])
def test_the_corners_of_the_sheet_are_found_to_about_a_pixel(seed):
    photo = simulate_phone_photo(from_array(sketch(NAMES[seed % 5])), seed)
    colours = photo.picture.pixels.astype(np.float32) / 255
    sheet = find_sheet(colours)
    assert sheet is not None
    assert np.linalg.norm(sheet.corners - photo.corners, axis=1).max() < 1.5
    assert sheet_aspect(sheet, colours.shape, 1.0) == 1.0


def test_no_sheet_is_found_where_somebody_drew_frames_or_paper_fills_the_picture():
    panels = np.full((200, 200), 20, np.uint8)
    panels[10:190, 10:100] = panels[10:85, 130:190] = panels[115:190, 130:190] = 255
    for array in (panels, sketch("cool-button"), sketch("cat-face"), shaded(), np.full((100, 100), 200, np.uint8)):
        assert find_sheet(np.repeat(array[..., None], 3, axis=2).astype(np.float32) / 255) is None


def test_a_sheet_that_the_photograph_cuts_off_ends_at_its_border():
    photo = simulate_phone_photo(from_array(np.full((100, 100), 255, np.uint8)), 3)
    bottom = int(photo.corners[2:, 1].min() - 80)
    colours = photo.picture.pixels[:bottom].astype(np.float32) / 255
    sheet = find_sheet(colours)
    assert sheet is not None
    assert sheet.corners[2:, 1] == pytest.approx([bottom - 1] * 2, abs=1)
    assert np.abs(sheet.corners[:2] - photo.corners[:2]).max() < 1.5


def test_the_shape_of_a_tilted_sheet_is_known_from_its_perspective():
    """Corners of a sheet of 2 x 1, tilted by 40 and 10 degrees, by a camera of 1000 pixels focal length."""
    tilt = cv2.Rodrigues(np.radians([40.0, 10.0, 0.0]))[0]
    plane = np.array([[-2, -1, 0], [2, -1, 0], [2, 1, 0], [-2, 1, 0]]) @ tilt.T + [0, 0, 8]
    sheet = Sheet(1000 * plane[:, :2] / plane[:, 2:] + 499.5)
    across, down = sheet.sides
    assert abs(across / down - 2) > 0.1
    assert sheet_aspect(sheet, (1000, 1000), 1.0) == pytest.approx(2, rel=1e-6)
    assert sheet_aspect(sheet, (1000, 1000), 1.95) == 1.95  # near enough to be the frame's


def test_a_sheet_that_is_made_smaller_does_not_alias():
    checks = (np.indices((2000, 2000)).sum(axis=0) % 2).astype(np.float32)
    corners = np.array([[0, 0], [2000, 0], [2000, 2000], [0, 2000]]) - 0.5
    assert np.abs(rectify(checks, Sheet(corners), 1.0, 331) - 0.5).max() < 0.05


# The light


def test_dark_hair_and_shoulders_at_the_border_are_kept_under_uneven_light():
    drawing = shaded(500) / np.float32(255)
    y, x = np.mgrid[:500, :400] / np.float32(400)
    shadow = cv2.GaussianBlur(((x > 0.5) & (y < 0.5)).astype(np.float32), (0, 0), 15)
    level = (0.9 - 0.25 * x) * (1 - 0.35 * shadow)
    light = paper_light(drawing * level)
    evened = np.clip(drawing * level / light.level, 0, 1)
    assert np.abs(light.level / level - 1).mean() < 0.03
    assert np.abs(evened - drawing).mean() < 0.02
    hair = (slice(90, 160), slice(100, 220))
    assert evened[hair].mean() == pytest.approx(drawing[hair].mean(), abs=0.05)


def test_a_grey_area_with_an_edge_is_no_shadow():
    drawing = np.full((300, 300), 0.9, np.float32)
    cv2.circle(drawing, (150, 150), 60, 0.5, -1, cv2.LINE_AA)
    light = paper_light(drawing)
    assert light.level == pytest.approx(0.9, abs=0.02)


def test_grain_is_measured():
    noisy = np.full((300, 300), 0.8, np.float32) + np.random.default_rng(0).normal(0, 0.04, (300, 300))
    assert paper_light(noisy.astype(np.float32)).grain == pytest.approx(0.05, abs=0.01)


# Cleaning


@pytest.mark.parametrize("name", NAMES)
def test_a_clean_drawing_comes_back_as_it_is(name):
    drawing = sketch(name)
    cleaned = clean_drawing(from_array(drawing), STYLE)
    assert cleaned.steps == ("nothing to clean",)
    assert cleaned.picture.pixels[..., 0].tobytes() == drawing.tobytes()
    assert cleaned.picture.alpha is None


@pytest.mark.parametrize("seed", [1, 2])
def test_a_photograph_of_line_art_gives_the_drawing(seed):
    drawing = sketch(NAMES[seed])
    cleaned = clean_drawing(simulate_phone_photo(from_array(drawing), seed).picture, STYLE)
    assert likeness(cleaned.picture.pixels, drawing) > 0.95
    assert cleaned.steps[0] == "found the sheet of paper and made it rectangular"
    assert any(step.startswith("evened the lighting: paper from 0.") for step in cleaned.steps)


def test_a_photograph_of_a_shaded_drawing_gives_the_drawing_without_touching_its_lines():
    drawing = shaded()
    style = measure_style([from_array(drawing)]).model_copy(update={"line_weight": 9.0})
    cleaned = clean_drawing(simulate_phone_photo(from_array(drawing), 4).picture, style)
    assert cleaned.picture.pixels.shape == (250, 200, 1)
    assert likeness(cleaned.picture.pixels, drawing) > 0.85
    assert not any("lines" in step for step in cleaned.steps)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_every_value_type_is_cleaned_alike(dtype):
    grey = (doodle(8, 128, 55, (64, 64)) * 0.8).astype(np.uint8)
    high = 65535 / 255 if dtype == np.uint16 else 1 / 255
    one, two = (clean_drawing(from_array(a), STYLE) for a in (grey, (grey * high).astype(dtype)))
    assert np.abs(one.picture.pixels.astype(int) - two.picture.pixels).max() <= 1


def test_coloured_paper_becomes_white_and_dust_goes():
    drawing = cv2.resize(sketch("angry-face"), (600, 600), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    for x, y in ((20, 20), (580, 30), (300, 590)):
        drawing[y : y + 3, x : x + 3] = 40
    yellow = drawing[..., None] * np.array([0.98, 0.9, 0.6])
    cleaned = clean_drawing(from_array(yellow.astype(np.uint8)), STYLE)
    assert "removed 3 specks" in cleaned.steps
    assert likeness(cleaned.picture.pixels, sketch("angry-face")) > 0.97
    assert np.median(cleaned.picture.pixels) == 255


@pytest.mark.parametrize("given", [2, 4, 14])
def test_lines_are_brought_to_the_weight_of_the_style(given):
    drawing = doodle(given)
    style = STYLE.model_copy(
        update={"line_weight": 8.0, "width": 256, "height": 256, "coverage": 0.75, "ink": 30 / 255}
    )
    cleaned = clean_drawing(from_array(drawing), style)
    density = ink_density(cleaned.picture.pixels[..., 0] / np.float32(255), measure_tones(drawing / np.float32(255)))
    assert line_weight_of(density) == pytest.approx(8, abs=0.8)
    assert len(cleaned.steps) == 1
    assert cleaned.steps[0].startswith("lines from ")


def test_small_holes_stay_open_when_lines_get_thicker():
    drawing = doodle(3)
    cv2.circle(drawing, (128, 60), 4, 30, 2, cv2.LINE_AA)
    assert drawing[60, 128] == 255
    style = STYLE.model_copy(update={"line_weight": 10.0, "width": 256, "height": 256, "coverage": 0.75})
    assert clean_drawing(from_array(drawing), style).picture.pixels[60, 128, 0] > 150


def test_a_small_doodle_in_a_corner_is_brought_closer_with_lines_as_wanted():
    drawing = doodle(4, 800, 80, (150, 160))
    cleaned = clean_drawing(from_array(drawing), STYLE)
    inked = cleaned.picture.pixels[..., 0] < 128
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(63.5, abs=1.5)
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(63.5, abs=1.5)
    assert np.ptp(rows) / 128 == pytest.approx(0.94, abs=0.06)
    assert any(re.match(r"brought the drawing closer: from 2\d% of the frame to 94%", step) for step in cleaned.steps)


def test_another_shape_is_padded_with_paper():
    drawing = np.hstack([sketch("angry-face"), sketch("cat-face")])
    cleaned = clean_drawing(from_array(drawing), STYLE.model_copy(update={"line_weight": 4.0}))
    pixels = cleaned.picture.pixels[..., 0]
    assert pixels.shape == (128, 128)
    assert pixels[:31].min() == pixels[-31:].min() == 254  # the drawings' own paper
    assert pixels[32:96].min() < 60
    assert cleaned.steps == ("scaled from 256 x 128 to 128 x 128 pixels",)


def test_chalk_is_turned_for_a_model_of_ink_and_ink_for_a_model_of_chalk():
    drawing = sketch("cat-face")
    turned = clean_drawing(from_array(255 - drawing), STYLE)
    assert turned.steps == ("turned bright on dark into dark on bright",)
    assert turned.picture.pixels[..., 0].tobytes() == drawing.tobytes()
    board = STYLE.model_copy(update={"paper": 0.0, "ink": 0.87})
    turned = clean_drawing(from_array(drawing), board)
    assert turned.steps == ("turned dark on bright into bright on dark",)
    assert turned.picture.pixels[..., 0].tobytes() == (255 - drawing).tobytes()
    assert clean_drawing(from_array(255 - drawing), board).steps == ("nothing to clean",)


def test_pale_ink_becomes_as_dark_as_the_training_drawings():
    pale = 255 - (255 - sketch("cat-face")) // 2
    cleaned = clean_drawing(from_array(pale), STYLE)
    assert cleaned.steps == ("ink from 0.56 to 0.13",)
    assert likeness(cleaned.picture.pixels, sketch("cat-face")) > 0.99


def test_empty_paper_and_tiny_pictures_are_refused():
    blank = simulate_phone_photo(from_array(np.full((64, 64), 255, np.uint8)), 2).picture
    with pytest.raises(ImageError, match="nothing is drawn on this paper"):
        clean_drawing(blank, STYLE)
    with pytest.raises(ImageError, match="a drawing of 100 x 15 is too small to clean"):
        clean_drawing(from_array(np.zeros((15, 100), np.uint8)), STYLE)
    with pytest.raises(ImageError, match="finite"):
        clean_drawing(from_array(np.full((64, 64), np.inf, np.float32)), STYLE)
