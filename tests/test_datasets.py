"""From files to batches in model space: joint augmentation, workers, epochs, splits and the cache."""

import multiprocessing
import os
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.utils.data import DataLoader

from translate.data.augment import Augmentation, Geometry, sample_seed
from translate.data.build import build_dataset
from translate.data.cache import PictureCache
from translate.data.images import ImageError, Picture, from_array, read_picture, write_picture
from translate.data.loading import start_worker
from translate.data.sampling import Draw, StepSampler
from translate.data.splits import DataConfig, RangeConfig, find_split, find_training
from translate.data.working_size import cut_in_half

EVERYTHING = Geometry(resize=36, zoom=0.2, rotate=30, crop=24, flip=True, flip_vertical=True, rotate90=True)
DRAWS = [Draw(epoch, place, (place % 4,)) for epoch in (0, 1) for place in range(8)]


def write_pairs(folder, sources, targets, split="train"):
    """A folder of pairs from arrays."""
    for side, arrays in (("source", sources), ("target", targets)):
        (folder / split / side).mkdir(parents=True)
        for index, array in enumerate(arrays):
            write_picture(from_array(array), folder / split / side / f"{index}.png")
    return DataConfig(folder=folder)


def tensors(dataset, draws=DRAWS):
    return [tensor for draw in draws for tensor in dataset[draw][:2]]


def equal(ones, others):
    return len(ones) == len(others) and all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


def kinds(photograph):
    """Arrays of every kind from one photograph: 8- and 16-bit, grey and colour, with and without alpha."""
    alpha = photograph[..., :1]
    stacks = {"grey": alpha, "grey+alpha": photograph[..., :2], "rgb": photograph}
    stacks["rgb+alpha"] = np.concatenate([photograph, alpha], axis=2)
    eight = {f"uint8 {name}": np.ascontiguousarray(stack) for name, stack in stacks.items()}
    return eight | {f"uint16 {name}": stack.astype(np.uint16) * 257 for name, stack in stacks.items()}


KINDS = [f"{dtype} {name}" for dtype in ("uint8", "uint16") for name in ("grey", "grey+alpha", "rgb", "rgb+alpha")]


@pytest.mark.parametrize("kind", KINDS)
def test_source_and_target_of_a_pair_move_alike(tmp_path, photographs, kind):
    arrays = [kinds(photograph)[kind] for photograph in photographs[:4]]
    config = write_pairs(tmp_path, arrays, arrays)
    dataset = build_dataset(config, find_training(config), EVERYTHING, seed=5)
    for draw in DRAWS:
        source, target, *_ = dataset[draw]
        assert source.shape == (3, 24, 24)
        assert torch.equal(source, target)


def test_a_grey_source_moves_like_its_colour_target_also_in_16_bit(tmp_path, photographs):
    greys = [photograph[..., 1] for photograph in photographs[:4]]
    colours = [np.repeat(grey[..., None], 3, axis=2).astype(np.uint16) * 257 for grey in greys]
    config = write_pairs(tmp_path, greys, colours).model_copy(update={"source_channels": 1})
    dataset = build_dataset(config, find_training(config), Geometry(crop=24, flip=True, rotate90=True), seed=5)
    for draw in DRAWS:
        source, target, *_ = dataset[draw]
        assert source.shape == (1, 24, 24)
        torch.testing.assert_close(source.expand(3, -1, -1), target, rtol=0, atol=1e-6)


def test_alpha_moves_with_the_colours_and_makes_them_low(tmp_path):
    ramp = np.tile(np.arange(0, 240, 6, dtype=np.uint8), (40, 1))
    opaque_left = np.where(np.arange(40) < 20, 255, 0).astype(np.uint8) * np.ones((40, 1), np.uint8)
    rgba = np.dstack([np.full((40, 40, 3), 255, np.uint8), opaque_left])
    config = write_pairs(tmp_path, [rgba], [ramp])
    dataset = build_dataset(config, find_training(config), Geometry(crop=24, flip=True, rotate90=True), seed=1)
    for place in range(8):
        source, target, *_ = dataset[Draw(0, place, (0,))]
        left = target < (20 * 6 - 3) / 127.5 - 1  # the ramp says where a pixel was
        assert torch.equal(source, torch.where(left, 1.0, -1.0))


def test_halves_move_alike_and_are_given_in_the_order_asked_for(tmp_path, photographs):
    folder = tmp_path / "train"
    folder.mkdir()
    for index, photograph in enumerate(photographs[:4]):
        write_picture(from_array(np.hstack([photograph, 255 - photograph])), folder / f"{index}.png")
    left, right = (DataConfig(kind="side_by_side", folder=tmp_path, source_on=side) for side in ("left", "right"))
    ones, others = (build_dataset(config, find_training(config), EVERYTHING, seed=5) for config in (left, right))
    for draw in DRAWS:
        source, target, name, *_ = ones[draw]
        torch.testing.assert_close(source, -target, rtol=0, atol=2 / 127.5)  # up to rounding
        assert equal([source, target], others[draw][1::-1])
        assert name == [str(draw.indices[0])]


