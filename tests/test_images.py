"""Reading and writing pictures: round trips, metadata, and every error of translate.data.images."""

import io
import os
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps
from skimage import data

from translate.data import images, png
from translate.data.images import (
    IMAGE_SUFFIXES,
    ImageError,
    Metadata,
    Picture,
    from_array,
    from_pil,
    lossless_suffix,
    probe_picture,
    read_picture,
    to_array,
    to_pil,
    write_picture,
)
from translate.data.metadata import upright_exif

RANDOM = np.random.default_rng(0)


def photo(dtype=np.uint8, samples=3, height=67, width=101):
    """A part of a photograph (H, W, samples); 16-bit and float values use all their digits."""
    colours = data.astronaut()[100 : 100 + height, 150 : 150 + width].astype(np.float64)
    grey = colours.mean(axis=2, keepdims=True)
    values = (colours if samples > 2 else grey) / 255
    if samples % 2 == 0:
        values = np.dstack([values, RANDOM.choice([0.0, 1 / 65535, 0.3, 1.0], size=(height, width))])
    if dtype == np.float32:
        return (values * 1.7 - 0.2 + 1e-5 * RANDOM.random(values.shape)).astype(np.float32)
    top = np.iinfo(dtype).max
    noise = RANDOM.integers(0, 200, values.shape) if dtype == np.uint16 else 0
    return np.clip(np.rint(values * top) - noise, 0, top).astype(dtype)


def bare(array):
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


LOSSLESS = [
    *[(".png", dtype, samples) for dtype in (np.uint8, np.uint16) for samples in (1, 2, 3, 4)],
    *[(".tif", dtype, samples) for dtype in (np.uint8, np.uint16, np.float32) for samples in (1, 2, 3, 4)],
    *[(suffix, np.uint8, samples) for suffix in (".webp", ".bmp") for samples in (1, 3)],
    (".webp", np.uint8, 4),
]


@pytest.mark.parametrize(("suffix", "dtype", "samples"), LOSSLESS)
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, suffix, dtype, samples):
    array = bare(photo(dtype, samples))
    path = tmp_path / f"ein Bild ü{suffix}"
    write_picture(from_array(array), path)
    again = to_array(read_picture(path))
    if suffix == ".webp" and samples == 1:  # WebP has no grey
        array = np.repeat(array[..., None], 3, axis=2)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, array)


@pytest.mark.parametrize(("suffix", "dtype", "samples"), LOSSLESS)
def test_the_header_says_what_reading_gives(tmp_path, suffix, dtype, samples):
    path = tmp_path / f"a{suffix}"
    write_picture(from_array(photo(dtype, samples)), path)
    assert probe_picture(path) == read_picture(path).info


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (130, 1), (64, 64), (65, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_of_any_size_is_the_same_to_other_programs(tmp_path, shape, dtype):
    array = RANDOM.integers(0, np.iinfo(dtype).max + 1, (*shape, 3)).astype(dtype)
    write_picture(from_array(array), tmp_path / "a.png")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)[..., ::-1], array)
    Image.open(tmp_path / "a.png").verify()


