"""Training that enlarges: the pixel stage, the GAN stage that starts from it, and every way to refuse one."""

import json
import math

import numpy as np
import pytest
import torch
from conftest import small_recipe
from PIL import Image
from safetensors.torch import load_file, save_file

from translate.checkpoint import CheckpointError, list_states
from translate.cli import main
from translate.config import check_recipe, write_yaml
from translate.data.images import from_array, read_picture, write_picture
from translate.data.imresize import imresize
from translate.model_folder import read_config
from translate.networks import EDSR
from translate.recipe import ConfigError
from translate.sizes import pad_to_rule
from translate.training.checks import check_recipe_fits
from translate.training.describe import describe
from translate.training.loop import train
from translate.training.pictures import check_pictures
from translate.training.records import read_log
from translate.training.setup import build_networks, build_objective, find_files

GAN = {
    "objective": {"name": "perceptual_gan", "feature_matching_weight": 1.0},
    "discriminator": {"name": "unet", "width": 4, "depth": 2},
    "optimizer": {"betas": [0.9, 0.99]},
}


@pytest.fixture(autouse=True)
def without_curves(monkeypatch):
    """test_training.py looks at the curves; drawing them takes most of the time of a tiny run."""
    monkeypatch.setattr("translate.training.report.draw_curves", lambda *_: None)


