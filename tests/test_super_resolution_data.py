"""Pairs of two scales, and pictures that are degraded as they are loaded: alignment, repetition, refusals."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from skimage import data as skimage_data
from torch.utils.data import DataLoader

from translate.data.augment import Augmentation, Geometry, crop_alike, draw_moves, sample_seed
from translate.data.build import build_dataset
from translate.data.cache import PictureCache
from translate.data.degrade import DegradationConfig
from translate.data.images import ImageError, from_array, write_picture
from translate.data.imresize import imresize
from translate.data.loading import start_worker
from translate.data.resize import shrink
from translate.data.sampling import Draw, StepSampler
from translate.data.splits import DataConfig, find_split, find_training

MOVES = Geometry(crop=8, flip=True, flip_vertical=True, rotate90=True)
DRAWS = [Draw(epoch, place, (place % 2,)) for epoch in (0, 1) for place in range(12)]
REAL = DegradationConfig(kind="real")


def sources(samples):
    """Two photographs of 20 x 28 pixels (H x W) with 1 (grey), 2 (and alpha), 3 (RGB) or 4 (RGBA) samples a pixel."""
    crops = [skimage_data.astronaut()[top : top + 20, 180:208] for top in (60, 140)]
    pixels = [crop if samples > 2 else crop[..., 1] for crop in crops]
    return pixels if samples % 2 else [np.dstack([p, 255 - c[..., 0]]) for p, c in zip(pixels, crops, strict=True)]


def enlarged(array, scale):
    """Every pixel as scale x scale pixels: the alignment of two scales can then be checked exactly."""
    return array.repeat(scale, axis=0).repeat(scale, axis=1)


def write_pairs(folder, low, high, split="train", **keys):
    for side, arrays in (("source", low), ("target", high)):
        (folder / split / side).mkdir(parents=True, exist_ok=True)
        for index, array in enumerate(arrays):
            write_picture(from_array(np.ascontiguousarray(array)), folder / split / side / f"{index}.png")
    return DataConfig(folder=folder, **keys)


def built(config, geometry, seed=5, cache=None):
    return build_dataset(config, find_training(config), geometry, seed, cache)


def all_equal(ones, others):
    return all(
        torch.equal(a, b)
        for one, other in zip(ones, others, strict=True)
        for a, b in zip(one[:2], other[:2], strict=True)
    )


def levels(tensor):
    """(C, H, W) in model space as (H, W, C) of 8 bits."""
    return ((tensor + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()


# Pairs of two scales


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_source_and_target_of_two_scales_stay_aligned(tmp_path, scale, samples):
    low = sources(samples)
    config = write_pairs(tmp_path, low, [enlarged(array, scale) for array in low], scale=scale)
    dataset = built(config, MOVES)
    for draw in DRAWS:
        source, target, *_ = dataset[draw]
        assert source.shape == (3, 8, 8)
        assert torch.equal(target, source.repeat_interleave(scale, 1).repeat_interleave(scale, 2))


def test_alpha_of_one_side_alone_moves_with_it(tmp_path):
    grey = sources(1)
    white = [np.dstack([np.full_like(array, 255), array]) for array in (enlarged(grey_, 3) for grey_ in grey)]
    config = write_pairs(tmp_path, grey, white, scale=3)  # white at an opacity looks like the grey of that value
    dataset = built(config, MOVES)
    for draw in DRAWS:
        source, target, *_ = dataset[draw]
        torch.testing.assert_close(target, source.repeat_interleave(3, 1).repeat_interleave(3, 2), rtol=0, atol=1e-6)


def test_without_a_crop_whole_pictures_of_two_scales_are_turned_alike(tmp_path):
    low = sources(3)
    config = write_pairs(tmp_path, low, [enlarged(array, 2) for array in low], scale=2)
    dataset = built(config, Geometry(flip=True, rotate90=True))
    shapes = set()
    for draw in DRAWS:
        source, target, *_ = dataset[draw]
        assert torch.equal(target, source.repeat_interleave(2, 1).repeat_interleave(2, 2))
        shapes.add(tuple(source.shape))
    assert shapes == {(3, 20, 28), (3, 28, 20)}


def test_the_same_draw_gives_the_same_sample_and_others_give_others(tmp_path):
    low = sources(3)
    config = write_pairs(tmp_path, low, [enlarged(array, 2) for array in low], scale=2)
    one, same, other = (built(config, MOVES, seed) for seed in (3, 3, 4))
    assert all_equal([one[draw] for draw in DRAWS], [same[draw] for draw in DRAWS])
    asked = [Draw(epoch, place, (0,)) for epoch in (0, 1) for place in (0, 1)]
    views = [dataset[draw].target for dataset in (one, other) for draw in asked]
    assert not any(torch.equal(a, b) for index, a in enumerate(views) for b in views[:index])


def test_crops_of_two_scales_reach_every_place_alike():
    small = np.arange(16).reshape(4, 4, 1)
    large = enlarged(small, 2)
    places = Counter()
    for seed in range(900):
        low, high = crop_alike([small, large], [1, 2], 2, draw_moves(MOVES, seed))
        assert np.array_equal(high, enlarged(low, 2))
        places[int(low[0, 0, 0])] += 1
    assert sorted(places) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert max(places.values()) < 130  # 100 each


def test_a_crop_of_two_scales_is_not_padded():
    with pytest.raises(ImageError, match=r"has 6 x 5 pixels \(W x H\) at scale 1, and the crop 8: lower it"):
        Augmentation(MOVES)([np.zeros((5, 6, 3), np.uint8), np.zeros((10, 12, 3), np.uint8)], 0, [1, 2])
    assert Augmentation(MOVES)([np.zeros((5, 6, 3), np.uint8)], 0)[0].shape == (8, 8, 3)


def test_one_augmentation_serves_pictures_of_one_scale_and_of_several():
    low = sources(3)[0]
    augmentation = Augmentation(MOVES)
    assert augmentation([low], 1)[0].shape == (8, 8, 3)
    small, large = augmentation([low, enlarged(low, 2)], 1, [1, 2])
    assert np.array_equal(large, enlarged(small, 2))
    again = pickle.loads(pickle.dumps(augmentation))  # as a spawned worker gets it
    assert np.array_equal(again([low], 1)[0], augmentation([low], 1)[0])


def test_targets_that_are_no_multiple_of_their_sources_are_refused(tmp_path):
    low = sources(3)
    config = write_pairs(tmp_path, low, [enlarged(low[0], 2), enlarged(low[1], 2)[:-1]], scale=2)
    with pytest.raises(
        ImageError, match=r"1 of 2 pairs differ in size.*: 1 \(28 x 20 and 56 x 39\); a target must be 2 t"
    ):
        find_training(config)


# Degraded as they are loaded


def write_targets(folder, arrays, split="train", **keys):
    (folder / split / "target").mkdir(parents=True, exist_ok=True)
    for index, array in enumerate(arrays):
        write_picture(from_array(np.ascontiguousarray(array)), folder / split / "target" / f"{index}.png")
    return DataConfig(folder=folder, kind="degraded", **keys)


def photographs(height=45, width=50):
    return [skimage_data.astronaut()[top : top + height, 180 : 180 + width] for top in (60, 140)]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_bicubic_source_is_that_of_the_crop(tmp_path, scale):
    dataset = built(write_targets(tmp_path, photographs(), scale=scale), MOVES)
    for draw in DRAWS:
        source, target, name, *_ = dataset[draw]
        assert target.shape == (3, 8 * scale, 8 * scale)
        assert np.array_equal(levels(source), imresize(levels(target), (8, 8)))
        assert name == [str(draw.indices[0])]


def test_a_real_degradation_repeats_with_the_draw_and_differs_between_epochs(tmp_path):
    config = write_targets(tmp_path, photographs(), scale=2, degradation=REAL)
    whole = Geometry()
    one, same = built(config, whole), built(config, whole)
    assert all_equal([one[draw] for draw in DRAWS], [same[draw] for draw in DRAWS])
    first, second = one[Draw(0, 0, (0,))], one[Draw(1, 0, (0,))]
    assert torch.equal(first.target, second.target)
    assert not torch.equal(first.source, second.source)


def test_validation_takes_whole_pictures_down_to_a_multiple_of_the_scale(tmp_path):
    write_targets(tmp_path, photographs())
    config = write_targets(tmp_path, photographs(45, 50), "val", scale=4, degradation=REAL)
    dataset = build_dataset(config, find_split(config, "val"), Geometry(), 0)
    for index in range(2):
        source, target, *_ = dataset[Draw(0, index, (index,))]
        assert (source.shape, target.shape) == ((3, 11, 12), (3, 44, 48))
        assert np.array_equal(levels(target), photographs()[index][:44, :48])
    again = build_dataset(config, find_split(config, "val"), Geometry(), 0)
    assert all_equal([dataset[Draw(0, 0, (0,))]], [again[Draw(0, 0, (0,))]])


def test_at_scale_1_a_real_degradation_keeps_the_size(tmp_path):
    config = write_targets(tmp_path, photographs(), degradation=REAL, source_channels=1, target_channels=1)
    source, target, *_ = built(config, MOVES)[Draw(0, 0, (0,))]
    assert source.shape == target.shape == (1, 8, 8)
    assert not torch.equal(source, target)


@pytest.mark.parametrize("kind", ["bicubic", "real"])
def test_batches_are_the_same_with_workers_and_with_the_cache(tmp_path, kind):
    config = write_targets(tmp_path, photographs(), scale=2, degradation=DegradationConfig(kind=kind))
    cache = PictureCache.build(find_training(config).files(), tmp_path / "cache")
    results = []
    for dataset, workers in (
        (built(config, MOVES), 0),
        (built(config, MOVES), 2),
        (built(config, MOVES, cache=cache), 0),
    ):
        sampler = StepSampler(dataset.lengths, 2, 7, 0, 3)
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=dataset.collate,
            worker_init_fn=start_worker,
            timeout=120 if workers else 0,
        )
        results.append(list(loader))
    assert all_equal(results[0], results[1])
    assert all_equal(results[0], results[2])


def test_16_bits_can_be_made_smaller_and_not_be_degraded(tmp_path):
    deep = [photograph.astype(np.uint16) * 257 for photograph in photographs()]
    source, target, *_ = built(write_targets(tmp_path, deep, scale=2), Geometry())[Draw(0, 0, (0,))]
    assert (source.shape, target.shape) == ((3, 22, 25), (3, 44, 50))
    config = write_targets(tmp_path, deep, scale=2, degradation=REAL)
    with pytest.raises(
        ImageError, match=r"target/0\.png: real degradations include JPEG, which has 8 bits, got .*uint16"
    ):
        built(config, Geometry())[Draw(0, 0, (0,))]


def test_alpha_cannot_be_degraded_while_training(tmp_path):
    config = write_targets(tmp_path, [np.zeros((16, 16, 4), np.uint8)], scale=2)
    with pytest.raises(
        ImageError, match=r"target/0\.png: a picture with alpha cannot be degraded .*: remove it, or prep"
    ):
        built(config, Geometry())[Draw(0, 0, (0,))]


def test_a_picture_smaller_than_the_crop_is_named(tmp_path):
    config = write_targets(tmp_path, [np.zeros((16, 15, 3), np.uint8)], scale=2)
    with pytest.raises(
        ImageError, match=r"target/0\.png: the picture has 7 x 8 pixels \(W x H\) at scale 1, and the crop"
    ):
        built(config, MOVES)[Draw(0, 0, (0,))]


def test_only_the_targets_are_listed(tmp_path):
    config = write_targets(tmp_path, photographs(), target="hr")
    with pytest.raises(ImageError, match=r"train has no folder 'hr', it has target: name yours with --data\.target"):
        find_training(config)
    config = config.model_copy(update={"target": "target"})
    (tmp_path / "train" / "source").mkdir()
    (tmp_path / "train" / "source" / "broken.png").write_bytes(b"")
    assert [path.name for path in find_training(config).files()] == ["0.png", "1.png"]
    with pytest.raises(ImageError, match=r"has no folder train/: .* with train/target and, for validation, val/target"):
        find_training(config.model_copy(update={"folder": tmp_path / "train"}))


@pytest.mark.parametrize("wrong", [{"scale": 5}, {"scale": 0}, {"kind": "degrade"}, {"degradation": {"kind": "awful"}}])
def test_wrong_values_of_the_section_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DataConfig(**wrong)


# Making smaller by an integer


def test_shrinking_cuts_what_makes_no_whole_pixel_and_keeps_the_rest(tmp_path):
    given = from_array(np.dstack([photographs(45, 50)[0], photographs(45, 50)[1][..., 0]]))
    small = shrink(given, 4)
    assert np.array_equal(small.pixels, imresize(given.pixels[:44, :48], (11, 12)))
    assert np.array_equal(small.alpha, imresize(given.alpha[:44, :48], (11, 12)))
    assert small.metadata is given.metadata
    assert shrink(from_array(photographs()[0]), 45).pixels.shape == (1, 1, 3)


def test_shrinking_to_nothing_is_refused():
    with pytest.raises(ImageError, match="a picture of 50 x 45 cannot be divided by 46"):
        shrink(from_array(photographs()[0]), 46)


def test_seeds_of_a_sample_and_of_its_degradation_differ():
    assert len({sample_seed(seed, part) for seed in range(50) for part in (1, 2)} | set(range(50))) == 150
