"""Images larger than memory, in and out by windows: the pixels are those of the pipeline in memory.

Where a network computes, both are float32 in another order: see test_tiles_pipeline.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import ImageCms
from skimage import data as photographs_of
from test_folder import infer, put, report_of, stamps, visible
from test_scan_pipeline import tissue
from test_sketch_to_photo import pipeline as drawing_pipeline
from test_tiles_pipeline import check_close, enlarger, translator
from test_windowed import write_slide

from translate.data.images import ImageError, Metadata, Picture, from_array, read_picture, to_array
from translate.data.windowed import InMemory, open_windowed
from translate.data.windowed_write import write_windowed
from translate.model_folder import save_model
from translate.pipelines import OutputSize, Pipeline
from translate.pipelines.inference.folder import translate_file, translate_folder
from translate.pipelines.inference.large import translate_large
from translate.pipelines.inference.plan import Options
from translate.tiling.errors import TilingError
from translate.tiling.tiled import Tiling

ASTRONAUT = np.ascontiguousarray(photographs_of.astronaut()[:131, 120:313])  # 131 x 193: no multiple of a tile
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OFF, TILES = Tiling(tile=None), Tiling(tile=64)
KINDS = (".tif", ".ome.tif", ".zarr", ".ome.zarr")
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
LAUNCH += ["--main_process_port", "0", "-m", "translate"]


def photo(dtype="uint8", samples=3):
    """The photograph of an astronaut with 1 to 4 samples; alpha is a ramp, from transparent on."""
    ramp = np.broadcast_to(np.linspace(0, 255, 193).astype(np.uint8), (131, 193))
    grey = ASTRONAUT[..., 1]
    array = {1: grey, 2: np.dstack([grey, ramp]), 3: ASTRONAUT, 4: np.dstack([ASTRONAUT, ramp])}[samples]
    if dtype == "float32":
        return (array / 255).astype(np.float32)
    return array.astype(np.uint16) * 257 if dtype == "uint16" else array


def stored(path: Path, array=ASTRONAUT, **metadata) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_windowed(InMemory(from_array(array, Metadata(**metadata))), path)
    return path


def loaded(path: Path) -> Picture:
    with open_windowed(path) as image:
        return image.read(slice(0, image.info.height), slice(0, image.info.width))


def identity():
    return Pipeline.from_pretrained("identity", device="cpu")


def check_large(pipe, source: Path, output: Path):
    """The result by windows is that of the picture in memory."""
    made = translate_large(pipe.with_tiling(TILES), source, output)
    whole = pipe.with_tiling(OFF)(loaded(source))
    picture = loaded(output)
    assert (made.height, made.width) == whole.pixels.shape[:2]
    assert picture.pixels.dtype == whole.pixels.dtype
    assert to_array(picture).shape == to_array(whole).shape
    assert whole.pixels.std() > 0.05 * np.ptp(whole.pixels)
    check_close(to_array(picture), to_array(whole))
    assert made.tiles.tile == 64
    assert sorted(output.parent.iterdir()) == sorted({source, output})
    return made.tiles


# pixels

HELD = [(kind, samples) for kind in KINDS for samples in ((1, 3) if kind == ".ome.zarr" else (1, 2, 3, 4))]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("kind", "samples"), HELD)
def test_the_identity_returns_every_pixel_bit_for_bit(tmp_path, kind, dtype, samples):
    source = stored(tmp_path / f"a{kind}", photo(dtype, samples))
    translate_large(identity().with_tiling(TILES), source, tmp_path / f"b{kind}")
    np.testing.assert_array_equal(to_array(loaded(tmp_path / f"b{kind}")), photo(dtype, samples))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a{kind}", f"b{kind}"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_a_network_of_instance_norms_gives_what_it_gives_in_memory(tmp_path, dtype, samples):
    source = stored(tmp_path / "a.zarr", photo(dtype, samples))
    report = check_large(translator(follow=True), source, tmp_path / "b.ome.tif")
    assert report.method == "layers"


def test_a_unet_that_pads_the_image_gives_what_it_gives_in_memory(tmp_path):
    check_large(translator("unet"), stored(tmp_path / "a.ome.tif"), tmp_path / "b.zarr")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("channels", "samples"), [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_an_enlargement_gives_what_it_gives_in_memory_the_colours_included(tmp_path, dtype, channels, samples):
    source = stored(tmp_path / "a.ome.tif", photo(dtype, samples))
    check_large(enlarger(channels), source, tmp_path / "b.ome.zarr")


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_any_scale_of_a_network_gives_what_it_gives_in_memory(tmp_path, scale):
    check_large(enlarger(scale=scale), stored(tmp_path / "a.tif"), tmp_path / "b.tif")


def test_the_model_that_ships_enlarges_as_it_does_in_memory(tmp_path):
    pipe = type(enlarger()).from_pretrained("super-resolution-x2", device="cpu")
    check_large(pipe, stored(tmp_path / "a.ome.tif", ASTRONAUT[:67, :70]), tmp_path / "b.ome.tif")


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (65, 64), (129, 65)])
@pytest.mark.parametrize("make", [translator, enlarger], ids=["resnet", "enlarger"])
def test_remainders_of_one_pixel_give_what_they_give_in_memory(tmp_path, shape, make):
    rows = photographs_of.coffee()[: shape[0], : shape[1]]
    check_large(make(), stored(tmp_path / "a.zarr", rows), tmp_path / "b.zarr")


@pytest.mark.parametrize("make", [translator, enlarger], ids=["resnet", "enlarger"])
@pytest.mark.parametrize("tiling", [Tiling(), Tiling(tile=400), OFF], ids=["auto", "400", "off"])
def test_an_image_that_is_smaller_than_a_tile_runs_whole(tmp_path, make, tiling):
    source = stored(tmp_path / "a.ome.tif")
    made = translate_large(make().with_tiling(tiling), source, tmp_path / "b.ome.tif")
    assert made.tiles is None
    np.testing.assert_array_equal(loaded(tmp_path / "b.ome.tif").pixels, make()(ASTRONAUT))


def test_a_big_tiff_of_big_endian_strips_upside_down_is_read_as_it_is_seen(tmp_path):
    options = {"bigtiff": True, "byteorder": ">", "rowsperstrip": 7, "extratags": [(0x0112, 3, 1, 3, True)]}
    tifffile.imwrite(tmp_path / "a.tif", photo("uint16")[::-1, ::-1], photometric="rgb", **options)
    translate_large(translator().with_tiling(TILES), tmp_path / "a.tif", tmp_path / "b.tif")
    check_close(read_picture(tmp_path / "b.tif").pixels, translator()(photo("uint16")))


def test_a_slide_becomes_a_tiff_that_every_reader_opens(tmp_path):
    (tmp_path / "out").mkdir()
    write_slide(tmp_path / "a.svs", SRGB)
    written = translate_file(translator().with_tiling(TILES), tmp_path / "a.svs", tmp_path / "out")
    assert written == tmp_path / "out" / "a.tif"
    slide = loaded(tmp_path / "a.svs")
    made = read_picture(written)
    check_close(made.pixels, translator()(slide.pixels))
    assert made.metadata.icc == SRGB
    assert made.metadata.dpi == pytest.approx((101600, 101600))
    np.testing.assert_array_equal(tifffile.imread(written), made.pixels)


def test_maps_on_disk_give_the_same_and_leave_nothing_behind(tmp_path):
    source, scratch = stored(tmp_path / "in" / "a.zarr"), tmp_path / "scratch"
    scratch.mkdir()
    tiling = Tiling(tile=64, map_memory=0, scratch=scratch)
    made = translate_large(translator().with_tiling(tiling), source, tmp_path / "b.zarr")
    assert made.tiles.map_memory == 0
    assert made.tiles.map_disk >= 2 * 4 * 131 * 193 * 4  # two maps of 4 channels
    check_close(loaded(tmp_path / "b.zarr").pixels, translator()(ASTRONAUT))
    assert not list(scratch.iterdir())


# what is told about the pixels


def test_the_resolution_grows_with_the_enlargement_and_the_profile_stays(tmp_path):
    source = stored(tmp_path / "a.ome.tif", icc=SRGB, dpi=(25400 / 0.5, 25400 / 0.25))
    translate_large(enlarger().with_tiling(TILES), source, tmp_path / "b.ome.tif")
    metadata = loaded(tmp_path / "b.ome.tif").metadata
    assert metadata.icc == SRGB
    assert metadata.dpi == pytest.approx((2 * 25400 / 0.5, 2 * 25400 / 0.25))
    told = tifffile.TiffFile(tmp_path / "b.ome.tif").ome_metadata
    assert 'PhysicalSizeX="0.25"' in told
    assert 'PhysicalSizeY="0.125"' in told


def test_an_ngff_picture_tells_the_smaller_pixels_and_keeps_what_else_it_says(tmp_path):
    source = stored(tmp_path / "a.ome.zarr", dpi=(25400 / 0.5, 25400 / 0.5))
    zarr.open(source, mode="r+").attrs["stain"] = "H&E"
    translate_large(enlarger(scale=4).with_tiling(TILES), source, tmp_path / "b.zarr")
    told = dict(zarr.open(tmp_path / "b.zarr", mode="r").attrs)
    (level,) = told["ome"]["multiscales"][0]["datasets"]
    assert level["coordinateTransformations"][0]["scale"] == [1, 0.125, 0.125]
    assert told["stain"] == "H&E"


# what cannot be done


@pytest.fixture
def large(tmp_path):
    return stored(tmp_path / "a.ome.tif")


@pytest.mark.parametrize(
    ("make", "samples", "message"),
    [
        (enlarger, 4, "an image with alpha is not enlarged by windows: remove its alpha, or save it as an ordinary"),
        (lambda: enlarger(size=OutputSize(scale=3)), 3, "is enlarged 2 times, without a self-ensemble: leave --scale"),
        (lambda: enlarger(size=OutputSize(width=30)), 3, "enlarged 2 times"),
        (lambda: enlarger(self_ensemble=True), 3, "enlarged 2 times, without a self-ensemble"),
        (drawing_pipeline, 3, "drawings are not translated by windows"),
    ],
)
def test_what_needs_the_whole_image_is_refused(tmp_path, make, samples, message):
    source = stored(tmp_path / "a.tif", photo(samples=samples))
    with pytest.raises(ImageError, match=message):
        translate_large(make().with_tiling(TILES), source, tmp_path / "b.tif")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(size=64), "--size reduces pictures that are read as a whole"),
        (Options(format=".png"), r"written as TIFF or Zarr, not as \.png: leave --format out"),
    ],
)
def test_options_of_pictures_that_are_read_whole_are_refused(large, tmp_path, options, message):
    with pytest.raises(ImageError, match=message):
        translate_file(identity(), large, tmp_path / "b.ome.tif", options)
    summary = translate_folder(identity(), stored(tmp_path / "in" / "a.zarr").parent, tmp_path / "out", options)
    assert summary["failed"] == 1
    assert message.split(",")[0].replace("\\", "") in report_of(tmp_path / "out")["a.zarr"]["reason"]


def test_the_output_is_checked_before_the_work(large, tmp_path, monkeypatch):
    monkeypatch.setattr("translate.pipelines.inference.large.translate_tiled", None)
    (tmp_path / "notes.zarr").mkdir()
    (tmp_path / "notes.zarr" / "text").write_text("mine")
    pipe = identity().with_tiling(TILES)
    with pytest.raises(ImageError, match=r"b\.png: the suffix is '\.png', allowed are \.tif, .*\.zarr"):
        translate_file(pipe, large, tmp_path / "b.png")
    with pytest.raises(ImageError, match=r"notes\.zarr: it is a folder that holds something else"):
        translate_file(pipe, large, tmp_path / "notes.zarr")
    with pytest.raises(ImageError, match="is the input: give another name, inputs are not overwritten"):
        translate_file(pipe, large, tmp_path)
    with pytest.raises(ImageError, match="nowhere does not exist: create it first"):
        translate_large(pipe, large, tmp_path / "nowhere" / "b.tif")


def test_a_disk_without_room_is_an_error_and_leaves_nothing_behind(large, tmp_path, monkeypatch):
    def full(descriptor, start, count):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(TilingError, match=r"cannot be made in .* .No space left on device.: choose another folder"):
        translate_large(translator().with_tiling(TILES), large, tmp_path / "b.tif")
    assert list(tmp_path.iterdir()) == [large]


def damage(path: Path) -> Path:
    """Overwrite the compressed data of a tile in the middle."""
    with tifffile.TiffFile(path) as tif:
        index = len(tif.pages[0].dataoffsets) // 2
        start, count = tif.pages[0].dataoffsets[index], tif.pages[0].databytecounts[index]
    content = bytearray(path.read_bytes())
    content[start : start + count] = b"\xff" * count
    path.write_bytes(content)
    return path


def tiled_tiff(path: Path, array=ASTRONAUT) -> Path:
    """An OME-TIFF of small tiles, unlike ours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric="rgb", tile=(48, 48), compression="zlib", metadata={"axes": "YXS"})
    return path


