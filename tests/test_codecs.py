"""The fast ways of reading and writing files: what they give is what the slow ways give."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage import data

from translate.data import pil, png
from translate.data.images import ImageError, decode_picture, encode_picture, from_array, read_picture, to_array
from translate.data.images import write_picture as write

RANDOM = np.random.default_rng(0)
KINDS = [(dtype, samples) for dtype in (np.uint8, np.uint16) for samples in (1, 2, 3, 4)]


def photo(samples=3, dtype=np.uint8):
    """(120, 161, samples) of a photograph; 16-bit values use all their digits, alpha falls from left to right."""
    values = data.coffee()[150:270, 200:361]
    values = values if samples > 2 else values[..., :1]
    if samples in (2, 4):
        values = np.dstack([values, np.broadcast_to(np.linspace(0, 255, 161).astype(np.uint8), (120, 161))])
    if dtype == np.uint8:
        return values
    return (values.astype(dtype) * 257) ^ RANDOM.integers(0, 64, values.shape).astype(dtype)


def saved(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def no_pillow(monkeypatch):
    """Pillow may read headers, but no pixels."""

    def refuse(image):
        raise AssertionError("Pillow decodes")

    monkeypatch.setattr(pil, "decode", refuse)


# JPEG


JPEGS = {
    "4:2:0": {"quality": 75},
    "4:2:2": {"quality": 90, "subsampling": 1},
    "4:4:4": {"quality": 95, "subsampling": 0},
    "progressive": {"quality": 80, "progressive": True},
    "restarts": {"quality": 80, "restart_marker_blocks": 3},
    "rgb": {"quality": 90, "keep_rgb": True},
}


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_has_the_pixels_that_pillow_gives(no_pillow, kind, mode):
    content = saved(Image.fromarray(photo()).convert(mode), "jpeg", **(JPEGS[kind] if mode == "RGB" else {}))
    pixels = decode_picture(content, "a").pixels
    assert (pixels.dtype, pixels.shape) == (np.uint8, (120, 161, len(mode)))
    np.testing.assert_array_equal(pixels.squeeze(), np.asarray(Image.open(io.BytesIO(content))))
    assert pixels.flags.writeable


def test_what_libjpeg_only_warns_of_is_read_all_the_same(capfd):
    content = saved(Image.fromarray(photo()), "jpeg", restart_marker_blocks=3)
    place = content.index(b"\xff\xd0")
    odd = content[:place] + b"extra" + content[place:]  # bytes that belong to nothing, as some cameras leave them
    np.testing.assert_array_equal(decode_picture(odd, "a").pixels, np.asarray(Image.open(io.BytesIO(odd))))
    assert capfd.readouterr() == ("", "")


def test_bytes_are_called_by_the_name_that_was_given():
    with pytest.raises(ImageError, match=r"cannot read shard 3, cat\.jpg: it is truncated or damaged"):
        decode_picture(saved(Image.fromarray(photo()), "jpeg")[:3000], "shard 3, cat.jpg")
    with pytest.raises(ImageError, match=r"cannot read x: its size is 120 x 161 .*: pass max_pixels=19320"):
        decode_picture(saved(Image.fromarray(photo()), "jpeg"), "x", max_pixels=19319)


# PNG


@pytest.mark.parametrize("samples", [1, 3, 4])
def test_a_plain_png_has_the_pixels_that_pillow_gives(no_pillow, samples):
    array = photo(samples).squeeze()
    content = saved(Image.fromarray(array), "png")
    again = to_array(decode_picture(content, "a"))
    np.testing.assert_array_equal(again, array)
    assert again.dtype == np.uint8


def interlaced(array):
    """A grey PNG in the seven passes of Adam7, without filters."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = (array[top::down, left::right] for top, left, down, right in passes)
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 8, 0, 0, 0, 1)
    chunks = (png.chunk(b"IHDR", header), png.chunk(b"IDAT", zlib.compress(rows)), png.chunk(b"IEND", b""))
    return png.SIGNATURE + b"".join(chunks)


def test_an_interlaced_png_is_read():
    array = photo(1).squeeze()
    np.testing.assert_array_equal(decode_picture(interlaced(array), "a").pixels[..., 0], array)


def test_gamma_and_other_words_beside_the_pixels_do_not_change_them():
    content = encode_picture(from_array(photo()), "a.png")
    told = content[:33] + png.chunk(b"gAMA", struct.pack(">I", 100000)) + png.chunk(b"bKGD", bytes(6)) + content[33:]
    np.testing.assert_array_equal(decode_picture(told, "a").pixels, photo())