def test_a_dark_16_bit_picture_stays_16_bit(tmp_path):
    dark = (photo(np.uint16) // 1000).astype(np.uint16)
    assert dark.max() < 256
    write_picture(from_array(dark), tmp_path / "dark.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "dark.png").pixels, dark)


@pytest.mark.parametrize("samples", [1, 3])
def test_jpeg_is_close_and_quality_matters(tmp_path, samples):
    array = photo(np.uint8, samples)
    write_picture(from_array(array), tmp_path / "a.jpg")
    write_picture(from_array(array), tmp_path / "b.jpg", quality=30)
    again = read_picture(tmp_path / "a.jpg").pixels
    assert again.shape == array.shape
    assert np.abs(again.astype(int) - array).mean() < 2
    assert (tmp_path / "b.jpg").stat().st_size < (tmp_path / "a.jpg").stat().st_size / 2


def test_webp_keeps_the_colour_under_transparent_pixels_with_and_without_a_quality(tmp_path):
    array = photo(np.uint8, 4)
    write_picture(from_array(array), tmp_path / "a.webp", quality=80)
    again = to_array(read_picture(tmp_path / "a.webp"))
    assert np.abs(again[..., :3].astype(int) - array[..., :3]).mean() < 8


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", None])
def test_compressed_8_bit_tiff_is_read(tmp_path, compression):
    Image.fromarray(photo()).save(tmp_path / "a.tif", compression=compression)
    difference = np.abs(read_picture(tmp_path / "a.tif").pixels.astype(int) - photo())
    assert difference.mean() < (3 if compression == "jpeg" else 1e-9)


class WithoutImagecodecs(dict):
    """What tifffile decompresses with where imagecodecs is not installed."""

    def __missing__(self, compression):
        raise KeyError(f"{compression!r} requires the 'imagecodecs' package")


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("samples", [1, 3, 4])
@pytest.mark.parametrize("imagecodecs", [True, False])
def test_lzw_tiff_of_opencv_is_read_without_a_word(tmp_path, monkeypatch, dtype, samples, imagecodecs, capfd):
    if not imagecodecs:  # which is an extra
        monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", WithoutImagecodecs())
    array = bare(photo(dtype, samples))
    order = [2, 1, 0, 3][:samples]
    cv2.imwrite(str(tmp_path / "a.tif"), array[..., order] if samples > 1 else array, [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    np.testing.assert_array_equal(to_array(read_picture(tmp_path / "a.tif")), array)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_of_either_layout_and_byte_order_is_read(tmp_path, planar, byteorder):
    array = photo(np.uint16)
    stored = array if planar == "contig" else array.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, byteorder=byteorder)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, array)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_half_and_double_tiff_become_float32(tmp_path, dtype):
    array = photo(np.float32).astype(dtype)
    array[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").pixels, array.astype(np.float32))
    assert probe_picture(tmp_path / "a.tif").dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_inverted(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 4), dtype), photometric="miniswhite")
    assert (read_picture(tmp_path / "a.tif").pixels == np.iinfo(dtype).max).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_premultiplied_alpha_in_tiff_is_divided_out(tmp_path, dtype):
    one = 65535 if dtype == np.uint16 else 1
    array = np.full((2, 2, 4), one * 0.25).astype(dtype)
    array[..., 3] = (one * 0.5) if dtype == np.float32 else 32768
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["assocalpha"])
    np.testing.assert_allclose(read_picture(tmp_path / "a.tif").pixels / one, 0.5, atol=1e-4)


@pytest.mark.parametrize(
    ("mode", "options", "channels", "has_alpha"),
    [
        ("1", {}, 1, False),
        ("1", {"transparency": 1}, 1, True),
        ("L", {"transparency": 7}, 1, True),
        ("P", {}, 3, False),
        ("P", {"transparency": 3}, 3, True),
        ("RGB", {"transparency": (1, 2, 3)}, 3, True),
    ],
)
def test_palettes_one_bit_and_transparent_colours_become_8_bit(tmp_path, mode, options, channels, has_alpha):
    image = Image.fromarray(photo()).convert(mode)
    image.save(tmp_path / "a.png", **options)
    picture = read_picture(tmp_path / "a.png")
    assert (picture.pixels.shape[2], picture.alpha is not None, picture.pixels.dtype) == (channels, has_alpha, np.uint8)
    assert probe_picture(tmp_path / "a.png") == picture.info
    np.testing.assert_array_equal(picture.pixels[..., :3], np.asarray(image.convert("RGB"))[..., :channels])


@pytest.mark.parametrize("samples", [1, 3])
def test_a_transparent_colour_of_16_bits_becomes_alpha(tmp_path, samples):
    array = bare(photo(np.uint16, samples))
    key = struct.pack(f">{samples}H", *np.ravel(array[5, 5]))
    content = png.encode(from_array(array))
    (tmp_path / "a.png").write_bytes(content[:33] + png.chunk(b"tRNS", key) + content[33:])
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha[5, 5] == 0
    assert set(np.unique(picture.alpha)) == {0, 65535}
    np.testing.assert_array_equal(bare(picture.pixels), array)
    assert probe_picture(tmp_path / "a.png") == picture.info


