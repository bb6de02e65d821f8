"""TIFF as a scan: the same numbers, in declared units."""

import cv2
import numpy as np
import pytest
import tifffile

from translate.data.scans import Derivation, ScanError
from translate.data.tiff_scan import TiffScan

RANDOM = np.random.default_rng(0)
DENOISED = Derivation("denoised", "translate, model x")


def integers(*shape, dtype=np.uint16):
    limits = np.iinfo(dtype)
    return RANDOM.integers(limits.min, limits.max + 1, shape).astype(dtype)


def save(path, array, **options):
    tifffile.imwrite(path, array, **{"photometric": "minisblack", **options})
    return TiffScan.open(path, units="HU")


def derive(scan, output, change=0.0):
    with scan.writer(output, DENOISED) as writer:
        told = {i: writer.write(i, scan.read(i) + np.float32(change)) for i in reversed(range(scan.header.shape[0]))}
    for index, values in told.items():
        np.testing.assert_array_equal(TiffScan.open(output, units="HU").read(index), values)
    return writer


def write_one(writer, scan, then):
    writer.write(0, scan.read(0))
    then()


FLOATS = np.float32([[0.25, -1024, 3071], [1e-7, 1e7, 0]])
KINDS = {
    "one page": (integers(20, 30), {}),
    "signed": (integers(5, 20, 30, dtype=np.int16), {}),
    "deflate with predictor": (integers(5, 20, 30), {"compression": "zlib", "predictor": 2}),
    "tiles, big endian": (integers(4, 40, 30), {"tile": (16, 16), "byteorder": ">", "metadata": None}),
    "big endian, contiguous": (integers(4, 20, 30), {"byteorder": ">", "bigtiff": True}),
    "float": (FLOATS, {}),
    "double": (FLOATS.astype(np.float64), {}),
    "half": (FLOATS[:, :1].astype(np.float16), {}),
    "ImageJ": (integers(5, 20, 30), {"imagej": True, "metadata": {"axes": "ZYX"}}),
    "ImageJ float": (np.stack([FLOATS, FLOATS + 1]), {"imagej": True, "metadata": {"axes": "ZYX"}}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_identity_keeps_every_number(tmp_path, kind):
    array, options = KINDS[kind]
    scan = save(tmp_path / "a.tif", array, **options)
    slices = array.reshape(-1, *array.shape[-2:])
    assert scan.header.shape == slices.shape
    for index, expected in enumerate(slices):
        np.testing.assert_array_equal(scan.read(index), expected.astype(np.float32))
    assert scan.read(0).dtype == np.float32
    writer = derive(scan, tmp_path / "b.tif")
    derived = tifffile.imread(tmp_path / "b.tif")
    np.testing.assert_array_equal(derived, array)
    assert derived.dtype == (array.dtype if array.dtype.kind in "iu" else np.float32)
    assert writer.clipped == 0


def test_the_header_says_what_was_declared_and_what_can_be_stored(tmp_path):
    header = save(tmp_path / "a.tif", integers(5, 20, 30, dtype=np.int16)).header
    assert (header.name, header.units, header.modality) == ("a.tif", "HU", "CT")
    assert (header.shape, header.slices_per_volume, header.spacing) == ((5, 20, 30), 5, (None, None, None))
    assert (header.storable.low, header.storable.high, header.storable.units) == (-32768, 32767, "HU")
    assert save(tmp_path / "b.tif", FLOATS).header.storable is None
    assert TiffScan.open(tmp_path / "b.tif", units="stored", name="sub/b").header.name == "sub/b"


def test_integers_are_rounded_clipped_and_counted(tmp_path):
    scan = save(tmp_path / "a.tif", np.uint16([[0, 1, 2], [100, 65534, 65535]]))
    assert derive(scan, tmp_path / "b.tif", 0.3).clipped == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), [[0, 1, 2], [100, 65534, 65535]])
    assert derive(scan, tmp_path / "c.tif", 0.6).clipped == 1
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "c.tif"), [[1, 2, 3], [101, 65535, 65535]])
    assert derive(scan, tmp_path / "d.tif", -2).clipped == 2
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "d.tif"), [[0, 0, 0], [98, 65532, 65533]])