def test_a_damaged_tile_is_an_error_and_leaves_nothing_behind(tmp_path):
    source = damage(tiled_tiff(tmp_path / "a.ome.tif"))
    with pytest.raises(ImageError, match=r"a\.ome\.tif: it is truncated or damaged"):
        translate_large(translator().with_tiling(TILES), source, tmp_path / "b.tif")
    assert list(tmp_path.iterdir()) == [source]


# folders


@pytest.fixture
def mixed(tmp_path):
    """A tree of pictures, and of images that are read by windows; one is damaged."""
    root = tmp_path / "in"
    put(root / "a.png", photo())
    put(root / "sub" / "a.tif", photo("uint16"))
    tiled_tiff(root / "sub" / "b.ome.tif")
    stored(root / "c.zarr", photo("uint16", 1))
    stored(root / "sub" / "d.ome.zarr")
    damage(tiled_tiff(root / "e.ome.tiff"))
    return root


def test_a_folder_may_hold_both_kinds(mixed, tmp_path):
    pipe = translator(follow=True).with_tiling(TILES)
    out = tmp_path / "out"
    summary = translate_folder(pipe, mixed, out)
    assert (summary["files"], summary["done"], summary["failed"]) == (6, 5, 1)
    report = report_of(out)
    done = ["a.png", "c.zarr", "sub/a.tif", "sub/b.ome.tif", "sub/d.ome.zarr"]
    assert {name: entry.get("output") for name, entry in report.items()} == {
        **{name: name for name in done},
        "e.ome.tiff": None,
    }
    assert "e.ome.tiff: it is truncated or damaged" in report["e.ome.tiff"]["reason"]
    assert not (out / "e.ome.tiff").exists()
    for name in done:
        read = loaded if "zarr" in name or "ome" in name else read_picture
        whole = pipe.with_tiling(OFF)(read(mixed / name))
        check_close(to_array(read(out / name)), to_array(whole))
        tiles = report[name]["tiles"]
        assert (tiles["method"], tiles["tile"], tiles["redone"]) == ("layers", 64, 0), name
        assert tiles["tiles"] > 6
        assert tiles["peak_memory"] > 2**20
        assert (report[name]["width"], report[name]["height"]) == (193, 131)
    assert [path.name for path in (out / ".translate").iterdir()] == ["journal-0.jsonl"]

    before = stamps(out)
    again = translate_folder(pipe, mixed, out)
    assert (again["done"], again["skipped"], again["failed"]) == (0, 5, 1)
    after = stamps(out)
    assert {**after, "report.jsonl": 0} == {**before, "report.jsonl": 0}

    (out / "c.zarr" / "zarr.json").write_text("changed")
    (out / "sub" / "b.ome.tif").write_bytes(b"changed")
    again = translate_folder(pipe, mixed, out)
    assert (again["done"], again["skipped"], again["failed"]) == (2, 3, 1)
    check_close(to_array(loaded(out / "c.zarr")), pipe(photo("uint16", 1)))
    assert [path.name for path in (out / ".translate").iterdir()] == ["journal-0.jsonl"]


