"""Stage 1 for scans: which slices are paired and split, what is stored, and that nobody can read whose they are."""

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file

from translate.cli import main
from translate.data.ct_noise import CtDose
from translate.data.images import ImageError, probe_picture, read_picture
from translate.data.scan_slices import (
    choose_storage,
    neighbour_paths,
    next_slice,
    read_stored,
    write_slice,
)
from translate.data.scans import ScanError
from translate.data.splits import DataConfig, find_split, find_training
from translate.pipelines.preprocessing import scan_writing
from translate.pipelines.preprocessing.scan_noise import LowDose

NAME, ID, BORN = "Quixotic^Zebulon", "ZQ-4711-MRN", "19430217"
SIDE = 24


@pytest.fixture(autouse=True)
def account(tmp_path, monkeypatch):
    """The key by which patients are compared is not that of the account which runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@dataclass(frozen=True)
class Series:
    """A real CT image at several heights, as files of a series that are not in the order of space."""

    patient: str = ID
    heights: tuple[float, ...] = (0, 2, 4)
    kernel: str = "B30f"
    added: int = 0  # HU
    left: float = -50.0  # mm, of the first pixel
    side: int = SIDE
    named: bool = True

    def write(self, folder, prefix=""):
        folder.mkdir(parents=True, exist_ok=True)
        series, study = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
        for number, height in enumerate(self.heights):
            dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
            part = dataset.pixel_array[40 + number : 40 + number + self.side, 30 : 30 + self.side] + self.added
            dataset.PixelData = np.ascontiguousarray(part).tobytes()
            dataset.Rows = dataset.Columns = self.side
            dataset.PatientID = self.patient
            dataset.PatientName, dataset.PatientBirthDate = (NAME, BORN) if self.named else ("Anonymous", "")
            dataset.ConvolutionKernel, dataset.SliceThickness = self.kernel, 2
            dataset.ImagePositionPatient = [self.left, -50, height]
            dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
            dataset.InstanceNumber = number + 1
            dataset.pop("DataSetTrailingPadding", None)
            dataset.save_as(folder / f"{prefix}{(number * 7 + 3) % 11:02d}.dcm")
        return folder


def values_of(number, added=0):
    """HU of the slice of a Series."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    part = dataset.pixel_array[40 + number : 40 + number + SIDE, 30 : 30 + SIDE] + added
    return (part * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)).astype(np.float32)


@pytest.fixture
def doses(tmp_path):
    """low/ and full/ of two patients: the low dose is the full one and 100 HU."""
    for patient in ("one", "two"):
        Series(patient, added=100).write(tmp_path / "low" / patient)
        Series(patient).write(tmp_path / "full" / patient, prefix="f")
    return tmp_path


def run(capsys, *arguments):
    """translate preprocess scans ... --json: the exit code and the summary."""
    capsys.readouterr()
    code = main(["preprocess", "scans", *map(str, arguments), "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


def refusal(capsys, *arguments):
    capsys.readouterr()
    assert main(["preprocess", "scans", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.tif"))


def pixels(path):
    return read_picture(path).pixels[..., 0]


# --- storage


@pytest.mark.parametrize(
    ("values", "storage"),
    [
        ([-1024, 0, 3071], "int16"),
        ([-32768, 32767], "int16"),
        ([0.5, -2.25], "float16"),
        ([32768, 0], "float16"),
        ([0.1, 7], "float32"),
        ([40001, 0], "float32"),
        ([70000, 0.5], "float32"),
    ],
)
def test_the_smallest_type_that_loses_nothing_is_chosen_and_read_back_exactly(tmp_path, values, storage):
    slice = np.array([values], np.float32)
    assert choose_storage(slice) == storage
    write_slice(tmp_path / "a.tif", slice, storage)
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), slice)
    assert pixels(tmp_path / "a.tif").dtype == np.float32
    assert probe_picture(tmp_path / "a.tif").dtype == np.float32
    assert read_stored(tmp_path / "a.tif").dtype == storage


@pytest.mark.parametrize(
    ("values", "storage", "message"),
    [
        ([0.25, 3], "int16", "int16 would change the values of this slice by up to 0.25: store it as float16"),
        ([40001, -5], "int16", "int16 does not reach from -5 to 40001, as this slice does: store it as float32"),
        ([2049, 0], "float16", "float16 would change the values of this slice by up to 1: store it as int16"),
        ([70000, 1], "float16", "float16 does not reach from 1 to 70000"),
        ([np.nan, 1], "float32", "1 values of a slice are NaN or infinite"),
    ],
)
def test_a_type_that_would_lose_values_is_refused_with_the_loss(tmp_path, values, storage, message):
    with pytest.raises(ScanError, match=message):
        write_slice(tmp_path / "a.tif", np.array([values], np.float32), storage)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("slice", [np.zeros((2, 2)), np.zeros((1, 2, 2), np.float32), np.zeros((0, 2), np.float32)])
def test_only_float32_slices_are_written(tmp_path, slice):
    with pytest.raises(ScanError, match=r"a slice is float32 \(H, W\), got"):
        write_slice(tmp_path / "a.tif", slice, "float32")


@pytest.mark.parametrize("options", [{"byteorder": ">"}, {"compression": "zlib", "predictor": True}, {}])
def test_signed_16_bit_tiff_is_read_exactly(tmp_path, options):
    stored = np.array([[-32768, -1], [0, 32767]], np.int16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", metadata=None, **options)
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), stored.astype(np.float32))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((4, 4), {"photometric": "miniswhite"}),
        ((4, 4, 3), {"photometric": "rgb"}),
        ((4, 4, 2), {"photometric": "minisblack", "extrasamples": ["unassalpha"], "planarconfig": "contig"}),
    ],
)
def test_signed_16_bit_tiff_of_another_kind_is_refused(tmp_path, shape, options):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.int16), metadata=None, **options)
    with pytest.raises(ImageError, match=r"values are int16 of 16 bits, allowed are .* int16 of one grey channel"):
        read_picture(tmp_path / "a.tif")


