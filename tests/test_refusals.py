"""What a run refuses before it starts, each with the words that say what to do."""

import subprocess

import numpy as np
import pytest
import torch
from conftest import small_recipe
from safetensors.torch import load_file

from translate.checkpoint import list_states
from translate.cli import main
from translate.cli.train import dotted
from translate.config import read_recipe
from translate.data.augment import Augmentation, Geometry, resized
from translate.data.batches import Paired, collate_paired
from translate.data.images import ImageError, from_array, write_picture
from translate.recipe import ConfigError
from translate.training.checks import check_recipe_fits
from translate.training.loop import train
from translate.training.pictures import check_pictures
from translate.training.setup import find_files


def check(recipe):
    check_pictures(recipe, find_files(recipe))


def write(path, height, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(from_array(np.zeros((height, width, 3), np.uint8)), path)


def write_pair(folder, split, name, height, width):
    for side in ("source", "target"):
        write(folder / split / side / f"{name}.png", height, width)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.seed", str(2**32), "training.seed must be less than 4294967296"),
        ("logging.trackers", "wandb", r"logging.trackers must be a list in brackets, \[a, b\], got 'wandb'"),
        ("optimizer.betas", "[0.5, 0.9, 0.99]", "optimizer.betas must have at most 2 entries"),
        ("generator.name", "resnet", r"pix2pix.yaml:\d+: generator.depth is no key of generator.name 'resnet'"),
    ],
)
def test_a_wrong_value_is_explained_in_words(key, value, message):
    with pytest.raises(ConfigError, match=message):
        read_recipe("pix2pix", {key: value})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("task: straße\n".encode("latin-1"), "is not UTF-8 text .*: save it as UTF-8"),
        (b"2020-01-01: 3\n", "r.yaml:1: '2020-01-01' is no key, keys are texts"),
    ],
)
def test_a_file_that_is_no_text_or_has_odd_keys_is_refused(tmp_path, content, message):
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stray"], "unexpected 'stray': after RECIPE come options"),
        (["--training.steps"], "--training.steps needs a value"),
    ],
)
def test_options_that_are_no_keys_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        dotted(words)


def test_a_run_needs_a_folder(command):
    done: subprocess.CompletedProcess[str] = command("train", "pix2pix")
    assert done.returncode == 2
    assert "no folder for the run was given: name it with --output RUN" in done.stderr


def test_a_generator_without_weights_cannot_be_trained(paired_folder, tmp_path):
    recipe = small_recipe(paired_folder, generator={"name": "identity"})
    with pytest.raises(ConfigError, match="generator 'identity' has no weights to train"):
        train(recipe, tmp_path / "run", show_progress=False)


@pytest.mark.parametrize(
    ("objective", "settings", "message"),
    [
        ("pix2pix", {"adversarial": "hinge", "real_label": 0.9}, "objective 'pix2pix': the hinge loss has no label"),
        ("cyclegan", {"real_label": 1.5}, "objective 'cyclegan': real_label must be above 0 and at most 1"),
        ("pix2pix", {"l1_weight": -1}, "l1_weight must not be negative, got -1"),
        ("cyclegan", {"cycle_weight": -1}, "cycle_weight must not be negative, got -1"),
    ],
)
def test_an_objective_refuses_its_settings_before_the_start(
    paired_folder, unpaired_folder, tmp_path, objective, settings, message
):
    folder = paired_folder if objective == "pix2pix" else unpaired_folder
    recipe = small_recipe(folder, objective, objective={"name": objective, **settings})
    with pytest.raises(ConfigError, match=message):
        train(recipe, tmp_path / "run", show_progress=False)
    assert not (tmp_path / "run").exists()


def test_a_range_without_extent_is_refused_by_its_key(paired_folder):
    recipe = small_recipe(paired_folder, data={"target_range": {"low": 5, "high": 1, "units": "HU"}})
    with pytest.raises(ConfigError, match=r"data\.target_range: an intensity range from 5.0 to 1.0 has no extent"):
        check_recipe_fits(recipe)


