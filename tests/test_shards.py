"""Training from shards: the same files in the same order as from the folder, so the same batches; damage is named."""

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from conftest import ROOT, small_recipe
from safetensors.numpy import load_file, save_file
from torch.utils.data import DataLoader

from translate.data import shards as shards_module
from translate.data.augment import Geometry
from translate.data.build import build_dataset
from translate.data.cache import PictureCache
from translate.data.images import ImageError, from_array, read_picture, write_picture
from translate.data.loading import start_worker
from translate.data.sampling import StepSampler
from translate.data.shards import ShardPairs, Shards
from translate.data.splits import DataConfig, find_split, find_training
from translate.pipelines.preprocessing.shards import Packing, pack_shards
from translate.recipe import ConfigError
from translate.training.describe import describe
from translate.training.loop import train
from translate.training.pictures import check_pictures
from translate.training.setup import find_files

SIDES = ("source", "target")
GEOMETRY = Geometry(zoom=0.1, rotate=10, crop=24, flip=True)
TREACHEROUS = ["a", "a-b", "a.b", "a/c", "a b", "Z", "ä/ö", "a/c-d", "_a", "a!"]


def write(root, name, array):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    write_picture(from_array(array), root / name)


def pack(folder, output, size=0.02):
    pack_shards(folder, output, Packing(shard_size=size), show_progress=False)
    return output


def both(folder, tmp_path, **settings):
    """The training split from the folder and from its shards, with their settings."""
    output = pack(folder, tmp_path / "shards") if not (tmp_path / "shards").exists() else tmp_path / "shards"
    configs = [DataConfig(folder=place, **settings) for place in (folder, output)]
    return [(config, find_training(config)) for config in configs]


def loaded(dataset, workers=0, context=None, rank=0, processes=1, start=0):
    """Every sample of the batches from `start` to 9, of one process."""
    sampler = StepSampler(dataset.lengths, 2 // processes, 7, start, 9, rank, processes)
    batches = DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=start_worker,
        multiprocessing_context=context,
        timeout=120 if workers else 0,
    )
    return [sample for batch in batches for sample in batch]


def assert_same(ones, others):
    assert len(ones) == len(others) > 0
    for one, other in zip(ones, others, strict=True):
        assert one._asdict().keys() == other._asdict().keys()
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.fixture
def pairs(tmp_path, photographs):
    """Pairs of every kind: 8- and 16-bit, grey and colour, with and without alpha, in folders."""
    for number, photograph in enumerate(photographs):
        grey, alpha = photograph.mean(axis=2).astype(np.uint8), photograph[..., :1]
        kinds = [grey, photograph, np.dstack([photograph, alpha]), grey.astype(np.uint16) * 257]
        for split in ("train", "val"):
            for side, array in (("source", kinds[number % 4]), ("target", photograph)):
                write(tmp_path / "in" / split / side, f"{'sub/' * (number % 2)}{number:02d}.png", array)
    return tmp_path / "in"


@pytest.fixture
def packed(pairs, tmp_path):
    return pack(pairs, tmp_path / "out")


