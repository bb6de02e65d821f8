"""Noise simulators: strength, spectrum, place and mean of the noise, against the laws it must follow."""

import math
from dataclasses import replace

import numpy as np
import pytest

from translate.data import ct_noise
from translate.data.ct_noise import MU_WATER, CtDose, CtKernel, simulate_low_dose, simulate_scan
from translate.data.noise import detector_blur, percent_of_maximum, poisson_gaussian, rician, white, xray
from translate.data.scans import ScanError

PLAIN = CtDose(0.25, photons=1e6, electronic=0, compensation=0, filter="ramp", views=180)
MM = 2.0


def body(size=128, radius=50, hu=0.0):
    """(size, size): a cylinder of water, or other, in air. At 2 mm a pixel the longest ray is 200 mm."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.where(np.hypot(y, x) < radius, hu, -1000).astype(np.float32)


def inserted(dose, seed, slice_=None):
    slice_ = body() if slice_ is None else slice_
    return simulate_low_dose(slice_, MM, dose, seed).astype(np.float64) - slice_


def middle(image, size=48):
    first = (len(image) - size) // 2
    return image[first : first + size, first : first + size]


def spectrum(images, bins=12):
    """Radial noise power of square images, (bins,) from 0 to 0.5 cycles per pixel; white noise gives its variance."""
    power = np.mean([np.abs(np.fft.fft2(image - image.mean())) ** 2 / image.size for image in images], 0)
    frequency = np.fft.fftfreq(len(images[0]))
    place = (np.hypot(frequency, frequency[:, None]) * 2 * bins).astype(int).ravel()
    return np.bincount(place, power.ravel())[:bins] / np.bincount(place)[:bins]


# CT: the law of the noise


@pytest.mark.parametrize("photons", [1e5, 1e6, 1e7])
def test_the_variance_in_projections_is_one_over_the_photons_of_the_ray(photons):
    """(1 / f - 1) exp(p) / photons, with half a pixel of 2 mm a detector. p is 3.84 in the middle."""
    dose = replace(PLAIN, photons=photons)
    views = ct_noise._noise_views(ct_noise._attenuation(body()), MM, dose, np.random.default_rng(0))
    seen = views[:, views.shape[1] // 2 - 10 : views.shape[1] // 2 + 10]
    assert seen.var() * photons == pytest.approx(3 * math.exp(200 * MU_WATER), rel=0.06)
    assert views[:, :20].var() * photons == pytest.approx(3, rel=0.06)  # beside the body


def test_electronic_noise_adds_what_yu_et_al_give():
    """(1 / f - 1) exp(p) / N * (1 + (1 + f) / f * electronic^2 exp(p) / N), N photons."""
    dose = replace(PLAIN, electronic=200.0)
    views = ct_noise._noise_views(ct_noise._attenuation(body()), MM, dose, np.random.default_rng(0))
    seen = views[:, views.shape[1] // 2 - 10 : views.shape[1] // 2 + 10]
    inverse = math.exp(200 * MU_WATER) / 1e6
    assert seen.var() == pytest.approx(3 * inverse * (1 + 5 * 200**2 * inverse), rel=0.06)


def test_the_variance_in_the_image_follows_dose_and_photons():
    unit = np.var([middle(inserted(PLAIN, seed)) for seed in range(4)]) / 3
    for fraction, photons in [(0.5, 1e6), (0.1, 1e6), (0.25, 4e6), (0.25, 3e5)]:
        dose = replace(PLAIN, fraction=fraction, photons=photons)
        variance = np.var([middle(inserted(dose, seed)) for seed in range(4, 8)])
        assert variance == pytest.approx(unit * (1 / fraction - 1) * 1e6 / photons, rel=0.08), (fraction, photons)


def test_full_noise_and_inserted_noise_are_that_of_a_scan_with_the_lower_dose():
    """The whole chain at a quarter, and at the full dose plus the difference: in the middle and at the border."""
    dose = replace(PLAIN, electronic=20.0)
    full = [simulate_scan(body(), MM, replace(dose, fraction=1), seed) for seed in range(6)]
    ours = [simulate_low_dose(image, MM, dose, 10 + seed) for seed, image in enumerate(full)]
    direct = [simulate_scan(body(), MM, dose, 20 + seed) for seed in range(6)]
    for part in (lambda image: middle(image, 32), lambda image: image[54:74, 16:30]):
        spread = [np.mean(np.var([part(image) for image in images], axis=0)) for images in (ours, direct, full)]
        assert spread[0] == pytest.approx(spread[1], rel=0.1)
        assert spread[2] < 0.4 * spread[1]


def test_the_noise_power_of_the_ramp_rises_from_nothing_in_proportion_to_the_frequency():
    power = spectrum([middle(inserted(PLAIN, seed), 64) for seed in range(12)])
    frequency = (np.arange(12) + 0.5) / 24
    slope = (power / frequency)[1:11]
    assert slope.std() / slope.mean() < 0.12
    assert slope[6:].mean() == pytest.approx(slope[:4].mean(), rel=0.08)
    assert power[0] < 0.12 * power[8]
    assert np.corrcoef(power[:11], frequency[:11])[0, 1] > 0.98


@pytest.mark.parametrize(("name", "peak"), [("B30f", 0.22), ("D45f", 0.49)])
def test_the_noise_power_of_a_kernel_follows_its_formula_in_cycles_per_millimetre(name, peak):
    """f exp(-2 (f / f0)^e), largest at f0 (1 / (2 e))^(1 / e)."""
    kernel = ct_noise.KERNELS[name]
    dose, slice_ = replace(PLAIN, filter=name, views=360), body(256, 110)
    noise = [simulate_low_dose(slice_, 0.7, dose, seed) - slice_ for seed in range(3)]
    power = spectrum([middle(image, 128) for image in noise], 16)
    frequency = (np.arange(16) + 0.5) / 32 / 0.7
    expected = frequency * np.exp(-2 * (frequency / kernel.frequency) ** kernel.exponent)
    fits = slice(1, 12)  # above, D45f holds more than the pixels can, and folds back
    ratio = power[fits] / power[fits].mean() / (expected[fits] / expected[fits].mean())
    assert np.abs(np.log(ratio)).max() < 0.25
    assert frequency[power.argmax()] == pytest.approx(peak, abs=0.1)


def test_smoother_filters_give_less_noise():
    strengths = [
        middle(inserted(replace(PLAIN, filter=filter, cutoff=cutoff), 0)).std()
        for filter, cutoff in [("ramp", 1.0), ("shepp-logan", 1.0), ("hann", 1.0), ("hann", 0.5)]
    ]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[3] < 0.5 * strengths[2]


def test_the_noise_is_strongest_in_the_middle_of_the_body_and_weakest_in_air():
    noise = np.array([inserted(PLAIN, seed) for seed in range(4)])
    centre, border, air = noise[:, 56:72, 56:72].std(), noise[:, 56:72, 16:24].std(), noise[:, 56:72, :8].std()
    assert centre > 1.3 * border > 1.3 * 1.1 * air


def test_compensation_evens_the_noise_out():
    noise = [inserted(replace(PLAIN, compensation=compensation), 0) for compensation in (0.0, 0.4, 1.0)]
    ratios = [image[56:72, 56:72].std() / image[56:72, 2:18].std() for image in noise]
    assert ratios[0] > ratios[1] > ratios[2]
    assert ratios[2] == pytest.approx(1, abs=0.15)


def test_the_noise_has_no_mean_even_where_hardly_a_photon_arrives():
    """Between the bones the plain logarithm of the whole chain is off by tens of HU."""
    slice_ = body()
    slice_[40:88, 20:36] = slice_[40:88, 92:108] = 2500
    dose = replace(PLAIN, photons=1e5, electronic=10.0)
    exact = simulate_scan(slice_, MM, CtDose(1, 1e12, 0, 0, "ramp", views=180), 0)
    ours = np.mean([inserted(dose, seed, slice_) for seed in range(8)], 0)
    chain = np.mean([simulate_scan(slice_, MM, dose, seed) - exact for seed in range(8)], 0)
    between = (slice(56, 72), slice(48, 80))
    assert abs(ours[between].mean()) < 4
    assert abs(ours[between].mean()) < 0.1 * abs(chain[between].mean())
    assert abs(ours[40:88, 20:36].mean()) < 4


def test_the_noise_has_no_mean_in_soft_tissue():
    noise = np.array([inserted(PLAIN, seed) for seed in range(4)])
    assert abs(noise[:, 32:96, 32:96].mean()) < 0.02 * noise[:, 32:96, 32:96].std()


def test_the_whole_chain_keeps_hounsfield_units():
    exact = simulate_scan(body(hu=40.0), MM, CtDose(1, 1e12, 0, 0, "ramp", views=180), 0)
    assert middle(exact).mean() == pytest.approx(40, abs=2)
    assert exact[2:10, 60:68].mean() == pytest.approx(-1000, abs=3)


def test_the_slice_is_not_blurred_and_not_changed_at_the_full_dose():
    slice_ = body() + np.random.default_rng(0).normal(0, 30, (128, 128)).astype(np.float32)
    kept = simulate_low_dose(slice_, MM, replace(PLAIN, fraction=1), 0)
    assert np.array_equal(kept, slice_)
    assert kept is not slice_
    almost = simulate_low_dose(slice_, MM, replace(PLAIN, photons=1e14), 0)
    assert np.abs(almost - slice_).max() < 0.02


def test_padding_keeps_its_values_and_counts_as_air():
    slice_, padded = body(), body()
    padded[slice_ == -1000] = -2000
    plain, noisy = (simulate_low_dose(image, MM, PLAIN, 3) for image in (slice_, padded))
    assert np.array_equal(noisy[padded == -2000], padded[padded == -2000])
    assert np.array_equal(noisy[padded == 0], plain[padded == 0])
    assert (plain != slice_)[padded == -2000].any()


@pytest.mark.parametrize("shape", [(64, 64), (63, 63), (40, 65), (65, 40)])
def test_slices_of_any_shape_get_noise_everywhere_and_stay_unchanged_themselves(shape):
    slice_ = np.zeros(shape, np.float32)
    noisy = simulate_low_dose(slice_, MM, PLAIN, 0)
    assert noisy.shape == shape
    assert noisy.dtype == np.float32
    assert not slice_.any()
    assert (noisy != 0).all()
    assert simulate_scan(slice_, MM, PLAIN, 0).shape == shape


def test_equal_seeds_repeat_and_other_seeds_or_slices_do_not():
    assert np.array_equal(inserted(PLAIN, 7), inserted(PLAIN, 7))
    other = inserted(PLAIN, 8)
    assert abs(np.corrcoef(middle(inserted(PLAIN, 7)).ravel(), middle(other).ravel())[0, 1]) < 0.1
    assert not np.array_equal(inserted(PLAIN, 7), inserted(PLAIN, 7, body(radius=40)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fraction": 0}, "above 0 and at most 1, got 0"),
        ({"fraction": 1.5}, "above 0 and at most 1, got 1.5"),
        ({"photons": 0}, "photons above 0"),
        ({"electronic": -1}, "electronic noise of 0 or more"),
        ({"views": 0}, "at least 1 view"),
        ({"compensation": 1.1}, "from 0 to 1, got 1.1"),
        ({"filter": "B99x"}, "no reconstruction filter 'B99x'"),
        ({"filter": "hann", "cutoff": 0}, "above 0 and at most 1, got 0"),
        ({"filter": CtKernel(0.5, 2), "cutoff": 0.5}, "a kernel has no cutoff, got 0.5"),
    ],
)
def test_impossible_doses_are_refused(changes, message):
    with pytest.raises(ScanError, match=message):
        replace(PLAIN, **changes)


@pytest.mark.parametrize("simulate", [simulate_low_dose, simulate_scan])
def test_slices_without_units_to_compute_with_are_refused(simulate):
    with pytest.raises(ScanError, match="finite numbers in HU"):
        simulate(np.full((8, 8), np.nan, np.float32), MM, PLAIN, 0)
    with pytest.raises(ScanError, match=r"got the shape \(1, 8, 8\)"):
        simulate(np.zeros((1, 8, 8), np.float32), MM, PLAIN, 0)
    with pytest.raises(ScanError, match="in millimetres and above 0, got 0"):
        simulate(np.zeros((8, 8), np.float32), 0, PLAIN, 0)


# MR, X-ray, plain noise


def test_the_background_of_an_mr_image_has_the_mean_1_2533_sigma():
    noise = rician(np.zeros((512, 512), np.float32), 20.0, 0)
    assert noise.mean() == pytest.approx(1.2533 * 20, rel=0.01)
    assert noise.std() == pytest.approx(math.sqrt(2 - math.pi / 2) * 20, rel=0.01)
    assert noise.min() >= 0


def test_in_bright_tissue_rician_noise_is_gaussian_with_a_small_bias():
    noisy = rician(np.full((512, 512), 100.0), 10.0, 0)
    assert noisy.std() == pytest.approx(10, rel=0.01)
    assert noisy.mean() == pytest.approx(100 + 10**2 / (2 * 100), abs=0.1)


def test_nine_percent_noise_is_of_the_maximum():
    assert percent_of_maximum(np.array([0, 50, 200]), 9) == pytest.approx(18)


def test_the_noise_power_of_white_noise_is_flat_within_5_percent():
    power = spectrum([white(np.zeros((128, 128)), 3.0, seed) for seed in range(16)], 8)
    np.testing.assert_allclose(power, 9, rtol=0.05)


def test_photon_noise_keeps_the_mean_and_has_the_variance_of_its_counts():
    values = np.full((512, 512), 0.5)
    noisy = poisson_gaussian(values, 1000, 20, 0)
    assert noisy.mean() == pytest.approx(0.5, rel=1e-3)
    assert noisy.var() == pytest.approx((500 + 20**2) / 1000**2, rel=0.02)


def test_a_detector_passes_what_its_transfer_function_says_and_keeps_the_mean():
    x = np.arange(64)
    wave = np.tile(np.cos(2 * np.pi * (x + 0.5) / 16), (32, 1))  # mirrored, it goes on
    blurred = detector_blur(1 + wave, 1.5)
    np.testing.assert_allclose(blurred, 1 + wave * math.exp(-2 * (math.pi * 1.5 / 16) ** 2), atol=1e-6)
    np.testing.assert_allclose(detector_blur(wave, lambda f: np.sinc(f)), wave * np.sinc(1 / 16), atol=1e-6)
    image = np.random.default_rng(0).random((31, 40))
    assert detector_blur(image, 2.0).mean() == pytest.approx(image.mean(), rel=1e-6)
    np.testing.assert_allclose(detector_blur(image, 0.0), image, atol=1e-6)


def test_a_radiograph_keeps_its_mean_and_its_noise_has_the_spectrum_of_the_detector():
    noise = [xray(np.full((128, 128), 0.5), 1e4, seed, electronic=0, mtf=0.8) - 0.5 for seed in range(12)]
    assert abs(np.mean(noise)) < 1e-4
    frequency = (np.arange(8) + 0.5) / 16
    expected = 0.5 / 1e4 * np.exp(-4 * (math.pi * 0.8 * frequency) ** 2)
    np.testing.assert_allclose(spectrum(noise, 8)[:6], expected[:6], rtol=0.15)


@pytest.mark.parametrize(
    "simulate",
    [
        lambda values, seed: rician(values, 0.1, seed),
        lambda values, seed: white(values, 0.1, seed),
        lambda values, seed: xray(values, 1e3, seed, mtf=1.0),
    ],
)
def test_simulators_repeat_by_seed_and_leave_their_input_alone(simulate):
    values = np.full((8, 9), 0.5, np.float32)
    one, again, other = simulate(values, 1), simulate(values, 1), simulate(values, 2)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.dtype == np.float32
    assert one.shape == (8, 9)
    assert (values == 0.5).all()


def test_impossible_strengths_are_refused():
    values = np.ones((4, 4))
    for simulate in (white, rician):
        with pytest.raises(ScanError, match="sigma must be a finite number of 0 or more, got -1"):
            simulate(values, -1, 0)
    with pytest.raises(ScanError, match="photons at white must be above 0, got 0"):
        poisson_gaussian(values, 0, 1, 0)
    with pytest.raises(ScanError, match="electronic noise must be a finite number of 0 or more, got nan"):
        poisson_gaussian(values, 1, math.nan, 0)
    for wrong in (-values, values * math.nan):
        with pytest.raises(ScanError, match="subtract the offset, and divide by the white level"):
            poisson_gaussian(wrong, 1, 1, 0)
    with pytest.raises(ScanError, match="sigma of a detector must be a finite number"):
        detector_blur(values, -1.0)
    with pytest.raises(ScanError, match=r"is 1 at the frequency 0, got 2\.0"):
        detector_blur(values, lambda frequency: 2 - frequency)
