"""Derived DICOM series: the same integers, new identities, and no fault that the source does not have."""

import os
import re
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

import translate
from translate.data.dicom_derived import IMPLEMENTATION, Reference, SeriesIdentity, derived_dataset
from translate.data.dicom_file import stored_pixels
from translate.data.dicom_series import open_series
from translate.data.dicom_slice import read_slice
from translate.data.scans import Derivation, ScanError

STORE = Path(data_store.__file__).parent / "data"
FIXTURES = (
    *("693_UNCR", "693_UNCI", "693_J2KR", "693_J2KI", "explicit_VR-UN", "bad_sequence", "CT_small"),
    *("J2K_pixelrep_mismatch", "MR2_UNCR", "MR2_J2KI", "RG1_UNCR", "RG3_UNCR"),
    *("MR_small", "MR_small_RLE", "MR_small_bigendian", "MR_small_expb", "MR_small_implicit"),
    *("MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_padded"),
    *("MR-SIEMENS-DICOM-WithOverlays", "examples_overlay"),
)
DENOISED = Derivation("denoised", "translate 0.1.0, model ct-head, sha256 0123abcd")
CT = Derivation("synthetic CT", "translate, model mr-to-ct", synthetic=True, modality="CT")


def fixture(name):
    path = STORE / f"{name}.dcm"
    return path if path.is_file() else Path(get_testdata_file(f"{name}.dcm"))


def opened(*paths):
    (scan,) = open_series([read_slice(path) for path in paths], "scan")
    return scan


def derive(scan, output, change=0.0, derivation=DENOISED):
    """The writer that wrote the scan, last slice first, changed by a number or a function."""
    change = change if callable(change) else lambda values, by=change: values + np.float32(by)
    with scan.writer(output, derivation) as writer:
        for index in reversed(range(scan.header.shape[0])):
            writer.write(index, change(scan.read(index)))
    return writer


def derived_from(path, output, change=0.0):
    """Source, derived dataset and their integers."""
    writer = derive(opened(path), output, change)
    source, derived = pydicom.dcmread(path, force=True), pydicom.dcmread(output)
    return source, derived, stored_pixels(source, path), stored_pixels(derived, output), writer


def write_some(writer, scan, indices, then=None):
    for index in indices:
        writer.write(index, scan.read(index))
    if then is not None:
        then()


def edited(tmp_path, edit, name="CT_small"):
    dataset = pydicom.dcmread(fixture(name))
    edit(dataset)
    dataset.save_as(tmp_path / "edited.dcm")
    return tmp_path / "edited.dcm"


@pytest.fixture
def series(tmp_path):
    """Five CT slices of 16 x 20 (H x W) in a folder, whose names and numbers are not in their order in space."""
    folder = tmp_path / "series"
    folder.mkdir()
    template = pydicom.dcmread(fixture("CT_small"))
    pixels = template.pixel_array[40:56, 40:60]
    template.Rows, template.Columns, template.PatientName = *pixels.shape, "Doe^Jane"
    for place, file in enumerate((3, 1, 4, 0, 2)):
        one = deepcopy(template)
        one.PixelData = (pixels + 10 * place).tobytes()
        one.ImagePositionPatient = [0, 0, 5.0 * place]
        one.InstanceNumber = file
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{place}"
        one.save_as(folder / f"{file}.dcm")
    return opened(*sorted(folder.iterdir()))


# pixels


