"""Writing pictures by windows: round trips, what is carried, pyramids, memory, and what an interrupt leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
import zarr
from PIL import ExifTags, Image
from skimage import data

from translate.data import halves, windowed_tiff_write
from translate.data.halves import halve, level_sides
from translate.data.images import ImageError, Metadata, Picture, from_array, read_picture, to_array
from translate.data.metadata import parse_exif
from translate.data.windowed import InMemory, open_windowed
from translate.data.windowed_write import write_windowed

ASTRONAUT = data.astronaut()  # 512 x 512
WIDE = np.hstack([ASTRONAUT, data.coffee()[:400].repeat(2, axis=0)[:512]])[:, :1100]  # 512 x 1100: two tiles and a part
SUFFIXES = (".tif", ".ome.tif", ".zarr", ".ome.zarr")
SAMPLES = {1: WIDE[..., 1], 2: WIDE[..., :2], 3: WIDE, 4: np.dstack([WIDE, WIDE[::-1, :, 0]])}


def values(samples: int, dtype: str) -> np.ndarray:
    array = SAMPLES[samples]
    if dtype == "float32":
        return (array / 255 * 1.7 - 0.2).astype(np.float32)
    return array.astype(np.uint16) * 257 - 17 if dtype == "uint16" else array


def whole(path: Path) -> Picture:
    with open_windowed(path) as image:
        return image.read(slice(0, image.info.height), slice(0, image.info.width))


def write(array: np.ndarray, path: Path, **metadata: object) -> None:
    write_windowed(InMemory(from_array(array, Metadata(**metadata))), path)


@pytest.fixture
def small_pyramids(monkeypatch):
    """Pyramids from 600 pixels a side on, down to 200."""
    monkeypatch.setattr(halves, "LARGE_SIDE", 600)
    monkeypatch.setattr(halves, "SMALL_SIDE", 200)


HELD = [(suffix, samples) for suffix in SUFFIXES for samples in ((1, 3) if suffix == ".ome.zarr" else (1, 2, 3, 4))]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("suffix", "samples"), HELD)
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, suffix, dtype, samples):
    array = values(samples, dtype)
    write(array, tmp_path / f"ein Bild{suffix}")
    again = whole(tmp_path / f"ein Bild{suffix}")
    assert again.pixels.dtype == dtype
    np.testing.assert_array_equal(to_array(again), array)
    assert [path.name for path in tmp_path.iterdir()] == [f"ein Bild{suffix}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_special_floats_are_kept_to_the_bit(tmp_path, suffix):
    array = np.array([[0.0, -0.0, np.nan], [np.inf, -np.inf, 1e-42]], np.float32)
    for part, name in ((array, "a"), (array[:1, 1:2], "b")):  # b is all -0.0, which equals a chunk that is left out
        write(part, tmp_path / f"{name}{suffix}")
        assert to_array(whole(tmp_path / f"{name}{suffix}")).tobytes() == part.tobytes()


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_other_readers_see_the_same_tiff(tmp_path, suffix):
    write(WIDE, tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / f"a{suffix}"), WIDE)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"a{suffix}")), WIDE)
    np.testing.assert_array_equal(read_picture(tmp_path / f"a{suffix}").pixels, WIDE)
    with openslide.OpenSlide(tmp_path / f"a{suffix}") as slide:
        np.testing.assert_array_equal(np.asarray(slide.read_region((500, 0), 0, (600, 512)))[..., :3], WIDE[:, 500:])


def test_a_tiff_carries_profile_resolution_and_exif(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ada"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = "50 mm"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    told = {"icc": b"profile", "exif": exif.tobytes(), "dpi": (300.0, 150.0)}
    write(WIDE, tmp_path / "a.tif", **told)
    for metadata in (whole(tmp_path / "a.tif").metadata, read_picture(tmp_path / "a.tif").metadata):
        assert (metadata.icc, metadata.dpi) == (b"profile", (300, 150))
        again = parse_exif(metadata.exif)
        assert again[ExifTags.Base.Artist] == "Ada"
        assert again.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == "50 mm"
        assert again.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
    assert whole(tmp_path / "a.tif").pixels.tobytes() == WIDE.tobytes()


def test_a_tiff_that_could_exceed_4_gib_is_a_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(windowed_tiff_write, "LARGEST_TIFF", 3 * 512 * 512 * 3)
    write(WIDE, tmp_path / "a.tif", icc=b"profile")
    write(WIDE[:, :1025], tmp_path / "b.tif")
    write(WIDE[:, :1024], tmp_path / "c.tif")
    monkeypatch.setattr(windowed_tiff_write, "LARGEST_TIFF", 3 * 512 * 512 * 3 - 1)
    write(WIDE, tmp_path / "d.tif", icc=b"profile")
    kinds = {name: tifffile.TiffFile(tmp_path / f"{name}.tif").is_bigtiff for name in "abcd"}
    assert kinds == {"a": False, "b": False, "c": False, "d": True}
    assert whole(tmp_path / "d.tif").metadata == whole(tmp_path / "a.tif").metadata
    np.testing.assert_array_equal(whole(tmp_path / "d.tif").pixels, WIDE)


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_the_size_of_a_pixel_is_kept(tmp_path, suffix):
    write(WIDE, tmp_path / f"a{suffix}", dpi=(25400 / 0.499, 25400 / 0.25))  # 0.499 and 0.25 micrometres
    dpi = whole(tmp_path / f"a{suffix}").metadata.dpi
    assert dpi == pytest.approx((25400 / 0.499, 25400 / 0.25), rel=1e-12)
    if suffix == ".ome.tif":
        told = tifffile.TiffFile(tmp_path / "a.ome.tif").ome_metadata
        assert 'PhysicalSizeX="0.499' in told
        assert 'PhysicalSizeY="0.25' in told
    else:
        told = zarr.open(tmp_path / "a.ome.zarr").attrs["ome"]["multiscales"][0]
        assert [axis["unit"] for axis in told["axes"] if axis["name"] in "yx"] == ["micrometer"] * 2
        scale = told["datasets"][0]["coordinateTransformations"][0]["scale"]
        assert scale == pytest.approx([1, 0.25, 0.499])


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_the_same_picture_gives_the_same_file(tmp_path, suffix):
    for name in "ab":
        write(WIDE, tmp_path / f"{name}{suffix}", dpi=(300.0, 300.0))
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_the_attributes_and_the_kind_of_a_zarr_are_kept(tmp_path):
    write(WIDE, tmp_path / "a.ome.zarr", dpi=(50800.0, 50800.0))
    zarr.open(tmp_path / "a.ome.zarr").attrs["stain"] = {"name": "H&E"}
    zarr.open(tmp_path / "a.ome.zarr").attrs["omero"] = "of version 0.4"
    zarr.create_array(tmp_path / "b.zarr", data=WIDE[..., 0], attributes={"stain": "none"})
    for name in ("a.ome.zarr", "b.zarr"):
        with open_windowed(tmp_path / name) as image:
            write_windowed(image, tmp_path / f"copy of {name.replace('.ome', '')}", source=image)
    copied = zarr.open(tmp_path / "copy of a.zarr")
    assert copied.attrs["stain"] == {"name": "H&E"}
    assert copied.attrs.keys() == {"stain", "ome"}
    assert copied.attrs["ome"]["version"] == "0.5"
    assert [channel["color"] for channel in copied.attrs["ome"]["omero"]["channels"]] == ["FF0000", "00FF00", "0000FF"]
    assert whole(tmp_path / "copy of a.zarr").metadata.dpi == pytest.approx((50800, 50800))
    assert dict(zarr.open(tmp_path / "copy of b.zarr").attrs) == {"stain": "none"}
    np.testing.assert_array_equal(whole(tmp_path / "copy of b.zarr").pixels, whole(tmp_path / "b.zarr").pixels)


@pytest.mark.parametrize(("chunks", "shape"), [((512, 512, 3), (512, 1100, 3)), ((1, 512, 512), (3, 512, 1100))])
def test_chunks_of_a_zarr_are_of_512(tmp_path, chunks, shape):
    path = tmp_path / ("a.zarr" if shape[2] == 3 else "a.ome.zarr")
    write(WIDE, path)
    array = zarr.open(path) if shape[2] == 3 else zarr.open(path)["0"]
    assert (array.chunks, array.shape) == (chunks, shape)


def test_sides_are_halved_until_they_are_small():
    assert level_sides(4096, 10) == [(4096, 10)]
    assert level_sides(4097, 10) == [(4097, 10), (2049, 5), (1025, 3), (513, 2)]


def test_halving_averages_four_pixels_and_weighs_colours_by_alpha():
    grey = np.array([[0, 2, 9], [4, 6, 11], [7, 8, 200]], np.uint8)[..., None]
    assert halve(grey, False)[..., 0].tolist() == [[3, 10], [8, 200]]
    assert halve(np.full((2, 2, 1), 65535, np.uint16), False).item() == 65535
    seen, hidden = [100.0, 1.0], [900.0, 0.0]
    assert halve(np.array([[seen, hidden], [hidden, hidden]], np.float32), True).tolist() == [[[100.0, 0.25]]]
    assert halve(np.array([[hidden, hidden], [hidden, hidden]], np.float32), True).tolist() == [[[900.0, 0.0]]]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("width", [1100, 1025])
def test_large_pictures_get_a_pyramid_of_halves(tmp_path, small_pyramids, suffix, width):
    array = WIDE[:509, :width]
    write(array, tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(whole(tmp_path / f"a{suffix}").pixels, array)
    expected = [array]
    for _ in range(3):
        expected.append(halve(expected[-1], False))
    if suffix.endswith(".tif"):
        page = tifffile.TiffFile(tmp_path / f"a{suffix}").pages[0]
        assert all(below.is_reduced and below.is_tiled for below in page.pages)
        levels = [page.asarray(), *(below.asarray() for below in page.pages)]
    elif suffix == ".zarr":
        assert zarr.open(tmp_path / "a.zarr").shape == array.shape
        return
    else:
        group = zarr.open(tmp_path / "a.ome.zarr")
        told = group.attrs["ome"]["multiscales"][0]["datasets"]
        levels = [np.moveaxis(group[level["path"]][:], 0, -1) for level in told]
        assert told[1]["coordinateTransformations"][0]["scale"] == pytest.approx([1, 509 / 255, width / -(-width // 2)])
    assert [level.shape for level in levels] == [level.shape for level in expected]
    for level, halved in zip(levels, expected, strict=True):
        np.testing.assert_array_equal(level, halved)


def test_the_levels_of_an_ome_tiff_are_found_by_others(tmp_path, small_pyramids):
    write(WIDE, tmp_path / "a.ome.tif", dpi=(50800.0, 50800.0))
    series = tifffile.TiffFile(tmp_path / "a.ome.tif").series
    assert [level.shape for level in series[0].levels] == [(512, 1100, 3), (256, 550, 3), (128, 275, 3), (64, 138, 3)]


class Watched(InMemory):
    """Remembers its windows, and fails after some."""

    def __init__(self, array: np.ndarray, fail_after: int = 1000) -> None:
        super().__init__(from_array(array))
        self.windows: list[tuple[slice, slice]] = []
        self.fail_after = fail_after

    def read(self, rows: slice, columns: slice) -> Picture:
        if len(self.windows) == self.fail_after:
            raise KeyboardInterrupt
        self.windows.append((rows, columns))
        return super().read(rows, columns)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_window_is_read_once_and_progress_reaches_one(tmp_path, small_pyramids, suffix):
    image, shares = Watched(WIDE), []
    write_windowed(image, tmp_path / f"a{suffix}", progress=shares.append)
    rows = slice(0, 512)
    assert image.windows == [(rows, slice(0, 512)), (rows, slice(512, 1024)), (rows, slice(1024, 1100))]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert 0 < shares[0] < 0.5


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("there", [False, True])
def test_an_interrupt_leaves_what_was_there_and_nothing_else(tmp_path, small_pyramids, suffix, there):
    path = tmp_path / f"a{suffix}"
    if there:
        write(ASTRONAUT, path)
    with pytest.raises(KeyboardInterrupt):
        write_windowed(Watched(WIDE, fail_after=2), path)
    assert [found.name for found in tmp_path.iterdir()] == [path.name] * there
    if there:
        np.testing.assert_array_equal(whole(path).pixels, ASTRONAUT)
        write(WIDE, path)
        np.testing.assert_array_equal(whole(path).pixels, WIDE)
        assert [found.name for found in tmp_path.iterdir()] == [path.name]


KILLED = """
import sys, time
import numpy as np
from translate.data.images import from_array
from translate.data.windowed import InMemory
from translate.data.windowed_write import write_windowed