def test_neighbours_end_at_a_hole_and_keep_their_copy(tmp_path):
    for name in ("p001_s01_0004", "p001_s01_0005", "p001_s01_0006", "p001_s01_0008", "p001_s02_0007"):
        (tmp_path / f"{name}.tif").touch()
        (tmp_path / f"{name}_r2.tif").touch()

    def around(name, neighbours):
        return [path.stem for path in neighbour_paths(tmp_path / f"{name}.tif", neighbours)]

    four, five, six, eight = (f"p001_s01_000{index}" for index in (4, 5, 6, 8))
    assert around(five, 1) == [four, five, six]
    assert around(six, 2) == [four, five, six, six, six]
    assert around(eight, 1) == [eight, eight, eight]
    assert around(four, 0) == [four]
    assert around(f"{five}_r2", 1) == [f"{four}_r2", f"{five}_r2", f"{six}_r2"]
    assert next_slice(tmp_path / f"{five}.tif") == tmp_path / f"{six}.tif"
    assert next_slice(tmp_path / f"{six}.tif") is None
    with pytest.raises(ScanError, match=r"photo.tif does not tell its neighbours: slices are named like p001_s01_0001"):
        next_slice(tmp_path / "photo.tif")


# --- pairs


def test_doses_are_paired_by_place_whatever_the_files_are_called(doses, capsys):
    out = doses / "out"
    code, summary = run(capsys, doses / "low", out, "--target", doses / "full", "--val", "0.5")
    assert code == 0
    assert summary == {
        "kind": "paired",
        "images": 12,
        "failed": 0,
        "left_out": 0,
        "splits": {"train": 3, "val": 3},
        "patients": {"train": 1, "val": 1},
        "output": str(out),
        "manifest": str(out / "dataset.json"),
        "problems": {},
        "unmatched": 0,
    }
    for split in (find_training(DataConfig(folder=out)), find_split(DataConfig(folder=out), "val")):
        assert [pair.name[4:] for pair in split.pairs] == ["_s01_0000", "_s01_0001", "_s01_0002"]
        for number, pair in enumerate(split.pairs):
            np.testing.assert_array_equal(pixels(pair.target), values_of(number))
            np.testing.assert_array_equal(pixels(pair.source), values_of(number, added=100))


def test_the_words_tell_the_counts(doses, capsys):
    main(["preprocess", "scans", str(doses / "low"), str(doses / "out"), "--target", str(doses / "full")])
    expected = f"pairs: train 3, val 3; 0 files failed. Manifest: {doses}/out/dataset.json\n"
    assert capsys.readouterr().out == expected


def test_the_manifest_tells_units_geometry_and_sums(doses, capsys):
    run(capsys, doses / "low", doses / "out", "--target", doses / "full", "--seed", "3")
    manifest = json.loads((doses / "out" / "dataset.json").read_text())
    assert (manifest["format_version"], manifest["kind"]) == (2, "paired")
    assert manifest["files"].keys() == set(names(doses / "out"))
    train = manifest["splits"]["train"]
    lowest = min(values_of(number).min() for number in range(3))
    highest = max(values_of(number, added=100).max() for number in range(3))
    assert train == {
        "kind": "paired",
        "seed": 3,
        "scans": {
            "modality": "CT",
            "units": "HU",
            "spacing": [0.661468, 0.661468],
            "slice_spacing": [2.0, 2.0],
            "thickness": [2.0, 2.0],
            "kernels": ["B30f"],
            "storage": ["int16"],
            "range": [lowest, highest],
            "patients": 1,
            "noise": None,
            "min_body": 0.0,
        },
    }
    for name, facts in manifest["files"].items():
        assert (facts["width"], facts["height"], facts["channels"], facts["dtype"]) == (SIDE, SIDE, 1, "int16")
        assert facts["sha256"] == scan_writing.sha256(doses / "out" / name)
        assert facts["range"] == [pixels(doses / "out" / name).min(), pixels(doses / "out" / name).max()]


def test_kernels_of_one_place_are_told_apart(doses, capsys):
    Series("one", added=7, kernel="D45f").write(doses / "low" / "sharp")
    Series("one", added=-7, kernel="D45f").write(doses / "full" / "sharp")
    run(capsys, doses / "low", doses / "out", "--target", doses / "full", "--val", "0")
    pairs = find_training(DataConfig(folder=doses / "out")).pairs
    differences = sorted(float((pixels(pair.source) - pixels(pair.target)).mean()) for pair in pairs)
    assert differences == [14.0] * 3 + [100.0] * 6


