"""Metrics against scikit-image and against numbers that can be checked by eye."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from translate.metrics import _pyramid, diversity, psnr, sliced_wasserstein, ssim


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def smooth(images):
    return torch.nn.functional.avg_pool2d(images, 9, stride=1, padding=4)


def test_an_error_of_a_tenth_of_the_range_is_20_decibel():
    target = torch.zeros(2, 3, 4, 4)
    prediction = torch.stack([target[0] + 0.2, target[1] + 0.02])
    torch.testing.assert_close(psnr(prediction, target, data_range=2).float(), torch.tensor([20.0, 40.0]))


def test_psnr_of_equal_images_is_infinite():
    assert psnr(noise(2, 1, 4, 4), noise(2, 1, 4, 4), data_range=2).tolist() == [math.inf, math.inf]


def test_psnr_of_8_bit_images_does_not_wrap_around():
    black, white = torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    assert psnr(black, white, data_range=255).item() == psnr(white, black, data_range=255).item() == 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 255), (-1024, 3071), (0, 0.01)])
def test_psnr_and_ssim_equal_those_of_scikit_image(channels, low, high):
    target = (noise(3, channels, 25, 37) + 1) / 2 * (high - low) + low
    prediction = 0.8 * target + 0.2 * target.flip(0)
    similarities, ratios = (
        ssim(prediction, target, data_range=high - low),
        psnr(prediction, target, data_range=high - low),
    )
    for image, reference, similarity, ratio in zip(prediction, target, similarities, ratios, strict=True):
        one, two = image.double().numpy(), reference.double().numpy()
        expected = structural_similarity(
            one,
            two,
            data_range=high - low,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        np.testing.assert_allclose(similarity, expected, rtol=1e-6)
        np.testing.assert_allclose(ratio, peak_signal_noise_ratio(two, one, data_range=high - low), rtol=1e-6)


def test_ssim_of_equal_images_is_one_down_to_the_size_of_its_window():
    torch.testing.assert_close(ssim(noise(2, 3, 11, 11), noise(2, 3, 11, 11), data_range=2).float(), torch.ones(2))


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(ValueError, match=r"sides of at least 11 pixels, its window, got images of 10 x 64 .*or psnr"):
        ssim(noise(1, 3, 10, 64), noise(1, 3, 10, 64), data_range=2)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_metrics_refuse_to_broadcast(metric):
    message = (
        rf"{metric.__name__} needs two image batches of one shape \(N, C, H, W\), got \(2, 3, 16, 16\) and \(2, 1,"
    )
    with pytest.raises(ValueError, match=message):
        metric(noise(2, 3, 16, 16), noise(2, 1, 16, 16), data_range=2)
    with pytest.raises(ValueError, match=r"got \(3, 16, 16\) and \(3, 16, 16\): bring both"):
        metric(noise(3, 16, 16), noise(3, 16, 16), data_range=2)


@pytest.mark.parametrize("metric", [psnr, ssim, diversity])
@pytest.mark.parametrize("data_range", [0, -1, math.nan, math.inf])
def test_a_data_range_that_is_no_positive_number_is_refused(metric, data_range):
    images = [noise(2, 1, 16, 16)] * (1 if metric is diversity else 2)
    with pytest.raises(ValueError, match=f"data_range must be a positive number, got {data_range}: give the largest"):
        metric(*images, data_range=data_range)


def test_the_pyramid_adds_up_to_the_image_also_at_odd_sides():
    images = noise(2, 3, 65, 40).double()
    levels = _pyramid(images, 16)
    assert [tuple(level.shape[-2:]) for level in levels] == [(65, 40), (33, 20)]
    constant = _pyramid(torch.full((1, 1, 65, 40), 0.3, dtype=torch.float64), 16)
    torch.testing.assert_close(constant[0], torch.zeros(1, 1, 65, 40, dtype=torch.float64))
    torch.testing.assert_close(constant[1], torch.full((1, 1, 33, 20), 0.3, dtype=torch.float64))


def test_a_set_is_at_sliced_wasserstein_distance_zero_from_itself_at_every_level():
    images = noise(4, 3, 64, 96)
    distances = sliced_wasserstein(images, images.clone())
    assert distances == {"64x96": 0, "32x48": 0, "16x24": 0, "mean": 0}


def test_sliced_wasserstein_grows_with_the_difference_and_tells_its_scale():
    images = smooth(noise(8, 3, 64, 64))
    distances = [
        sliced_wasserstein(images, images + strength * noise(8, 3, 64, 64, seed=1)) for strength in (0.05, 0.2, 1)
    ]
    assert 0 < distances[0]["mean"] < distances[1]["mean"] < distances[2]["mean"]
    assert distances[1]["64x64"] > 1.5 * distances[1]["16x16"]  # noise of single pixels is texture


def test_sliced_wasserstein_between_samples_of_one_distribution_falls_with_their_number():
    few, many = (
        sliced_wasserstein(noise(count, 1, 16, 16), noise(count, 1, 16, 16, seed=1), patches=32)["mean"]
        for count in (4, 64)
    )
    assert many < few / 2


def test_sliced_wasserstein_is_a_function_of_its_seed():
    a, b = noise(2, 3, 32, 32), smooth(noise(3, 3, 32, 32, seed=1))
    torch.manual_seed(0)
    first = sliced_wasserstein(a, b, seed=5)
    torch.manual_seed(1)
    assert sliced_wasserstein(a, b, seed=5) == first
    assert sliced_wasserstein(a, b, seed=6) != first


def test_sliced_wasserstein_takes_sets_of_unequal_size_and_constant_images():
    few, many = noise(2, 1, 16, 16), noise(9, 1, 16, 16, seed=1)
    one, other = (sliced_wasserstein(*pair)["mean"] for pair in ((few, many), (many, few)))
    assert one == pytest.approx(other, rel=0.2)
    grey = torch.full((1, 1, 16, 16), 0.3)
    assert sliced_wasserstein(grey, grey - 0.7)["mean"] == 0  # each set is normalised by itself
    assert math.isfinite(sliced_wasserstein(grey, few)["mean"])


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ((2, 3, 32, 32), (2, 3, 32, 16), {}, r"one size, .* got \(2, 3, 32, 32\) and \(2, 3, 32, 16\): resize or crop"),
        ((2, 3, 32, 32), (2, 1, 32, 32), {}, r"got \(2, 3, 32, 32\) and \(2, 1, 32, 32\)"),
        ((3, 32, 32), (3, 32, 32), {}, r"got \(3, 32, 32\) and \(3, 32, 32\)"),
        ((0, 3, 32, 32), (2, 3, 32, 32), {}, r"got \(0, 3, 32, 32\) and"),
        ((1, 3, 15, 32), (1, 3, 15, 32), {}, "sides of at least 16 pixels, got images of 15 x 32 .*at least 7"),
        ((1, 3, 32, 32), (1, 3, 32, 32), {"smallest": 6}, "smallest must be at least 7, got 6"),
        ((1, 3, 32, 32), (1, 3, 32, 32), {"patches": 0}, "patches must be at least 1, got 0"),
        ((1, 3, 32, 32), (1, 3, 32, 32), {"projections": 0}, "projections must be at least 1, got 0"),
    ],
)
def test_sliced_wasserstein_refuses_what_it_cannot_compare(a, b, options, message):
    with pytest.raises(ValueError, match=message):
        sliced_wasserstein(torch.zeros(a), torch.zeros(b), **options)


def test_images_that_are_all_the_same_have_no_diversity():
    assert diversity(noise(1, 3, 48, 40).expand(5, -1, -1, -1), data_range=2) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("greys", "expected"),
    [
        ([-1, 1], 1),  # black and white
        ([0, 0.2], 0.1),
        ([-1, -1, 1, 1], (4 / 6) ** 0.5),  # 4 of the 6 pairs differ by the whole range
        ([0, 0.2, 0.4], ((0.1**2 + 0.1**2 + 0.2**2) / 3) ** 0.5),
    ],
)
def test_diversity_is_the_root_mean_square_difference_of_all_pairs_in_parts_of_the_range(greys, expected):
    images = torch.tensor(greys, dtype=torch.float64)[:, None, None, None].expand(-1, 3, 40, 50)
    assert diversity(images, data_range=2) == pytest.approx(expected)
    assert diversity((images + 1) * 127.5, data_range=255) == pytest.approx(expected)


def test_diversity_of_half_the_image_is_that_of_half_its_pixels():
    images = torch.zeros(2, 1, 64, 128)
    images[1, :, :, :64] = 2
    assert diversity(images, data_range=2) == pytest.approx(0.5**0.5)


def test_diversity_of_8_bit_images_does_not_wrap_around():
    black, white = torch.zeros(1, 4, 4, dtype=torch.uint8), torch.full((1, 4, 4), 255, dtype=torch.uint8)
    assert diversity(torch.stack([white, black]), data_range=255) == pytest.approx(1)


def test_diversity_does_not_depend_on_the_order():
    images = smooth(noise(7, 3, 45, 70))
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    assert diversity(images, data_range=2) == pytest.approx(diversity(images[order], data_range=2), rel=1e-12)


def test_noise_hardly_counts_as_diversity():
    collapsed = smooth(noise(1, 3, 256, 256)).expand(6, -1, -1, -1)
    noisy = diversity(collapsed + 0.2 * noise(6, 3, 256, 256, seed=1), data_range=2)
    assert 0 < noisy < 0.015  # 0.2 * sqrt(2 / 3) / 2 = 0.082 of the range at full size, an eighth of it at 32 pixels
    assert noisy == pytest.approx(0.082 / 8, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (0, 3, 32, 32), (3, 32, 32)])
def test_diversity_refuses_what_is_no_set_of_images(shape):
    with pytest.raises(ValueError, match=r"at least two images \(N, C, H, W\) of one size, got .*: give more images"):
        diversity(torch.zeros(shape), data_range=2)