def test_another_model_replaces_what_the_first_one_made(tmp_path):
    stored(tmp_path / "in" / "a.zarr")
    translate_folder(identity().with_tiling(TILES), tmp_path / "in", tmp_path / "out")
    assert translate_folder(enlarger().with_tiling(TILES), tmp_path / "in", tmp_path / "out")["done"] == 1
    check_close(loaded(tmp_path / "out" / "a.zarr").pixels, enlarger()(ASTRONAUT))


def test_an_output_folder_inside_the_input_folder_is_not_read_again(tmp_path):
    stored(tmp_path / "a.zarr")
    stored(tmp_path / "b.ome.tif")
    for status in ("done", "skipped"):
        assert translate_folder(identity().with_tiling(TILES), tmp_path, tmp_path / "out")[status] == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".translate", "a.zarr", "b.ome.tif", "report.jsonl",
    ]  # fmt: skip


def test_a_slide_and_a_tiff_of_one_name_are_both_there(tmp_path):
    (tmp_path / "in").mkdir()
    write_slide(tmp_path / "in" / "a.svs", SRGB)
    pipe = identity().with_tiling(TILES)
    translate_folder(pipe, tmp_path / "in", tmp_path / "out")
    assert visible(tmp_path / "out") == ["a.tif", "report.jsonl"]
    put(tmp_path / "in" / "a.tif", ASTRONAUT)
    assert translate_folder(pipe, tmp_path / "in", tmp_path / "out")["done"] == 2
    assert visible(tmp_path / "out") == ["a.svs.tif", "a.tif", "report.jsonl"]
    np.testing.assert_array_equal(read_picture(tmp_path / "out" / "a.tif").pixels, ASTRONAUT)
    slide = loaded(tmp_path / "in" / "a.svs").pixels
    np.testing.assert_array_equal(read_picture(tmp_path / "out" / "a.svs.tif").pixels, slide)
    assert translate_folder(pipe, tmp_path / "in", tmp_path / "out")["skipped"] == 2


