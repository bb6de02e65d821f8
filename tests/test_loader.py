"""The fast ways of a sample: decoded cache, stored values, prefetching, geometry on the device."""

import logging
import os
import pickle
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, small_recipe
from skimage import data as skimage_data

from translate.data import cache as cache_module
from translate.data.augment import UNMOVED, Augmentation, Geometry, draw_moves, draw_seed, resize_array
from translate.data.build import build_dataset
from translate.data.cache import PictureCache
from translate.data.device_moves import move_on_device, places_of, result_side
from translate.data.images import ImageError, Picture, from_array, read_picture, write_picture
from translate.data.intensity import IntensityRange, picture_to_tensor
from translate.data.loading import load
from translate.data.prefetch import in_thread
from translate.data.sampling import Draw, StepSampler
from translate.data.splits import DataConfig, find_training
from translate.data.stored import stack_stored, stored_to_model
from translate.data.working_size import WorkingSize
from translate.recipe import ConfigError
from translate.training.checks import check_recipe_fits
from translate.training.pictures import check_pictures
from translate.training.run_folder import MAY_CHANGE
from translate.training.setup import build_datasets, find_files

CROPS = Geometry(crop=24, flip=True, flip_vertical=True, rotate90=True)
EVERYTHING = replace(CROPS, zoom=0.2, rotate=30)
PLAIN = Geometry(flip=True)


def written(folder, photographs):
    paths = [folder / f"{index}.png" for index in range(len(photographs))]
    for path, photograph in zip(paths, photographs, strict=True):
        write_picture(from_array(photograph), path)
    return paths


# The cache


@pytest.mark.parametrize(
    "size", [WorkingSize(30), WorkingSize(frame=30), WorkingSize(30, halves=True), WorkingSize(60)]
)
def test_the_cache_keeps_pictures_in_the_size_that_a_sample_would_bring_them_to(tmp_path, photographs, size):
    rgba = np.dstack([photographs[1], photographs[0][..., 0]])
    paths = written(tmp_path, [photographs[0], rgba, photographs[2].astype(np.uint16) * 257])
    cache = PictureCache.build(paths, tmp_path / "cache", size=size)
    for path in paths:
        picture, cached = read_picture(path), cache.read(path)
        halves = np.split(picture.pixels, 2, axis=1) if size.halves else [picture.pixels]
        expected = np.hstack([resize_array(half, size.resize, size.frame) for half in halves])
        assert np.array_equal(cached.pixels, expected)
        assert size.of(picture.info) == cached.pixels.shape[:2]
        assert size.apply(cached) is cached
        assert (cached.alpha is None) == (picture.alpha is None)
    assert np.array_equal(cache.read(paths[1]).alpha, size.apply(read_picture(paths[1])).alpha)


@pytest.mark.parametrize("kind", ["paired", "side_by_side"])
def test_a_training_set_with_resize_gives_the_same_from_files_and_from_the_cache(tmp_path, photographs, kind):
    for index, photograph in enumerate(photographs[:4]):
        wide = np.hstack([photograph, 255 - photograph])
        sides = {"": wide} if kind == "side_by_side" else {"source": photograph, "target": 255 - photograph}
        for side, pixels in sides.items():
            (tmp_path / "train" / side).mkdir(parents=True, exist_ok=True)
            write_picture(from_array(pixels), tmp_path / "train" / side / f"{index}.png")
    recipe = small_recipe(tmp_path, data={"kind": kind, "resize": 36, "crop": 24, "workers": 0})
    sets = []
    for cached in (False, True):
        section = recipe.data.model_copy(update={"cache": cached})
        changed = recipe.model_copy(update={"data": section})
        sets.append(build_datasets(changed, find_files(changed), _nothing)[0])
    assert isinstance(sets[1].loader.store, PictureCache)
    assert sets[1].loader.store.file.index["height"].tolist() == [43] * len(sets[1].loader.store.rows)
    for place in range(8):
        one, other = (dataset[Draw(0, place, (place % 4,))] for dataset in sets)
        assert torch.equal(one.source, other.source)
        assert torch.equal(one.target, other.target)


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_a_damaged_cache_is_noticed_and_made_anew(tmp_path, photographs, caplog):
    paths = written(tmp_path, photographs[:3])
    folder = PictureCache.build(paths, tmp_path / "cache").folder
    whole = {name: (folder / name).read_bytes() for name in ("pixels.bin", "index.npy", "cache.json")}
    damages = {
        "pixels.bin": (
            whole["pixels.bin"][:7000] + b"\1\2\3" + whole["pixels.bin"][7003:],
            "damaged in picture 2 of 3",
        ),
        "index.npy": (whole["index.npy"][:-1] + b"\0", "index.npy has changed"),
        "cache.json": (b"{", "Expecting property name"),
    }
    for name, (bytes_, message) in damages.items():
        (folder / name).write_bytes(bytes_)
        caplog.clear()
        again = PictureCache.build(paths, tmp_path / "cache")
        assert message in caplog.text
        assert {n: (again.folder / n).read_bytes() for n in whole} == whole
    (folder / "pixels.bin").write_bytes(whole["pixels.bin"][:-1])
    PictureCache.build(paths, tmp_path / "cache", check=False)
    assert "pixels.bin has 17279 bytes of 17280" in caplog.text
    (folder / "pixels.bin").write_bytes(damages["pixels.bin"][0])
    unchecked = PictureCache.build(paths, tmp_path / "cache", check=False)  # of the other processes of a run
    assert (unchecked.folder / "pixels.bin").read_bytes() == damages["pixels.bin"][0]


