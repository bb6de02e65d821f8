"""translate preprocess super-resolution: sub-images, their sources, the manifest, and running again."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from skimage import data as skimage_data

from translate.cli import main
from translate.config import read_section
from translate.data.augment import sample_seed
from translate.data.degradation_steps import apply
from translate.data.degrade import DegradationConfig, draw
from translate.data.folders import pair_folders
from translate.data.images import ImageError, from_array, read_picture, write_picture
from translate.data.imresize import imresize
from translate.data.splits import DataConfig, find_split, find_training
from translate.pipelines.journal import FOLDER
from translate.pipelines.preprocessing.dataset import Options
from translate.pipelines.preprocessing.super_resolution import Making, detail, prepare_super_resolution
from translate.recipe import ConfigError

SIZES = {"a": (97, 131), "b": (64, 80), "c": (70, 50), "sub/d": (96, 96)}  # H x W


def photograph(name):
    """A crop of a real photograph, RGB 8-bit; "c" is grey."""
    height, width = SIZES[name]
    top = 20 + 30 * sorted(SIZES).index(name)
    crop = np.ascontiguousarray(skimage_data.astronaut()[top : top + height, 150 : 150 + width])
    return crop[..., 1] if name == "c" else crop


@pytest.fixture
def raw(tmp_path):
    """raw/: four photographs of different sizes, one of them in sub/."""
    for name in SIZES:
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        write_picture(from_array(photograph(name)), tmp_path / "raw" / f"{name}.png")
    return tmp_path / "raw"


def one_picture(folder, array):
    """A folder with one picture, x.png."""
    folder.mkdir()
    write_picture(from_array(array), folder / "x.png")
    return folder


def prepare(capsys, *words):
    """Run translate preprocess super-resolution ... --json: the exit code and the summary."""
    capsys.readouterr()
    code = main(["preprocess", "super-resolution", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def refusal(capsys, *words):
    """The message of a command that could not be started."""
    capsys.readouterr()
    assert main(["preprocess", "super-resolution", *map(str, words)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, "Traceback" in captured.err) == ("", False)
    return captured.err


def manifest(out):
    return json.loads((out / "dataset.json").read_text())


def pixels(path):
    return read_picture(path).pixels


def pairs(out, split="train"):
    return pair_folders(out / split / "source", out / split / "target")


def parts(out):
    """Every pair of train/ with what the manifest says of its source and of its target."""
    made = manifest(out)["files"]
    return [(pair, *(made[path.relative_to(out).as_posix()] for path in pair[1:])) for pair in pairs(out)]


def cut(array, box, divisor=1):
    top, left, height, width = (length // divisor for length in box)
    return array[top : top + height, left : left + width]


def files(folder):
    """Every visible file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and FOLDER not in path.parts
    }


def places(folder):
    """Inode and time of every file but the manifest, which is written anew."""
    status = {name: (folder / name).stat() for name in files(folder) if name != "dataset.json"}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in status.items()}


