"""Stage 1: what is written, what is kept when it runs again, and what it says when something is wrong."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from translate.cli import main
from translate.data.images import ImageError, from_array, read_picture, write_picture
from translate.data.splits import DataConfig, find_split, find_training
from translate.pipelines.journal import FOLDER, Journal, Record, write_report
from translate.pipelines.preprocessing.dataset import Options, choose_splits

NAMES = [f"{index:02d}" for index in range(10)]


@pytest.fixture
def raw(tmp_path, photographs):
    """raw/s: 10 grey PNG pictures, two of them in sub/; raw/t: the same in colour as JPEG."""
    for index, name in enumerate(NAMES):
        photograph = photographs[index % len(photographs)]
        for side, array, suffix in (("s", photograph[..., 1], ".png"), ("t", photograph, ".jpg")):
            path = tmp_path / "raw" / side / ("sub" if index > 7 else ".") / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(from_array(array), path)
    return tmp_path / "raw"


def prepare(capsys, *arguments):
    """Run translate preprocess ... --json: the exit code and the summary, which is all of standard output."""
    capsys.readouterr()
    code = main(["preprocess", *map(str, arguments), "--json"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 1
    return code, json.loads(lines[0]) if lines else None


def refusal(capsys, *arguments):
    """The message of a command that could not be started."""
    capsys.readouterr()
    assert main(["preprocess", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def files(folder):
    """Every visible file below a folder with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and FOLDER not in path.parts
    }


def times(folder):
    return {name: (folder / name).stat().st_mtime_ns for name in files(folder) if name != "dataset.json"}


def test_pairs_are_copied_byte_by_byte_into_disjoint_splits_that_training_accepts(raw, tmp_path, capsys):
    out = tmp_path / "out"
    code, summary = prepare(capsys, "pairs", raw / "s", raw / "t", out, "--val", "0.2")
    assert code == 0
    assert summary == {
        "kind": "paired",
        "images": 20,
        "failed": 0,
        "left_out": 0,
        "splits": {"train": 8, "val": 2},
        "output": str(out),
        "manifest": str(out / "dataset.json"),
        "problems": {},
    }
    train, val = find_training(DataConfig(folder=out)), find_split(DataConfig(folder=out), "val")
    names = [pair.name for split in (train, val) for pair in split.pairs]
    assert sorted(names) == sorted([*NAMES[:8], "sub/08", "sub/09"])
    for split, pairs in (("train", train.pairs), ("val", val.pairs)):
        for pair in pairs:
            assert pair.source == out / split / "source" / f"{pair.name}.png"
            assert pair.source.read_bytes() == (raw / "s" / f"{pair.name}.png").read_bytes()
            assert pair.target.read_bytes() == (raw / "t" / f"{pair.name}.jpg").read_bytes()


def test_the_manifest_lists_every_file_with_its_facts_and_sum(raw, tmp_path, capsys):
    _, summary = prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--seed", "3")
    manifest = json.loads(Path(summary["manifest"]).read_text())
    written = files(tmp_path / "out")
    assert written.keys() == manifest["files"].keys() | {"dataset.json"}
    assert (manifest["format_version"], manifest["kind"]) == (2, "paired")
    assert manifest["splits"] == {split: {"seed": 3, "size": None} for split in ("train", "val")}
    for name, facts in manifest["files"].items():
        grey = name.endswith(".png")
        assert facts["sha256"] == sha256(written[name]).hexdigest()
        assert (facts["width"], facts["height"]) == (40, 48)
        assert (facts["channels"], facts["alpha"], facts["dtype"]) == (1 if grey else 3, False, "uint8")


