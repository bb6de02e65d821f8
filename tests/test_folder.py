"""Folders and files through `translate infer`: nothing is lost, nothing is done twice, a bad file stops no other."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from translate.cli import main
from translate.data.images import ImageError, Metadata, from_array, read_picture, to_array, write_picture
from translate.pipelines.inference.folder import translate_file, translate_folder
from translate.pipelines.inference.pipeline import Pipeline, Prepared
from translate.pipelines.inference.plan import Job, Options, is_planned, plan, plan_folder
from translate.pipelines.inference.stages import Loaded, batches
from translate.pipelines.journal import Journal, Record

RANDOM = np.random.default_rng(0)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def values(*shape, dtype=np.uint8):
    return RANDOM.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def put(path, array=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(from_array(values(4, 5, 3) if array is None else array), path)
    return path


def infer(*arguments, model="identity"):
    return main(["infer", str(model), *(str(argument) for argument in arguments), "--json"])


def visible(folder):
    """The files that a user sees, by their path below the folder."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if not any(part.startswith(".") for part in path.parts))


def report_of(folder):
    return {entry["file"]: entry for entry in map(json.loads, (folder / "report.jsonl").read_text().splitlines())}


def stamps(folder):
    """What changes when a file is written again."""
    return {name: ((folder / name).stat().st_ino, (folder / name).stat().st_mtime_ns) for name in visible(folder)}