def test_a_large_image_that_comes_later_and_takes_a_name_costs_no_translation(tmp_path):
    options = Options(windows_from=1000)  # so that a.tif is translated by windows, too
    (tmp_path / "in").mkdir()
    write_slide(tmp_path / "in" / "a.svs", SRGB)
    pipe = identity().with_tiling(TILES)
    translate_folder(pipe, tmp_path / "in", tmp_path / "out", options)
    tifffile.imwrite(tmp_path / "in" / "a.tif", ASTRONAUT, photometric="rgb", tile=(64, 64))
    assert translate_folder(pipe, tmp_path / "in", tmp_path / "out", options)["done"] == 2
    assert visible(tmp_path / "out") == ["a.svs.tif", "a.tif", "report.jsonl"]
    slide = loaded(tmp_path / "in" / "a.svs").pixels
    np.testing.assert_array_equal(loaded(tmp_path / "out" / "a.svs.tif").pixels, slide)


# the command line


@pytest.fixture
def model(tmp_path):
    pipe = translator(follow=True)
    save_model(tmp_path / "model", pipe.config, {"generator": pipe.generator})
    return tmp_path / "model"


@pytest.mark.parametrize(("given", "made"), [("a.ome.tif", "b.ome.tif"), ("a.zarr", "new/b.zarr"), ("a.zarr", "b.tif")])
def test_the_command_translates_by_windows(tmp_path, model, capsys, given, made):
    source = stored(tmp_path / "in" / given)
    options = ("--tile", 64, "--map-memory", 0, "--scratch", tmp_path / "in")
    assert infer(source, tmp_path / made, *options, model=model) == 0
    summary = json.loads(capsys.readouterr().out)
    tiles = summary.pop("tiles")
    assert summary == {"files": 1, "done": 1, "skipped": 0, "failed": 0, "output": str(tmp_path / made)}
    assert (tiles["tile"], tiles["method"], tiles["map_memory"]) == (64, "layers", 0)
    assert tiles["map_disk"] > 0
    check_close(loaded(tmp_path / made).pixels, translator()(ASTRONAUT))
    assert [path.name for path in (tmp_path / "in").iterdir()] == [given]


