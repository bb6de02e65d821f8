"""NIfTI volumes in and out: the same places, the same values, and nothing of a person."""

import gzip
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from translate.data import nifti
from translate.data.nifti import NiftiVolume, VolumeWriter
from translate.data.scan_output import UNITS
from translate.data.scans import Derivation, ScanError, ScanHeader

FIXTURES = Path(nibabel.__file__).parent / "tests" / "data"
DENOISED = Derivation("denoised", "translate, model x")
CHANGED = {"datatype", "bitpix", "descrip", "scl_slope", "scl_inter"}  # of the header


def save(path, array, affine=None, *, unit="mm", kind=nibabel.Nifti1Image, edit=None):
    image = kind(array, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine, dtype=array.dtype)
    image.header.set_xyzt_units(unit)
    if edit is not None:
        edit(image.header)
    nibabel.save(image, path)
    return path


def counted(shape, dtype=np.int16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def derive(scan, output, change=0.0):
    with scan.writer(output, DENOISED) as writer:
        for index in reversed(range(scan.header.shape[0])):
            writer.write(index, scan.read(index) + np.float32(change))
    assert writer.clipped == 0
    return nibabel.load(output)


def interrupted(writer, scan):
    writer.write(0, scan.read(0))
    raise KeyboardInterrupt


def no_files(folder):
    return not [path for path in folder.rglob("*") if path.is_file()]


# reading


def test_a_slice_has_y_as_rows_and_x_as_columns(tmp_path):
    array = counted((5, 4, 3))
    scan = NiftiVolume.open(save(tmp_path / "a.nii", array), units="HU")
    assert scan.header.shape == (3, 4, 5)
    assert scan.header.spacing == (4, 3, 2)
    assert (scan.header.units, scan.header.modality, scan.header.storable) == ("HU", "CT", None)
    assert scan.read(1).dtype == np.float32
    assert scan.read(1)[3, 2] == array[2, 3, 1]
    np.testing.assert_array_equal(scan.read(2), array[:, :, 2].T)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_volumes_over_time_come_one_after_the_other(tmp_path, suffix):
    array = counted((5, 4, 3, 2))
    scan = NiftiVolume.open(save(tmp_path / f"a{suffix}", array))
    assert (scan.header.shape, scan.header.slices_per_volume) == ((6, 4, 5), 3)
    assert (scan.header.units, scan.header.modality, scan.suffix) == ("stored", "", suffix)
    np.testing.assert_array_equal(scan.read(4), array[:, :, 1, 1].T)
    np.testing.assert_array_equal(scan.read(2), array[:, :, 2, 0].T)


def test_slope_and_intercept_are_applied(tmp_path):
    path = save(tmp_path / "a.nii.gz", counted((2, 2, 1)), edit=lambda header: header.set_slope_inter(0.5, -1024))
    np.testing.assert_array_equal(NiftiVolume.open(path).read(0), [[-1024, -1023], [-1023.5, -1022.5]])


@pytest.mark.parametrize(("unit", "spacing"), [("meter", 4000), ("micron", 0.004), ("mm", 4)])
def test_the_spacing_is_in_millimetres_whatever_the_file_uses(tmp_path, unit, spacing):
    header = NiftiVolume.open(save(tmp_path / "a.nii", counted((5, 4, 3)), unit=unit)).header
    assert header.spacing[0] == pytest.approx(spacing)
    assert header.affine[2, 2] == pytest.approx(spacing)


def test_an_unknown_unit_of_length_is_told(tmp_path):
    scan = NiftiVolume.open(save(tmp_path / "a.nii", counted((5, 4, 3)), unit="unknown"))
    assert "millimetres are assumed" in scan.warnings[0]


def test_a_compressed_volume_is_decompressed_once(tmp_path, monkeypatch):
    scan = NiftiVolume.open(save(tmp_path / "a.nii.gz", counted((5, 4, 30))))
    opened = []
    monkeypatch.setattr(nifti.gzip, "open", lambda path: opened.append(path) or gzip.GzipFile(path))
    for index in (0, 29, 1, 28, 2):
        scan.read(index)
    assert len(opened) == 1


def test_a_file_that_was_overwritten_is_read_anew(tmp_path):
    scan = NiftiVolume.open(save(tmp_path / "a.nii.gz", np.zeros((5, 4, 3), np.int16)))
    assert scan.read(0).max() == 0
    save(tmp_path / "new.nii.gz", np.ones((5, 4, 3), np.int16))
    shutil.move(tmp_path / "new.nii.gz", tmp_path / "a.nii.gz")
    assert scan.read(0).max() == 1


# writing


@pytest.mark.parametrize("name", ["functional.nii", "anatomical.nii", "example4d.nii.gz", "example_nifti2.nii.gz"])
def test_a_derived_volume_has_the_header_of_its_source(tmp_path, name):
    source = nibabel.load(FIXTURES / name)
    derived = derive(NiftiVolume.open(FIXTURES / name), tmp_path / name)
    assert type(derived) is type(source)
    np.testing.assert_array_equal(derived.affine, source.affine)
    for affine in ("get_qform", "get_sform"):
        ours, theirs = (getattr(image, affine)(coded=True) for image in (derived, source))
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1] == theirs[1]
    assert derived.header.get_xyzt_units() == source.header.get_xyzt_units()
    assert derived.header.get_zooms() == source.header.get_zooms()  # the fourth is the time step
    assert {key for key in source.header if derived.header[key].tobytes() != source.header[key].tobytes()} <= CHANGED
    assert derived.get_data_dtype().newbyteorder("=") == np.float32
    np.testing.assert_array_equal(derived.get_fdata(), source.get_fdata().astype(np.float32))