def test_the_words_tell_the_counts(raw, tmp_path, capsys):
    assert main(["preprocess", "pairs", str(raw / "s"), str(raw / "t"), str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"pairs: train 9, val 1; 0 files failed. Manifest: {tmp_path}/out/dataset.json\n"


def test_suffixes_of_the_command_line_pair_the_files(tmp_path, photographs, capsys):
    for side, suffix in (("s", "_LR"), ("t", "_HR")):
        (tmp_path / side).mkdir()
        for index in range(2):
            write_picture(from_array(photographs[index]), tmp_path / side / f"{index}{suffix}.png")
    suffixes = ("--source-suffix", "_LR", "--target-suffix", "_HR")
    code, summary = prepare(capsys, "pairs", tmp_path / "s", tmp_path / "t", tmp_path / "out", *suffixes)
    assert (code, summary["splits"]) == (0, {"train": 1, "val": 1})
    assert len(find_training(DataConfig(folder=tmp_path / "out")).pairs) == 1  # the common names are written


@pytest.mark.parametrize("source_on", ["left", "right"])
def test_side_by_side_images_are_cut_into_source_and_target(tmp_path, photographs, capsys, source_on):
    (tmp_path / "raw").mkdir()
    for index in range(3):
        halves = [photographs[index], 255 - photographs[index]]
        write_picture(from_array(np.hstack(halves)), tmp_path / "raw" / f"{index}.png")
    code, summary = prepare(
        capsys, "side-by-side", tmp_path / "raw", tmp_path / "out", "--val", 0, "--source-on", source_on
    )
    assert (code, summary["splits"]) == (0, {"train": 3})
    for pair in find_training(DataConfig(folder=tmp_path / "out")).pairs:
        source, target = read_picture(pair.source).pixels, read_picture(pair.target).pixels
        assert np.array_equal(source, 255 - target)
        assert np.array_equal(source if source_on == "left" else target, photographs[int(pair.name)])


def test_unpaired_images_keep_apart_what_shares_a_name(tmp_path, photographs, capsys):
    for name in ("a/x.png", "a/x.tif", "a/x.tif.png", "a/y.png", "b/x.png", "b/z.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_picture(from_array(photographs[0]), tmp_path / name)
    code, summary = prepare(capsys, "unpaired", tmp_path / "a", tmp_path / "b", tmp_path / "out", "--split", "train")
    assert (code, summary["splits"]) == (0, {"train": 6})
    names = ["a/x.png.png", "a/x.tif.png.png", "a/x.tif.tif", "a/y.png", "b/x.png", "b/z.png"]
    assert list(files(tmp_path / "out" / "train")) == names
    split = find_training(DataConfig(kind="unpaired", folder=tmp_path / "out", source="a", target="b"))
    assert str(split) == "4 and 2 images"


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_reduced_pictures_keep_their_value_type_and_alpha(tmp_path, capsys, dtype, samples):
    top = np.iinfo(dtype).max
    picture = from_array(np.full((40, 80, samples), top - 2, dtype))
    for side in "ab":
        (tmp_path / side).mkdir()
        write_picture(picture, tmp_path / side / "x.png")
    assert prepare(capsys, "unpaired", tmp_path / "a", tmp_path / "b", tmp_path / "out", "--size", "20")[0] == 0
    reduced = read_picture(tmp_path / "out" / "train" / "a" / "x.png")
    assert (reduced.info.height, reduced.info.width) == (20, 40)
    assert reduced.info.dtype == dtype
    assert (reduced.alpha is not None) == (samples in (2, 4))
    assert (reduced.pixels == top - 2).all()


def test_a_size_reduces_larger_images_without_loss_and_copies_smaller_ones(raw, tmp_path, capsys):
    prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--size", "20", "--split", "train")
    assert {Path(name).suffix for name in files(tmp_path / "out")} == {".png", ".json"}
    assert read_picture(tmp_path / "out/train/target/00.png").pixels.shape == (24, 20, 3)
    prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--size", "40", "--split", "train")
    assert (tmp_path / "out/train/target/00.jpg").read_bytes() == (raw / "t/00.jpg").read_bytes()
    assert not (tmp_path / "out/train/target/00.png").exists()


# Splits


def test_splits_depend_on_names_and_seed_alone():
    one = choose_splits(NAMES, Options(val=0.3))
    assert one == choose_splits(NAMES[::-1], Options(val=0.3, size=8, workers=1))
    assert list(one.values()).count("val") == 3
    assert one != choose_splits(NAMES, Options(val=0.3, seed=1))


@pytest.mark.parametrize(
    ("count", "share", "val"), [(10, 0.01, 1), (2, 0.1, 1), (1, 0.5, 0), (10, 0.0, 0), (10, 0.99, 9), (0, 0.1, 0)]
)
def test_val_gets_at_least_one_image_if_any_and_train_too(count, share, val):
    assert list(choose_splits(NAMES[:count], Options(val=share)).values()).count("val") == val


def test_another_seed_moves_images_and_leaves_none_behind(raw, tmp_path, capsys):
    for seed in (0, 1, 0):
        assert prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--seed", seed, "--val", 0.4)[0] == 0
        prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / f"new{seed}", "--seed", seed, "--val", 0.4)
        assert files(tmp_path / "out") == files(tmp_path / f"new{seed}")
    assert files(tmp_path / "new0").keys() != files(tmp_path / "new1").keys()


def test_a_data_set_that_loses_its_val_has_no_empty_folders(raw, tmp_path, capsys):
    prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out")
    prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--val", 0)
    assert not (tmp_path / "out" / "val").exists()
    assert find_split(DataConfig(folder=tmp_path / "out"), "val") is None


def test_a_split_of_its_own_leaves_the_other_as_it_is(raw, tmp_path, capsys):
    prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--split", "train")
    before = files(tmp_path / "out")
    _, summary = prepare(capsys, "pairs", raw / "s/sub", raw / "t/sub", tmp_path / "out", "--split", "val")
    assert summary["splits"] == {"val": 2}
    after = files(tmp_path / "out")
    added = {
        f"val/{side}/{name}.{suffix}"
        for side, suffix in (("source", "png"), ("target", "jpg"))
        for name in ("08", "09")
    }
    assert after.keys() - before.keys() == added
    assert before.keys() <= after.keys()
    assert json.loads(after["dataset.json"])["files"].keys() == after.keys() - {"dataset.json"}


def test_splits_of_different_kinds_are_refused(raw, tmp_path, capsys):
    prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--split", "train")
    message = refusal(capsys, "unpaired", raw / "s", raw / "t", tmp_path / "out", "--split", "val")
    assert "holds a data set of kind 'paired', its split 'val' cannot be 'unpaired': give another folder" in message
    (tmp_path / "out" / "dataset.json").write_text("{")
    message = refusal(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--split", "val")
    assert "dataset.json is damaged: delete it and prepare each split again" in message


# Broken images


def test_broken_images_are_reported_and_left_out_with_their_partners(raw, tmp_path, capsys, caplog):
    (raw / "s/01.png").write_bytes((raw / "s/01.png").read_bytes()[:300])
    (raw / "t/02.jpg").write_bytes(b"")
    (raw / "s/03.png").write_text("no picture")
    with caplog.at_level(logging.WARNING):
        code, summary = prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--split", "train")
    assert (code, summary["failed"], summary["images"], summary["splits"]) == (1, 3, 14, {"train": 7})
    reasons = summary["problems"]
    assert list(reasons) == ["train/source/01", "train/target/02", "train/source/03"]
    assert "01.png: it is truncated or damaged" in reasons["train/source/01"]
    assert "02.jpg: the file is empty" in reasons["train/target/02"]
    assert "03.png: its content is not a picture" in reasons["train/source/03"]
    assert "train/target/02" in caplog.text
    assert len(find_training(DataConfig(folder=tmp_path / "out")).pairs) == 7
    assert not [name for name in files(tmp_path / "out") if Path(name).stem in ("01", "02", "03")]


def test_a_broken_image_that_is_mended_comes_in_with_its_partner(raw, tmp_path, capsys):
    content = (raw / "s/01.png").read_bytes()
    (raw / "s/01.png").write_bytes(content[:300])
    prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out")
    (raw / "s/01.png").write_bytes(content)
    assert prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out")[0] == 0
    prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "new")
    assert files(tmp_path / "out") == files(tmp_path / "new")


def test_broken_side_by_side_and_unpaired_images_are_left_out_alone(tmp_path, photographs, capsys):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_picture(from_array(photographs[0]), tmp_path / name)
    (tmp_path / "a/2.png").write_bytes(b"")
    code, summary = prepare(capsys, "side-by-side", tmp_path / "a", tmp_path / "halves", "--split", "train")
    assert (code, summary["failed"], summary["splits"]) == (1, 2, {"train": 1})
    code, summary = prepare(capsys, "unpaired", tmp_path / "a", tmp_path / "b", tmp_path / "both", "--split", "train")
    assert (code, summary["failed"], summary["splits"]) == (1, 1, {"train": 3})


# Running again


def test_a_second_run_writes_nothing(raw, tmp_path, capsys):
    first = prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--size", "20")
    before = times(tmp_path / "out")
    assert prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--size", "20") == first
    assert times(tmp_path / "out") == before


def test_only_what_is_missing_changed_or_unrecorded_is_done_again(raw, tmp_path, capsys):
    out = tmp_path / "out"
    prepare(capsys, "pairs", raw / "s", raw / "t", out, "--split", "train")
    whole, before = files(out), times(out)
    (out / "train/source/00.png").unlink()
    (out / "train/target/01.jpg").write_bytes(b"somebody changed it")
    journal = out / FOLDER / "journal-0.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    unrecorded = json.loads(lines[-1])["output"]
    journal.write_text("".join(lines[:-1]) + lines[-1][:25])  # a kill cut the last line short
    (out / FOLDER / "aside-1.png").write_bytes(b"half")
    assert prepare(capsys, "pairs", raw / "s", raw / "t", out, "--split", "train")[0] == 0
    assert files(out) == whole
    again = {name for name, moment in times(out).items() if moment != before[name]}
    assert again == {"train/source/00.png", "train/target/01.jpg", unrecorded}
    assert not list((out / FOLDER).glob("aside-*"))
    middle = times(out)
    prepare(capsys, "pairs", raw / "s", raw / "t", out, "--split", "train")
    assert times(out) == middle  # also what was recorded first after the line that was cut short


def test_a_changed_input_is_done_again(raw, tmp_path, capsys, photographs):
    prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--split", "train")
    before = times(tmp_path / "out")
    write_picture(from_array(255 - photographs[0][..., 1]), raw / "s/00.png")
    prepare(capsys, "pairs", raw / "s", raw / "t", tmp_path / "out", "--split", "train")
    after = times(tmp_path / "out")
    assert [name for name in after if after[name] != before[name]] == ["train/source/00.png"]


def test_what_a_killed_run_replaced_does_not_stay_beside_its_replacement(raw, tmp_path, capsys):
    """Copies (.jpg), then reduced pictures (.png) by a run that was killed before it could clean up, then again."""
    out = tmp_path / "out"
    prepare(capsys, "pairs", raw / "s", raw / "t", out, "--split", "train")
    copy = (out / "train/target/00.jpg").read_bytes()
    prepare(capsys, "pairs", raw / "s", raw / "t", out, "--split", "train", "--size", "20")
    (out / "train/target/00.jpg").write_bytes(copy)
    prepare(capsys, "pairs", raw / "s", raw / "t", out, "--split", "train", "--size", "20")
    assert len(find_training(DataConfig(folder=out)).pairs) == 10


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path, capsys):
    """A real SIGKILL: 16-bit noise takes a while to compress, so that the process is still at work."""
    random = np.random.default_rng(0)
    for side in "ab":
        (tmp_path / side).mkdir()
        for index in range(12):
            noise = random.integers(0, 65535, (500, 500, 3), np.uint16)
            write_picture(from_array(noise), tmp_path / side / f"{index}.png")
    task = ["unpaired", str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "out"), "--size", "490"]
    process = subprocess.Popen(
        [sys.executable, "-m", "translate", "preprocess", *task], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    patience = time.monotonic() + 120
    while len(list((tmp_path / "out").rglob("train/*/*.png"))) < 4 and time.monotonic() < patience:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = times(tmp_path / "out")
    assert 4 <= len(before) < 24
    assert prepare(capsys, *task)[0] == 0
    after = times(tmp_path / "out")
    assert len(after) == 24
    assert all(after[name] == moment for name, moment in before.items())
    assert all(read_picture(tmp_path / "out" / name).pixels.dtype == np.uint16 for name in after)


# Mistakes


def test_mistakes_are_refused_with_a_message(raw, tmp_path, capsys, photographs):
    source, target, out = raw / "s", raw / "t", tmp_path / "out"
    assert "nowhere does not exist: give a folder" in refusal(capsys, "pairs", tmp_path / "nowhere", target, out)
    assert "the share of val must be from 0 to below 1, got 1.0" in refusal(
        capsys, "pairs", source, target, out, "--val", 1
    )
    assert "the share of val must be from 0 to below 1, got nan" in refusal(
        capsys, "pairs", source, target, out, "--val", "nan"
    )
    assert "the size must be at least 1 pixel, got 0" in refusal(capsys, "pairs", source, target, out, "--size", 0)
    assert "workers must be at least 1, got 0" in refusal(capsys, "pairs", source, target, out, "--workers", 0)
    assert "01.png does not end in the suffix" in refusal(capsys, "pairs", source, target, out, "--source-suffix", "0")
    (tmp_path / "file").write_text("")
    assert "file" in refusal(capsys, "pairs", source, target, tmp_path / "file")
    write_picture(from_array(photographs[0][:20]), target / "00.jpg")
    assert "1 of 10 pairs differ in size" in refusal(capsys, "pairs", source, target, out)
    (target / "01.jpg").unlink()
    assert "1 of 10 images in" in refusal(capsys, "pairs", source, target, out)
    write_picture(from_array(photographs[0][:, :5]), source / "00.png")
    assert "1 of 10 side-by-side images have an odd width" in refusal(capsys, "side-by-side", source, out)
    assert not out.exists()


def test_an_output_folder_among_the_inputs_is_refused(raw, tmp_path, capsys):
    for task in (("pairs", raw / "s", raw / "t"), ("side-by-side", raw / "t"), ("unpaired", raw / "s", raw / "t")):
        message = refusal(capsys, *task, raw / "t" / "out")
        assert f"the output folder {raw}/t/out lies in the input folder {raw}/t: give one elsewhere" in message
    message = refusal(capsys, "unpaired", raw / "s", raw / "t", raw)
    assert f"lies in the output folder {raw}: give another folder for the data set" in message


def test_an_unknown_task_or_split_is_refused_by_the_parser(raw, tmp_path, capsys):
    for wrong in (["pears"], [], ["unpaired", str(raw), str(raw), str(tmp_path), "--split", "test"]):
        with pytest.raises(SystemExit, match="2"):
            main(["preprocess", *wrong])
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_valid_unicode_or_hold_odd_separators_are_kept(tmp_path, photographs, capsys):
    names = [os.fsdecode(b"caf\xe9"), "line\u2028separator", "næste"]
    for side in "st":
        (tmp_path / side).mkdir()
        for name in names:
            write_picture(from_array(photographs[0]), tmp_path / side / f"{name}.png")
    task = ("pairs", tmp_path / "s", tmp_path / "t", tmp_path / "out", "--val", 0)
    first = prepare(capsys, *task)
    assert (first[0], first[1]["splits"]) == (0, {"train": 3})
    before = times(tmp_path / "out")
    assert prepare(capsys, *task) == first
    assert times(tmp_path / "out") == before
    assert find_training(DataConfig(folder=tmp_path / "out")).fingerprint(tmp_path / "out")


def test_the_command_prints_one_line_of_json_and_nothing_else(raw, tmp_path, command):
    (raw / "s/01.png").write_bytes(b"")
    done = command("preprocess", "pairs", raw / "s", raw / "t", tmp_path / "out", "--json")
    assert done.returncode == 1
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout)["failed"] == 1
    assert "01.png: the file is empty" in done.stderr