def test_the_command_takes_a_zarr_into_a_folder(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert infer(stored(tmp_path / "a.zarr"), tmp_path / "out", "--tile", 64) == 0
    np.testing.assert_array_equal(loaded(tmp_path / "out" / "a.zarr").pixels, ASTRONAUT)


def test_half_as_large_maps_come_near(tmp_path, model, capsys):
    source = stored(tmp_path / "a.ome.tif")
    options = ("--tile", 64, "--map-precision", "fp16")
    assert infer(source, tmp_path / "b.ome.tif", *options, model=model) == 0
    difference = np.abs(loaded(tmp_path / "b.ome.tif").pixels.astype(int) - translator()(ASTRONAUT))
    assert 0 < (difference > 0).mean() < 0.2
    assert difference.max() <= 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tile", "3"), "a tile is a number of pixels from 8 on, 'auto' or off (None), got 3"),
        (("--tile", "x"), "--tile is a number of pixels, auto or off, got 'x'"),
        (("--tile", "-64"), "--tile is a number of pixels, auto or off, got '-64'"),
        (("--tile", "²"), "--tile is a number of pixels, auto or off, got '²'"),
        (("--map-memory", "-1"), "--map-memory is in GiB, 0 or more, got -1.0: 0 keeps activation maps on disk"),
        (("--map-memory", "nan"), "--map-memory is in GiB, 0 or more, got nan"),
        (("--scratch", "nowhere"), "the scratch folder nowhere is no folder: create it first"),
    ],
)
@pytest.mark.parametrize("name", ["identity", "ct-denoising"])
def test_wrong_options_are_refused(tmp_path, capsys, options, message, name):
    assert infer(put(tmp_path / "a.png"), tmp_path / "b.png", *options, model=name) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "b.png").exists()