@pytest.mark.parametrize("name", FIXTURES)
def test_an_identity_keeps_every_stored_integer(tmp_path, name):
    source, derived, before, after, writer = derived_from(fixture(name), tmp_path / "out.dcm")
    np.testing.assert_array_equal(after, before)
    assert after.dtype.newbyteorder("=") == before.dtype
    assert writer.clipped == 0
    for keyword in ("PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "WindowCenter", "PixelSpacing"):
        assert derived.get(keyword) == source.get(keyword)
    assert derived.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(opened(tmp_path / "out.dcm").read(0), opened(fixture(name)).read(0))


@pytest.mark.parametrize(("change", "steps"), [(0.3, 0), (-0.3, 0), (0.6, 1), (-0.6, -1)])
@pytest.mark.parametrize("name", ["693_UNCR", "CT_small", "bad_sequence"])
def test_a_change_in_hounsfield_units_is_rounded_to_the_nearest_integer(tmp_path, name, change, steps):
    _, _, before, after, writer = derived_from(fixture(name), tmp_path / "out.dcm", change)
    assert np.unique(after.astype(int) - before).tolist() == [steps]
    assert writer.clipped == 0


def test_high_stays_bright_where_high_is_stored_dark(tmp_path):
    source, derived, before, after, _ = derived_from(fixture("RG3_UNCR"), tmp_path / "out.dcm", lambda v: v + 1)
    assert source.PhotometricInterpretation == derived.PhotometricInterpretation == "MONOCHROME1"
    inside = before > 0
    assert np.unique(after[inside].astype(int) - before[inside]).tolist() == [-1]


def test_a_slope_is_kept_and_rounds_by_half_of_it_at_most(tmp_path):
    scan = opened(fixture("MR2_UNCR"))
    slope = 3.774114
    wanted = scan.read(0) * np.float32(0.9) + 100
    with scan.writer(tmp_path / "out.dcm", DENOISED) as writer:
        told = writer.write(0, wanted)
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert (derived.RescaleSlope, float(derived.RescaleIntercept)) == (slope, 0.000061)
    found = opened(tmp_path / "out.dcm").read(0)
    np.testing.assert_array_equal(found, told)
    assert slope / 2 * 0.99 < np.abs(found - wanted).max() <= slope / 2 + 0.001


def test_values_that_cannot_be_stored_are_clipped_and_counted(tmp_path):
    def too_high(values):
        values = values.copy()
        values[0, :3] = (8191 - 1024, 8192 - 1024, 1e6)
        values[1, 0] = -1e6
        return values

    scan = opened(fixture("693_UNCR"))  # 14 bits, signed, intercept -1024
    with scan.writer(tmp_path / "out.dcm", DENOISED) as writer:
        told = writer.write(0, too_high(scan.read(0)))
        writer.write(0, too_high(scan.read(0)))  # again: it replaces, and does not count twice
    assert writer.clipped == 3
    assert told[0, :3].tolist() == [7167, 7167, 7167]
    assert told[1, 0] == -8192 - 1024
    np.testing.assert_array_equal(opened(tmp_path / "out.dcm").read(0), told)


# identity and marks


def test_a_derived_series_is_a_new_one_of_the_same_study_and_space(tmp_path, series):
    derive(series, tmp_path / "out")
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"000{number}.dcm" for number in range(1, 6)]
    derived = [pydicom.dcmread(file) for file in files]
    sources = [series.dataset(index) for index in range(5)]
    for ours, theirs in zip(derived, sources, strict=True):
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "InstanceNumber", "SOPClassUID"):
            assert ours[keyword].value == theirs[keyword].value
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
            assert ours[keyword].value == theirs[keyword].value
        assert ours.file_meta.MediaStorageSOPInstanceUID == ours.SOPInstanceUID
        assert ours.file_meta.ImplementationClassUID == IMPLEMENTATION
    assert [one.ImagePositionPatient[2] for one in derived] == [0, 5, 10, 15, 20]
    instances = {one.SOPInstanceUID for one in derived}
    assert len(instances) == 5
    assert not instances & {one.SOPInstanceUID for one in sources}
    assert len({one.SeriesInstanceUID for one in derived}) == 1
    assert derived[0].SeriesInstanceUID != sources[0].SeriesInstanceUID
    assert all(uid.is_valid for uid in (*instances, derived[0].SeriesInstanceUID))


def test_deriving_twice_gives_two_series(tmp_path, series):
    derive(series, tmp_path / "one")
    derive(series, tmp_path / "two")
    one, two = (pydicom.dcmread(tmp_path / name / "0001.dcm") for name in ("one", "two"))
    assert one.SeriesInstanceUID != two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID


