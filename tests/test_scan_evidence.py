"""What evidence says of denoisers whose effect is known: perfect ones, blurs, shifts, flicker."""

import json
from pathlib import Path

import cv2
import data_store
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from translate.scan_evidence import DEFINITIONS, Evidence

SPACING = (0.8, 0.8)


@pytest.fixture(scope="module")
def clean():
    """A real abdomen, smoothed: the truth to which noise is added."""
    dataset = pydicom.dcmread(Path(data_store.__file__).parent / "data" / "explicit_VR-UN.dcm")
    values = dataset.pixel_array.astype(float)[96:416, 96:416]
    return cv2.GaussianBlur(values, (0, 0), 0.7)


def white(shape, sigma=25.0, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, shape)


def correlated(shape, sigma=25.0, seed=0):
    """Noise like that of a smooth CT kernel, 0.6 at one pixel."""
    noise = ndimage.gaussian_filter(white(shape, seed=seed), 0.7, mode="wrap")
    return noise * sigma / noise.std()


def gaussian(values, sigma):
    return cv2.GaussianBlur(values, (0, 0), sigma)


def median(values, side):
    return cv2.medianBlur(values.astype(np.float32), side).astype(float)


def evidence(pairs, units="HU", spacing=SPACING):
    gathered = Evidence(units, spacing)
    for index, (source, output) in enumerate(pairs):
        gathered.add(index, source, output)
    return gathered.result()


def biases(result, kind="bias"):
    return {name: band[kind] for name, band in result["bands"].items()}


# bias


def test_a_perfect_denoiser_has_no_bias_in_any_tissue(clean):
    result = evidence([(clean + white(clean.shape, seed=seed), clean) for seed in range(8)])
    found = biases(result)
    assert abs(found["soft tissue"]) < 0.1
    assert abs(found["fat"]) < 0.3  # of few pixels: three standard errors
    assert abs(found["air"]) < 0.1
    assert abs(biases(result, "bias_inside")["soft tissue"]) < 0.1


def test_choosing_tissue_by_the_noisy_value_would_have_shown_a_bias(clean):
    source = clean + white(clean.shape)
    chosen = (source >= -30) & (source < 200)
    assert abs((clean - source)[chosen].mean()) > 1
    fat = (source >= -150) & (source < -30)
    assert abs((clean - source)[fat].mean()) > 1


def test_half_a_denoiser_has_no_bias_either(clean):
    noise = white(clean.shape)
    assert abs(biases(evidence([(clean + noise, clean + noise / 2)]))["soft tissue"]) < 0.15


def test_a_blur_lowers_soft_tissue_beside_air_and_not_inside():
    rows, columns = np.mgrid[:200, :200]
    body = np.where(np.hypot(rows - 100, columns - 100) < 40, 50.0, -1000.0)
    result = evidence([(body + white(body.shape), gaussian(body + white(body.shape), 2))])
    # It loses 1050 HU * 2 / sqrt(2 pi) = 838 HU from each pixel of the circumference, 42 HU over all of a disc.
    assert biases(result)["soft tissue"] == pytest.approx(-38, abs=5)
    assert biases(result)["air"] > 1
    assert abs(biases(result, "bias_inside")["soft tissue"]) < 1


def test_a_blur_of_a_real_abdomen_raises_lung_and_lowers_bone(clean):
    found = biases(evidence([(clean + white(clean.shape), gaussian(clean + white(clean.shape), 2))]))
    assert found["fat"] < -1
    assert found["bone"] < -10
    assert found["air"] > 1


def test_a_shift_is_a_bias_of_its_size_everywhere(clean):
    source = clean + white(clean.shape)
    result = evidence([(source, source + 0.7)])
    for kind in ("bias", "bias_inside"):
        assert biases(result, kind)["soft tissue"] == pytest.approx(0.7)
        assert biases(result, kind)["air"] == pytest.approx(0.7)
    assert result["low_frequency"]["rms"] == pytest.approx(0.7)
    assert result["residual"]["mean"] == pytest.approx(0.7)
    assert result["residual"]["sd"] == pytest.approx(0, abs=1e-6)
    assert result["residual"]["changed"] == 1