def shrunk(array, factor):
    """The whole picture divided by an integer, as published inputs are made."""
    height, width = (side // factor for side in array.shape[:2])
    return imresize(array[: height * factor, : width * factor], (height, width))


def original(pair, without=""):
    """The photograph that a sub-image NAME_TOP_LEFT, or NAME_rFACTOR_TOP_LEFT, is cut from."""
    return np.atleast_3d(photograph(pair.name.rsplit("_", 2)[0].removesuffix(without)))


# What is written


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_a_source_is_the_crop_of_the_whole_picture_made_smaller(raw, tmp_path, capsys, scale):
    code, summary = prepare(capsys, raw, tmp_path / "out", "--scale", scale, "--tile", 33, "--split", "train")
    assert (code, summary["kind"], summary["failed"]) == (0, "paired", 0)
    found = parts(tmp_path / "out")
    assert summary["splits"] == {"train": len(found)}
    assert len(found) > 20
    for pair, source, target in found:
        box = target["box"]
        assert box == source["box"]
        assert [int(number) for number in pair.name.rsplit("_", 2)[1:]] == box[:2]
        assert np.array_equal(pixels(pair.target), cut(original(pair), box))
        assert np.array_equal(pixels(pair.source), cut(shrunk(original(pair), scale), box, scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("tile", [17, 33, 64, 1000])
def test_boxes_cover_every_pixel_of_a_multiple_of_the_scale(raw, tmp_path, capsys, scale, tile):
    prepare(capsys, raw, tmp_path / "out", "--scale", scale, "--tile", tile, "--split", "train")
    covered = {name: np.zeros([side // scale * scale for side in size], int) for name, size in SIZES.items()}
    for pair, _, target in parts(tmp_path / "out"):
        box = target["box"]
        assert all(number % scale == 0 for number in box)
        part = cut(covered[pair.name.rsplit("_", 2)[0]], box)
        assert list(part.shape) == box[2:]  # nothing beyond the border
        longest = tile // scale * scale
        assert part.shape == tuple(min(longest, side) for side in covered[pair.name.rsplit("_", 2)[0]].shape)
        part += 1
    assert all(count.min() >= 1 for count in covered.values())


def test_without_a_tile_pictures_stay_whole_and_keep_their_names(raw, tmp_path, capsys):
    code, summary = prepare(capsys, raw, tmp_path / "out", "--scale", 4, "--val", "0")
    assert (code, summary["splits"], summary["images"]) == (0, {"train": 4}, 8)
    found = find_training(DataConfig(folder=tmp_path / "out", scale=4)).pairs  # training accepts it
    assert [pair.name for pair in found] == sorted(SIZES)
    for pair in found:
        height, width = (side // 4 * 4 for side in SIZES[pair.name])
        assert np.array_equal(pixels(pair.target), np.atleast_3d(photograph(pair.name))[:height, :width])
        assert np.array_equal(pixels(pair.source), np.atleast_3d(shrunk(photograph(pair.name), 4)))


def test_each_reduction_gives_a_picture_of_its_own(raw, tmp_path, capsys):
    words = ("--scale", 2, "--tile", 24, "--reduce", 1, 2, "--val", 0)
    assert prepare(capsys, raw, tmp_path / "out", *words)[0] == 0
    factors = []
    for pair, facts, _ in parts(tmp_path / "out"):
        factors.append(facts["reduce"])
        assert ("_r2_" in pair.name) == (facts["reduce"] == 2)
        whole = shrunk(original(pair, "_r2"), facts["reduce"])
        assert np.array_equal(pixels(pair.target), cut(whole, facts["box"]))
        assert np.array_equal(pixels(pair.source), cut(shrunk(whole, 2), facts["box"], 2))
    assert factors.count(1) > factors.count(2) > 0


def test_pictures_are_split_and_not_their_parts(raw, tmp_path, capsys):
    words = ("--scale", 2, "--tile", 24, "--reduce", 1, 2, "--val", 0.5)
    _, summary = prepare(capsys, raw, tmp_path / "out", *words)
    train, val = (
        find_training(DataConfig(folder=tmp_path / "out", scale=2)),
        find_split(DataConfig(folder=tmp_path / "out", scale=2), "val"),
    )
    assert summary["splits"] == {"train": len(train.pairs), "val": len(val.pairs)}
    names = [{pair.name.rsplit("_", 2)[0].removesuffix("_r2") for pair in split.pairs} for split in (train, val)]
    assert [len(part) for part in names] == [2, 2]
    assert names[0] | names[1] == set(SIZES)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_16_bits_and_alpha_are_made_smaller_exactly(tmp_path, capsys, samples):
    deep = np.dstack([photograph("a"), photograph("a")[..., :1]])[..., 4 - samples :].astype(np.uint16) * 257
    assert prepare(capsys, one_picture(tmp_path / "raw", deep), tmp_path / "out", "--scale", 3, "--tile", 30)[0] == 0
    whole = from_array(deep)
    for pair, _, facts in parts(tmp_path / "out"):
        box = facts["box"]
        source, target = read_picture(pair.source), read_picture(pair.target)
        assert source.pixels.dtype == target.pixels.dtype == np.uint16
        assert np.array_equal(target.pixels, cut(whole.pixels, box))
        assert np.array_equal(source.pixels, cut(shrunk(whole.pixels, 3), box, 3))
        if whole.alpha is not None:
            assert np.array_equal(source.alpha, cut(shrunk(whole.alpha, 3), box, 3))


def test_pictures_without_loss_are_written_for_jpegs(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    write_picture(from_array(photograph("a")), tmp_path / "raw" / "x.jpg")
    prepare(capsys, tmp_path / "raw", tmp_path / "out", "--scale", 2, "--split", "train")
    assert files(tmp_path / "out").keys() == {"dataset.json", "train/source/x.png", "train/target/x.png"}
    assert np.array_equal(pixels(tmp_path / "out/train/target/x.png"), pixels(tmp_path / "raw/x.jpg")[:96, :130])


def test_the_words_tell_the_counts(raw, tmp_path, capsys):
    assert main(["preprocess", "super-resolution", str(raw), str(tmp_path / "out"), "--scale", "2"]) == 0
    assert capsys.readouterr().out == f"pairs: train 3, val 1; 0 files failed. Manifest: {tmp_path}/out/dataset.json\n"


# Detail


def test_detail_is_the_mean_difference_of_neighbours_in_grey_levels():
    stripes = np.tile([0, 10], (4, 2)).astype(np.uint8)  # 10 to the right, 0 downwards
    assert detail(from_array(stripes)) == 5
    assert detail(from_array(stripes.astype(np.uint16) * 257)) == 5
    assert detail(from_array(stripes.astype(np.float32) / 255)) == pytest.approx(5)
    assert detail(from_array(np.array([[0, 4, 8]], np.uint8))) == 4  # there is one direction alone
    assert detail(from_array(np.full((1, 1), 9, np.uint8))) == 0


def test_parts_without_detail_are_left_out_on_both_sides(tmp_path, capsys):
    sky_above = photograph("sub/d").copy()
    sky_above[:48] = 200
    raw = one_picture(tmp_path / "raw", sky_above)
    words = (raw, tmp_path / "out", "--scale", 2, "--tile", 24, "--val", 0)
    code, summary = prepare(capsys, *words, "--min-detail", 1)
    assert (code, summary["splits"], summary["images"], summary["failed"]) == (0, {"train": 8}, 16, 0)
    assert sorted({pair.name.split("_")[1] for pair in pairs(tmp_path / "out")}) == ["48", "72"]
    assert manifest(tmp_path / "out")["splits"]["train"]["min_detail"] == 1
    assert len(manifest(tmp_path / "out")["files"]) == 16


def test_another_detail_takes_parts_away_and_brings_them_back(tmp_path, capsys):
    sky_above = photograph("sub/d").copy()
    sky_above[:48] = 200
    raw = one_picture(tmp_path / "raw", sky_above)
    for number, least in enumerate((0, 1, 0, 2.5)):
        words = ("--scale", 2, "--tile", 24, "--val", 0, "--min-detail", least)
        prepare(capsys, raw, tmp_path / "out", *words)
        prepare(capsys, raw, tmp_path / f"new{number}", *words)
        assert files(tmp_path / "out") == files(tmp_path / f"new{number}")


def test_values_that_are_not_finite_leave_no_source_alone(tmp_path, capsys):
    broken = np.zeros((16, 16), np.float32)
    broken[3, 3] = np.nan
    (tmp_path / "raw").mkdir()
    write_picture(from_array(broken), tmp_path / "raw" / "x.tif")
    _, summary = prepare(
        capsys, tmp_path / "raw", tmp_path / "out", "--scale", 2, "--min-detail", 1, "--split", "train"
    )
    assert summary["images"] % 2 == 0


# The real degradation


def test_real_sources_have_the_exact_size_and_differ(raw, tmp_path, capsys):
    words = (raw, tmp_path / "out", "--scale", 3, "--tile", 48, "--degradation", "real", "--val", 0)
    assert prepare(capsys, *words)[0] == 0
    plans = []
    for pair, facts, _ in parts(tmp_path / "out"):
        source, target = pixels(pair.source), pixels(pair.target)
        assert source.dtype == np.uint8
        assert tuple(3 * side for side in source.shape[:2]) == target.shape[:2]
        assert source.shape[2] == target.shape[2]
        plans.append(json.dumps(facts["degradation"]))
    assert len(set(plans)) == len(plans) > 10
    other = (raw, tmp_path / "other", *words[2:], "--seed", 1)
    prepare(capsys, *other)
    assert files(tmp_path / "other").keys() == files(tmp_path / "out").keys()
    assert files(tmp_path / "other")["train/source/a_0_0.png"] != files(tmp_path / "out")["train/source/a_0_0.png"]
    assert files(tmp_path / "other")["train/target/a_0_0.png"] == files(tmp_path / "out")["train/target/a_0_0.png"]


def test_the_number_of_workers_changes_nothing(raw, tmp_path, capsys):
    for workers in (1, 3):
        words = ("--scale", 2, "--tile", 48, "--degradation", "real", "--workers", workers)
        prepare(capsys, raw, tmp_path / str(workers), *words)
    assert files(tmp_path / "1") == files(tmp_path / "3")


def test_a_real_source_is_made_again_from_its_target_and_the_manifest_alone(raw, tmp_path, capsys):
    prepare(capsys, raw, tmp_path / "out", "--scale", 2, "--tile", 48, "--degradation", "real", "--val", 0.3)
    made = manifest(tmp_path / "out")
    sources = [name for name in made["files"] if "/source/" in name]
    assert len(sources) > 10
    for name in sources:
        facts = made["files"][name]
        target = pixels(tmp_path / "out" / name.replace("/source/", "/target/"))
        again = apply(
            target, facts["degradation"], tuple(side // made["splits"]["train"]["scale"] for side in facts["box"][2:])
        )
        assert np.array_equal(again, pixels(tmp_path / "out" / name))


def test_a_bicubic_source_is_made_again_from_the_picture_and_the_manifest(raw, tmp_path, capsys):
    prepare(capsys, raw, tmp_path / "out", "--scale", 2, "--tile", 48, "--reduce", 2, "--val", 0)
    made = manifest(tmp_path / "out")
    for pair, facts, _ in parts(tmp_path / "out"):
        small = shrunk(shrunk(original(pair, "_r2"), facts["reduce"]), made["splits"]["train"]["scale"])
        assert np.array_equal(cut(small, facts["box"], made["splits"]["train"]["scale"]), pixels(pair.source))


def test_the_manifest_says_how_everything_was_made(raw, tmp_path, capsys):
    words = ("--scale", 2, "--tile", 48, "--degradation", "real", "--seed", 7, "--val", 0)
    prepare(capsys, raw, tmp_path / "out", *words)
    made = manifest(tmp_path / "out")
    assert (made["format_version"], made["kind"], list(made["splits"])) == (2, "paired", ["train"])
    train = made["splits"]["train"]
    assert {key: value for key, value in train.items() if key != "degradation"} == {
        "seed": 7,
        "size": None,
        "scale": 2,
        "tile": 48,
        "reduce": [1],
        "min_detail": 0.0,
    }
    assert DegradationConfig.model_validate(train["degradation"]) == DegradationConfig(kind="real")
    assert made["files"]["train/target/b_0_0.png"].keys() == {
        "width", "height", "channels", "alpha", "dtype", "sha256", "reduce", "box",
    }  # fmt: skip
    steps = made["files"]["train/source/b_0_0.png"]["degradation"]
    assert {"blur", "noise", "jpeg", "fit"} <= {step["step"] for step in steps}


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (photograph("a").astype(np.uint16) * 257, "real degradations include JPEG, which has 8 bits, got a"),
        (np.dstack([photograph("a"), photograph("a")[..., 0]]), "a real degradation knows no alpha: remove it, or use"),
    ],
)  # fmt: skip
def test_what_cannot_be_degraded_is_reported(tmp_path, capsys, array, reason):
    raw = one_picture(tmp_path / "raw", array)
    write_picture(from_array(photograph("b")), raw / "good.png")
    code, summary = prepare(capsys, raw, tmp_path / "out", "--scale", 2, "--degradation", "real", "--val", 0)
    assert (code, summary["failed"], summary["splits"]) == (1, 1, {"train": 1})
    assert reason in summary["problems"]["train/source/x"]
    assert [pair.name for pair in pairs(tmp_path / "out")] == ["good"]


# Settings from a file


def test_settings_of_a_degradation_are_read_from_a_file(tmp_path, capsys):
    raw = one_picture(tmp_path / "raw", photograph("b"))
    settings = tmp_path / "soft.yaml"
    settings.write_text("kind: real\nshuffle: true\nfirst:\n  jpeg: [90, 95]\nsecond: {final_sinc: 0, noise: [1, 2]}\n")
    words = ("--scale", 2, "--degradation", settings, "--split", "train", "--seed", 3)
    assert prepare(capsys, raw, tmp_path / "out", *words)[0] == 0
    used = DegradationConfig.model_validate(manifest(tmp_path / "out")["splits"]["train"]["degradation"])
    assert (used.kind, used.shuffle, used.first.jpeg, used.second.noise) == ("real", True, (90, 95), (1, 2))
    assert used.second.jpeg == (30, 95)  # the default of what is not given
    assert read_section(settings, DegradationConfig) == used
    steps = manifest(tmp_path / "out")["files"]["train/source/x.png"]["degradation"]
    assert steps == draw(used, 2, sample_seed(3, ord("x")))  # the seed and the name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: real\nshufle: true", r"d\.yaml:2: shufle: Extra inputs are .*, got True; did you mean 'shuffle'"),
        ("first:\n  blurr: 0.5", r"d\.yaml:2: first\.blurr: .* got 0\.5; did you mean 'first\.blur'\?"),
        ("kind: awful", r"d\.yaml:1: kind: Input should be 'bicubic' or 'real', got 'awful'"),
        ("first: {noise: [3, 1]}", r"d\.yaml:1: first\.noise: two numbers, the smaller one first, got \[3, 1\]"),
        ("first: {blur: 2}\nsecond: {jpeg: [0, 9]}", r"first\.blur: .* equal to 1, got 2(.|\n)*second\.jpeg"),
        ("- kind", r"d\.yaml must hold keys and values, got list"),
        ("kind: [", r"d\.yaml is not valid YAML"),
        ("kind: real\nkind: bicubic", r"d\.yaml:2: kind is given twice"),
    ],
)  # fmt: skip
def test_a_file_with_wrong_settings_is_refused_with_its_place(raw, tmp_path, capsys, text, message):
    (tmp_path / "d.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_section(tmp_path / "d.yaml", DegradationConfig)
    words = (raw, tmp_path / "out", "--scale", 2, "--degradation", tmp_path / "d.yaml")
    assert "d.yaml" in refusal(capsys, *words)
    assert not (tmp_path / "out").exists()


def test_an_unknown_degradation_is_refused(raw, tmp_path, capsys):
    message = refusal(capsys, raw, tmp_path / "out", "--scale", 2, "--degradation", "reel")
    assert "'reel' is no YAML file, and no name that is known here: give one of both" in message


# Running again


@pytest.mark.parametrize("degradation", ["bicubic", "real"])
def test_a_second_run_writes_nothing(raw, tmp_path, capsys, degradation):
    words = (raw, tmp_path / "out", "--scale", 2, "--tile", 32, "--min-detail", 2, "--degradation", degradation)
    first = prepare(capsys, *words)
    before, made = places(tmp_path / "out"), manifest(tmp_path / "out")
    assert prepare(capsys, *words) == first
    assert places(tmp_path / "out") == before
    assert manifest(tmp_path / "out") == made


def test_only_what_is_missing_is_done_again(raw, tmp_path, capsys):
    words = (raw, tmp_path / "out", "--scale", 2, "--tile", 32, "--val", 0)
    prepare(capsys, *words)
    whole, before = files(tmp_path / "out"), places(tmp_path / "out")
    (tmp_path / "out/train/source/b_0_0.png").unlink()
    prepare(capsys, *words)
    assert files(tmp_path / "out") == whole
    again = places(tmp_path / "out")
    assert [name for name in before if again[name] != before[name]] == ["train/source/b_0_0.png"]


def test_other_settings_do_it_again_and_leave_nothing_behind(raw, tmp_path, capsys):
    settings = [
        ("--scale", 2),
        ("--scale", 4),
        ("--scale", 4, "--tile", 32),
        ("--scale", 4, "--tile", 32, "--degradation", "real"),
        ("--scale", 4, "--tile", 32, "--degradation", "real", "--seed", 5),
        ("--scale", 4, "--reduce", 2),
        ("--scale", 2),
    ]
    for number, words in enumerate(settings):
        prepare(capsys, raw, tmp_path / "out", *words)
        prepare(capsys, raw, tmp_path / f"new{number}", *words)
        assert files(tmp_path / "out") == files(tmp_path / f"new{number}")


def test_another_degradation_does_only_the_sources_again(raw, tmp_path, capsys):
    settings = (raw, tmp_path / "out", "--tile", 32, "--val", 0)
    prepare(capsys, *settings, "--scale", 2)
    before = places(tmp_path / "out")
    prepare(capsys, *settings, "--scale", 2, "--degradation", "real")
    again = places(tmp_path / "out")
    assert all((again[name] == before[name]) == ("/target/" in name) for name in before)


def test_splits_are_prepared_apart_in_their_own_way_but_at_one_scale(raw, tmp_path, capsys):
    words = (raw, tmp_path / "out", "--scale", 2)
    prepare(capsys, *words, "--tile", 32, "--split", "train")
    train = files(tmp_path / "out")
    (tmp_path / "raw2").mkdir()
    write_picture(from_array(photograph("a")), tmp_path / "raw2" / "v.png")
    code, summary = prepare(capsys, tmp_path / "raw2", *words[1:], "--split", "val")  # whole pictures
    assert (code, summary["splits"]) == (0, {"val": 1})
    after = files(tmp_path / "out")
    assert after.keys() - train.keys() == {"val/source/v.png", "val/target/v.png"}
    assert manifest(tmp_path / "out")["files"].keys() == after.keys() - {"dataset.json"}
    message = refusal(capsys, tmp_path / "raw2", tmp_path / "out", "--scale", 4, "--split", "val")
    assert "holds a data set of scale 2, its split 'val' cannot have 4: give another folder" in message
    assert files(tmp_path / "out") == after


def test_a_split_of_plain_pairs_cannot_get_another_of_two_scales(raw, tmp_path, capsys):
    assert main(["preprocess", "pairs", str(raw), str(raw), str(tmp_path / "out"), "--split", "train"]) == 0
    message = refusal(capsys, raw, tmp_path / "out", "--scale", 2, "--split", "val")
    assert "holds a data set of scale 1, its split 'val' cannot have 2: give another folder" in message


def test_a_data_set_of_other_pictures_is_replaced_only_when_asked(raw, tmp_path, capsys):
    prepare(capsys, raw, tmp_path / "out", "--scale", 2)
    other = one_picture(tmp_path / "other", photograph("a"))
    words = (other, tmp_path / "out", "--scale", 2, "--val", 0)
    assert "was made from other folders: give another folder, or --overwrite" in refusal(capsys, *words)
    assert prepare(capsys, *words, "--overwrite")[1]["splits"] == {"train": 1}
    assert files(tmp_path / "out").keys() == {"dataset.json", "train/source/x.png", "train/target/x.png"}


# Pictures that cannot be used


def test_broken_and_small_pictures_are_reported_and_the_others_written(raw, tmp_path, capsys):
    (raw / "broken.png").write_bytes((raw / "b.png").read_bytes()[:300])
    (raw / "text.png").write_text("no picture")
    write_picture(from_array(photograph("a")[:3, :7]), raw / "small.png")
    words = (raw, tmp_path / "out", "--scale", 4, "--tile", 32, "--split", "train")
    code, summary = prepare(capsys, *words)
    assert (code, summary["failed"]) == (1, 2 * (2 * 3 + 1 + 1))  # both sides of 2 x 3 parts, and of two pictures
    reasons = summary["problems"]
    assert "7 x 3 pixels are too few for the scale and the reduction" in reasons["train/target/small_0_0"]
    assert "text.png: its content is not a picture" in reasons["train/source/text_0_0"]
    assert "broken.png: it is truncated or damaged" in reasons["train/source/broken_0_0"]
    names = {pair.name.rsplit("_", 2)[0] for pair in find_training(DataConfig(folder=tmp_path / "out", scale=4)).pairs}
    assert names == set(SIZES)


def test_a_picture_too_small_for_a_reduction_is_still_there_at_its_size(tmp_path, capsys):
    raw = one_picture(tmp_path / "raw", photograph("a")[:6, :9])
    write_picture(from_array(photograph("b")), raw / "y.png")
    code, summary = prepare(capsys, raw, tmp_path / "out", "--scale", 2, "--reduce", 1, 4, 8, "--val", 0)
    assert (code, summary["splits"]) == (1, {"train": 4})  # x; y, y_r4 and y_r8
    assert list(summary["problems"]) == [
        f"train/{side}/x_r{factor}" for factor in (4, 8) for side in ("source", "target")
    ]
    assert "9 x 6 cannot be divided by 8" in summary["problems"]["train/source/x_r8"]


def test_names_that_are_no_utf_8_are_names_too(tmp_path, capsys):
    raw = one_picture(tmp_path / "raw", photograph("b"))
    try:
        os.rename(raw / "x.png", os.fsencode(raw) + b"/\xff.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert prepare(capsys, raw, tmp_path / "out", "--scale", 2, "--tile", 32, "--degradation", "real")[0] == 0


# Refusals


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scale", "1"], "the scale must be one of 2, 3, 4, 8, got 1"),
        (["--scale", "9"], "the scale must be one of 2, 3, 4, 8, got 9"),
        (["--scale", "4", "--tile", "7"], "a tile must have at least 8 pixels at scale 4, got 7"),
        (["--scale", "2", "--reduce", "0"], "reduced by different factors of at least 1, got [0]"),
        (["--scale", "2", "--reduce", "2", "2"], "reduced by different factors of at least 1, got [2, 2]"),
        (["--scale", "2", "--min-detail", "-1"], "the detail must be at least 0 grey levels, got -1.0"),
        (["--scale", "2", "--val", "1"], "the share of val must be from 0 to below 1, got 1.0"),
        (["--scale", "2", "--workers", "0"], "workers must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_refused(raw, tmp_path, capsys, words, message):
    assert message in refusal(capsys, raw, tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_a_reduction_is_needed():
    with pytest.raises(ImageError, match=r"factors of at least 1, got \[\]"):
        Making(2, reduce=())


def test_the_scale_is_required(raw, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["preprocess", "super-resolution", str(raw), str(tmp_path / "out")])
    assert "--scale" in capsys.readouterr().err


def test_a_size_is_no_option_of_super_resolution(raw, tmp_path):
    with pytest.raises(ImageError, match=r"are reduced by Making\.reduce, got size 20"):
        prepare_super_resolution(raw, tmp_path / "out", Options(size=20), Making(2))


def test_a_picture_named_like_a_reduced_one_is_refused(raw, tmp_path, capsys):
    write_picture(from_array(photograph("b")), raw / "a_r2.png")
    words = (raw, tmp_path / "out", "--scale", 2, "--reduce", 1, 2, "--val", 0)
    message = refusal(capsys, *words)
    assert "2 files would be written twice, train/source/a_r2, train/target/a_r2: a picture has the name" in message
    assert prepare(capsys, *words[:4])[0] == 0  # without reductions there is no doubt


def test_an_output_in_the_input_is_refused_and_so_are_folders_without_pictures(raw, tmp_path, capsys):
    assert "lies in the input folder" in refusal(capsys, raw, raw / "out", "--scale", 2)
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refusal(capsys, tmp_path / "empty", tmp_path / "out", "--scale", 2)
    assert "does not exist" in refusal(capsys, tmp_path / "nowhere", tmp_path / "out", "--scale", 2)


def test_a_folder_that_is_split_already_is_pointed_out(raw, tmp_path, capsys, caplog):
    for split in ("train", "val"):
        (raw / split).mkdir()
        write_picture(from_array(photograph("b")), raw / split / f"{split}.png")
    prepare(capsys, raw, tmp_path / "out", "--scale", 2)
    assert "is split already (train, val): its images are mixed and split anew" in caplog.text
    assert Path(tmp_path / "out" / "dataset.json").is_file()


def test_each_split_keeps_how_it_was_made(raw, tmp_path, capsys):
    prepare(capsys, raw, tmp_path / "out", "--scale", 2, "--tile", 48, "--split", "train")
    prepare(capsys, raw, tmp_path / "out", "--scale", 2, "--split", "val")
    splits = manifest(tmp_path / "out")["splits"]
    assert {name: made["tile"] for name, made in splits.items()} == {"train": 48, "val": None}


def test_what_lacks_detail_is_counted_and_not_all_of_it_may_go(raw, tmp_path, capsys):
    write_picture(from_array(np.full((40, 40, 3), 9, np.uint8)), raw / "flat.png")
    words = (raw, tmp_path / "out", "--scale", 2, "--split", "train", "--min-detail")
    code, summary = prepare(capsys, *words, 1)
    assert (code, summary["left_out"], summary["splits"]) == (0, 2, {"train": 4})
    assert "all 10 images are left out: lower the detail" in refusal(capsys, *words, 250)


def test_reduced_pictures_smaller_than_a_tile_are_left_out(raw, tmp_path, capsys, caplog):
    words = (raw, tmp_path / "out", "--scale", 2, "--tile", 32, "--split", "train", "--reduce")
    prepare(capsys, *words, 2)
    assert {pair.name.rpartition("_r2")[0] for pair in pairs(tmp_path / "out")} == {"a", "b", "sub/d"}
    assert "1 pictures are left out, smaller than a tile when reduced: c" in caplog.text
    assert "is smaller than the tile of 32 when reduced by 9" in refusal(capsys, *words, 9)