@pytest.fixture
def pairs(tmp_path, photographs):
    """Make a data set: train/ with 6 and val/ with 2 photographs of 48 x 40 pixels (H x W), and them made smaller."""

    def make(scale=2, kind="paired"):
        folder = tmp_path / f"{kind}-x{scale}"
        for index, photograph in enumerate([*photographs[:6], *photographs[:2]]):
            split = "train" if index < 6 else "val"
            sides = {"target": photograph}
            if kind == "paired":
                sides["source"] = imresize(photograph, (48 // scale, 40 // scale))
            for side, array in sides.items():
                (folder / split / side).mkdir(parents=True, exist_ok=True)
                write_picture(from_array(array), folder / split / side / f"{index}.png")
        return folder

    return make


def recipe(folder, scale=2, /, **sections):
    """A tiny EDSR and the pixel objective, in float32; `sections` are merged over them."""
    values = {
        "task": "super_resolution",
        "data": {
            "folder": str(folder),
            "scale": scale,
            "crop": 8,
            "rotate90": True,
            "flip_vertical": True,
            "workers": 0,
        },
        "generator": {"name": "edsr", "scale": scale, "width": 4, "blocks": 1},
        "initialisation": {"kind": "constructor"},
        "objective": {"name": "pixel"},
        "optimizer": {"learning_rate": 2e-3, "betas": [0.9, 0.999], "clip_norm": 0.5},
        "schedule": {"kind": "cosine", "hold": 0, "warmup": 1},
        "training": {"steps": 4, "batch_size": 2, "ema_half_life": 8, "precision": "fp32"},
        "validation": {"every": 2},
        "logging": {"every": 1, "samples_every": 4, "samples": 2},
        "checkpoint": {"every": 2},
    }
    for name, section in sections.items():
        merged = not isinstance(section, dict) or "name" in section
        values[name] = section if merged else {**values.get(name, {}), **section}
    return check_recipe(values)


def weights(run, network="generator"):
    return load_file(run / "model" / f"{network}.safetensors")


def moved(one, two):
    """Largest difference of a tensor that both have in one shape."""
    shared = [key for key in one if key in two and one[key].shape == two[key].shape]
    return max((one[key] - two[key]).abs().max().item() for key in shared)


def state(run):
    return load_all(list_states(run / "checkpoints")[-1])


def load_all(folder):
    return {f"{path.stem}/{key}": t for path in folder.glob("*.safetensors") for key, t in load_file(path).items()}


def small_vgg(path, width=2):
    """Weights in the layout of torchvision's VGG19, whose layers are `width` channels wide."""
    generator = torch.Generator().manual_seed(0)
    before, tensors = 3, {}
    for layer in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34):
        tensors[f"features.{layer}.weight"] = torch.randn(width, before, 3, 3, generator=generator) / 3
        tensors[f"features.{layer}.bias"] = torch.zeros(width)
        before = width
    save_file(tensors, path)
    return str(path)


# The pixel stage


def test_a_pixel_run_has_no_discriminator_anywhere(tmp_path, pairs):
    summary = train(recipe(pairs()), tmp_path / "run", show_progress=False)
    assert set(summary["figures"]) == {"val/psnr", "val/ssim"}
    records = read_log(tmp_path / "run" / "log.jsonl")
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    assert {name for name in records[0] if name.startswith(("g/", "d/"))} == {"g/l1"}
    for model in ("model", "best"):
        assert sorted(path.name for path in (tmp_path / "run" / model).iterdir()) == [
            "config.json",
            "generator.safetensors",
        ]
    config = read_config(tmp_path / "run" / "model")
    assert (config.task, config.discriminators) == ("super_resolution", {})
    assert config.generators["generator"].arguments["scale"] == 2
    assert not [key for key in state(tmp_path / "run") if key.startswith("discriminator")]
    # Rows of source, output and target: 20 x 24 beside twice 40 x 48, and a gap of 4.
    assert Image.open(tmp_path / "run" / "samples" / "step_00000004.png").size == (20 + 2 * 40 + 4 * 4, 2 * 48 + 3 * 4)


@pytest.mark.parametrize(("scale", "channels"), [(2, 3), (2, 1), (4, 3)])
def test_a_run_starts_as_the_bicubic_enlargement(tmp_path, pairs, scale, channels):
    folder = pairs(scale)
    still = recipe(
        folder,
        scale,
        data={"source_channels": channels, "target_channels": channels},
        optimizer={"learning_rate": 1e-12},
        training={"steps": 1},
    )
    figures = train(still, tmp_path / "run", show_progress=False)["figures"]
    expected = []
    for path in sorted((folder / "val" / "source").iterdir()):
        small, large = (read_picture(folder / "val" / side / path.name).pixels / 255 for side in ("source", "target"))
        if channels == 1:
            small, large = (image @ [0.299, 0.587, 0.114] for image in (small, large))
        error = imresize(small, large.shape[:2]).clip(0, 1) - large
        expected.append(-10 * math.log10(np.square(error).mean()))
    assert figures["val/psnr"] == pytest.approx(np.mean(expected), abs=1e-3)


def test_the_constructors_own_initialisation_is_left_as_it_is(pairs):
    networks = {}
    for kind in ("constructor", "kaiming"):
        torch.manual_seed(0)
        networks[kind] = build_networks(recipe(pairs(), initialisation={"kind": kind})).generators["generator"]
    torch.manual_seed(0)
    assert moved(networks["constructor"].state_dict(), EDSR(scale=2, width=4, blocks=1).state_dict()) == 0
    assert networks["constructor"].tail[0].weight.abs().max() == 0
    assert networks["kaiming"].tail[0].weight.abs().max() > 0.1


@pytest.mark.parametrize("distance", ["l1", "charbonnier", "mse"])
def test_training_with_any_distance_beats_the_bicubic_enlargement(tmp_path, pairs, distance):
    longer = recipe(
        pairs(),
        generator={"name": "edsr", "width": 8, "blocks": 1},
        objective={"name": "pixel", "distance": distance},
        optimizer={"learning_rate": 5e-3},
        training={"steps": 40, "ema_half_life": 0},
        validation={"every": 1, "images": 1},
        logging={"samples_every": 40},
        checkpoint={"every": 40},
    )
    train(longer, tmp_path / "run", show_progress=False)
    records = read_log(tmp_path / "run" / "log.jsonl")
    assert f"g/{distance}" in records[0]
    assert records[-1]["val/psnr"] > records[0]["val/psnr"] + 0.1


@pytest.mark.parametrize("degradation", ["bicubic", "real"])
def test_degraded_pictures_train_without_files_of_sources(tmp_path, pairs, degradation):
    data = {"kind": "degraded", "degradation": {"kind": degradation}, "workers": 1, "cache": True}
    summary = train(recipe(pairs(2, "degraded"), data=data), tmp_path / "run", show_progress=False)
    assert summary["steps"] == 4
    assert summary["figures"]["val/psnr"] > 10


def test_one_whole_pair_at_a_time_needs_no_crop(tmp_path, pairs):
    whole = recipe(pairs(4), 4, data={"crop": None}, training={"batch_size": 1})
    assert train(whole, tmp_path / "run", show_progress=False)["steps"] == 4


def test_accumulating_two_half_batches_is_one_batch(tmp_path, pairs):
    folder, results = pairs(), []
    for name, batch, accumulation in (("one", 6, 1), ("two", 3, 2)):
        training = {"batch_size": batch, "accumulation": accumulation, "precision": "fp64", "steps": 3}
        train(recipe(folder, training=training), tmp_path / name, show_progress=False)
        results.append(weights(tmp_path / name))
    assert moved(*results) < 1e-9


def test_a_network_with_a_size_rule_trains_on_crops_that_do_not_fit_it(tmp_path, pairs):
    unet = {"name": "upsampled_unet", "scale": 2, "width": 4, "depth": 3}  # takes multiples of 4
    odd = recipe(pairs(), generator=unet, data={"crop": 10})
    assert train(odd, tmp_path / "run", show_progress=False)["steps"] == 4


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 2), (3, 5), (6, 9), (8, 16)])
def test_a_target_is_padded_as_its_source_is(scale, size):
    class Eights(torch.nn.Module):
        size_multiple = size_minimum = 8

    small = torch.arange(size[0] * size[1]).reshape(1, 1, *size)
    large = small.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    padded = pad_to_rule(small, Eights())
    expected = padded.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    assert torch.equal(pad_to_rule(large, Eights(), scale), expected)