class Slow(InMemory):
    def read(self, rows, columns):
        if columns.start > 1000:
            print("halfway", flush=True)
            time.sleep(60)
        return super().read(rows, columns)

write_windowed(Slow(from_array(np.zeros((2000, 2000, 3), np.uint8))), sys.argv[1])
"""


@pytest.mark.parametrize("suffix", [".tif", ".ome.zarr"])
def test_a_killed_process_leaves_nothing_under_the_name(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"halfway\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    assert all(found.name.startswith(".") for found in tmp_path.iterdir())


MEASURED = """
import sys
from pathlib import Path
import numpy as np
from skimage import data
from translate.data import windows
from translate.data.picture import Metadata, PictureInfo
from translate.data.windowed import WindowReader, open_windowed
from translate.data.windowed_write import write_windowed

class Wall(WindowReader):
    photograph = data.astronaut()
    def __init__(self, side):
        super().__init__("wall", PictureInfo(side, side, 3, False, np.dtype(np.uint8), "tiff"), Metadata())
    def _values(self, rows, columns):
        return self.photograph[: rows.stop - rows.start, : columns.stop - columns.start]
    def close(self): ...

windows.CACHE_BYTES = 4 * 2**20
path, side = sys.argv[1], int(sys.argv[2])
write_windowed(Wall(side), path)
with open_windowed(path) as image:
    write_windowed(image, path.replace("a.", "b."), source=image)
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""


