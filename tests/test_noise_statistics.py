"""Noise power and correlation, of made noise whose answer is known and of real scans."""

from pathlib import Path

import cv2
import data_store
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from translate.noise_statistics import (
    SOFT_TISSUE,
    NoiseAssumptionError,
    NoiseCorrelation,
    autocorrelation,
    check_noise_assumption,
    measure_noise_correlation,
    noise_power_spectrum,
)


def white(*shape, sigma=10.0, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, shape)


def smoothed(noise, sigma):
    """White noise after a Gaussian filter, whose correlation at one pixel is exp(-1 / (4 sigma^2))."""
    return ndimage.gaussian_filter(noise, (0, sigma, sigma), mode="wrap")


def anatomy(height=256, width=256):
    """Slopes, organs with edges, bone and air, in HU."""
    rows, columns = np.mgrid[:height, :width]
    values = 40 + 30 * np.sin(columns / 60) + rows / 20
    values += 60 * (np.hypot(rows - 80, columns - 90) < 40) - 90 * (np.hypot(rows - 180, columns - 170) < 30)
    values[100:110, 150:230] = 900
    values[:, :24] = -1000
    return values


# noise power


def test_noise_power_of_white_noise_is_flat_within_5_percent():
    power = noise_power_spectrum(white(400, 32, 32), (0.5, 0.5))
    np.testing.assert_allclose(power.power, 10**2 * 0.5 * 0.5, rtol=0.05)  # sigma^2 dx dy = 25 HU^2 mm^2
    assert power.frequency[-1] == pytest.approx(1.0, abs=0.02)  # Nyquist of 0.5 mm
    assert power.mean_frequency == pytest.approx(0.53, abs=0.01)  # halfway, without the mean's ring


def test_noise_power_of_a_known_filter_is_its_squared_response():
    kernel = np.zeros((32, 32))
    kernel[:2, :2] = 0.25  # means of 2 x 2 pixels
    response = np.fft.fft2(kernel)
    noise = np.fft.ifft2(np.fft.fft2(white(800, 32, 32)) * response).real
    power = noise_power_spectrum(noise, (1.0, 1.0))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))
    for frequency, measured in zip(power.frequency, power.power, strict=True):
        ring = np.abs(radius - frequency) < 0.5 / 32
        assert measured == pytest.approx(100 * np.square(np.abs(response))[ring].mean(), rel=0.15, abs=1.0)
    assert power.mean_frequency < 0.22


def test_noise_power_sums_to_the_variance():
    noise = smoothed(white(50, 64, 64), 1.0)
    power = noise_power_spectrum(noise, (0.8, 0.8))
    step = 1 / (64 * 0.8)
    total = (2 * np.pi * power.frequency * power.power * step).sum()  # integral over the plane
    assert total == pytest.approx(noise.var(), rel=0.03)


def test_a_sine_is_a_peak_at_its_frequency():
    columns = np.arange(64)
    power = noise_power_spectrum(np.tile(np.sin(2 * np.pi * 8 * columns / 64), (64, 1)), (2.0, 2.0))
    assert power.frequency[power.power.argmax()] == pytest.approx(8 / 128, rel=0.05)


def test_a_slope_is_taken_off_before_the_spectrum():
    slope = np.tile(np.linspace(0, 100, 32), (32, 1))
    assert noise_power_spectrum(slope, (1, 1), order=2).power.max() < 1e-20
    assert noise_power_spectrum(slope, (1, 1)).power.max() > 100
    assert noise_power_spectrum(np.zeros((8, 8)), (1, 1)).mean_frequency == 0


def test_unusable_regions_are_refused():
    with pytest.raises(ValueError, match=r"at least 8 x 8 pixels, got \(7, 8\)"):
        noise_power_spectrum(np.zeros((7, 8)), (1, 1))
    with pytest.raises(ValueError, match=r"a spacing must be positive, got \(0, 1\)"):
        noise_power_spectrum(np.zeros((8, 8)), (0, 1))


# correlation


def test_autocorrelation_of_means_of_two_neighbours_is_a_half():
    noise = white(1000, 1001)
    means = (noise[:, 1:] + noise[:, :-1]) / 2
    assert autocorrelation(means, (0, 0)) == 1
    assert autocorrelation(means, (0, 1)) == pytest.approx(0.5, abs=0.01)
    assert autocorrelation(means, (0, 2)) == pytest.approx(0, abs=0.01)
    assert autocorrelation(means, (1, 0)) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_white_noise_in_one_scan_has_no_correlation(seed):
    measured = measure_noise_correlation(anatomy() + white(4, 256, 256, seed=seed), inside=SOFT_TISSUE)
    assert abs(measured.rows) < 0.03
    assert abs(measured.columns) < 0.03
    assert abs(measured.through_plane) < 0.03
    assert measured.sigma == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("sigma", [0.5, 0.7, 1.0])
def test_correlated_noise_in_one_scan_is_measured(sigma):
    noise = 3 * smoothed(white(4, 256, 256, sigma=20), sigma)
    truth = autocorrelation(noise, (0, 1))
    measured = measure_noise_correlation(anatomy() + noise, inside=SOFT_TISSUE)
    assert measured.in_plane == pytest.approx(truth, abs=0.08)
    assert measured.in_plane > 0.9 * truth - 0.03


def test_rows_and_columns_are_told_apart():
    noise = white(2, 256, 257, sigma=20)
    noise = noise[:, :, 1:] + noise[:, :, :-1]
    measured = measure_noise_correlation(40 + noise, inside=SOFT_TISSUE)
    assert measured.columns == pytest.approx(0.5, abs=0.04)
    assert measured.rows == pytest.approx(0, abs=0.03)
    assert measured.in_plane == measured.columns


