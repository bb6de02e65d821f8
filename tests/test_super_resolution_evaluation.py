"""Super-resolution's figures: equal to scikit-image's on Y, the published chain, JSON, CSV, and every refusal."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from skimage import data as skimage_data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from translate.cli import main
from translate.cli.evaluate import in_words
from translate.data.images import ImageError, from_array, read_picture, write_picture
from translate.data.imresize import imresize
from translate.metrics import gradient_energy, sliced_wasserstein
from translate.model_folder import ModelConfig, build_network, save_model
from translate.networks import GENERATORS
from translate.pipelines.inference.load import load_pipeline
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.super_resolution import OutputSize
from translate.pipelines.super_resolution_evaluation import evaluate_super_resolution
from translate.super_resolution_metrics import luma_figures, published_bicubic, studio_luma


def save_edsr(folder, *, scale=2, channels=3, trained=True, task="super_resolution", follow=True):
    """An EDSR as training leaves it, or as it begins: the bicubic enlargement."""
    torch.manual_seed(0)
    arguments = {"in_channels": channels, "out_channels": channels, "scale": scale, "width": 4, "blocks": 1}
    side = {"channels": channels}
    generator = {"name": "edsr", "arguments": arguments, "input": side, "output": side}
    config = ModelConfig.model_validate(
        {"task": task, "follow_input_channels": follow, "generators": {"generator": generator}}
    )
    network = build_network(config.generators["generator"], GENERATORS)
    if trained:
        torch.nn.init.normal_(network.tail[0].weight, 0.0, 0.01)
    save_model(folder, config, {"generator": network})
    return folder


def edsr(folder, **options):
    return load_pipeline(save_edsr(folder / "edsr", **options), device="cpu")


def write(folder, arrays, suffix=".png"):
    folder.mkdir(exist_ok=True)
    for index, array in enumerate(arrays):
        write_picture(from_array(array), folder / f"{index}{suffix}")
    return folder


@pytest.fixture(scope="module")
def pictures():
    """Two colour photographs of unequal sizes that are multiples of no scale, 2 to 4."""
    return [np.ascontiguousarray(skimage_data.astronaut()[:113, 120:251]), skimage_data.chelsea()[90:185, 120:221]]


def cut(picture, scale):
    height, width = (side // scale * scale for side in picture.shape[:2])
    return picture[:height, :width]


def shrunk(picture, scale):
    return imresize(cut(picture, scale), tuple(side // scale for side in picture.shape[:2]))


def reference_luma(picture):
    return picture.astype(float) if picture.ndim == 2 else rgb2ycbcr(picture)[..., 0]


def reference_figures(output, target, border):
    """PSNR and SSIM of Y by scikit-image."""
    one, two = (reference_luma(picture)[border:-border, border:-border] for picture in (output, target))
    exact = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    similarity = structural_similarity(two, one, data_range=255, **exact)
    return peak_signal_noise_ratio(two, one, data_range=255), similarity


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_studio_luma_is_that_of_scikit_image(pictures):
    np.testing.assert_allclose(studio_luma(pictures[0]), rgb2ycbcr(pictures[0])[..., 0], atol=1e-9)


def test_studio_luma_of_black_is_16_of_white_235_and_of_grey_itself():
    assert studio_luma(np.zeros((1, 1, 3), np.uint8)).tolist() == [[16]]
    assert studio_luma(np.full((1, 1, 3), 255, np.uint8)).tolist() == [[pytest.approx(235)]]
    assert studio_luma(np.array([[[0], [255]]], np.uint8)).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("shape", "dtype"), [((4, 4, 3), float), ((4, 4, 3), np.uint16), ((4, 4), np.uint8), ((4, 4, 2), np.uint8)]
)
def test_studio_luma_refuses_what_is_not_an_8_bit_picture(shape, dtype):
    with pytest.raises(ValueError, match=r"studio_luma needs uint8 \(H, W, 1\) or \(H, W, 3\), got .*convert it first"):
        studio_luma(np.zeros(shape, dtype))


def test_gradient_energy_of_ramps_is_their_squared_slope():
    down, right = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    images = torch.stack([right, 2 * right, down, down + right, torch.ones(4, 5)])[:, None].expand(-1, 3, -1, -1)
    assert gradient_energy(images).tolist() == [1, 4, 1, 2, 0]


def test_gradient_energy_of_8_bit_values_does_not_wrap_around():
    edge = torch.tensor([[[[255, 0], [255, 0]]]], dtype=torch.uint8)
    assert gradient_energy(edge).tolist() == [255**2]


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 3, 1, 8), (1, 3, 8, 1)])
def test_gradient_energy_refuses_what_has_no_neighbours(shape):
    with pytest.raises(ValueError, match=r"gradient_energy needs images \(N, C, H, W\) with sides of at least 2"):
        gradient_energy(torch.zeros(shape))


# By the chain that gives 33.6614/.92988, 30.3922/.86821 and 28.4207/.81037 on Set5, published 33.66/.9299, 30.39/.8682
# and 28.42/.8104; enlarging 8-bit LR gives 33.6734/.93029, 30.4033/.86891 and 28.4290/.81114 there.
@pytest.mark.parametrize(
    ("name", "scale", "enlarged", "published"),
    [
        ("astronaut", 2, (31.7073, 0.94559, 0.4350), (31.7016, 0.94483)),
        ("astronaut", 3, (28.6788, 0.89343, 0.2926), (28.6806, 0.89192)),
        ("astronaut", 4, (26.8382, 0.84269, 0.2118), (26.8441, 0.84058)),
        ("coffee", 2, (30.5924, 0.88587, 0.2357), (30.5864, 0.88512)),
        ("coffee", 3, (28.4058, 0.81340, 0.1311), (28.4009, 0.81237)),
        ("coffee", 4, (27.2914, 0.76482, 0.0893), (27.2878, 0.76386)),
        ("chelsea", 2, (35.2523, 0.91582, 0.3315), (35.2385, 0.91538)),
        ("chelsea", 3, (32.8899, 0.85418, 0.2150), (32.8755, 0.85343)),
        ("chelsea", 4, (31.4735, 0.80626, 0.1587), (31.4660, 0.80561)),
    ],
)
def test_the_figures_of_bicubic_stay(name, scale, enlarged, published):
    target = cut(getattr(skimage_data, name)(), scale)
    figures = luma_figures(imresize(shrunk(target, scale), target.shape[:2]), target, border=scale)
    assert list(figures.values()) == pytest.approx(enlarged, abs=6e-5)
    assert list(published_bicubic(target, scale).values()) == pytest.approx(published, abs=6e-5)


def test_the_gradient_energy_is_none_for_a_flat_target(pictures):
    flat = np.full((20, 20, 3), 7, np.uint8)
    assert luma_figures(pictures[0][:20, :20], flat, border=2)["gradient_energy"] is None


def test_pictures_of_unequal_size_are_refused(pictures):
    with pytest.raises(ValueError, match=r"psnr needs two image batches of one shape .*bring both to one shape first"):
        luma_figures(pictures[0][:40], pictures[0][:42], border=2)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("grey", [False, True])
def test_figures_equal_those_of_scikit_image_on_y(tmp_path, pictures, scale, grey):
    targets = [picture[..., 1] if grey else picture for picture in pictures]
    pipe = edsr(tmp_path, scale=scale)
    summary = evaluate_super_resolution(pipe, write(tmp_path / "hr", targets), tmp_path / "figures.csv")
    rows = rows_of(tmp_path / "figures.csv")
    expected = {"": [], "_bicubic": []}
    for target, row in zip(targets, rows, strict=True):
        small = shrunk(target, scale)
        outputs = {"": pipe(small, output_type="np"), "_bicubic": imresize(small, cut(target, scale).shape[:2])}
        assert outputs[""].dtype == np.uint8
        for ending, output in outputs.items():
            expected[ending].append(reference_figures(output, cut(target, scale), scale))
            found = float(row["psnr" + ending]), float(row["ssim" + ending])
            assert found == pytest.approx(expected[ending][-1], abs=1e-6)
    for ending, figures in (("", summary), ("_bicubic", summary["bicubic"])):
        assert (figures["psnr"], figures["ssim"]) == pytest.approx(np.mean(expected[ending], axis=0), abs=1e-6)
    assert summary["psnr"] != summary["bicubic"]["psnr"]
    assert (summary["images"], summary["scale"]) == (2, scale)
    published = [published_bicubic(cut(np.atleast_3d(target), scale), scale)["ssim"] for target in targets]
    assert summary["bicubic_published"]["ssim"] == pytest.approx(np.mean(published))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_an_untrained_model_is_as_good_as_bicubic(tmp_path, pictures, scale):
    pipe = edsr(tmp_path, scale=scale, trained=False)
    summary = evaluate_super_resolution(pipe, write(tmp_path / "hr", pictures))
    for other, tolerance in (("bicubic", 0.01), ("bicubic_published", 0.04)):
        assert summary["psnr"] == pytest.approx(summary[other]["psnr"], abs=tolerance)
        assert summary["ssim"] == pytest.approx(summary[other]["ssim"], abs=tolerance / 10)
    assert summary["gradient_energy"] == pytest.approx(summary["bicubic"]["gradient_energy"], rel=0.01)
    assert 0.1 < summary["gradient_energy"] < 0.7  # blurred
    assert summary["swd"] == pytest.approx(summary["bicubic"]["swd"], rel=0.02)


def test_the_distance_is_that_of_the_centres_cut_to_one_size(tmp_path, pictures):
    pipe = edsr(tmp_path)
    hr = write(tmp_path / "hr", [pictures[0], pictures[1][..., 1]])
    summary = evaluate_super_resolution(pipe, hr)
    targets = [cut(pictures[0], 2)[9:103, 15:115], np.dstack([cut(pictures[1], 2)[..., 1]] * 3)]  # 94 x 100
    colour, grey = (pipe(shrunk(picture, 2), output_type="np") for picture in (pictures[0], pictures[1][..., 1]))
    outputs = [colour[9:103, 15:115], np.dstack([grey] * 3)]
    sets = [torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1 for images in (outputs, targets)]
    assert summary["swd"] == pytest.approx(sliced_wasserstein(*sets)["mean"], rel=1e-3)


@pytest.mark.parametrize(("lr_suffix", "ending"), [("", ".png"), ("x2", "x2.png")])
def test_lr_files_that_are_what_would_be_made_give_the_same_figures(tmp_path, pictures, lr_suffix, ending):
    pipe, hr = edsr(tmp_path), write(tmp_path / "hr", pictures)
    lr = write(tmp_path / "lr", [shrunk(picture, 2) for picture in pictures], ending)
    made, given = evaluate_super_resolution(pipe, hr), evaluate_super_resolution(pipe, hr, lr=lr, lr_suffix=lr_suffix)
    assert given["bicubic_published"] is None
    assert given == made | {"bicubic_published": None}


def test_lr_files_are_what_is_enlarged(tmp_path, pictures):
    hr = write(tmp_path / "hr", pictures)
    lr = write(tmp_path / "lr", [255 - shrunk(picture, 2) for picture in pictures])
    summary = evaluate_super_resolution(edsr(tmp_path), hr, lr=lr)
    assert summary["psnr"] < 15
    assert summary["bicubic"]["psnr"] < 15


@pytest.mark.parametrize("channels", [1, 3])
def test_outputs_are_brought_to_the_channels_of_hr(tmp_path, pictures, channels):
    pipe = edsr(tmp_path, channels=channels, trained=False, task="translation", follow=False)
    target = pictures[0] if channels == 1 else pictures[0][..., 1]
    summary = evaluate_super_resolution(pipe, write(tmp_path / "hr", [target]))
    assert summary["psnr"] == pytest.approx(summary["bicubic"]["psnr"], abs=0.05)


def test_a_size_that_the_pipeline_was_set_to_does_not_count_and_the_ensemble_does(tmp_path, pictures):
    pipe, hr = edsr(tmp_path), write(tmp_path / "hr", pictures)
    summary = evaluate_super_resolution(pipe, hr)
    assert evaluate_super_resolution(pipe.with_settings(size=OutputSize(scale=3)), hr) == summary
    ensemble = evaluate_super_resolution(pipe, hr, self_ensemble=True)
    assert ensemble["psnr"] != summary["psnr"]
    assert ensemble["bicubic"] == summary["bicubic"]
    assert evaluate_super_resolution(pipe.with_settings(self_ensemble=True), hr) == ensemble


def test_the_perceptual_distance_is_that_of_colours_without_the_border(tmp_path, pictures):
    def mean_difference(output, target):
        assert output.shape == target.shape
        assert output.shape in {(1, 3, 108, 126), (1, 3, 90, 96)}
        assert -1 <= target.min() < target.max() <= 1
        return (output - target).abs().mean(dim=(1, 2, 3))

    hr, path = write(tmp_path / "hr", pictures), tmp_path / "figures.csv"
    summary = evaluate_super_resolution(edsr(tmp_path), hr, path, perceptual=mean_difference)
    assert 0 < summary["bicubic"]["lpips"] < summary["lpips"] < 0.2
    rows = rows_of(path)
    assert np.mean([float(row["lpips"]) for row in rows]) == pytest.approx(summary["lpips"])
    assert "lpips_bicubic" in rows[0]


def evaluate(capsys, *arguments):
    """Run translate evaluate super-resolution ... --json: code and summary, by a parser without Infinity or NaN."""
    capsys.readouterr()
    code = main(["evaluate", "super-resolution", *map(str, arguments), "--json"])
    out = capsys.readouterr().out
    assert out.count("\n") <= 1
    return code, json.loads(out, parse_constant=pytest.fail) if out else None


def test_the_command_prints_one_line_of_json_and_writes_a_row_for_each_picture(tmp_path, pictures, capsys):
    model, hr = save_edsr(tmp_path / "edsr"), write(tmp_path / "hr", pictures)
    path = tmp_path / "new" / "figures.csv"
    code, summary = evaluate(capsys, model, hr, "--scale", 2, "--csv", path, "--device", "cpu")
    assert code == 0
    assert summary == evaluate_super_resolution(load_pipeline(model, device="cpu"), hr, path)
    figures = ["psnr", "ssim", "swd", "gradient_energy"]
    assert list(summary) == ["images", "scale", *figures, "bicubic", "bicubic_published", "csv"]
    assert list(summary["bicubic"]) == figures
    assert [(row["name"], row["width"], row["height"]) for row in rows_of(path)] == [
        ("0", "130", "112"),
        ("1", "100", "94"),
    ]
    columns = ["psnr", "ssim", "gradient_energy"]
    endings = ["", "_bicubic"]
    expected = ["name", "width", "height", *(column + ending for ending in endings for column in columns)]
    assert list(rows_of(path)[0]) == [*expected, "psnr_bicubic_published", "ssim_bicubic_published"]
    assert [entry.name for entry in path.parent.iterdir()] == ["figures.csv"]


def test_the_command_takes_lr_files_and_the_ensemble(tmp_path, pictures, capsys):
    model, hr = save_edsr(tmp_path / "edsr"), write(tmp_path / "hr", pictures)
    lr = write(tmp_path / "lr", [shrunk(picture, 2) for picture in pictures], "x2.png")
    words = ("--lr", lr, "--lr-suffix", "x2", "--self-ensemble", "--csv", tmp_path / "figures.csv")
    _, summary = evaluate(capsys, model, hr, *words)
    pipe = load_pipeline(model, device="cpu")
    assert summary["psnr"] == evaluate_super_resolution(pipe, hr, self_ensemble=True)["psnr"]


def test_the_command_prints_a_table_of_the_model_and_bicubic(tmp_path, pictures, capsys):
    model, hr = save_edsr(tmp_path / "edsr", trained=False), write(tmp_path / "hr", pictures)
    assert main(["evaluate", "super-resolution", str(model), str(hr), "--csv", str(tmp_path / "f.csv")]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line[:20].rstrip() for line in lines[:4]] == ["2 images", "model", "bicubic", "bicubic, published"]
    assert lines[0].split()[2:] == ["PSNR", "(dB)", "SSIM", "SWD", "gradient"]
    assert {len(line) for line in lines[:4]} == {60}
    assert lines[3].split()[-2:] == ["-", "-"]
    assert lines[4] == f"each image: {tmp_path / 'f.csv'}"
    assert "2/2" in captured.err


def test_infinity_and_missing_figures_are_shown_in_the_table():
    perfect = {"psnr": math.inf, "ssim": 1.0, "swd": 0.0, "gradient_energy": None, "lpips": 0.0}
    summary = perfect | {"images": 1, "scale": 2, "bicubic": perfect, "bicubic_published": None, "csv": None}
    assert in_words(summary).splitlines()[1:] == [
        "model                inf    1.0000       0.0         -    0.0000",
        "bicubic              inf    1.0000       0.0         -    0.0000",
    ]


def test_the_help_names_the_options(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "super-resolution", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("MODEL HR_FOLDER", "--scale", "--lr ", "--self-ensemble", "--lpips-vgg16", "--csv", "--json", "33.66"):
        assert word in shown, word


def vgg16():
    """Weights of a narrow VGG16 in torchvision's layout, and linear weights for it."""
    generator = torch.Generator().manual_seed(0)
    places, before, weights = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), 3, {}
    for place in places:
        weights[f"features.{place}.weight"] = torch.randn(4, before, 3, 3, generator=generator) / 4
        weights[f"features.{place}.bias"] = torch.zeros(4)
        before = 4
    return weights, {f"lin{index}.model.1.weight": torch.ones(1, 4, 1, 1) for index in range(5)}


