"""PSNR and SSIM of scans by the published protocols, against scikit-image and against figures made by hand."""

import sys
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from translate.data.scans import ScanError
from translate.scan_metrics import PRESETS, Preset, body_mask, find_preset, measure

UNIFORM = ["eulig-chest", "eulig-abdomen", "eulig-neuro", "abdomen", "full"]


def scan(name):
    """A real slice in HU."""
    dataset = pydicom.dcmread(Path(data_store.__file__).parent / "data" / name)
    return dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


@pytest.fixture(scope="module", params=["693_UNCR.dcm", "explicit_VR-UN.dcm"])
def pair(request):
    """A real slice with noise of 30 HU, and the slice."""
    target = scan(request.param)[150:310, 130:340]
    return target + np.random.default_rng(0).normal(0, 30, target.shape), target


def flat(value, shape=(16, 16)):
    return np.full(shape, float(value))


@pytest.mark.parametrize(("name", "step"), [("red-cnn", 40), ("full", 409.6), ("abdomen", 40), ("eulig-abdomen", 39.9)])
def test_an_error_of_a_tenth_of_the_range_is_20_db(name, step):
    figures = measure(flat(step), flat(0), PRESETS[name])
    assert figures["psnr"] == pytest.approx(20)
    assert figures["mae"] == pytest.approx(step)
    assert figures["rmse"] == pytest.approx(step)


def test_equal_slices_have_no_error():
    figures = measure(flat(3), flat(3), PRESETS["red-cnn"])
    assert figures == {"psnr": float("inf"), "ssim": pytest.approx(1), "mae": 0, "rmse": 0}


def test_the_same_pixels_give_three_very_different_psnrs():
    target = scan("explicit_VR-UN.dcm")
    output = target + np.random.default_rng(0).normal(0, 22.6, target.shape)
    windows = [Preset("a", -160, 240), Preset("b", -1000, 1000), Preset("c", -1024, 3072)]
    narrow, middle, wide = (measure(output, target, window)["psnr"] for window in windows)
    assert narrow == pytest.approx(30.4, abs=0.3)  # much of this slice is air, which the window cuts off
    assert middle - narrow > 9
    assert wide == pytest.approx(20 * np.log10(4096 / 22.6), abs=1)  # 45.2; air is clipped
    assert wide - narrow > 15


def test_what_is_outside_the_window_does_not_count():
    assert measure(flat(-900), flat(-170), PRESETS["abdomen"])["psnr"] == float("inf")


@pytest.mark.parametrize("name", UNIFORM)
def test_uniform_ssim_is_that_of_scikit_image(pair, name):
    preset = PRESETS[name]
    one, two = ((np.clip(values, preset.low, preset.high) - preset.low) / preset.data_range for values in pair)
    expected = structural_similarity(one, two, data_range=1.0)
    assert measure(*pair, preset)["ssim"] == pytest.approx(expected, abs=1e-10)


def test_red_cnn_ssim_is_of_hu_that_are_not_shifted_with_zeros_around(pair):
    def mean(values):  # 11 x 11 pixels, as its published code
        return ndimage.gaussian_filter(values, 1.5, mode="constant", radius=5)

    one, two = (np.clip(values, -160, 240) for values in pair)
    a, b = mean(one), mean(two)
    c1, c2 = 4.0**2, 12.0**2
    similarity = (2 * a * b + c1) * (2 * (mean(one * two) - a * b) + c2)
    similarity /= (a**2 + b**2 + c1) * (mean(one**2) - a**2 + mean(two**2) - b**2 + c2)
    assert measure(*pair, PRESETS["red-cnn"])["ssim"] == pytest.approx(similarity.mean(), abs=1e-10)
    assert abs(similarity.mean() - measure(*pair, PRESETS["abdomen"])["ssim"]) > 0.003


@pytest.mark.parametrize(("name", "low", "high"), [("chest", -1350, 149), ("abdomen", -150, 249), ("neuro", 0, 79)])
def test_eulig_windows_are_dicoms_which_are_one_hu_narrower_than_their_width(name, low, high):
    preset = PRESETS[f"eulig-{name}"]
    assert (preset.low, preset.high) == (low, high)


def test_eulig_errors_are_of_the_whole_range_up_to_bone():
    figures = measure(flat(2000), flat(1800), PRESETS["eulig-abdomen"])
    assert figures["psnr"] == float("inf")
    assert figures["rmse"] == 100  # clipped at 1900


def test_synthrad_is_measured_inside_the_body_and_black_outside():
    rng = np.random.default_rng(0)
    target, mask = rng.normal(0, 300, (40, 40)), np.zeros((40, 40), dtype=bool)
    mask[10:30, 10:30] = True
    output = target + np.where(mask, rng.normal(0, 50, target.shape), 700)
    figures = measure(output, target, PRESETS["synthrad"], mask)
    assert figures["mae"] == pytest.approx(np.abs(output - target)[mask].mean())
    assert figures["psnr"] == pytest.approx(20 * np.log10(4024 / np.sqrt(np.square(output - target)[mask].mean())))
    one, two = (np.where(mask, values, -1024) + 1024 for values in (output, target))
    similarity = structural_similarity(one, two, data_range=4024, full=True)[1]
    assert figures["ssim"] == pytest.approx(similarity[mask].mean(), abs=1e-10)