def test_a_derived_image_says_what_it_is_and_of_what(tmp_path):
    source, derived, *_ = derived_from(fixture("CT_small"), tmp_path / "out.dcm")
    assert list(derived.ImageType) == ["DERIVED", *source.ImageType[1:]] == ["DERIVED", "PRIMARY", "AXIAL"]
    assert derived.DerivationDescription == DENOISED.description
    (code,) = derived.DerivationCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == ("113087", "DCM", "Smoothing")
    (reference,) = derived.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == source.SOPClassUID
    assert reference.SpatialLocationsPreserved == "YES"
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    (device,) = derived.ContributingEquipmentSequence
    assert device.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert (device.Manufacturer, device.SoftwareVersions) == ("translate", translate.__version__)
    assert derived.ContentQualification == "RESEARCH"
    assert derived.ImageComments.startswith("Research: AI-processed (denoised)")
    assert derived.Manufacturer == source.Manufacturer


def test_the_history_of_a_derived_source_is_kept(tmp_path):
    derive(opened(fixture("CT_small")), tmp_path / "one.dcm")
    one, two, *_ = derived_from(tmp_path / "one.dcm", tmp_path / "two.dcm")
    assert len(two.ContributingEquipmentSequence) == len(two.DerivationCodeSequence) == 2
    assert two.DerivationDescription == f"{DENOISED.description}; before: {DENOISED.description}"
    assert [item.ReferencedSOPInstanceUID for item in two.SourceImageSequence] == [one.SOPInstanceUID]
    assert len(one.ContributingEquipmentSequence) == 1


def test_neighbours_that_the_model_saw_are_sources_too(tmp_path, series):
    derive(series, tmp_path / "out", derivation=Derivation("denoised", "", neighbours=1))
    for index, expected in ((0, (0, 1)), (2, (2, 1, 3)), (4, (4, 3))):
        derived = pydicom.dcmread(tmp_path / "out" / f"000{index + 1}.dcm")
        found = [item.ReferencedSOPInstanceUID for item in derived.SourceImageSequence]
        assert found == [f"1.2.3.{other}" for other in expected]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Head 5.0", "Head 5.0 [denoised, AI-processed, research only]"),
        (None, "[denoised, AI-processed, research only]"),
        ("x" * 64, "x" * 24 + " [denoised, AI-processed, research only]"),
    ],
)
def test_a_series_description_is_cut_so_that_the_mark_stays(tmp_path, given, expected):
    source = edited(tmp_path, lambda dataset: setattr(dataset, "SeriesDescription", given))
    _, derived, *_ = derived_from(source, tmp_path / "out.dcm")
    assert derived.SeriesDescription == expected
    assert len(derived.SeriesDescription) <= 64


@pytest.mark.parametrize(("given", "expected"), [(1, 1001), (None, 1000), (2**31 - 1, 1000), (-4, 1000)])
def test_a_series_number_of_its_own(tmp_path, given, expected):
    source = edited(tmp_path, lambda dataset: setattr(dataset, "SeriesNumber", given))
    assert derived_from(source, tmp_path / "out.dcm")[1].SeriesNumber == expected


def test_texts_of_ours_fit_every_character_set_and_their_limits(tmp_path):
    derivation = Derivation("entrauscht \\ für " * 5, "Modell-ä" * 200)
    derive(opened(fixture("CT_small")), tmp_path / "out.dcm", derivation=derivation)
    derived = pydicom.dcmread(tmp_path / "out.dcm")
    assert len(derived.SeriesDescription) <= 64
    assert derived.SeriesDescription.endswith(", AI-processed, research only]")
    assert len(derived.DerivationDescription) == 1024
    assert derived.DerivationDescription.startswith("Modell-?Modell")


def test_what_described_the_old_pixels_is_gone(tmp_path):
    def add(dataset):
        for keyword in ("Smallest{}PixelValue", "Largest{}PixelValue", "Smallest{}InSeries", "Largest{}InSeries"):
            dataset.add_new(keyword.format("Image" if "{}P" in keyword else "PixelValue"), "SS", 100)
        dataset.IconImageSequence = dataset.DigitalSignaturesSequence = dataset.MACParametersSequence = [Dataset()]
        dataset.PixelDataProviderURL = "http://example.org"
        dataset.SOPInstanceStatus = "AO"

    source, derived, *_ = derived_from(edited(tmp_path, add), tmp_path / "out.dcm")
    gone = {element.keyword for element in source} - {element.keyword for element in derived}
    assert gone == {
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
        "SmallestPixelValueInSeries",
        "LargestPixelValueInSeries",
        "IconImageSequence",
        "DigitalSignaturesSequence",
        "MACParametersSequence",
        "PixelDataProviderURL",
        "SOPInstanceStatus",
        "InstanceCreatorUID",
        "DataSetTrailingPadding",
    }