def test_lpips_needs_the_files_of_its_weights(tmp_path, pictures, capsys):
    model, hr = save_edsr(tmp_path / "edsr"), write(tmp_path / "hr", pictures)
    for name, weights in zip(("vgg16.pth", "linear.pth"), vgg16(), strict=True):
        torch.save(weights, tmp_path / name)
    words = ("--lpips-vgg16", tmp_path / "vgg16.pth", "--lpips-linear", tmp_path / "linear.pth")
    code, summary = evaluate(capsys, model, hr, *words, "--csv", tmp_path / "figures.csv")
    assert code == 0
    assert summary["lpips"] > 0
    assert summary["bicubic"]["lpips"] > 0
    tiny = write(tmp_path / "tiny", [pictures[0][:18, :18]])
    assert "sides of 20 leave the 16 pixels inside the border" in refusal(capsys, model, tiny, *words)
    assert "--lpips-vgg16 alone is not enough: give --lpips-linear too, or neither" in refusal(
        capsys, model, hr, *words[:2]
    )
    assert "--lpips-linear alone is not enough: give --lpips-vgg16 too" in refusal(capsys, model, hr, *words[2:])
    assert "nowhere.pth" in refusal(capsys, model, hr, *words[:3], "nowhere.pth")


def refusal(capsys, *arguments):
    capsys.readouterr()
    assert main(["evaluate", "super-resolution", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_models_that_do_not_fit_are_refused(tmp_path, pictures, capsys):
    hr = write(tmp_path / "hr", pictures)
    assert "its scale is 1: use translate evaluate pairs" in refusal(capsys, "identity", hr)
    restorer = save_edsr(tmp_path / "x1", scale=1)
    assert "its scale is 1: use translate evaluate pairs" in refusal(capsys, restorer, hr)
    model = save_edsr(tmp_path / "x2")
    message = "the scale is 3, but the model enlarges 2 times: give 2, or another model"
    assert message in refusal(capsys, model, hr, "--scale", 3)
    assert "no_model" in refusal(capsys, "no_model", hr)
    other = save_edsr(tmp_path / "other", task="translation")
    message = "the self-ensemble is for models of the task 'super_resolution', this one's is 'translation'"
    assert message in refusal(capsys, other, hr, "--self-ensemble")


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        ("hr/1.png 16 bit", {}, r"1\.png is uint16, the protocol is for 8-bit pictures: convert it to uint8 first"),
        ("hr/1.png alpha", {}, r"1\.png has an alpha channel, of which the protocol knows nothing: remove it first"),
        ("lr/1.png 16 bit", {"lr": "lr"}, r"lr/1\.png is uint16, the protocol is for 8-bit"),
        (
            "hr/1.png small",
            {},
            r"1 of 2 HR pictures are too small \(W x H, multiples of 2\): 1 \(14 x 94\); sides of 16 leave the 11 ",
        ),
        (
            "lr/1.png small",
            {"lr": "lr"},
            r"1 of 2 LR pictures differ in size from HR divided by 2, rounded down \(W x H\): 1 \(15 x 47 instead of "
            r"50 x 47\); give the LR pictures of this scale",
        ),
        ("lr/1.png gone", {"lr": "lr"}, r"1 of 2 images in .*hr have no partner in .*lr"),
        ("hr/1.png gone", {"lr": "lr"}, r"1 of 2 images in .*lr have no partner in .*hr"),
        (None, {"lr": "lr", "lr_suffix": "x2"}, r"0\.png does not end in the suffix 'x2'"),
        (None, {"lr_suffix": "x2"}, r"the LR suffix 'x2' needs a folder of LR pictures: give it, or leave the suffix"),
        (None, {"lr": "nowhere"}, r"nowhere does not exist"),
        (None, {"csv_path": "lr"}, r"lr is a folder: name a file for the figures of each image"),
    ],
)
def test_pictures_that_do_not_fit_are_refused_before_anything_runs(
    tmp_path, pictures, monkeypatch, spoil, options, message
):
    monkeypatch.setattr(Pipeline, "run", lambda *_: pytest.fail("it ran"))
    hr = write(tmp_path / "hr", pictures)
    write(tmp_path / "lr", [shrunk(picture, 2) for picture in pictures])
    if spoil:
        name, how = spoil.split(" ", 1)
        spoil_file(tmp_path / name, how)
    paths = {key: value if key == "lr_suffix" else tmp_path / value for key, value in options.items()}
    with pytest.raises(ImageError, match=message):
        evaluate_super_resolution(edsr(tmp_path), hr, **paths)


def spoil_file(path, how):
    pixels = read_picture(path).pixels
    path.unlink()
    spoilt = {
        "16 bit": lambda: pixels.astype(np.uint16),
        "alpha": lambda: np.dstack([pixels, pixels[..., :1]]),
        "small": lambda: pixels[:, :15],
    }
    if how != "gone":
        write_picture(from_array(spoilt[how]()), path)


def test_a_network_that_produces_nan_is_refused_with_the_picture(tmp_path, pictures):
    pipe, hr = edsr(tmp_path), write(tmp_path / "hr", pictures)
    torch.nn.init.constant_(pipe.generator.tail[0].bias, math.nan)
    with pytest.raises(ImageError, match=r"^0: the network produced NaN or infinity"):
        evaluate_super_resolution(pipe, hr)


def test_a_truncated_picture_is_refused_and_no_csv_is_written(tmp_path, pictures):
    hr = write(tmp_path / "hr", pictures)
    (hr / "1.png").write_bytes((hr / "1.png").read_bytes()[:-500])
    with pytest.raises(ImageError, match=r"1\.png: it is truncated or damaged"):
        evaluate_super_resolution(edsr(tmp_path), hr, tmp_path / "figures.csv")
    assert not (tmp_path / "figures.csv").exists()