def test_taking_off_a_surface_lowers_correlation_unless_it_is_put_right():
    noise = white(1, 256, 257, sigma=20)
    noise = 40 + noise[:, :, 1:] + noise[:, :, :-1]
    from translate.tissue import cut, detrend  # what would be measured without

    places = [(top, left) for top in range(0, 240, 13) for left in range(0, 240, 13)]
    plain = detrend(cut(noise[0], places, 13), 2)
    assert (plain[:, :, 1:] * plain[:, :, :-1]).mean() / np.square(plain).mean() < 0.485
    assert measure_noise_correlation(noise, inside=SOFT_TISSUE).columns == pytest.approx(0.5, abs=0.04)


def test_anatomy_that_stays_from_slice_to_slice_is_not_correlated_noise():
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.normal(0, 200, (256, 256)), (0, 0), 4)
    slices = anatomy() + texture + white(5, 256, 256)
    assert abs(measure_noise_correlation(slices, inside=SOFT_TISSUE).through_plane) < 0.05


def test_slices_that_overlap_by_half_correlate_by_a_half():
    noise = smoothed(white(6, 256, 256, sigma=20), 0.6)
    slices = anatomy() + noise[1:] + noise[:-1]
    assert measure_noise_correlation(slices, inside=SOFT_TISSUE).through_plane == pytest.approx(0.5, abs=0.05)


def test_air_of_a_magnitude_image_is_left_out():
    rng = np.random.default_rng(0)
    signal = np.zeros((256, 256))
    signal[64:192, 64:192] = 500
    real = signal + rng.normal(0, 20, (2, 256, 256))
    magnitude = np.hypot(real, rng.normal(0, 20, (2, 256, 256)))
    magnitude[:, :20] = 0  # cut off by the scanner
    measured = measure_noise_correlation(magnitude, inside=None)
    assert measured.sigma == pytest.approx(20, rel=0.1)  # air's would be 13
    assert measured.pixels <= 2 * 128 * 128
    assert abs(measured.in_plane) < 0.05


def test_constant_regions_do_not_count_as_flat_tissue():
    slices = 40 + white(2, 256, 256)
    slices[:, :, 100:] = 0  # padding, which is water by its value
    measured = measure_noise_correlation(slices, inside=SOFT_TISSUE)
    assert measured.sigma == pytest.approx(10, rel=0.1)
    assert measured.pixels < 256 * 100


def test_noise_of_a_real_head_ct_is_correlated():
    dataset = pydicom.dcmread(Path(data_store.__file__).parent / "data" / "693_UNCR.dcm")
    values = dataset.pixel_array.astype(float) + float(dataset.RescaleIntercept)
    measured = measure_noise_correlation(values[None], inside=SOFT_TISSUE)
    assert 0.5 < measured.in_plane < 0.8
    assert measured.through_plane is None
    assert 1.5 < measured.sigma < 4


def test_scans_without_flat_tissue_or_noise_are_refused():
    with pytest.raises(ValueError, match=r"only 0 pixels lie in flat tissue, 2000 are needed"):
        measure_noise_correlation(-1000 + white(1, 100, 100), inside=SOFT_TISSUE)
    with pytest.raises(ValueError, match=r"noise is measured in slices \(S, H, W\), got \(100, 100\)"):
        measure_noise_correlation(white(100, 100), inside=SOFT_TISSUE)
    slope = np.tile(np.arange(200.0), (200, 1))
    with pytest.raises(ValueError, match=r"no noise to measure|only 0 pixels"):
        measure_noise_correlation(slope[None] * 0, inside=SOFT_TISSUE)
    ramp = slope[None] / 4  # not constant, but nothing is left of it
    with pytest.raises(ValueError, match="has no noise to measure"):
        measure_noise_correlation(ramp, inside=SOFT_TISSUE)


# what training needs


def correlation(in_plane=0.0, through_plane=0.0):
    return NoiseCorrelation(rows=in_plane, columns=in_plane / 2, through_plane=through_plane, sigma=10.0, pixels=5000)


def test_independent_noise_is_accepted():
    check_noise_assumption("blind_spot", correlation(0.05, 0.9))  # it looks at one slice alone
    check_noise_assumption("blind_spot", correlation(0.05, None))
    check_noise_assumption("neighbouring_slices", correlation(0.9, 0.1))  # that is what it is for


@pytest.mark.parametrize("value", [0.6, -0.2])
def test_a_blind_spot_refuses_noise_that_its_neighbours_foretell(value):
    with pytest.raises(
        NoiseAssumptionError, match=rf"correlate by {value:.2f} \(rows\) .* pairs of neighbouring slices"
    ):
        check_noise_assumption("blind_spot", correlation(value))


def test_pairs_of_slices_refuse_noise_that_they_share():
    with pytest.raises(NoiseAssumptionError, match=r"it correlates by 0.56, at most 0.2 .* slices that do not overlap"):
        check_noise_assumption("neighbouring_slices", correlation(0, 0.56))
    with pytest.raises(NoiseAssumptionError, match="give series of several slices"):
        check_noise_assumption("neighbouring_slices", correlation(0, None))


def test_noise_smoothed_by_a_kernel_is_refused_from_measurement_to_message():
    measured = measure_noise_correlation(40 + 3 * smoothed(white(1, 256, 256), 0.7), inside=SOFT_TISSUE)
    with pytest.raises(NoiseAssumptionError, match="a blind spot needs noise that is independent"):
        check_noise_assumption("blind_spot", measured)