CHANGED = {
    *("ImageType", "InstanceCreationDate", "InstanceCreationTime", "SOPInstanceUID", "SeriesInstanceUID"),
    *("SeriesNumber", "SeriesDescription", "DerivationDescription", "DerivationCodeSequence", "SourceImageSequence"),
    *("ContributingEquipmentSequence", "ContentQualification", "ImageComments", "InstanceCreatorUID"),
    *("SmallestImagePixelValue", "LargestImagePixelValue", "DataSetTrailingPadding", "IconImageSequence"),
}


@pytest.mark.parametrize("name", ["693_UNCR", "MR2_UNCR", "RG3_UNCR", "MR-SIEMENS-DICOM-WithOverlays", "CT_small"])
def test_all_else_is_as_in_the_source(tmp_path, name):
    source, derived, *_ = derived_from(fixture(name), tmp_path / "out.dcm")
    different = {
        element.keyword or str(element.tag)
        for dataset, other in ((source, derived), (derived, source))
        for element in dataset
        if element.tag.element and dataset.get(element.tag) != other.get(element.tag)  # 0000: a length of a group
    }
    assert different <= CHANGED


def test_overlays_stay(tmp_path):
    source, derived, *_ = derived_from(fixture("MR-SIEMENS-DICOM-WithOverlays"), tmp_path / "out.dcm")
    np.testing.assert_array_equal(derived.overlay_array(0x6000), source.overlay_array(0x6000))
    assert source.overlay_array(0x6000).any()


def test_overlays_in_the_bits_above_the_pixels_go_with_them(tmp_path):
    def embed(dataset):
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        pixels = np.full((128, 128), 1000, np.uint16)
        pixels[:10] |= 1 << 12
        dataset.PixelData = pixels.tobytes()
        dataset.add_new((0x6000, 0x0010), "US", 128)
        dataset.add_new((0x6000, 0x0102), "US", 12)

    _, derived, _, after, _ = derived_from(edited(tmp_path, embed), tmp_path / "out.dcm")
    assert np.unique(after).tolist() == [1000]
    assert not [element for element in derived if element.tag.group == 0x6000]


def test_bytes_of_a_big_endian_file_are_swapped(tmp_path):
    little = pydicom.dcmread(fixture("MR-SIEMENS-DICOM-WithOverlays"))
    big = deepcopy(little)
    big.PixelData = little.pixel_array.astype(">u2").tobytes()
    big[0x6000, 0x3000].value = np.frombuffer(little[0x6000, 0x3000].value, "<u2").astype(">u2").tobytes()
    big[0x6000, 0x3000].VR = "OW"
    big.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    for element in [element for element in big if element.tag.is_private]:
        del big[element.tag]
    pydicom.dcmwrite(tmp_path / "big.dcm", big)
    _, derived, _, after, _ = derived_from(tmp_path / "big.dcm", tmp_path / "out.dcm")
    np.testing.assert_array_equal(after, little.pixel_array)
    assert derived[0x6000, 0x3000].value == little[0x6000, 0x3000].value


def test_lossy_stays_lossy(tmp_path):
    source, derived, *_ = derived_from(fixture("693_J2KI"), tmp_path / "out.dcm")
    assert derived.LossyImageCompression == "01"
    assert derived.LossyImageCompressionRatio == source.LossyImageCompressionRatio
    assert derived.get("LossyImageCompressionMethod") == source.get("LossyImageCompressionMethod")