@pytest.fixture
def folder(tmp_path):
    """Three images in a tree."""
    for name in ("a.png", "sub/b.tif", "sub/deeper/c.bmp"):
        put(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def identity():
    return Pipeline.from_pretrained("identity", device="cpu")


# identical pixels


@pytest.fixture
def every_kind(tmp_path):
    """All formats in all 8-bit and 16-bit forms that they have, with profile, EXIF and orientation where they can."""
    root = tmp_path / "in"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    metadata = Metadata(icc=SRGB, dpi=(300.0, 300.0))
    for suffix, dtypes, samples in (
        (".png", (np.uint8, np.uint16), (1, 2, 3, 4)),
        (".tif", (np.uint8, np.uint16), (1, 2, 3, 4)),
        (".webp", (np.uint8,), (3, 4)),
        (".bmp", (np.uint8,), (1, 3)),
    ):
        for dtype in dtypes:
            for count in samples:
                array = values(7, 5, count, dtype=dtype)
                root.mkdir(exist_ok=True)
                carried = metadata if count > 2 else Metadata()
                write_picture(from_array(array, carried), root / f"{np.dtype(dtype).name}_{count}{suffix}")
    Image.fromarray(values(7, 5, 3)).save(root / "photo.jpg", exif=exif, icc_profile=SRGB)
    Image.fromarray(values(7, 5)).save(root / "grey.jpeg", quality=60)
    for suffix in ("png", "tif", "webp"):
        Image.fromarray(values(7, 5, 3)).save(root / f"turned_{suffix}.{suffix}", exif=exif, lossless=True)
    Image.fromarray(values(3, 4)).convert("P").save(root / "palette.png")
    Image.fromarray(values(3, 4) > 100).save(root / "bits.png")
    tifffile.imwrite(root / "big.tiff", values(300, 9, 3, dtype=np.uint16), compression="zlib", byteorder=">")
    put(root / "pixel.png", values(1, 1, 3))
    put(root / "line.png", values(1, 40, dtype=np.uint16))
    return root


def test_the_identity_returns_every_file_with_identical_pixels_and_metadata(every_kind, tmp_path, capsys):
    assert infer(every_kind, tmp_path / "out") == 0
    report = report_of(tmp_path / "out")
    assert len(report) == len(visible(every_kind)) == 30
    for name, entry in report.items():
        before, after = read_picture(every_kind / name), read_picture(tmp_path / "out" / entry["output"])
        assert after.pixels.dtype == before.pixels.dtype
        np.testing.assert_array_equal(to_array(after), to_array(before), err_msg=name)
        assert after.metadata.icc == before.metadata.icc, name
        if name.startswith(("turned", "photo")):
            assert b"camera" in after.metadata.exif, name
        kept = Path(name).suffix if not name.endswith((".jpg", ".jpeg")) else ".png"
        assert entry["output"] == Path(name).with_suffix(kept).as_posix()
    assert read_picture(tmp_path / "out" / "photo.png").pixels.shape == (5, 7, 3)  # upright


@pytest.mark.parametrize("name", ["uint16_4.png", "uint8_2.tif", "uint8_4.webp", "photo.jpg", "uint8_1.bmp"])
def test_the_identity_returns_a_single_file_with_identical_pixels(every_kind, tmp_path, name, capsys):
    output = tmp_path / "new" / Path(name).with_suffix(".png" if name.endswith("jpg") else Path(name).suffix).name
    assert infer(every_kind / name, output) == 0
    np.testing.assert_array_equal(to_array(read_picture(output)), to_array(read_picture(every_kind / name)))
    summary = json.loads(capsys.readouterr().out)
    assert summary == {"files": 1, "done": 1, "skipped": 0, "failed": 0, "output": str(output)}


# names and places


def test_the_tree_and_unusual_names_are_kept(tmp_path, identity):
    names = ["a b.png", "ü/ñandú 😀.png", "x/y/z.tif", "dots.in.name.png", "[a]%s{}.bmp", "line\u2028break.png"]
    for name in names:
        put(tmp_path / "in" / name)
    assert translate_folder(identity, tmp_path / "in", tmp_path / "out")["done"] == 6
    assert visible(tmp_path / "out") == sorted([*names, "report.jsonl"])
    assert report_of(tmp_path / "out").keys() == set(names)
    assert translate_folder(identity, tmp_path / "in", tmp_path / "out")["skipped"] == 6


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_translated_and_reported(tmp_path, identity):
    put(tmp_path / "in" / "a.png").rename(tmp_path / "in" / os.fsdecode(b"\xff\xfe.png"))
    assert translate_folder(identity, tmp_path / "in", tmp_path / "out")["done"] == 1
    assert os.fsencode(next(iter(report_of(tmp_path / "out")))) == b"\xff\xfe.png"
    assert translate_folder(identity, tmp_path / "in", tmp_path / "out")["skipped"] == 1


@pytest.mark.parametrize(
    ("names", "format", "outputs"),
    [
        (["a.jpg", "a.png"], None, ["a.jpg.png", "a.png"]),
        (["a.jpeg", "a.jpg"], None, ["a.jpeg.png", "a.jpg.png"]),
        (["a.jpg", "a.jpg.png", "a.png"], None, ["a.jpg.2.png", "a.jpg.png", "a.png"]),
        (["A.PNG", "a.png"], None, ["A.PNG", "a.png"]),
        (["A.PNG", "a.png"], ".png", ["A.PNG.png", "a.png"]),
        (["A.jpg", "a.JPG"], None, ["A.jpg.png", "a.JPG.2.png"]),
        (["a.bmp", "a.tif", "a.webp"], ".png", ["a.bmp.png", "a.tif.png", "a.webp.png"]),
        (["x/a.jpg", "y/a.png"], None, ["x/a.png", "y/a.png"]),
        (["a.tiff", "b.jpeg"], ".jpg", ["a.jpg", "b.jpg"]),
    ],
)
def test_no_two_outputs_have_one_name(names, format, outputs):
    files = [Path("/in") / name for name in names]
    jobs = plan(Path("/in"), files, Options(format=format))
    assert [job.output for job in jobs] == outputs
    assert [job.source for job in jobs] == files


def test_files_that_would_collide_are_all_there(tmp_path, identity):
    arrays = {name: values(3, 3, 3) for name in ("a.png", "A.PNG", "a.bmp", "a.tif")}
    for name, array in arrays.items():
        put(tmp_path / "in" / name, array)
    if len(visible(tmp_path / "in")) < 4:
        pytest.skip("this file system knows no case")
    translate_folder(identity, tmp_path / "in", tmp_path / "out", Options(format=".png"))
    for name, entry in report_of(tmp_path / "out").items():
        np.testing.assert_array_equal(read_picture(tmp_path / "out" / entry["output"]).pixels, arrays[name])
    assert len(visible(tmp_path / "out")) == 5


def test_a_file_that_comes_later_and_takes_a_name_costs_no_translation(tmp_path, identity):
    jpeg = tmp_path / "in" / "a.jpg"
    put(jpeg, np.full((8, 8), 50, np.uint8))
    translate_folder(identity, tmp_path / "in", tmp_path / "out")
    assert visible(tmp_path / "out") == ["a.png", "report.jsonl"]
    put(tmp_path / "in" / "a.png", np.full((8, 8), 200, np.uint8))
    summary = translate_folder(identity, tmp_path / "in", tmp_path / "out")
    assert (summary["done"], summary["skipped"]) == (2, 0)
    assert read_picture(tmp_path / "out" / "a.png").pixels[0, 0, 0] == 200
    assert read_picture(tmp_path / "out" / "a.jpg.png").pixels[0, 0, 0] == 50


def test_what_a_kind_of_file_cannot_hold_is_written_as_another_and_said(tmp_path, identity):
    put(tmp_path / "in" / "deep.png", values(3, 3, dtype=np.uint16)).rename(tmp_path / "in" / "deep.bmp")
    translate_folder(identity, tmp_path / "in", tmp_path / "out")
    assert report_of(tmp_path / "out")["deep.bmp"]["output"] == "deep.bmp.png"
    assert translate_folder(identity, tmp_path / "in", tmp_path / "out")["skipped"] == 1
    assert translate_file(identity, tmp_path / "in" / "deep.bmp", tmp_path) == tmp_path / "deep.bmp.png"
    put(tmp_path / "in" / "deep.bmp.png")
    summary = translate_folder(identity, tmp_path / "in", tmp_path / "other")
    assert (summary["done"], summary["failed"]) == (1, 1)
    assert (
        "written as deep.bmp.png, which is the place of another file"
        in (report_of(tmp_path / "other")["deep.bmp"]["reason"])
    )


def test_a_record_counts_only_for_a_name_that_the_plan_can_give():
    job = plan(Path("/in"), [Path("/in/a.bmp")], Options())[0]
    assert is_planned(job, "a.bmp")
    assert is_planned(job, "a.bmp.png")
    assert not is_planned(job, "a.png")


def test_hidden_files_and_what_is_no_image_are_left_alone(folder, tmp_path, identity):
    for name in ("notes.txt", ".hidden.png", ".folder/x.png", "movie.mp4", "no_suffix"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no image")
    summary = translate_folder(identity, folder, tmp_path / "out")
    assert (summary["files"], summary["done"], summary["failed"]) == (3, 3, 0)


def test_an_output_folder_inside_the_input_folder_is_not_read(folder, identity):
    for skipped in (0, 3):
        summary = translate_folder(identity, folder, folder / "sub" / "out")
        assert (summary["files"], summary["skipped"]) == (3, skipped)


def test_the_input_folder_as_output_is_refused(folder, capsys):
    before = stamps(folder)
    for output in (folder, folder / "sub" / ".."):
        assert infer(folder, output) == 2
        assert "is the input folder: give another one, inputs are not overwritten" in capsys.readouterr().err
    assert stamps(folder) == before


def test_an_output_that_would_replace_an_input_is_refused(tmp_path, capsys):
    put(tmp_path / "photos" / "in" / "in" / "a.png")
    put(tmp_path / "photos" / "in" / "a.png")
    assert infer(tmp_path / "photos" / "in", tmp_path / "photos") == 2
    assert "the output of in/a.png in" in capsys.readouterr().err
    assert visible(tmp_path / "photos") == ["in/a.png", "in/in/a.png"]


def test_a_file_as_output_folder_is_refused(folder, capsys):
    assert infer(folder, folder / "a.png") == 2
    assert "is a file, but" in capsys.readouterr().err
    np.testing.assert_array_equal(read_picture(folder / "a.png").pixels.shape, (4, 5, 3))


def test_a_folder_without_images_is_refused(tmp_path, identity):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=r"holds no images: files ending in \.png"):
        translate_folder(identity, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(ImageError, match="does not exist: give a folder of images"):
        translate_folder(identity, tmp_path / "none", tmp_path / "out")


def test_a_single_file_goes_into_a_folder_under_its_own_name(folder, tmp_path, identity):
    assert translate_file(identity, folder / "a.png", tmp_path / "new") == tmp_path / "new" / "a.png"
    (tmp_path / "v1.2").mkdir()
    assert translate_file(identity, folder / "a.png", tmp_path / "v1.2") == tmp_path / "v1.2" / "a.png"
    written = translate_file(identity, folder / "a.png", tmp_path / "new", Options(format=".webp"))
    assert written == tmp_path / "new" / "a.webp"
    assert translate_file(identity, folder / "a.png", tmp_path / "b.TIFF") == tmp_path / "b.TIFF"
    (folder / "a.png").rename(folder / "no_suffix")
    assert translate_file(identity, folder / "no_suffix", tmp_path / "new").name == "no_suffix.png"


def test_a_single_output_that_cannot_be_is_refused(folder, tmp_path, identity):
    image = folder / "a.png"
    with pytest.raises(ImageError, match="is the input: give another name, inputs are not overwritten"):
        translate_file(identity, image, folder)
    with pytest.raises(ImageError, match="is the input"):
        translate_file(identity, image, folder / "sub" / ".." / "a.png")
    with pytest.raises(ImageError, match=r"out\.gif is of no known kind: give a name that ends in \.png"):
        translate_file(identity, image, tmp_path / "out.gif")
    with pytest.raises(ImageError, match=r"out\.png is not of the format \.tif that was asked for"):
        translate_file(identity, image, tmp_path / "out.png", Options(format=".tif"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": ".gif"}, r"the output format must be one of \.png, .*, got '\.gif'"),
        ({"quality": 0}, "quality must be from 1 to 100, got 0"),
        ({"quality": 101}, "quality must be from 1 to 100, got 101"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (
            {"quality": 50, "format": ".png"},
            r"quality is of \.jpg and \.webp, and the format is \.png: leave one of them",
        ),
        ({"compression": "most"}, "compression must be one of fast, small, none, got 'most'"),
        ({"compression": "none", "format": ".png"}, r"the compression of \.png must be one of fast, small, got 'none'"),
        (
            {"compression": "small", "format": ".jpg"},
            r"the compression of \.jpg must be one of fast, got 'small': leave",
        ),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"max_pixels": 0}, "max_pixels must be at least 1, got 0"),
    ],
)
def test_options_are_checked_before_anything_starts(options, message):
    with pytest.raises(ImageError, match=message):
        Options(**options)


# what is done is not done again, and what is not done is


def test_only_what_changed_is_done_again(folder, tmp_path, identity):
    out = tmp_path / "out"
    translate_folder(identity, folder, out)
    first = stamps(out)
    put(folder / "a.png", values(2, 2, 3))
    put(folder / "new.png")
    (out / "sub" / "b.tif").write_bytes((out / "sub" / "b.tif").read_bytes()[:-20])
    summary = translate_folder(identity, folder, out)
    assert (summary["done"], summary["skipped"]) == (3, 1)
    changed = {name for name, stamp in stamps(out).items() if stamp != first.get(name)}
    assert changed == {"a.png", "new.png", "sub/b.tif", "report.jsonl"}
    (out / "a.png").unlink()
    assert translate_folder(identity, folder, out)["done"] == 1
    assert report_of(out)["a.png"]["status"] == "done"
    assert report_of(out)["new.png"]["status"] == "skipped"
    assert report_of(out)["a.png"] | {"width": 2, "height": 2} == report_of(out)["a.png"]


def test_another_model_direction_precision_or_option_does_all_again(folder, tmp_path, small_model, identity):
    out = tmp_path / "out"
    generators = [Pipeline.from_pretrained(small_model, direction=name) for name in ("a_to_b", "b_to_a")]
    fast = Pipeline.from_pretrained(small_model, dtype=torch.bfloat16)
    for pipe in (identity, *generators, fast, identity):
        assert translate_folder(pipe, folder, out)["done"] == 3
        assert translate_folder(pipe, folder, out)["skipped"] == 3
    assert translate_folder(identity, folder, out, Options(format=".png"))["done"] == 3
    assert translate_folder(identity, folder, out, Options(quality=50))["done"] == 3
    # What only concerns speed or safety is no reason.
    assert translate_folder(identity, folder, out, Options(quality=50, batch_size=4, workers=1))["skipped"] == 3


def test_a_journal_is_understood_whatever_a_kill_or_other_processes_left_of_it(folder, tmp_path, identity):
    out = tmp_path / "out"
    translate_folder(identity, folder, out)
    journal = out / ".translate" / "journal-0.jsonl"
    lines = journal.read_text().splitlines()
    journal.rename(out / ".translate" / "journal-7.jsonl")
    put(folder / "d.png")
    journal.write_text('{"file": "a.png", "status": "done", "output": "a.png"}\n{"unknown": 1}\n[]\n' + lines[0][:40])
    summary = translate_folder(identity, folder, out)
    assert (summary["done"], summary["skipped"]) == (1, 3)
    assert translate_folder(identity, folder, out)["skipped"] == 4


def test_no_part_of_an_output_is_ever_visible(tmp_path):
    journal = Journal(tmp_path)
    record = Record("a.png", "done", output="sub/a.png")

    def write(path):
        path.write_bytes(b"half")
        assert visible(tmp_path) == []
        path.write_bytes(b"whole")

    journal.put(record, write)
    assert visible(tmp_path) == ["sub/a.png"]
    assert (tmp_path / "sub" / "a.png").read_bytes() == b"whole"

    def fail(path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        journal.put(Record("b.png", "done", output="b.png"), fail)
    assert visible(tmp_path) == ["sub/a.png"]
    assert sorted(path.name for path in (tmp_path / ".translate").iterdir()) == ["journal-0.jsonl"]


def test_what_a_killed_run_left_aside_is_removed(folder, tmp_path, identity):
    (tmp_path / "out" / ".translate").mkdir(parents=True)
    (tmp_path / "out" / ".translate" / "aside-0.png").write_bytes(b"half")
    translate_folder(identity, folder, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / ".translate").iterdir()] == ["journal-0.jsonl"]


# bad files


def test_an_output_that_cannot_be_written_is_reported_and_the_others_are_done(folder, tmp_path, identity):
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    put(folder / "deep.tif", values(3, 3, dtype=np.uint16))
    summary = translate_folder(identity, folder, tmp_path / "out", Options(format=".png"))
    assert (summary["done"], summary["failed"]) == (3, 1)
    assert "a.png" in report_of(tmp_path / "out")["a.png"]["reason"]
    summary = translate_folder(identity, folder, tmp_path / "jpeg", Options(format=".jpg"))
    assert (summary["done"], summary["failed"]) == (3, 1)
    assert "jpeg cannot hold uint16" in report_of(tmp_path / "jpeg")["deep.tif"]["reason"]


def test_a_network_that_fails_on_one_image_of_a_batch_does_the_others(tmp_path, identity):
    for index in range(4):
        put(tmp_path / "in" / f"{index}.png", np.full((2, 2, 3), 60 * index, np.uint8))

    def run(images):
        if (images > 0.4).any():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images

    identity.run = run
    summary = translate_folder(identity, tmp_path / "in", tmp_path / "out", Options(batch_size=4))
    assert (summary["done"], summary["failed"]) == (3, 1)
    assert report_of(tmp_path / "out")["3.png"]["reason"] == "OutOfMemoryError: CUDA out of memory"


def test_an_image_that_is_too_large_is_reported_not_decoded(folder, tmp_path, capsys):
    put(folder / "large.png", values(100, 100))
    assert infer(folder, tmp_path / "out", "--max-pixels", "9999") == 1
    assert "allowed are 0.0: pass max_pixels=10000" in report_of(tmp_path / "out")["large.png"]["reason"]


def test_batches_give_what_single_images_give(tmp_path, small_model):
    pipe = Pipeline.from_pretrained(small_model)
    for index, size in enumerate([(9, 9)] * 5 + [(9, 17)] * 3 + [(9, 9)] * 2):
        put(tmp_path / "in" / f"{index:02d}.png", values(*size, 3))
    ran = []
    original = pipe.run
    pipe.run = lambda images: ran.append(len(images)) or original(images)
    translate_folder(pipe, tmp_path / "in", tmp_path / "together", Options(batch_size=4))
    assert ran == [4, 3, 3]  # the fifth waits for others of its size
    translate_folder(pipe, tmp_path / "in", tmp_path / "singly")
    for name in visible(tmp_path / "in"):
        together, singly = (read_picture(tmp_path / out / name).pixels for out in ("together", "singly"))
        assert np.abs(together.astype(int) - singly).max() <= 1  # another order of summation may round otherwise
        assert (together == singly).mean() > 0.99


def loaded(name, side=9, wide=9):
    return Loaded(Job(name, Path(name), name), Prepared(torch.empty(1, 1, side, wide), None, "picture"), "", 0.0)


def grouped(results, size):
    """The names of each batch, as one word."""
    return [one.file if isinstance(one, Record) else "".join(x.job.file for x in one) for one in batches(results, size)]


def test_images_of_one_size_run_together_though_others_lie_between():
    mixed = [loaded(name, 9 if name.islower() else 17) for name in "aBcDeFg"]
    assert grouped(mixed, 2) == ["ac", "BD", "eg", "F"]
    assert grouped(mixed, 1) == list("aBcDeFg")
    assert grouped([loaded("a"), Record("x", "skipped"), loaded("b")], 2) == ["x", "ab"]
    assert grouped([loaded("a", 9, 10), loaded("b", 10, 9)], 2) == ["a", "b"]  # not as wide and high


def test_the_batch_that_has_waited_longest_runs_when_too_many_images_wait():
    sides = [loaded(name, 9 + index) for index, name in enumerate("abcdefghij")]  # no two of one size
    order = []

    def told():
        for one in sides:
            order.append(f"read {one.job.file}")
            yield one

    for batch in batches(told(), 2):
        order.append(f"run {batch[0].job.file}")
    assert order[8:13] == ["read i", "run a", "read j", "run b", "run c"]  # 4 batches of 2 may wait
    assert order[-1] == "run j"


def test_large_images_wait_for_others_only_while_memory_is_bounded():
    side = 5000
    large = [loaded(name, side, side + (name in "bd")) for name in "abcd"]  # three are more than 2**26 pixels
    assert grouped(large, 8) == ["ac", "bd"]
    assert grouped([*large, loaded("e", side, side), loaded("f", side, side)], 8) == ["ac", "bd", "ef"]
    assert grouped([loaded(name, side, side) for name in "abcde"], 5) == [
        "abcde"
    ]  # one size: as many as were asked for


# how files are written


def test_files_are_packed_as_was_asked_for(tmp_path, identity):
    array = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    for name in ("a.png", "b.tif", "c.webp"):
        put(tmp_path / "in" / name, np.dstack([array] * 3))
    sizes = {}
    for compression in ("fast", "small", "none"):
        out = tmp_path / compression
        assert translate_folder(identity, tmp_path / "in", out, Options(compression=compression))["done"] == 3
        sizes |= {(name, compression): (out / name).stat().st_size for name in ("a.png", "b.tif", "c.webp")}
        np.testing.assert_array_equal(read_picture(out / "b.tif").pixels[..., 0], array)
    assert sizes["a.png", "small"] < sizes["a.png", "fast"] == sizes["a.png", "none"]
    assert sizes["b.tif", "fast"] < 60000 < sizes["b.tif", "none"]
    one = translate_file(identity, tmp_path / "in" / "b.tif", tmp_path / "one.tif", Options(compression="none"))
    assert one.stat().st_size == sizes["b.tif", "none"]


def test_a_command_with_another_compression_does_all_again(folder, tmp_path, identity):
    for options in (Options(), Options(compression="small"), Options(compression="none")):
        assert translate_folder(identity, folder, tmp_path / "out", options)["done"] == 3
        assert translate_folder(identity, folder, tmp_path / "out", options)["skipped"] == 3


def test_what_could_not_be_encoded_is_reported_under_the_name_of_its_output(folder, tmp_path, identity):
    put(folder / "deep.tif", values(3, 3, dtype=np.uint16))
    assert translate_folder(identity, folder, tmp_path / "out", Options(format=".jpg"))["failed"] == 1
    reason = report_of(tmp_path / "out")["deep.tif"]["reason"]
    assert reason.startswith("cannot write deep.jpg: jpeg cannot hold uint16")


def test_a_file_that_is_no_longer_there_is_reported_and_the_others_are_done(folder, tmp_path, identity, monkeypatch):
    jobs = plan_folder(folder, tmp_path / "out", Options())
    (folder / "a.png").unlink()
    monkeypatch.setattr("translate.pipelines.inference.folder.plan_folder", lambda *_: jobs)
    summary = translate_folder(identity, folder, tmp_path / "out")
    assert (summary["done"], summary["failed"]) == (2, 1)
    assert "No such file" in report_of(tmp_path / "out")["a.png"]["reason"]


def test_a_kill_before_the_rename_leads_to_the_work_being_done_again(tmp_path, monkeypatch):
    journal = Journal(tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            journal.put_file(Record("a.png", "done", "sub/a.png", settings="s", input_sha256="i"), b"whole")
    assert visible(tmp_path) == []
    assert [path.name for path in (tmp_path / ".translate").iterdir()] == ["journal-0.jsonl"]
    assert Journal(tmp_path).find_done("a.png", "s", "i") is None
    journal.put_file(Record("a.png", "done", "sub/a.png", settings="s", input_sha256="i"), b"whole")
    assert (tmp_path / "sub" / "a.png").read_bytes() == b"whole"
    assert Journal(tmp_path).find_done("a.png", "s", "i").output == "sub/a.png"


def test_an_output_that_would_replace_an_input_behind_a_link_is_refused(tmp_path, identity):
    put(tmp_path / "in" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.png").symlink_to(tmp_path / "in" / "a.png")
    put(tmp_path / "in" / "b.png")
    with pytest.raises(ImageError, match=r"the output of b\.png in .* would take the place of an input"):
        translate_folder(identity, tmp_path / "in", tmp_path / "out")
    (tmp_path / "linked").symlink_to(tmp_path / "in")
    with pytest.raises(ImageError, match="is the input folder"):
        translate_folder(identity, tmp_path / "in", tmp_path / "linked")


# the bar


def png_header(width, height):
    """A PNG that claims a size and holds nearly no pixels."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 10)), (b"IEND", b"")):
        parts.append(struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)))
    return b"".join(parts)


BROKEN = {  # how a file is broken: its content, made of a good one, and what the report says
    "truncated": (lambda good: good[: len(good) // 2], "truncated"),
    "empty": (lambda good: b"", "the file is empty"),
    "text": (lambda good: b"this is a text\n", "its content is not a picture"),
    "no_size": (lambda good: png_header(0, 0), "its size is 0 x 0|truncated or damaged"),
    "huge": (lambda good: png_header(100_000, 100_000), "10000.0 megapixels, allowed are 300.0"),
}


@pytest.fixture
def thousand(tmp_path):
    """1,000 files in 10 folders: 980 images of 6 x 6, and 4 of each way to be broken."""
    kinds = [kind for kind in BROKEN for _ in range(4)]
    good = [put(tmp_path / "made.png", values(6, 6, 3)).read_bytes() for _ in range(20)]
    for index in range(1000):
        kind = kinds[index // 50] if index % 50 == 49 else None
        path = tmp_path / "in" / f"{index // 100}" / f"{index:03d}{f'_{kind}' if kind else ''}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = good[index % 20]
        path.write_bytes(BROKEN[kind][0](content) if kind else content)
    return tmp_path / "in"


def kill_when(process, journal, lines):
    """SIGKILL, as soon as the journal has so many lines."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if journal.is_file() and journal.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            return process.wait()
        time.sleep(0.002)
    pytest.fail(f"the run ended with {process.wait()} before it could be killed")


def test_a_thousand_files_with_20_broken_ones_survive_a_kill_and_nothing_is_done_twice(thousand, tmp_path, capsys):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "translate", "infer", "identity", str(thousand), str(out), "--json"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert kill_when(process, out / ".translate" / "journal-0.jsonl", 400) == -signal.SIGKILL
    before = stamps(out)
    assert 350 < len(before) < 980
    for name in before:  # no half of a file is visible
        np.testing.assert_array_equal(read_picture(out / name).pixels, read_picture(thousand / name).pixels)

    assert infer(thousand, out) == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["files"], summary["done"], summary["skipped"]) == (1000, 980 - len(before), len(before))
    assert summary["failed"] == 20
    after = stamps(out)
    assert {name: after[name] for name in before} == before
    assert len(visible(out)) == 981

    report = report_of(out)
    assert Counter(entry["status"] for entry in report.values())["failed"] == 20
    for kind, (_, reason) in BROKEN.items():
        entries = [entry for name, entry in report.items() if name.endswith(f"_{kind}.png")]
        assert len(entries) == 4
        for entry in entries:
            assert entry["status"] == "failed"
            assert any(words in entry["reason"] for words in reason.split("|")), entry
            assert Path(entry["file"]).name in entry["reason"]
            assert entry.keys() == {"file", "status", "reason"}

    assert infer(thousand, out) == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["done"], summary["skipped"], summary["failed"]) == (0, 980, 20)


def test_two_processes_write_exactly_what_one_would(tmp_path, small_model):
    for index in range(11):
        put(tmp_path / "in" / f"{index % 3}" / f"{index:02d}.png", values(6 + index % 2, 6, 3))
    (tmp_path / "in" / "broken.png").write_text("text")
    pipe = Pipeline.from_pretrained(small_model, device="cpu")
    translate_folder(pipe, tmp_path / "in", tmp_path / "one")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--main_process_port", "0", "-m", "translate"]
    arguments = ["infer", str(small_model), str(tmp_path / "in"), str(tmp_path / "two"), "--json"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, *arguments], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)  # one line, of one process
    assert (summary["files"], summary["done"], summary["failed"]) == (12, 11, 1)
    assert visible(tmp_path / "two") == visible(tmp_path / "one")
    for name in visible(tmp_path / "one"):
        if name != "report.jsonl":
            assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    one, two = (report_of(tmp_path / name) for name in ("one", "two"))
    assert list(one) == list(two)
    for name in one:
        assert {**one[name], "seconds": 0} == {**two[name], "seconds": 0}
    # One process finds what two have done.
    assert translate_folder(pipe, tmp_path / "in", tmp_path / "two")["skipped"] == 11