def test_the_slope_of_a_derived_volume_is_zero_in_the_file(tmp_path):
    path = save(tmp_path / "a.nii", counted((5, 4, 3)), edit=lambda header: header.set_slope_inter(2, 7))
    derive(NiftiVolume.open(path), tmp_path / "b.nii")
    assert np.frombuffer((tmp_path / "b.nii").read_bytes()[112:120], "<f4").tolist() == [0, 0]
    assert nibabel.load(tmp_path / "b.nii").dataobj.slope == 1


def test_a_derived_volume_says_that_it_is_for_research_and_nothing_of_a_person(tmp_path):
    def name_a_person(header):
        header["descrip"] = header["aux_file"] = header["db_name"] = b"Doe^Jane"
        header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Doe^Jane"))

    scan = NiftiVolume.open(save(tmp_path / "a.nii", counted((5, 4, 3)), edit=name_a_person))
    assert "extensions are not copied" in scan.warnings[0]
    assert "Doe" not in "".join(scan.warnings)
    assert b"Doe^Jane" in (tmp_path / "a.nii").read_bytes()
    derived = derive(scan, tmp_path / "b.nii")
    assert bytes(derived.header["descrip"]).startswith(b"translate: research only, AI-processed")
    assert b"Doe" not in (tmp_path / "b.nii").read_bytes()
    np.testing.assert_array_equal(derived.get_fdata(), counted((5, 4, 3)))


def test_what_is_written_is_what_a_reader_finds(tmp_path):
    scan = NiftiVolume.open(save(tmp_path / "a.nii.gz", counted((5, 4, 2))))
    with scan.writer(tmp_path / "b.nii.gz", DENOISED) as writer:
        told = [writer.write(index, scan.read(index) + np.float64(0.1)) for index in range(2)]
    again = NiftiVolume.open(tmp_path / "b.nii.gz")
    for index in range(2):
        np.testing.assert_array_equal(again.read(index), told[index])


def test_a_volume_of_another_modality_has_no_window_of_the_source(tmp_path):
    path = save(tmp_path / "a.nii", counted((5, 4, 1)), edit=lambda header: header.__setitem__("cal_max", 900))
    scan = NiftiVolume.open(path)
    for name, derivation, expected in (("b", DENOISED, 900), ("c", Derivation("ct", "", True, "CT"), 0)):
        with scan.writer(tmp_path / f"{name}.nii", derivation) as writer:
            writer.write(0, scan.read(0))
        assert nibabel.load(tmp_path / f"{name}.nii").header["cal_max"] == expected