def test_a_target_is_mirrored_within_the_pixels_of_its_source():
    class Threes(torch.nn.Module):
        size_multiple = size_minimum = 3

    row = torch.tensor([[[[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]]])  # of a source of 2 x 2 pixels
    assert pad_to_rule(row, Threes(), 2)[0, 0, 0].tolist() == [0, 1, 2, 3, 1, 0]


# Stopped and started again


@pytest.mark.parametrize("stage", ["pixel", "degraded", "gan"])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path, pairs, stage):
    folder = pairs(2, "degraded" if stage == "degraded" else "paired")
    sections = GAN if stage == "gan" else {}
    data = {"kind": "degraded", "degradation": {"kind": "real"}} if stage == "degraded" else {}

    def run(steps, output):
        training = {"steps": steps, "channels_last": True}
        longer = recipe(folder, training=training, data=data, schedule={"kind": "constant", "warmup": 3}, **sections)
        train(longer, output, show_progress=False)

    run(6, tmp_path / "whole")
    run(2, tmp_path / "stopped")
    run(6, tmp_path / "stopped")
    one, two = state(tmp_path / "whole"), state(tmp_path / "stopped")
    assert one.keys() == two.keys()
    assert any(key.startswith("discriminator_optimizer/") for key in one) == (stage == "gan")
    for key in one:
        assert torch.equal(one[key], two[key]), key
    records = [
        [
            {key: value for key, value in record.items() if key != "seconds"}
            for record in read_log(tmp_path / run / "log.jsonl")
        ]
        for run in ("whole", "stopped")
    ]
    assert records[0] == records[1]


# The GAN stage


def test_a_gan_stage_starts_from_the_generator_of_a_pixel_stage(tmp_path, pairs, caplog):
    folder = pairs()
    train(recipe(folder), tmp_path / "pixel", show_progress=False)
    start = {"start_from": str(tmp_path / "pixel" / "model"), "start_partly": True, "ema_half_life": 0}
    with caplog.at_level("INFO"):
        still = recipe(folder, **GAN | {"optimizer": {"learning_rate": 1e-12}}, training={**start, "steps": 1})
        train(still, tmp_path / "still", show_progress=False)
    assert moved(weights(tmp_path / "pixel"), weights(tmp_path / "still")) < 1e-9
    tensors = len(weights(tmp_path / "pixel"))
    assert f"generator takes over {tensors} of {tensors} tensors of {tmp_path}/pixel/model\n" in caplog.text
    assert f"discriminator begins anew: {tmp_path}/pixel/model has no such network" in caplog.text

    summary = train(recipe(folder, **GAN, training=start), tmp_path / "gan", show_progress=False)
    (first, *_) = read_log(tmp_path / "gan" / "log.jsonl")
    assert {name for name in first if name.startswith(("g/", "d/"))} == {"g/gan", "g/l1", "g/feature_matching", "d/gan"}
    assert moved(weights(tmp_path / "pixel"), weights(tmp_path / "gan")) > 1e-5
    assert weights(tmp_path / "gan", "discriminator").keys() == weights(tmp_path / "still", "discriminator").keys()
    assert read_config(tmp_path / "gan" / "model").recipe["training"]["start_from"] is None  # no path of this machine
    assert summary["steps"] == 4