def test_dicom_and_nifti_of_one_place_are_paired(tmp_path, capsys):
    Series("one", added=100).write(tmp_path / "low")
    affine = np.diag([-0.661468, -0.661468, 2.0, 1.0])  # DICOM points left and back, NIfTI right and front
    affine[:3, 3] = 50, 50, 0
    volume = np.stack([values_of(number).T for number in range(3)], axis=2)
    (tmp_path / "full").mkdir()
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "full" / "volume.nii")
    given = ("--target", tmp_path / "full", "--units", "HU", "--patient", "()$", "--val", "0")
    assert "do not say whose they are" in refusal(capsys, tmp_path / "low", tmp_path / "out", *given)
    code, summary = run(capsys, tmp_path / "low", tmp_path / "out", *given, "--patient", "[.]")
    assert (code, summary["splits"]) == (0, {"train": 3})
    for pair in find_training(DataConfig(folder=tmp_path / "out")).pairs:
        assert (pixels(pair.source) - pixels(pair.target) == 100).all()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Series("two"), "6 lie where the other folder has a slice of another patient"),
        (Series("one", kernel="D45f"), "6 have a slice of another reconstruction kernel in their place"),
        (Series("one", left=-45), "6 have a slice at their height whose size, pixel spacing or field of view is"),
        (Series("one", side=20), "6 have a slice at their height whose size, pixel spacing or field of view is"),
        (Series("one", heights=(0.5, 2.5, 4.5)), "6 have none in their place, within 0.1 mm"),
    ],
)
def test_slices_without_a_partner_are_refused_with_the_reason(tmp_path, capsys, target, reason):
    Series("one").write(tmp_path / "low")
    target.write(tmp_path / "full")
    for allowed in ((), ("--allow", "unmatched")):
        message = refusal(capsys, tmp_path / "low", tmp_path / "out", "--target", tmp_path / "full", *allowed)
        assert f"6 slices have no partner, of 3 in {tmp_path}/low and 3 in {tmp_path}/full, for example" in message
        assert reason in message
        assert "--allow unmatched leaves them out" not in message
    assert not (tmp_path / "out").exists()


def test_unmatched_slices_can_be_left_out(tmp_path, capsys, caplog):
    Series("one", heights=(0, 2, 4, 6)).write(tmp_path / "low")
    Series("one", heights=(2, 4, 6, 8)).write(tmp_path / "full")
    given = (tmp_path / "low", tmp_path / "out", "--target", tmp_path / "full", "--val", "0")
    assert "2 slices have no partner" in (message := refusal(capsys, *given))
    assert "--allow unmatched leaves them out" in message
    code, summary = run(capsys, *given, "--allow", "unmatched")
    assert (code, summary["splits"], summary["unmatched"]) == (0, {"train": 3}, 2)
    assert "2 slices have no partner" in caplog.text


@pytest.mark.parametrize("twice", ["low", "full"])
def test_two_series_in_one_place_are_refused(tmp_path, capsys, twice):
    for side in ("low", "full"):
        Series("one").write(tmp_path / side)
    Series("one").write(tmp_path / twice / "again")
    message = refusal(capsys, tmp_path / "low", tmp_path / "out", "--target", tmp_path / "full")
    assert "lies in one place with several slices of the same patient and kernel, such as" in message


def test_anonymous_patients_need_an_expression(tmp_path, capsys):
    for side, dose in (("low", 100), ("full", 0)):
        for patient in ("L143", "L192"):
            Series("Anonymous", added=dose, named=False).write(tmp_path / side, prefix=f"{patient}_")
    given = (tmp_path / "low", tmp_path / "out", "--target", tmp_path / "full")
    message = refusal(capsys, *given)
    assert "6 files in" in message
    assert "do not say whose they are" in message
    assert "give --patient, an expression that matches the patient in the path below the folder" in message
    assert "matches nothing in their paths below" in refusal(capsys, *given, "--patient", "M[0-9]+")
    assert "is not a regular expression" in refusal(capsys, *given, "--patient", "(")
    code, summary = run(capsys, *given, "--patient", "L([0-9]+)_", "--val-patients", "19.", "--json")
    assert (code, summary["splits"], summary["patients"]) == (0, {"train": 3, "val": 3}, {"train": 1, "val": 1})


# --- splits


def test_nobody_stays_in_a_split_that_was_left(doses, capsys):
    given = (doses / "low", doses / "out", "--target", doses / "full", "--val-patients")
    for patient in ("one", "two"):
        run(capsys, *given, patient)
        written = names(doses / "out")
        assert written == sorted(json.loads((doses / "out" / "dataset.json").read_text())["files"])
        assert len(written) == 12


def test_a_folder_is_no_target_of_itself(doses, capsys):
    message = refusal(capsys, doses / "low", doses / "out", "--target", doses / "full" / ".." / "low")
    assert "source and --target are both" in message
    assert not (doses / "out").exists()


def test_a_wrong_expression_for_val_is_told_as_it_was_given(doses, capsys):
    given = (doses / "low", doses / "out", "--target", doses / "full", "--val-patients", "(")
    assert "--val-patients '(' is not a regular expression: missing )" in refusal(capsys, *given)


def test_one_patient_cannot_be_in_both_splits(tmp_path, capsys):
    Series("one").write(tmp_path / "ct")
    message = refusal(capsys, tmp_path / "ct", tmp_path / "out", "--alone")
    assert "1 patient cannot be in train and in val: give more, --val 0 for no val, or --split" in message
    assert run(capsys, tmp_path / "ct", tmp_path / "out", "--alone", "--val", "0")[1]["splits"] == {"train": 3}


