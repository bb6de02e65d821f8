"""Reading pictures by windows: every layout against the picture read whole, and every refusal of the readers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
import zarr
from PIL import Image, ImageCms
from skimage import data

from translate.data import windows
from translate.data.images import ImageError, from_array, read_picture, to_array
from translate.data.windowed import (
    WINDOWED_SUFFIXES,
    InMemory,
    is_windowed,
    open_windowed,
    windowed_output_suffix,
)

PHOTOGRAPH = np.ascontiguousarray(data.coffee()[:131, 200:393])  # 131 x 193 (H x W): no multiple of a tile
GREY = PHOTOGRAPH[..., 1]
TILE = (32, 48)
APERIO = "Aperio Image Library v12.0.0 \r\n193x131 [0,0 193x131] (240x240) JPEG/RGB Q=70|AppMag = 40|MPP = 0.25"


def deep(array: np.ndarray, dtype: type) -> np.ndarray:
    """The photograph in another dtype, with values that need its digits."""
    if np.dtype(dtype).kind == "f":
        return (array / 255 * 1.7 - 0.2).astype(dtype)
    return (array.astype(np.int64) * 257 - 17).clip(0, 65535).astype(dtype)


def with_alpha(array: np.ndarray, *, premultiplied: bool = False) -> np.ndarray:
    top = 1.0 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    ramp = np.broadcast_to(np.linspace(0, 1, array.shape[1]), array.shape[:2])
    share = np.where(ramp > 0, ramp, 1)[..., None]  # what is transparent has a colour too
    colours = array * share if premultiplied else array
    return np.dstack([colours.astype(array.dtype), (ramp * top).astype(array.dtype)])


def whole(path: Path) -> np.ndarray:
    """The picture, put together from windows of 50 x 70 with remainders."""
    with open_windowed(path) as image:
        height, width = image.info.height, image.info.width
        rows = [slice(top, min(top + 50, height)) for top in range(0, height, 50)]
        columns = [slice(left, min(left + 70, width)) for left in range(0, width, 70)]
        parts = [[image.read(row, column) for column in columns] for row in rows]
        assert {part.info.dtype for line in parts for part in line} == {image.info.dtype}
        joined = np.vstack([np.hstack([to_array(part) for part in line]) for line in parts])
        assert from_array(joined, image.metadata).info == image.info
        return joined


COLOUR = {"photometric": "rgb"}
LAYOUTS = {
    "tiles": (PHOTOGRAPH, {"tile": TILE}),
    "deflate": (PHOTOGRAPH, {"tile": TILE, "compression": "zlib", "predictor": True}),
    "lzw": (PHOTOGRAPH, {"tile": TILE, "compression": "lzw", "predictor": True}),
    "zstd": (deep(GREY, np.uint16), {"tile": TILE, "compression": "zstd"}),
    "strips": (PHOTOGRAPH, {"rowsperstrip": 7}),
    "strips lzw": (GREY, {"rowsperstrip": 7, "compression": "lzw"}),
    "one strip": (GREY, {"rowsperstrip": 131}),
    "one strip deflate": (GREY, {"rowsperstrip": 131, "compression": "zlib"}),
    "planar tiles": (PHOTOGRAPH.transpose(2, 0, 1), {"tile": TILE, "planarconfig": "separate", **COLOUR}),
    "planar strips": (PHOTOGRAPH.transpose(2, 0, 1), {"rowsperstrip": 9, "planarconfig": "separate", **COLOUR}),
    "planar deflate": (
        PHOTOGRAPH.transpose(2, 0, 1),
        {"rowsperstrip": 9, "planarconfig": "separate", "compression": "zlib", **COLOUR},
    ),
    "big": (PHOTOGRAPH, {"tile": TILE, "bigtiff": True}),
    "big strips": (PHOTOGRAPH, {"rowsperstrip": 8, "bigtiff": True}),
    "16-bit": (deep(PHOTOGRAPH, np.uint16), {"tile": TILE, "byteorder": ">"}),
    "16-bit strips": (deep(PHOTOGRAPH, np.uint16), {"rowsperstrip": 8, "byteorder": ">"}),
    "int16": (GREY.astype(np.int16) - 100, {"tile": TILE}),
    "float16": (deep(GREY, np.float16), {"tile": TILE}),
    "float32": (deep(PHOTOGRAPH, np.float32), {"tile": TILE, "compression": "zlib", "predictor": 3}),
    "float64": (deep(PHOTOGRAPH, np.float64), {"tile": TILE}),
    "1-bit": (GREY > 100, {"rowsperstrip": 131}),
    "white is zero": (GREY, {"tile": TILE, "photometric": "miniswhite"}),
    "white is zero, 16-bit": (deep(GREY, np.uint16), {"tile": TILE, "photometric": "miniswhite"}),
    "palette": (
        GREY,
        {"tile": TILE, "photometric": "palette", "colormap": deep(data.chelsea()[100, :256].T, np.uint16)},
    ),
    "alpha": (with_alpha(PHOTOGRAPH), {"tile": TILE, "extrasamples": ["unassalpha"]}),
    "grey and alpha": (with_alpha(deep(GREY, np.uint16)), {"tile": TILE, "extrasamples": ["unassalpha"]}),
    "premultiplied": (with_alpha(PHOTOGRAPH, premultiplied=True), {"tile": TILE, "extrasamples": ["assocalpha"]}),
    "premultiplied, 16-bit": (
        with_alpha(deep(PHOTOGRAPH, np.uint16), premultiplied=True),
        {"tile": TILE, "extrasamples": ["assocalpha"]},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_of_a_tiff_are_those_of_the_picture_read_whole(tmp_path, layout):
    array, options = LAYOUTS[layout]
    grey = array.ndim == 2 or array.shape[-1] == 2
    options = {"photometric": "minisblack" if grey else "rgb", "metadata": None, **options}
    tifffile.imwrite(tmp_path / "a.tif", array, **({"planarconfig": "contig"} if array.ndim == 3 else {}) | options)
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), to_array(read_picture(tmp_path / "a.tif")))


def test_windows_have_the_values_that_were_stored(tmp_path):
    """The above, without `read_picture`."""
    tifffile.imwrite(tmp_path / "a.tif", PHOTOGRAPH, tile=TILE, photometric="rgb", compression="lzw")
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), PHOTOGRAPH)
    options = {"bigtiff": True, "byteorder": ">", "extratags": [(0x0112, 3, 1, 4, True)]}  # upside down
    tifffile.imwrite(tmp_path / "b.tif", deep(GREY, np.uint16)[::-1], tile=TILE, compression="zlib", **options)
    np.testing.assert_array_equal(whole(tmp_path / "b.tif"), deep(GREY, np.uint16))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{"tile": TILE}, {"rowsperstrip": 10}], ids=["tiles", "strips"])
def test_windows_are_upright(tmp_path, orientation, options):
    tags = [(0x0112, 3, 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", PHOTOGRAPH, photometric="rgb", extratags=tags, **options)
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), to_array(read_picture(tmp_path / "a.tif")))


def test_jpeg_tiles_with_subsampled_colours_are_near_to_the_picture_read_whole(tmp_path):
    luma_and_chroma = np.asarray(Image.fromarray(PHOTOGRAPH).convert("YCbCr"))
    options = {"tile": (64, 64), "compression": "jpeg", "photometric": "ycbcr", "subsampling": (2, 2)}
    tifffile.imwrite(tmp_path / "a.tif", luma_and_chroma, compressionargs={"level": 95}, **options)
    decoded = whole(tmp_path / "a.tif").astype(int)
    assert np.abs(decoded - to_array(read_picture(tmp_path / "a.tif"))).max() <= 4  # upsampling is the decoder's choice
    assert np.abs(decoded - PHOTOGRAPH).mean() < 4


def test_a_tiff_keeps_profile_exif_and_resolution(tmp_path):
    tags = [(0x013B, 2, 4, "Ada\0", True)]
    options = {"resolution": (300, 150), "resolutionunit": "inch", "extratags": tags, "software": False}
    tifffile.imwrite(tmp_path / "a.tif", GREY, tile=TILE, bigtiff=True, iccprofile=b"profile", **options)
    with open_windowed(tmp_path / "a.tif") as image:
        assert image.metadata == read_picture(tmp_path / "a.tif").metadata
        assert image.metadata.icc == b"profile"
        assert image.metadata.dpi == (300, 150)
        assert b"Ada" in image.metadata.exif
        assert image.read(slice(0, 1), slice(0, 1)).metadata == image.metadata


@pytest.mark.parametrize(
    ("array", "axes"),
    [(GREY, "YX"), (PHOTOGRAPH, "YXS"), (PHOTOGRAPH.transpose(2, 0, 1), "CYX"), (GREY[None, None, None], "TZCYX")],
)
def test_an_ome_tiff_is_read_with_its_resolution(tmp_path, array, axes):
    told = {"axes": axes, "PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25}
    options = {"photometric": "rgb" if axes == "YXS" else "minisblack", "metadata": told, "tile": TILE}
    tifffile.imwrite(tmp_path / "a.ome.tif", array, compression="zlib", **options)
    np.testing.assert_array_equal(whole(tmp_path / "a.ome.tif"), PHOTOGRAPH if array.size == PHOTOGRAPH.size else GREY)
    with open_windowed(tmp_path / "a.ome.tif") as image:
        assert image.metadata.dpi == (50800, 101600)  # 25400 micrometres an inch, pixels of 0.5 and 0.25


@pytest.mark.parametrize("is_ome", [True, False])
def test_of_a_pyramid_the_full_resolution_is_read(tmp_path, is_ome):
    path = tmp_path / ("a.ome.tif" if is_ome else "a.tif")
    with tifffile.TiffWriter(path) as tif:
        tif.write(PHOTOGRAPH, photometric="rgb", tile=TILE, subifds=1)
        tif.write(PHOTOGRAPH[::2, ::2], photometric="rgb", tile=TILE, subfiletype=1)
    np.testing.assert_array_equal(whole(path), PHOTOGRAPH)


def test_of_a_pyramid_in_pages_the_full_resolution_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for step in (1, 2, 4):
            tif.write(
                PHOTOGRAPH[::step, ::step], photometric="rgb", tile=TILE, subfiletype=int(step > 1), metadata=None
            )
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), PHOTOGRAPH)


def test_a_tile_that_was_never_written_is_background(tmp_path):
    tiles = [PHOTOGRAPH[:64, :64], None, None, None, None, None, None, None, None, None, None, None]
    tifffile.imwrite(
        tmp_path / "a.tif", iter(tiles), shape=PHOTOGRAPH.shape, dtype=np.uint8, tile=(64, 64), photometric="rgb"
    )
    expected = np.zeros_like(PHOTOGRAPH)
    expected[:64, :64] = PHOTOGRAPH[:64, :64]
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), expected)


def test_a_strip_that_was_never_written_is_background(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, rowsperstrip=131)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        tif.pages[0].tags["StripByteCounts"].overwrite(0)
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), np.zeros_like(GREY))


def test_ten_gigapixels_are_opened_and_read_where_asked(tmp_path):
    """All but the first and the last tile of 2048 x 2048 are left out of the file."""
    tile = np.full((2048, 2048), 7, np.uint8)
    tiles = [tile, *[None] * (49 * 49 - 2), tile]
    options = {"shape": (100_000, 100_000), "dtype": np.uint8, "tile": (2048, 2048), "bigtiff": True}
    tifffile.imwrite(tmp_path / "a.tif", iter(tiles), **options)
    with open_windowed(tmp_path / "a.tif") as image:
        corner = image.read(slice(98_300, 100_000), slice(98_302, 100_000)).pixels[..., 0]
    assert (corner[:4].max(), corner[4:, 2:].min(), corner[:, :2].max()) == (0, 7, 0)


@pytest.mark.parametrize("value", [0, 7, 200])
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_picture_of_one_pixel_is_read(tmp_path, value, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, np.full((1, 1), value, np.uint8), tile=(16, 16))
    else:
        zarr.create_array(path, data=np.full((1, 1), value, np.uint8))
    assert whole(path).tolist() == [[value]]


def test_only_the_tiles_that_a_window_touches_are_decoded_and_each_once(tmp_path, monkeypatch):
    decoded = []
    decode = tifffile.TIFF.DECOMPRESSORS[8]
    monkeypatch.setitem(tifffile.TIFF.DECOMPRESSORS._codecs, 8, lambda *a, **k: decoded.append(1) or decode(*a, **k))
    tifffile.imwrite(tmp_path / "a.tif", PHOTOGRAPH, tile=(64, 64), photometric="rgb", compression="zlib")
    with open_windowed(tmp_path / "a.tif") as image:
        image.read(slice(0, 64), slice(0, 64))
        assert len(decoded) == 1
        image.read(slice(60, 70), slice(60, 70))  # the corner of four
        assert len(decoded) == 4
        image.read(slice(0, 128), slice(0, 128))
        assert len(decoded) == 4


def test_decoded_tiles_are_kept_up_to_a_number_of_bytes(monkeypatch):
    monkeypatch.setattr(windows, "CACHE_BYTES", 2 * 16)
    loaded = []

    def load(row: int, column: int) -> np.ndarray:
        loaded.append(column)
        return np.full((4, 4, 1), column, np.uint8)

    tiles = windows.Tiles((4, 16, 1), (4, 4), np.dtype(np.uint8), load)
    for column in (0, 1, 0, 2, 0, 1):  # 1 is the one that was used longest ago when 2 comes
        assert tiles.window(slice(0, 1), slice(4 * column, 4 * column + 1)).item() == column
    assert loaded == [0, 1, 2, 1]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_a_zarr_array_is_read(tmp_path, version, samples):
    array = deep({1: GREY, 2: with_alpha(GREY), 3: PHOTOGRAPH, 4: with_alpha(PHOTOGRAPH)}[samples], np.uint16)
    chunks = (50, 64, 1)[: array.ndim]  # colours apart
    zarr.create_array(tmp_path / "a.zarr", data=array, chunks=chunks, zarr_format=version)
    np.testing.assert_array_equal(whole(tmp_path / "a.zarr"), array)


@pytest.mark.parametrize(("dtype", "read_as"), [("bool", "uint8"), ("float64", "float32"), ("int16", "float32")])
def test_values_of_a_zarr_are_converted_like_those_of_a_tiff(tmp_path, dtype, read_as):
    zarr.create_array(tmp_path / "a.zarr", data=(GREY > 100).astype(dtype))
    values = whole(tmp_path / "a.zarr")
    assert values.dtype == read_as
    np.testing.assert_array_equal(values, (GREY > 100) * (255 if dtype == "bool" else 1))


def write_ngff(path: Path, array: np.ndarray, axes: str, version: str = "0.5", unit: str | None = "nanometer") -> None:
    """An OME-NGFF group of two levels; pixels of 500 x 250 nm (H x W)."""
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    sizes = {"y": 500.0, "x": 250.0}
    for name, step in (("full", 1), ("half", 2)):
        group.create_array(name, data=array[..., ::step, ::step], chunks=(*(1,) * (array.ndim - 2), 40, 64))
    described = [{"name": axis, **({"unit": unit} if unit and axis in sizes else {})} for axis in axes]
    scales = [[sizes.get(axis, 2.0) / 2 * step for axis in axes] for step in (1, 2)]
    levels = [
        {"path": name, "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for name, scale in zip(("full", "half"), scales, strict=True)
    ]
    of_all = [{"type": "scale", "scale": [2.0 if axis in sizes else 1.0 for axis in axes]}]
    picture = {"axes": described, "datasets": levels, "coordinateTransformations": of_all, "version": version}
    told = {"multiscales": [picture]}
    group.attrs.update(told if version == "0.4" else {"ome": {"version": version, **told}})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "cyx", "tczyx"])
def test_an_ome_ngff_picture_is_read_in_full_resolution(tmp_path, version, axes):
    array = GREY if axes == "yx" else PHOTOGRAPH.transpose(2, 0, 1)
    if axes == "tczyx":
        array = array[None, :, None]
    write_ngff(tmp_path / "a.zarr", array, axes, version)
    np.testing.assert_array_equal(whole(tmp_path / "a.zarr"), GREY if axes == "yx" else PHOTOGRAPH)
    with open_windowed(tmp_path / "a.zarr") as image:
        assert image.metadata.dpi == (101600, 50800)


def test_an_ome_ngff_picture_without_units_has_no_resolution(tmp_path):
    write_ngff(tmp_path / "a.zarr", GREY, "yx", unit=None)
    with open_windowed(tmp_path / "a.zarr") as image:
        assert image.metadata.dpi is None


def write_slide(path: Path, profile: bytes) -> None:
    """A TIFF as Aperio's scanners write it, as far as openslide asks."""
    options = {"tile": (240, 240), "compression": "jpeg", "compressionargs": {"level": 95}, "description": APERIO}
    tifffile.imwrite(path, PHOTOGRAPH, photometric="rgb", metadata=None, iccprofile=profile, **options)