# --- metadata


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_orientation_is_applied_as_pillow_does_and_not_again(tmp_path, suffix, orientation):
    image = Image.fromarray(photo())
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker"
    image.save(tmp_path / f"a{suffix}", exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    picture = read_picture(tmp_path / f"a{suffix}")
    expected = ImageOps.exif_transpose(Image.open(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(picture.pixels, np.asarray(expected))
    assert probe_picture(tmp_path / f"a{suffix}") == picture.info

    write_picture(picture, tmp_path / f"b{suffix}")
    assert Image.open(tmp_path / f"b{suffix}").getexif()[0x0112] == 1
    assert read_picture(tmp_path / f"b{suffix}").pixels.shape == picture.pixels.shape


def test_orientation_of_16_bit_files_is_applied(tmp_path):
    array = photo(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Picture(array, None, Metadata(exif=exif.tobytes()))
    (tmp_path / "a.png").write_bytes(png.encode(stored))
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extratags=[(0x0112, 3, 1, 6, True)])
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        np.testing.assert_array_equal(read_picture(path).pixels, np.rot90(array, -1))
        assert (probe_picture(path).height, probe_picture(path).width) == (101, 67)


def rich_metadata():
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x8298] = "Müller & Co", 1, "nobody"
    exif[0x8769] = {0x829A: 0.004, 0x9003: "2024:05:06 07:08:09", 0xA434: "50 mm"}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 30.5)}
    return Metadata(
        "png", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), exif.tobytes(), (300, 300)
    )


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_profile_exif_and_resolution_survive_each_format(tmp_path, suffix, dtype):
    format = images.FORMATS[suffix]
    if not images.holds(format, dtype, False):
        pytest.skip("this format cannot hold this dtype")
    given = rich_metadata()
    write_picture(Picture(photo(dtype), None, given), tmp_path / f"a{suffix}")
    metadata = read_picture(tmp_path / f"a{suffix}").metadata
    exif = Image.Exif()
    exif.load(metadata.exif)
    assert metadata.icc == given.icc
    assert metadata.format == format
    assert (exif[0x010F].encode(errors="replace")[:1], exif[0x8298], exif[0x0112]) == (b"M", "nobody", 1)
    assert float(exif.get_ifd(0x8769)[0x829A]) == pytest.approx(0.004)
    assert exif.get_ifd(0x8769)[0xA434] == "50 mm"
    assert [float(value) for value in exif.get_ifd(0x8825)[2]] == [48.0, 8.0, 30.5]
    if suffix != ".webp":
        assert metadata.dpi == pytest.approx((300, 300), abs=0.01)


def test_the_layout_of_a_tiff_does_not_travel_with_its_exif(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", photo(), photometric="rgb", description=None, extratags=[(271, 2, 0, "x", True)]
    )
    picture = read_picture(tmp_path / "a.tif")
    exif = Image.Exif()
    exif.load(picture.metadata.exif)
    assert set(exif) == {0x010F, 0x0112, 0x011A, 0x011B, 0x0128, 0x0131}


def test_exif_that_cannot_be_written_again_is_left_out_with_a_warning(caplog):
    exif = Image.Exif()
    exif[0x0110] = object()
    assert upright_exif(exif) is None
    assert "cannot be carried over" in caplog.text


# --- other programs' images


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F"])
def test_pillow_images_come_and_go(mode):
    if mode == "I;16":
        image = Image.fromarray(bare(photo(np.uint16, 1)))
    elif mode == "F":
        image = Image.fromarray(bare(photo(np.float32, 1)))
    else:
        image = Image.fromarray(photo(samples=3 if mode == "P" else 4)).convert(mode)
    back = to_pil(from_pil(image))
    assert back.mode == {"1": "L", "P": "RGB"}.get(mode, mode)
    np.testing.assert_array_equal(np.asarray(back), np.asarray(image.convert(back.mode)))


def test_pillow_has_no_mode_for_16_bit_colour():
    with pytest.raises(ImageError, match=r"Pillow holds uint16 only as grey without alpha, got 3 channels"):
        to_pil(from_array(photo(np.uint16)))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "I"])
def test_pillow_images_of_other_colour_models_are_refused(mode):
    with pytest.raises(ImageError, match=f"its colour model is {mode}, allowed are grey and RGB"):
        from_pil(Image.new(mode, (3, 3)))


def test_arrays_come_and_go():
    for samples in (1, 2, 3, 4):
        array = bare(photo(samples=samples))
        np.testing.assert_array_equal(to_array(from_array(array)), array)
    assert from_array(photo(samples=1)).pixels.shape == (67, 101, 1)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4, 3), np.uint8), r"the array has the shape \(2, 3, 4, 3\), allowed are \(H, W\)"),
        (np.zeros((2, 3, 5), np.uint8), r"allowed are \(H, W\) and \(H, W, 1 to 4\): give one picture"),
        (np.zeros((0, 3), np.uint8), r"pixels have the shape \(0, 3, 1\)"),
        (np.zeros((2, 3), np.int16), "the values are int16, allowed are uint8, uint16 and float32"),
    ],
)
def test_other_arrays_are_refused(array, message):
    with pytest.raises(ImageError, match=message):
        from_array(array)


def test_alpha_must_fit_the_pixels():
    with pytest.raises(ImageError, match=r"alpha is uint16 of shape \(2, 2\), the pixels need uint8 of shape \(2, 3\)"):
        Picture(np.zeros((2, 3, 1), np.uint8), np.zeros((2, 2), np.uint16))