def test_x4_begins_with_the_trunk_of_x2_and_a_new_tail(tmp_path, pairs, caplog):
    train(recipe(pairs(), training={"ema_half_life": 0}), tmp_path / "x2", show_progress=False)
    start = {"start_from": str(tmp_path / "x2" / "model"), "start_partly": True, "steps": 1, "ema_half_life": 0}
    with caplog.at_level("INFO"):
        still = recipe(pairs(4), 4, training=start, optimizer={"learning_rate": 1e-12})
        train(still, tmp_path / "x4", show_progress=False)
    two, four = weights(tmp_path / "x2"), weights(tmp_path / "x4")
    trunk = [key for key in two if not key.startswith("tail")]
    assert moved({key: two[key] for key in trunk}, four) < 1e-9
    assert two["tail.0.weight"].abs().max() > 1e-4  # it was trained,
    assert four["tail.0.weight"].abs().max() < 1e-9  # and begins at zero again
    assert "generator takes over 6 of 8 tensors of" in caplog.text
    assert ", tail.0.bias, tail.0.weight begin anew" in caplog.text


def test_a_start_that_does_not_fit_is_refused_with_the_way_out(tmp_path, pairs):
    folder = pairs()
    train(recipe(folder, training={"steps": 1}), tmp_path / "x2", show_progress=False)
    start = {"start_from": str(tmp_path / "x2" / "model")}
    with pytest.raises(
        CheckpointError, match=r"2 of another shape(.|\n)*or set training\.start_partly to take over what"
    ):
        train(recipe(pairs(4), 4, training=start), tmp_path / "x4", show_progress=False)
    with pytest.raises(
        CheckpointError, match=r"no network 'discriminator' to start from.*training\.start_partly takes ov"
    ):
        train(recipe(folder, **GAN, training=start), tmp_path / "gan", show_progress=False)
    unlike = {"name": "upsampled_unet", "scale": 2, "width": 5, "depth": 2}
    partly = recipe(folder, generator=unlike, training={**start, "start_partly": True})
    with pytest.raises(
        CheckpointError, match=r"nothing in .* fits the networks of the recipe \(generator\): give a mo"
    ):
        train(partly, tmp_path / "unlike", show_progress=False)


@pytest.mark.parametrize("precision", ["fp32", "fp64", "bf16"])
def test_a_perceptual_term_takes_the_weights_of_a_classifier(tmp_path, pairs, precision):
    file = small_vgg(tmp_path / "vgg.safetensors")
    objective = {"name": "perceptual_gan", "perceptual_weight": 2.0, "feature_weights": file}
    sections = GAN | {"objective": objective, "training": {"precision": precision, "steps": 2}}
    train(recipe(pairs(), **sections), tmp_path / "run", show_progress=False)
    records = read_log(tmp_path / "run" / "log.jsonl")
    assert all({"g/gan", "g/l1", "g/perceptual", "d/gan"} <= record.keys() for record in records)
    assert records[0]["g/perceptual"] > 0.01
    assert not [key for key in state(tmp_path / "run") if "features" in key or "conv1_1" in key]
    assert (
        weights(tmp_path / "run").keys() == build_networks(recipe(pairs())).generators["generator"].state_dict().keys()
    )
    assert read_config(tmp_path / "run" / "model").recipe["objective"]["feature_weights"] is None


def test_the_classifier_stays_as_it_is_and_is_no_part_of_the_optimizer(tmp_path, pairs):
    file = small_vgg(tmp_path / "vgg.safetensors")
    objective = {"name": "perceptual_gan", "perceptual_weight": 1.0, "feature_weights": file}
    settings = recipe(pairs(), **GAN | {"objective": objective})
    built = build_objective(settings, build_networks(settings))
    assert not any(parameter.requires_grad for parameter in built.features.parameters())
    without = recipe(pairs(), **GAN)
    assert build_objective(without, build_networks(without)).features is None