def test_a_side_is_a_folder_inside_each_split(paired_folder):
    recipe = small_recipe(paired_folder, data={"source": str(paired_folder / "train" / "source")})
    with pytest.raises(ConfigError, match=r"data\.source must be the name of a folder in train/ and in val/, got '/"):
        check_recipe_fits(recipe)


def test_whole_pictures_of_several_sizes_are_refused_where_they_must_meet(paired_folder, unpaired_folder):
    whole = {"data": {"crop": None}, "training": {"batch_size": 1}}
    check(small_recipe(paired_folder, **whole))
    write_pair(paired_folder, "train", "wide", 48, 60)
    check(small_recipe(paired_folder, **whole))  # one pair at a time may have any size
    with pytest.raises(ConfigError, match=r"a batch needs .* one size, got 40 x 48 \(00.png\), 60 x 48 \(wide.png\)"):
        check(small_recipe(paired_folder, data={"crop": None}))
    with pytest.raises(ConfigError, match="the image pool needs training images of one size"):
        check(small_recipe(paired_folder, data={"crop": None}, training={"batch_size": 1, "image_pool": 2}))

    check(small_recipe(unpaired_folder, "cyclegan", data={"crop": None}))
    write(unpaired_folder / "train" / "a" / "wide.png", 48, 60)
    with pytest.raises(ConfigError, match=r"unpaired data needs training images of one size.*: set data\.crop"):
        check(small_recipe(unpaired_folder, "cyclegan", data={"crop": None}, training={"batch_size": 1}))


def test_a_quarter_turn_makes_two_sizes_of_one(paired_folder):
    with pytest.raises(ConfigError, match=r"a batch needs .* got 40 x 48 \(00.png\), 48 x 40 \(00.png\)"):
        check(small_recipe(paired_folder, data={"crop": None, "rotate90": True}))


def test_a_batch_that_meets_two_sizes_all_the_same_names_them():
    samples = [Paired(torch.zeros(1, 4, side), torch.zeros(1, 4, side), [f"of {side}"]) for side in (4, 5)]
    with pytest.raises(ImageError, match=r"a batch needs images of one size, got 4 x 4 \(of 4\), 5 x 4 \(of 5\)"):
        collate_paired(samples)


@pytest.mark.parametrize(("objective", "side", "minimum"), [("pix2pix", 10, 11), ("cyclegan", 15, 16)])
def test_validation_pictures_too_small_for_their_figure_are_refused(
    paired_folder, unpaired_folder, objective, side, minimum
):
    folder = paired_folder if objective == "pix2pix" else unpaired_folder
    if objective == "pix2pix":
        write_pair(folder, "val", "tiny", side, 40)
    else:
        write(folder / "val" / "b" / "tiny.png", side, 40)
    with pytest.raises(ConfigError, match=rf"val/ are too small .* needs sides of {minimum} pixels: tiny.png \(40 x "):
        check(small_recipe(folder, objective))
    check(small_recipe(folder, objective, data={"resize": 32}))


@pytest.mark.parametrize("size", [(48, 40), (41, 97), (7, 3), (33, 100)])
def test_the_size_after_resizing_is_known_from_the_header(size):
    for shorter in (None, 5, 32, 50):
        (picture,) = Augmentation(Geometry(resize=shorter))([np.zeros((*size, 3), np.uint8)], 0)
        assert picture.shape[:2] == resized(*size, shorter)


@pytest.mark.parametrize("size", [(48, 40), (41, 97), (7, 3), (33, 100)])
def test_a_frame_is_reached_by_the_longer_side(size):
    for longer in (5, 32, 120):
        (picture,) = Augmentation(Geometry(frame=longer))([np.zeros((*size, 3), np.uint8)], 0)
        assert picture.shape[:2] == resized(*size, None, longer)
        assert max(picture.shape[:2]) == longer


def test_the_size_is_given_by_one_of_the_sides(paired_folder):
    with pytest.raises(ConfigError, match=r"resize 32 is for the shorter side and data\.frame 48 for the longer"):
        check_recipe_fits(small_recipe(paired_folder, data={"resize": 32, "frame": 48}))


