"""Making pictures smaller, and translating at the scale of the training."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import small_recipe

from translate.cli import main
from translate.data.images import ImageError, from_array, read_picture, write_picture
from translate.data.resize import reduce_picture
from translate.pipelines.evaluation import evaluate_pairs
from translate.training.loop import train


def test_a_picture_becomes_the_average_of_its_blocks():
    picture = from_array(np.array([[0, 2, 10, 10], [4, 6, 10, 10]], np.uint16))
    assert reduce_picture(picture, 1).pixels[..., 0].tolist() == [[3, 10]]
    assert reduce_picture(picture, 1).pixels.dtype == np.uint16


@pytest.mark.parametrize("size", [None, 2, 3])
def test_a_picture_that_is_small_enough_stays_the_same_object(size):
    picture = from_array(np.zeros((2, 4, 3), np.uint8))
    assert reduce_picture(picture, size) is picture


def test_colours_hidden_under_transparent_pixels_do_not_show():
    red, hidden_green = [200, 0, 0, 255], [0, 255, 0, 0]
    picture = from_array(np.array([[red, hidden_green], [red, hidden_green]], np.uint8))
    reduced = reduce_picture(picture, 1)
    assert reduced.pixels.tolist() == [[[200, 0, 0]]]
    assert reduced.alpha.tolist() == [[128]]


def test_a_float_picture_stays_float():
    picture = from_array(np.full((4, 4), 0.25, np.float32))
    assert reduce_picture(picture, 2).pixels.tolist() == [[[0.25], [0.25]], [[0.25], [0.25]]]


def test_a_size_below_1_is_refused(tmp_path, capsys):
    with pytest.raises(ImageError, match="the size must be at least 1 pixel, got 0"):
        reduce_picture(from_array(np.zeros((2, 2), np.uint8)), 0)
    write_picture(from_array(np.zeros((2, 2), np.uint8)), tmp_path / "a.png")
    assert main(["infer", "identity", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--size", "0"]) == 2
    assert "size must be at least 1, got 0" in capsys.readouterr().err


def test_infer_reduces_to_the_size_and_does_it_again_for_another(tmp_path, photographs, capsys):
    (tmp_path / "in").mkdir()
    write_picture(from_array(photographs[0]), tmp_path / "in" / "a.png")  # 40 x 48
    for size, sides in (("20", (24, 20)), ("10", (12, 10))):
        assert main(["infer", "identity", str(tmp_path / "in"), str(tmp_path / "out"), "--size", size, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["done"] == 1
        assert read_picture(tmp_path / "out" / "a.png").pixels.shape[:2] == sides


def test_a_model_trained_on_reduced_images_says_so(tmp_path, paired_folder, caplog, capsys):
    caplog.set_level("INFO")
    summary = train(small_recipe(paired_folder, data={"resize": 32}), tmp_path / "run", show_progress=False)
    source, target = str(paired_folder / "val" / "source"), str(paired_folder / "val" / "target")
    words = ["evaluate", "pairs", summary["model"], source, target, "--csv", str(tmp_path / "e.csv"), "--json"]
    assert main(words) == 0
    assert "--size 32 reduces them first" in caplog.text
    caplog.clear()
    assert main([*words, "--size", "32"]) == 0
    assert "reduces them first" not in caplog.text
    reduced = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert reduced["psnr"] == pytest.approx(summary["figures"]["val/psnr"], abs=0.3)


def test_a_size_for_a_model_that_enlarges_is_refused(tmp_path):
    enlarging = SimpleNamespace(generator=SimpleNamespace(scale=2))
    with pytest.raises(ImageError, match="a size cannot be given for a model that enlarges 2 times: leave it out"):
        evaluate_pairs(enlarging, tmp_path, tmp_path, size=8)