def test_the_same_values_make_the_same_compressed_file(tmp_path):
    scan = NiftiVolume.open(FIXTURES / "functional.nii")
    for name in ("a.nii.gz", "b.nii.gz"):
        derive(scan, tmp_path / name)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[3:8] == bytes(5)  # gzip: neither a file name nor a time


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nothing_is_left_after_an_interruption(tmp_path, suffix):
    scan = NiftiVolume.open(FIXTURES / "functional.nii")
    with pytest.raises(KeyboardInterrupt), scan.writer(tmp_path / f"a{suffix}", DENOISED) as writer:
        interrupted(writer, scan)
    assert no_files(tmp_path)


def test_nothing_is_left_when_compressing_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left on device")

    scan = NiftiVolume.open(save(tmp_path / "in.nii", counted((5, 4, 1))))
    monkeypatch.setattr(nifti.shutil, "copyfileobj", fail)
    with pytest.raises(OSError, match="no space"), scan.writer(tmp_path / "out" / "a.nii.gz", DENOISED) as writer:
        writer.write(0, scan.read(0))
    assert no_files(tmp_path / "out")


# volumes of our own


def test_a_new_volume_has_the_geometry_of_the_scan(tmp_path):
    affine = np.array([[0, 0, 2.5, 10], [0.7, 0, 0, 20], [0, -0.7, 0, 30], [0, 0, 0, 1]])
    header = ScanHeader("scan", "CT", "HU", (6, 4, 5), 3, affine=affine)
    with VolumeWriter(tmp_path / "sub" / "a.nii.gz", header, "residual in HU") as writer:
        for index in range(6):
            writer.write(index, np.full((4, 5), index + 0.25))
    image = nibabel.load(tmp_path / "sub" / "a.nii.gz")
    assert image.shape == (5, 4, 3, 2)
    assert image.get_fdata()[0, 0].T.tolist() == [[0.25, 1.25, 2.25], [3.25, 4.25, 5.25]]
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    np.testing.assert_allclose(image.get_qform(), affine, atol=1e-5)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.header.get_zooms()[:3], (0.7, 0.7, 2.5))
    assert bytes(image.header["descrip"]).rstrip(b"\0") == b"translate: research only, AI-processed; residual in HU"


def test_a_new_volume_of_a_tilted_scan_has_its_affine_and_no_qform(tmp_path):
    affine = np.eye(4)
    affine[1, 2] = 0.3
    with VolumeWriter(tmp_path / "a.nii", ScanHeader("scan", "CT", "HU", (1, 4, 5), 1, affine=affine), "x") as writer:
        writer.write(0, np.zeros((4, 5)))
    image = nibabel.load(tmp_path / "a.nii")
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    assert int(image.header["qform_code"]) == 0


def test_a_new_volume_of_volumes_that_are_incomplete_is_refused(tmp_path):
    with pytest.raises(ScanError, match="5 slices are not whole volumes of 3: a volume in time is incomplete"):
        VolumeWriter(tmp_path / "a.nii", ScanHeader("scan", "MR", "stored", (5, 4, 5), 3), "x")


# refusals


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 4, 3), np.complex64), "holds values of type complex64, allowed are real numbers"),
        (np.zeros((5, 4, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "it holds colours, allowed are real numbers"),
        (np.zeros((5, 4), np.int16), r"its shape is \(5, 4\), allowed are 3 dimensions \(x, y, z\) and 4"),
        (np.zeros((5, 4, 3, 1, 3), np.float32), r"its shape is \(5, 4, 3, 1, 3\), allowed are 3 dimensions"),
    ],
)
def test_what_is_no_scan_is_refused_by_name(tmp_path, array, message):
    with pytest.raises(ScanError, match=message):
        NiftiVolume.open(save(tmp_path / "a.nii", array))


