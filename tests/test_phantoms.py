"""Discs and edges put into a scan, through denoisers whose effect can be worked out."""

import cv2
import numpy as np
import pytest

from translate import phantoms
from translate.phantoms import edge_mtf, flat_positions, insert_discs, measure_discs


def white(shape, sigma=20.0, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, shape)


@pytest.fixture(scope="module")
def noisy():
    """Soft tissue of 50 HU with noise, a bone and air around."""
    values = np.full((200, 200), 50.0)
    values[20:60, 20:60] = 900
    values[:, :15] = -1000
    return values + white(values.shape)


def gaussian(sigma):
    return lambda values: cv2.GaussianBlur(values.astype(float), (0, 0), sigma)


def identity(values):
    return values


def erase(values):
    return np.full(values.shape, 50.0)


def test_places_are_in_flat_tissue_apart_and_the_same_for_a_seed(noisy):
    places = flat_positions(noisy, 4, 12, seed=1)
    assert places == flat_positions(noisy, 4, 12, seed=1)
    assert places != flat_positions(noisy, 4, 12, seed=2)
    assert len(places) >= 4
    for number, (row, column) in enumerate(places):
        assert not (10 < row < 70 and 10 < column < 70), "at the bone"
        assert column > 22, "at air"
        for other in places[:number]:
            assert max(abs(row - other[0]), abs(column - other[1])) > 15


def test_discs_have_their_contrast_and_area():
    disc = insert_discs(np.zeros((60, 60)), [(30, 30)], contrast=20, radius=8)
    assert disc[30, 30] == pytest.approx(20, abs=1e-6)
    assert disc[30, 38] == pytest.approx(10, rel=0.1)  # half at the edge
    assert disc[30, 45] == 0
    assert disc.sum() == pytest.approx(20 * np.pi * 64, rel=0.01)
    np.testing.assert_allclose(insert_discs(np.ones((9, 9)), [], contrast=20, radius=3), 1)


def test_doing_nothing_keeps_every_disc_as_it_is(noisy):
    found = measure_discs(identity, [noisy], contrast=30, radius=4)
    assert (found.recovered, found.kept, found.invented) == (pytest.approx(1), 1, 0)
    assert found.cnr_after == found.cnr_before
    assert found.detectability_after == found.detectability_before
    assert found.cnr_before == pytest.approx(30 * 0.95 / 20, rel=0.2)


def test_detectability_is_what_the_ideal_statistics_say(monkeypatch):
    grid = [(row, column) for row in range(20, 190, 20) for column in range(20, 190, 20)]
    monkeypatch.setattr(phantoms, "flat_positions", lambda *_, **__: grid)
    slices = [np.full((200, 200), 50.0) + white((200, 200), seed=seed) for seed in range(4)]
    found = measure_discs(identity, slices, contrast=10, radius=4)
    disc, ring = np.pi * 16, np.pi * 16 * (4 - 1.69)  # pixels
    assert found.discs == 4 * 81
    expected = 10 * 0.83 / (20 * np.sqrt(1 / disc + 1 / ring))  # 2.4; soft edges reach into the ring
    assert found.detectability_before == pytest.approx(expected, rel=0.1)


def test_taking_all_contrast_away_loses_every_disc(noisy):
    found = measure_discs(erase, [noisy], contrast=30, radius=4)
    assert (found.recovered, found.kept, found.invented) == (0, 0, 0)
    assert found.detectability_after == 0
    assert found.to_json()["discs"] == found.discs >= 4


def test_a_denoiser_that_halves_contrast_recovers_half(noisy):
    found = measure_discs(lambda values: 50 + (values - 50) * 0.6, [noisy], contrast=-30, radius=4)
    assert found.recovered == pytest.approx(0.6)
    assert found.kept == 1
    assert measure_discs(lambda values: values * 0.4, [noisy], contrast=30, radius=4).kept == 0


def test_a_denoiser_that_paints_blobs_is_found_out(noisy):
    calls = []

    def paint(values):
        calls.append(1)
        return insert_discs(values, flat_positions(noisy, 4, 12, seed=0)[::2], contrast=30, radius=4)

    found = measure_discs(paint, [noisy], contrast=30, radius=4)
    assert found.invented == pytest.approx(0.5, abs=0.1)
    assert len(calls) == 2


def test_blobs_of_noise_that_were_in_the_input_are_not_invented(noisy):
    lumps = cv2.GaussianBlur(white(noisy.shape, sigma=400), (0, 0), 3)  # as large as the discs, stronger by far
    found = measure_discs(identity, [50 + lumps], contrast=10, radius=4)
    assert found.detectability_before < 1
    assert found.invented == 0


def test_a_blur_raises_contrast_to_noise_and_hardly_detectability():
    slices = [np.full((200, 200), 50.0) + white((200, 200), seed=seed) for seed in range(4)]
    found = measure_discs(gaussian(1.5), slices, contrast=10, radius=4, count=16)
    assert found.cnr_after > 4 * found.cnr_before
    assert found.recovered == pytest.approx(0.75, abs=0.1)
    assert found.detectability_after < 1.4 * found.detectability_before


@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_mtf_of_a_gaussian_is_a_gaussian_at_any_contrast(noisy, sigma):
    def half(total):  # frequency of 50 %, per mm of pixels of 0.5 mm
        return np.sqrt(2 * np.log(2)) / (2 * np.pi * total) / 0.5

    for contrast in (50, 1000):
        found = edge_mtf(gaussian(sigma), noisy, contrast=contrast, spacing=0.5, seeds=[0])
        assert found.contrast == contrast
        assert found.mtf50_before == pytest.approx(half(np.hypot(0.8, 0.29)), rel=0.05)  # 0.29: a pixel's extent
        assert found.mtf50_after == pytest.approx(half(np.hypot(np.hypot(0.8, 0.29), sigma)), rel=0.07)
        assert found.mtf10_after == pytest.approx(found.mtf50_after * np.sqrt(np.log(10) / np.log(2)), rel=0.1)


def test_doing_nothing_keeps_edges_sharp(noisy):
    found = edge_mtf(identity, noisy, contrast=200, spacing=1.0, seeds=[0])
    assert found.mtf50_after == found.mtf50_before
    assert found.mtf10_after == found.mtf10_before


def test_a_median_blurs_faint_edges_more_than_strong_ones(noisy):
    def median(values):
        return cv2.medianBlur(values.astype(np.float32), 5).astype(float)

    faint, strong = (edge_mtf(median, noisy, contrast=c, spacing=1.0, seeds=[0, 1]) for c in (40, 1000))
    assert faint.mtf50_after < 0.7 * strong.mtf50_after


def test_an_edge_that_is_gone_has_no_sharpness(noisy):
    found = edge_mtf(erase, noisy, contrast=200, spacing=1.0, seeds=[0])
    assert found.mtf50_after is None
    assert found.mtf10_after is None


def test_what_cannot_be_measured_is_refused(noisy):
    with pytest.raises(ValueError, match="no tissue of 33 pixels a side for a disc of radius 8"):
        flat_positions(np.full((100, 100), -1000.0), 8, 3, seed=0)
    with pytest.raises(ValueError, match="no tissue of 121 pixels"):
        flat_positions(np.full((100, 100), 50.0), 30, 3, seed=0)
    with pytest.raises(ValueError, match="inserted into slices, got none"):
        measure_discs(identity, [], contrast=20, radius=4)
    with pytest.raises(ValueError, match="a radius above 8 pixels, got 8"):
        edge_mtf(identity, noisy, contrast=20, spacing=1.0, radius=8)
    assert flat_positions(noisy + 2000, 4, 3, seed=0, inside=None)
