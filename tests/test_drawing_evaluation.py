"""How nearly photographs of drawings give what the drawings give."""

import csv
import json
import math

import numpy as np
import pytest
from conftest import ROOT

from translate.cli import main
from translate.data.drawing_style import DrawingStyle
from translate.data.images import ImageError, from_array, read_picture, write_picture
from translate.model_folder import ModelConfig
from translate.networks import Identity
from translate.pipelines import SketchToPhoto
from translate.pipelines.drawing_evaluation import evaluate_drawings

STYLE = DrawingStyle(paper=1, ink=0.13, line_weight=7.75, width=128, height=128, coverage=0.94)


@pytest.fixture(scope="module")
def pipeline():
    """Its network changes nothing."""
    side = {"channels": 1}
    entry = {"name": "identity", "arguments": {"in_channels": 1, "out_channels": 1}, "input": side, "output": side}
    config = ModelConfig(task="sketch_to_photo", generators={"generator": entry}, drawing=STYLE)
    return SketchToPhoto(Identity(1, 1), config)


@pytest.fixture
def drawings(tmp_path):
    folder = tmp_path / "drawings"
    folder.mkdir()
    for name in ("angry-face", "cinema"):
        write_picture(read_picture(ROOT / "pipelines" / "pictures" / "sketch" / f"{name}.png"), folder / f"{name}.png")
    return folder


def test_photographs_are_measured_against_their_drawing(tmp_path, pipeline, drawings):
    path = tmp_path / "figures.csv"
    out = tmp_path / "new" / "out"
    summary = evaluate_drawings(pipeline, drawings, path, photos=2, output=out, show_progress=False)
    assert (summary["drawings"], summary["photos"]) == (2, 4)
    assert 0.9 < summary["ssim_min"] < summary["ssim"] < 1
    assert summary["ssim"] == summary["cleaned_ssim"]  # of a network that changes nothing
    assert 15 < summary["psnr_min"] < summary["psnr"] < 50
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["angry-face", "cinema"]
    assert summary["ssim"] == pytest.approx(np.mean([float(row["ssim"]) for row in rows]))
    assert summary["ssim_min"] == min(float(row["ssim_min"]) for row in rows)
    assert [entry.name for entry in out.iterdir()] == ["sheet.png"]
    sheet = read_picture(summary["sheet"]).pixels
    assert sheet.shape[0] == 2 * (4 + 171) + 4  # the photographs, 128 wide, are higher than the drawings
    assert sheet.shape[1] == 5 * (4 + 128) + 4


def test_photographs_follow_from_the_seed(pipeline, drawings):
    (drawings / "cinema.png").unlink()
    one, two, other = (evaluate_drawings(pipeline, drawings, photos=1, seed=s, show_progress=False) for s in (3, 3, 4))
    assert one == two
    assert one["ssim"] != other["ssim"]


def test_the_command_tells_the_figures(tmp_path, pipeline, drawings, capsys):
    (drawings / "cinema.png").unlink()
    pipeline.save_pretrained(tmp_path / "model")
    words = ["evaluate", "drawings", str(tmp_path / "model"), str(drawings), "--photos", "1", "--device", "cpu"]
    words += ["--csv", str(tmp_path / "figures.csv")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "1 drawings, 1 photographs" in shown
    assert "output, SSIM" in shown
    assert main([*words, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert f"{summary['ssim']:.4f}" in shown
    assert math.isfinite(summary["psnr"])


def test_what_cannot_be_measured_is_refused(tmp_path, pipeline, drawings, capsys):
    with pytest.raises(ImageError, match="the number of photos must be at least 1, got 0"):
        evaluate_drawings(pipeline, drawings, photos=0)
    with pytest.raises(ImageError, match="is a folder: name a file for the figures of each drawing"):
        evaluate_drawings(pipeline, drawings, tmp_path)
    tiny = STYLE.model_copy(update={"width": 8})
    small = SketchToPhoto(Identity(1, 1), pipeline.config.model_copy(update={"drawing": tiny}))
    with pytest.raises(ImageError, match="SSIM needs drawings of at least 11 pixels"):
        evaluate_drawings(small, drawings)
    write_picture(from_array(np.full((64, 64), 255, np.uint8)), drawings / "aaa.png")
    with pytest.raises(ImageError, match=r"aaa\.png: .*nothing is drawn on this paper"):
        evaluate_drawings(pipeline, drawings, photos=1, show_progress=False)
    assert main(["evaluate", "drawings", "identity", str(drawings), "--csv", str(tmp_path / "f.csv")]) == 2
    assert "identity is not a model of the task sketch_to_photo" in capsys.readouterr().err
    assert main(["evaluate", "drawings", "identity", str(drawings), "--seed", "-1"]) == 2
    assert "--seed must be 0 or more, got -1" in capsys.readouterr().err
