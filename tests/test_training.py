"""Training: every recipe runs, what a run leaves, and every way to refuse one."""

import json
import math
from functools import partialmethod

import pytest
import torch
from conftest import small_recipe
from PIL import Image
from safetensors.torch import load_file

from translate.config import read_recipe, recipe_names
from translate.data.datasets import PairedImages
from translate.data.images import from_array, write_picture
from translate.data.imresize import imresize
from translate.history import ImagePool
from translate.pipelines import Pipeline, load_pipeline
from translate.pipelines.evaluation import evaluate_pairs
from translate.recipe import ConfigError
from translate.training.checks import check_recipe_fits
from translate.training.describe import describe
from translate.training.ema import Ema
from translate.training.loop import train
from translate.training.precision import choose_precision
from translate.training.records import read_log
from translate.training.run import TrainingError
from translate.training.schedule import learning_rate
from translate.training.setup import build_networks, count_parameters
from translate.training.validation import Figure

SMALLER = {  # so that every recipe fits pictures of 48 x 40 pixels and a second or two
    "data.workers": "0",
    "generator.width": "4",
    "training.steps": "2",
    "training.batch_size": "1",
    "training.precision": "fp32",
    "training.start_from": "null",
}


@pytest.fixture
def enlarging_folder(tmp_path, photographs):
    """Make train/ with 2 and val/ with 1 pair of photographs and what is left of them at 1 / scale of the size."""

    def make(scale):
        for index, photograph in enumerate(photographs[:3]):
            folder = tmp_path / "enlarging" / ("train" if index else "val")
            small = imresize(photograph, (48 // scale, 40 // scale))
            for side, array in (("source", small), ("target", photograph)):
                (folder / side).mkdir(parents=True, exist_ok=True)
                write_picture(from_array(array), folder / side / f"{index}.png")
        return tmp_path / "enlarging"

    return make


@pytest.mark.parametrize("name", [name for name in recipe_names() if not read_recipe(name).data.modality])
def test_every_recipe_trains_two_steps_and_then_translates(
    name, tmp_path, paired_folder, unpaired_folder, enlarging_folder
):
    recipe = read_recipe(name)
    scale, crop = recipe.data.scale, 32 // recipe.data.scale
    if scale > 1:
        folder = enlarging_folder(scale)
    else:
        folder = unpaired_folder if recipe.data.kind == "unpaired" else paired_folder
    overrides = SMALLER | {"data.folder": str(folder)}
    if scale == 1:
        overrides["data.frame" if recipe.data.frame else "data.resize"] = "32"
    if recipe.data.crop:
        overrides["data.crop"] = str(crop)
    if recipe.discriminator:
        overrides["discriminator.width"] = "4"
    if recipe.generator.name == "unet":
        overrides["generator.depth"] = "5"
    if recipe.generator.name == "edsr":
        overrides |= {"generator.blocks": "1", "generator.inner": "4"}
    summary = train(read_recipe(name, overrides), tmp_path / "run", show_progress=False)
    assert summary["steps"] == 2
    translation = load_pipeline(summary["model"])(Image.new("RGB", (37, 41)))
    assert translation.size == (37 * scale, 41 * scale)
    assert translation.mode == "RGB"


def test_a_run_leaves_what_its_reader_needs(tmp_path, paired_folder):
    summary = train(small_recipe(paired_folder), tmp_path / "run", show_progress=False)
    run = tmp_path / "run"
    assert set(summary["figures"]) == {"val/psnr", "val/ssim"}
    records = read_log(run / "log.jsonl")
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    assert records[0]["images"] == 2
    assert {"g/gan", "g/l1", "d/gan", "learning_rate"} <= records[0].keys()
    assert Image.open(run / "samples" / "step_00000004.png").size == (3 * 40 + 4 * 4, 2 * 48 + 3 * 4)
    assert Image.open(run / "curves.png").width > 1000
    assert read_recipe(run / "recipe.yaml") == small_recipe(paired_folder)
    for model in (run / "model", run / "best"):
        assert sorted(path.name for path in model.iterdir()) == [
            "config.json",
            "discriminator.safetensors",
            "generator.safetensors",
        ]
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["recipe"]["data"]["folder"] is None  # no path of this machine
    assert config["data"]["train"] == "8 pairs"


def test_an_unpaired_run_is_measured_in_both_directions(tmp_path, unpaired_folder):
    summary = train(small_recipe(unpaired_folder, "cyclegan"), tmp_path / "run", show_progress=False)
    figures = summary["figures"]
    assert figures["val/swd"] == pytest.approx((figures["val/swd_a"] + figures["val/swd_b"]) / 2)
    assert Image.open(tmp_path / "run" / "samples" / "step_00000004.png").width == 6 * 40 + 7 * 4


def test_without_val_there_are_samples_but_no_figures(tmp_path, paired_folder):
    (paired_folder / "val").rename(paired_folder / "elsewhere")
    summary = train(small_recipe(paired_folder), tmp_path / "run", show_progress=False)
    assert summary["figures"] == {}
    assert summary["best"] == summary["model"]
    assert (tmp_path / "run" / "samples" / "step_00000004.png").is_file()


def test_training_lowers_the_loss_on_real_pictures(tmp_path, paired_folder):
    recipe = small_recipe(
        paired_folder,
        generator={"name": "unet", "width": 8, "depth": 3, "upsample": "resize"},
        optimizer={"learning_rate": 2e-3},
        training={"steps": 60},
        logging={"every": 10},
        validation={"every": 60},
        checkpoint={"every": 60},
    )
    train(recipe, tmp_path / "run", show_progress=False)
    losses = [record["g/l1"] for record in read_log(tmp_path / "run" / "log.jsonl")]
    assert losses[-1] < losses[0] / 2


def test_the_best_model_is_kept():
    psnr, swd = Figure("val/psnr", True), Figure("val/swd", False)
    assert psnr.better(20, None)
    assert psnr.better(20, 19)
    assert not psnr.better(19, 20)
    assert swd.better(19, 20)


def test_start_from_takes_over_all_networks(tmp_path, paired_folder):
    train(small_recipe(paired_folder, training={"ema_half_life": 0}), tmp_path / "first", show_progress=False)
    tuned = small_recipe(
        paired_folder,
        training={"start_from": str(tmp_path / "first" / "model"), "steps": 1, "ema_half_life": 0},
        optimizer={"learning_rate": 1e-12},
    )
    train(tuned, tmp_path / "second", show_progress=False)
    for name in ("generator", "discriminator"):
        first, second = (load_file(tmp_path / run / "model" / f"{name}.safetensors") for run in ("first", "second"))
        assert all(torch.allclose(first[key], second[key], atol=1e-9) for key in first)


def test_the_training_state_is_written_without_pickle(tmp_path, paired_folder, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("pickled")

    monkeypatch.setattr(torch, "save", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    recipe = small_recipe(paired_folder)
    train(recipe, tmp_path / "run", show_progress=False)
    train(small_recipe(paired_folder, training={"steps": 5}), tmp_path / "run", show_progress=False)


@pytest.mark.parametrize("precision", ["fp64", "bf16"])
def test_other_precisions_train_on_the_cpu(tmp_path, paired_folder, precision):
    recipe = small_recipe(paired_folder, training={"precision": precision, "steps": 2})
    train(recipe, tmp_path / "run", show_progress=False)
    weights = load_file(tmp_path / "run" / "model" / "generator.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_a_compiled_run_equals_an_eager_one_and_keeps_its_names(tmp_path, paired_folder, monkeypatch):
    # The back end that needs no C++ compiler on the machine; the graph is captured and differentiated as always.
    traced = partialmethod(torch.nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    for name, compiled in (("compiled", True), ("eager", False)):
        recipe = small_recipe(
            paired_folder,
            training={"compile": compiled, "channels_last": True, "steps": 1, "precision": "fp64"},
            validation={"every": 9},
            penalty={"kind": "r1", "every": 1},  # differentiates twice
            health={"every": 1},  # differentiates a graph that is still needed
        )
        train(recipe, tmp_path / name, show_progress=False)
    eager, compiled_weights = (
        load_file(tmp_path / name / "model" / "generator.safetensors") for name in ("eager", "compiled")
    )
    assert eager.keys() == compiled_weights.keys()
    assert all(torch.allclose(eager[key], compiled_weights[key], atol=1e-6) for key in eager)


def test_accumulating_two_half_batches_is_one_batch(tmp_path, paired_folder):
    results = []
    for name, batch, accumulation in (("one", 4, 1), ("two", 2, 2)):
        training = {"batch_size": batch, "accumulation": accumulation, "precision": "fp64", "steps": 3}
        train(small_recipe(paired_folder, training=training), tmp_path / name, show_progress=False)
        results.append(load_file(tmp_path / name / "checkpoints" / "step_00000003" / "networks.safetensors"))
    assert max((results[0][key] - results[1][key]).abs().max().item() for key in results[0]) < 1e-9


def test_steps_that_stay_not_finite_stop_the_run(tmp_path, paired_folder):
    recipe = small_recipe(paired_folder, optimizer={"learning_rate": 1e30}, training={"steps": 20}, health={"skips": 5})
    with pytest.raises(TrainingError, match="the last 5 steps had a loss or a gradient that is not finite"):
        train(recipe, tmp_path / "run", show_progress=False)


def test_dry_run_describes_and_writes_nothing(tmp_path, paired_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    text = describe(small_recipe(paired_folder))
    assert "generator: 0.0" in text
    assert "train: 8 pairs, 40 x 48 pixels (W x H), uint8 x 1, uint8 x 3 channels" in text
    assert "4 batches an epoch, 1.0 epochs" in text
    assert sorted(tmp_path.iterdir()) == before


def test_the_published_sizes_come_from_the_recipes():
    published = {
        "generator.norm": "batch",
        "generator.upsample": "transposed",
        "discriminator.norm": "batch",
    }
    networks = build_networks(read_recipe("pix2pix", published))
    assert count_parameters(networks.generators["generator"]) == 54_413_955
    assert count_parameters(networks.discriminators["discriminator"]) == 2_768_705
    networks = build_networks(read_recipe("cyclegan", {"generator.upsample": "transposed"}))
    assert count_parameters(networks.generators["a_to_b"]) == 11_378_179
    assert count_parameters(networks.discriminators["discriminator_a"]) == 2_764_737


def test_tensorboard_gets_the_losses(tmp_path, paired_folder):
    train(small_recipe(paired_folder, logging={"trackers": ["tensorboard"]}), tmp_path / "run", show_progress=False)
    assert list((tmp_path / "run").rglob("events.out.tfevents*"))


def test_a_tracker_that_is_not_installed_is_refused(paired_folder, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    recipe = small_recipe(paired_folder, logging={"trackers": ["wandb"]})
    with pytest.raises(
        ConfigError, match=r"names 'wandb', which is not installed: pip install 'translate-images\[wandb\]'"
    ):
        train(recipe, tmp_path / "run", show_progress=False)


def test_an_objective_needs_its_kind_of_data(paired_folder):
    recipe = small_recipe(paired_folder, data={"kind": "unpaired", "source": "a", "target": "b"})
    with pytest.raises(ConfigError, match=r"objective.name 'pix2pix' needs paired data, got data.kind 'unpaired'"):
        check_recipe_fits(recipe)


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({}, "fp32"),
        ({"avx512_bf16": False, "amx_bf16": False, "avx512_f": True}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
    ],
)
def test_auto_is_bf16_on_a_cpu_that_has_units_for_it(monkeypatch, caplog, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) == precision
    assert choose_precision("bf16", cpu) == "bf16"
    warned = "this device has no units for bf16, it can be many times slower than fp32, which auto chooses"
    assert (warned in caplog.text) == (precision == "fp32")


def test_auto_is_fp32_on_a_cpu_that_torch_knows_too_little_of(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)  # torch before 2.12
    assert choose_precision("auto", torch.device("cpu")) == "fp32"


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((12, 0), "bf16")])
def test_auto_is_bf16_on_a_gpu_that_has_units_for_it(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert choose_precision("auto", torch.device("cuda")) == precision


def test_auto_is_fp32_on_other_devices():
    assert choose_precision("auto", torch.device("mps")) == "fp32"


def test_auto_is_resolved_and_kept_with_the_model(tmp_path, paired_folder, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    recipe = small_recipe(paired_folder, training={"precision": "auto", "steps": 2})
    train(recipe, tmp_path / "run", show_progress=False)
    assert json.loads((tmp_path / "run" / "model" / "config.json").read_text())["training"]["precision"] == "bf16"


def test_a_precision_that_the_device_lacks_is_refused():
    cpu = torch.device("cpu")
    with pytest.raises(ConfigError, match=r"training\.precision fp16 needs a GPU"):
        choose_precision("fp16", cpu)
    with pytest.raises(ConfigError, match="fp64 does not exist on Apple GPUs"):
        choose_precision("fp64", torch.device("mps"))


def test_cyclegan_between_grey_and_colour_needs_no_identity_term(unpaired_folder, tmp_path):
    grey = {"source_channels": 1, "target_channels": 3}
    recipe = small_recipe(unpaired_folder, "cyclegan", data=grey)
    with pytest.raises(ConfigError, match=r"set objective\.identity_weight to 0"):
        train(recipe, tmp_path / "run", show_progress=False)
    recipe = small_recipe(unpaired_folder, "cyclegan", data=grey, objective={"name": "cyclegan", "identity_weight": 0})
    assert train(recipe, tmp_path / "run", show_progress=False)["steps"] == 4


def test_a_broken_image_stops_the_run_with_its_name(tmp_path, paired_folder):
    (paired_folder / "train" / "source" / "00.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"00\.png"):
        train(small_recipe(paired_folder), tmp_path / "run", show_progress=False)


def test_the_learning_rate_holds_and_falls_to_zero():
    linear = {"peak": 2.0, "total": 100, "kind": "linear", "hold": 0.5, "warmup": 0}
    assert [learning_rate(step, **linear) for step in (0, 49, 50, 75, 100)] == [2.0, 2.0, 2.0, 1.0, 0.0]
    cosine = linear | {"kind": "cosine"}
    assert learning_rate(75, **cosine) == pytest.approx(1.0)
    assert learning_rate(100, **cosine) == pytest.approx(0.0)
    assert learning_rate(99, **(linear | {"kind": "constant"})) == 2.0


def test_warm_up_rises_in_equal_steps():
    warm = {"peak": 1.0, "total": 100, "kind": "constant", "hold": 0.5, "warmup": 4}
    assert [learning_rate(step, **warm) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_average_forgets_half_in_its_half_life():
    network = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
    ema = Ema({"generator": network}, half_life=100)
    with torch.no_grad():
        network.weight.fill_(0.0)
    for _ in range(10):
        ema.update(images=10, seen=100_000)
    assert math.isclose(ema.networks["generator"].weight.item(), 0.5, rel_tol=1e-5)


def test_the_average_of_a_short_run_is_near_its_last_weights():
    network = torch.nn.Linear(1, 1, bias=False)
    ema = Ema({"generator": network}, half_life=1000)
    with torch.no_grad():
        network.weight.fill_(1.0)
    for step in range(1, 21):
        ema.update(images=4, seen=4 * step)
    assert math.isclose(ema.networks["generator"].weight.item(), 1.0, rel_tol=1e-6)


def test_the_pool_returns_new_images_until_it_is_full_and_then_old_ones_too():
    pool = ImagePool(3, seed=0)
    images = torch.arange(20.0).reshape(20, 1, 1, 1)
    first = pool.swap({"a": images[:3]})["a"]
    assert first.flatten().tolist() == [0, 1, 2]
    later = pool.swap({"a": images[3:]})["a"].flatten().tolist()
    assert len(later) == 17
    assert any(value in (0, 1, 2) for value in later)
    assert 4 < sum(value == new for value, new in zip(later, range(3, 20), strict=True)) < 13  # about half are new


def test_a_pool_goes_on_from_its_state():
    images = torch.arange(20.0).reshape(20, 1, 1, 1)
    pool, copy = ImagePool(3, seed=0), ImagePool(3, seed=1)
    pool.swap({"a": images[:10]})
    copy.load(pool.state(), torch.device("cpu"))
    assert torch.equal(pool.swap({"a": images[10:]})["a"], copy.swap({"a": images[10:]})["a"])


def test_a_pool_of_size_0_changes_nothing():
    fakes = {"a": torch.ones(2, 1, 1, 1)}
    assert ImagePool(0, seed=0).swap(fakes) is fakes


def test_data_sets_of_samples_have_names(paired_folder):
    from translate.data.sampling import Draw
    from translate.training.setup import build_datasets, find_files

    recipe = small_recipe(paired_folder)
    training_set, _ = build_datasets(recipe, find_files(recipe), None)
    assert isinstance(training_set, PairedImages)
    assert training_set[Draw(0, 0, (0,))].name == ["00"]


def test_a_crop_that_is_too_small_for_the_discriminator_is_refused_before_the_start(paired_folder, tmp_path):
    recipe = small_recipe(paired_folder, data={"crop": 16}, discriminator={"name": "patchgan", "layers": 3})
    with pytest.raises(
        ConfigError, match=r"data\.crop 16 gives pictures of 16 pixels, and the discriminator needs at least 24"
    ):
        train(recipe, tmp_path / "run", show_progress=False)
    assert not (tmp_path / "run").exists()


def test_figures_of_the_training_are_those_of_evaluate_but_for_rounding(paired_folder, tmp_path):
    summary = train(small_recipe(paired_folder), tmp_path / "run", show_progress=False)
    val = paired_folder / "val"
    measured = evaluate_pairs(
        Pipeline.from_pretrained(summary["model"]), val / "source", val / "target", show_progress=False
    )
    assert measured["psnr"] == pytest.approx(summary["figures"]["val/psnr"], abs=0.02)
    assert measured["ssim"] == pytest.approx(summary["figures"]["val/ssim"], abs=0.002)


@pytest.mark.parametrize(("kind", "every"), [("r1", 2), ("gradient_penalty", 1)])
def test_a_penalty_is_applied_when_it_is_due(paired_folder, tmp_path, kind, every):
    runs = {"plain": {"kind": "none"}, "penalised": {"kind": kind, "every": every, "weight": 100.0}}
    for name, penalty in runs.items():
        recipe = small_recipe(paired_folder, penalty=penalty, training={"steps": 2}, validation={"every": 9})
        train(recipe, tmp_path / name, show_progress=False)
    records = read_log(tmp_path / "penalised" / "log.jsonl")
    assert [f"d/{kind}" in record for record in records] == [True, every == 1]
    plain, penalised = (load_file(tmp_path / name / "model" / "discriminator.safetensors") for name in runs)
    assert any(not torch.equal(plain[key], penalised[key]) for key in plain)