def test_a_whole_cache_that_another_process_made_meanwhile_stays(tmp_path, photographs):
    paths = written(tmp_path, photographs[:3])
    folder = PictureCache.build(paths, tmp_path / "cache").folder
    cache_module._remove_damaged(folder, check=True)
    assert folder.is_dir()
    (folder / "cache.json").write_text("{")
    cache_module._remove_damaged(folder, check=True)
    assert not folder.exists()


def test_a_cache_takes_the_place_of_one_of_older_files_and_of_no_other(tmp_path, photographs):
    paths = written(tmp_path, photographs[:2])
    PictureCache.build(paths, tmp_path / "cache", size=WorkingSize(20))
    old = PictureCache.build(paths, tmp_path / "cache")
    kept = old.read(paths[1]).pixels
    write_picture(from_array(photographs[3]), paths[0])
    new = PictureCache.build(paths, tmp_path / "cache")
    assert not old.folder.exists()
    assert np.array_equal(kept, photographs[1])  # who has it open keeps it
    assert np.array_equal(new.read(paths[0]).pixels, photographs[3])
    assert len(os.listdir(tmp_path / "cache")) == 2


def test_what_a_killed_process_left_aside_is_removed(tmp_path, photographs):
    paths = written(tmp_path, photographs[:1])
    host = os.uname().nodename
    left = tmp_path / "cache" / f".x-{host}-999999999"
    running = tmp_path / "cache" / f".x-{host}-{os.getpid()}"
    for folder in (left, running):
        folder.mkdir(parents=True)
    PictureCache.build(paths, tmp_path / "cache")
    assert (left.exists(), running.exists()) == (False, True)