def test_a_slide_is_read_as_rgb_with_its_resolution_and_profile(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_slide(tmp_path / "a.svs", profile)
    slide = whole(tmp_path / "a.svs").astype(int)
    assert slide.shape == PHOTOGRAPH.shape
    assert np.abs(slide - PHOTOGRAPH).mean() < 3
    with open_windowed(tmp_path / "a.svs") as image:
        assert image.metadata.dpi == (101600, 101600)  # 0.25 micrometres
        assert image.metadata.icc == profile
        assert image.info.format == "slide"


def test_a_slide_with_a_damaged_profile_is_read_without_it(tmp_path, caplog):
    write_slide(tmp_path / "a.svs", b"no profile")
    with open_windowed(tmp_path / "a.svs") as image:
        assert image.metadata.icc is None
    assert "the ICC profile of" in caplog.text


def test_a_slide_that_is_damaged_inside_is_refused(tmp_path):
    write_slide(tmp_path / "a.svs", b"")
    with tifffile.TiffFile(tmp_path / "a.svs") as tif:
        start, count = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    content = bytearray((tmp_path / "a.svs").read_bytes())
    content[start : start + count] = b"\xff" * count
    (tmp_path / "a.svs").write_bytes(content)
    refused(tmp_path / "a.svs", r"a\.svs: it is truncated or damaged")


def test_what_a_slide_does_not_cover_has_its_background(tmp_path, monkeypatch):
    class Half:
        """White paper that is scanned on the left only."""

        dimensions, color_profile = (4, 2), None

        def __init__(self, path: Path) -> None:
            self.properties = {"openslide.background-color": "102030"}

        def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
            opaque = (np.arange(location[0], location[0] + size[0]) < 2) * 255
            return Image.fromarray(
                np.dstack([*[np.full(size[::-1], 255)] * 3, np.tile(opaque, (size[1], 1))]).astype("u1")
            )

        def close(self) -> None: ...

    monkeypatch.setattr(openslide, "OpenSlide", Half)
    (tmp_path / "a.svs").touch()
    assert whole(tmp_path / "a.svs")[1].tolist() == [[255, 255, 255]] * 2 + [[16, 32, 48]] * 2


def test_a_picture_in_memory_is_read_by_windows():
    image = InMemory(from_array(with_alpha(PHOTOGRAPH)))
    window = image.read(slice(10, 12), slice(20, 25))
    np.testing.assert_array_equal(to_array(window), with_alpha(PHOTOGRAPH)[10:12, 20:25])
    assert image.info == image.picture.info
    with pytest.raises(ImageError, match=r"the window has the rows 0 to 132 \(step None\), .* some of 0 to 131"):
        image.read(slice(0, 132), slice(0, 1))


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(0, 132), slice(0, 1)),
        (slice(0, 1), slice(100, 194)),
        (slice(-1, 1), slice(0, 1)),
        (slice(5, 5), slice(0, 1)),
        (slice(0, 4, 2), slice(0, 1)),
        (slice(None, 4), slice(0, 1)),
    ],
)
def test_a_window_that_is_empty_or_reaches_over_the_border_is_refused(tmp_path, rows, columns):
    tifffile.imwrite(tmp_path / "a.tif", PHOTOGRAPH, tile=TILE, photometric="rgb")
    with open_windowed(tmp_path / "a.tif") as image, pytest.raises(ImageError, match=r"a\.tif: the window has the "):
        image.read(rows, columns)