def test_patients_for_val_are_chosen_by_expressions(tmp_path, capsys):
    for patient in ("A1", "A2", "B1"):
        Series(patient).write(tmp_path / "ct" / patient)
    given = (tmp_path / "ct", tmp_path / "out", "--alone", "--val-patients")
    assert run(capsys, *given, "A2", "b.")[1]["patients"] == {"train": 1, "val": 2}
    assert "'A' matches none of 3 patients" in refusal(capsys, *given, "B1", "A")
    assert "matches all 3 patients, train would be empty" in refusal(capsys, *given, ".*")
    assert "is not a regular expression" in refusal(capsys, *given, "(")
    assert "all goes to val: give one of both" in refusal(capsys, *given, "A1", "--split", "val")


def test_a_patient_of_train_is_refused_in_val_by_a_later_command(tmp_path, capsys):
    for patient, folder in (("one", "a"), ("two", "a"), ("two", "b"), ("three", "c")):
        Series(patient, heights=(0, 2, 4) if folder == "a" else (20, 22)).write(tmp_path / folder / patient)
    out = tmp_path / "out"
    assert run(capsys, tmp_path / "a", out, "--alone", "--split", "train")[0] == 0
    message = refusal(capsys, tmp_path / "b", out, "--alone", "--split", "val")
    assert "1 of 1 patients of val are in train already" in message
    assert "two" not in message
    assert names(out) == [f"train/source/p00{patient}_s01_000{index}.tif" for patient in (1, 2) for index in range(3)]
    code, summary = run(capsys, tmp_path / "c", out, "--alone", "--split", "val")
    assert (code, summary["splits"]) == (0, {"val": 2})
    assert len(find_training(DataConfig(folder=out, kind="blind_spot")).pairs) == 6
    # Patient two has left train, and may be in val now.
    assert run(capsys, tmp_path / "a" / "one", out, "--alone", "--split", "train", "--overwrite")[0] == 0
    assert run(capsys, tmp_path / "b", out, "--alone", "--split", "val", "--overwrite")[0] == 0


def test_a_patient_of_a_split_that_was_interrupted_is_refused_too(tmp_path, capsys, monkeypatch):
    Series("one").write(tmp_path / "a")

    def interrupted(path, values, storage):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scan_writing, "write_slice", interrupted)
        assert (
            main(["preprocess", "scans", *map(str, (tmp_path / "a", tmp_path / "out", "--alone", "--split", "train"))])
            == 130
        )
    message = refusal(capsys, tmp_path / "a", tmp_path / "out", "--alone", "--split", "val")
    assert "1 of 1 patients of val are in train already" in message


def test_a_split_of_another_account_cannot_be_compared(tmp_path, capsys, monkeypatch):
    Series("one").write(tmp_path / "a")
    Series("two").write(tmp_path / "b")
    run(capsys, tmp_path / "a", tmp_path / "out", "--alone", "--split", "train")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    given = (tmp_path / "b", tmp_path / "out", "--alone", "--split", "val")
    message = "it cannot be told whether patients are in train already: that split was written by another task"
    assert message in refusal(capsys, *given)
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/nowhere")
    assert message in refusal(capsys, *given)


def test_a_place_for_the_key_is_not_needed_for_one_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/nowhere")
    Series("one").write(tmp_path / "a")
    assert run(capsys, tmp_path / "a", tmp_path / "out", "--alone", "--split", "train")[0] == 0
    assert not (tmp_path / "out" / ".translate" / "patients.json").exists()


def test_the_key_is_for_the_account_alone(tmp_path, capsys):
    Series("one").write(tmp_path / "a")
    run(capsys, tmp_path / "a", tmp_path / "out", "--alone", "--val", "0")
    key = tmp_path / "state" / "translate" / "patients.key"
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)
    assert list(key.parent.iterdir()) == [key]
    assert key.read_bytes() not in (tmp_path / "out" / ".translate" / "patients.json").read_bytes()


def test_units_of_the_other_split_must_be_the_same(tmp_path, capsys):
    Series("one").write(tmp_path / "a")
    (tmp_path / "b").mkdir()
    tifffile.imwrite(tmp_path / "b" / "x.tif", np.ones((8, 8), np.int16), photometric="minisblack")
    run(capsys, tmp_path / "a", tmp_path / "out", "--alone", "--split", "train")
    given = (tmp_path / "b", tmp_path / "out", "--alone", "--split", "val", "--units", "stored", "--patient", "x")
    assert "train of this data set is in HU, these scans are in stored: give another folder" in refusal(capsys, *given)


# --- privacy


def test_nothing_that_is_written_or_said_tells_whose_scans_they_are(tmp_path, capsys, caplog):
    caplog.set_level("DEBUG")
    secret = tmp_path / "hospital-of-sorrow"
    Series(ID, added=100).write(secret / "low", prefix="Zebulon")
    Series(ID).write(secret / "full", prefix="Zebulon")
    out = tmp_path / "out"
    for way in (("--target", secret / "full"), ("--dose", "0.25"), ("--alone",)):
        assert run(capsys, secret / "low", out, *way, "--val", "0", "--overwrite")[0] == 0
        said = (capsys.readouterr().err + caplog.text).lower()
        for word in ("quixotic", "4711", BORN):
            assert word not in said
    run(capsys, secret / "low", out, "--target", secret / "full", "--val", "0", "--overwrite")
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) == 6 + 4  # the manifest, and in .translate a journal, origins and patients
    for path in written:
        content = path.read_bytes().lower()
        for word in ("quixotic", "zebulon", "4711", "zq-", BORN, "sorrow", "ct_small"):
            assert word.encode() not in content
            assert word not in path.relative_to(out).as_posix().lower()