def test_without_options_the_picture_is_what_the_file_holds(tmp_path, photographs):
    config = write_pairs(tmp_path, photographs[:1], photographs[1:2])
    source, target, name, *_ = build_dataset(config, find_training(config), Geometry(), seed=0)[Draw(0, 0, (0,))]
    for tensor, photograph in ((source, photographs[0]), (target, photographs[1])):
        expected = torch.from_numpy(photograph).permute(2, 0, 1) / 127.5 - 1
        torch.testing.assert_close(tensor, expected, rtol=0, atol=1e-6)
    assert name == ["0"]


def test_a_range_from_the_recipe_takes_the_place_of_the_dtype(tmp_path):
    config = write_pairs(tmp_path, [np.full((4, 4), 3000, np.uint16)], [np.full((4, 4), 51, np.uint8)])
    config = config.model_copy(update={"source_range": RangeConfig(low=1000, high=3000, units="counts")})
    source, target, *_ = build_dataset(config, find_training(config), Geometry(), seed=0)[Draw(0, 0, (0,))]
    assert source.unique().tolist() == [1.0]
    assert target.unique().tolist() == pytest.approx([51 / 127.5 - 1])


def test_augmentation_repeats_with_the_seed_and_differs_between_epochs_places_and_seeds(paired_folder):
    config = DataConfig(folder=paired_folder)
    split = find_training(config)
    one, same, other = (build_dataset(config, split, EVERYTHING, seed=seed) for seed in (3, 3, 4))
    assert equal(tensors(one), tensors(same))
    asked = [Draw(epoch, place, (0,)) for epoch in (0, 1) for place in (0, 1)]  # the same picture four times
    views = [d[draw].source for d in (one, other) for draw in asked]
    assert not any(torch.equal(a, b) for index, a in enumerate(views) for b in views[:index])


def test_the_sides_of_unpaired_data_move_independently(tmp_path, photographs):
    for side in "ab":
        (tmp_path / "train" / side).mkdir(parents=True)
        write_picture(from_array(photographs[0]), tmp_path / "train" / side / "x.png")
    config = DataConfig(kind="unpaired", folder=tmp_path, source="a", target="b")
    dataset = build_dataset(config, find_training(config), EVERYTHING, seed=0)
    pairs = [dataset[Draw(0, place, (0, 0))] for place in range(4)]
    assert all(not torch.equal(sample.a, sample.b) for sample in pairs)
    assert pairs[0].name_a == pairs[0].name_b == ["x"]


def loaded(dataset, workers=0, context=None, processes=1, start=0):
    """Batches of two epochs; of several processes, each step's parts together. Batches are 4 in all."""
    steps = []
    for rank in range(processes):
        sampler = StepSampler(dataset.lengths, 4 // processes, 7, start, 4, rank, processes)
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=dataset.collate,
            worker_init_fn=start_worker,
            multiprocessing_context=context,
            timeout=120 if workers else 0,
        )
        steps.append([batch[:2] for batch in loader])
    return [torch.cat(parts) for step in zip(*steps, strict=True) for parts in zip(*step, strict=True)]


@pytest.fixture
def augmented(paired_folder):
    config = DataConfig(folder=paired_folder)
    return build_dataset(config, find_training(config), EVERYTHING, seed=7)


@pytest.mark.parametrize(("workers", "context"), [(1, None), (3, None), (2, "fork")])
def test_batches_are_the_same_whatever_the_number_of_workers(augmented, workers, context):
    assert equal(loaded(augmented, workers, context), loaded(augmented))


def test_workers_start_where_opencv_had_threads_before(paired_folder):
    large = np.zeros((2000, 2000, 3), np.uint8)
    cv2.setNumThreads(2)
    cv2.warpAffine(large, np.eye(2, 3), (2000, 2000))
    config = DataConfig(folder=paired_folder)
    dataset = build_dataset(config, find_training(config), EVERYTHING, seed=7)
    assert equal(loaded(dataset, workers=1, context="fork"), loaded(dataset))


def test_batches_are_the_same_whatever_the_number_of_processes(augmented):
    assert equal(loaded(augmented, processes=2), loaded(augmented))


def test_batches_are_the_same_after_a_resume_in_the_middle_of_an_epoch(augmented):
    assert equal(loaded(augmented, start=1), loaded(augmented)[2:])


def test_unpaired_batches_are_the_same_whatever_the_number_of_workers(unpaired_folder):
    config = DataConfig(kind="unpaired", folder=unpaired_folder, source="a", target="b")
    dataset = build_dataset(config, find_training(config), EVERYTHING, seed=7)
    assert len(dataset) == 5
    assert equal(loaded(dataset, workers=2), loaded(dataset))