def test_what_is_read_by_windows_is_known_by_suffix_and_content(tmp_path):
    kinds = {
        "small.tif": {"rowsperstrip": 8},
        "tiled.tif": {"tile": TILE},
        "big.TIFF": {"bigtiff": True},
        "strips.ome.tif": {},
    }
    for name, options in kinds.items():
        tifffile.imwrite(tmp_path / name, GREY, **options)
    zarr.create_array(tmp_path / "any name", data=GREY)
    (tmp_path / "slide.ndpi").touch()
    (tmp_path / "broken.tif").write_bytes(b"II*\0 no")
    (tmp_path / "photo.png").touch()
    (tmp_path / "empty.zarr").mkdir()
    chosen = {path.name for path in tmp_path.iterdir() if is_windowed(path)}
    assert chosen == {"tiled.tif", "big.TIFF", "strips.ome.tif", "any name", "slide.ndpi"}
    assert is_windowed(tmp_path / "small.tif", from_pixels=131 * 193)
    assert not is_windowed(tmp_path / "small.tif", from_pixels=131 * 193 + 1)
    assert {".tif", ".zarr", ".svs"} <= set(WINDOWED_SUFFIXES)


def test_the_result_has_a_suffix_of_its_own_kind(tmp_path):
    zarr.create_array(tmp_path / "x", data=GREY)
    names = {"a.svs": ".tif", "a.TIFF": ".tif", "a.ome.tiff": ".ome.tiff", "a.OME.tif": ".ome.tif", "a.zarr": ".zarr"}
    assert {name: windowed_output_suffix(name) for name in names} == names
    assert windowed_output_suffix(tmp_path / "x") == ".zarr"