KINDS = {
    "paired": {},
    "side_by_side": {"kind": "side_by_side"},
    "unpaired": {"kind": "unpaired"},
    "degraded": {"kind": "degraded", "scale": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_every_kind_are_those_of_the_folder(tmp_path, pairs, kind):
    if kind == "degraded":
        shutil.rmtree(pairs)
        for number in range(4):
            write(pairs / "train/target", f"{number}.png", np.full((64, 60, 3), 40 * number, np.uint8))
    geometry = Geometry(crop=24, flip=True) if kind == "degraded" else GEOMETRY
    found = both(pairs, tmp_path, **KINDS[kind])
    datasets = [build_dataset(config, split, geometry, seed=3) for config, split in found]
    assert_same(*(loaded(dataset) for dataset in datasets))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_with_workers_in_mid_epoch_and_in_two_processes(tmp_path, pairs, workers):
    folder, shards = (build_dataset(c, s, GEOMETRY, seed=3) for c, s in both(pairs, tmp_path))
    whole = loaded(folder)
    assert_same(loaded(shards, workers), whole)
    assert_same(loaded(shards, workers, start=5), whole[10:])
    for rank in (0, 1):
        assert_same(loaded(shards, workers, rank=rank, processes=2), whole[rank::2])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_worker_opens_the_shards_by_itself(tmp_path, pairs, context):
    folder, shards = (build_dataset(c, s, GEOMETRY, seed=3) for c, s in both(pairs, tmp_path))
    loaded(shards)  # shards are open when the worker starts
    assert_same(loaded(shards, 1, context), loaded(folder))


def test_slices_of_scans_keep_their_values(tmp_path):
    for number in range(3):
        values = np.linspace(-1000, 1000, 32 * 32, dtype=np.float32).reshape(32, 32) + number
        write(tmp_path / "in/train/source", f"p001_s01_{number:04d}.tif", values)
    scans = {"modality": "CT", "source_channels": 1, "target_channels": 1}
    scans |= {f"{side}_range": {"low": -1024, "high": 1023, "units": "HU"} for side in ("source", "target")}
    found = both(tmp_path / "in", tmp_path, kind="blind_spot", **scans)
    assert_same(*(loaded(build_dataset(c, s, Geometry(flip=True), seed=3)) for c, s in found))
    for settings in ({"kind": "neighbouring_slices"}, {"neighbours": 1, "target": "source"}):
        config = DataConfig(folder=tmp_path / "shards", **scans, **settings)
        with pytest.raises(ImageError, match=r"looks for the slices beside a slice in a folder, and .*shards holds"):
            find_training(config)


def test_the_order_is_that_of_the_folder_however_files_are_named(tmp_path, photographs):
    for number, name in enumerate(TREACHEROUS):
        for side, suffix in (("source", ".png"), ("target", ".webp")):
            write(tmp_path / "in/train" / side, name + suffix, photographs[number % 5])
    for kind in ("paired", "side_by_side", "unpaired"):
        (config, folder), (shard_config, shards) = both(tmp_path / "in", tmp_path, kind=kind)

        def inside(split, root):
            pairs = [(p.name, *(path.relative_to(root) for path in p[1:])) for p in split.pairs]
            return pairs, *([p.relative_to(root) for p in paths] for paths in (split.a, split.b, split.files()))

        assert inside(folder, config.folder) == inside(shards, shard_config.folder)
        assert str(folder) == str(shards)
        assert folder.pairs[1:3] == [
            p._replace(source=config.folder / s, target=config.folder / t)
            for p in shards.pairs[1:3]
            for s, t in [[path.relative_to(shard_config.folder) for path in p[1:]]]
        ]


def test_names_with_suffixes_are_paired_as_in_the_folder(tmp_path, photographs):
    for name in ("a", "a-b", "sub/c"):
        write(tmp_path / "in/train/source", f"{name}_LR.png", photographs[0])
        write(tmp_path / "in/train/target", f"{name}x2.png", photographs[1])
    (_, folder), (_, shards) = both(tmp_path / "in", tmp_path, source_suffix="_LR", target_suffix="x2")
    assert [pair.name for pair in shards.pairs] == [pair.name for pair in folder.pairs] == ["a", "a-b", "sub/c"]
    assert [pair.target.name for pair in shards.pairs] == ["ax2.png", "a-bx2.png", "cx2.png"]


@pytest.mark.parametrize("settings", [{}, {"kind": "unpaired"}, {"kind": "degraded"}, {"target": "source"}])
def test_the_fingerprint_is_that_of_the_folder(tmp_path, pairs, settings):
    (config, folder), (shard_config, shards) = both(pairs, tmp_path, **settings)
    assert shards.fingerprint(shard_config.folder) == folder.fingerprint(config.folder)


BROKEN = {
    "no partner": (lambda root: (root / "train/source/00.png").unlink(), {}),
    "no side": (lambda root: None, {"target": "photo"}),
    "two of a name": (lambda root: write(root / "train/source", "00.webp", np.zeros((48, 40, 3), np.uint8)), {}),
    "two of a name on both sides": (
        lambda root: [write(root / f"train/{side}", "00.webp", np.zeros((48, 40, 3), np.uint8)) for side in SIDES],
        {},
    ),
    "other size": (lambda root: write(root / "train/target", "00.png", np.zeros((9, 40, 3), np.uint8)), {}),
    "scale": (lambda root: None, {"scale": 2}),
    "odd width": (
        lambda root: write(root / "train/source", "00.png", np.zeros((9, 9, 3), np.uint8)),
        {"kind": "side_by_side"},
    ),
    "suffix": (lambda root: None, {"source_suffix": "_LR"}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_the_files_is_told_as_of_the_folder(tmp_path, pairs, case):
    spoil, settings = BROKEN[case]
    spoil(pairs)
    output, told = pack(pairs, tmp_path / "out"), []
    for place in (pairs, output):
        with pytest.raises(ImageError) as caught:
            find_training(DataConfig(folder=place, **settings))
        told.append(str(caught.value).replace(str(place), "DATA"))
    assert told[0] == told[1]


def test_a_split_that_is_not_there_is_none(tmp_path, pairs):
    shutil.rmtree(pairs / "val")
    output = pack(pairs, tmp_path / "out")
    assert find_split(DataConfig(folder=output), "val") is None


def test_a_run_that_began_with_the_folder_goes_on_with_its_shards_bit_for_bit(tmp_path, paired_folder):
    output, settings = pack(paired_folder, tmp_path / "shards"), {"workers": 0, "zoom": 0.1}
    whole = small_recipe(paired_folder, data=settings, training={"steps": 6})
    train(whole, tmp_path / "whole", show_progress=False)
    train(small_recipe(paired_folder, data=settings, training={"steps": 3}), tmp_path / "run", show_progress=False)
    train(small_recipe(output, data=settings, training={"steps": 6}), tmp_path / "run", show_progress=False)
    weights = [load_file(tmp_path / run / "model/generator.safetensors") for run in ("whole", "run")]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    told = [json.loads((tmp_path / run / "model/config.json").read_text())["data"] for run in ("whole", "run")]
    assert told[0] == told[1]


def test_the_cache_takes_pictures_out_of_shards(tmp_path, packed, pairs):
    config = DataConfig(folder=packed)
    split = find_training(config)
    cache = PictureCache.build(split.files(), packed / "cache", source=split.source)
    path = split.files()[0]
    stored = read_picture(pairs / path.relative_to(packed)).pixels
    assert np.array_equal(cache.read(path).pixels, stored)
    recipe = small_recipe(packed, data={"cache": True, "source_channels": 3})
    assert train(recipe, tmp_path / "run", show_progress=False)["steps"] == 4


def test_the_dry_run_tells_of_shards_what_it_tells_of_the_folder(pairs, packed):
    told = [describe(small_recipe(place)).replace(str(place), "DATA") for place in (pairs, packed)]
    assert told[0] == told[1]
    assert "40 x 48 pixels (W x H), uint16 x 1, uint8 x 1, uint8 x 3 channels" in told[0]


def test_pictures_that_cannot_be_in_one_batch_are_found_as_in_the_folder(tmp_path, photographs):
    for number, width in enumerate((40, 40, 32)):
        for side in SIDES:
            write(tmp_path / "in/train" / side, f"{number}.png", photographs[0][:, :width])
    told = []
    for place in (tmp_path / "in", pack(tmp_path / "in", tmp_path / "out")):
        recipe = small_recipe(place, data={"crop": None})
        with pytest.raises(ConfigError, match=r"of one size, got 40 x 48 \(0\.png\), 32 x 48 \(2\.png\)") as caught:
            check_pictures(recipe, find_files(recipe))
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_too_small_sources_are_all_counted(tmp_path, photographs):
    for number in range(5):
        write(tmp_path / "in/train/source", f"{number}.png", photographs[0][:20, :20])
        write(tmp_path / "in/train/target", f"{number}.png", photographs[0][:40, :40])
    recipe = small_recipe(pack(tmp_path / "in", tmp_path / "out"), data={"scale": 2, "crop": 32})
    with pytest.raises(ConfigError, match=r"5 sources in train/ are smaller than data\.crop 32: 0\.png \(20 x 20\), 1"):
        check_pictures(recipe, find_files(recipe))


def test_a_flipped_bit_in_a_shard_is_found_when_the_picture_is_read(packed):
    split = find_training(DataConfig(folder=packed))
    path = split.files()[0]
    shard = packed / "train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    message = (
        f"cannot read {path}: it is damaged in the shard {shard}: copy the shard again, or pack the data set again"
    )
    with pytest.raises(ImageError, match=re.escape(message)):
        split.source.read(path)


def test_a_shard_that_is_cut_off_or_missing_is_named_before_training_starts(packed):
    shard = packed / "train-000001.tar"
    split, size = find_training(DataConfig(folder=packed)), shard.stat().st_size
    os.truncate(shard, 100)
    with pytest.raises(ImageError, match=rf"the shard {shard} has 100 bytes of {size}: copy it again, or pack"):
        find_training(DataConfig(folder=packed))
    inside = next(p for p in split.files() if split.source._columns["shard"][split.source._row(p)] == 1)
    with pytest.raises(ImageError, match=r"it is damaged in the shard .*train-000001"):
        split.source.read(inside)
    shard.unlink()
    with pytest.raises(ImageError, match=rf"the shard {shard} is missing: copy it again"):
        find_training(DataConfig(folder=packed))
    with pytest.raises(ImageError, match=r"the shard .*train-000001.tar cannot be read \(.*No such file"):
        Shards(packed).read(inside)


@pytest.mark.parametrize("place", [0.05, 0.1, 0.3, 0.6, 0.99])
def test_a_flipped_bit_in_the_index_is_found_at_once(packed, place):
    path = packed / "index.safetensors"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"index\.safetensors (is damaged|is of format)"):
        find_training(DataConfig(folder=packed))


@pytest.mark.parametrize("size", [0, 5, 200, 3000])
def test_an_index_that_is_cut_off_is_named(packed, size):
    os.truncate(packed / "index.safetensors", size)
    with pytest.raises(ImageError, match=r"index\.safetensors is damaged \(.*\): pack the data set again"):
        find_training(DataConfig(folder=packed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"version": 2},
            "is of format 'translate shards', version 2, this program reads 'translate shards', version 1",
        ),
        ({"format": "other"}, "is of format 'other', version 1, this program reads"),
        ({"more": 1}, r"is damaged \(it has not what it should have\): pack"),
    ],
)
def test_an_index_of_another_kind_is_refused(packed, change, message):
    path = packed / "index.safetensors"
    columns, header = load_file(path), path.read_bytes()[8:].split(b'"__metadata__":')[1]
    about = json.loads(json.JSONDecoder().raw_decode(header.decode(errors="replace"))[0]["about"])
    save_file(columns, path, {"about": json.dumps(about | change)})
    with pytest.raises(ImageError, match=message):
        find_training(DataConfig(folder=packed))
    save_file(columns, path)
    with pytest.raises(ImageError, match="is damaged"):
        find_training(DataConfig(folder=packed))