def test_a_cache_over_its_limit_is_refused_before_anything_is_decoded(tmp_path, photographs, monkeypatch):
    paths = written(tmp_path, photographs[:2])
    two = 2 * (48 * 40 * 3 + 16) / 2**30
    with pytest.raises(
        ImageError, match=r"2 decoded pictures take 1\.08e-05 GiB, and data\.cache_limit is 1e-05: raise"
    ):
        PictureCache.build(paths, tmp_path / "cache", limit=1e-5)
    monkeypatch.setattr(cache_module, "KEPT_FREE", 2**62)
    with pytest.raises(ImageError, match=r"take 1\.08e-05 GiB, and the disk of .*cache has .* to spare: free some"):
        PictureCache.build(paths, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    monkeypatch.undo()
    PictureCache.build(paths, tmp_path / "cache", limit=two)


def test_where_nothing_can_be_written_the_cache_is_refused(tmp_path, photographs):
    paths = written(tmp_path, photographs[:1])
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(
        ImageError, match=r"cannot make a cache in .*cache \(.*\): make it writable, or set data\.cache"
    ):
        PictureCache.build(paths, tmp_path / "cache")


def test_an_error_while_decoding_leaves_nothing(tmp_path, photographs):
    paths = written(tmp_path, photographs[:3])
    paths[1].write_bytes(paths[1].read_bytes()[:1000])
    with pytest.raises(ImageError, match=r"cannot read .*1\.png: it is truncated or damaged"):
        PictureCache.build(paths, tmp_path / "cache")
    assert os.listdir(tmp_path / "cache") == []


def test_where_a_cache_is_made_is_said(tmp_path, photographs, caplog):
    paths = written(tmp_path, photographs[:1])
    with caplog.at_level(logging.INFO, "translate.data.cache"):
        PictureCache.build(paths, tmp_path / "cache")
        PictureCache.build(paths, tmp_path / "cache")
    assert [record.message.split(" ")[0] for record in caplog.records] == ["decoding", "decoded", "checked"]


# Stored values


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("given", "channels"), [(1, 1), (3, 3), (1, 3), (3, 1)])
@pytest.mark.parametrize("limits", [None, (0, 200), (100, 200)])
def test_the_device_makes_of_stored_values_what_the_host_would(dtype, given, channels, limits):
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)
    pixels = np.stack([np.roll(levels, 10 * channel).reshape(16, -1) for channel in range(given)], axis=2)
    value_range = IntensityRange(*limits, "x") if limits else None
    expected = picture_to_tensor(Picture(pixels), channels, value_range)
    stored = stack_stored([Picture(pixels)] * 2, [UNMOVED] * 2)
    assert stored.shape == (2, given, *pixels.shape[:2])
    made = stored_to_model(stored, channels, value_range)
    assert made.dtype == torch.float32
    assert made.is_contiguous()
    span = expected.abs().max().item()
    torch.testing.assert_close(made, expected.expand(2, -1, -1, -1), rtol=0, atol=2.4e-7 * span)
    if limits is None:
        assert (made.min() >= -1, made.max() <= 1) == (True, True)


def test_batches_travel_as_they_are_stored_only_where_the_host_has_nothing_to_do(tmp_path, photographs):
    rgba = [np.dstack([photographs[1], photographs[0][..., 0]]), photographs[1]]
    kinds = {"8": photographs[:2], "16": [p.astype(np.uint16) * 257 for p in photographs[:2]], "alpha": rgba}
    travelled = {}
    for name, arrays in kinds.items():
        for side in ("source", "target"):
            (tmp_path / name / "train" / side).mkdir(parents=True)
            written(tmp_path / name / "train" / side, arrays)
        config = DataConfig(folder=tmp_path / name)
        for tones in (None, config.model_copy(update={"invert": True}).training_tones()):
            dataset = build_dataset(config, find_training(config), PLAIN, 0, tones=tones)
            draws = [Draw(0, place, (place % 2,)) for place in range(4)]
            batch = dataset.batch(draws)
            travelled[name, tones is None] = batch.source.dtype
            for index, draw in enumerate(draws):
                assert torch.equal(dataset.to_model(batch).source[index], dataset[draw].source)
                assert torch.equal(dataset.to_model(batch).target[index], dataset[draw].target)
    assert travelled == {
        ("8", True): torch.uint8,
        ("16", True): torch.uint16,
        ("alpha", True): torch.float32,
        ("8", False): torch.float32,
        ("16", False): torch.float32,
        ("alpha", False): torch.float32,
    }


# Geometry


def test_turning_and_zooming_keeps_its_distribution_and_says_nothing_about_the_crop():
    ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))[..., None]
    turn = Augmentation(Geometry(zoom=0.2, rotate=30, crop=33))
    both = Counter()
    for seed in range(200):
        moved = turn([ramp], seed)[0][..., 0]
        angle = np.arctan2(moved[20, 16] - moved[12, 16], moved[16, 20] - moved[16, 12])
        assert abs(angle) < np.deg2rad(42)  # 30, sheared by different zooms of the sides
        both[bool(angle > 0), draw_moves(turn.geometry, seed).across > 0.5] += 1
    assert min(both.values()) > 30  # 50 each