# --- numbers


def test_a_gap_leaves_a_number_out(tmp_path, capsys):
    Series("one", heights=(0, 2, 4, 8, 10)).write(tmp_path / "ct")
    given = (tmp_path / "ct", tmp_path / "out", "--alone", "--val", "0")
    assert "allow gaps" in refusal(capsys, *given)
    run(capsys, *given, "--allow", "gaps")
    assert [name[-8:-4] for name in names(tmp_path / "out")] == ["0000", "0001", "0002", "0004", "0005"]


@pytest.mark.parametrize(
    ("heights", "numbers"),
    [
        ((0, 6, 26), [0, 3, 13]),  # 2 mm thick: single slices of a series, none beside another
        ((0, 10), [0, 5]),
        ((0, 10, 20, 30), [0, 1, 2, 3]),  # all alike: the series was made so
        ((0, 2.5, 5, 10.5), [0, 1, 2, 4]),
        ((0, 10, 20, 40, 50), [0, 1, 2, 4, 5]),
        ((0, 2, 20, 22.5, 50), [0, 1, 9, 10, 22]),
        ((0, 0.5, 2.5, 4.5, 6.5), [0, 1, 2, 3, 4]),
        ((0,), [0]),
    ],
)
def test_single_slices_of_a_series_are_no_neighbours(tmp_path, capsys, heights, numbers):
    Series("one", heights=heights).write(tmp_path / "ct")
    run(capsys, tmp_path / "ct", tmp_path / "out", "--alone", "--val", "0", "--allow", "gaps")
    assert [int(name[-8:-4]) for name in names(tmp_path / "out")] == numbers


def test_volumes_over_time_are_no_neighbours(tmp_path, capsys):
    pages = np.arange(3 * 8 * 8, dtype=np.int16).reshape(3, 8, 8)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", imagej=False, metadata={"axes": "TYX"})
    given = ("--alone", "--val", "0", "--units", "stored", "--patient", "a")
    run(capsys, tmp_path / "a.tif", tmp_path / "out", *given)
    assert [int(name[-8:-4]) for name in names(tmp_path / "out")] == [0, 2, 4]
    np.testing.assert_array_equal(pixels(tmp_path / "out" / names(tmp_path / "out")[1]), pages[1])


# --- running again


def test_what_is_there_is_kept_and_what_is_missing_made(doses, capsys):
    given = (doses / "low", doses / "out", "--target", doses / "full")
    run(capsys, *given)
    before = {name: (doses / "out" / name).stat().st_mtime_ns for name in names(doses / "out")}
    missing, damaged, *_ = before
    (doses / "out" / missing).unlink()
    (doses / "out" / damaged).write_bytes(b"damaged")
    code, summary = run(capsys, *given)
    after = {name: (doses / "out" / name).stat().st_mtime_ns for name in names(doses / "out")}
    assert (code, summary["images"]) == (0, 12)
    assert {name for name in after if after[name] != before[name]} == {missing, damaged}


def test_a_command_that_was_interrupted_goes_on(doses, capsys, monkeypatch):
    given = (doses / "low", doses / "out", "--target", doses / "full", "--workers", "1")
    write, written = scan_writing.write_slice, []

    def interrupted(path, values, storage):
        written.append(path)
        if len(written) == 6:
            raise KeyboardInterrupt
        write(path, values, storage)

    monkeypatch.setattr(scan_writing, "write_slice", interrupted)
    assert main(["preprocess", "scans", *map(str, given)]) == 130
    assert len(names(doses / "out")) == 5
    assert not (doses / "out" / "dataset.json").exists()
    code, summary = run(capsys, *given)
    assert (code, summary["images"], len(written)) == (0, 12, 6 + 7)
    assert not [path for path in (doses / "out" / ".translate").iterdir() if "aside" in path.name]


def test_a_slice_that_cannot_be_decoded_is_left_out_with_its_partner(doses, capsys):
    broken = pydicom.dcmread(next((doses / "full" / "one").glob("*.dcm")))
    broken.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
    broken.PixelData = pydicom.encaps.encapsulate([b"\1" + bytes(63) + b"no pixels"])
    broken["PixelData"].is_undefined_length = True
    broken.save_as(broken.filename)
    code, summary = run(capsys, doses / "low", doses / "out", "--target", doses / "full")
    assert (code, summary["failed"], summary["images"]) == (1, 1, 10)
    ((name, reason),) = summary["problems"].items()
    assert "/target/p00" in name
    assert Path(broken.filename).name in reason
    sides = [
        {name.rpartition("/")[2] for name in names(doses / "out") if side in name} for side in ("source", "target")
    ]
    assert sides[0] == sides[1]
    assert len(sides[0]) == 5


