"""The lists by which the scripts in tools/ build pictures, and the check of registration."""

import sys

import pytest
from conftest import ROOT
from PIL import Image, ImageChops, ImageOps

PICTURES = ROOT / "pipelines" / "pictures"


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")  # where a script finds the others beside it
    import build_demo_pictures

    return build_demo_pictures


@pytest.fixture
def sketches(demo):
    import build_sketch_pairs

    return build_sketch_pairs


def test_the_list_holds_700_pairs_to_train_with_and_60_others_to_validate_with(sketches):
    pairs = sketches.read_pairs(sketches.LIST)
    names = {split: {name for of, name in pairs if of == split} for split in ("train", "val")}
    assert (len(names["train"]), len(names["val"]), len(pairs)) == (700, 60, 760)
    assert not names["train"] & names["val"]
    assert len(set(pairs.values())) == 760  # no render twice


def test_both_lists_give_a_drawing_the_same_render(demo, sketches):
    short = demo.parse_pairs(demo.FACES, demo.CATS, demo.CLOCKS, demo.BUTTONS)
    long = {name: render for (_, name), render in sketches.read_pairs(sketches.LIST).items()}
    common = short.keys() & long.keys()
    assert len(common) > 90
    assert {name: short[name] for name in common} == {name: long[name] for name in common}


def test_nothing_is_written_if_a_package_lacks_a_picture(tmp_path, sketches):
    pairs = {("train", "cat"): "1f408", ("val", "dog"): "1f415"}
    message = r"fluentui-emoji@1\.3\.0 lacks 1 pictures, the first is 'dog': correct the table of names"
    with pytest.raises(sketches.BuildError, match=message):
        sketches.write_pairs(pairs, {"cat": b""}, {}, tmp_path / "out")
    message = r"@lobehub/fluent-emoji-3d@1\.1\.0 lacks 2 pictures, the first is '1f408'"
    with pytest.raises(sketches.BuildError, match=message):
        sketches.write_pairs(pairs, {"cat": b"", "dog": b""}, {}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_exists_is_refused(tmp_path, sketches, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["build_sketch_pairs.py", "--out", str(tmp_path)])
    with pytest.raises(sketches.BuildError, match="exists: name a new folder"):
        sketches.main()


def test_a_package_with_another_digest_is_refused(tmp_path, demo, monkeypatch):
    (tmp_path / "other.tgz").write_bytes(b"other")
    monkeypatch.setattr(demo.subprocess, "run", lambda *_, **__: type("Done", (), {"stdout": "other.tgz\n"}))
    with pytest.raises(demo.BuildError, match=r"fluentui-emoji@1\.3\.0 has the SHA-256 d9298a1.*: check what changed"):
        demo.fetch(demo.LINES, tmp_path)


def test_a_drawing_that_is_not_square_is_centred_on_white(sketches):
    whole = sketches.centred(Image.new("RGBA", (250, 256), "black")).convert("L")
    assert whole.size == (256, 256)
    assert [whole.getpixel((left, 128)) for left in (2, 3, 252, 253)] == [255, 0, 0, 255]


def test_registered_pictures_overlap_and_shifted_ones_do_not(sketches):
    line, render = (
        ImageOps.invert(Image.open(PICTURES / side / "cat-face.png").convert("L")) for side in ("sketch", "render")
    )
    assert sketches.overlap(line, line) == 1
    assert sketches.overlap(line, render) > 0.8
    assert sketches.overlap(line, ImageChops.offset(render, 40, 0)) < 0.65


def test_the_silhouette_of_a_broken_outline_is_filled(sketches):
    picture = Image.new("L", (64, 64))
    picture.paste(255, (16, 16, 48, 48))
    picture.paste(0, (18, 18, 46, 46))
    picture.paste(0, (30, 16, 34, 18))  # a gap of 4 pixels
    marks = sketches.silhouette(picture)
    assert marks[16:48, 16:48].mean() > 0.95
    assert marks.sum() <= 32 * 32