def test_the_help_tells_of_tiles(capsys):
    with pytest.raises(SystemExit):
        infer("--help")
    told = " ".join(capsys.readouterr().out.split())
    for words in ("--tile N", "--map-memory GIB", "--map-precision {fp32,fp16}", "--scratch DIR"):
        assert words in told
    assert "Images larger than memory (.zarr, slides such as .svs, OME-TIFF, TIFF of more than 67 megapixels)" in told


def test_a_scan_in_tiles_is_that_of_the_whole(tmp_path, capsys):
    values = (tissue(1, 75, 90)[0] / 4).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    for name, tile in (("whole", "off"), ("tiles", "32")):
        options = ("--units", "HU", "--tile", tile)
        assert infer(tmp_path / "a.tif", tmp_path / name, *options, model="ct-denoising") == 0
    whole, made = (tifffile.imread(next((tmp_path / name).rglob("*.tif"))) for name in ("whole", "tiles"))
    assert np.abs(whole - values).max() > 1
    assert np.abs(made - whole).max() < 0.05  # HU


# several processes


def launched(*words):
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [*LAUNCH, *(str(word) for word in words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_two_processes_share_each_large_image_and_a_damaged_one_stops_neither(mixed, tmp_path, model):
    done = launched("infer", model, mixed, tmp_path / "two", "--tile", 48, "--json")
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)  # one line, of one process
    assert (summary["files"], summary["done"], summary["failed"]) == (6, 5, 1)
    assert "truncated or damaged" in report_of(tmp_path / "two")["e.ome.tiff"]["reason"]

    pipe = Pipeline.from_pretrained(model, device="cpu").with_tiling(Tiling(tile=48))
    translate_folder(pipe, mixed, tmp_path / "one")
    assert visible(tmp_path / "one") == visible(tmp_path / "two")
    one, two = (report_of(tmp_path / name) for name in ("one", "two"))
    assert list(one) == list(two)
    for name, entry in one.items():
        assert (entry["status"], entry.get("output")) == (two[name]["status"], two[name].get("output"))
        if entry["status"] == "done":
            read = loaded if "zarr" in name or "ome" in name else read_picture
            check_close(to_array(read(tmp_path / "two" / name)), to_array(read(tmp_path / "one" / name)))
    assert translate_folder(pipe, mixed, tmp_path / "two")["skipped"] == 5
    assert not [path.name for path in (tmp_path / "two" / ".translate").iterdir() if "journal" not in path.name]


# what an interrupt leaves

# The process sends itself a signal at the n-th tile, or at the n-th window of the result.
PROGRAM = """
import os, signal, sys
from translate.cli import main
from translate.pipelines.inference.large import _Store
from translate.tiling.runner import Runner

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
number, place, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
owner, name = {"tile": (Runner, "_finite"), "window": (_Store, "read")}[place]
original = getattr(owner, name)

def counted(*arguments):
    global count
    count -= 1
    if count == 0:
        os.kill(os.getpid(), number)
    return original(*arguments)

setattr(owner, name, counted)
sys.exit(main(sys.argv[4:]))
"""


@pytest.mark.parametrize(
    ("number", "place", "count", "output"),
    [
        (signal.SIGKILL, "tile", 5, "a.zarr"),
        (signal.SIGKILL, "window", 1, "a.zarr"),
        (signal.SIGKILL, "window", 1, "b.ome.tif"),
        (signal.SIGINT, "tile", 30, "a.zarr"),
        (signal.SIGINT, "window", 1, "b.ome.tif"),
    ],
)
def test_an_interrupt_leaves_no_part_of_an_output_and_the_next_run_goes_on(
    tmp_path, model, number, place, count, output
):
    stored(tmp_path / "in" / output)
    (tmp_path / "scratch").mkdir()
    out = tmp_path / "out"
    words = ["infer", model, tmp_path / "in", out, "--tile", 64, "--map-memory", 0, "--scratch", tmp_path / "scratch"]
    command = [sys.executable, "-c", PROGRAM, number.value, place, count, *words, "--json"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), done.stderr
    assert done.stdout == ""
    assert [path.name for path in out.iterdir()] == [".translate"]
    assert not list((tmp_path / "scratch").iterdir())

    assert translate_folder(translator(follow=True).with_tiling(TILES), tmp_path / "in", out)["done"] == 1
    check_close(loaded(out / output).pixels, translator()(ASTRONAUT))
    assert [path.name for path in (out / ".translate").iterdir()] == ["journal-0.jsonl"]


def test_an_interrupt_of_a_single_file_leaves_nothing_at_all(tmp_path, model, capsys, monkeypatch):
    source = stored(tmp_path / "in" / "a.ome.tif")

    def interrupt(*arguments):
        raise KeyboardInterrupt

    for place in ("read", "write"):
        with monkeypatch.context() as patch:
            patch.setattr(f"translate.pipelines.inference.large._Store.{place}", interrupt)
            assert infer(source, tmp_path / "out" / "b.ome.tif", "--tile", 64, "--map-memory", 0, model=model) == 130
        assert not list((tmp_path / "out").iterdir())


# memory

MEASURE = """
import re, sys, threading
from pathlib import Path
from translate.data import windows
from translate.pipelines.inference.large import translate_large
from translate.pipelines.inference.pipeline import Pipeline
from translate.tiling.tiled import Tiling
import torch

windows.CACHE_BYTES = 2**20  # of the input
largest, over = 0, threading.Event()

def look():
    global largest
    while not over.wait(0.005):
        status = Path("/proc/self/status").read_text()
        largest = max(largest, int(re.search(r"RssAnon:\\s+(\\d+)", status)[1]))

torch.set_num_threads(1)
pipe = Pipeline.from_pretrained(sys.argv[1], device="cpu").with_tiling(Tiling(tile=256, map_memory=0))
threading.Thread(target=look, daemon=True).start()
translate_large(pipe, Path(sys.argv[2]), Path(sys.argv[3]))
over.set()
print(largest)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_four_times_as_many_pixels_need_no_more_memory(tmp_path, model):
    """Beyond what is on disk: maps and result, whose pages are the system's. A map of the second has 67 MB."""
    peaks = []
    for side in (1024, 2048):
        source = tmp_path / f"{side}.zarr"
        pixels = zarr.create_array(source, shape=(side, side, 3), chunks=(512, 512, 3), dtype=np.uint8)
        for top, left in itertools.product(range(0, side, 512), repeat=2):
            pixels[top : top + 512, left : left + 512] = photographs_of.astronaut()
        command = [sys.executable, "-c", MEASURE, model, source, tmp_path / f"{side}_made.zarr"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))  # KiB
    assert peaks[1] < 1.1 * peaks[0], peaks


# without the extra


def test_the_package_works_without_the_extra_and_says_what_a_zarr_needs(tmp_path):
    stored(tmp_path / "a.zarr")
    put(tmp_path / "a.png")
    program = (
        "import sys\n"
        "for name in ('zarr', 'numcodecs', 'imagecodecs', 'openslide'):\n"
        "    sys.modules[name] = None\n"
        "import translate.pipelines\n"
        "from translate.cli import main\n"
        "for suffix in ('png', 'zarr'):\n"
        "    print(main(['infer', 'identity', f'a.{suffix}', f'b.{suffix}', '--tile', '8']))\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, cwd=tmp_path)
    assert done.stdout.split()[-1] == "2", done.stderr
    assert (tmp_path / "b.png").is_file()
    assert 'a.zarr: Zarr needs zarr, which is not installed: pip install "translate-images[large]"' in done.stderr