@pytest.mark.parametrize("geometry", [CROPS, Geometry(crop=60, flip=True, rotate90=True), Geometry(flip_vertical=True)])
def test_the_device_crops_flips_and_turns_as_the_host_does(geometry):
    photograph = skimage_data.astronaut()[60:108, 100:155]
    images = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    on_host = Augmentation(geometry)
    seeds = list(range(24))
    moved = move_on_device(
        images.expand(24, -1, -1, -1), places_of(geometry, seeds, 48, 55), result_side(geometry, 48, 55)
    )
    for seed in seeds:
        expected = torch.from_numpy(np.ascontiguousarray(on_host([photograph], seed)[0])).permute(2, 0, 1) / 127.5 - 1
        torch.testing.assert_close(moved[seed], expected, rtol=0, atol=2e-5)


def test_the_device_zooms_and_rotates_about_the_middle_by_as_much_as_the_host():
    ramps = torch.stack(torch.meshgrid(torch.arange(65.0), torch.arange(81.0), indexing="ij"))[None]
    geometry = Geometry(zoom=0.2, rotate=30)
    zooms, angles = [], []
    for seed in range(300):
        y, x = move_on_device(ramps, places_of(geometry, [seed], 65, 81), (65, 81))[0]
        torch.testing.assert_close(torch.stack([y[32, 40], x[32, 40]]), torch.tensor([32.0, 40.0]), rtol=0, atol=1e-3)
        along = torch.stack([x[32, 45] - x[32, 35], x[37, 40] - x[27, 40]]) / 10  # what x depends on
        zooms.append(1 / along.norm().item())
        angles.append(torch.rad2deg(torch.atan2(-along[1], along[0])).item())
    assert (min(zooms) >= 0.799, max(zooms) <= 1.201) == (True, True)
    assert (min(angles) > -30.01, max(angles) < 30.01) == (True, True)
    assert np.std(zooms) == pytest.approx(0.4 / 12**0.5, rel=0.1)
    assert np.std(angles) == pytest.approx(60 / 12**0.5, rel=0.1)


def test_on_the_device_pairs_move_alike_whatever_else_is_in_the_batch(paired_folder):
    config = DataConfig(folder=paired_folder, target="source", augment_on="device")
    dataset = build_dataset(config, find_training(config), EVERYTHING, seed=3)
    draws = [Draw(epoch, place, (place,)) for epoch in (0, 1) for place in range(4)]
    batch = dataset.batch(draws)
    assert (batch.source.shape, batch.places.shape) == ((8, 1, 48, 40), (8, 2, 3))
    made = dataset.to_model(batch)
    assert (made.source.shape, made.places) == ((8, 3, 24, 24), None)
    assert torch.equal(made.source, made.target)
    assert len({image.numpy().tobytes() for image in made.source}) == 8
    alone = [dataset[draw].source for draw in draws]
    torch.testing.assert_close(torch.stack(alone), made.source, rtol=0, atol=0)


def test_on_the_device_both_sides_of_unpaired_data_move_on_their_own(unpaired_folder):
    config = DataConfig(kind="unpaired", folder=unpaired_folder, source="a", target="b", augment_on="device")
    dataset = build_dataset(config, find_training(config), EVERYTHING, seed=3)
    batch = dataset.batch([Draw(0, 0, (0, 0)), Draw(0, 1, (1, 1))])
    assert not torch.equal(batch.places_a, batch.places_b)
    made = dataset.to_model(batch)
    assert made.a.shape == made.b.shape == (2, 3, 24, 24)
    assert made.places_a is made.places_b is None