# residual


def test_the_identity_changes_nothing(clean):
    result = evidence([(clean, clean)])
    assert result["residual"] == {
        "mean": 0,
        "sd": 0,
        "rms": 0,
        "changed": 0,
        "largest": {"value": 0, "slice": 0, "row": 0, "column": 0},
    }
    assert result["structure"] == 0
    assert result["noise"]["sd_before"] == result["noise"]["sd_after"]
    assert set(biases(result).values()) <= {0, None}


def test_the_largest_change_has_a_sign_and_a_place(clean):
    outputs = [clean.copy(), clean.copy()]
    outputs[1][30, 70] -= 400
    outputs[0][5, 6] += 399
    result = evidence([(clean, output) for output in outputs])
    assert result["residual"]["largest"] == {
        "value": pytest.approx(-400),
        "slice": 1,
        "row": 30,
        "column": 70,
    }
    assert result["residual"]["changed"] == pytest.approx(1 / clean.size)
    assert result["each_slice"][1]["slice"] == 1
    assert result["each_slice"][1]["mean"] == pytest.approx(-400 / clean.size)
    assert result["each_slice"][1]["rms"] == pytest.approx(400 / np.sqrt(clean.size))


@pytest.mark.parametrize("noise", [white, correlated])
def test_noise_that_was_taken_away_holds_no_structure(clean, noise):
    source = clean + noise(clean.shape)
    assert evidence([(source, clean)])["structure"] < 0.04
    assert evidence([(source, (clean + source) / 2)])["structure"] < 0.06  # noise that stays is no structure


def test_strong_noise_that_was_taken_away_is_no_structure(clean):
    source = clean + correlated(clean.shape, sigma=70)  # stronger than most edges
    assert evidence([(source, clean)])["structure"] < 0.05


@pytest.mark.parametrize(
    ("filtered", "low", "high"),
    [
        (lambda values: median(values, 3), 0.15, 0.5),
        (lambda values: median(values, 5), 0.3, 0.65),
        (lambda values: gaussian(values, 1), 0.5, 0.75),
        (lambda values: gaussian(values, 2), 0.6, 0.9),
    ],
    ids=["median 3", "median 5", "gaussian 1", "gaussian 2"],
)
def test_filters_that_take_edges_away_leave_structure(clean, filtered, low, high):
    source = clean + correlated(clean.shape)
    assert low < evidence([(source, filtered(source))])["structure"] < high


def test_a_flat_image_has_no_edges():
    flat = 40 + white((160, 160))
    assert evidence([(flat, gaussian(flat, 0.5))])["structure"] is None


def test_what_a_strong_low_pass_leaves_is_found_with_its_place(clean):
    output = clean.copy()
    output[100:200, 200:300] += 5  # a shading
    low = evidence([(clean, output)])["low_frequency"]
    assert 4 < low["largest"]["value"] <= 5
    assert 120 < low["largest"]["row"] < 180
    assert 220 < low["largest"]["column"] < 280
    noisy = clean + white(clean.shape)
    assert evidence([(noisy, clean)])["low_frequency"]["rms"] < 1


# noise


def test_a_blur_moves_noise_to_lower_frequencies(clean):
    source = np.full(clean.shape, 40.0) + white(clean.shape)
    noise = evidence([(source, gaussian(source, 1.2))])["noise"]
    assert noise["sd_before"] == pytest.approx(25, rel=0.1)
    assert noise["sd_after"] < 0.4 * noise["sd_before"]
    assert noise["mean_frequency_before"] == pytest.approx(0.33, abs=0.02)  # half of Nyquist, 0.625 per mm
    assert noise["mean_frequency_after"] < 0.17
    assert len(noise["frequency"]) == len(noise["power_before"]) == len(noise["power_after"])
    assert np.mean(noise["power_before"][3:]) == pytest.approx(25**2 * 0.8**2, rel=0.2)
    assert noise["frequency_units"] == "per mm"


