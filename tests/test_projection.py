"""Line integrals and filtered back-projection: right against formulas, loops and scikit-image."""

import math

import numpy as np
import pytest
import torch

from translate.data.projection import (
    back_project,
    detectors_for,
    filtered_back_projection,
    half_turn,
    project,
)
from translate.data.ramp_filter import filter_views, window
from translate.data.scans import ScanError

RANDOM = np.random.default_rng(0)
ANGLES = torch.tensor([0.0, 0.3, math.pi / 4, 0.9, math.pi / 2, 2.0, 2.8, math.pi, 3.5, 4.4, 5.0, 6.1, -0.7, 7.0])


def disc(size, radius, x=0.0, y=0.0, finer=8):
    """(1, size, size): 1 inside, the covered part of a pixel at the border. x and y of its centre, y up."""
    fine = (np.arange(size * finer) + 0.5) / finer - size / 2
    inside = np.hypot(fine[None, :] - x, -fine[:, None] - y) < radius
    return torch.from_numpy(inside.reshape(size, finer, size, finer).mean((1, 3))).float()[None]


def joseph(image, angle, detectors, pitch):
    """The same integrals with loops: along rows or columns, whichever the ray crosses more steeply."""
    size = len(image)
    middle, cosine, sine = (size - 1) / 2, math.cos(angle), math.sin(angle)
    places = np.arange(-1, size + 1)
    result = []
    for s in (np.arange(detectors) - (detectors - 1) / 2) * pitch:
        total = 0.0
        for line in range(size):
            if abs(cosine) >= abs(sine):
                column = (s - (middle - line) * sine) / cosine + middle
                total += np.interp(column, places, np.pad(image[line], 1), left=0, right=0) / abs(cosine)
            else:
                row = middle - (s - (line - middle) * cosine) / sine
                total += np.interp(row, places, np.pad(image[:, line], 1), left=0, right=0) / abs(sine)
        result.append(total)
    return np.array(result)


@pytest.mark.parametrize(("size", "detectors", "pitch"), [(8, 8, 1.0), (9, 14, 1.0), (8, 15, 0.5)])
def test_projections_are_those_of_a_loop_over_rays_at_any_angle(size, detectors, pitch):
    image = RANDOM.random((size, size))
    expected = [joseph(image, angle, detectors, pitch) for angle in ANGLES.tolist()]
    sums = project(torch.from_numpy(image)[None], ANGLES, detectors, pitch=pitch)
    assert sums.shape == (1, len(ANGLES), detectors)
    assert sums.dtype == torch.float32
    np.testing.assert_allclose(sums[0], expected, atol=2e-4)


@pytest.mark.parametrize(("size", "detectors", "pitch"), [(8, 8, 1.0), (9, 14, 1.0), (8, 15, 0.5), (9, 5, 1.0)])
def test_back_projections_are_those_of_a_loop_over_views_at_any_angle(size, detectors, pitch):
    views = RANDOM.random((len(ANGLES), detectors))
    x = np.arange(size)[None, :] - (size - 1) / 2
    y = (size - 1) / 2 - np.arange(size)[:, None]
    places = (np.arange(detectors + 2) - (detectors + 1) / 2) * pitch
    expected = sum(
        np.interp(x * math.cos(angle) + y * math.sin(angle), places, np.pad(view, 1))
        for angle, view in zip(ANGLES.tolist(), views, strict=True)
    )
    image = back_project(torch.from_numpy(views)[None], ANGLES, size, pitch=pitch)
    assert image.shape == (1, size, size)
    np.testing.assert_allclose(image[0], expected, atol=1e-4)