def test_small_pictures_are_padded_by_reflection_to_the_crop():
    row = np.array([[[1], [2], [3]]], np.uint8)
    assert Augmentation(Geometry(crop=5))([row], 0)[0][..., 0].tolist() == [[2, 1, 2, 3, 2]] * 5
    assert Augmentation(Geometry(crop=4))([np.full((1, 1, 1), 9, np.uint8)], 0)[0].shape == (4, 4, 1)


def test_flips_and_quarter_turns_give_all_eight_positions_alike():
    corners = np.array([[[0], [1]], [[2], [3]]], np.uint8)
    turn = Augmentation(Geometry(flip=True, flip_vertical=True, rotate90=True))
    positions = Counter(turn([corners], seed)[0].tobytes() for seed in range(800))
    assert len(positions) == 8
    assert 60 < min(positions.values()) <= max(positions.values()) < 140  # 100 each
    for flips, count in ((Geometry(flip=True), 2), (Geometry(flip=True, flip_vertical=True), 4)):
        positions = Counter(Augmentation(flips)([corners], seed)[0].tobytes() for seed in range(800))
        assert len(positions) == count
        assert min(positions.values()) > 0.75 * 800 / count


def test_where_a_crop_is_says_nothing_about_how_it_is_turned():
    ramp = np.arange(128, dtype=np.uint8).reshape(1, 128, 1).repeat(128, axis=0)
    cut = Augmentation(Geometry(crop=2, flip=True))
    both = Counter()
    for seed in range(800):
        row = cut([ramp], seed)[0][0, :, 0].astype(int)
        both[bool(row[0] > row[1]), bool(row[0] > 63)] += 1
    assert 150 < min(both.values()) <= max(both.values()) < 250  # 200 each


def test_an_augmentation_leaves_what_it_was_given_as_it_is(photographs):
    given = photographs[0].copy()
    given.setflags(write=False)  # as a cache gives it
    for seed in range(8):
        Augmentation(EVERYTHING)([given, given], seed)
    assert np.array_equal(given, photographs[0])


def test_seeds_of_neighbours_differ_and_repeat():
    assert sample_seed(0, 1, 2) == sample_seed(0, 1, 2)
    assert len({sample_seed(a, b, c) for a in range(8) for b in range(8) for c in range(8)}) == 512


# Splits


def test_a_folder_without_val_has_no_validation_split(paired_folder):
    config = DataConfig(folder=paired_folder)
    assert str(find_training(config)) == "8 pairs"
    assert len(find_split(config, "val").pairs) == 4
    assert find_split(config, "test") is None


def test_the_fingerprint_follows_the_files_and_not_the_place(tmp_path, photographs):
    one = find_training(write_pairs(tmp_path / "one", photographs[:2], photographs[:2])).fingerprint(tmp_path / "one")
    two = find_training(write_pairs(tmp_path / "two", photographs[:2], photographs[:2])).fingerprint(tmp_path / "two")
    other = find_training(write_pairs(tmp_path / "other", photographs[:1], photographs[:1]))
    assert one == two != other.fingerprint(tmp_path / "other")


def test_a_missing_data_set_is_refused(tmp_path):
    with pytest.raises(ImageError, match="no data set was given: name its folder with --data DIR"):
        find_training(DataConfig())
    with pytest.raises(ImageError, match=r"has no folder train/: give a prepared folder .* with train/source and"):
        find_training(DataConfig(folder=tmp_path))
    with pytest.raises(ImageError, match=r"has no folder train/: .* with train/ and, for validation, val/"):
        find_training(DataConfig(folder=tmp_path, kind="side_by_side"))


def test_errors_of_a_split_name_it(tmp_path, photographs):
    config = write_pairs(tmp_path / "a", photographs[:3], photographs[:2])
    with pytest.raises(ImageError, match=r"split 'train': 1 of 3 images in .*train/source have no partner in .*target"):
        find_training(config)
    config = write_pairs(tmp_path / "b", photographs[:1], [photographs[0][:20]], split="val")
    with pytest.raises(ImageError, match=r"split 'val': 1 of 1 pairs differ in size.*: 0 \(40 x 48 and 40 x 20\)"):
        find_split(config, "val")
    (tmp_path / "c" / "train").mkdir(parents=True)
    write_picture(from_array(photographs[0][:, :5]), tmp_path / "c" / "train" / "odd.png")
    with pytest.raises(ImageError, match=r"split 'train': 1 of 1 side-by-side images have an odd width"):
        find_training(DataConfig(folder=tmp_path / "c", kind="side_by_side"))
    with pytest.raises(
        ImageError, match=r"val has no folder 'a', it has source, target: name yours with --data\.source"
    ):
        find_split(DataConfig(folder=tmp_path / "b", kind="unpaired", source="a", target="b"), "val")