def test_an_output_folder_that_is_a_model_is_refused(paired_folder, small_model):
    with pytest.raises(
        ConfigError, match=r"is a model folder: give a new folder, and this one as training\.start_from"
    ):
        train(small_recipe(paired_folder), small_model, show_progress=False)


@pytest.mark.parametrize("name", ["model/mine.py", "best/mine.py", "log.jsonl", "data.txt"])
def test_an_output_folder_with_files_of_others_in_the_way_is_refused(paired_folder, tmp_path, name):
    mine = tmp_path / "project" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=rf"holds no run \(no recipe.yaml\), but {name.split('/')[0]}, which a run"):
        train(small_recipe(paired_folder), tmp_path / "project", show_progress=False)
    assert mine.read_text() == "mine"


def test_a_run_that_kept_nothing_begins_again_with_another_recipe(paired_folder, tmp_path):
    with pytest.raises(ValueError, match="8 training images are fewer than one step needs"):
        train(small_recipe(paired_folder, training={"batch_size": 9}), tmp_path / "run", show_progress=False)
    assert train(small_recipe(paired_folder), tmp_path / "run", show_progress=False)["steps"] == 4


def test_a_rate_that_explodes_leaves_finite_weights_in_every_state(paired_folder, tmp_path):
    recipe = small_recipe(
        paired_folder,
        optimizer={"learning_rate": 1e30},
        training={"ema_half_life": 0, "steps": 9},
        logging={"every": 100},
        checkpoint={"every": 1, "keep": 20},
        validation={"every": 100},
    )
    train(recipe, tmp_path / "run", show_progress=False)
    states = list_states(tmp_path / "run" / "checkpoints")
    assert len(states) == 9
    weights = [load_file(state / "networks.safetensors") for state in states]
    assert all(tensor.isfinite().all() for tensors in weights for tensor in tensors.values())
    last = [torch.equal(weights[-2][name], weights[-1][name]) for name in weights[-1]]
    assert all(last)  # nothing is learned any more


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_with_values_that_are_not_finite_is_named(paired_folder, tmp_path, workers):
    pixels = np.zeros((48, 40, 3), np.float32)
    pixels[0, 0] = np.nan
    write_picture(from_array(pixels), paired_folder / "train" / "source" / "03.tiff")
    (paired_folder / "train" / "source" / "03.png").unlink()
    recipe = small_recipe(paired_folder, data={"workers": workers, "crop": None})
    with pytest.raises(ImageError, match="pair '03': 3 values are NaN or infinite"):
        train(recipe, tmp_path / "run", show_progress=False)


def test_an_option_that_is_no_key_is_refused_with_the_key_that_was_meant(capsys):
    assert main(["train", "pix2pix", "--data", "x", "--output", "y", "--steps", "5"]) == 2
    assert "--steps: unknown key 'steps'; did you mean 'training.steps'?" in capsys.readouterr().err


def test_a_whole_section_can_be_given_as_an_option():
    recipe = read_recipe("pix2pix", dotted(["--generator", "{name: resnet, blocks: 6}", "--generator.width", "8"]))
    assert (recipe.generator.name, recipe.generator.blocks, recipe.generator.width) == ("resnet", 6, 8)


@pytest.mark.parametrize(("name", "message"), [("missing", "missing does not exist"), ("file", "file is a file")])
def test_a_data_set_that_is_no_folder_is_refused(tmp_path, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=f"the data set .*{message}: give a folder that translate preprocess made"):
        train(small_recipe(tmp_path / name), tmp_path / "run", show_progress=False)


def test_a_run_goes_on_only_with_as_many_images_a_step(tmp_path, paired_folder):
    train(small_recipe(paired_folder), tmp_path / "run", show_progress=False)
    other = small_recipe(paired_folder, training={"batch_size": 4, "steps": 6})
    with pytest.raises(ConfigError, match="took 2 images a step with 1 processes, now it would take 4 with 1"):
        train(other, tmp_path / "run", show_progress=False)