def test_a_lossy_transfer_syntax_is_told_where_the_source_does_not(tmp_path):
    dataset = pydicom.dcmread(fixture("693_UNCR"))
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    stored = np.zeros((512, 512), np.int16)
    identity = SeriesIdentity.new(1)
    derived = derived_dataset(dataset, stored, DENOISED, identity, 0, sources=[Reference(CTImageStorage, "1.2.3")])
    assert (derived.LossyImageCompression, derived.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert derived.LossyImageCompressionRatio == 1
    assert "LossyImageCompression" not in dataset


# dciodvfy


def validator():
    if (command := shutil.which("dciodvfy")) is None:
        if os.environ.get("CI"):
            pytest.fail("dciodvfy is missing: apt-get install dicom3tools")
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")
    return command


def faults(path):
    """The error lines of dciodvfy. A faulty UID of the source is one fault, wherever it is."""
    report = subprocess.run([validator(), str(path)], capture_output=True, check=False, text=True, errors="replace")
    lines = (report.stderr + report.stdout).splitlines()
    assert lines, "it says at least what kind of image it is"
    return {
        re.sub(r"\(0x0008,0x(0018|1155)\).*?SOP Instance UID", "(SOP Instance UID)", line)
        for line in lines
        if line.startswith("Error")
    }


@pytest.mark.parametrize("name", FIXTURES)
def test_dciodvfy_finds_no_fault_that_the_source_does_not_have(tmp_path, name):
    derived_from(fixture(name), tmp_path / "out.dcm", 0.6)
    assert faults(tmp_path / "out.dcm") <= faults(fixture(name))


def test_dciodvfy_finds_no_fault_in_a_series_of_neighbours(tmp_path, series):
    derive(series, tmp_path / "out", derivation=Derivation("denoised", "", neighbours=1))
    assert not faults(tmp_path / "out" / "0003.dcm")


def test_dciodvfy_finds_no_fault_in_a_synthetic_image(tmp_path):
    derive(opened(fixture("MR_small")), tmp_path / "out.dcm", derivation=CT)
    assert not faults(fixture("MR_small"))
    unknown = "Attribute with an even group number is not a recognized standard attribute - (0x0008,0x001c)"
    # Synthetic Data came into the standard in 2023.
    assert not [fault for fault in faults(tmp_path / "out.dcm") if unknown not in fault]


# of another modality


def test_a_synthetic_ct_has_hounsfield_units_and_nothing_of_the_mr(tmp_path):
    scan = opened(fixture("MR_small"))
    with scan.writer(tmp_path / "out.dcm", CT) as writer:
        values = np.linspace(-1024, 3071, 64 * 64, dtype=np.float32).reshape(64, 64)
        told = writer.write(0, values)
    again = opened(tmp_path / "out.dcm")
    assert (again.header.modality, again.header.units) == ("CT", "HU")
    np.testing.assert_array_equal(again.read(0), np.rint(values))
    np.testing.assert_array_equal(told, np.rint(values))
    source, derived = scan.dataset(0), pydicom.dcmread(tmp_path / "out.dcm")
    assert derived[0x0008, 0x001C].value == "YES"
    assert list(derived.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "ImagePositionPatient", "PixelSpacing"):
        assert derived[keyword].value == source[keyword].value
    of_the_mr = {"ScanningSequence", "SequenceVariant", "EchoTime", "RepetitionTime", "MagneticFieldStrength"}
    assert of_the_mr & {element.keyword for element in source}
    assert not of_the_mr & {element.keyword for element in derived}
    assert not [element for element in derived if element.tag.is_private]
    assert derived.Manufacturer == "translate"
    assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert "DerivationCodeSequence" not in derived
    assert derived.SeriesDescription.endswith("[synthetic CT, AI-processed, research only]")


@pytest.mark.parametrize(
    ("derivation", "message"),
    [
        (
            Derivation("ct", "", modality="CT"),
            "a derived MR series cannot hold CT pixels: .* flag for synthetic images",
        ),
        (
            Derivation("pet", "", synthetic=True, modality="PT"),
            "modality 'PT' cannot be written as DICOM, only 'CT' can",
        ),
    ],
)
def test_another_modality_needs_the_flag_and_must_be_ct(tmp_path, derivation, message):
    with pytest.raises(ScanError, match=message):
        derive(opened(fixture("MR_small")), tmp_path / "out.dcm", derivation=derivation)
    assert not list(tmp_path.iterdir())


# files


def test_one_slice_is_a_folder_unless_a_file_is_asked_for(tmp_path):
    derive(opened(fixture("CT_small")), tmp_path / "a" / "out")
    derive(opened(fixture("CT_small")), tmp_path / "a" / "out.dcm")
    assert sorted(path.name for path in (tmp_path / "a").rglob("*")) == ["0001.dcm", "out", "out.dcm"]


def test_no_name_that_we_make_is_a_patients(tmp_path, series):
    derive(series, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if "doe" in path.name.lower()]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_after_an_error(tmp_path, series, error):
    def fail():
        assert [path.name for path in (tmp_path / "out").rglob("*.dcm")] == ["0001.dcm"]
        assert not (tmp_path / "out" / "deep").exists()
        raise error

    with pytest.raises(error), series.writer(tmp_path / "out" / "deep", DENOISED) as writer:
        write_some(writer, series, [0], then=fail)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "series"]