@pytest.mark.parametrize("samples", [1, 3, 4])
def test_a_png_whose_pixels_are_damaged_under_a_right_checksum_is_refused(samples, capfd):
    array = photo(samples)
    content = png.encode(from_array(array))
    start, stop = png.complete_chunks(content)[b"IDAT"][0]
    for damaged in (content[start : stop - 2000], content[start : start + 500] + bytes(200)):
        bad = content[: start - 8] + png.chunk(b"IDAT", damaged) + png.chunk(b"IEND", b"")
        with pytest.raises(ImageError, match="cannot read a: it is truncated or damaged"):
            decode_picture(bad, "a")
    assert capfd.readouterr() == ("", "")


# how hard files are packed


@pytest.mark.parametrize("compression", ["fast", "small"])
@pytest.mark.parametrize(("dtype", "samples"), KINDS)
@pytest.mark.parametrize("shape", [(120, 161), (1, 1), (1, 161), (65, 1)])
def test_png_keeps_every_value_however_it_is_packed(compression, dtype, samples, shape):
    array = photo(samples, dtype)[: shape[0], : shape[1]]
    content = encode_picture(from_array(array), "a.png", compression=compression)
    np.testing.assert_array_equal(to_array(decode_picture(content, "a")), array.squeeze(2) if samples == 1 else array)
    if dtype == np.uint8:
        image = Image.open(io.BytesIO(content))
        np.testing.assert_array_equal(np.asarray(image), array.squeeze(2) if samples == 1 else array)


@pytest.mark.parametrize("compression", ["fast", "small", "none"])
@pytest.mark.parametrize(("dtype", "samples"), [*KINDS, (np.float32, 3)])
def test_tiff_keeps_every_value_however_it_is_packed(compression, dtype, samples):
    array = (photo(samples) / np.float32(255)) if dtype == np.float32 else photo(samples, dtype)
    array = np.tile(array, (8, 1, 1))  # more than one strip
    content = encode_picture(from_array(array), "a.tif", compression=compression)
    again = to_array(decode_picture(content, "a"))
    np.testing.assert_array_equal(again, array.squeeze(2) if samples == 1 else array)
    with tifffile.TiffFile(io.BytesIO(content)) as tif:
        assert tif.pages[0].compression == (1 if compression == "none" else 8)  # none, Adobe deflate
    if dtype == np.uint8:
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), again)


def test_small_is_smaller_and_fast_is_not_much_larger_than_pillows():
    picture = from_array(data.chelsea())
    sizes = {
        (suffix, how): len(encode_picture(picture, f"a{suffix}", compression=how))
        for suffix in (".png", ".webp", ".tif")
        for how in ("fast", "small", "none")
    }
    pillow = len(saved(Image.fromarray(data.chelsea()), "png"))
    assert sizes[".png", "fast"] < 1.1 * pillow
    assert sizes[".png", "small"] < 1.01 * pillow
    assert sizes[".webp", "small"] < 0.95 * sizes[".webp", "fast"]
    assert sizes[".tif", "small"] < sizes[".tif", "fast"] < 0.85 * sizes[".tif", "none"]
    assert sizes[".tif", "none"] > 300 * 451 * 3
    # What a format does not have is written as it is without it.
    assert sizes[".png", "none"] == sizes[".png", "fast"]
    assert sizes[".webp", "none"] == sizes[".webp", "fast"]


def test_webp_is_lossless_or_lossy_and_smaller_with_more_effort():
    picture = from_array(data.chelsea())
    small = encode_picture(picture, "a.webp", compression="small")
    np.testing.assert_array_equal(decode_picture(small, "a").pixels, data.chelsea())
    lossy = {how: encode_picture(picture, "a.webp", quality=80, compression=how) for how in ("fast", "small")}
    assert len(lossy["small"]) < len(lossy["fast"]) < len(small) / 5


def test_each_row_of_a_small_png_has_the_filter_that_suits_it():
    ramp = np.arange(32) * 7
    rows = [np.zeros(32), np.full(32, 200), ramp, ramp, ramp + 3, np.zeros(32)]
    for column in range(1, 32):  # between its neighbours
        rows[-1][column] = (rows[-1][column - 1] + rows[-2][column]) // 2
    raw = zlib.decompress(png.compress(np.array(rows, np.uint8)[..., None], "small"))
    assert [raw[33 * row] for row in range(6)] == [0, 1, 1, 2, 2, 3]  # none, left, left, above, above, average
    assert zlib.decompress(png.compress(np.array(rows, np.uint8)[..., None], "fast"))[33] == png.UP


def test_a_compression_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(
        ImageError, match=r"cannot write .*a\.png: compression must be one of fast, small, none, got '9'"
    ):
        write(from_array(photo()), tmp_path / "a.png", compression="9")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_what_encoding_gives(tmp_path):
    write(from_array(photo()), tmp_path / "a.webp", quality=30, compression="small")
    content = encode_picture(from_array(photo()), "a.webp", quality=30, compression="small")
    assert (tmp_path / "a.webp").read_bytes() == content
    np.testing.assert_array_equal(read_picture(tmp_path / "a.webp").pixels, decode_picture(content, "a").pixels)