def test_resolution_compression_and_imagej_properties_are_kept_and_texts_replaced(tmp_path):
    scan = save(tmp_path / "a.tif", integers(2, 8, 9), resolution=(10, 20), resolutionunit="CENTIMETER",
                compression="zlib", description="Doe^Jane", metadata=None)  # fmt: skip
    derive(scan, tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert (tif.pages[0].resolution, tif.pages[0].resolutionunit.name) == ((10, 20), "CENTIMETER")
        assert tif.pages[0].compression.name == "ADOBE_DEFLATE"
        assert tif.pages[0].description == "Research: AI-processed (denoised). translate, model x"
    properties = {"axes": "ZYX", "spacing": 2.5, "unit": "mm", "Info": "Doe^Jane", "Labels": ["Doe^Jane", "2"]}
    scan = save(tmp_path / "c.tif", integers(2, 8, 9), imagej=True, metadata=properties)
    derive(scan, tmp_path / "d.tif")
    with tifffile.TiffFile(tmp_path / "d.tif") as tif:
        assert (tif.imagej_metadata["spacing"], tif.imagej_metadata["unit"]) == (2.5, "mm")
        assert tif.imagej_metadata["Info"].startswith("Research: AI-processed (denoised)")
    found = {
        name: (tmp_path / f"{name}.tif").read_bytes().replace(b"\0", b"").count(b"Doe") for name in "abcd"
    }  # UTF-16
    assert found == {"a": 1, "b": 0, "c": 2, "d": 0}


def test_pages_over_time_are_no_neighbours(tmp_path):
    scan = save(tmp_path / "a.tif", integers(3, 8, 9), imagej=True, metadata={"axes": "TYX"})
    assert (scan.header.shape, scan.header.slices_per_volume) == ((3, 8, 9), 1)
    assert scan.header.around(1, 1) == [1, 1, 1]


# refusals


def test_units_must_be_declared(tmp_path):
    save(tmp_path / "a.tif", integers(8, 9))
    with pytest.raises(ScanError, match=r"a\.tif: a TIFF does not say its units: give --units, one of HU, SUV, stored"):
        TiffScan.open(tmp_path / "a.tif", units=None)
    with pytest.raises(ScanError, match=r"a\.tif: units are HU, SUV, stored, got 'kelvin'"):
        TiffScan.open(tmp_path / "a.tif", units="kelvin")


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (integers(8, 9, 3), {"photometric": "rgb"}, "its pixels are RGB with 3 channels, allowed is grey"),
        (integers(8, 9), {"photometric": "miniswhite"}, "its pixels are MINISWHITE with 1 channels, allowed is grey"),
        (integers(8, 9, dtype=np.uint8), {}, "its values are uint8 of 8 bits, allowed are uint16, int16, float16"),
        (integers(8, 9, dtype=np.uint32), {}, "its values are uint32 of 32 bits, allowed are"),
        (integers(8, 9), {"extratags": [(274, 3, 1, 6, True)]}, "it has an orientation tag"),
        (integers(2, 3, 8, 9), {"imagej": True, "metadata": {"axes": "TZYX"}}, r"its axes are TZYX of \(2, 3, 8, 9\)"),
        (integers(3, 8, 9), {"imagej": True, "metadata": {"axes": "CYX"}}, r"its axes are CYX of \(3, 8, 9\)"),
    ],
)
def test_what_is_no_scan_is_refused_by_name(tmp_path, array, options, message):
    with pytest.raises(ScanError, match=rf"a\.tif: {message}"):
        save(tmp_path / "a.tif", array, **options)


def test_pages_of_different_shapes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(integers(8, 9))
        tif.write(integers(9, 9))
    with pytest.raises(ScanError, match="it holds 2 series of pages, allowed is one"):
        TiffScan.open(tmp_path / "a.tif", units="HU")


def test_a_compression_that_cannot_be_decoded_is_found_before_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", {1: None})
    cv2.imwrite(str(tmp_path / "a.tif"), integers(8, 9), [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    with pytest.raises(ScanError, match="it is compressed as LZW, which cannot be decoded: save it uncompressed"):
        TiffScan.open(tmp_path / "a.tif", units="HU")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "metadata": None}])
def test_a_file_that_is_cut_short_is_refused(tmp_path, options):
    save(tmp_path / "a.tif", integers(2, 80, 90), **options)
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-9000])
    with pytest.raises(ScanError, match=r"cut short|no TIFF that can be read"):
        TiffScan.open(tmp_path / "a.tif", units="HU")


def test_what_is_no_tiff_is_refused(tmp_path):
    (tmp_path / "a.tif").write_text("Doe^Jane")
    with pytest.raises(ScanError, match=r"a\.tif: it is no TIFF that can be read") as caught:
        TiffScan.open(tmp_path / "a.tif", units="HU")
    assert "Doe" not in str(caught.value)
    with pytest.raises(ScanError, match=r"b\.tif: there is no such file"):
        TiffScan.open(tmp_path / "b.tif", units="HU")


def test_values_that_are_no_numbers_are_refused_with_their_count(tmp_path):
    array = np.zeros((2, 8, 9))
    array[1, 0, :3] = (np.nan, np.inf, 1e300)
    scan = save(tmp_path / "a.tif", array)
    with pytest.raises(ScanError, match=r"a\.tif: 3 values of slice 2 are NaN, infinite or too large"):
        scan.read(1)


def test_damaged_pixels_are_an_error_of_ours(tmp_path):
    save(tmp_path / "a.tif", np.zeros((8, 9), np.uint16), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        offset = tif.pages[0].dataoffsets[0]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[offset : offset + 4] = b"????"
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ScanError, match=r"a\.tif: its page 1 cannot be decoded"):
        TiffScan.open(tmp_path / "a.tif", units="HU").read(0)


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path):
    scan = save(tmp_path / "a.tif", integers(8, 9))
    with pytest.raises(ScanError, match=r"b\.png: a TIFF is written as \.tif or \.tiff"):
        scan.writer(tmp_path / "b.png", DENOISED)
    with pytest.raises(ScanError, match=r"a\.tif exists: nothing is overwritten"):
        scan.writer(tmp_path / "a.tif", DENOISED)


def test_nothing_is_left_after_an_interruption_or_missing_pages(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    scan = save(tmp_path / "a.tif", integers(2, 8, 9))
    with pytest.raises(KeyboardInterrupt), scan.writer(tmp_path / "b.tif", DENOISED) as writer:
        write_one(writer, scan, interrupt)
    with (
        pytest.raises(ScanError, match="1 of 2 slices were not written"),
        scan.writer(tmp_path / "b.tif", DENOISED) as w,
    ):
        w.write(0, scan.read(0))
    one = save(tmp_path / "one.tif", integers(8, 9))
    monkeypatch.setattr(tifffile.TiffWriter, "write", interrupt)
    with pytest.raises(KeyboardInterrupt), one.writer(tmp_path / "b.tif", DENOISED) as writer:
        writer.write(0, one.read(0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "one.tif"]
