"""Drawings derived from photographs: the styles, their settings, paper, and what is cut out."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage import data as skimage_data

from translate.data.foreground import cut_out, flatten
from translate.data.images import ImageError, Metadata, Picture, from_array
from translate.data.sketch import STYLES, Paper, SketchSettings, draw_style, light_of, sketch
from translate.data.sketch_lines import Canny, Dog, Xdog
from translate.data.sketch_pencil import Pencil, pencil_tone

CANNY = Canny(blur=1.0, edges=0.1, shortest=0.05, weight=2.0)
DOG = Dog(sigma=1.0, flow=2.0, threshold=0.2, softness=0.5)
XDOG = Xdog(sigma=1.0, tau=0.96, epsilon=0.4, phi=6.0, flow=2.0)
PENCIL = Pencil(stroke=0.03, outline=1.0, shading=0.8, grain=1.0, angle=45.0, cross=0.3, seed=5)
ALL = {"canny": CANNY, "dog": DOG, "xdog": XDOG, "pencil": PENCIL}


@pytest.fixture(scope="module")
def astronaut():
    return cv2.resize(skimage_data.astronaut(), (128, 128), interpolation=cv2.INTER_AREA)


def drawn(array, style, **others):
    """The drawing of an array, (H, W) from 0 (ink) to 255 (paper)."""
    return sketch(from_array(array), SketchSettings(style, **{"darkness": 1.0, **others})).pixels[..., 0]


def step(side=256, dark=40, bright=200):
    """Dark on the left half, bright on the right."""
    picture = np.full((side, side), bright, np.uint8)
    picture[:, : side // 2] = dark
    return picture


# Styles


@pytest.mark.parametrize("style", ALL.values(), ids=ALL)
def test_a_drawing_is_dark_lines_on_white_paper(astronaut, style):
    picture = drawn(astronaut, style)
    assert (picture.shape, picture.dtype) == ((128, 128), np.uint8)
    assert np.median(picture) > 200
    assert 0.01 < (picture < 128).mean() < 0.4
    assert (picture[:64, 70:100] > 250).mean() > 0.3  # the wall behind her


@pytest.mark.parametrize("style", ALL.values(), ids=ALL)
def test_deep_and_float_pictures_give_the_same_drawing(astronaut, style):
    expected = drawn(astronaut, style)
    for same in (astronaut.astype(np.uint16) * 257, (astronaut / 255).astype(np.float32)):
        assert np.abs(drawn(same, style).astype(int) - expected).mean() < 0.2


@pytest.mark.parametrize("style", ALL.values(), ids=ALL)
def test_a_grey_picture_is_drawn_as_the_same_in_three_channels(astronaut, style):
    grey = astronaut[..., 1]
    assert np.abs(drawn(grey, style).astype(int) - drawn(np.dstack([grey] * 3), style)).mean() < 0.2


@pytest.mark.parametrize("style", ALL.values(), ids=ALL)
@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_plain_picture_gives_empty_paper(style, level):
    assert (drawn(np.full((64, 64), level, np.uint8), style) == 255).all()


@pytest.mark.parametrize("style", ALL.values(), ids=ALL)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (9, 300), (700, 90)])
def test_pictures_of_any_size_are_drawn(style, size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert drawn(noise, style).shape == size


def test_canny_draws_an_edge_as_a_line_of_its_weight():
    ink = 1 - drawn(step(), CANNY)[64:192] / 255
    assert ink.sum(axis=1) == pytest.approx(2.0, abs=0.5)
    assert np.flatnonzero(ink[0] > 0.5).tolist() in ([127, 128], [126, 127], [128, 129])


def test_lines_become_wider_with_the_picture():
    narrow, wide = (1 - drawn(step(side), CANNY)[side // 2] / 255 for side in (256, 1024))
    assert wide.sum() / narrow.sum() == pytest.approx(4, rel=0.3)


def test_canny_leaves_short_edges_out():
    spot = np.full((256, 256), 220, np.uint8)
    spot[100:103, 100:103] = 20
    assert drawn(spot, replace(CANNY, shortest=0.2)).min() == 255
    assert drawn(spot, replace(CANNY, shortest=0.0)).min() < 50


def test_difference_of_gaussians_draws_on_the_dark_side_of_an_edge():
    row = drawn(step(), DOG)[128]
    assert row[124:128].min() < 80
    assert (row[128:] == 255).all()
    assert (row[:110] == 255).all()


def test_xdog_fills_what_is_dark():
    row = drawn(step(), XDOG)[128]
    assert row[:100].max() < 30
    assert row[160:].min() == 255


def test_pencil_hatches_dark_tones_more_than_bright_ones():
    ramp = np.tile(np.linspace(0, 255, 256), (256, 1)).astype(np.uint8)
    quarters = drawn(ramp, replace(PENCIL, outline=0.0))[:, 4:-4].astype(float)
    means = [part.mean() for part in np.array_split(quarters, 4, axis=1)]
    assert means == sorted(means)
    assert means[-1] > 245
    assert means[0] < 190
    assert quarters[:, :60].std() > 15  # strokes, not a wash


def test_hatching_runs_along_its_angle():
    dark = np.tile(np.linspace(0, 120, 256), (256, 1)).astype(np.uint8)
    for angle in (0.0, 90.0):
        tone = drawn(dark, replace(PENCIL, outline=0.0, cross=0.0, angle=angle)).astype(float)
        across, down = np.abs(np.diff(tone, axis=1)).mean(), np.abs(np.diff(tone, axis=0)).mean()
        assert (across < 0.7 * down) if angle == 0 else (down < 0.7 * across)


def test_the_tone_of_pencil_drawings_keeps_the_order_of_greys_and_is_bright(astronaut):
    light = light_of(from_array(astronaut))
    tone = pencil_tone(light, np.ones(light.shape, bool))
    order = np.argsort(light, axis=None)
    assert (np.diff(tone.ravel()[order]) >= 0).all()
    assert 0.4 < (tone > 0.9).mean() < 0.65
    assert (tone < 0.3).mean() < 0.1


# Settings


def test_the_same_seed_draws_the_same_and_others_differ():
    assert draw_style(7) == draw_style(7)
    assert len({json.dumps(draw_style(seed).to_json()) for seed in range(50)}) == 50
    assert {draw_style(seed).to_json()["style"] for seed in range(50)} == set(STYLES)
    assert {draw_style(seed, ("dog", "xdog")).to_json()["style"] for seed in range(30)} == {"dog", "xdog"}


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("textured", [False, True])
def test_a_drawing_is_made_again_from_its_settings_as_json(astronaut, name, textured):
    settings = draw_style(3, [name], textured=textured)
    again = SketchSettings.from_json(json.loads(json.dumps(settings.to_json())))
    assert again == settings
    assert (again.paper is not None) == textured
    assert np.array_equal(sketch(from_array(astronaut), again).pixels, sketch(from_array(astronaut), settings).pixels)


@pytest.mark.parametrize("name", STYLES)
def test_random_drawings_are_neither_empty_nor_black(astronaut, name):
    for seed in range(6):
        picture = sketch(from_array(astronaut), draw_style(seed, [name])).pixels
        assert 150 < picture.mean() < 254


def test_darkness_is_that_of_full_ink():
    assert drawn(step(), XDOG, darkness=0.6).min() == 102


def test_styles_that_do_not_exist_are_refused():
    with pytest.raises(ImageError, match=r"unknown style 'xdgo', allowed are .*; did you mean 'xdog'"):
        draw_style(0, ["canny", "xdgo"])
    with pytest.raises(ImageError, match=r"unknown style 'oil', allowed are canny, dog, pencil, xdog$"):
        draw_style(0, ["oil"])
    for styles in ([], ["dog", "dog"]):
        with pytest.raises(ImageError, match="different styles, at least one of"):
            draw_style(0, styles)


def test_entries_that_are_no_settings_are_refused():
    good = draw_style(0).to_json()
    for bad in ({}, good | {"settings": {"weight": 1}}, good | {"paper": {"tone": 1}}):
        with pytest.raises(ImageError, match=r"does not say how a drawing is made: .*take an entry of dataset\.json"):
            SketchSettings.from_json(bad)


def test_pictures_that_cannot_be_drawn_are_refused():
    broken = np.zeros((8, 8), np.float32)
    broken[2, 2] = np.nan
    with pytest.raises(ImageError, match="1 values are NaN or infinite"):
        drawn(broken, DOG)
    with pytest.raises(ImageError, match="40000 x 1 pixels, drawings have at most 32766"):
        drawn(np.zeros((1, 40000), np.uint8), DOG)


# Paper


def test_textured_paper_has_its_tone_and_grain_and_misses_ink():
    paper = Paper(tone=0.9, grain=0.02, missed=0.6, seed=4)
    row = drawn(step(), XDOG, paper=paper).astype(float)
    blank, inked = row[:, 160:] / 255, row[:, :100] / 255
    assert blank.mean() == pytest.approx(0.9, abs=0.005)
    assert blank.std() == pytest.approx(0.02, rel=0.2)
    assert inked.std() > 3 * blank.std()
    assert 0.05 < inked.mean() < 0.5
    other = drawn(step(), XDOG, paper=replace(paper, seed=5))
    assert np.abs(other - row).mean() > 1


# Foreground


def test_what_is_transparent_is_paper_whatever_lies_under_it(astronaut):
    alpha = np.zeros((128, 128), np.uint8)
    alpha[:, :64] = 255
    noise = astronaut.copy()
    noise[:, 64:] = np.random.default_rng(0).integers(0, 256, (128, 64, 3))
    for style in ALL.values():
        one, other = (sketch(Picture(a, alpha), SketchSettings(style, 1.0)).pixels for a in (astronaut, noise))
        assert np.array_equal(one, other)
        assert (one[:, 72:] > 250).all()
        assert (one[:, :64] < 128).mean() > 0.01


def test_a_plain_ground_does_not_change_what_is_strong_or_dark(astronaut):
    """Drawn with a wide transparent margin, the subject has as much ink as alone."""
    alone = Picture(astronaut, np.full((128, 128), 255, np.uint8))
    room = [(64, 64), (64, 64)]
    wide = Picture(np.pad(astronaut, [*room, (0, 0)]), np.pad(np.full((128, 128), 255, np.uint8), room))
    for style in (XDOG, PENCIL):
        big = sketch(wide, SketchSettings(style, 1.0)).pixels[72:-72, 72:-72]
        small = sketch(alone, SketchSettings(style, 1.0)).pixels[8:-8, 8:-8]
        assert big.mean() == pytest.approx(small.mean(), abs=25)


def test_a_picture_without_anything_to_see_is_blank():
    hidden = Picture(np.zeros((20, 20, 1), np.uint8), np.zeros((20, 20), np.uint8))
    assert (sketch(hidden, SketchSettings(PENCIL, 1.0)).pixels == 255).all()


def test_grabcut_keeps_the_astronaut_and_no_wall(astronaut):
    cut = cut_out(from_array(astronaut))
    assert np.array_equal(cut.pixels, astronaut)
    assert cut.alpha.dtype == np.uint8
    assert cut.alpha[28, 56] == 255  # her face
    assert cut.alpha[100, 50] == 255  # her suit
    assert cut.alpha[:45, 85:].max() == 0  # wall and rocket
    soft = ((cut.alpha > 10) & (cut.alpha < 245)).mean()
    assert 0.002 < soft < 0.1


def test_grabcut_sees_the_same_in_every_thread_and_dtype(astronaut):
    with ThreadPoolExecutor(3) as pool:
        cut = list(pool.map(lambda _: cut_out(from_array(astronaut)).alpha, range(4)))
    assert all(np.array_equal(alpha, cut[0]) for alpha in cut)
    deep = cut_out(from_array(astronaut.astype(np.uint16) * 257))
    assert deep.alpha.dtype == np.uint16
    assert np.abs(deep.alpha / 257 - cut[0]).max() <= 1


@pytest.mark.parametrize("size", [(64, 64), (4, 4)])
def test_a_picture_without_a_subject_is_not_cut(size):
    plain = from_array(np.full((*size, 3), 120, np.uint8))
    with pytest.raises(ImageError, match=r"no subject could be told .* takes (0|100)% of the picture"):
        cut_out(plain)


def test_cutting_refuses_values_that_are_not_finite():
    with pytest.raises(ImageError, match="NaN or infinite"):
        cut_out(from_array(np.full((16, 16), math.inf, np.float32)))


def test_flattening_mixes_by_opacity():
    half = Picture(np.full((1, 2, 3), 100, np.uint8), np.array([[0, 51]], np.uint8))
    assert flatten(half).pixels.tolist() == [[[255] * 3, [224] * 3]]  # 0.8 * 255 + 0.2 * 100
    assert flatten(half, (10, 20, 30)).pixels.tolist() == [[[10, 20, 30], [28, 36, 44]]]
    opaque = from_array(np.zeros((2, 2), np.uint8))
    assert flatten(opaque) is opaque


def test_grey_stays_grey_on_a_grey_ground_and_becomes_rgb_on_a_coloured_one():
    grey = Picture(np.full((1, 1, 1), 100, np.uint16), np.zeros((1, 1), np.uint16), Metadata("tiff", icc=b"grey"))
    assert flatten(grey, (128, 128, 128)).pixels.tolist() == [[[128 * 257]]]
    assert flatten(grey, (128, 128, 128)).metadata.icc == b"grey"
    coloured = flatten(grey, (255, 0, 1))
    assert coloured.pixels.tolist() == [[[65535, 0, 257]]]
    assert coloured.metadata.icc is None