def test_pictures_of_several_sizes_in_a_batch_are_refused_by_name(tmp_path, photographs):
    arrays = [photographs[0], photographs[1][:30], photographs[2]]
    config = write_pairs(tmp_path, arrays, arrays)
    dataset = build_dataset(config, find_training(config), Geometry(), seed=0)
    with pytest.raises(ImageError, match=r"one size, got 40 x 30 \(1\), 40 x 48 \(0\) \(W x H\): set data.crop, or"):
        dataset.collate([dataset[Draw(0, 0, (0,))], dataset[Draw(0, 1, (1,))]])


def test_a_picture_of_odd_width_has_no_halves():
    with pytest.raises(ImageError, match="a side-by-side image needs an even width, got 3"):
        cut_in_half(Picture(np.zeros((2, 3, 1), np.uint8)))


def test_an_image_that_breaks_later_is_named_by_the_loader(paired_folder, augmented):
    path = augmented.pairs[0].source
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ImageError, match=r"cannot read .*00.png: it is truncated or damaged"):
        loaded(augmented)
    with pytest.raises(ImageError, match=r"cannot read .*00.png: it is truncated or damaged"):
        loaded(augmented, workers=1)


@pytest.mark.parametrize(
    "wrong", [{"crop": 0}, {"zoom": 1.0}, {"rotate": 181}, {"workers": -1}, {"kind": "pair"}, {"flop": True}]
)
def test_wrong_values_of_the_section_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DataConfig(**wrong)


# Cache


@pytest.mark.parametrize("kind", KINDS)
def test_the_cache_gives_what_the_file_gives(tmp_path, photographs, kind):
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for path, photograph in zip(paths, photographs, strict=False):
        write_picture(from_array(kinds(photograph)[kind]), path)
    cache = PictureCache.build(paths, tmp_path / "cache")
    for path in paths:
        cached, read = cache.read(path), read_picture(path)
        assert cached.info == read.info
        assert np.array_equal(cached.pixels, read.pixels)
        assert (cached.alpha is None) == (read.alpha is None)
        assert read.alpha is None or np.array_equal(cached.alpha, read.alpha)
    with pytest.raises(KeyError, match=r"other\.png"):
        cache.read(tmp_path / "other.png")


@pytest.mark.parametrize(("workers", "context"), [(0, None), (2, "spawn")])
def test_batches_are_the_same_with_and_without_the_cache(paired_folder, augmented, workers, context):
    cache = PictureCache.build(find_training(DataConfig(folder=paired_folder)).files(), paired_folder / "cache")
    for pair in augmented.pairs:
        assert not cache.read(pair.source).pixels.flags.writeable
    expected = loaded(augmented)
    augmented.loader = replace(augmented.loader, store=cache)
    for pair in augmented.pairs:
        pair.source.unlink()  # not read any more
    assert equal(loaded(augmented, workers, context), expected)


def test_the_cache_is_opened_again_and_rebuilt_when_a_file_changes(tmp_path, photographs):
    path = tmp_path / "a.png"
    write_picture(from_array(photographs[0]), path)
    first = PictureCache.build([path], tmp_path / "cache")
    made = (first.folder / "pixels.bin").stat().st_mtime_ns
    again = PictureCache.build([path], tmp_path / "cache")
    assert again.folder == first.folder
    assert (again.folder / "pixels.bin").stat().st_mtime_ns == made
    write_picture(from_array(photographs[1]), path)
    changed = PictureCache.build([path], tmp_path / "cache")
    assert np.array_equal(changed.read(path).pixels, photographs[1])


def build_and_sum(paths, root, barrier, sums):
    barrier.wait()
    cache = PictureCache.build(paths, root)
    sums.put(sum(int(cache.read(path).pixels.sum()) for path in paths))


def test_processes_that_build_the_cache_at_once_all_get_it_whole(tmp_path, paired_folder):
    paths = find_training(DataConfig(folder=paired_folder)).files()
    context = multiprocessing.get_context("fork")
    barrier, sums = context.Barrier(4), context.Queue()
    builders = [context.Process(target=build_and_sum, args=(paths, tmp_path / "c", barrier, sums)) for _ in range(4)]
    for builder in builders:
        builder.start()
    assert {sums.get(timeout=60) for _ in builders} == {sum(int(read_picture(path).pixels.sum()) for path in paths)}
    for builder in builders:
        builder.join()
        assert builder.exitcode == 0
    assert len(os.listdir(tmp_path / "c")) == 1  # nothing is left aside


def test_a_broken_image_leaves_no_cache(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"cannot read .*a.png: the file is empty"):
        PictureCache.build([tmp_path / "a.png"], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