def test_weights_of_a_classifier_that_are_missing_are_refused_before_the_start(tmp_path, pairs, monkeypatch):
    objective = {"name": "perceptual_gan", "perceptual_weight": 1.0, "feature_weights": str(tmp_path / "none.pth")}
    with pytest.raises(CheckpointError, match=r"there are no weights of vgg19 at .*none\.pth: give an existing file"):
        train(recipe(pairs(), **GAN | {"objective": objective}), tmp_path / "run", show_progress=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    objective.pop("feature_weights")
    with pytest.raises(CheckpointError, match=r"and there is no vgg19-\*\.pth in .*cache.*: get https://"):
        describe(recipe(pairs(), **GAN | {"objective": objective}))
    assert not (tmp_path / "run").exists()


# As a user does it


def test_prepared_pictures_train_on_the_command_line_and_the_dry_run_describes_it(tmp_path, photographs, capsys):
    for index in range(3):
        (tmp_path / "raw").mkdir(exist_ok=True)
        write_picture(from_array(photographs[index]), tmp_path / "raw" / f"{index}.png")
    words = ["preprocess", "super-resolution", str(tmp_path / "raw"), str(tmp_path / "data"), "--scale", "2", "--json"]
    assert main(words) == 0
    (tmp_path / "recipe.yaml").write_text(write_yaml(recipe(tmp_path / "data", data={"folder": None})))
    train_words = ["train", str(tmp_path / "recipe.yaml"), "--data", str(tmp_path / "data")]
    capsys.readouterr()
    assert main([*train_words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "train: 2 pairs, 20 x 24 to 40 x 48 pixels (W x H), uint8 x 3 channels" in shown
    assert "discriminator: null" in shown
    assert main([*train_words, "--output", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 4


# Refusals


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"discriminator": {"name": "patchgan"}}, r"'pixel' needs no discriminator, .* has one: set discriminator to"),
        ({"objective": {"name": "perceptual_gan"}}, r"'perceptual_gan' needs a discriminator, .* has none: add a"),
        ({"objective": {"name": "pix2pix"}, "discriminator": {"name": "patchgan"}},
         r"'pix2pix' needs pictures of one size, got data\.scale 2: choose pixel, perceptual_gan, or set data\.scale"),
        ({"data": {"kind": "unpaired"}}, r"objective\.name 'pixel' needs paired data, got data\.kind 'unpaired'"),
        ({"data": {"kind": "side_by_side"}}, r"data\.scale 2 needs data\.kind paired or degraded, got 'side_by_side'"),
        ({"data": {"resize": 32}}, r"leave out data\.resize, data\.frame, data\.zoom and data\.rotate"),
        ({"data": {"zoom": 0.1}}, r"pixels stay as they are: leave out data\.resize"),
        ({"data": {"rotate": 5}}, r"pixels stay as they are: leave out data\.resize"),
        ({"data": {"kind": "degraded", "scale": 1}}, r"degradation\.kind bicubic changes nothing at data\.scale 1"),
        ({"data": {"kind": "degraded", "scale": 1, "degradation": {"kind": "real"}, "resize": 9}}, r"stay as they are"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_together_is_refused(pairs, sections, message):
    with pytest.raises(ConfigError, match=message):
        check_recipe_fits(recipe(pairs(), **sections))


def test_a_restoration_at_scale_1_is_allowed(pairs):
    check_recipe_fits(recipe(pairs(), data={"kind": "degraded", "scale": 1, "degradation": {"kind": "real"}}))


def test_cyclegan_does_not_enlarge(unpaired_folder):
    with pytest.raises(ConfigError, match=r"data\.scale 2 needs data\.kind paired or degraded, got 'unpaired'"):
        check_recipe_fits(small_recipe(unpaired_folder, "cyclegan", data={"scale": 2}))


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (
            {"name": "edsr", "scale": 4},
            r"generator 'edsr' enlarges 4 times, and data\.scale is 2: set generator\.scale and",
        ),
        ({"name": "unet", "depth": 3}, r"generator 'unet' enlarges 1 times, and data\.scale is 2"),
        ({"name": "edsr", "scale": 5}, r"generator 'edsr': scale must be one of 1, 2, 3, 4, 8, got 5"),
    ],
)
def test_generator_and_data_must_have_one_scale(pairs, generator, message):
    with pytest.raises(ConfigError, match=message):
        build_networks(recipe(pairs(), generator=generator))


def test_a_super_resolver_has_as_many_channels_on_both_sides(pairs):
    with pytest.raises(ConfigError, match=r"generator 'edsr': a super-resolver has as many output as input channels"):
        build_networks(recipe(pairs(), data={"source_channels": 1}))


def test_a_crop_too_small_for_the_discriminator_is_refused_at_the_scale_of_the_target(pairs):
    settings = recipe(pairs(), data={"crop": 3}, **GAN | {"discriminator": {"name": "unet", "width": 4, "depth": 3}})
    with pytest.raises(
        ConfigError, match=r"data\.crop 3 gives pictures of 6 pixels, and the discriminator needs at least 8"
    ):
        build_objective(settings, build_networks(settings))


@pytest.mark.parametrize("name", ["l1_weight", "gan_weight", "perceptual_weight", "feature_matching_weight"])
def test_a_negative_weight_is_refused(tmp_path, pairs, name):
    file = small_vgg(tmp_path / "vgg.safetensors")
    objective = {"name": "perceptual_gan", "feature_weights": file, name: -1.0}
    settings = recipe(pairs(), **GAN | {"objective": objective})
    with pytest.raises(ConfigError, match=rf"objective 'perceptual_gan': {name} must not be negative, got -1\.0"):
        build_objective(settings, build_networks(settings))


@pytest.mark.parametrize("kind", ["paired", "degraded"])
def test_sources_smaller_than_the_crop_are_refused_before_the_start(pairs, kind):
    settings = recipe(pairs(2, kind), data={"kind": kind, "crop": 21})
    with pytest.raises(ConfigError, match=r"6 sources in train/ are smaller than data\.crop 21: 0\.png \(20 x 24\), "):
        check_pictures(settings, find_files(settings))
    fitting = recipe(pairs(2, kind), data={"kind": kind, "crop": 20})
    check_pictures(fitting, find_files(fitting))


@pytest.mark.parametrize("kind", ["paired", "degraded"])
def test_whole_pairs_of_several_sizes_are_refused_in_a_batch(pairs, photographs, kind):
    folder = pairs(2, kind)
    write_picture(from_array(photographs[0][:46]), folder / "train" / "target" / "0.png")
    if kind == "paired":
        write_picture(from_array(imresize(photographs[0][:46], (23, 20))), folder / "train" / "source" / "0.png")
    settings = recipe(folder, data={"kind": kind, "crop": None, "rotate90": False})
    with pytest.raises(
        ConfigError, match=r"one size, got 20 x 23 \(0\.png\), 20 x 24 \(1\.png\) \(W x H\): set data\.crop"
    ):
        check_pictures(settings, find_files(settings))
    alone = recipe(folder, data={"kind": kind, "crop": None}, training={"batch_size": 1})
    check_pictures(alone, find_files(alone))


def test_validation_pictures_are_measured_as_they_are_cut(pairs, photographs):
    folder = pairs(8, "degraded")
    write_picture(from_array(photographs[0][:15]), folder / "val" / "target" / "6.png")  # 15 rows: 8 are left of them
    settings = recipe(folder, 8, data={"kind": "degraded", "crop": 2})
    with pytest.raises(ConfigError, match=r"1 images in val/ are too small for SSIM, .* 11 pixels: 6\.png \(40 x 8\)"):
        check_pictures(settings, find_files(settings))


def test_a_run_may_go_on_without_the_model_that_it_started_from(tmp_path, pairs):
    folder = pairs()
    train(recipe(folder), tmp_path / "first", show_progress=False)
    start = {"start_from": str(tmp_path / "first" / "model"), "start_partly": True, "steps": 2}
    train(recipe(folder, training=start), tmp_path / "second", show_progress=False)
    longer = train(recipe(folder, training={"steps": 4}), tmp_path / "second", show_progress=False)
    assert longer["steps"] == 4