# The journal


def test_an_output_that_fails_leaves_neither_file_nor_record(tmp_path):
    journal = Journal(tmp_path)

    def write(path):
        path.write_text("half")
        raise ImageError("disk full")

    with pytest.raises(ImageError, match="disk full"):
        journal.put(Record("a", "done", output="a.png"), write)
    assert files(tmp_path) == {}
    assert not list((tmp_path / FOLDER).glob("*"))


def test_a_report_has_a_line_for_each_file_without_empty_facts(tmp_path):
    path = write_report(tmp_path, [Record("a", "done", output="a.png", width=4), Record("b", "failed", reason="bad")])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"file": "a", "status": "done", "output": "a.png", "width": 4},
        {"file": "b", "status": "failed", "reason": "bad"},
    ]


def test_a_data_set_made_from_other_folders_is_replaced_only_if_asked(tmp_path, paired_folder, capsys):
    train, val = paired_folder / "train", paired_folder / "val"
    out = tmp_path / "out"
    assert prepare(capsys, "pairs", train / "source", train / "target", out)[0] == 0
    before = files(out)
    words = ["preprocess", "pairs", str(val / "source"), str(val / "target"), str(out)]
    assert main(words) == 2
    assert "holds a data set whose train and val was made from other folders" in capsys.readouterr().err
    assert files(out) == before
    assert main([*words, "--overwrite"]) == 0
    assert sum(name.endswith(".png") for name in files(out)) == 2 * 4
    # Each split may come from folders of its own.
    assert main([*words[:4], str(tmp_path / "new"), "--split", "val"]) == 0
    words[2:4] = [str(train / "source"), str(train / "target")]
    assert main([*words[:4], str(tmp_path / "new"), "--split", "train"]) == 0


