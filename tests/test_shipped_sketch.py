"""The model for drawings that ships."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from translate.data.images import read_picture
from translate.metrics import psnr
from translate.model_folder import read_config
from translate.model_sources import find_model
from translate.pipelines import SketchToPhoto

PICTURES = Path(__file__).parents[1] / "pipelines" / "pictures"
HELD_OUT = ("anguished-face", "face-with-spiral-eyes", "ten-oclock", "antenna-bars")  # in val/ of its training


@pytest.fixture(scope="module")
def pipe():
    return SketchToPhoto.from_pretrained("sketch-to-emoji", device="cpu")


def planes(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None].expand(-1, 3, -1, -1)


@pytest.mark.parametrize("name", HELD_OUT)
def test_a_drawing_that_it_never_saw_is_coloured_and_comes_nearer_to_its_render(pipe, name):
    drawing, render = (read_picture(PICTURES / side / f"{name}.png").pixels for side in ("sketch", "render"))
    made = pipe(drawing, output_type="np")
    assert made.shape == render.shape == (128, 128, 3)
    nearness = [psnr(planes(one), planes(render), data_range=255).item() for one in (made, drawing)]
    assert nearness[0] > nearness[1] + 3
    assert np.ptp(made.astype(int), axis=2).mean() > 0.5 * np.ptp(render.astype(int), axis=2).mean()


def test_its_variations_differ_and_repeat(pipe):
    drawing = read_picture(PICTURES / "sketch" / "ten-oclock.png").pixels
    one, two = pipe.variations(drawing, 2, seed=4, output_type="np")
    again = pipe.variations(drawing, 1, seed=4, output_type="np")[0]
    assert np.array_equal(one, again)
    assert 0.2 < np.abs(one.astype(int) - two).mean() < 20


def test_it_is_small_half_precision_knows_its_drawings_and_has_a_card():
    folder = find_model("sketch-to-emoji")
    weights = folder / "generator.safetensors"
    assert weights.stat().st_size < 8_000_000
    with safe_open(weights, "pt") as tensors:
        assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"F16"}  # noqa: SIM118
    config = read_config(folder)
    assert (config.task, config.drawing.width, config.drawing.height) == ("sketch_to_photo", 256, 256)
    assert config.recipe["training"]["start_from"] is None  # no path of the machine that trained it
    card = (folder / "README.md").read_text()
    assert all(f"## {section}" in card for section in ("Figures", "Recipe", "Data and terms", "Limits"))
