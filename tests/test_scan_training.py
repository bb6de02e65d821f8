"""Training on slices of scans: the network, the data sets, the noise check and the contract that a model carries."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from data_store import __file__ as data_store
from pydicom import dcmread

from translate.config import check_recipe, read_recipe, recipe_names
from translate.data.augment import Augmentation, Geometry
from translate.data.batches import Paired
from translate.data.build import build_dataset
from translate.data.images import ImageError, from_array, write_picture
from translate.data.sampling import Draw
from translate.data.scan_datasets import BLIND_SHARE, hide_pixels, same_anatomy
from translate.data.scan_slices import write_slice
from translate.data.splits import find_split
from translate.losses import mean_shift, structural_dissimilarity
from translate.model_folder import read_config
from translate.networks import ResidualUNet
from translate.objectives import Pixel
from translate.recipe import ConfigError
from translate.training.checks import check_recipe_fits
from translate.training.loop import train
from translate.training.report import shown_window
from translate.training.scans import contract_of

SCAN_RECIPES = [name for name in recipe_names() if read_recipe(name).data.modality]
SMALLER = {
    "data.crop": "32",
    "generator.width": "4",
    "training.steps": "2",
    "training.batch_size": "1",
    "training.precision": "fp32",
}
FACTS = {
    "modality": "CT",
    "units": "HU",
    "spacing": [0.7, 0.9],
    "thickness": [3.0, 3.0],
    "kernels": ["B30f", "D45f"],
    "storage": "int16",
}


@pytest.fixture(scope="module")
def head():
    """The middle of a real head CT, int16 HU (96, 96)."""
    dataset = dcmread(Path(data_store).parent / "data" / "693_UNCR.dcm")
    return (dataset.pixel_array.astype(np.float32) - 1024)[200:296, 200:296]


@pytest.fixture
def slices(tmp_path, head):
    """train/ with 4 and val/ with 2 consecutive slices of one head with white noise of 20 HU, and without."""
    random = np.random.default_rng(0)
    root = tmp_path / "slices"
    for index in range(6):
        split = "train" if index < 4 else "val"
        noisy = np.rint(head + random.normal(0, 20, head.shape)).astype(np.float32)
        for side, values in (("source", noisy), ("target", head), ("a", noisy), ("b", head)):
            folder = root / split / side
            folder.mkdir(parents=True, exist_ok=True)
            write_slice(folder / f"p001_s01_{index:04d}.tif", values, "int16")
    manifest = {"format_version": 2, "kind": "paired", "splits": {"train": {"scans": FACTS}}, "files": {}}
    (root / "dataset.json").write_text(json.dumps(manifest))
    return root


def recipe_of(name, folder, **overrides):
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return read_recipe(name, SMALLER | {"data.folder": str(folder)} | dotted)


def samples(folder, name="scan_denoising", split="train", crop=None, **overrides):
    recipe = recipe_of(name, folder, **overrides)
    found = find_split(recipe.data, split)
    assert found is not None
    return build_dataset(recipe.data, found, Geometry(crop=crop), seed=0)


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def trained_at_random(**arguments):
    """A network whose last layer is not zero."""
    torch.manual_seed(0)
    network = ResidualUNet(**{"in_channels": 1, "out_channels": 1, "width": 4, "depth": 2, **arguments})
    torch.nn.init.normal_(network.head.weight, std=1.0)
    return network.eval()


@pytest.mark.parametrize("channels", [(1, 1), (3, 1), (5, 1), (3, 3)])
def test_an_untrained_residual_unet_is_the_identity_of_the_slice_in_the_middle(channels):
    taken, made = channels
    image = noise(2, taken, 16, 20)
    network = ResidualUNet(taken, made, width=4, depth=2)
    middle = (taken - made) // 2
    assert torch.equal(network(image), image[:, middle : middle + made])


def test_the_change_is_bounded():
    network = trained_at_random(largest_change=0.1)
    image = noise(1, 1, 32, 32)
    change = (network(10 * image) - 10 * image).abs()
    assert 0.09 < change.max() <= 0.1 + 1e-6
    free = trained_at_random(largest_change=None)
    assert (free(10 * image) - 10 * image).abs().max() > 0.2


def test_a_bright_object_in_a_corner_changes_nothing_far_away():
    network = trained_at_random(largest_change=None)
    image = 0.1 * noise(1, 1, 160, 160)
    bright = image.clone()
    bright[..., :8, :8] = 1.0
    with torch.inference_mode():
        difference = (network(bright) - network(image))[0, 0]
    assert difference[:8, :8].abs().max() > 0.1
    assert torch.equal(difference[80:, 80:], torch.zeros(80, 80))


def test_tiles_with_a_halo_are_the_whole_image():
    network = trained_at_random(largest_change=0.1)
    image = 0.3 * noise(1, 1, 128, 128)
    halo = 40
    with torch.inference_mode():
        whole = network(image)
        tile = network(image[..., : 64 + halo, : 64 + halo])[..., :64, :64]
    assert (whole[..., :64, :64] - tile).abs().max() * 2047.5 < 0.05  # HU


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_stays_within_half_a_hounsfield_unit(dtype):
    network = trained_at_random(largest_change=0.1)
    torch.nn.init.normal_(network.head.weight, std=0.03)  # changes of some ten HU, as a trained one makes
    image = -0.4 + 0.05 * noise(1, 1, 64, 64)
    with torch.inference_mode():
        exact = network(image)
        with torch.autocast("cpu", dtype):
            mixed = network(image)
    assert mixed.dtype == torch.float32
    assert (exact - image).std() * 2047.5 > 5
    assert (exact - mixed).square().mean().sqrt() * 2047.5 < 0.5


@pytest.mark.parametrize("arguments", [{"in_channels": 2}, {"in_channels": 1, "out_channels": 3}])
def test_a_residual_unet_needs_a_slice_and_as_many_on_both_sides(arguments):
    with pytest.raises(ValueError, match="odd number of channels and give 1"):
        ResidualUNet(**{"out_channels": 1, **arguments})


@pytest.mark.parametrize("arguments", [{"gain": 0.0}, {"largest_change": -0.1}])
def test_gain_and_bound_are_positive(arguments):
    with pytest.raises(ValueError, match="must be above 0"):
        ResidualUNet(1, 1, **arguments)


@pytest.mark.parametrize("name", SCAN_RECIPES)
def test_every_scan_recipe_trains_two_steps_and_its_model_carries_the_contract(name, tmp_path, slices):
    overrides = {"discriminator__width": "4"} if read_recipe(name).discriminator else {}
    summary = train(recipe_of(name, slices, **overrides), tmp_path / "run", show_progress=False)
    config = read_config(Path(summary["model"]))
    assert (config.task, config.contract.modality, config.contract.units) == ("scan_denoising", "CT", "HU")
    assert (config.contract.low, config.contract.high) == (-1280, 3072)
    assert config.contract.spacing == (0.7, 0.9)
    assert config.contract.thickness == (3.0, 3.0)
    assert config.contract.kernels == ("B30f", "D45f")
    assert config.contract.largest_change == pytest.approx(217.6)
    assert config.contract.forward(-1280) == pytest.approx(-1)


def test_training_on_scans_lowers_their_noise(tmp_path, slices):
    recipe = recipe_of(
        "scan_denoising",
        slices,
        generator__width="8",
        schedule__warmup="0",
        training__steps="60",
        training__batch_size="4",
        training__ema_half_life="0",
        validation__every="60",
    )
    before = 20 * np.log10(400 / 20)  # dB, of noise of 20 HU in a window of 400, of which clipping takes a part
    summary = train(recipe, tmp_path / "run", show_progress=False)
    assert summary["figures"]["val/psnr"] > before + 1.5


def test_neighbours_are_channels_around_the_slice(slices):
    stacks = samples(slices, data__neighbours="1")
    paths = [stacks.pairs[index].source for index in range(4)]
    shown = [samples(slices)[Draw(0, i, (i,))].source[0] for i in range(4)]
    assert [path.stem[-1] for path in paths] == ["0", "1", "2", "3"]
    second = stacks[Draw(0, 1, (1,))]
    assert second.source.shape == (3, 96, 96)
    assert all(torch.equal(second.source[channel], shown[channel]) for channel in range(3))
    assert second.target.shape == (1, 96, 96)
    first = stacks[Draw(0, 0, (0,))].source
    assert torch.equal(first[0], first[1])  # there is none above


def test_a_recipe_with_neighbours_trains(tmp_path, slices):
    recipe = recipe_of("scan_denoising", slices, data__neighbours="2")
    config = read_config(Path(train(recipe, tmp_path / "run", show_progress=False)["model"]))
    assert config.contract.neighbours == 2
    assert config.generators["generator"].input.channels == 5
    assert (tmp_path / "run" / "samples" / "step_00000002.png").is_file()


def test_values_beyond_the_range_are_cut_off(tmp_path):
    values = np.full((32, 32), -2000, np.float32)
    values[16:] = 8000
    for side in ("source", "target"):
        (tmp_path / "train" / side).mkdir(parents=True)
        write_slice(tmp_path / "train" / side / "p001_s01_0000.tif", values, "int16")
    sample = samples(tmp_path)[Draw(0, 0, (0,))]
    assert sample.source.unique().tolist() == [-1, 1]
    assert sample.target.unique().tolist() == [-1, 1]


def test_a_slice_has_one_channel(tmp_path, photographs):
    for side in ("source", "target"):
        (tmp_path / "train" / side).mkdir(parents=True)
        write_picture(from_array(photographs[0]), tmp_path / "train" / side / "p001_s01_0000.png")
    with pytest.raises(ImageError, match="a slice has one channel and no alpha"):
        samples(tmp_path)[Draw(0, 0, (0,))]


def test_a_slice_holds_physical_values(tmp_path, photographs):
    for side in ("source", "target"):
        (tmp_path / "train" / side).mkdir(parents=True)
        write_picture(from_array(photographs[0][..., 0]), tmp_path / "train" / side / "p001_s01_0000.png")
    with pytest.raises(ImageError, match="a slice holds physical values, float or int16, got the uint8 of a picture"):
        samples(tmp_path)[Draw(0, 0, (0,))]


def test_a_data_set_that_does_not_describe_its_scans_is_told(tmp_path, slices, caplog):
    (slices / "dataset.json").unlink()
    train(recipe_of("scan_denoising", slices), tmp_path / "run", show_progress=False)
    assert "has no dataset.json that describes its scans" in caplog.text


def test_a_neighbouring_slice_is_a_noisy_target_either_way_round(slices):
    pairs = samples(slices, "scan_denoising_alone")
    assert [(pair.source.stem[-1], pair.target.stem[-1]) for pair in pairs.pairs] == [
        ("0", "1"),
        ("1", "2"),
        ("2", "3"),
    ]
    plain = [samples(slices)[Draw(0, i, (i,))].source for i in range(2)]
    seen = {torch.equal(pairs[Draw(epoch, 0, (0,))].source, plain[0]) for epoch in range(8)}
    assert seen == {True, False}
    for epoch in range(8):
        sample = pairs[Draw(epoch, 0, (0,))]
        assert torch.equal(sample.source + sample.target, plain[0] + plain[1])
        assert sample.weight.mean() > 0.6  # it is the same anatomy: what is left out is the most unlike by chance


def test_other_anatomy_does_not_count(head):
    other = head.copy()
    other[40:60, 40:60] += 300
    weight = same_anatomy(head + np.float32(1), other)
    assert weight[45:55, 45:55].max() == 0
    assert same_anatomy(head, head).min() == 1
    random = np.random.default_rng(0)
    noisy = [head + random.normal(0, 20, head.shape).astype(np.float32) for _ in range(2)]
    assert same_anatomy(*noisy).mean() == pytest.approx(0.69, abs=0.08)  # of a normal distribution within 1.5 medians


def test_a_blind_spot_hides_some_pixels_behind_values_from_nearby():
    pixels = np.arange(200 * 200, dtype=np.float32).reshape(200, 200)
    hidden, mask = hide_pixels(pixels, seed=1)
    assert mask.mean() == pytest.approx(BLIND_SHARE, rel=0.1)
    assert np.array_equal(hidden[~mask], pixels[~mask])
    row, column = np.divmod(hidden[mask].astype(int), 200)
    away = np.maximum(np.abs(row - np.nonzero(mask)[0]), np.abs(column - np.nonzero(mask)[1]))
    assert away.max() == 2
    assert away.min() >= 1 or (away == 0).mean() < 0.02  # a reflection at the border can fall back on the pixel itself
    assert np.array_equal(hide_pixels(pixels, seed=1)[0], hidden)


def test_a_blind_spot_trains_where_noise_is_white(tmp_path, slices):
    recipe = recipe_of("scan_denoising_alone", slices, data__kind="blind_spot")
    assert train(recipe, tmp_path / "run", show_progress=False)["steps"] == 2
    sample = samples(slices, "scan_denoising_alone", data__kind="blind_spot")[Draw(0, 0, (0,))]
    changed = (sample.source != sample.target)[0]
    assert changed.float().mean() == pytest.approx(BLIND_SHARE, rel=0.3)
    assert sample.weight[0][changed].min() == 1


def correlated(folder, through_plane):
    """Slices whose noise is blurred inside the slice, or shared with the next one."""
    import cv2

    random = np.random.default_rng(0)
    (folder / "train" / "source").mkdir(parents=True)
    shared = random.normal(0, 20, (256, 256))
    for index in range(5):
        own = random.normal(0, 20, (256, 256))
        values = (own + shared) / 2 if through_plane else 2 * cv2.GaussianBlur(own, (0, 0), 1.0)
        write_slice(folder / "train" / "source" / f"p001_s01_{index:04d}.tif", values.astype(np.float32), "float32")
    return folder


@pytest.mark.parametrize(
    ("kind", "through_plane", "message"),
    [
        ("blind_spot", False, "independent from pixel to pixel, but here neighbours correlate by 0.[5-9]"),
        ("neighbouring_slices", True, "independent from slice to slice, but here it correlates by 0.[4-6]"),
    ],
)
def test_training_without_targets_is_refused_where_the_measured_noise_is_correlated(
    tmp_path, kind, through_plane, message
):
    recipe = recipe_of("scan_denoising_alone", correlated(tmp_path / "slices", through_plane), data__kind=kind)
    with pytest.raises(
        ConfigError, match=f"data.kind {kind}, measured in 5 slices from p001_s01_0000.tif on: .*{message}"
    ):
        train(recipe, tmp_path / "run", show_progress=False)
    assert not (tmp_path / "run").exists()


def test_neighbouring_slices_must_be_there(tmp_path, head):
    (tmp_path / "train" / "source").mkdir(parents=True)
    for index in (0, 2, 4):
        write_slice(tmp_path / "train" / "source" / f"p001_s01_{index:04d}.tif", head, "int16")
    with pytest.raises(ImageError, match=r"no two of the 3 slices in .* are neighbours in space"):
        samples(tmp_path, "scan_denoising_alone")


def test_validation_without_clean_targets_has_a_psnr_of_the_pixels_that_count(tmp_path, slices):
    import shutil

    shutil.rmtree(slices / "val" / "target")
    summary = train(recipe_of("scan_denoising_alone", slices), tmp_path / "run", show_progress=False)
    assert set(summary["figures"]) == {"val/psnr"}
    assert summary["figures"]["val/psnr"] == pytest.approx(20 * np.log10(400 / (20 * 2**0.5)), abs=1.5)


def test_validation_with_clean_targets_uses_them(tmp_path, slices):
    summary = train(recipe_of("scan_denoising_alone", slices), tmp_path / "run", show_progress=False)
    assert set(summary["figures"]) == {"val/psnr", "val/ssim"}


def test_figures_see_the_window(tmp_path, slices):
    wide = recipe_of("scan_denoising", slices, validation__window="null")
    narrow = recipe_of("scan_denoising", slices)
    assert shown_window(wide) == (-1, 1)
    assert shown_window(narrow) == pytest.approx(((-160 - 896) / 2176, (240 - 896) / 2176))
    figures = [train(r, tmp_path / f"run{i}", show_progress=False)["figures"] for i, r in enumerate((wide, narrow))]
    assert figures[0]["val/psnr"] > figures[1]["val/psnr"] + 10


def test_a_data_set_of_another_modality_is_refused(slices):
    recipe = recipe_of("scan_denoising", slices, data__modality="MR")
    with pytest.raises(ConfigError, match="holds scans whose modality is 'CT', and the recipe is for 'MR'"):
        contract_of(recipe)


def test_a_damaged_manifest_is_refused(slices):
    (slices / "dataset.json").write_text("{")
    with pytest.raises(ConfigError, match=r"dataset.json is damaged: prepare the data set again"):
        contract_of(recipe_of("scan_denoising", slices))


def test_a_model_of_any_kernel_takes_any(slices):
    manifest = json.loads((slices / "dataset.json").read_text())
    manifest["splits"]["train"]["scans"]["noise"] = {"kind": "dose", "any_kernel": True}
    (slices / "dataset.json").write_text(json.dumps(manifest))
    assert contract_of(recipe_of("scan_denoising", slices)).kernels is None


def test_without_a_manifest_the_contract_knows_the_range_alone(slices):
    (slices / "dataset.json").unlink()
    contract = contract_of(recipe_of("scan_denoising", slices))
    assert (contract.modality, contract.spacing, contract.kernels) == ("CT", None, None)
    assert contract_of(check_recipe(read_recipe("pix2pix_small").to_json())) is None


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("pix2pix_small", {"data__neighbours": "1"}, "need data.modality"),
        ("scan_denoising", {"data__source_channels": "3"}, "set data.source_channels and data.target_channels to 1"),
        ("scan_denoising", {"data__source_range": "null"}, "set data.source_channels and data.target_channels to 1"),
        ("scan_denoising", {"data__invert": "true"}, "cannot be used with data.mix_channels, data.invert"),
        ("scan_denoising", {"data__kind": "side_by_side"}, "needs data.kind paired, unpaired, neighbouring_slices"),
        ("scan_denoising_alone", {"data__neighbours": "1"}, "data.neighbours 1 needs data.kind paired"),
        ("scan_denoising_gan", {"data__kind": "blind_spot"}, "needs an objective that weighs pixels, got 'pix2pix'"),
        ("scan_denoising", {"validation__window": "[240, -160]"}, "needs low < high, in the units"),
        ("pix2pix_small", {"validation__window": "[0, 1]"}, "needs low < high, in the units"),
    ],
)
def test_settings_that_do_not_fit_scans_are_refused(name, overrides, message):
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_recipe_fits(read_recipe(name, dotted))


def test_the_ssim_term_sees_the_window_alone():
    class Plus(torch.nn.Module):
        in_channels = out_channels = 1

        def forward(self, image):
            return image + 0.1

    source = torch.zeros(1, 1, 16, 16)
    batch = Paired(source, source, ["a"])
    pixel = Pixel(generators={"generator": Plus()}, discriminators={}, ssim_weight=2.0, window=(0.5, 1.0))
    terms, *_ = pixel.generator_terms(batch)
    assert terms["g/l1"].item() == pytest.approx(0.1)
    assert terms["g/ssim"].item() == pytest.approx(0, abs=1e-6)  # both are black in this window
    seen, *_ = Pixel(generators={"generator": Plus()}, discriminators={}, ssim_weight=2.0).generator_terms(batch)
    # Constant images of 0.5 and 0.55: 2ab / (a^2 + b^2), with C1 = 1e-4
    assert seen["g/ssim"].item() == pytest.approx(2 * (1 - (0.55 + 1e-4) / (0.25 + 0.3025 + 1e-4)), rel=0.05)  # float32


def test_moved_brightness_has_a_term_of_its_own_in_which_noise_averages_out():
    class Brighter(torch.nn.Module):
        def forward(self, image):
            noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) - 0.5
            return image + 0.1 + noise

    source = torch.zeros(1, 1, 160, 160)
    pixel = Pixel(generators={"generator": Brighter()}, discriminators={}, distance="mse", mean_weight=10.0)
    terms, *_ = pixel.generator_terms(Paired(source, source, ["a"]))
    assert terms["g/mse"].item() == pytest.approx(0.01 + 1 / 12, rel=0.05)
    assert terms["g/mean"].item() == pytest.approx(10 * (0.01 + 1 / 12 / 256), rel=0.1)


def test_a_shift_of_the_mean_needs_a_block():
    with pytest.raises(ValueError, match=r"at least 16 pixels, got \(8, 32\)"):
        mean_shift(torch.zeros(1, 1, 8, 32), torch.zeros(1, 1, 8, 32))


def test_ssim_as_a_loss_needs_its_window():
    with pytest.raises(ValueError, match="sides of at least 11 pixels and low < high"):
        structural_dissimilarity(torch.zeros(1, 1, 8, 32), torch.zeros(1, 1, 8, 32), -1.0, 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ssim_weight": -1.0}, "ssim_weight must not be negative"),
        ({"window": (1.0, 0.0)}, "window must be low < high"),
    ],
)
def test_a_pixel_objective_refuses_other_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Pixel(generators={}, discriminators={}, **settings)


def test_pixels_without_weight_have_no_say():
    class Zero(torch.nn.Module):
        def forward(self, image):
            return image * 0

    weight = torch.zeros(1, 1, 4, 4)
    weight[..., 0, 0] = 1
    target = torch.full((1, 1, 4, 4), 5.0)
    target[..., 0, 0] = 2
    pixel = Pixel(generators={"generator": Zero()}, discriminators={}, distance="mse")
    terms, *_ = pixel.generator_terms(Paired(target, target, ["a"], weight))
    assert terms["g/mse"].item() == pytest.approx(4)


def test_slices_of_five_channels_turn_and_flip_alike():
    stack = np.random.default_rng(0).normal(size=(8, 8, 5)).astype(np.float32)
    geometry = Geometry(crop=8, flip=True, flip_vertical=True, rotate90=True)
    for seed in range(8):
        moved, one = Augmentation(geometry)([stack, stack[..., 2:3]], seed)
        assert moved.shape == (8, 8, 5)
        assert np.array_equal(moved[..., 2:3], one)