def test_a_folder_with_files_of_the_user_is_refused(tmp_path, paired_folder, capsys):
    mine = tmp_path / "out" / "train" / "source" / "mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    val = paired_folder / "val"
    assert main(["preprocess", "pairs", str(val / "source"), str(val / "target"), str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "holds 1 files that preprocess did not write, train/source/mine.jpg: give another folder" in message
    assert mine.read_bytes() == b"mine"


def test_a_source_that_is_split_already_is_mixed_with_a_warning(tmp_path, paired_folder, caplog):
    for split in ("train", "val"):
        (tmp_path / "in" / split).mkdir(parents=True)
        write_picture(from_array(np.zeros((4, 8), np.uint8)), tmp_path / "in" / split / "a.png")
    assert main(["preprocess", "side-by-side", str(tmp_path / "in"), str(tmp_path / "out"), "--json"]) == 0
    assert "is split already (train, val): its images are mixed and split anew" in caplog.text


def test_pairs_of_another_scale_are_prepared_where_the_scale_is_given(photographs, tmp_path, capsys):
    for index, photograph in enumerate(photographs[:3]):
        for side, array in (("s", photograph), ("t", np.kron(photograph, np.ones((2, 2, 1), np.uint8)))):
            (tmp_path / side).mkdir(exist_ok=True)
            write_picture(from_array(array), tmp_path / side / f"{index}.png")
    words = ["pairs", tmp_path / "s", tmp_path / "t", tmp_path / "out"]
    _, summary = prepare(capsys, *words, "--scale", "2")
    assert json.loads(Path(summary["manifest"]).read_text())["splits"]["train"]["scale"] == 2
    command = ["preprocess", *map(str, words[:3]), str(tmp_path / "other")]
    assert main(command) == 2
    assert "a target must be 1 times its source" in capsys.readouterr().err
    assert main([*command, "--scale", "2", "--size", "9"]) == 2
    assert "pairs of scale 2 cannot be reduced to the size 9: give one of both" in capsys.readouterr().err
