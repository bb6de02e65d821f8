"""Degradations: kernels with the properties they are named for, plans that repeat, and steps that do what they say."""

import json
import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
from pydantic import ValidationError
from skimage import data as skimage_data

from translate.data.blur_kernels import bessel_j1, gaussian, generalised_gaussian, plateau, sinc
from translate.data.degradation_steps import kernel_of
from translate.data.degrade import DegradationConfig, apply, degrade, draw
from translate.data.imresize import imresize
from translate.data.picture import ImageError

REAL = DegradationConfig(kind="real")
SHUFFLED = DegradationConfig(kind="real", shuffle=True)
ASTRONAUT = skimage_data.astronaut()[:192, 120:312]
COFFEE = skimage_data.coffee()[100:292, 150:342]
GREY = skimage_data.camera()[60:252, 100:292, None]
FLAT = np.full((200, 200, 3), 128, np.uint8)
KERNELS = {
    "isotropic": gaussian(13, (2, 2)),
    "anisotropic": gaussian(13, (2.5, 0.8), 0.7),
    "generalised": generalised_gaussian(15, (2, 1), 0.4, 0.6),
    "flat": generalised_gaussian(7, (0.2, 3), -2.0, 4.0),
    "plateau": plateau(21, (1.5, 3), 1.1, 1.8),
    "sinc": sinc(21, math.pi / 3),
    "wide sinc": sinc(7, math.pi),
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_kernels_sum_to_one_and_do_not_move_the_picture(kernel):
    assert kernel.dtype == np.float64
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)


def test_isotropic_kernels_look_the_same_from_all_sides():
    for kernel in (KERNELS["isotropic"], KERNELS["sinc"], generalised_gaussian(9, (2, 2), 0.3, 3)):
        np.testing.assert_allclose(kernel, kernel.T, atol=1e-15)
        np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-15)


def test_a_gaussian_has_the_sigmas_and_the_angle_asked_for():
    x, y = np.meshgrid(np.arange(-20, 21), np.arange(-20, 21))
    kernel = gaussian(41, (3, 1.5), math.pi / 6)
    covariance = [[(kernel * p * q).sum() for q in (x, y)] for p in (x, y)]
    variances, axes = np.linalg.eigh(covariance)
    np.testing.assert_allclose(np.sqrt(variances), [1.5, 3], rtol=1e-6)
    assert abs(axes[:, 1] @ [math.cos(math.pi / 6), math.sin(math.pi / 6)]) == pytest.approx(1)


def test_beta_one_is_the_gaussian_and_a_plateau_is_half_as_high_at_one_sigma():
    np.testing.assert_allclose(generalised_gaussian(9, (2, 1), 0.5, 1.0), gaussian(9, (2, 1), 0.5))
    for beta in (1, 2):
        kernel = plateau(9, (2, 2), 0, beta)
        assert kernel[4, 6] == pytest.approx(kernel[4, 4] / 2)


def test_blurring_leaves_an_even_picture_even_up_to_its_borders():
    for seed in range(20):
        blurs = [step for step in draw(REAL, 4, seed) if step["step"] == "blur"]
        np.testing.assert_array_equal(apply(FLAT, blurs, (200, 200)), FLAT)