def test_a_scan_that_cannot_be_read_counts_as_failed(tmp_path, capsys):
    for patient in ("one", "two"):
        Series(patient).write(tmp_path / "ct" / patient)
    next((tmp_path / "ct" / "two").iterdir()).write_bytes(b"no scan at all")
    code, summary = run(capsys, tmp_path / "ct", tmp_path / "out", "--alone", "--val", "0")
    assert (code, summary["failed"]) == (1, 1)
    assert "is no DICOM file" in next(iter(summary["problems"].values()))


def test_foreign_files_and_inputs_are_not_touched(doses, capsys):
    given = ("--target", doses / "full")
    (doses / "out" / "train" / "source").mkdir(parents=True)
    (doses / "out" / "train" / "source" / "mine.tif").write_bytes(b"mine")
    assert "holds 1 files that preprocess did not write" in refusal(capsys, doses / "low", doses / "out", *given)
    assert "lies in the input folder" in refusal(capsys, doses / "low", doses / "low" / "out", *given)
    assert "lies in the output folder" in refusal(capsys, doses / "low", doses, *given)


# --- other data sets


def test_a_patient_of_both_kinds_is_in_one_split(tmp_path, capsys):
    for patient in ("one", "two", "three"):
        Series(patient, heights=(0, 2)).write(tmp_path / "a" / patient)
        Series(patient, heights=(1, 3)).write(tmp_path / "b" / patient)
    given = (tmp_path / "a", tmp_path / "out", "--unpaired", tmp_path / "b")
    code, summary = run(capsys, *given, "--val", "0.3")
    assert (code, summary["kind"], summary["splits"]) == (0, "unpaired", {"train": 8, "val": 4})
    found = names(tmp_path / "out")
    patients = {
        (split, side): {name.split("/")[2][:4] for name in found if name.startswith(f"{split}/{side}/")}
        for split in ("train", "val")
        for side in ("a", "b")
    }
    assert patients["train", "a"] == patients["train", "b"]
    assert patients["val", "a"] == patients["val", "b"]
    assert patients["train", "a"].isdisjoint(patients["val", "a"])
    split = find_training(DataConfig(folder=tmp_path / "out", kind="unpaired", source="a", target="b"))
    assert (len(split.a), len(split.b)) == (4, 4)


def test_a_split_without_one_kind_is_refused(tmp_path, capsys):
    Series("one").write(tmp_path / "a")
    Series("two").write(tmp_path / "b")
    given = (tmp_path / "a", tmp_path / "out", "--unpaired", tmp_path / "b")
    assert "would have no slices of a, whose patients are all in the other split" in refusal(capsys, *given)


def test_scans_alone_can_be_validated_by_pairs(doses, capsys):
    Series("three").write(doses / "noisy")
    out = doses / "out"
    assert run(capsys, doses / "noisy", out, "--alone", "--split", "train")[1]["kind"] == "alone"
    code, summary = run(capsys, doses / "low", out, "--target", doses / "full", "--split", "val")
    assert (code, summary["kind"], summary["splits"]) == (0, "paired", {"val": 6})
    manifest = json.loads((out / "dataset.json").read_text())
    assert manifest["kind"] == "alone"
    assert {split: made["kind"] for split, made in manifest["splits"].items()} == {"train": "alone", "val": "paired"}
    config = DataConfig(folder=out, kind="neighbouring_slices")
    assert len(find_split(config, "val").pairs) == 6


def test_nearly_empty_slices_are_left_out(tmp_path, capsys):
    Series("one").write(tmp_path / "ct")
    Series("two", added=-3000).write(tmp_path / "ct" / "air")
    given = (tmp_path / "ct", tmp_path / "out", "--alone", "--val", "0")
    code, summary = run(capsys, *given, "--min-body", "0.2")
    assert (code, summary["left_out"], summary["images"], summary["patients"]) == (0, 3, 3, {"train": 1})
    air = (tmp_path / "ct" / "air", tmp_path / "out2", "--alone", "--val", "0", "--min-body", "0.2")
    assert "all 3 slices show less of the body than 0.2: lower --min-body" in refusal(capsys, *air)
    assert "must be from 0 to below 1, got 1.0" in refusal(capsys, *given, "--min-body", "1")


def test_a_storage_that_would_lose_values_is_refused(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "x.tif", np.full((8, 8), 0.25, np.float32), photometric="minisblack")
    given = (tmp_path / "in", tmp_path / "out", "--alone", "--val", "0", "--units", "stored", "--patient", "x")
    message = refusal(capsys, *given, "--storage", "int16")
    assert "x.tif: int16 would change the values of this slice by up to 0.25: store it as float16" in message
    assert run(capsys, *given)[0] == 0
    assert read_stored(tmp_path / "out" / names(tmp_path / "out")[0]).dtype == np.float16


def test_kinds_of_scans_are_not_mixed(tmp_path, capsys):
    Series("one").write(tmp_path / "ct")
    mr = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    mr.save_as(tmp_path / "ct" / "mr.dcm")
    message = refusal(capsys, tmp_path / "ct", tmp_path / "out", "--alone", "--patient", ".*")
    assert "holds scans whose modality differ, CT, MR: prepare each kind on its own" in message


# --- noise


