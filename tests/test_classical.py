"""NLM and TV in the units of the scan, and their tuning."""

import sys
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest

from translate.data.scans import ScanError
from translate.noise_statistics import SOFT_TISSUE
from translate.pipelines import classical
from translate.pipelines.classical import (
    METHODS,
    NonLocalMeans,
    TotalVariation,
    nlm,
    noise_of,
    settings_to_json,
    tune,
    tv,
)
from translate.scan_metrics import PRESETS, measure


@pytest.fixture(scope="module")
def clean():
    dataset = pydicom.dcmread(Path(data_store.__file__).parent / "data" / "explicit_VR-UN.dcm")
    return dataset.pixel_array.astype(float)[150:278, 140:268]


@pytest.fixture(scope="module")
def noisy(clean):
    return clean + np.random.default_rng(0).normal(0, 30, clean.shape)


def psnr(output, target):
    return measure(output, target, PRESETS["red-cnn"])["psnr"]


def test_noise_is_measured_in_the_slice(clean, noisy):
    assert noise_of(noisy, SOFT_TISSUE) == pytest.approx(np.hypot(30, noise_of(clean, SOFT_TISSUE)), rel=0.1)
    white = np.random.default_rng(0).normal(5000, 7, (64, 64))
    assert noise_of(white, SOFT_TISSUE) == pytest.approx(7, rel=0.1)  # no tissue: from the finest detail
    assert noise_of(white, None) == pytest.approx(7, rel=0.1)


@pytest.mark.parametrize("method", [NonLocalMeans(), TotalVariation()], ids=["nlm", "tv"])
def test_untuned_settings_denoise(method, clean, noisy):
    assert psnr(method(noisy), clean) > psnr(noisy, clean) + 3


@pytest.mark.parametrize(
    "denoise",
    [
        lambda values, unit: nlm(values, sigma=20 * unit, h=15 * unit, patch=3, distance=3),
        lambda v, u: tv(v, weight=20 * u),
    ],
    ids=["nlm", "tv"],
)
def test_units_do_not_matter(denoise, noisy):
    crop = noisy[:48, :48]
    np.testing.assert_allclose(denoise(crop * 1000, 1000), denoise(crop, 1) * 1000, rtol=1e-6, atol=1e-3)


def test_integers_are_denoised_as_their_values(noisy):
    whole = noisy[:48, :48].round()
    np.testing.assert_allclose(tv(whole.astype(np.int16), weight=20), tv(whole, weight=20))
    np.testing.assert_allclose(
        nlm(whole.astype(np.int16), sigma=20, h=15, distance=3), nlm(whole, sigma=20, h=15, distance=3)
    )


def test_no_strength_changes_nothing(noisy):
    np.testing.assert_array_equal(tv(noisy, weight=0), noisy)
    np.testing.assert_array_equal(nlm(noisy, sigma=30, h=0), noisy)


def test_settings_follow_the_noise_of_the_slice(clean):
    rng = np.random.default_rng(0)
    for sigma in (10, 40):
        noisy = clean + rng.normal(0, sigma, clean.shape)
        expected = tv(noisy, weight=0.8 * noise_of(noisy, SOFT_TISSUE))
        np.testing.assert_array_equal(TotalVariation(weight=0.8)(noisy), expected)
        crop = noisy[40:90, 40:90]
        noise = noise_of(crop, SOFT_TISSUE)
        expected = nlm(crop, sigma=0.5 * noise, h=0.9 * noise, patch=3, distance=4)
        np.testing.assert_array_equal(NonLocalMeans(h=0.9, sigma=0.5, patch=3, distance=4)(crop), expected)


@pytest.mark.parametrize("method", ["tv", "nlm"])
def test_tuning_finds_the_best_of_the_grid_and_the_same_twice(method, clean, noisy, monkeypatch):
    monkeypatch.setattr(
        classical,
        "GRIDS",
        {"tv": {"weight": (0.1, 0.6, 3.0)}, "nlm": {"h": (0.1, 0.6, 3.0), "patch": (3, 5), "distance": (3,)}},
    )
    small, target = noisy[32:96, 32:96], clean[32:96, 32:96]
    best = tune(method, [small], [target], PRESETS["red-cnn"])
    assert best == tune(method, [small], [target], PRESETS["red-cnn"])
    key = "weight" if method == "tv" else "h"
    assert getattr(best, key) == 0.6
    reached = psnr(best(small), target)
    for value in (0.1, 3.0):
        assert psnr(METHODS[method](**{key: value})(small), target) < reached


def test_tuning_uses_every_slice_and_the_presets_window(clean, noisy, monkeypatch):
    monkeypatch.setattr(classical, "GRIDS", {"tv": {"weight": (0.0, 0.6)}})
    same = [noisy, noisy]
    assert tune("tv", same, [clean, clean], PRESETS["red-cnn"]).weight == 0.6
    # A reference with the source's own noise is best reached by doing nothing, and such a slice has its say.
    close = noisy + np.random.default_rng(1).normal(0, 0.5, noisy.shape)
    assert tune("tv", same, [clean, close], PRESETS["red-cnn"]).weight == 0.0
    assert tune("tv", same, [close, clean], PRESETS["red-cnn"]).weight == 0.0


def test_only_the_middle_of_a_slice_is_tried(monkeypatch):
    seen = []
    monkeypatch.setattr(classical, "tv", lambda values, *, weight: seen.append(values.shape) or values)
    values = np.random.default_rng(0).normal(0, 10, (512, 300))
    tune("tv", [values], [values], PRESETS["red-cnn"])
    assert set(seen) == {(192, 192)}


def test_without_training_slices_settings_are_those_for_noise_alone():
    assert tune("nlm", [], [], PRESETS["red-cnn"]) == NonLocalMeans()
    assert tune("tv", [], [], PRESETS["red-cnn"], inside=None) == TotalVariation(inside=None)


def test_settings_are_reported():
    assert settings_to_json(NonLocalMeans(h=0.7)) == {
        "method": "nlm",
        "h": 0.7,
        "sigma": 0.8,
        "patch": 5,
        "distance": 9,
    }
    assert settings_to_json(TotalVariation(weight=2)) == {"method": "tv", "weight": 2}


def test_what_cannot_be_tuned_is_refused(noisy):
    with pytest.raises(ValueError, match=r"no classical method 'bm3d': use one of nlm, tv"):
        tune("bm3d", [noisy], [noisy], PRESETS["red-cnn"])
    with pytest.raises(ValueError, match="a clean slice for each noisy one, got 2 and 1"):
        tune("tv", [noisy, noisy], [noisy], PRESETS["red-cnn"])
    with pytest.raises(ValueError, match="synthrad needs a mask of the body: tune with a preset of whole slices"):
        tune("tv", [noisy], [noisy], PRESETS["synthrad"])


@pytest.mark.parametrize("denoise", [lambda v: nlm(v, sigma=1, h=1), lambda v: tv(v, weight=1)], ids=["nlm", "tv"])
def test_a_missing_package_names_its_extra(denoise, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ScanError, match=r"need scikit-image: pip install \"translate-images\[medical\]\""):
        denoise(np.zeros((16, 16)))