def test_a_pixel_on_the_right_is_seen_on_the_right_at_0_and_one_above_at_90_degrees():
    image = torch.zeros(1, 9, 9)
    image[0, 1, 7] = 1  # x = 3, y = 3 - so s is 3 at 0 and at 90 degrees, and 3 sqrt(2) at 45
    image[0, 4, 8] = 2  # x = 4, y = 0
    sums = project(image, torch.tensor([0.0, math.pi / 2, math.pi]), 9)[0]
    torch.testing.assert_close(sums[0], torch.tensor([0, 0, 0, 0, 0, 0, 0, 1.0, 2.0]))
    torch.testing.assert_close(sums[1], torch.tensor([0, 0, 0, 0, 2.0, 0, 0, 1.0, 0]))
    torch.testing.assert_close(sums[2], torch.tensor([2.0, 1.0, 0, 0, 0, 0, 0, 0, 0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pitch", [1.0, 0.5])
def test_the_line_integrals_of_a_disc_are_its_chords(pitch):
    radius, x, y = 40, 10.0, -5.0
    angles = half_turn(60)
    detectors = detectors_for(128, pitch)
    sums = project(disc(128, radius, x, y), angles, detectors, pitch=pitch)[0]
    s = (torch.arange(detectors) - (detectors - 1) / 2) * pitch
    away = s - (x * angles.cos() + y * angles.sin()).float()[:, None]
    chords = 2 * (radius**2 - away**2).clamp_min(0).sqrt()
    inside = away.abs() < radius - 2  # at the border a chord is not linear between pixels
    assert (sums - chords)[inside].abs().max() < 0.75
    assert (sums - chords)[inside].square().mean().sqrt() < 0.1
    assert (sums - chords)[away.abs() > radius + 2].abs().max() == 0


def test_every_view_of_the_whole_square_has_the_sum_of_all_pixels():
    image = torch.from_numpy(RANDOM.random((1, 32, 32)))
    sums = project(image, half_turn(12), detectors_for(32, 0.25), pitch=0.25).sum(-1) * 0.25
    torch.testing.assert_close(sums, image.sum().float().expand(1, 12), rtol=0.02, atol=0)


def test_the_projection_is_linear():
    one, two = torch.from_numpy(RANDOM.random((2, 1, 16, 16))).float()
    torch.testing.assert_close(
        project(3 * one - 2 * two, ANGLES), 3 * project(one, ANGLES) - 2 * project(two, ANGLES), atol=1e-4, rtol=1e-5
    )


def test_a_batch_is_projected_and_reconstructed_like_its_images_one_by_one():
    images = torch.from_numpy(RANDOM.random((6, 1, 16, 16)))  # more than go through at once
    sums = project(images, ANGLES)
    torch.testing.assert_close(sums, torch.cat([project(image, ANGLES) for image in images]))
    alone = torch.cat([filtered_back_projection(views[None], ANGLES, 16) for views in sums])
    torch.testing.assert_close(filtered_back_projection(sums, ANGLES, 16), alone)


@pytest.mark.parametrize("filter", ["ramp", "shepp-logan", "cosine", "hamming", "hann"])
def test_a_disc_of_water_keeps_its_attenuation(filter):
    water, angles = 0.0192 * disc(128, 50), half_turn(180)
    image = filtered_back_projection(project(water, angles), angles, 128, filter=filter)[0]
    inside = disc(128, 40)[0] == 1
    assert float(image[inside].mean()) == pytest.approx(0.0192, rel=0.002)
    outside = (disc(128, 54)[0] == 0) & (disc(128, 62)[0] == 1)
    assert abs(float(image[outside].mean())) < 0.002 * 0.0192


def test_the_reconstruction_is_that_of_scikit_image_within_one_percent():
    """RMSE in the circle, as a fraction of the phantom's range. At 512 pixels and 720 views it is 0.4 %."""
    data, transform = pytest.importorskip("skimage.data"), pytest.importorskip("skimage.transform")
    size, angles = 128, half_turn(180)
    phantom = transform.resize(data.shepp_logan_phantom(), (size, size), anti_aliasing=True).astype(np.float32)
    phantom *= disc(size, size / 2 - 1)[0].numpy() == 1
    ours = filtered_back_projection(project(torch.from_numpy(phantom)[None], angles), angles, size)[0].numpy()
    degrees = np.degrees(angles.numpy())
    theirs = transform.iradon(transform.radon(phantom, degrees), degrees)
    circle = disc(size, size / 2 - 2)[0].numpy() == 1
    off = [np.sqrt(np.mean((ours - other)[circle] ** 2)) / np.ptp(phantom) for other in (theirs, phantom)]
    assert off[0] < 0.01
    assert off[1] < np.sqrt(np.mean((theirs - phantom)[circle] ** 2)) / np.ptp(phantom)  # and no worse


def test_the_filter_is_the_ramp_sampled_in_space():
    impulse = torch.zeros(1, 7)
    impulse[0, 3] = 1
    ramp = [-1 / (9 * math.pi**2), 0, -1 / math.pi**2, 0.25, -1 / math.pi**2, 0, -1 / (9 * math.pi**2)]
    torch.testing.assert_close(filter_views(impulse, window("ramp"))[0], torch.tensor(ramp), atol=1e-7, rtol=0)
    torch.testing.assert_close(filter_views(impulse, window("ramp"), pitch=0.5)[0], 2 * torch.tensor(ramp))


@pytest.mark.parametrize(
    ("name", "half", "full"),
    [
        ("ramp", 1, 1),
        ("shepp-logan", math.sin(math.pi / 4) / (math.pi / 4), 2 / math.pi),
        ("cosine", math.sqrt(0.5), 0),
        ("hamming", 0.54, 0.08),
        ("hann", 0.5, 0),
    ],
)
def test_windows_have_their_textbook_values(name, half, full):
    values = window(name)(torch.tensor([0, 0.25, 0.5]))
    torch.testing.assert_close(values, torch.tensor([1.0, half, full]), atol=1e-6, rtol=1e-6)
    narrow = window(name, cutoff=0.5)(torch.tensor([0, 0.125, 0.25, 0.26]))
    torch.testing.assert_close(narrow, torch.tensor([1.0, half, full, 0]), atol=1e-6, rtol=1e-6)


def test_images_that_are_not_square_are_refused():
    with pytest.raises(ScanError, match=r"square images of one channel .* got \(1, 8, 9\): pad"):
        project(torch.zeros(1, 8, 9), ANGLES)
    with pytest.raises(ScanError, match=r"got \(1, 3, 8, 8\)"):
        project(torch.zeros(1, 3, 8, 8), ANGLES)


def test_a_sinogram_of_another_number_of_views_is_refused():
    with pytest.raises(ScanError, match=r"14 angles .* got \(1, 13, 8\)"):
        back_project(torch.zeros(1, 13, 8), ANGLES, 8)


def test_unknown_filters_and_impossible_cutoffs_are_refused():
    with pytest.raises(ScanError, match="no reconstruction filter 'sharp': use one of ramp, shepp-logan"):
        window("sharp")
    for cutoff in (0, 1.5, math.nan):
        with pytest.raises(ScanError, match="above 0 and at most 1, got"):
            window("hann", cutoff)