def measured(path: Path, side: int) -> float:
    """MiB that a process needs at most that writes a picture and copies it.

    Not getrusage's ru_maxrss, which begins with the memory of the process that started this one.
    """
    command = [sys.executable, "-c", MEASURED, str(path), str(side)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it there")
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_memory_does_not_grow_with_the_picture(tmp_path, suffix):
    """4 and 32 megapixels, 12 and 97 MB; the larger TIFF with a pyramid."""
    small, large = measured(tmp_path / f"a{suffix}", 2000), measured(tmp_path / f"a{suffix}", 5700)
    assert large - small < 20


def refused(path: Path, message: str, array: np.ndarray = ASTRONAUT) -> None:
    with pytest.raises(ImageError, match=message):
        write(array, path)
    assert not list(path.parent.glob(".*")) if path.parent.is_dir() else True


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    refused(tmp_path / "a.png", r"the suffix is '\.png', allowed are \.tif, \.tiff, \.ome\.tif, .*\.zarr")
    refused(tmp_path / "none" / "a.tif", "the folder .*none does not exist: create it first")
    refused(tmp_path / "a.ome.zarr", r"OME-NGFF has no alpha: write a \.tif or a \.zarr that is not", SAMPLES[4])
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "letter.txt").touch()
    refused(tmp_path / "mine.zarr", "it is a folder that holds something else: choose another name")
    (tmp_path / "b.tif").mkdir()
    refused(tmp_path / "b.tif", "it is a folder that holds something else")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    refused(tmp_path / "c.tif", r"cannot write .*c\.tif: .*No space left on device")


def test_without_zarr_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    refused(tmp_path / "a.zarr", r'Zarr needs zarr, which is not installed: pip install "translate-images\[large\]"')


def test_a_former_zarr_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    write(ASTRONAUT, tmp_path / "a.zarr")
    rename, calls = os.rename, []

    def fail_second(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_second)
    refused(tmp_path / "a.zarr", "Input/output error", WIDE)
    np.testing.assert_array_equal(whole(tmp_path / "a.zarr").pixels, ASTRONAUT)