def stack(path, *slices):
    """A TIFF of grey pages; values of one number are constant slices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = np.stack([np.broadcast_to(np.asarray(slice, np.int16), (64, 64)) for slice in slices])
    tifffile.imwrite(path, pages, photometric="minisblack", metadata=None)
    return path


STORED = ("--val", "0", "--units", "stored", "--patient", ".")


def sources(out):
    return [pixels(out / name) for name in names(out) if "/source/" in name]


def test_rician_noise_is_a_share_of_the_largest_value_of_the_volume(tmp_path, capsys):
    stack(tmp_path / "mr.tif", 0, 1000)
    run(capsys, tmp_path / "mr.tif", tmp_path / "out", "--rician", "5", *STORED)
    dark, bright = sources(tmp_path / "out")
    assert dark.mean() == pytest.approx(1.2533 * 50, rel=0.03)
    assert bright.std() == pytest.approx(50, rel=0.05)
    assert (dark == np.rint(dark)).all()  # as a scanner stores it
    manifest = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert manifest["splits"]["train"]["scans"]["noise"] == {
        "kind": "rician",
        "percent": 5.0,
        "realisations": 1,
        "seed": 0,
    }
    for name in names(tmp_path / "out"):
        if "/target/" in name:
            assert pixels(tmp_path / "out" / name).max() in (0, 1000)


def test_noise_of_values_that_are_not_whole_is_not_rounded(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "mr.tif", np.full((64, 64), 0.25, np.float32), photometric="minisblack")
    run(capsys, tmp_path / "mr.tif", tmp_path / "out", "--rician", "50", *STORED)
    (noisy,) = sources(tmp_path / "out")
    assert noisy.std() == pytest.approx(0.125, rel=0.2)


def test_realisations_are_independent_and_repeatable(tmp_path, capsys):
    stack(tmp_path / "mr.tif", 500, 1000)
    given = (tmp_path / "mr.tif", tmp_path / "out", "--rician", "5", "--realisations", "3", *STORED)
    code, summary = run(capsys, *given)
    assert (code, summary["splits"], summary["images"]) == (0, {"train": 6}, 12)
    assert len(find_training(DataConfig(folder=tmp_path / "out")).pairs) == 6
    every = sources(tmp_path / "out")
    assert [name[-7:-4] for name in names(tmp_path / "out")] == ["_r1", "_r2", "_r3"] * 4
    residuals = np.stack([noisy.ravel() - noisy.mean() for noisy in every])
    assert np.abs(np.corrcoef(residuals) - np.eye(6)).max() < 0.06  # 4 standard deviations of 4096 pixels
    run(capsys, tmp_path / "mr.tif", tmp_path / "again", *given[2:])
    np.testing.assert_array_equal(sources(tmp_path / "again"), every)
    run(capsys, *given, "--seed", "1")
    assert all((a != b).any() for a, b in zip(sources(tmp_path / "out"), every, strict=True))
    assert "realisations must be at least 1, got 0" in refusal(capsys, *given[:-6], "--realisations", "0", *STORED)


def test_x_ray_noise_is_that_of_so_many_photons(tmp_path, capsys):
    stack(tmp_path / "film.tif", 1000)
    given = (tmp_path / "film.tif", tmp_path / "out", "--xray-photons", "400", *STORED)
    run(capsys, *given, "--electronic", "0")
    assert sources(tmp_path / "out")[0].std() == pytest.approx(50, rel=0.05)
    run(capsys, *given)
    assert sources(tmp_path / "out")[0].std() == pytest.approx(1000 * np.sqrt(400 + 10**2) / 400, rel=0.05)
    assert "photons must be above 0" in refusal(capsys, tmp_path, tmp_path / "o", "--xray-photons", "0", *STORED)


@pytest.mark.parametrize(
    ("way", "message"),
    [
        (("--rician", "5"), "Rician noise is that of MR magnitudes, which are not negative, but a slice has -1"),
        (("--xray-photons", "5"), "photons are counted where values are 0 or more, but a slice has -1"),
    ],
)
def test_slices_with_negative_values_have_no_such_noise(tmp_path, capsys, way, message):
    stack(tmp_path / "in" / "x.tif", 7, -1)
    code, summary = run(capsys, tmp_path / "in", tmp_path / "out", *way, *STORED)
    assert (code, summary["images"], summary["failed"]) == (1, 2, 1)
    assert message in next(iter(summary["problems"].values()))


def test_magnitudes_that_ring_below_zero_have_rician_noise(tmp_path, capsys):
    stack(tmp_path / "mr.tif", 1000, -40)
    code, summary = run(capsys, tmp_path / "mr.tif", tmp_path / "out", "--rician", "5", *STORED)
    assert (code, summary["failed"]) == (0, 0)
    assert all(noisy.min() >= 0 for noisy in sources(tmp_path / "out"))


def test_a_lower_dose_is_noisier_and_keeps_the_mean(tmp_path, capsys, caplog):
    Series("one", heights=(0,), side=64).write(tmp_path / "ct")
    noise = {}
    for dose, kernel in (("0.5", ()), ("0.1", ()), ("0.1", ("--kernel-filter", "D45f"))):
        out = tmp_path / f"{dose}{len(kernel)}"
        code, _ = run(capsys, tmp_path / "ct", out, "--dose", dose, "--views", "90", "--val", "0", *kernel)
        assert code == 0
        source, target = (pixels(out / "train" / side / "p001_s01_0000.tif") for side in ("source", "target"))
        assert read_stored(out / "train" / "source" / "p001_s01_0000.tif").dtype == np.int16
        noise[dose, bool(kernel)] = source - target
    assert abs(noise["0.5", False].mean()) < noise["0.5", False].std() / 10
    assert 2 < noise["0.1", False].std() / noise["0.5", False].std() < 5  # sqrt(9) = 3
    steps = {key: np.diff(values, axis=1).std() / values.std() for key, values in noise.items()}
    assert steps["0.1", True] > 1.3 * steps["0.1", False]
    made = json.loads((out / "dataset.json").read_text())["splits"]["train"]["scans"]["noise"]
    assert (made["kind"], made["fraction"], made["views"], made["filter"]) == ("dose", 0.1, 90, "D45f")
    assert "how its kernel" not in caplog.text


def test_noise_has_the_texture_of_the_scan_s_own_kernel(tmp_path, capsys):
    for kernel in ("B30f", "D45f"):
        Series("one", heights=(0,), kernel=kernel).write(tmp_path / kernel)
    words = ("--dose", "0.2", "--views", "30", "--val", "0")
    run(capsys, tmp_path / "D45f", tmp_path / "own", *words)
    run(capsys, tmp_path / "B30f", tmp_path / "told", *words, "--kernel-filter", "D45f")
    run(capsys, tmp_path / "B30f", tmp_path / "other", *words)
    own, told, other = (sources(tmp_path / name)[0] for name in ("own", "told", "other"))
    np.testing.assert_array_equal(own, told)
    assert (own != other).any()


def test_each_copy_gets_a_dose_and_a_kernel_of_its_own(tmp_path, capsys):
    Series("one", heights=(0,)).write(tmp_path / "ct")
    words = ("--dose", "0.05", "--highest-dose", "0.8", "--kernel-filter", "any", "--views", "90", "--val", "0")
    out = tmp_path / "out"
    assert run(capsys, tmp_path / "ct", out, *words, "--realisations", "6")[0] == 0
    noise = [
        read_picture(path).pixels - read_picture(out / "train" / "target" / path.name).pixels
        for path in sorted((out / "train" / "source").iterdir())
    ]
    strengths = [one.std() for one in noise]
    assert max(strengths) > 1.5 * min(strengths)
    fineness = [float(np.diff(one, axis=1).std() / one.std()) for one in noise]
    assert max(fineness) > 1.1 * min(fineness)
    facts = json.loads((out / "dataset.json").read_text())["splits"]["train"]["scans"]["noise"]
    assert facts["fraction"] == [0.05, 0.8]
    assert facts["filter"] == "between B30f and D45f, drawn for each copy"


def test_the_highest_dose_is_above_the_lowest_and_goes_with_it(tmp_path, capsys):
    Series("one", heights=(0,)).write(tmp_path / "ct")
    with pytest.raises(ScanError, match=r"from the lower to the higher one, at most 1, got 0\.5 and 0\.25"):
        LowDose(CtDose(0.5), highest=0.25)
    message = refusal(capsys, tmp_path / "ct", tmp_path / "out", "--alone", "--highest-dose", "0.5")
    assert "--highest-dose, --photons, --kernel-filter, --cutoff and --views are settings of --dose" in message


def test_the_noise_of_an_unknown_kernel_is_told(tmp_path, capsys, caplog):
    Series("one", heights=(0,), kernel="Br38f").write(tmp_path / "ct")
    run(capsys, tmp_path / "ct", tmp_path / "out", "--dose", "0.5", "--views", "20", "--val", "0")
    assert "ct: how its kernel Br38f filters noise is not known, it gets that of B30f" in caplog.text


def test_noise_of_another_modality_is_refused(tmp_path, capsys):
    Series("one").write(tmp_path / "ct")
    stack(tmp_path / "mr" / "x.tif", 7)
    for way, message in (
        (("--rician", "5"), "Rician noise is that of MR magnitudes, these are HU: use --dose for CT"),
        (("--xray-photons", "5"), "X-ray noise is that of projections, these are HU: use --dose for CT"),
    ):
        assert message in refusal(capsys, tmp_path / "ct", tmp_path / "out", *way, "--val", "0")
    dose = (tmp_path / "mr", tmp_path / "out", "--dose", "0.5", "--val", "0", "--patient", ".")
    assert "a lower dose is simulated of CT in HU, got a scan in stored" in refusal(capsys, *dose, "--units", "stored")
    assert "of slices with square pixels of known size, got None x None mm" in refusal(capsys, *dose, "--units", "HU")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--alone", "--realisations", "2"), "--realisations counts noisy copies: it goes with --dose, --rician or"),
        (
            ("--rician", "5", "--photons", "9"),
            "--photons, --kernel-filter, --cutoff and --views are settings of --dose",
        ),
        (("--rician", "5", "--electronic", "9"), "--electronic is a setting of --dose and --xray-photons"),
        (("--rician", "0"), "--rician must be above 0 and at most 100 percent of the largest value, got 0.0"),
        (("--dose", "2"), "a dose is a fraction of the scan's, above 0 and at most 1, got 2"),
        (("--alone", "--allow", "holes"), "--allow takes gaps, duplicates, tilt, mixed, unmatched, got 'holes'"),
    ],
)
def test_settings_that_have_no_meaning_are_refused(tmp_path, capsys, words, message):
    Series("one").write(tmp_path / "ct")
    assert message in refusal(capsys, tmp_path / "ct", tmp_path / "out", *words, "--val", "0")
