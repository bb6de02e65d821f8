"""Drawings drawn anew while training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_recipe
from PIL import Image

from translate.data.build import build_dataset
from translate.data.redraw import redraw
from translate.data.sampling import Draw
from translate.data.splits import find_training
from translate.recipe import ConfigError
from translate.training.checks import check_recipe_fits

DRAWING = np.array(Image.open(Path(__file__).parents[1] / "pipelines/pictures/sketch/cat-face.png").convert("L"))[
    ..., None
]


def darkness(drawing: np.ndarray) -> float:
    return float(1 - drawing.mean())


def test_no_strength_changes_nothing_but_the_dtype():
    drawn = redraw(DRAWING, 0.0, 3)
    assert drawn.dtype == np.float32
    assert np.allclose(drawn * 255, DRAWING, atol=1e-4)


def test_a_drawing_is_drawn_alike_by_one_seed_and_otherwise_by_another():
    assert np.array_equal(redraw(DRAWING, 1.0, 3), redraw(DRAWING, 1.0, 3))
    assert len({redraw(DRAWING, 1.0, seed).tobytes() for seed in range(10)}) == 10


def test_lines_come_out_thinner_and_thicker_and_stay_where_they_are():
    plain = darkness(DRAWING / 255)
    drawn = [redraw(DRAWING, 1.0, seed) for seed in range(40)]
    ink = [float((one < 0.5).mean()) for one in drawn]
    assert min(ink) < 0.9 * plain < 1.1 * plain < max(ink)
    for one in drawn:
        assert 0 <= one.min() < one.max() <= 1
        assert np.corrcoef(one.ravel(), DRAWING.ravel())[0, 1] > 0.85


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_value_type_makes_no_difference(dtype):
    high = 65535 if dtype == np.uint16 else 1
    same = (DRAWING.astype(np.float64) / 255 * high).astype(dtype)
    assert np.allclose(redraw(same, 0.7, 5), redraw(DRAWING, 0.7, 5), atol=1e-4)


def test_the_source_alone_is_redrawn(paired_folder):
    recipe = small_recipe(paired_folder, data={"redraw": 1.0, "crop": None, "flip": False})
    files, geometry = find_training(recipe.data), recipe.data.training_geometry()
    redrawn = build_dataset(recipe.data, files, geometry, 5, tones=recipe.data.training_tones())
    plain = build_dataset(recipe.data, files, geometry, 5)
    first, second = redrawn[Draw(0, 0, (0,))], redrawn[Draw(1, 0, (0,))]
    assert torch.equal(first.target, plain[Draw(0, 0, (0,))].target)
    assert not torch.equal(first.source, plain[Draw(0, 0, (0,))].source)
    assert not torch.equal(first.source, second.source)


def test_what_is_no_pair_of_pictures_cannot_be_redrawn(unpaired_folder):
    with pytest.raises(ConfigError, match=r"data\.redraw 0\.5 changes the sources of pairs of pictures"):
        check_recipe_fits(small_recipe(unpaired_folder, "cyclegan", data={"redraw": 0.5}))
