"""Random values of training pairs."""

import numpy as np
import pytest
import torch
from conftest import small_recipe

from translate.data.augment import Geometry
from translate.data.build import build_dataset
from translate.data.images import from_array, write_picture
from translate.data.sampling import Draw
from translate.data.splits import DataConfig, find_training
from translate.data.tones import LUMA_SHARE, Tones
from translate.recipe import ConfigError
from translate.training.checks import check_recipe_fits

PRIMARIES = np.eye(3, dtype=np.uint8)[None] * 255  # (1, 3, 3): a red, a green and a blue pixel


def test_mixing_gives_both_sides_the_same_weights_and_keeps_luma_in_three_of_ten_draws():
    tones, kept = Tones(mix_channels=True), 0
    for seed in range(300):
        small, large = tones.mix([PRIMARIES, PRIMARIES.repeat(2, axis=1)], seed)
        if small is PRIMARIES:
            kept += 1
            continue
        assert (small.shape, small.dtype) == ((1, 3, 1), np.float32)
        assert small.sum() == pytest.approx(1)  # the weights themselves
        assert np.array_equal(small.repeat(2, axis=1), large)
    assert kept / 300 == pytest.approx(LUMA_SHARE, abs=0.08)


def test_nothing_is_mixed_unless_asked_for_and_never_grey_pictures():
    grey = np.zeros((2, 2, 1), np.uint8)
    for seed in range(10):
        assert Tones().mix([PRIMARIES], seed)[0] is PRIMARIES
        assert Tones(mix_channels=True).mix([grey, PRIMARIES], seed)[1] is PRIMARIES


def test_half_of_the_pairs_are_inverted_where_that_is_asked_for():
    assert {Tones().sign(seed) for seed in range(50)} == {1.0}
    assert np.mean([Tones(invert=True).sign(seed) for seed in range(400)]) == pytest.approx(0, abs=0.12)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_source_and_target_change_alike_and_repeat_with_the_seed(tmp_path, photographs, dtype):
    for side in ("source", "target"):
        (tmp_path / "train" / side).mkdir(parents=True)
        for index, photograph in enumerate(photographs[:4]):
            array = photograph.astype(dtype) * (257 if dtype == np.uint16 else 1)
            write_picture(from_array(array), tmp_path / "train" / side / f"{index}.png")
    config = DataConfig(folder=tmp_path, source_channels=1, target_channels=1, mix_channels=True, invert=True)
    files, plain = find_training(config), Geometry()
    changed = build_dataset(config, files, plain, 5, tones=config.training_tones())
    as_it_is = build_dataset(config, files, plain, 5)
    draws = [Draw(epoch, place, (place,)) for epoch in range(6) for place in range(4)]
    for draw in draws:
        source, target, *_ = changed[draw]
        assert torch.equal(source, target)
        assert torch.equal(source, changed[draw].source)
    assert len({tuple(changed[draw].source.flatten()[:9].tolist()) for draw in draws}) > 12
    assert len({tuple(as_it_is[draw].source.flatten()[:9].tolist()) for draw in draws}) == 4


def test_tones_that_do_not_fit_the_data_are_refused(paired_folder, unpaired_folder):
    with pytest.raises(ConfigError, match=r"data\.mix_channels mixes colours to grey: set data\.source_channels"):
        check_recipe_fits(small_recipe(paired_folder, data={"mix_channels": True}))
    with pytest.raises(ConfigError, match=r"data\.invert changes both sides alike, and unpaired data has no two sides"):
        check_recipe_fits(small_recipe(unpaired_folder, "cyclegan", data={"invert": True}))
