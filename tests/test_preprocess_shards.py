"""Packing: the tars are the folder, a stopped command goes on, and nothing of anybody else is touched."""

import fcntl
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from translate.cli import main
from translate.data.images import ImageError, from_array, write_picture
from translate.data.shards import Shards
from translate.data.sources import open_source
from translate.data.splits import DataConfig, find_training
from translate.pipelines.preprocessing import shards as packing
from translate.pipelines.preprocessing.shards import Packing, pack_shards

ODD_NAMES = ["a", "a-b", "a b", "a.b", "a/c", "Z", "ä/ö ü", "x" * 120 + "/" + "y" * 200, "日本"]
SMALL = Packing(shard_size=0.02)
SIDES = ("source", "target")


def write_set(folder, photographs, names=("0", "1", "2", "3"), splits=("train", "val")):
    """Pairs of a photograph and its negative under these names."""
    for split in splits:
        for number, name in enumerate(names):
            photograph = photographs[number % len(photographs)]
            for side, array in (("source", photograph), ("target", 255 - photograph)):
                path = folder / split / side / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_picture(from_array(array), path)
    return folder


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def pack(folder, output, options=SMALL):
    return pack_shards(folder, output, options, show_progress=False)


@pytest.fixture
def folder(tmp_path, photographs):
    return write_set(tmp_path / "in", photographs)


def test_unpacked_the_tars_are_the_folder(tmp_path, photographs):
    folder = write_set(tmp_path / "in", photographs, ODD_NAMES)
    summary = pack(folder, tmp_path / "out")
    assert summary["splits"] == {"train": 18, "val": 18}
    assert summary["shards"] == len(list((tmp_path / "out").glob("*.tar"))) > 4
    assert summary["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").glob("*.tar"))
    for shard in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(shard) as tar:
            tar.extractall(tmp_path / "again", filter="data")
    assert contents(tmp_path / "again") == contents(folder)
    assert os.stat(tmp_path / "again/train/source/a.png").st_mtime == int(
        os.stat(folder / "train/source/a.png").st_mtime
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another tar and no sha256sum")
def test_the_systems_own_tools_read_and_check_them(folder, tmp_path):
    pack(folder, tmp_path / "out")
    listed = subprocess.run(["tar", "-tf", "train-000000.tar"], cwd=tmp_path / "out", capture_output=True, text=True)
    assert listed.stdout.split()[:2] == ["train/source/0.png", "train/target/0.png"]
    assert listed.stderr == ""
    subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path / "out", check=True, capture_output=True)


def test_the_two_files_of_a_pair_lie_beside_each_other_and_shards_keep_to_their_size(folder, tmp_path):
    pack(folder, tmp_path / "out", SMALL)
    found = []
    for shard in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(shard) as tar:
            members = tar.getmembers()
        assert sum(member.size for member in members) <= 20_000
        assert len(members) % 2 == 0
        found += [member.name for member in members]
    assert found == [f"{split}/{side}/{n}.png" for split in ("train", "val") for n in range(4) for side in SIDES]
    pack(folder, tmp_path / "one", Packing())
    assert sorted(path.name for path in (tmp_path / "one").glob("*.tar")) == ["train-000000.tar", "val-000000.tar"]
    pack(folder, tmp_path / "each", Packing(shard_size=1e-6))
    assert len(list((tmp_path / "each").glob("*.tar"))) == 16


def test_hidden_and_other_files_stay_behind_and_links_are_followed(folder, tmp_path, photographs):
    before = pack(folder, tmp_path / "plain")["images"]
    (folder / "train/source/.hidden.png").write_text("x")
    (folder / "train/source/notes.txt").write_text("x")
    (folder / "train/source/linked.png").symlink_to(folder / "val/source/0.png")
    (folder / "train/target/linked.png").symlink_to(folder / "val/target/0.png")
    (folder / "test").mkdir()
    summary = pack(folder, tmp_path / "out")
    assert summary["images"] == before + 2
    shards = open_source(tmp_path / "out")
    wanted = (folder / "val/source/0.png").read_bytes()
    assert shards.content(tmp_path / "out/train/source/linked.png") == wanted


def test_the_manifest_of_the_folder_goes_along(folder, tmp_path):
    (folder / "dataset.json").write_text('{"kind": "paired"}')
    pack(folder, tmp_path / "out")
    assert (tmp_path / "out/dataset.json").read_text() == '{"kind": "paired"}'
    assert "dataset.json" in (tmp_path / "out/SHA256SUMS").read_text()
    (folder / "dataset.json").unlink()
    (folder / "train/source/0.png").touch()
    pack(folder, tmp_path / "out")
    assert not (tmp_path / "out/dataset.json").exists()