def test_half_of_the_noise_at_the_same_frequencies_is_no_plastic_look(clean):
    flat, noise = np.full(clean.shape, 40.0), white(clean.shape)
    result = evidence([(flat + noise, flat + noise / 2)], spacing=None)["noise"]
    assert result["sd_after"] == pytest.approx(result["sd_before"] / 2)
    assert result["mean_frequency_after"] == pytest.approx(result["mean_frequency_before"])
    assert result["frequency_units"] == "per pixel"
    assert max(result["frequency"]) == pytest.approx(0.5, abs=0.02)


# between slices


def test_flicker_and_smoothing_between_slices_are_seen(clean):
    sources = [clean + white(clean.shape, seed=seed) for seed in range(4)]
    steady = evidence([(source, clean + (source - clean) / 2) for source in sources])["between_slices"]
    assert steady["difference_ratio"] == pytest.approx(0.5)
    assert steady["flicker"] < 0.3
    shifts = (0, 3, 0, 3)
    flickers = evidence([(s, s + shift) for s, shift in zip(sources, shifts, strict=True)])["between_slices"]
    assert flickers["flicker"] == pytest.approx(3)
    assert flickers["difference_ratio"] > 1


def test_slices_that_are_no_neighbours_are_not_compared(clean):
    gathered = Evidence("HU", SPACING)
    for index in (0, 2, 4):
        gathered.add(index, clean, clean + index)
    assert gathered.result()["between_slices"] == {"difference_ratio": None, "flicker": None}
    assert gathered.result()["slices"] == 3


# other units, and limits


def test_other_units_have_quarters_of_each_slice(clean):
    values = (clean + 1024) * 3
    noisy = values + white(values.shape, sigma=60)
    result = evidence([(noisy, values)], units="stored")
    assert list(result["bands"]) == ["darkest quarter", "second quarter", "third quarter", "brightest quarter"]
    pixels = [band["pixels"] for band in result["bands"].values()]
    assert pixels == pytest.approx([values.size / 4] * 4, abs=5)
    assert all(abs(band["bias"]) < 1.5 for band in result["bands"].values())
    assert 60 < result["noise"]["sd_before"] < 120  # and texture of tissue


def test_a_constant_slice_has_no_bands_but_does_no_harm():
    result = evidence([(np.zeros((32, 32)), np.zeros((32, 32)))], units="stored")
    assert sum(band["pixels"] for band in result["bands"].values()) == 32 * 32
    assert result["noise"]["sd_before"] is None
    assert result["noise"]["frequency"] is None


def test_the_result_is_strict_json_and_everything_in_it_is_explained(clean):
    result = evidence([(clean + white(clean.shape), clean)])
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert set(DEFINITIONS) == set(result) - {"units", "slices", "each_slice"}
    assert result["bands"]["air"]["from"] is None  # no lower limit
    assert result["bands"]["air"]["below"] == -900


def test_float32_gives_what_float64_gives(clean):
    source = (clean + white(clean.shape)).astype(np.float32)
    one = evidence([(source, clean.astype(np.float32))])
    two = evidence([(source.astype(float), clean.astype(np.float32).astype(float))])
    assert one == two


def test_unusable_slices_are_refused(clean):
    gathered = Evidence("HU", None)
    with pytest.raises(ValueError, match="no evidence without a slice"):
        gathered.result()
    with pytest.raises(
        ValueError, match=r"two slices of one shape \(H, W\), at least 16 x 16, got \(20, 20\) and \(20, 21\)"
    ):
        gathered.add(0, np.zeros((20, 20)), np.zeros((20, 21)))
    with pytest.raises(ValueError, match="at least 16 x 16"):
        gathered.add(0, np.zeros((15, 20)), np.zeros((15, 20)))
    with pytest.raises(ValueError, match="slice 3 has values that are NaN or infinite"):
        gathered.add(3, np.zeros((20, 20)), np.full((20, 20), np.nan))