def refused(path: Path, message: str) -> None:
    with pytest.raises(ImageError, match=message), open_windowed(path) as image:
        image.read(slice(0, image.info.height), slice(0, image.info.width))


def test_what_is_no_such_picture_is_refused(tmp_path):
    refused(tmp_path / "a.tif", r"a\.tif: there is no such file: check the path")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    refused(tmp_path / "a.png", "by windows: it is no TIFF, Zarr or slide .* read it whole, or save it as a tiled TIFF")
    refused(tmp_path, "it holds no Zarr, a folder of which has one of zarr.json, .zarray, .zgroup")
    (tmp_path / "a.svs").write_bytes(b"II*\0")
    refused(tmp_path / "a.svs", "openslide knows no slide in it, allowed are .svs, .ndpi, .* name a TIFF .tif")


@pytest.mark.parametrize("options", [{"tile": (64, 64)}, {"rowsperstrip": 8, "compression": "zlib"}])
def test_a_truncated_tiff_is_refused_when_it_is_opened(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PHOTOGRAPH, photometric="rgb", **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(path, r"a\.tif: it is truncated, a part of its pixels is missing")
    path.write_bytes(content[:8])
    refused(path, "it is truncated")


def test_a_damaged_tile_is_refused_and_the_others_are_read(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PHOTOGRAPH, photometric="rgb", tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as tif:
        start = tif.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[start : start + 9] = b"\xff" * 9
    path.write_bytes(content)
    refused(path, r"a\.tif: it is truncated or damaged")
    with open_windowed(path) as image:
        window = image.read(slice(64, 131), slice(64, 193))
    np.testing.assert_array_equal(window.pixels, PHOTOGRAPH[64:, 64:])


REFUSED_TIFFS = {
    "its axes are C 5, Y 131, X 193, allowed are one Z and T, and 1 or 3 channels": (
        [np.stack([GREY] * 5)],
        {"ome": True, "metadata": {"axes": "CYX"}},
    ),
    "its axes are Z 3, Y 131, X 193": ([np.stack([GREY] * 3)], {"ome": True, "metadata": {"axes": "ZYX"}}),
    "it holds 2 images, allowed is one": ([GREY, GREY], {"ome": True}),
    "it holds 2 pages, allowed is one, with smaller versions": ([GREY, GREY], {"metadata": None}),
    "it holds 3 pages": ([np.stack([GREY] * 3)], {"imagej": True}),
    "it holds 4 pages": ([GREY], {"description": "ImageJ=1.11a\nimages=4\nslices=4\n", "metadata": None}),
    "its axes are C 3, Y 131, X 193, S 3": (
        [np.stack([PHOTOGRAPH] * 3)],
        {"ome": True, "photometric": "rgb", "metadata": {"axes": "CYXS"}},
    ),
    "its values are int32 of 32 bits": ([GREY.astype(np.int32)], {}),
    "it has 4 channels, of which 3 are neither colour nor marked": (
        [np.dstack([GREY] * 4)],
        {"photometric": "minisblack", "planarconfig": "contig"},
    ),
    "its pixels are MINISBLACK of 4 bits, compressed as NONE": ([GREY // 16], {"bitspersample": 4}),
}


def test_a_file_that_is_refused_is_closed(tmp_path, monkeypatch):
    closed = []
    close = tifffile.TiffFile.close
    monkeypatch.setattr(tifffile.TiffFile, "close", lambda tif: closed.append(tif) or close(tif))
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.int32))
    with pytest.raises(ImageError, match="its values are int32"):
        open_windowed(tmp_path / "a.tif")
    assert len(closed) == 1


@pytest.mark.parametrize("message", REFUSED_TIFFS)
def test_a_tiff_that_is_no_grey_or_rgb_picture_is_refused(tmp_path, message):
    arrays, options = REFUSED_TIFFS[message]
    kind = {name: options[name] for name in ("ome", "imagej") if name in options}
    with tifffile.TiffWriter(tmp_path / "a.tif", **kind) as tif:
        for array in arrays:
            tif.write(array, **{"photometric": "minisblack"} | {k: v for k, v in options.items() if k not in kind})
    refused(tmp_path / "a.tif", rf"cannot read .*a\.tif: {message}")


def test_a_plane_that_lies_in_a_file_that_is_not_there_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.ome.tif", PHOTOGRAPH.transpose(2, 0, 1), photometric="minisblack", metadata={"axes": "CYX"}
    )
    content = (tmp_path / "a.ome.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        told = tif.ome_metadata
        place = told.replace('<TiffData IFD="0" PlaneCount="3"/>', '<TiffData IFD="0" PlaneCount="1"/>')
    start = content.index(told.encode())
    padded = place.encode().ljust(len(told.encode()))
    (tmp_path / "a.ome.tif").write_bytes(content[:start] + padded + content[start + len(padded) :])
    refused(tmp_path / "a.ome.tif", "one of its planes is missing: copy its other files beside it")


def test_blocks_that_are_too_large_to_decode_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "MAX_TILE_BYTES", 20_000)
    tifffile.imwrite(tmp_path / "a.tif", GREY, rowsperstrip=131, compression="zlib")
    refused(
        tmp_path / "a.tif", r"its pixels are stored in blocks of 131 x 193 \(H x W\), .* save it with smaller tiles"
    )
    tifffile.imwrite(tmp_path / "b.tif", GREY, rowsperstrip=131)  # not compressed: read by rows
    np.testing.assert_array_equal(whole(tmp_path / "b.tif"), GREY)


REFUSED_ARRAYS = {
    r"its shape is \(131, 193, 5\), allowed are": np.dstack([GREY] * 5),
    r"its shape is \(3, 131, 193\), allowed are .* put the channels last": PHOTOGRAPH.transpose(2, 0, 1),
    r"its shape is \(193,\), allowed are": GREY[0],
    r"its shape is \(1, 1, 131, 193\), allowed are": GREY[None, None],
    r"its shape is \(0, 193\), allowed are .* sides of at least 1": GREY[:0],
    "its values are int32, allowed are": GREY.astype(np.int32),
    "its values are complex64, allowed are": GREY.astype(np.complex64),
    "its values are int16, allowed are": PHOTOGRAPH.astype(np.int16),
}


@pytest.mark.parametrize("message", REFUSED_ARRAYS)
def test_a_zarr_array_that_is_no_picture_is_refused(tmp_path, message):
    array = REFUSED_ARRAYS[message]
    zarr.create_array(
        tmp_path / "a.zarr", shape=array.shape, dtype=array.dtype, chunks=tuple(max(1, s) for s in array.shape)
    )
    refused(tmp_path / "a.zarr", rf"a\.zarr: {message}")


def test_a_zarr_group_that_is_no_picture_is_refused(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr")
    refused(tmp_path / "a.zarr", "it is a Zarr group without a multiscale .* IMAGE.zarr/0 for example")
    group.create_array("0", data=GREY)
    np.testing.assert_array_equal(whole(tmp_path / "a.zarr" / "0"), GREY)
    group.attrs["multiscales"] = [{"datasets": [{"path": "0"}]}]
    refused(tmp_path / "a.zarr", "its axes are not named, allowed are y and x, with t, c and z")
    write_ngff(tmp_path / "b.zarr", np.stack([GREY] * 4), "cyx")
    refused(
        tmp_path / "b.zarr", r"its shape is \(4, 131, 193\) \(c, y, x\), allowed are one t and z, and 1 or 3 channels"
    )
    write_ngff(tmp_path / "c.zarr", np.stack([GREY] * 2), "zyx")
    refused(tmp_path / "c.zarr", "allowed are one t and z")


def test_a_damaged_chunk_is_refused_and_a_missing_one_is_background(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=PHOTOGRAPH, chunks=(128, 128, 3), fill_value=9)
    chunks = tmp_path / "a.zarr" / "c"
    (chunks / "0" / "1" / "0").unlink()
    expected = PHOTOGRAPH.copy()
    expected[:128, 128:] = 9
    np.testing.assert_array_equal(whole(tmp_path / "a.zarr"), expected)
    (chunks / "0" / "0" / "0").write_bytes(b"nothing")
    refused(tmp_path / "a.zarr", r"a\.zarr: it is truncated or damaged")


def test_without_the_extra_each_kind_says_which_to_install(tmp_path):
    options = {"tile": (64, 64), "photometric": "rgb"}
    tifffile.imwrite(tmp_path / "jpeg.tif", PHOTOGRAPH, compression="jpeg", **options)
    tifffile.imwrite(tmp_path / "lzw.tif", PHOTOGRAPH, compression="lzw", **options)
    tifffile.imwrite(tmp_path / "deflate.tif", PHOTOGRAPH, compression="zlib", predictor=True, **options)
    zarr.create_array(tmp_path / "a.zarr", data=GREY)
    (tmp_path / "a.svs").touch()
    program = (
        "import sys\n"
        "for name in ('zarr', 'numcodecs', 'imagecodecs', 'openslide'):\n"
        "    sys.modules[name] = None\n"
        "from translate.data.windowed import open_windowed\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        with open_windowed(path) as image:\n"
        "            print(image.read(slice(0, 131), slice(0, 193)).pixels.sum())\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    names = ("deflate.tif", "jpeg.tif", "lzw.tif", "a.zarr", "a.svs")
    command = [sys.executable, "-c", program, *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    lines = done.stdout.splitlines()
    assert len(lines) == 5, done.stderr
    assert int(lines[0]) == PHOTOGRAPH.sum(dtype=np.int64)
    assert "it is compressed as JPEG with predictor 1, which needs imagecodecs: pip install" in lines[1]
    assert "it is compressed as LZW with predictor 1, which needs imagecodecs: pip install" in lines[2]
    assert 'Zarr needs zarr, which is not installed: pip install "translate-images[large]"' in lines[3]
    assert 'a slide needs openslide, which is not installed: pip install "translate-images[large]"' in lines[4]