# --- files that cannot be read


def encoded(suffix, dtype=np.uint8):
    image = Image.fromarray(data.coffee()[:120, :160])
    buffer = io.BytesIO()
    if suffix in (".jpg", "progressive.jpg"):
        image.save(buffer, "jpeg", progressive=suffix != ".jpg", quality=95)
    elif suffix in (".webp", "lossless.webp"):
        image.save(buffer, "webp", lossless=suffix != ".webp")
    elif suffix == ".bmp":
        image.save(buffer, "bmp")
    elif suffix in ("lzw.tif", "raw.tif"):
        image.save(buffer, "tiff", compression="tiff_lzw" if suffix == "lzw.tif" else None)
    elif suffix == "opencv.tif":
        return cv2.imencode(".tif", photo(dtype))[1].tobytes()
    elif suffix == "opencv.png":
        return cv2.imencode(".png", photo(dtype))[1].tobytes()
    else:
        return (images.tiff if suffix == ".tif" else png).encode(from_array(photo(dtype)))
    return buffer.getvalue()


TRUNCATED = [
    *[(name, np.uint8) for name in (".jpg", "progressive.jpg", ".webp", "lossless.webp", ".bmp", "lzw.tif", "raw.tif")],
    *[(name, dtype) for name in (".png", "opencv.png", ".tif", "opencv.tif") for dtype in (np.uint8, np.uint16)],
    (".tif", np.float32),
    ("opencv.tif", np.float32),
]


