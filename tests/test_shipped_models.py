"""The models that ship; those for super-resolution work as installed, and enlarge better than bicubic."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from safetensors import safe_open

from translate.cli import main
from translate.data.images import Picture, read_picture, write_picture
from translate.data.imresize import imresize
from translate.data.resize import shrink
from translate.model_folder import read_config
from translate.model_sources import find_model, shipped_models
from translate.pipelines import SuperResolution
from translate.super_resolution_metrics import luma_figures

ENLARGING = {"super-resolution-x2": 2, "super-resolution-x4": 4}
LARGEST = 2_000_000  # bytes of a model's weights


@pytest.fixture(scope="module")
def portrait():
    """A photograph that no model was trained on: Grace Hopper, U.S. Navy, public domain; 512 x 600 pixels."""
    return Picture(read_picture(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").pixels)


def test_these_models_ship():
    assert set(shipped_models()) == {"identity", "ct-denoising", "sketch-to-emoji", *ENLARGING}


@pytest.mark.parametrize(("model", "scale"), ENLARGING.items())
def test_a_model_enlarges_a_photograph_better_than_bicubic(portrait, model, scale):
    small = shrink(portrait, scale)
    made = SuperResolution.from_pretrained(model, device="cpu")(small, output_type="picture").pixels
    bicubic = imresize(small.pixels, portrait.pixels.shape[:2])
    ours, theirs = (luma_figures(pixels, portrait.pixels, border=scale) for pixels in (made, bicubic))
    assert ours["psnr"] > theirs["psnr"] + 2
    assert ours["ssim"] > theirs["ssim"] + 0.01
    assert theirs["gradient_energy"] < ours["gradient_energy"] < 1  # sharper, and no sharper than the original


@pytest.mark.parametrize("model", ENLARGING)
def test_a_model_is_small_half_precision_and_has_a_card(model):
    folder = find_model(model)
    weights = folder / "generator.safetensors"
    assert weights.stat().st_size < LARGEST
    with safe_open(weights, "pt") as tensors:
        assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"F16"}  # noqa: SIM118
    card = (folder / "README.md").read_text()
    assert all(f"## {section}" in card for section in ("Figures", "Recipe", "Data and terms", "Limits"))
    assert "@" not in card
    config = read_config(folder)
    assert (config.task, config.follow_input_channels) == ("super_resolution", True)
    assert config.recipe["training"]["start_from"] is None  # no path of the machine that trained it
    assert config.recipe["data"]["folder"] is None


def test_a_model_that_ships_is_given_by_its_name(portrait, tmp_path):
    small = shrink(portrait, 8)
    (tmp_path / "in").mkdir()
    write_picture(small, tmp_path / "in" / "a.png")
    assert main(["infer", "super-resolution-x4", str(tmp_path / "in"), str(tmp_path / "out"), "--json"]) == 0
    large = read_picture(tmp_path / "out" / "a.png").pixels
    assert large.shape == (4 * small.pixels.shape[0], 4 * small.pixels.shape[1], 3)
    assert np.abs(shrink(Picture(large), 4).pixels.astype(int) - small.pixels).mean() < 2