def test_j1_has_its_known_values():
    # Its table (Abramowitz & Stegun 1964, 9.1), its first zeros, and its power series summed exactly at an argument as
    # large as any that a kernel of 21 pixels needs.
    known = {0: 0, 1: 0.44005058574493355, 2: 0.5767248077568734, 5: -0.3275791375914652, 10: 0.04347274616886144}
    known |= {3.8317059702075125: 0, 7.0155866698156188: 0}
    half = Fraction(44.5) / 2
    known[44.5] = float(
        sum((-1) ** k * half ** (2 * k + 1) / math.factorial(k) / math.factorial(k + 1) for k in range(99))
    )
    x = np.array(list(known))
    np.testing.assert_allclose(bessel_j1(x), list(known.values()), rtol=0, atol=1e-14)
    np.testing.assert_allclose(bessel_j1(-x), -bessel_j1(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("cutoff", [math.pi / 3, math.pi / 2, 2.4])
def test_a_sinc_kernel_passes_what_is_below_its_cutoff_only(cutoff):
    frequencies = np.hypot(*np.meshgrid(*[2 * math.pi * np.fft.fftfreq(192)] * 2))
    low, high = frequencies < cutoff - 0.35, frequencies > cutoff + 0.35  # a kernel of 21 pixels has no sharper edge
    response = np.abs(np.fft.fft2(sinc(21, cutoff), (192, 192)))
    assert 0.8 < response[low].min() <= response[low].max() < 1.2
    assert response[high].max() < 0.15

    filtered = apply(GREY, [{"step": "blur", "kernel": "sinc", "size": 21, "cutoff": cutoff}], (192, 192))
    window = np.hanning(192)[:, None] * np.hanning(192)
    before, after = (np.abs(np.fft.fft2(window * image[..., 0])) for image in (GREY, filtered))
    assert np.linalg.norm(after[high]) < 0.25 * np.linalg.norm(before[high])
    assert np.linalg.norm(after[low]) == pytest.approx(np.linalg.norm(before[low]), rel=0.02)


@pytest.mark.parametrize("config", [REAL, SHUFFLED])
@pytest.mark.parametrize("image", [ASTRONAUT, COFFEE, GREY])
def test_a_seed_gives_one_picture_also_through_json(config, image):
    seen = set()
    for seed in range(6):
        steps = draw(config, 4, seed)
        assert steps == draw(config, 4, seed) == json.loads(json.dumps(steps))
        small = degrade(image, config, 4, seed)
        assert small.shape == (48, 48, image.shape[2])
        assert small.dtype == np.uint8
        assert small.tobytes() == apply(image, json.loads(json.dumps(steps)), (48, 48)).tobytes()
        seen.add(small.tobytes())
    assert len(seen) == 6


def test_degrading_changes_neither_its_input_nor_the_global_generator():
    image, state = ASTRONAUT.copy(), np.random.get_state()[1].copy()
    image.setflags(write=False)
    degrade(image, REAL, 2, 0)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_bicubic_is_imresize_of_every_dtype():
    for image in (ASTRONAUT, GREY.astype(np.uint16) * 257, COFFEE.astype(np.float32) / 255):
        np.testing.assert_array_equal(degrade(image, DegradationConfig(), 3, 5), imresize(image, (64, 64)))


@pytest.mark.parametrize(("height", "width", "scale"), [(4, 4, 4), (3, 99, 3), (101, 55, 1), (34, 22, 2), (1, 1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_odd_shapes_keep_their_ratio(height, width, scale, channels):
    image = np.ascontiguousarray(ASTRONAUT[:height, :width, :channels])
    for seed in range(8):
        assert degrade(image, SHUFFLED, scale, seed).shape == (height // scale, width // scale, channels)


@pytest.mark.parametrize("image", [ASTRONAUT, COFFEE, GREY])
def test_colours_and_places_stay_roughly_where_they_are(image):
    good = imresize(image, (96, 96)).astype(float)
    small = np.mean([degrade(image, REAL, 2, seed) for seed in range(24)], axis=0)
    # Noise is clipped at black and white, which is all that moves the mean; swapped channels would move it by 30.
    np.testing.assert_allclose(small.mean((0, 1)), good.mean((0, 1)), atol=6)
    shift, _ = cv2.phaseCorrelate(good.mean(axis=2), small.mean(axis=2), cv2.createHanningWindow((96, 96), cv2.CV_64F))
    np.testing.assert_allclose(shift, 0, atol=0.15)


@pytest.mark.parametrize("grey", [True, False])
def test_noise_has_the_deviation_asked_for(grey):
    gaussian_noise = {"kind": "gaussian", "sigma": 12.0}
    poisson_noise = {"kind": "poisson", "scale": 0.5}
    for kind, deviation in ((gaussian_noise, 12.0), (poisson_noise, 0.5 * math.sqrt(128))):
        step = {"step": "noise", "grey": grey, "seed": 3, **kind}
        noise = apply(FLAT, [step], (200, 200)).astype(float) - 128
        assert noise.std() == pytest.approx(deviation, rel=0.02)
        assert abs(noise.mean()) < 0.2
        correlation = np.corrcoef(noise[..., 0].ravel(), noise[..., 2].ravel())[0, 1]
        assert correlation == pytest.approx(1 if grey else 0, abs=0.02)


def test_jpeg_gets_worse_with_its_quality():
    qualities = (95, 80, 60, 40, 20, 5)
    results = [apply(COFFEE, [{"step": "jpeg", "quality": quality}], (192, 192)) for quality in qualities]
    errors = [np.abs(result.astype(float) - COFFEE).mean() for result in results]
    assert errors == sorted(errors)
    assert errors[0] < 2.5


def test_nothing_is_rounded_between_steps():
    plain = np.full((64, 64, 1), 100, np.uint8)
    checked = plain + np.uint8(np.indices((64, 64)).sum(0) % 2)[..., None]  # 100.5 when blurred
    blur = {"step": "blur", "kernel": "isotropic", "size": 21, "sigma": [3.0, 3.0], "angle": 0.0}
    noise = {"step": "noise", "kind": "gaussian", "sigma": 5.0, "grey": True, "seed": 0}
    one, two = (apply(image, [blur, noise], (64, 64)).mean() for image in (plain, checked))
    assert two - one == pytest.approx(0.5, abs=0.05)


def test_plans_hold_what_the_configuration_allows():
    plans = [draw(REAL, 4, seed) for seed in range(400)]
    steps = [step for plan in plans for step in plan]
    blurs = [step for step in steps if step["step"] == "blur"]
    assert {step["kernel"] for step in blurs} == set(REAL.first.kernel_weights.model_dump())
    assert {step["size"] for step in blurs} == set(range(7, 22, 2))
    assert all(abs(kernel_of(step).sum() - 1) < 1e-9 for step in blurs[:100])
    assert all(0.2 <= sigma <= 3 for step in blurs for sigma in step.get("sigma", []))
    assert {step["quality"] for step in steps if step["step"] == "jpeg"} == set(range(30, 96))
    gaussians = [step["kind"] == "gaussian" for step in steps if step["step"] == "noise"]
    assert np.mean(gaussians) == pytest.approx(0.5, abs=0.06)
    assert np.mean([plan[-1]["step"] == "jpeg" for plan in plans]) == pytest.approx(0.5, abs=0.08)
    factors = [[step["factor"] for step in plan if step["step"] == "resize"] for plan in plans]
    assert 0.3 / 4 <= min(last for *_, last in factors) <= max(last for *_, last in factors) <= 1.2 / 4
    assert all(0.15 <= first <= 1.5 for first, _ in (both for both in factors if len(both) == 2))


def test_shuffled_plans_have_the_same_steps_in_another_order():
    orders = [tuple(step["step"] for step in draw(SHUFFLED, 4, seed)) for seed in range(50)]
    assert len(set(orders)) > 40
    for seed in range(50):
        plain, mixed = draw(REAL, 4, seed)[:5], draw(SHUFFLED, 4, seed)
        assert all(step in mixed for step in plain)
        resizes = [[step for step in plan if step["step"] == "resize"] for plan in (draw(REAL, 4, seed), mixed)]
        assert resizes[0] == resizes[1]


def test_what_is_not_given_keeps_the_published_value_of_its_stage():
    config = DegradationConfig.model_validate({"second": {"noise": [0, 5], "kernel_weights": {"sinc": 0}}})
    assert config.second.sigma == (0.2, 1.5)
    assert config.second.kernel_weights.isotropic == 0.405


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"sigma": [3, 1]}, "two numbers, the smaller one first"),
        ({"resize": [1.1, 1.5]}, "two numbers, one of at most 1 and one of at least 1"),
        ({"kernel_size": [7, 20]}, "two odd numbers"),
        ({"resize_weights": {"up": 0, "down": 0, "keep": 0}}, "weights of which at least one is above 0"),
        ({"kernals": {}}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_setting_is_refused(stage, message):
    with pytest.raises(ValidationError, match=message):
        DegradationConfig.model_validate({"first": stage})


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [{"step": "sharpen"}],
            "unknown step 'sharpen', allowed are blur, resize, fit, noise, jpeg, and imresize alone",
        ),
        ([{"step": "imresize"}, {"step": "jpeg", "quality": 50}], "unknown step 'imresize'"),
        ([{"step": "jpeg"}], "the step {'step': 'jpeg'} lacks or does not know 'quality'"),
        ([{"step": "fit", "method": "nearest"}], "lacks or does not know 'nearest'"),
        ([{"step": "blur", "kernel": "box", "size": 3}], "unknown kernel 'box', allowed are sinc, isotropic"),
        ([], r"the steps leave 192 x 192 pixels \(H x W\), not the 48 x 48 asked for: end them with a step 'fit'"),
    ],
)
def test_a_wrong_plan_is_refused(steps, message):
    with pytest.raises(ImageError, match=message):
        apply(ASTRONAUT, steps, (48, 48))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (ASTRONAUT[:190], r"192 pixels \(H x W\), scale 4 needs multiples of 4: crop it to 188 x 192"),
        (ASTRONAUT[..., 0], r"a picture to degrade is \(H, W, 1\) or \(H, W, 3\) .*, got \(192, 192\)"),
        (ASTRONAUT[:0], "sides of at least 1 before and after, got .* to become 0 x 48"),
        (ASTRONAUT.astype(np.uint16), "JPEG, which has 8 bits, got a picture of uint16: convert it to uint8"),
        (ASTRONAUT.astype(np.float32), "got a picture of float32: .* or use kind 'bicubic'"),
        (np.zeros((1, 65504, 1), np.uint8).repeat(4, 0), "which has at most 65500 a side: cut it into pieces"),
    ],
)
def test_a_picture_that_cannot_be_degraded_is_refused(image, message):
    config = DegradationConfig.model_validate({"kind": "real", "first": {"resize_weights": {"up": 0, "down": 0}}})
    with pytest.raises(ImageError, match=message):
        degrade(image, config, 4, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gaussian(4, (1, 1)), "needs an odd size, got 4"),
        (lambda: gaussian(5, (1, 0)), "needs positive sigmas, got 1 and 0 pixels"),
        (lambda: plateau(5, (1, 1), 0, 0), "needs a positive beta, got 0"),
        (lambda: sinc(5, 4), r"above 0 and at most pi radians per pixel, got 4"),
        (lambda: draw(REAL, 0, 0), "a scale of at least 1, got 0"),
    ],
)
def test_a_wrong_number_is_refused(make, message):
    with pytest.raises(ImageError, match=message):
        make()