@pytest.mark.parametrize(("kind", "dtype"), TRUNCATED)
def test_truncated_files_are_refused_wherever_they_are_cut(tmp_path, kind, dtype, capfd):
    content = encoded(kind, dtype)
    path = tmp_path / f"cut.{kind.split('.')[-1]}"
    path.write_bytes(content)
    read_picture(path)
    size = len(content)
    cuts = {2, 8, 20, 40, 60, *range(100, size, size // 12), *range(size - 14, size)}
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        with pytest.raises(ImageError, match=r"cannot read .*cut\."):
            read_picture(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_damaged_png_is_refused(tmp_path, dtype):
    content = bytearray(encoded(".png", dtype))
    content[len(content) // 2] ^= 255
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"truncated or damaged in its part 'IDAT': copy or export it again"):
        read_picture(tmp_path / "a.png")


def png_file(width, height, depth=8, kind=2, pixels=b"", extra=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = png.chunk(b"IHDR", header) + extra + png.chunk(b"IDAT", zlib.compress(pixels)) + png.chunk(b"IEND", b"")
    return png.SIGNATURE + parts


def tiff_file(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, metadata=None, **options)
    return buffer.getvalue()


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


FRAMES = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
BAD_FILES = {
    "empty": (b"", "the file is empty"),
    "text": (b"this is a text", r"its content is not a picture \(it starts with b'this is "),
    "gif": (saved(FRAMES[0], "gif"), "its content is not a picture"),
    "zero width": (png_file(0, 10), r"its size is 10 x 0 \(H x W\), both must be at least 1|damaged"),
    "zero height": (png_file(10, 0, depth=16), r"its size is 0 x 10|damaged"),
    "huge": (
        png_file(60000, 60000),
        r"60000 x 60000 .*3600.0 megapixels, allowed are 300.0: pass max_pixels=36",
    ),
    "huge 16 bit": (png_file(60000, 60000, depth=16), "3600.0 megapixels"),
    "huge bmp": (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 60, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
        "3600.0",
    ),
    "short pixels": (png_file(50, 50, pixels=b"123"), "truncated or damaged"),
    "short 16-bit pixels": (png_file(50, 50, depth=16, pixels=b"123"), "its compressed pixels are damaged"),
    "no end": (png_file(5, 5)[:-12], r"truncated, the parts \['IEND'\] are missing"),
    "animated png": (
        saved(FRAMES[0], "png", save_all=True, append_images=FRAMES[1:]),
        "several pictures, allowed is one",
    ),
    "animated webp": (saved(FRAMES[0], "webp", save_all=True, append_images=FRAMES[1:]), "several pictures"),
    "two pages": (saved(FRAMES[0], "tiff", save_all=True, append_images=FRAMES[1:]), "3 pages, allowed is one"),
    "stack": (tiff_file(np.zeros((4, 8, 8), np.uint16), photometric="minisblack"), "4 pages"),
    "cmyk jpeg": (saved(FRAMES[0].convert("CMYK"), "jpeg"), "colour model is CMYK, allowed are grey and RGB"),
    "cmyk tiff": (saved(FRAMES[0].convert("CMYK"), "tiff"), "colour model is SEPARATED of uint8, allowed are grey"),
    "int16": (
        tiff_file(np.zeros((8, 8, 3), np.int16), photometric="rgb"),
        "its values are int16 of 16 bits, allowed are uint8, uint16 and",
    ),
    "uint32": (tiff_file(np.zeros((8, 8), np.uint32)), "its values are uint32 of 32 bits, allowed are"),
    "white is zero float": (tiff_file(np.zeros((8, 8), np.float32), photometric="miniswhite"), "MINISWHITE of float32"),
    "five channels": (
        tiff_file(np.zeros((8, 8, 5), np.uint8), photometric="rgb", planarconfig="contig"),
        "it has 5 channels, of which 2 are neither colour nor marked as alpha",
    ),
    "unmarked channel": (
        tiff_file(np.zeros((8, 8, 4), np.uint8), photometric="rgb", extrasamples=["unspecified"]),
        "it has 4 channels, of which 1 are neither colour nor marked as alpha",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_are_no_single_picture_say_why(tmp_path, name, capfd):
    content, message = BAD_FILES[name]
    (tmp_path / "bad.png").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=rf"cannot read .*bad.png: .*({message})"):
            read_picture(tmp_path / "bad.png")
    assert capfd.readouterr().err in ("", "libpng error: Not enough image data\n")  # OpenCV has no switch for that one


def test_an_imagej_stack_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 8, 8), np.uint16), imagej=True)
    with pytest.raises(ImageError, match="it holds 4 pages"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("read", [read_picture, probe_picture])
def test_missing_files_and_folders_are_named(tmp_path, read):
    with pytest.raises(ImageError, match=r"cannot read .*nothing.png: there is no such file"):
        read(tmp_path / "nothing.png")
    with pytest.raises(ImageError, match=r"cannot read .*: it is a folder"):
        read(tmp_path)


def test_the_limit_of_pixels_can_be_set_and_no_warning_leaks(tmp_path):
    (tmp_path / "a.png").write_bytes(png_file(11_000, 10_000))  # Pillow would warn from 89 megapixels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probe_picture(tmp_path / "a.png").width == 11_000
        with pytest.raises(ImageError, match=r"110.0 megapixels, allowed are 100.0: pass max_pixels=110000000"):
            read_picture(tmp_path / "a.png", max_pixels=100_000_000)


def test_the_content_counts_not_the_suffix(tmp_path):
    write_picture(from_array(photo()), tmp_path / "a.png")
    os.rename(tmp_path / "a.png", tmp_path / "a.jpg")
    assert read_picture(tmp_path / "a.jpg").metadata.format == "png"


# --- files that cannot be written


@pytest.mark.parametrize(
    ("name", "array", "quality", "message"),
    [
        ("a.jpg", photo(np.uint16), None, "jpeg cannot hold uint16, png, tiff can: choose such a suffix"),
        ("a.webp", photo(np.uint16), None, "webp cannot hold uint16, png, tiff can"),
        ("a.png", photo(np.float32), None, "png cannot hold float32, tiff can"),
        ("a.bmp", photo(samples=4), None, "bmp cannot hold uint8 with alpha, png, tiff, webp can"),
        ("a.jpeg", photo(samples=2), None, "jpeg cannot hold uint8 with alpha"),
        ("a.gif", photo(), None, r"the suffix is '.gif', allowed are .png, .jpg"),
        ("a.jpg", photo(), 101, "quality must be from 1 to 100, got 101"),
        ("missing/a.png", photo(), None, "the folder .*missing does not exist: create it first"),
        ("a.webp", np.zeros((1, 17_000), np.uint8), None, "encoding error 5: Image size exceeds WebP limit"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, name, array, quality, message):
    with pytest.raises(ImageError, match=rf"cannot write .*{message}"):
        write_picture(from_array(array), tmp_path / name, quality=quality)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    write_picture(from_array(photo()), tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ImageError, match=r"cannot write .*a.png: no space left on device"):
        write_picture(from_array(photo(samples=1)), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def test_the_lossless_suffix_is_of_the_same_kind_where_it_can_be():
    assert [lossless_suffix(kind, np.uint8) for kind in ("png", "jpeg", "tiff", "webp", "bmp")] == [
        ".png", ".png", ".tif", ".webp", ".bmp",
    ]  # fmt: skip
    assert lossless_suffix("webp", np.uint16) == ".png"
    assert lossless_suffix("bmp", np.uint8, has_alpha=True) == ".png"
    assert lossless_suffix("jpeg", np.float32) == ".tif"
    assert set(IMAGE_SUFFIXES) == {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"}
