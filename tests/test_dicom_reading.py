"""Reading DICOM: values to the integer, order and geometry, and everything that is refused by name."""

import itertools
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import data_store
import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from translate.data import dicom_transfer
from translate.data.dicom_file import (
    Rescale,
    check_decodable,
    check_supported,
    read_dataset,
    read_header,
    rescale_of,
    stored_pixels,
    units_of,
)
from translate.data.dicom_patient import patient_of, privacy_warnings
from translate.data.dicom_series import DicomSeries
from translate.data.scan_folder import find_scans, holds_scans, survey
from translate.data.scans import ScanError

DATA = Path(data_store.__file__).parent / "data"
ALL = frozenset({"gaps", "duplicates", "tilt", "mixed"})


def fixture(name: str) -> Path:
    return DATA / name if (DATA / name).exists() else Path(get_testdata_file(name))


def only(path: Path, **options) -> DicomSeries:
    (scan,) = find_scans(path, **options)
    return scan


def changed(path: Path, source: str, **attributes) -> Path:
    """A copy of a fixture with other attributes; None removes one."""
    dataset = pydicom.dcmread(fixture(source))
    for keyword, value in attributes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return path


def series(folder: Path, heights, *, source: str = "CT_small.dcm", sideways: float = 0.0, **attributes) -> list[Path]:
    """Files like the fixture in one series, at these millimetres along z, each with its index added to all pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    uid, frame, paths = generate_uid(), generate_uid(), []
    for index, height in enumerate(heights):
        dataset = pydicom.dcmread(fixture(source))
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = uid, frame
        dataset.SOPInstanceUID = generate_uid()
        dataset.InstanceNumber = index + 1
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [-10, -20 + sideways * height, height]
        dataset.PixelData = (dataset.pixel_array + index).astype("<i2").tobytes()
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        paths.append(folder / f"slice{index}.dcm")
        dataset.save_as(paths[-1])
    return paths


# Values


@pytest.mark.parametrize(
    ("name", "units", "low", "high"),
    [
        ("693_UNCR.dcm", "HU", -3024, 1468),
        ("693_J2KR.dcm", "HU", -3024, 1468),
        ("693_J2KI.dcm", "HU", -3995, 1812),
        ("explicit_VR-UN.dcm", "HU", -1024, 1186),
        ("bad_sequence.dcm", "HU", -1011, 1243),  # JPEG lossless
        ("CT_small.dcm", "HU", -896, 1167),
        ("J2K_pixelrep_mismatch.dcm", "HU", -2000, 1896),
        ("MR_small.dcm", "stored", 127, 2145),
        ("MR_small_RLE.dcm", "stored", 127, 2145),
        ("MR_small_bigendian.dcm", "stored", 127, 2145),
        ("MR_small_implicit.dcm", "stored", 127, 2145),
        ("MR_small_jp2klossless.dcm", "stored", 127, 2145),
        ("MR_small_jpeg_ls_lossless.dcm", "stored", 127, 2145),
        ("MR_small_padded.dcm", "stored", 127, 2145),
        ("MR2_UNCR.dcm", "stored", 0.000061, 595 * 3.774114 + 0.000061),
        ("RG1_UNCR.dcm", "stored", 32767 - 26479, 32767 - 874),  # MONOCHROME1, 15 bits
        ("RG3_UNCR.dcm", "stored", 0, 1023),
    ],
)
def test_values_are_slope_times_stored_plus_intercept_and_high_is_bright(name, units, low, high):
    scan = only(fixture(name))
    values = scan.read(0)
    assert scan.header.units == units
    assert values.dtype == np.float32
    assert values.shape == scan.header.shape[1:]
    np.testing.assert_allclose((values.min(), values.max()), (low, high), rtol=1e-6)


@pytest.mark.parametrize("name", ["693_UNCR.dcm", "MR2_UNCR.dcm", "RG3_UNCR.dcm", "CT_small.dcm", "bad_sequence.dcm"])
def test_what_is_read_goes_back_to_the_integers_of_the_file(name):
    scan = only(fixture(name))
    stored = stored_pixels(scan.dataset(0), fixture(name))
    back, clipped = scan.rescale(0).to_stored(scan.read(0))
    assert clipped == 0
    assert back.dtype == stored.dtype
    np.testing.assert_array_equal(back, stored)
    np.testing.assert_array_equal(stored, pydicom.dcmread(fixture(name)).pixel_array)


@pytest.mark.parametrize("intercept", [0, -1024, -0.5, 0.000061])
@pytest.mark.parametrize("slope", [1, 3.774114, 0.01, 0.684, -2])
@pytest.mark.parametrize(("lowest", "highest"), [(-32768, 32767), (0, 65535)])
@pytest.mark.parametrize("inverted", [False, True])
def test_every_integer_of_16_bits_survives_the_way_through_units(slope, intercept, lowest, highest, inverted):
    rescale = Rescale(slope, intercept, inverted, lowest, highest)
    stored = np.arange(lowest, highest + 1).astype(rescale.dtype)
    back, clipped = rescale.to_stored(rescale.to_units(stored))
    assert rescale.is_exact()
    assert clipped == 0
    np.testing.assert_array_equal(back, stored)


def test_tiny_slopes_survive_with_a_small_intercept_and_are_not_called_exact_with_a_large_one():
    fine = Rescale(0.000061, -1.5, False, 0, 65535)
    stored = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(fine.to_stored(fine.to_units(stored))[0], stored)
    assert fine.is_exact()
    assert not Rescale(0.000061, -1024, False, 0, 65535).is_exact()


def test_values_are_rounded_to_the_nearest_integer_and_clipped_to_the_bits():
    rescale = Rescale(1, -1024, False, 0, 4095)
    stored, clipped = rescale.to_stored(np.array([0.3, 0.6, -0.6, 4000, -2000], np.float32))
    np.testing.assert_array_equal(stored, [1024, 1025, 1023, 4095, 0])
    assert clipped == 2
    assert rescale.limits == (-1024, 3071)


def test_monochrome1_is_inverted_for_x_ray_but_a_hounsfield_unit_stays_one(tmp_path):
    assert rescale_of(read_dataset(fixture("RG3_UNCR.dcm"), pixels=False)).inverted
    scan = only(changed(tmp_path / "a.dcm", "CT_small.dcm", PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(scan.read(0), only(fixture("CT_small.dcm")).read(0))


def test_lossless_compression_gives_the_pixels_that_were_compressed():
    scan = only(fixture("bad_sequence.dcm"))  # JPEG lossless
    stored, dataset = stored_pixels(scan.dataset(0), scan.files[0]), scan.dataset(0)
    assert (stored.min(), stored.max()) == (dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue)
    np.testing.assert_array_equal(only(fixture("693_J2KR.dcm")).read(0), only(fixture("693_UNCR.dcm")).read(0))


def test_bits_above_bits_stored_are_cut_off_where_they_are_an_overlay(tmp_path):
    dataset = pydicom.dcmread(fixture("MR2_UNCR.dcm"))
    expected = dataset.pixel_array
    dataset.PixelData = (expected | (1 << 12)).astype("<u2").tobytes()
    dataset.save_as(tmp_path / "padded.dcm")
    with pytest.raises(ScanError, match="do not fit in its 12 Bits Stored and are no overlay"):
        only(tmp_path / "padded.dcm").read(0)

    dataset.add_new((0x6000, 0x0102), "US", 12)
    dataset.save_as(tmp_path / "overlay.dcm")
    scan = only(tmp_path / "overlay.dcm")
    np.testing.assert_array_equal(stored_pixels(scan.dataset(0), scan.files[0]), expected)


def test_signed_numbers_stored_without_their_sign_extended_are_read_with_their_sign(tmp_path):
    dataset = pydicom.dcmread(fixture("CT_small.dcm"))
    dataset.BitsStored, dataset.HighBit = 12, 11
    pixels = np.full((128, 128), 0x0FFF, np.uint16)  # -1 in 12 bits
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset.save_as(tmp_path / "a.dcm")
    assert (only(tmp_path / "a.dcm").read(0) == -1025).all()

    pixels[0, 0] = 0xF800  # -2048 with its sign: then 0x0FFF was meant as 4095
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset.save_as(tmp_path / "b.dcm")
    with pytest.raises(ScanError, match="4095, do not fit in its 12 Bits Stored"):
        only(tmp_path / "b.dcm").read(0)


def test_files_without_preamble_meta_information_and_suffix_are_read(tmp_path):
    dataset = pydicom.dcmread(fixture("MR_small_implicit.dcm"))
    with (tmp_path / "IM0001").open("wb") as file:
        pydicom.filewriter.write_dataset(_implicit(file), dataset)
    assert (tmp_path / "IM0001").read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(only(tmp_path).read(0), only(fixture("MR_small.dcm")).read(0))


def _implicit(file):
    writer = pydicom.filebase.DicomFileLike(file)
    writer.is_little_endian, writer.is_implicit_VR = True, True
    return writer


# Refusals of one file


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("US1_UNCR.dcm", r"is in colour \(RGB\): only grey scans"),
        ("OT-PAL-8-face.dcm", "is in palette colour"),
        ("OBXXXX1A.dcm", "is in palette colour"),
        ("liver.dcm", r"is a mask of one bit a pixel \(Segmentation Storage\)"),
        ("mlut_18.dcm", "has a Modality LUT instead of slope and intercept"),
        ("vlut_04.dcm", "is of the kind Secondary Capture Image Storage, whose numbers have no known meaning"),
        ("rtdose.dcm", "is of the kind RT Dose Storage"),
        ("reportsi.dcm", "holds no image"),
        ("MR_truncated.dcm", "is cut off: 8192 bytes of pixels are promised and 8130 are there"),
        ("emri_small_jpeg_2k_lossless_too_short.dcm", "is cut off: its compressed pixels do not end"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(name, reason):
    with pytest.raises(ScanError, match=reason) as raised:
        find_scans(fixture(name))
    assert name in str(raised.value)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"RescaleSlope": None}, "has no Rescale Slope and Intercept"),
        ({"RescaleSlope": 0}, "has a Rescale Slope of 0"),
        ({"RescaleSlope": "0.00001"}, "slope 1e-05 and intercept -1024 with 16 bits, which float32 cannot tell apart"),
        ({"RescaleType": "MGML"}, "its units are unknown, the CT image has the Rescale Type 'MGML'"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "its units are unknown, the CT image is a localizer"),
        ({"HighBit": 14}, "has Bits Allocated 16, Bits Stored 16, High Bit 14: only pixels in the lowest bits"),
        ({"BitsStored": 17}, "Bits Stored 17, .*: 8, 16 or 32 bits allocated can be read"),
        ({"PhotometricInterpretation": "RGB"}, "has the Photometric Interpretation RGB"),
        ({"NumberOfFrames": 2}, "holds 2 frames in a CT Image Storage: split it into single frames"),
        ({"PixelData": None}, "holds no pixels"),
        ({"Rows": 129}, "is cut off: 33024 bytes of pixels are promised and 32768 are there"),
    ],
)
def test_files_that_would_be_read_wrongly_are_refused_by_name(tmp_path, attributes, reason):
    with pytest.raises(ScanError, match=reason):
        find_scans(changed(tmp_path / "a.dcm", "CT_small.dcm", **attributes))


def test_float_pixels_are_refused_by_name(tmp_path):
    dataset = pydicom.dcmread(fixture("CT_small.dcm"))
    del dataset.PixelData
    dataset.FloatPixelData = np.zeros((128, 128), np.float32).tobytes()
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(ScanError, match="holds float pixels, only integers can be read"):
        find_scans(tmp_path / "a.dcm")


def test_units_are_taken_from_the_user_only_where_the_file_does_not_say(tmp_path):
    ct, mr = fixture("CT_small.dcm"), fixture("MR_small.dcm")
    localizer = changed(tmp_path / "a.dcm", "CT_small.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert only(localizer, units="stored").header.units == "stored"
    assert only(ct, units="HU").header.units == "HU"
    with pytest.raises(ScanError, match="is in HU, not in SUV: leave --units out"):
        find_scans(ct, units="SUV")
    with pytest.raises(ScanError, match="is in stored, not in HU"):
        find_scans(mr, units="HU")
    with pytest.raises(ScanError, match="units must be one of HU, SUV, Bq/ml, stored, got 'mm'"):
        find_scans(ct, units="mm")


def test_units_of_pet_are_those_that_the_file_gives():
    dataset = Dataset()
    dataset.SOPClassUID = pydicom.uid.PositronEmissionTomographyImageStorage
    for given, units in (("GML", "SUV"), ("BQML", "Bq/ml")):
        dataset.Units = given
        assert units_of(dataset, Path("a"), None) == units
    dataset.Units = "CNTS"
    with pytest.raises(ScanError, match="the PET file gives Units 'CNTS'"):
        units_of(dataset, Path("a"), None)
    assert units_of(dataset, Path("a"), "stored") == "stored"


def test_a_file_that_is_no_dicom_or_is_cut_off_in_its_header_is_named(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"\x89PNG" + bytes(300))
    with pytest.raises(ScanError, match=r"a\.dcm: is no DICOM file, whatever it is called"):
        find_scans(tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes(fixture("CT_small.dcm").read_bytes()[:700])
    with pytest.raises(ScanError, match=r"b\.dcm"):
        find_scans(tmp_path / "b.dcm")
    (tmp_path / "c.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(ScanError, match=r"c\.dcm: is no DICOM file, or is cut off"):
        read_header(tmp_path / "c.dcm")
    with pytest.raises(ScanError, match=r"c\.dcm: is no DICOM file, or is cut off"):
        read_dataset(tmp_path / "c.dcm", pixels=True)
    with pytest.raises(ScanError, match="nothing does not exist"):
        find_scans(tmp_path / "nothing")


def test_compressed_pixels_that_are_damaged_are_found_when_they_are_decoded(tmp_path):
    data = bytearray(fixture("MR_small_jp2klossless.dcm").read_bytes())
    start = data.index(b"\xff\x4f\xff\x51")  # of the JPEG 2000 codestream
    data[start : start + 40] = bytes(40)
    (tmp_path / "a.dcm").write_bytes(data)
    scan = only(tmp_path / "a.dcm")
    with pytest.raises(
        ScanError, match=r"a\.dcm: its pixels \(JPEG 2000 .*\) cannot be decoded .*: the file is damaged"
    ):
        scan.read(0)


def test_frames_without_their_fragments_are_refused(tmp_path):
    changed(tmp_path / "a.dcm", "emri_small_RLE.dcm", NumberOfFrames=11)
    with pytest.raises(ScanError, match="holds 10 compressed fragments for 11 frames"):
        find_scans(tmp_path / "a.dcm")


def test_what_cannot_be_decoded_is_counted_before_anything_is_read(monkeypatch):
    missing = {pydicom.uid.JPEGLosslessSV1, pydicom.uid.JPEG2000Lossless}
    monkeypatch.setattr(dicom_transfer, "is_decodable", lambda syntax: syntax not in missing)
    names = ["bad_sequence.dcm", "693_J2KR.dcm", "explicit_VR-UN.dcm", "CT_small.dcm"]
    with pytest.raises(
        ScanError, match=r"3 of 4 files cannot be decoded here \(2 in JPEG 2000 .*, 1 in JPEG Loss"
    ) as raised:
        check_decodable([fixture(name) for name in names])
    assert "translate-images[medical-codecs]" in str(raised.value)
    assert "libjpeg" not in str(raised.value)
    with pytest.raises(ScanError, match="1 of 1 files cannot be decoded here"):
        find_scans(fixture("693_J2KR.dcm"))


def test_a_decoder_that_is_missing_while_reading_is_named(monkeypatch):
    monkeypatch.setattr(dicom_transfer, "is_decodable", lambda syntax: False)
    text = dicom_transfer.explain_decoder(pydicom.uid.JPEGLosslessSV1, RuntimeError())
    assert "no installed package decodes JPEG Lossless" in text
    assert "translate-images[medical-codecs]" in text


def test_every_transfer_syntax_of_the_codecs_can_be_decoded_and_video_not():
    for syntax in ("JPEGLosslessSV1", "JPEGLossless", "JPEG2000Lossless", "JPEGLSLossless", "RLELossless"):
        assert dicom_transfer.is_decodable(getattr(pydicom.uid, syntax))
    assert not dicom_transfer.is_decodable(pydicom.uid.MPEG2MPML)


def test_without_pydicom_the_extra_is_named():
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from translate.data.scan_folder import find_scans\n"
        "from pathlib import Path\n"
        f"find_scans(Path({str(fixture('CT_small.dcm'))!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'ScanError: reading DICOM needs pydicom: pip install "translate-images[medical]"' in run.stderr


# Series


def test_slices_are_sorted_by_position_whatever_their_names_and_numbers(tmp_path):
    series(tmp_path, [10, 0, 15, 5])
    scan = only(tmp_path)
    base = only(fixture("CT_small.dcm")).read(0)
    assert [path.name for path in scan.files] == ["slice1.dcm", "slice3.dcm", "slice0.dcm", "slice2.dcm"]
    for index, added in enumerate([1, 3, 0, 2]):
        np.testing.assert_array_equal(scan.read(index), base + added)
    assert scan.header.shape == (4, 128, 128)
    assert scan.header.spacing == (5, 0.661468, 0.661468)
    assert scan.header.thickness == 5
    assert scan.header.around(0, 1) == [0, 0, 1]
    assert (scan.header.storable.low, scan.header.storable.high) == (-33792, 31743)


def test_the_affine_takes_corners_to_where_the_header_says_they_are(tmp_path):
    series(tmp_path, [0, 2, 4], PixelSpacing=[0.5, 0.25])  # between rows, between columns
    affine = only(tmp_path).header.affine
    # DICOM: x to the left, y to the back. RAS: both the other way.
    np.testing.assert_allclose(affine @ [0, 0, 0, 1], [10, 20, 0, 1])
    np.testing.assert_allclose(affine @ [4, 0, 0, 1], [10 - 4 * 0.25, 20, 0, 1])
    np.testing.assert_allclose(affine @ [0, 4, 0, 1], [10, 20 - 4 * 0.5, 0, 1])
    np.testing.assert_allclose(affine @ [0, 0, 2, 1], [10, 20, 4, 1])


def test_the_affine_of_oblique_slices_agrees_with_highdicom(tmp_path):
    angle = np.radians(30)
    row, column = [np.cos(angle), 0, -np.sin(angle)], [0, 1, 0]
    normal = np.cross(row, column)
    paths = series(tmp_path, [0, 1, 2])
    for index, path in enumerate(paths):
        changed(
            path,
            path,
            ImageOrientationPatient=[f"{value:.9f}" for value in [*row, *column]],
            ImagePositionPatient=[f"{value:.9f}" for value in -3 * index * normal],
        )
    scan = only(tmp_path)
    assert [path.name for path in scan.files] == ["slice2.dcm", "slice1.dcm", "slice0.dcm"]
    volume = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in scan.files])
    if volume.affine[:3, 0] @ normal < 0:
        volume = volume.flip_spatial(0)
    theirs = volume.affine[:, [2, 1, 0, 3]] * np.array([[-1], [-1], [1], [1]])  # (slice, row, column), LPS
    np.testing.assert_allclose(scan.header.affine, theirs, atol=1e-5)


def test_a_missing_slice_is_named_and_can_be_allowed(tmp_path):
    series(tmp_path, [0, 5, 10, 20, 25])
    with pytest.raises(
        ScanError, match=r"gaps: slices are 5 mm apart, but 10 mm from slice2\.dcm to slice3\.dcm: .*--allow gaps"
    ):
        find_scans(tmp_path)
    scan = only(tmp_path, allow=frozenset({"gaps"}))
    assert scan.header.spacing[0] is None
    assert scan.header.around(2, 1) == [1, 2, 2]
    assert scan.header.around(3, 1) == [3, 3, 4]
    assert any("gaps" in warning for warning in scan.warnings)
    np.testing.assert_allclose(scan.header.affine[:3, 2], [0, 0, 5])


def test_slices_picked_from_a_scan_are_no_neighbours(tmp_path):
    series(tmp_path, [0, 50, 100, 155])  # of 5 mm
    assert only(tmp_path, allow=frozenset({"gaps"})).header.breaks == {1, 2, 3}


def test_positions_printed_with_two_digits_are_no_gaps(tmp_path):
    series(tmp_path, [0, 0.31, 0.62, 0.94, 1.25])
    np.testing.assert_allclose(only(tmp_path).header.spacing[0], 0.3125)


def test_copies_of_files_are_named_and_left_out_where_that_is_allowed(tmp_path):
    paths = series(tmp_path, [0, 5, 10])
    (tmp_path / "copy.dcm").write_bytes(paths[1].read_bytes())
    with pytest.raises(ScanError, match=r"duplicates: 1 files are copies of others .*copy\.dcm and .*slice1\.dcm"):
        find_scans(tmp_path)
    scan = only(tmp_path, allow=frozenset({"duplicates"}))
    assert scan.header.shape[0] == 3
    assert "1 copies of files were left out" in scan.warnings


def test_slices_at_one_place_are_named_and_the_first_stays_where_that_is_allowed(tmp_path):
    series(tmp_path, [0, 5, 10, 5])
    with pytest.raises(ScanError, match=r"duplicates: 1 of 3 places .*slice1\.dcm, slice3\.dcm: .*--allow duplicates"):
        find_scans(tmp_path)
    scan = only(tmp_path, allow=frozenset({"duplicates"}))
    assert [path.name for path in scan.files] == ["slice0.dcm", "slice1.dcm", "slice2.dcm"]
    assert "1 slices at places that are taken were left out" in scan.warnings


def test_places_taken_equally_often_are_volumes_one_after_another(tmp_path):
    series(tmp_path, [0, 0, 5, 5, 10, 10])
    scan = only(tmp_path, allow=frozenset({"duplicates"}))
    assert [path.name[5] for path in scan.files] == ["0", "2", "4", "1", "3", "5"]
    assert scan.header.slices_per_volume == 3
    assert scan.header.around(3, 1) == [3, 3, 4]
    np.testing.assert_allclose(scan.header.affine[:3, 2], [0, 0, 5])


def test_a_gap_breaks_every_volume(tmp_path):
    series(tmp_path, [0, 5, 10, 20, 25] * 2)
    header = only(tmp_path, allow=frozenset({"duplicates", "gaps"})).header
    assert header.breaks == {3, 8}
    assert header.around(7, 1) == [6, 7, 7]


def test_gantry_tilt_is_named_and_read_with_a_sheared_affine_where_that_is_allowed(tmp_path):
    series(tmp_path, [0, 5, 10], sideways=0.2)
    with pytest.raises(
        ScanError, match=r"tilt: slices .* 11\.3 degrees to the side .*slice0\.dcm and slice1\.dcm: .*--allow tilt"
    ):
        find_scans(tmp_path)
    scan = only(tmp_path, allow=frozenset({"tilt"}))
    np.testing.assert_allclose(scan.header.affine[:3, 2], [0, -1, 5])
    assert scan.header.spacing[0] == 5
    assert any(warning.startswith("tilt") for warning in scan.warnings)


def test_everything_wrong_with_the_places_is_said_at_once(tmp_path):
    series(tmp_path, [0, 5, 10, 20], sideways=0.2)
    with pytest.raises(ScanError, match=r"tilt: .*; and gaps: "):
        find_scans(tmp_path)
    assert only(tmp_path, allow=frozenset({"tilt", "gaps"})).header.shape[0] == 4


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"ConvolutionKernel": ["B30f", "1"]}, "reconstruction kernel"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "orientation"),
        ({"Rows": 64}, "rows and columns"),
        ({"FrameOfReferenceUID": "1.2.3"}, "frame of reference"),
        ({"PixelSpacing": [0.7, 0.7]}, "pixel spacing"),
        ({"RescaleType": "HU", "PixelData": None}, None),
    ],
)
def test_mixed_series_are_named_and_split_where_that_is_allowed(tmp_path, attributes, reason):
    paths = series(tmp_path / "ct", [0, 5, 10])
    changed(paths[2], paths[2], **attributes)
    if reason is None:
        with pytest.raises(ScanError, match=r"slice2\.dcm: holds no pixels"):
            find_scans(tmp_path, allow=ALL)
        return
    with pytest.raises(
        ScanError, match=rf"mixed: its 3 files are 2 .* {reason}: 2 like slice0\.dcm, 1 like slice2\.dcm"
    ):
        find_scans(tmp_path)
    scans = find_scans(tmp_path, allow=frozenset({"mixed"}))
    assert [(scan.header.name, scan.header.shape[0]) for scan in scans] == [("ct/part-1", 2), ("ct/part-2", 1)]


def test_files_of_several_patients_in_one_series_are_refused_whatever_is_allowed(tmp_path):
    paths = series(tmp_path, [0, 5], PatientID="secret one")
    changed(paths[1], paths[1], PatientID="secret two")
    with pytest.raises(ScanError, match="its files are of several patients") as raised:
        find_scans(tmp_path, allow=ALL)
    assert "secret" not in str(raised.value)


def test_slices_without_a_position_have_no_order(tmp_path):
    paths = series(tmp_path, [0, 5])
    for path in paths:
        changed(path, path, ImagePositionPatient=None)
    with pytest.raises(
        ScanError, match=r"2 of 2 slices have no Image Position .*slice0\.dcm, slice1\.dcm: give the files one"
    ):
        find_scans(tmp_path)
    assert only(paths[0]).header.shape[0] == 1


def test_a_slice_cut_off_makes_its_series_a_problem(tmp_path):
    paths = series(tmp_path / "bad", [0, 5, 10])
    series(tmp_path / "good", [0, 5])
    paths[1].write_bytes(paths[1].read_bytes()[:-1000])
    found = survey(tmp_path)
    assert [scan.header.name for scan in found.scans] == ["good"]
    assert list(found.problems) == ["bad"]
    with pytest.raises(
        ScanError, match=r"slice1\.dcm: is cut off: 32768 bytes of pixels are promised and 319.. are there"
    ):
        raise found.problems["bad"]


def test_slices_may_have_slopes_of_their_own(tmp_path):
    paths = series(tmp_path, [0, 5])
    changed(paths[1], paths[1], RescaleSlope=2, RescaleIntercept=0)
    scan = only(tmp_path)
    assert [scan.rescale(index).slope for index in (0, 1)] == [1, 2]
    np.testing.assert_array_equal(scan.read(1), 2 * (scan.read(0) + 1024 + 1))
    assert (scan.header.storable.low, scan.header.storable.high) == (-65536, 65534)


def test_x_ray_images_of_one_series_are_scans_of_their_own(tmp_path):
    for name in ("front", "side"):
        changed(tmp_path / "chest" / f"{name}.dcm", "RG3_UNCR.dcm", SOPInstanceUID=generate_uid())
    scans = find_scans(tmp_path)
    assert [scan.header.name for scan in scans] == ["chest/front", "chest/side"]
    assert only(fixture("RG1_UNCR.dcm")).header.spacing == (None, None, None)  # it says 0.000


def test_imager_pixel_spacing_is_taken_where_there_is_no_other(tmp_path):
    changed(tmp_path / "a.dcm", "RG3_UNCR.dcm", ImagerPixelSpacing=[0.2, 0.1])
    assert only(tmp_path / "a.dcm").header.spacing == (None, 0.2, 0.1)


def test_a_kernel_of_several_values_is_one_text(tmp_path):
    changed(tmp_path / "a.dcm", "CT_small.dcm", ConvolutionKernel=["Br38f", "3"])
    assert only(tmp_path / "a.dcm").header.kernel == "Br38f/3"


def test_a_file_that_changes_after_it_was_opened_is_not_read(tmp_path):
    changed(tmp_path / "a.dcm", "CT_small.dcm")
    scan = only(tmp_path / "a.dcm")
    changed(tmp_path / "a.dcm", "CT_small.dcm", RescaleIntercept=0)
    with pytest.raises(ScanError, match="has changed since it was opened"):
        scan.read(0)


def test_an_unknown_permission_is_refused(tmp_path):
    series(tmp_path, [0, 5])
    with pytest.raises(ScanError, match="--allow takes gaps, duplicates, tilt, mixed, got 'holes'"):
        find_scans(tmp_path, allow=frozenset({"holes"}))


def test_neither_pixels_nor_headers_of_a_series_stay_in_memory(tmp_path):
    series(tmp_path, range(0, 80, 5))
    only(tmp_path).read(0)  # imports
    tracemalloc.start()
    scan = only(tmp_path)
    for index in range(16):
        scan.read(index)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 150_000  # the pixels are 524 kB
    assert peak < 500_000


def test_files_without_series_and_class_are_still_a_series(tmp_path):
    paths = series(tmp_path, [0, 5, 10])
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = dataset.SOPClassUID = ""
        with path.open("wb") as file:
            pydicom.filewriter.write_dataset(_implicit(file), dataset)
    scan = only(tmp_path)
    assert scan.header.shape[0] == 3
    assert scan.dataset(0).SOPClassUID == pydicom.uid.CTImageStorage


# Multi-frame


def test_unspecified_units_are_stored_numbers_unless_the_user_knows_better():
    scan = only(fixture("eCT_Supplemental.dcm"))
    assert scan.header.units == "stored"
    assert (scan.read(1).min(), scan.read(1).max()) == (-1024, 172)
    assert only(fixture("eCT_Supplemental.dcm"), units="HU").header.units == "HU"


def test_enhanced_ct_takes_slope_and_intercept_from_functional_groups_and_sorts_frames():
    scan = only(fixture("eCT_Supplemental.dcm"), units="HU")
    theirs = highdicom.imread(fixture("eCT_Supplemental.dcm"))
    assert scan.frames == (1, 0)  # at z -149 and -159: rows run to the right, so the normal points down
    for index, frame in enumerate(scan.frames):
        values = theirs.get_frame(frame + 1, apply_real_world_transform=False, apply_voi_transform=False)
        np.testing.assert_array_equal(scan.read(index), values)
    assert [(scan.read(index).min(), scan.read(index).max()) for index in (0, 1)] == [(-1024, 148), (-1024, 172)]
    assert scan.header.spacing == (10, 0.388672, 0.388672)
    np.testing.assert_allclose(scan.header.affine @ [0, 0, 0, 1], [-99.5, 301.5, -149, 1])
    np.testing.assert_allclose(scan.header.affine @ [1, 0, 1, 1], [-99.5 + 0.388672, 301.5, -159, 1])
    assert scan.suffix == ".nii.gz"


VARIANTS = ["", "_big_endian", "_RLE", "_jpeg_2k_lossless", "_jpeg_ls_lossless"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_enhanced_mr_is_ten_frames_in_order_in_every_transfer_syntax(variant):
    scan = only(fixture(f"emri_small{variant}.dcm"))
    expected = pydicom.dcmread(fixture("emri_small.dcm")).pixel_array
    assert scan.header.shape == (10, 64, 64)
    np.testing.assert_array_equal(np.stack([scan.read(index) for index in range(10)]), expected)
    assert scan.header.around(4, 1) == [4, 4, 4]  # no frame says where it is
    assert "frames have no position" in scan.warnings[0]


def enhanced(path: Path, heights, *, times=None, slopes=None, orientations=None) -> Path:
    """An enhanced MR file of frames at these heights, with functional groups; frame n holds n everywhere."""
    dataset = pydicom.dcmread(fixture("emri_small.dcm"))
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = len(heights)
    dataset.PixelData = np.repeat(np.arange(len(heights), dtype="<u2"), 64 * 64).tobytes()
    shared = _item(PixelMeasuresSequence=_item(PixelSpacing=[2, 1], SliceThickness=3))
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for index, height in enumerate(heights):
        orientation = orientations[index] if orientations else [1, 0, 0, 0, 1, 0]
        frame = _item(
            PlanePositionSequence=_item(ImagePositionPatient=[0, 0, height]),
            PlaneOrientationSequence=_item(ImageOrientationPatient=orientation),
            PixelValueTransformationSequence=_item(
                RescaleSlope=slopes[index] if slopes else 1, RescaleIntercept=0, RescaleType="US"
            ),
            FrameContentSequence=_item(DimensionIndexValues=[1, times[index] if times else 1]),
        )
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.save_as(path)
    return path


def _item(**attributes) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, Sequence([value]) if isinstance(value, Dataset) else value)
    return dataset


def _means(scan) -> list[float]:
    return [float(scan.read(index).mean()) for index in range(scan.header.shape[0])]


def test_frames_are_sorted_by_position_and_rescaled_each_by_its_own_slope(tmp_path):
    scan = only(enhanced(tmp_path / "a.dcm", [6, 0, 3], slopes=[1, 10, 100]))
    assert _means(scan) == [10, 200, 0]
    assert scan.header.spacing == (3, 2, 1)
    assert scan.header.thickness == 3


def test_frames_of_several_times_are_volumes_by_their_dimension_index(tmp_path):
    scan = only(enhanced(tmp_path / "a.dcm", [0, 3, 0, 3], times=[2, 2, 1, 1]))
    assert _means(scan) == [2, 3, 0, 1]
    assert scan.header.slices_per_volume == 2


def test_frames_that_are_no_one_stack_are_refused_by_name(tmp_path):
    other = [0, 1, 0, 0, 0, -1]
    enhanced(tmp_path / "a.dcm", [0, 3], orientations=[[1, 0, 0, 0, 1, 0], other])
    with pytest.raises(ScanError, match="mixed: frames of one file differ in orientation"):
        find_scans(tmp_path / "a.dcm")
    enhanced(tmp_path / "b.dcm", [0, 3, 9])
    with pytest.raises(ScanError, match=r"gaps: .* 6 mm from frame 2 to frame 3"):
        find_scans(tmp_path / "b.dcm")
    enhanced(tmp_path / "c.dcm", [0, 3, 3])
    with pytest.raises(ScanError, match="duplicates: 1 of 2 places hold several slices, for instance frame 2, frame 3"):
        find_scans(tmp_path / "c.dcm")
    dataset = pydicom.dcmread(tmp_path / "c.dcm")
    del dataset.PerFrameFunctionalGroupsSequence[0]
    dataset.save_as(tmp_path / "d.dcm")
    with pytest.raises(ScanError, match="describes 2 frames and holds 3"):
        find_scans(tmp_path / "d.dcm")


# Folders


def test_a_folder_of_everything_gives_scans_by_folder_and_passes_over_the_rest(tmp_path):
    for index, path in enumerate(series(tmp_path / "root" / "a", [0, 5, 10])):
        path.rename(path.with_name(f"IM{index}"))  # no suffix
    series(tmp_path / "root" / "b", [0, 5])
    for path in series(tmp_path / "second", [0, 5, 10]):
        path.rename(tmp_path / "root" / "b" / f"x{path.name}")
    for index, path in enumerate(series(tmp_path / "third", [0, 5])):
        folder = tmp_path / "root" / "c" / str(index)  # one series in two folders
        folder.mkdir(parents=True)
        path.rename(folder / path.name)
    root = tmp_path / "root"
    (root / ".hidden.dcm").write_bytes(b"DICM")
    series(root / ".trash", [0, 5])
    (root / "notes.txt").write_text("no scan")
    (root / "picture.png").write_bytes(b"\x89PNG")
    (root / "DICOMDIR").write_bytes(fixture("dicomdirtests/DICOMDIR").read_bytes())
    (root / "report.dcm").write_bytes(fixture("reportsi.dcm").read_bytes())
    changed(root / "photo.dcm", "SC_rgb.dcm", SeriesInstanceUID=generate_uid())
    found = survey(root)
    shapes = {scan.header.name: scan.header.shape[0] for scan in found.scans}
    assert shapes == {"a": 3, "b/series-1": 2, "b/series-2": 3, "c": 2}
    assert list(found.problems) == ["root"]
    assert "is in colour" in str(found.problems["root"])
    assert found.ignored == 4


def test_find_scans_gives_the_good_ones_and_logs_the_others(tmp_path, caplog):
    series(tmp_path / "good", [0, 5])
    series(tmp_path / "bad", [0, 5, 15, 20])
    assert [scan.header.name for scan in find_scans(tmp_path)] == ["good"]
    assert "bad: gaps" in caplog.text


def test_a_folder_without_a_usable_scan_says_why(tmp_path):
    with pytest.raises(ScanError, match="holds no scans, 0 other files were passed over"):
        find_scans(tmp_path)
    series(tmp_path / "a", [0, 5, 15, 20])
    series(tmp_path / "b", [0, 5, 5])
    with pytest.raises(ScanError, match=r"a: gaps: .*\nb: duplicates: "):
        find_scans(tmp_path)


def test_names_are_never_taken_twice_nor_from_the_header(tmp_path):
    series(tmp_path / "b", [0, 5])
    for path in series(tmp_path / "x", [0, 5]):
        path.rename(tmp_path / "b" / f"x{path.name}")
    series(tmp_path / "b" / "series-1", [0, 5], PatientName="Secret^Name")
    names = [scan.header.name for scan in find_scans(tmp_path)]
    assert names == ["b/series-1", "b/series-1-2", "b/series-2"]


def test_a_folder_that_holds_scans_is_told_from_one_of_pictures(tmp_path):
    assert holds_scans(fixture("CT_small.dcm"))
    (tmp_path / "a.png").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "notes.txt").write_text("x")
    assert not holds_scans(tmp_path)
    assert not holds_scans(tmp_path / "nothing")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "IM1").write_bytes(fixture("CT_small.dcm").read_bytes())
    assert holds_scans(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_file_that_cannot_be_opened_is_a_problem_and_no_secret(tmp_path):
    (tmp_path / "a.dcm").symlink_to(tmp_path / "nothing")
    assert not holds_scans(tmp_path)
    with pytest.raises(ScanError, match=r"a\.dcm: cannot be opened: No such file"):
        find_scans(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_linked_folders_are_searched_and_nothing_is_found_twice(tmp_path):
    for place in ("elsewhere/one", "in/two"):
        (tmp_path / place).mkdir(parents=True)
        dataset = pydicom.dcmread(fixture("CT_small.dcm"))
        dataset.SeriesInstanceUID = generate_uid()
        dataset.save_as(tmp_path / place / "a.dcm")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "two")
    (tmp_path / "in" / "around").symlink_to(tmp_path)
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    assert [scan.header.name for scan in find_scans(tmp_path / "in")] == ["linked/one", "two"]
    assert all(len(scan.files) == 1 for scan in find_scans(tmp_path / "in"))


def test_a_folder_that_cannot_be_opened_is_a_problem(tmp_path, monkeypatch):
    for place in ("closed", "open"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.dcm").write_bytes(fixture("CT_small.dcm").read_bytes())
    scandir = os.scandir

    def refuse(folder):  # permissions do not stop root, whom tests may run as
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = survey(tmp_path)
    assert [scan.header.name for scan in found.scans] == ["open"]
    assert list(found.problems) == ["closed"]
    with pytest.raises(ScanError, match="closed: cannot be opened: Permission denied: make it readable, or leave it"):
        raise found.problems["closed"]


# Patients


@pytest.mark.parametrize(
    "placeholder", ["", "Anonymous", "ANON", "anonymized", "unknown", "0", "000000", "XXX", "N/A", "Patient"]
)
def test_a_placeholder_identifies_nobody(placeholder):
    dataset = Dataset()
    dataset.PatientID, dataset.PatientName = placeholder, "Doe^Jane"
    assert patient_of(dataset) is None
    dataset.PatientBirthDate = "19700101"
    assert patient_of(dataset) == "name doe jane 19700101"


def test_patients_are_told_apart_by_their_id_however_it_is_written():
    one, other = Dataset(), Dataset()
    one.PatientID, other.PatientID = " QX12 ", "qx12"
    one.PatientName, other.PatientName = "Doe^Jane", "Doe^Jane^^"
    assert patient_of(one) == patient_of(other)
    other.PatientID = "qx13"
    assert patient_of(one) != patient_of(other)


@pytest.mark.parametrize(("one", "other"), [("123456", "123457"), ("ANON0001", "ANON0002"), ("100", "1000")])
def test_numbers_and_pseudonyms_tell_patients_apart(one, other):
    patients = []
    for identifier in (one, other):
        dataset = Dataset()
        dataset.PatientID = identifier
        patients.append(patient_of(dataset))
    assert None not in patients
    assert patients[0] != patients[1]


def test_names_and_text_in_pixels_are_warned_of_without_quoting_them():
    dataset = Dataset()
    dataset.PatientName, dataset.PatientBirthDate, dataset.BurnedInAnnotation = "Doe^Jane", "19700101", "YES"
    first, second = privacy_warnings(dataset)
    assert "Patient's Name, Patient's Birth Date" in first
    assert "burned into the pixels" in second
    assert not any(secret in first + second for secret in ("Doe", "Jane", "1970"))
    dataset.PatientIdentityRemoved, dataset.BurnedInAnnotation = "YES", "NO"
    assert privacy_warnings(dataset) == ()
    dataset.PatientIdentityRemoved, dataset.PatientName, dataset.PatientBirthDate = "NO", "L192_FD_3", ""
    assert privacy_warnings(dataset) == ()


def test_no_message_of_a_broken_header_holds_what_the_header_says(tmp_path, caplog, recwarn):
    paths = series(tmp_path, [0, 5, 15], PatientName="Secret^Name", PatientID="secret-id")
    data = paths[0].read_bytes()
    paths[0].write_bytes(data.replace(b"Secret^Name", b"Secret\\Nam\xff"))
    problems = survey(tmp_path).problems
    said = [*map(str, problems.values()), caplog.text, *(str(warning.message) for warning in recwarn)]
    assert problems
    assert not any("secret" in text.lower() for text in said)


def test_check_supported_takes_what_the_fixtures_of_ct_and_mr_hold():
    for name in itertools.chain(["693_UNCR.dcm", "CT_small.dcm"], (f"emri_small{variant}.dcm" for variant in VARIANTS)):
        check_supported(read_dataset(fixture(name), pixels=False), fixture(name))


def test_stored_pixels_of_one_frame_are_those_of_the_whole_file():
    path = fixture("emri_small_RLE.dcm")
    frame = stored_pixels(read_dataset(path, pixels=False), path, frame=3)
    np.testing.assert_array_equal(frame, pixel_array(path)[3])
    with pytest.raises(ScanError, match=r"decodes to \(10, 64, 64\), its header says 64 x 64"):
        stored_pixels(read_dataset(path, pixels=True), path)