def test_values_that_are_no_numbers_are_refused_with_their_count(tmp_path):
    array = np.zeros((5, 4, 2), np.float32)
    array[:3, 0, 1] = (np.nan, np.inf, -np.inf)
    scan = NiftiVolume.open(save(tmp_path / "a.nii", array))
    scan.read(0)
    with pytest.raises(ScanError, match=r"a\.nii: 3 values of slice 2 are NaN, infinite or too large"):
        scan.read(1)


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    path = save(tmp_path / "a.nii", counted((5, 4, 3)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ScanError, match="it is cut short, a part of its values is missing: copy it again"):
        NiftiVolume.open(path)


def test_a_compressed_file_that_is_cut_short_is_refused(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).normal(size=(50, 40, 30)).astype(np.float32))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(ScanError, match="its compressed data is damaged"):
        NiftiVolume.open(path).read(0)
    plain = save(tmp_path / "b.nii", counted((5, 4, 3))).read_bytes()
    path.write_bytes(gzip.compress(plain[:-2]))
    with pytest.raises(ScanError, match="it is cut short"):
        NiftiVolume.open(path).read(0)


def test_files_of_other_kinds_are_refused(tmp_path):
    (tmp_path / "text.nii").write_text("Doe^Jane " * 100)
    with pytest.raises(ScanError, match=r"text\.nii: it is no NIfTI file that can be read") as caught:
        NiftiVolume.open(tmp_path / "text.nii")
    assert "Doe" not in str(caught.value)
    with pytest.raises(ScanError, match=r"row_major\.dconn\.nii: it holds a Cifti2Image, allowed are volumes"):
        NiftiVolume.open(FIXTURES / "row_major.dconn.nii")
    with pytest.raises(ScanError, match=r"none\.nii: there is no such file"):
        NiftiVolume.open(tmp_path / "none.nii")


@pytest.mark.parametrize(
    ("place", "values"),
    [
        (123, b"\x07"),  # xyzt_units: no such unit
        (252, b"\x01\0" + b"\0\0" + np.array([5, 5, 5], "<f4").tobytes()),  # qform: no unit quaternion
    ],
)
def test_a_header_that_means_nothing_is_refused(tmp_path, place, values):
    path = save(tmp_path / "a.nii", counted((5, 4, 3)))
    content = bytearray(path.read_bytes())
    content[place : place + len(values)] = values
    path.write_bytes(content)
    with pytest.raises(ScanError, match=r"a\.nii: it is no NIfTI file that can be read"):
        NiftiVolume.open(path)


def test_units_that_are_not_known_are_refused(tmp_path):
    assert set(UNITS) == {"HU", "SUV", "stored"}
    with pytest.raises(ScanError, match=r"units are HU, SUV, stored, got 'hu'"):
        NiftiVolume.open(save(tmp_path / "a.nii", counted((5, 4, 3))), units="hu")


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path):
    scan = NiftiVolume.open(FIXTURES / "functional.nii")
    with pytest.raises(ScanError, match=r"a\.tif: a NIfTI is written as \.nii\.gz or \.nii"):
        scan.writer(tmp_path / "a.tif", DENOISED)
    (tmp_path / "a.nii").write_text("mine")
    with pytest.raises(ScanError, match="exists: nothing is overwritten"):
        scan.writer(tmp_path / "a.nii", DENOISED)
    assert (tmp_path / "a.nii").read_text() == "mine"


def test_slices_that_are_missing_or_no_numbers_leave_no_file(tmp_path):
    scan = NiftiVolume.open(FIXTURES / "functional.nii")
    with (
        pytest.raises(ScanError, match=r"functional\.nii: 59 of 60 slices were not written, the first is number 1"),
        scan.writer(tmp_path / "a.nii", DENOISED) as writer,
    ):
        writer.write(1, scan.read(1))
    with pytest.raises(ScanError, match="1 values of a slice are NaN"), scan.writer(tmp_path / "a.nii", DENOISED) as w:
        w.write(0, np.where(np.arange(21 * 17).reshape(21, 17) == 0, np.nan, 0))
    with (
        pytest.raises(ScanError, match=r"a slice has \(21, 17\) rows and columns, got \(17, 21\)"),
        scan.writer(tmp_path / "a.nii", DENOISED) as writer,
    ):
        writer.write(0, np.zeros((17, 21)))
    assert no_files(tmp_path)


def test_without_nibabel_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(ScanError, match=r'pip install "translate-images\[medical\]"'):
        NiftiVolume.open(FIXTURES / "functional.nii")