def test_synthrad_volumes_have_a_window_of_three_dimensions():
    rng = np.random.default_rng(0)
    target = rng.normal(0, 300, (9, 20, 20))
    output, mask = target + rng.normal(0, 50, target.shape), np.ones(target.shape, dtype=bool)
    expected = structural_similarity(output + 1024, target + 1024, data_range=4024)
    clipped = (np.abs(target) < 1024).all() and (np.abs(output) < 1024).all()
    measured = measure(output, target, PRESETS["synthrad"], mask)["ssim"]
    assert measured == pytest.approx(expected, abs=1e-10 if clipped else 0.01)


def test_a_mask_leaves_out_what_is_outside_in_any_preset():
    target, output, mask = flat(0, (30, 30)), flat(0, (30, 30)), np.ones((30, 30), dtype=bool)
    output[:5] = 200
    mask[:5] = False
    assert measure(output, target, PRESETS["red-cnn"], mask) == {"psnr": np.inf, "ssim": 1, "mae": 0, "rmse": 0}
    assert measure(output, target, PRESETS["red-cnn"])["psnr"] < 20


def test_every_preset_says_in_words_what_its_figures_depend_on():
    assert PRESETS["red-cnn"].describe() == (
        "red-cnn: [-160, 240] HU, range 400, whole slice, SSIM 11x11 Gaussian sigma 1.5, zero-padded"
    )
    assert "inside the mask, SSIM 7x7 uniform" in PRESETS["synthrad"].describe()
    assert "inside the mask" in PRESETS["full"].describe(masked=True)
    assert all(name == preset.name and preset.source for name, preset in PRESETS.items())


def test_presets_are_found_by_name():
    assert find_preset("full") is PRESETS["full"]
    with pytest.raises(ValueError, match=r"there is no preset 'redcnn': use one of red-cnn, eulig-chest"):
        find_preset("redcnn")


def test_unusable_input_is_refused():
    small, good = flat(0, (10, 30)), flat(0, (30, 30))
    with pytest.raises(ValueError, match=r"of one shape \(H, W\), got \(10, 30\) and \(30, 30\)"):
        measure(small, good, PRESETS["red-cnn"])
    with pytest.raises(ValueError, match=r"red-cnn compares .* \(H, W\), got \(12, 30, 30\)"):
        measure(flat(0, (12, 30, 30)), flat(0, (12, 30, 30)), PRESETS["red-cnn"])
    with pytest.raises(ValueError, match=r"sides of at least 11 pixels, got \(10, 30\)"):
        measure(small, small, PRESETS["red-cnn"])
    with pytest.raises(ValueError, match="synthrad is defined inside the body: give mask="):
        measure(good, good, PRESETS["synthrad"])
    with pytest.raises(ValueError, match=r"pixels inside is needed, got \(30, 30\) bool with 0"):
        measure(good, good, PRESETS["full"], np.zeros((30, 30), dtype=bool))
    with pytest.raises(ValueError, match=r"a mask of \(30, 30\) bool .*, got \(30, 30\) float64"):
        measure(good, good, PRESETS["full"], np.ones((30, 30)))
    border = np.zeros((30, 30), dtype=bool)
    border[:3] = True
    with pytest.raises(ValueError, match="no pixel farther than 3 from the border"):
        measure(good, good, PRESETS["full"], border)
    with pytest.raises(ValueError, match=r"from 5 to 5 has no extent"):
        Preset("a", 5, 5)


def test_the_body_is_the_largest_part_with_its_lungs_and_without_the_table():
    rows, columns = np.mgrid[:100, :100]
    values = np.where(np.hypot(rows - 50, columns - 50) < 35, 40.0, -1000.0)
    body = values > 0
    values[40:60, 30:45] = -850  # a lung
    values[90:93] = 0  # a table
    values[84:92, 50] = 0  # and what it hangs on
    mask = body_mask(values)
    assert mask[50, 38]
    assert not mask[87:].any()
    assert np.count_nonzero(mask ^ body) < 30  # corners that the opening rounds


def test_a_hole_of_a_volume_is_filled_in_each_slice():
    values = np.full((3, 40, 40), -1000.0)
    values[:, 5:35, 5:35] = 0
    values[:, 15:25, 15:25] = -1000  # a tube through all slices
    mask = body_mask(values)
    assert mask.shape == (3, 40, 40)
    assert mask[:, 20, 20].all()
    assert not mask[:, 0].any()


def test_the_body_of_a_real_slice_leaves_the_table_out():
    values = scan("explicit_VR-UN.dcm")
    mask = body_mask(values)
    assert 0.28 < mask.mean() < 0.31
    assert (values[~mask] > -500).any()  # the table, bright and outside
    assert (values[mask] < -500).any()  # bowel gas, inside


def test_nothing_above_the_threshold_is_an_empty_mask():
    assert not body_mask(flat(-1000)).any()
    assert body_mask(flat(10), threshold=5).all()


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(ScanError, match=r"needs scikit-image: pip install \"translate-images\[medical\]\""):
        body_mask(flat(0))