def test_given_again_it_does_nothing_and_after_a_change_it_packs_what_changed(folder, tmp_path, photographs):
    out = tmp_path / "out"
    pack(folder, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    pack(folder, out)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    write_picture(from_array(photographs[7]), folder / "val/source/3.png")
    (folder / "train/source/0.png").unlink()
    (folder / "train/target/0.png").unlink()
    assert pack(folder, out)["splits"] == {"train": 6, "val": 8}
    pack(folder, tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh")


def test_a_stopped_command_leaves_no_data_set_and_goes_on(folder, tmp_path, monkeypatch):
    out, real, asked = tmp_path / "out", packing.pack, []

    def stop_at_the_third(shard, *rest):
        asked.append(shard.name)
        if len(asked) >= 3:
            raise KeyboardInterrupt
        return real(shard, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(packing, "pack", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            pack(folder, out, Packing(shard_size=0.02, workers=1))
    assert sorted(path.name for path in out.iterdir()) == [".packing", "train-000000.tar", "train-000001.tar"]
    with pytest.raises(
        ImageError, match=r"holds shards without index.safetensors: they are not complete, give the same"
    ):
        find_training(DataConfig(folder=out))
    (out / ".packing/left.tmp").write_text("half a shard")
    before = (out / "train-000000.tar").stat().st_mtime_ns
    pack(folder, out)
    assert (out / "train-000000.tar").stat().st_mtime_ns == before
    pack(folder, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_an_index_never_outlives_its_shards(folder, tmp_path, monkeypatch):
    pack(folder, tmp_path / "out")
    os.utime(folder / "val/target/3.png", (1e9, 1e9))
    monkeypatch.setattr(packing, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        pack(folder, tmp_path / "out")
    assert not (tmp_path / "out/index.safetensors").exists()


def test_a_shard_of_a_stopped_command_that_changed_is_packed_again(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(packing, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pack(folder, out)
    os.truncate(out / "train-000000.tar", 1000)
    (out / ".packing/train-000001.tar.json").write_text('{"key"')
    os.utime(folder / "val/target/3.png", (1e9, 1e9))
    pack(folder, out)
    pack(folder, tmp_path / "whole")
    tars = [{k: v for k, v in contents(place).items() if k.endswith(".tar")} for place in (out, tmp_path / "whole")]
    assert tars[0] == tars[1]


def test_half_a_shard_is_never_seen_under_its_name(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(
        "translate.pipelines.preprocessing.shard_writing.os.fsync", lambda _: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        pack(folder, out)
    assert not list(out.glob("*.tar"))
    assert not list(out.glob(".packing/*.tmp"))


def test_files_that_cannot_be_read_are_all_named_and_the_rest_is_kept(folder, tmp_path, caplog):
    out = tmp_path / "out"
    for name in ("train/source/0.png", "val/target/3.png"):
        (folder / name).write_bytes(b"text")
    with pytest.raises(
        ImageError, match=r"2 of 16 files cannot be packed, train/source/0.png, val/target/3.png: repair"
    ):
        pack(folder, out)
    assert sum("its content is not a picture" in record.getMessage() for record in caplog.records) == 2
    assert not (out / "index.safetensors").exists()
    assert "train-000000.tar" not in os.listdir(out)
    assert "val-000000.tar" in os.listdir(out)


def test_a_file_that_grows_meanwhile_is_not_packed_half(folder, tmp_path, monkeypatch, caplog):
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + b"more" * (path.name == "0.png"))
    with pytest.raises(ImageError, match="4 of 16 files cannot be packed"):
        pack(folder, tmp_path / "out")
    assert "0.png changed while it was packed: give the command again" in caplog.text


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda out: out.write_text("x"), "out is a file: give a folder for the shards"),
        (
            lambda out: (out / "a").mkdir(parents=True),
            "out holds 1 files that preprocess shards did not write, a: give",
        ),
        (
            lambda out: (out.mkdir(), (out / "x-000000.tar").write_text("")),
            "holds 1 files that preprocess shards did not write, x-000000.tar: give",
        ),
    ],
)
def test_an_output_of_somebody_else_is_left_alone(folder, tmp_path, prepare, message):
    prepare(tmp_path / "out")
    with pytest.raises(ImageError, match=message):
        pack(folder, tmp_path / "out")


def test_shards_of_another_folder_are_replaced_only_when_asked(folder, tmp_path, photographs):
    out, other = tmp_path / "out", write_set(tmp_path / "other", photographs[4:], ("5", "6"), ("train",))
    pack(folder, out)
    with pytest.raises(ImageError, match=r"holds shards of another folder, .*: give another output, or --overwrite"):
        pack(other, out)
    pack(other, out, Packing(shard_size=0.02, overwrite=True))
    pack(other, tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh")


def test_a_cache_of_decoded_pictures_in_the_output_is_no_stranger(folder, tmp_path):
    pack(folder, tmp_path / "out")
    (tmp_path / "out/cache").mkdir()
    pack(folder, tmp_path / "out")


def test_damaged_shards_are_packed_again(folder, tmp_path, caplog):
    out = tmp_path / "out"
    pack(folder, out)
    wanted = contents(out)
    os.truncate(out / "train-000000.tar", 1000)
    pack(folder, out)
    assert contents(out) == wanted
    assert "has 1000 bytes of" in caplog.text


@pytest.mark.parametrize("name", ["train-000000.tar", "index.safetensors"])
def test_overwrite_mends_what_only_its_bytes_show(name, folder, tmp_path):
    out = tmp_path / "out"
    pack(folder, out)
    wanted = contents(out)
    content = bytearray((out / name).read_bytes())
    content[600] ^= 1
    (out / name).write_bytes(content)
    if name.endswith(".safetensors"):
        with pytest.raises(ImageError, match="or their index is damaged: give another output, or --overwrite"):
            pack(folder, out)
    pack(folder, out, Packing(shard_size=0.02, overwrite=True))
    assert contents(out) == wanted


def test_two_commands_at_once_do_not_write_into_one_place(folder, tmp_path):
    (tmp_path / "out/.packing").mkdir(parents=True)
    with open(tmp_path / "out/.packing/lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (tmp_path / "out/.packing/origin.json").write_text(json.dumps({"origin": packing.origin_of("shards", folder)}))
        with pytest.raises(
            ImageError, match=r"another process is packing into .*out: wait for it, or give another folder"
        ):
            pack(folder, tmp_path / "out")
    pack(folder, tmp_path / "out")


def test_input_and_output_must_be_apart(folder, tmp_path):
    with pytest.raises(ImageError, match=r"the output folder .* lies in the input folder"):
        pack(folder, folder / "shards")
    with pytest.raises(ImageError, match=r"the output folder .* lies in the input folder"):
        pack(folder, tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "nothing does not exist: give a prepared folder .* with train/ and, if wanted, val/"),
        ("in/train", "train has no folder train/: give a prepared folder"),
        ("in/train/source/0.png", "0.png is a file: give a prepared folder"),
    ],
)
def test_what_is_no_data_set_is_refused(folder, tmp_path, name, message):
    with pytest.raises(ImageError, match=message):
        pack(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "in/train/source").mkdir(parents=True)
    with pytest.raises(ImageError, match="train holds no images"):
        pack(tmp_path / "in", tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text_are_refused(folder, tmp_path):
    os.rename(folder / "train/source/0.png", os.fsencode(folder / "train/source") + b"/\xff.png")
    with pytest.raises(
        ImageError, match=re.escape(r"'train/source/\udcff.png' is no valid UTF-8") + ".*: rename the file"
    ):
        pack(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"shard_size": one}, f"a number of MB above 0, got {one}") for one in (0, float("inf"), float("nan"))]
    + [({"workers": 0}, "workers must be at least 1, got 0")],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ImageError, match=message):
        Packing(**options)


def test_the_command_tells_what_it_did(folder, tmp_path, capsys):
    words = ["preprocess", "shards", str(folder), str(tmp_path / "out"), "--shard-size", "0.03"]
    assert main(words) == 0
    out = tmp_path / "out"
    shown = capsys.readouterr().out
    assert shown == f"images in 4 shards: train 8, val 8; 0 files failed. Manifest: {out / 'SHA256SUMS'}\n"
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"] == 16
    assert captured.err == ""
    assert main(["preprocess", "shards", str(folder / "train"), str(tmp_path / "no")]) == 2
    assert "has no folder train/" in capsys.readouterr().err
    assert main(["preprocess", "shards", str(folder), "/dev/null/out"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_of_two_gibibytes_would_be_read_in_parts(folder, tmp_path, monkeypatch):
    pack(folder, tmp_path / "out")
    shards, real = Shards.open(tmp_path / "out"), os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: real(file, min(size, 100), offset))
    assert shards.content(tmp_path / "out/train/source/0.png") == (folder / "train/source/0.png").read_bytes()


def test_of_values_and_sizes_the_index_tells_what_the_headers_tell(tmp_path, photographs):
    grey16 = photographs[0].mean(axis=2).astype(np.uint16) * 200
    alpha = np.dstack([photographs[1], photographs[1][..., :1]])
    for name, array in (("16", grey16), ("alpha", alpha)):
        for side in ("source", "target"):
            (tmp_path / "in/train" / side).mkdir(parents=True, exist_ok=True)
            write_picture(from_array(array), tmp_path / "in/train" / side / f"{name}.png")
    pack(tmp_path / "in", tmp_path / "out")
    plain, shards = open_source(tmp_path / "in"), open_source(tmp_path / "out")
    for path in find_training(DataConfig(folder=tmp_path / "in")).files():
        inside = path.relative_to(tmp_path / "in")
        assert shards.probe(tmp_path / "out" / inside) == plain.probe(path)