def test_a_file_that_is_not_in_the_shards_is_refused(packed):
    shards = Shards.open(packed)
    for path in (packed / "train/source/99.png", packed.parent / "in/train/source/00.png", packed / "zzz"):
        with pytest.raises(ImageError, match=r"cannot read .*: the shards in .*out hold no such file"):
            shards.read(path)


def test_more_shards_than_files_may_be_open_and_threads_are_no_trouble(packed, monkeypatch, pairs):
    monkeypatch.setattr(shards_module, "OPEN_SHARDS", 2)
    shards = Shards.open(packed)
    files = list(find_training(DataConfig(folder=packed)).files()) * 10
    assert len(shards.index.facts.shards) > 4
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(shards.content, files))
    assert contents == [(pairs / path.relative_to(packed)).read_bytes() for path in files]
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_worker_is_given_the_folder_and_the_rows_and_no_names(packed):
    pairs = find_training(DataConfig(folder=packed)).pairs
    rows = np.zeros(100_000, np.uint32)
    many = ShardPairs(pairs.shards, pairs.source, pairs.suffix, (rows, rows))
    assert many[99_999] == many[0]
    assert len(ForkingPickler.dumps(many)) < 4.1 * 100_000  # rows are sent once where both sides are the same


def test_a_relative_folder_works(packed, monkeypatch, pairs):
    monkeypatch.chdir(packed)
    split = find_training(DataConfig(folder="."))
    assert split.source.content(split.files()[0]) == (pairs / split.files()[0]).read_bytes()


def test_the_benchmark_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import shards as benchmark

    monkeypatch.setattr(
        "sys.argv", ["shards.py", "--files", "40", "--rounds", "1", "--reads", "10", "--shard-size", "0.1"]
    )
    benchmark.main()
    shown = capsys.readouterr().out
    assert "packing: 40 files" in shown
    for row in ("random access, decoded", "in their order, decoded", "process start to first batch and end"):
        assert f"| {row} | ms a" in shown
