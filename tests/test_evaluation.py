"""Figures of a model on pairs: equal to scikit-image's, valid JSON, one row an image, and every refusal."""

import csv
import json
import math
from importlib import resources

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from translate.cli import main
from translate.cli.evaluate import in_words, strict
from translate.data.images import ImageError, from_array, read_picture, write_picture
from translate.model_folder import ModelConfig, build_network, save_model
from translate.networks import GENERATORS
from translate.pipelines.evaluation import evaluate_pairs
from translate.pipelines.inference.load import load_pipeline
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto


@pytest.fixture(scope="module")
def identity():
    return Pipeline.from_pretrained("identity", device="cpu")


def write(folder, arrays, suffix=".png"):
    folder.mkdir(exist_ok=True)
    for index, array in enumerate(arrays):
        write_picture(from_array(array), folder / f"{index}{suffix}")
    return folder


def noisy(array, seed=0):
    """The same picture with normal noise of 8 % of its range."""
    top = np.iinfo(array.dtype).max
    noise = np.random.default_rng(seed).normal(0, 0.08 * top, array.shape)
    return np.clip(array + noise, 0, top).round().astype(array.dtype)


def evaluate(capsys, *arguments):
    """Run translate evaluate pairs identity ... --json: code and summary, read by a parser without Infinity or NaN."""
    capsys.readouterr()
    code = main(["evaluate", "pairs", "identity", *map(str, arguments), "--json"])
    out = capsys.readouterr().out
    assert out.count("\n") <= 1
    return code, json.loads(out, parse_constant=pytest.fail) if out else None


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [False, True])
def test_figures_equal_those_of_scikit_image(tmp_path, identity, photographs, dtype, grey):
    targets = [photograph.astype(dtype) * (np.iinfo(dtype).max // 255) for photograph in photographs[:3]]
    targets = [target[..., 1] for target in targets] if grey else targets
    sources = [noisy(target, seed) for seed, target in enumerate(targets)]
    path = tmp_path / "figures.csv"
    summary = evaluate_pairs(identity, write(tmp_path / "s", sources), write(tmp_path / "t", targets), path)
    top, axis = np.iinfo(dtype).max, None if grey else 2
    exact = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    psnrs = [peak_signal_noise_ratio(t, s, data_range=top) for s, t in zip(sources, targets, strict=True)]
    ssims = [
        structural_similarity(t, s, data_range=top, channel_axis=axis, **exact)
        for s, t in zip(sources, targets, strict=True)
    ]
    rows = rows_of(path)
    assert [float(row["psnr"]) for row in rows] == pytest.approx(psnrs, abs=1e-4)
    assert [float(row["ssim"]) for row in rows] == pytest.approx(ssims, abs=1e-5)
    assert summary["psnr"] == pytest.approx(np.mean(psnrs), abs=1e-4)
    assert summary["ssim"] == pytest.approx(np.mean(ssims), abs=1e-5)
    assert 20 < summary["psnr"] < 25
    assert summary["swd"] > 0
    assert summary["do_nothing"] == {name: summary[name] for name in ("psnr", "ssim", "swd")}


def test_equal_images_are_perfect_in_json_csv_and_words(tmp_path, photographs, capsys):
    folder, path = write(tmp_path / "t", photographs[:3]), tmp_path / "figures.csv"
    perfect = {"psnr": "inf", "ssim": 1.0, "swd": 0.0}
    code, summary = evaluate(capsys, folder, folder, "--csv", path)
    assert code == 0
    diversity = summary["diversity"]
    assert 0 < diversity < 1
    assert summary == {
        "images": 3,
        **perfect,
        "diversity": diversity,
        "diversity_targets": diversity,
        "do_nothing": perfect,
        "csv": str(path),
        "sheet": None,
    }
    assert [row["psnr"] for row in rows_of(path)] == ["inf"] * 3
    assert main(["evaluate", "pairs", "identity", str(folder), str(folder), "--csv", str(path)]) == 0
    words = capsys.readouterr().out
    assert "model                inf    1.0000       0.0\n" in words
    assert f"diversity {diversity:.3f} (targets {diversity:.3f}, 100 %)\n" in words


def test_only_infinity_becomes_a_text_in_json():
    assert strict({"psnr": math.inf, "ssim": 1.0, "swd": None, "do_nothing": {"psnr": 3.5}}) == {
        "psnr": "inf",
        "ssim": 1.0,
        "swd": None,
        "do_nothing": {"psnr": 3.5},
    }


def test_the_csv_has_a_row_for_each_image(tmp_path, photographs, capsys):
    (tmp_path / "s").mkdir()
    source, target = (write(tmp_path / side, photographs[:3]) for side in "st")
    path = tmp_path / "new" / "figures.csv"
    assert evaluate(capsys, source, target, "--csv", path)[0] == 0
    assert [(row["name"], row["width"], row["height"]) for row in rows_of(path)] == [(n, "40", "48") for n in "012"]
    assert list(rows_of(path)[0]) == ["name", "width", "height", "psnr", "ssim", "psnr_do_nothing", "ssim_do_nothing"]
    assert [entry.name for entry in path.parent.iterdir()] == ["figures.csv"]


def test_suffixes_pair_the_files(tmp_path, photographs, capsys):
    source, target = (
        write(tmp_path / "s", photographs[:2], "_in.png"),
        write(tmp_path / "t", photographs[:2], "_out.png"),
    )
    suffixes = ("--source-suffix", "_in", "--target-suffix", "_out", "--csv", tmp_path / "figures.csv")
    assert evaluate(capsys, source, target, *suffixes)[1]["images"] == 2


def test_grey_and_colour_pictures_are_measured_together(tmp_path, identity, photographs):
    colour, grey = photographs[0], photographs[1][..., 1]
    mixed = [colour, grey, np.repeat(grey[..., None], 3, axis=2), grey]
    source = write(tmp_path / "s", mixed)
    target = write(tmp_path / "t", [colour, grey, grey, np.repeat(grey[..., None], 3, axis=2)])
    summary = evaluate_pairs(identity, source, target)
    assert (summary["psnr"], summary["swd"]) == (math.inf, 0.0)
    assert summary["ssim"] == pytest.approx(1.0)


def test_images_too_small_for_a_figure_leave_it_out(tmp_path, photographs, capsys):
    source = write(tmp_path / "s", [photographs[0][:8, :8], photographs[1][:12, :12]])
    path = tmp_path / "figures.csv"
    _, summary = evaluate(capsys, source, source, "--csv", path)
    assert (summary["ssim"], summary["swd"]) == (1.0, None)  # of the larger one alone; of none
    assert [row["ssim"] for row in rows_of(path)] == ["", "1.0"]
    assert "model                inf    1.0000         -\n" in in_words(
        summary | {"psnr": math.inf, "do_nothing": None}
    )


def test_hidden_colours_of_transparent_pixels_do_not_count(tmp_path, identity, photographs):
    hidden = np.dstack([photographs[0], np.zeros((48, 40), np.uint8)])
    others = np.dstack([photographs[1], np.zeros((48, 40), np.uint8)])
    summary = evaluate_pairs(identity, write(tmp_path / "s", [hidden]), write(tmp_path / "t", [others]))
    assert summary["psnr"] == math.inf


def refusal(capsys, *arguments):
    capsys.readouterr()
    assert main(["evaluate", "pairs", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_mistakes_are_refused_with_a_message(tmp_path, photographs, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # evaluation.csv is written to the working directory
    source, target = write(tmp_path / "s", photographs[:2]), write(tmp_path / "t", photographs[:2])
    assert "nowhere does not exist" in refusal(capsys, "identity", tmp_path / "nowhere", target)
    assert "s is a folder: name a file for the figures" in refusal(capsys, "identity", source, target, "--csv", source)
    assert "no_model" in refusal(capsys, "no_model", source, target)
    write_picture(from_array(photographs[0].astype(np.uint16)), target / "0.png")
    message = "0: the output is uint8 like its source, the target is uint16: compare images of one value type"
    assert message in refusal(capsys, "identity", source, target)
    write_picture(from_array(photographs[0][:20]), target / "0.png")
    assert "1 of 2 pairs differ in size, source and target in W x H: 0 (40 x 48 and 40 x 20)" in refusal(
        capsys, "identity", source, target
    )
    (target / "0.png").write_bytes((source / "0.png").read_bytes()[:500])
    assert "0.png: it is truncated or damaged" in refusal(capsys, "identity", source, target)
    (target / "0.png").unlink()
    assert "1 of 2 images in" in refusal(capsys, "identity", source, target)
    assert not (tmp_path / "evaluation.csv").exists()


def test_a_folder_in_place_of_the_csv_is_refused_before_anything_runs(tmp_path, identity):
    with pytest.raises(ImageError, match=r"is a folder: name a file for the figures of each image"):
        evaluate_pairs(identity, tmp_path, tmp_path, tmp_path)


def test_the_command_prints_one_line_of_json_and_nothing_else(tmp_path, photographs, command):
    source, target = write(tmp_path / "s", [noisy(photographs[0])]), write(tmp_path / "t", photographs[:1])
    done = command("evaluate", "pairs", "identity", source, target, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["csv"] == "evaluation.csv"
    assert (tmp_path / "evaluation.csv").is_file()


def greys(folder, values, size=(20, 30)):
    return write(folder, [np.full((*size, 3), value, np.uint8) for value in values])


def test_diversity_is_told_beside_that_of_the_targets(tmp_path, identity):
    source, target = greys(tmp_path / "s", [0, 51]), greys(tmp_path / "t", [0, 255])
    summary = evaluate_pairs(identity, source, target)
    assert summary["diversity"] == pytest.approx(0.2)
    assert summary["diversity_targets"] == pytest.approx(1)
    assert "\ndiversity 0.200 (targets 1.000, 20 %)\n" in in_words(summary)


def test_targets_that_are_all_the_same_give_no_share(tmp_path, identity):
    summary = evaluate_pairs(identity, greys(tmp_path / "s", [0, 51]), greys(tmp_path / "t", [9, 9]))
    assert "\ndiversity 0.200 (targets 0.000)\n" in in_words(summary)


def test_a_single_pair_has_no_diversity(tmp_path, photographs, capsys):
    source = write(tmp_path / "s", photographs[:1])
    summary = evaluate(capsys, source, source, "--csv", tmp_path / "figures.csv")[1]
    assert (summary["diversity"], summary["diversity_targets"]) == (None, None)
    assert "diversity" not in in_words(summary | {"psnr": math.inf, "do_nothing": None})


def test_the_sheet_shows_source_output_and_target_three_pairs_to_a_row(tmp_path, identity, capsys):
    values = np.array([0, 40, 80, 120])
    source, target = greys(tmp_path / "s", values), greys(tmp_path / "t", values + 20)
    sheet = tmp_path / "new" / "sheet.png"
    summary = evaluate(capsys, source, target, "--csv", tmp_path / "figures.csv", "--sheet", sheet)[1]
    assert summary["sheet"] == str(sheet)
    assert f"look at it: {sheet}\n" in in_words(summary)
    pixels = read_picture(sheet).pixels
    # rows of 20 pixels and 3 gaps of 4; nine images of 30 and two spaces of 16, with 12 gaps
    assert pixels.shape == (2 * 20 + 3 * 4, 9 * 30 + 2 * 16 + 12 * 4, 3)
    across = [4, 38, 72, 126, 160, 194, 248, 282, 316]  # left pixel of each image
    first, second = pixels[4:24], pixels[28:48]
    assert [int(first[:, left : left + 30].mean()) for left in across] == [0, 0, 20, 40, 40, 60, 80, 80, 100]
    assert [int(second[:, left : left + 30].mean()) for left in across[:3]] == [120, 120, 140]
    assert (second[:, 106:] == 255).all()


def test_fewer_pairs_on_the_sheet_are_spread_over_the_set(tmp_path, identity):
    source, sheet = greys(tmp_path / "s", [0, 40, 80, 120]), tmp_path / "sheet.png"
    evaluate_pairs(identity, source, source, sheet=sheet, sheet_images=2)
    assert [int(read_picture(sheet).pixels[10, left, 0]) for left in (10, 130)] == [0, 80]


def test_a_sheet_that_cannot_be_written_is_refused_before_anything_runs(tmp_path, identity):
    for path in (tmp_path, tmp_path / "sheet.jpg"):
        with pytest.raises(ImageError, match=r"is no name of a sheet: name a \.png file"):
            evaluate_pairs(identity, tmp_path, tmp_path, sheet=path)
    with pytest.raises(ImageError, match="a sheet needs at least 1 image, got 0: give a larger number"):
        evaluate_pairs(identity, tmp_path, tmp_path, sheet=tmp_path / "sheet.png", sheet_images=0)


def test_nothing_is_left_of_a_sheet_when_a_pair_is_broken(tmp_path, identity, photographs):
    source, target = write(tmp_path / "s", photographs[:2]), write(tmp_path / "t", photographs[:2])
    (target / "1.png").write_bytes((source / "1.png").read_bytes()[:500])
    with pytest.raises(ImageError, match="truncated or damaged"):
        evaluate_pairs(identity, source, target, sheet=tmp_path / "out" / "sheet.png")
    assert not (tmp_path / "out").exists()


def test_a_model_for_drawings_is_measured_at_the_size_of_its_drawings(tmp_path):
    pictures = resources.files("translate.pipelines") / "pictures"
    names = ["angry-face.png", "cat-face.png"]
    source, target = tmp_path / "s", tmp_path / "t"
    for folder, side in ((source, "sketch"), (target, "render")):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes((pictures / side / name).read_bytes())
    pipeline = load_pipeline(save_sketch_model(tmp_path / "model"), device="cpu")
    assert isinstance(pipeline, SketchToPhoto)
    summary = evaluate_pairs(pipeline, source, target, sheet=tmp_path / "sheet.png")
    assert (summary["images"], summary["do_nothing"]["psnr"] > 0) == (2, True)
    assert read_picture(tmp_path / "sheet.png").pixels.shape == (128 + 8, 6 * 128 + 16 + 8 * 4, 3)


def save_sketch_model(folder):
    """An untrained U-Net for drawings half as large as the demo's."""
    arguments = {"width": 4, "depth": 2, "in_channels": 1, "out_channels": 3}
    sides = {"input": {"channels": 1}, "output": {"channels": 3}}
    config = ModelConfig.model_validate(
        {
            "task": "sketch_to_photo",
            "generators": {"generator": {"name": "unet", "arguments": arguments, **sides}},
            "drawing": {"width": 64, "height": 64},
        }
    )
    save_model(folder, config, {"generator": build_network(config.generators["generator"], GENERATORS)})
    return folder