def test_missing_slices_are_an_error_and_leave_nothing(tmp_path, series):
    message = "scan: 2 of 5 slices were not written, the first is number 2"
    with pytest.raises(ScanError, match=message), series.writer(tmp_path / "out", DENOISED) as writer:
        write_some(writer, series, (0, 4, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["series"]


def test_an_output_is_never_overwritten(tmp_path, series):
    (tmp_path / "out").mkdir()
    with pytest.raises(ScanError, match="out exists: nothing is overwritten, give a new name or remove it"):
        series.writer(tmp_path / "out", DENOISED)
    with pytest.raises(ScanError, match="late exists"), series.writer(tmp_path / "late", DENOISED) as writer:
        write_some(writer, series, range(5), then=(tmp_path / "late").mkdir)
    assert not list((tmp_path / "late").iterdir())


def test_values_that_are_no_numbers_are_refused(tmp_path, series):
    with pytest.raises(ScanError, match="320 values of a slice are NaN"), series.writer(tmp_path / "a", DENOISED) as w:
        w.write(0, np.full((16, 20), np.nan, np.float32))
    with pytest.raises(ScanError, match=r"a slice has \(16, 20\) rows"), series.writer(tmp_path / "a", DENOISED) as w:
        w.write(0, np.zeros((20, 16), np.float32))


def test_an_element_that_cannot_be_written_is_an_error_without_its_value(tmp_path):
    content = fixture("MR_small_implicit").read_bytes()
    unusual = bytes.fromhex("18001013 03000000") + b"Doe"  # Acquisition Matrix: 16-bit integers in 3 bytes
    place = content.index(bytes.fromhex("28001000 02000000"))  # Rows
    (tmp_path / "source.dcm").write_bytes(content[:place] + unusual + content[place:])
    with pytest.raises(ScanError, match=r"source\.dcm: has an element that cannot be written: correct it") as caught:
        derive(opened(tmp_path / "source.dcm"), tmp_path / "out.dcm")
    assert "Doe" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source.dcm"]


def empty_uids(content):
    """A file whose dataset has lost its SOP Class and SOP Instance UID, which its meta information has."""
    for tag in ("08001600", "08001800"):
        place = content.index(bytes.fromhex(tag) + b"UI")
        length = int.from_bytes(content[place + 6 : place + 8], "little")
        content = content[: place + 6] + bytes(2) + content[place + 8 + length :]
    return content


def test_uids_that_only_the_meta_information_has_are_used(tmp_path):
    (tmp_path / "a.dcm").write_bytes(empty_uids(fixture("CT_small").read_bytes()))
    source, derived, *_ = derived_from(tmp_path / "a.dcm", tmp_path / "out.dcm")
    assert (source.SOPClassUID, source.SOPInstanceUID) == ("", "")
    meta = source.file_meta
    assert derived.SOPClassUID == derived.file_meta.MediaStorageSOPClassUID == meta.MediaStorageSOPClassUID
    assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == meta.MediaStorageSOPInstanceUID


def test_an_image_that_cannot_be_referred_to_is_refused(tmp_path):
    dataset = pydicom.dcmread(fixture("CT_small"))
    dataset.SOPInstanceUID = ""
    with pytest.raises(ScanError, match=r"CT\.dcm: has no SOP Class or no SOP Instance UID, so that a derived image"):
        Reference.to(Dataset(dataset), Path("CT.dcm"))