def test_what_the_device_cannot_move_is_refused(tmp_path, paired_folder, photographs):
    for wrong in ({"kind": "degraded", "scale": 2}, {"redraw": 0.5}):
        recipe = small_recipe(paired_folder, data={"augment_on": "device", **wrong})
        if "scale" in wrong:
            recipe = recipe.model_copy(update={"objective": small_recipe(paired_folder).objective})
        with pytest.raises(ConfigError, match=r"data\.augment_on device moves pictures of one scale|objective\.name"):
            check_recipe_fits(recipe)
    for side in ("source", "target"):
        (tmp_path / "two" / "train" / side).mkdir(parents=True)
        written(tmp_path / "two" / "train" / side, [photographs[0], photographs[1][:30]])
    recipe = small_recipe(tmp_path / "two", data={"augment_on": "device", "crop": 16})
    with pytest.raises(ConfigError, match=r"one size, got .*: set data\.augment_on to cpu, and data\.crop"):
        check_pictures(recipe, find_files(recipe))
    dataset = build_dataset(recipe.data, find_training(recipe.data), CROPS, 0)
    with pytest.raises(
        ImageError, match=r"one size, got|data\.augment_on device needs pictures of one size, got 40 x 30"
    ):
        dataset.batch([Draw(0, 0, (0,)), Draw(0, 1, (1,))])
    with pytest.raises(ImageError, match=r"pictures of 55 x 48 \(W x H\) cannot be turned by 90 degrees in one batch"):
        places_of(Geometry(rotate90=True), [0], 48, 55)


def test_seeds_of_draws_repeat_and_spread_over_all_bits():
    seeds = {draw_seed(run, epoch, place) for run in range(8) for epoch in range(8) for place in range(64)}
    assert len(seeds) == 4096
    assert draw_seed(0, 1, 2) == draw_seed(0, 1, 2) != draw_seed(0, 1, 2, 0)
    assert min(np.mean([seed >> bit & 1 for seed in seeds]) for bit in range(32)) > 0.46
    assert max(np.mean([seed >> bit & 1 for seed in seeds]) for bit in range(32)) < 0.54


# Loading ahead


@pytest.mark.parametrize("where", ["cpu", "device"])
def test_batches_are_the_same_from_a_thread_and_from_processes_and_after_a_resume(paired_folder, where):
    config = DataConfig(folder=paired_folder, augment_on=where)
    dataset = build_dataset(config, find_training(config), EVERYTHING, seed=7)

    def batches(processes, start=0, rank=0, of=1):
        sampler = StepSampler(dataset.lengths, 4 // of, 7, start, 4, rank, of)
        return [dataset.to_model(batch) for batch in load(dataset, sampler, processes)]

    thread, workers, resumed = batches(0), batches(2), batches(0, start=1)
    halves = [batches(0, rank=rank, of=2) for rank in (0, 1)]
    assert len(thread) == 4
    for index, batch in enumerate(thread):
        both = torch.cat([half[index].source for half in halves])
        for other in (workers[index].source, both, *([resumed[index - 1].source] if index else [])):
            assert torch.equal(batch.source, other)


def test_a_thread_hands_over_in_order_raises_where_it_failed_and_ends_when_it_is_closed():
    def counting():
        yield from range(3)
        raise ImageError("broken")

    items = in_thread(counting())
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ImageError, match="broken"):
        next(items)
    before = threading.active_count()
    endless = in_thread(iter(int, 1), ahead=2)
    assert next(endless) == 0
    assert threading.active_count() == before + 1
    endless.close()
    assert threading.active_count() == before


def test_a_cache_goes_to_a_spawned_worker_without_its_pixels(tmp_path, photographs):
    paths = written(tmp_path, photographs)
    cache = PictureCache.build(paths, tmp_path / "cache")
    sent = pickle.dumps(cache)
    assert len(sent) < 4000 < sum(photograph.nbytes for photograph in photographs)
    assert np.array_equal(pickle.loads(sent).read(paths[2]).pixels, photographs[2])


def test_processes_are_for_decoding_files_for_a_gpu_unless_they_are_named():
    asked = [(device, cache, workers) for device in ("cpu", "cuda") for cache in (True, False) for workers in (None, 3)]
    chosen = [DataConfig(cache=cache, workers=workers).processes(device) for device, cache, workers in asked]
    assert chosen == [0, 3, 0, 3, 0, 3, 2, 3]
    assert "data.cache_limit" in MAY_CHANGE


def test_the_loader_benchmark_runs(tmp_path, command_of):
    done = command_of("loader.py", "--images", 4, "--samples", 2, "--rounds", 1)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| published loader |") == 3
    assert done.stdout.count("| ours, with the cache |") == 3


@pytest.fixture
def command_of():
    import subprocess
    import sys

    def run(name, *arguments):
        words = [sys.executable, str(ROOT / "benchmarks" / name), *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)

    return run
