"""Scans through `translate infer`: the identity moves no bit, a scan appears whole or not at all, nobody is named."""

import gzip
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import data_store
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array
from pydicom.uid import RLELossless, generate_uid
from test_scan_pipeline import HU, config_of, trained
from torch import nn

from translate.cli import main
from translate.contract import IntensityContract
from translate.data.intensity import IntensityRange
from translate.data.scan_folder import find_scans
from translate.data.scans import ScanError
from translate.model_folder import save_model
from translate.networks import ResidualUNet
from translate.pipelines import ScanDenoising
from translate.pipelines.inference.derive_scan import ScanOptions
from translate.pipelines.inference.scan_folder import _places, translate_scan_file, translate_scans
from translate.pipelines.journal import checksum

FREE = IntensityContract.of(HU, modality="CT")
OLD = "ZZTOP^UNIQUE"


def fixture(name):
    path = Path(data_store.__file__).parent / "data" / name
    return path if path.is_file() else Path(get_testdata_file(name))


def infer(*words, model="identity"):
    return main(["infer", str(model), *(str(word) for word in words), "--json"])


def report_of(folder):
    return {entry["file"]: entry for entry in map(json.loads, (folder / "report.jsonl").read_text().splitlines())}


def visible(folder):
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if not any(part.startswith(".") for part in path.parts))


def put_series(folder, slices=3, side=32, change=lambda dataset, index: None):
    """An axial CT of small slices: values around 40 HU, 2 mm apart, with a name, dates and numbers of a patient."""
    random = np.random.default_rng(slices)
    source = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    series, study = generate_uid(), generate_uid()
    for index in range(slices):
        dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        stored = random.normal(1064, 60, (side, side)).clip(0, 3000).astype(source.pixel_array.dtype)
        dataset.Rows = dataset.Columns = side
        dataset.PixelData = stored.tobytes()
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = OLD, "PID987654", "19010203"
        dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = dataset.AcquisitionDate = "20210317"
        dataset.AccessionNumber, dataset.InstitutionName = "ACC445566", "Saint Elsewhere"
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.InstanceNumber = index + 1
        dataset.ImagePositionPatient = [0, 0, 2.0 * index]
        change(dataset, index)
        folder.mkdir(parents=True, exist_ok=True)
        dataset.save_as(folder / f"{index:03d}.dcm", enforce_file_format=True)
    return folder


def adding(folder, units, contract=FREE):
    """A model folder whose network adds so many units everywhere."""
    arguments = {"width": 4, "depth": 1, "largest_change": None}
    network = ResidualUNet(1 + 2 * contract.neighbours, 1, **arguments)
    nn.init.constant_(network.head.bias, units / ((contract.high - contract.low) / 2) * network.gain)
    save_model(folder, config_of(contract, **arguments), {"generator": network})
    return folder


@pytest.fixture
def identity():
    return ScanDenoising.from_pretrained("identity", device="cpu")


def stored(path):
    return pixel_array(pydicom.dcmread(path), raw=True)


# identical values

SINGLE = ("693_UNCR.dcm", "693_J2KI.dcm", "explicit_VR-UN.dcm", "bad_sequence.dcm", "CT_small.dcm", "MR_small.dcm")
SINGLE += ("MR_small_RLE.dcm", "MR2_UNCR.dcm", "RG1_UNCR.dcm", "RG3_UNCR.dcm")


@pytest.mark.parametrize("name", SINGLE)
def test_the_identity_returns_the_stored_pixels_bit_for_bit(name, tmp_path, capsys):
    assert infer(fixture(name), tmp_path / "out.dcm", "--no-evidence") == 0
    assert json.loads(capsys.readouterr().out)["clipped"] == 0
    before, after = stored(fixture(name)), stored(tmp_path / "out.dcm")
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(after, before)
    source, derived = pydicom.dcmread(fixture(name)), pydicom.dcmread(tmp_path / "out.dcm")
    for tag in ("PhotometricInterpretation", "StudyInstanceUID", "RescaleSlope", "RescaleIntercept"):
        assert derived.get(tag) == source.get(tag)
    assert derived.SOPInstanceUID != source.SOPInstanceUID
    assert visible(tmp_path) == ["out.dcm"]


@pytest.mark.parametrize("name", ["emri_small.dcm", "eCT_Supplemental.dcm"])
def test_the_identity_returns_the_values_of_multi_frame_files(name, tmp_path):
    assert infer(fixture(name), tmp_path / "out.nii.gz", "--units", "HU" if name[1] == "C" else "stored") == 0
    (scan,) = find_scans(fixture(name), units="HU" if name[1] == "C" else None)
    made = nibabel.load(tmp_path / "out.nii.gz").get_fdata().reshape(*scan.header.shape[:0:-1], -1)
    for index in range(scan.header.shape[0]):
        np.testing.assert_array_equal(made[..., index].T, scan.read(index))


def test_the_identity_has_a_bias_of_zero_and_says_so(tmp_path):
    assert infer(fixture("CT_small.dcm"), tmp_path / "out") == 0
    entry = report_of(tmp_path / "out")["CT_small"]
    assert (entry["status"], entry["slices"], entry["clipped"]) == ("done", 1, 0)
    made = tmp_path / "out" / entry["output"]
    assert visible(made) == ["0001.dcm", "evidence/evidence.html", "evidence/evidence.json"]
    evidence = json.loads((made / "evidence" / "evidence.json").read_text())
    assert evidence["clipped"] == 0
    assert evidence["residual"]["changed"] == 0
    assert {band["bias"] for band in evidence["bands"].values()} <= {0.0, None}
    assert evidence["model"]["name"] == "identity"
    assert evidence["input"]["units"] == "HU"


def test_a_folder_of_series_and_volumes_keeps_its_tree(tmp_path):
    put_series(tmp_path / "in" / "a" / "first", 3)
    put_series(tmp_path / "in" / "a" / "second", 2)
    values = np.random.default_rng(0).normal(0, 100, (20, 24, 3)).astype(np.float32)
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "in" / "brain.nii.gz")
    (tmp_path / "in" / "notes.txt").write_text("no scan")
    assert infer(tmp_path / "in", tmp_path / "out", "--residual") == 0
    evidence = [f"evidence/{name}" for name in ("evidence.html", "evidence.json", "residual.nii.gz")]
    first = ["0001.dcm", "0002.dcm", "0003.dcm", *evidence]
    expected = [f"a/first/{name}" for name in first] + [f"a/second/{name}" for name in first if "3.dcm" not in name]
    expected += [f"brain/{name}" for name in ["brain.nii.gz", *evidence]] + ["report.jsonl"]
    assert visible(tmp_path / "out") == sorted(expected)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out" / "brain" / "brain.nii.gz").get_fdata(), values)
    for index in range(3):
        made = tmp_path / "out" / "a" / "first" / f"{index + 1:04d}.dcm"
        np.testing.assert_array_equal(stored(made), stored(tmp_path / "in" / "a" / "first" / f"{index:03d}.dcm"))


def test_a_series_is_written_in_the_order_of_space(tmp_path):
    def shuffle(dataset, index):
        dataset.ImagePositionPatient = [0, 0, 2.0 * (index * 2 % 5)]  # 0, 4, 8, 2, 6

    put_series(tmp_path / "in", 5, change=shuffle)
    assert infer(tmp_path / "in", tmp_path / "out", "--no-evidence") == 0
    made = [pydicom.dcmread(path) for path in sorted((tmp_path / "out" / "in").glob("*.dcm"))]
    assert [float(dataset.ImagePositionPatient[2]) for dataset in made] == [0, 2, 4, 6, 8]
    np.testing.assert_array_equal(made[1].pixel_array, stored(tmp_path / "in" / "003.dcm"))


# a change of less and of more than half a stored unit


@pytest.mark.parametrize(("units", "steps"), [(0.3, 0), (0.6, 1), (-0.6, -1), (10.4, 10)])
def test_a_change_is_rounded_to_stored_units(units, steps, tmp_path):
    model = adding(tmp_path / "model", units)
    assert infer(fixture("CT_small.dcm"), tmp_path / "out.dcm", "--residual", model=model) == 0
    before, after = (stored(path).astype(int) for path in (fixture("CT_small.dcm"), tmp_path / "out.dcm"))
    (scan,) = find_scans(fixture("CT_small.dcm"))
    within = (scan.read(0) >= -1024) & (scan.read(0) <= 3071)
    assert within.mean() > 0.5
    np.testing.assert_array_equal(after - before, np.where(within, steps, 0))
    evidence = tmp_path / "out.dcm.evidence"
    residual = nibabel.load(evidence / "residual.nii.gz").get_fdata()[..., 0].T
    np.testing.assert_array_equal(residual, after - before)  # of what was written, not of what the network said
    bands = json.loads((evidence / "evidence.json").read_text())["bands"]
    assert bands["soft tissue"]["bias"] == steps


def test_declared_padding_is_not_changed(tmp_path):
    def pad(dataset, index):
        array = dataset.pixel_array.copy()
        array[:, :5], array[:, 5:7], array[:, 7:9] = 20, 23, 24
        for keyword, value in (("PixelPaddingValue", 23), ("PixelPaddingRangeLimit", 20)):
            dataset.pop(keyword, None)
            dataset.add_new(keyword, "SS", value)
        dataset.PixelData = array.tobytes()

    put_series(tmp_path / "in", 2, change=pad)
    assert infer(tmp_path / "in", tmp_path / "out", "--no-evidence", model=adding(tmp_path / "model", 5)) == 0
    before, after = stored(tmp_path / "in" / "001.dcm"), stored(tmp_path / "out" / "in" / "0002.dcm")
    np.testing.assert_array_equal(after[:, :7], before[:, :7])
    np.testing.assert_array_equal(after[:, 7:], before[:, 7:] + 5)


def test_neighbours_are_named_as_sources(tmp_path):
    model = adding(tmp_path / "model", 5, FREE.model_copy(update={"neighbours": 1}))
    put_series(tmp_path / "in", 3)
    assert infer(tmp_path / "in", tmp_path / "out", "--no-evidence", model=model) == 0
    made = pydicom.dcmread(tmp_path / "out" / "in" / "0002.dcm")
    assert len(made.SourceImageSequence) == 3
    np.testing.assert_array_equal(made.pixel_array, stored(tmp_path / "in" / "001.dcm") + 5)


def test_uncertainty_and_residual_are_volumes_in_the_place_of_the_scan(tmp_path):
    save_model(tmp_path / "model", config_of(width=4, depth=1), {"generator": trained()})
    put_series(tmp_path / "in", 5)
    assert infer(tmp_path / "in", tmp_path / "out", "--uncertainty", "--residual", model=tmp_path / "model") == 0
    evidence = tmp_path / "out" / "in" / "evidence"
    uncertainty, residual = (nibabel.load(evidence / f"{name}.nii.gz") for name in ("uncertainty", "residual"))
    (scan,) = find_scans(tmp_path / "in")
    assert uncertainty.shape == residual.shape == (32, 32, 5)
    np.testing.assert_allclose(uncertainty.affine, scan.header.affine, atol=1e-4)
    pipe = ScanDenoising.from_pretrained(tmp_path / "model", device="cpu")
    np.testing.assert_allclose(uncertainty.get_fdata()[..., 3].T, pipe.uncertainty_of(scan, 3), atol=1e-6)
    assert 0 < uncertainty.get_fdata().max() < 100
    assert "Research" in str(residual.header["descrip"])


# single files


def test_a_file_becomes_a_file_with_its_evidence_beside_it(tmp_path, capsys):
    values = np.random.default_rng(0).normal(0, 100, (20, 24, 3)).astype(np.float32)
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "a.nii")
    tifffile.imwrite(tmp_path / "b.tif", (values[..., 0] + 2000).astype(np.uint16), photometric="minisblack")
    for name, output, words in (("a.nii", "c.nii.gz", ()), ("b.tif", "d.tiff", ("--units", "stored"))):
        assert infer(tmp_path / name, tmp_path / "new" / output, *words) == 0
        assert json.loads(capsys.readouterr().out)["output"] == str(tmp_path / "new" / output)
        evidence = tmp_path / "new" / f"{output}.evidence"
        assert visible(evidence) == ["evidence.html", "evidence.json"]
        assert infer(tmp_path / name, tmp_path / "new" / output, *words) == 0  # and again
        capsys.readouterr()
    np.testing.assert_array_equal(nibabel.load(tmp_path / "new" / "c.nii.gz").get_fdata(), values)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "new" / "d.tiff"), tifffile.imread(tmp_path / "b.tif"))
    assert [path.name for path in (tmp_path / "new").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.png", r"out\.png must end in \.dcm for this scan, or be a folder"),
        ("out.nii.gz", r"out\.nii\.gz must end in \.dcm for this scan"),
        ("in.dcm", r"in\.dcm is the input: give another name, inputs are not overwritten"),
    ],
)
def test_an_output_of_another_kind_is_refused(output, message, tmp_path, identity):
    shutil.copy(get_testdata_file("CT_small.dcm"), tmp_path / "in.dcm")
    with pytest.raises(ScanError, match=message):
        translate_scan_file(identity, tmp_path / "in.dcm", tmp_path / output)
    assert visible(tmp_path) == ["in.dcm"]


def test_a_folder_that_is_no_evidence_is_not_replaced(tmp_path, identity):
    (tmp_path / "out.dcm.evidence").mkdir()
    (tmp_path / "out.dcm.evidence" / "thesis.txt").write_text("years of work")
    with pytest.raises(ScanError, match="is no evidence of an earlier run: remove it, or give another output"):
        translate_scan_file(identity, fixture("CT_small.dcm"), tmp_path / "out.dcm")
    assert visible(tmp_path) == ["out.dcm.evidence/thesis.txt"]


# what the model was not made for


def test_a_model_for_hounsfield_units_refuses_an_mr(tmp_path, capsys):
    model = adding(tmp_path / "model", 0)
    assert infer(fixture("MR_small.dcm"), tmp_path / "out.dcm", model=model) == 2
    captured = capsys.readouterr()
    assert "its modality is MR, the model was trained on CT, and its values are in stored" in captured.err
    assert captured.out == ""
    assert not (tmp_path / "out.dcm").exists()
    put_series(tmp_path / "in" / "ct")
    (tmp_path / "in" / "mr").mkdir()
    shutil.copy(fixture("MR_small.dcm"), tmp_path / "in" / "mr")
    assert infer(tmp_path / "in", tmp_path / "out", "--no-evidence", model=model) == 1
    report = report_of(tmp_path / "out")
    assert {name: entry["status"] for name, entry in report.items()} == {"ct": "done", "mr": "failed"}
    assert "its modality is MR" in report["mr"]["reason"]
    assert [name for name in visible(tmp_path / "out") if name.startswith("mr")] == []


def test_a_mismatch_can_be_allowed_and_is_in_the_evidence(tmp_path, capsys):
    model = adding(tmp_path / "model", 0, FREE.model_copy(update={"thickness": (1.0, 1.0)}))
    assert infer(fixture("CT_small.dcm"), tmp_path / "out.dcm", model=model) == 2
    assert "5 mm thick, the model was trained on 1 mm: use a model for it, or allow" in capsys.readouterr().err
    assert infer(fixture("CT_small.dcm"), tmp_path / "out.dcm", "--allow", "tilt, thickness", model=model) == 0
    evidence = json.loads((tmp_path / "out.dcm.evidence" / "evidence.json").read_text())
    assert "its slices are 5 mm thick, the model was trained on 1 mm" in evidence["warnings"]
    assert evidence["settings"]["allowed"] == ["thickness", "tilt"]
    assert evidence["settings"]["backend"] == "torch"


def test_a_volume_without_units_needs_them_declared(tmp_path, capsys, caplog):
    model = adding(tmp_path / "model", 7)
    values = np.zeros((20, 24, 3), np.float32)
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "a.nii")
    assert infer(tmp_path / "a.nii", tmp_path / "b.nii", model=model) == 2
    assert "if its values are in HU, say so with --units HU" in capsys.readouterr().err
    assert infer(tmp_path / "a.nii", tmp_path / "b.nii", "--units", "HU", model=model) == 0
    np.testing.assert_allclose(nibabel.load(tmp_path / "b.nii").get_fdata(), 7, atol=1e-3)


def test_another_modality_needs_an_explicit_word(tmp_path, identity):
    span = IntensityRange(0, 4095, "stored")
    contract = IntensityContract.of(span, modality="MR", output_modality="CT")
    entry = config_of(contract, width=4, depth=1).model_dump()
    entry["generators"]["generator"]["output"]["range"] = {"low": -1024, "high": 3071, "units": "HU"}
    pipe = ScanDenoising(ResidualUNet(1, 1, width=4, depth=1), type(identity.config).model_validate(entry))
    with pytest.raises(ScanError, match="makes CT of MR: its output was never measured, say that you want it with --"):
        translate_scans(pipe, fixture("MR_small.dcm"), tmp_path / "out")
    with pytest.raises(ScanError, match="--synthetic is for models that make another modality, this one does not"):
        translate_scans(identity, fixture("MR_small.dcm"), tmp_path / "out", ScanOptions(synthetic=True))
    with pytest.raises(ScanError, match="say that you want it with --synthetic"):
        translate_scan_file(pipe, fixture("MR_small.dcm"), tmp_path / "out.dcm")
    options = ScanOptions(synthetic=True, residual=True)
    done = translate_scan_file(pipe, fixture("MR_small.dcm"), tmp_path / "out.dcm", options)
    assert done["done"] == 1
    made = pydicom.dcmread(tmp_path / "out.dcm")
    assert made.Modality == "CT"
    (source,) = find_scans(fixture("MR_small.dcm"))
    (derived,) = find_scans(tmp_path / "out.dcm")
    np.testing.assert_allclose(derived.read(0), source.read(0).clip(0, 4095) - 1024, atol=0.51)
    assert visible(tmp_path / "out.dcm.evidence") == ["evidence.html", "evidence.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allow": frozenset({"modality"})}, "allow takes duplicates, gaps, kernel, .* tilt, got 'modality'"),
        ({"units": "hu"}, "--units takes HU, SUV, stored, got 'hu'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"evidence": False, "residual": True}, "the residual and the uncertainty are evidence: leave --no-evidence"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ScanError, match=message):
        ScanOptions(**options)


def test_a_series_may_be_called_evidence(tmp_path):
    put_series(tmp_path / "in" / "evidence", 2)
    assert infer(tmp_path / "in", tmp_path / "out") == 0
    assert {"evidence/0001.dcm", "evidence/0002.dcm", "evidence/evidence/evidence.html"} <= set(
        visible(tmp_path / "out")
    )


def test_a_file_without_its_modality_gets_that_of_its_kind(tmp_path):
    def forget(dataset, index):
        del dataset.Modality

    put_series(tmp_path / "in", 2, change=forget)
    assert infer(tmp_path / "in", tmp_path / "out", "--no-evidence") == 0
    (derived,) = find_scans(tmp_path / "out")
    assert pydicom.dcmread(derived.files[1]).Modality == "CT"
    np.testing.assert_array_equal(derived.read(1), find_scans(tmp_path / "in")[0].read(1))


def test_options_of_pictures_and_of_scans_are_not_mixed(tmp_path, capsys):
    put_series(tmp_path / "in")
    assert infer(tmp_path / "in", tmp_path / "out", "--format", "png", "--self-ensemble") == 2
    assert "--self-ensemble, --format cannot be used with" in capsys.readouterr().err
    (tmp_path / "pictures").mkdir()
    tifffile.imwrite(tmp_path / "pictures" / "a.tif", np.zeros((20, 20), np.uint16))
    assert infer(tmp_path / "pictures", tmp_path / "out", "--residual", "--allow", "gaps") == 2
    assert "--allow, --residual cannot be used with" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert infer(tmp_path / "pictures", tmp_path / "out") == 0  # a TIFF without units is a picture
    assert visible(tmp_path / "out") == ["a.tif", "report.jsonl"]
    model = adding(tmp_path / "model", 0)
    assert infer(tmp_path / "pictures", tmp_path / "new", model=model) == 2
    assert "holds no scans, 1 other files were passed over" in capsys.readouterr().err


def test_a_model_for_pictures_does_not_take_scans(tmp_path, capsys, small_model):
    assert infer(fixture("CT_small.dcm"), tmp_path / "out.dcm", model=small_model) == 2
    assert "has no intensity contract: it was not trained on scans" in capsys.readouterr().err


def test_places_of_outputs_are_refused_where_inputs_are(tmp_path, identity):
    put_series(tmp_path / "in")
    with pytest.raises(ScanError, match="is, or lies in, the input folder: give another one"):
        translate_scans(identity, tmp_path / "in", tmp_path / "in")
    with pytest.raises(ScanError, match="is, or lies in, the input folder"):
        translate_scans(identity, tmp_path / "in", tmp_path / "in" / "out")
    with pytest.raises(ScanError, match=r"000\.dcm is a file: give an output folder"):
        translate_scans(identity, tmp_path / "in", tmp_path / "in" / "000.dcm")
    with pytest.raises(ScanError, match="nowhere does not exist: give a file or a folder of scans"):
        translate_scans(identity, tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScanError, match="holds no scans"):
        translate_scans(identity, tmp_path / "empty", tmp_path / "out")


def test_no_scan_lies_in_the_folder_of_another():
    assert _places(["a", "a/b", "A-2", "c"]) == {"a": "a-scan", "a/b": "a/b", "A-2": "A-2", "c": "c"}
    places = _places(["a", "A-scan", "a-scan-scan/x", "a/b/c", "a/b"])
    assert places["a"] == "a-scan-scan-scan"
    assert places["a/b"] == "a/b-scan"


# bad scans


def gapped(dataset, index):
    dataset.ImagePositionPatient = [0, 0, 2.0 * (index + (index > 4))]


def twice(dataset, index):
    dataset.ImagePositionPatient = [0, 0, 2.0 * min(index, 8)]


def tilted(dataset, index):
    dataset.ImagePositionPatient = [0, 0.6 * index, 2.0 * index]


def damaged(dataset, index):
    """RLE whose seventh image claims segments that are not there: seen when it is decoded, not before."""
    dataset.compress(RLELossless)
    if index == 6:
        data = bytearray(dataset.PixelData)
        data[8 + 8 + 4 : 8 + 8 + 4 + 8] = b"\xff\xff\xff\x00" * 2
        dataset.PixelData = bytes(data)


@pytest.mark.parametrize("change", [gapped, twice, tilted, damaged])
def test_a_bad_series_is_named_and_leaves_nothing(change, tmp_path, caplog):
    put_series(tmp_path / "in" / "good", 2)
    put_series(tmp_path / "in" / "bad", 10, change=change)
    with caplog.at_level(logging.WARNING):
        assert infer(tmp_path / "in", tmp_path / "out") == 1
    report = report_of(tmp_path / "out")
    assert report["good"]["status"] == "done"
    assert report["bad"]["status"] == "failed"
    assert "bad" in report["bad"]["reason"]
    assert any("bad" in record.getMessage() for record in caplog.records)
    assert not (tmp_path / "out" / "bad").exists()
    assert [path.name for path in (tmp_path / "out" / ".translate").iterdir()] == ["journal-0.jsonl"]


def test_gaps_can_be_allowed(tmp_path):
    put_series(tmp_path / "in", 10, change=gapped)
    assert infer(tmp_path / "in", tmp_path / "out", "--no-evidence") == 1
    assert infer(tmp_path / "in", tmp_path / "out", "--no-evidence", "--allow", "gaps") == 0


class Stops(ScanDenoising):
    """Ends in the middle of a scan."""

    how: type[BaseException] = KeyboardInterrupt

    def finish(self, output, prepared):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 3:
            raise self.how("stopped")
        return super().finish(output, prepared)


def test_an_interrupt_leaves_nothing_half_written(tmp_path):
    put_series(tmp_path / "in", 4)
    pipe = Stops.from_pretrained("identity", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        translate_scans(pipe, tmp_path / "in", tmp_path / "out")
    assert visible(tmp_path / "out") == []
    assert list((tmp_path / "out" / ".translate").iterdir()) == []
    pipe.calls = 2
    with pytest.raises(KeyboardInterrupt):
        translate_scan_file(pipe, fixture("CT_small.dcm"), tmp_path / "new" / "out.dcm")
    assert list((tmp_path / "new").iterdir()) == []


def test_an_error_of_the_network_is_reported_with_its_kind(tmp_path):
    put_series(tmp_path / "in", 4)
    pipe = Stops.from_pretrained("identity", device="cpu")
    pipe.how = MemoryError
    assert translate_scans(pipe, tmp_path / "in", tmp_path / "out", show_progress=False)["failed"] == 1
    assert report_of(tmp_path / "out")["in"]["reason"] == "MemoryError: stopped"


def test_what_a_killed_run_left_is_removed_at_the_next_start(tmp_path):
    put_series(tmp_path / "in", 60)
    words = [sys.executable, "-m", "translate", "infer", "identity", str(tmp_path / "in"), str(tmp_path / "out")]
    hidden = tmp_path / "out" / ".translate"
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None and not list(hidden.glob("aside-*/.*/0005.dcm")):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert visible(tmp_path / "out") == []
    assert len(list(hidden.glob("aside-*"))) == 1
    assert infer(tmp_path / "in", tmp_path / "out", "--no-evidence") == 0
    assert [path.name for path in hidden.iterdir()] == ["journal-0.jsonl"]
    assert len(visible(tmp_path / "out" / "in")) == 60


# nothing is done twice


def test_only_what_changed_is_done_again(tmp_path, identity):
    put_series(tmp_path / "in" / "a")
    put_series(tmp_path / "in" / "b", 2)
    run = {"source": tmp_path / "in", "output": tmp_path / "out", "show_progress": False}
    plain = ScanOptions(evidence=False)
    assert translate_scans(identity, **run, options=plain)["done"] == 2
    before = checksum(tmp_path / "out" / "a")
    summary = translate_scans(identity, **run, options=plain)
    assert (summary["scans"], summary["done"], summary["skipped"]) == (2, 0, 2)
    assert (
        translate_scans(identity, **run, options=ScanOptions(allow=frozenset({"gaps"}), evidence=False))["skipped"] == 2
    )
    (tmp_path / "out" / "b" / "0001.dcm").unlink()
    assert translate_scans(identity, **run, options=plain)["done"] == 1
    put_series(tmp_path / "in" / "b", 4)
    assert translate_scans(identity, **run, options=plain)["done"] == 1
    assert len(list((tmp_path / "out" / "b").glob("*.dcm"))) == 4
    assert checksum(tmp_path / "out" / "a") == before
    dataset = pydicom.dcmread(tmp_path / "in" / "b" / "002.dcm")
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(tmp_path / "in" / "b" / "002.dcm")
    assert translate_scans(identity, **run, options=plain)["done"] == 1
    assert translate_scans(identity, **run, options=ScanOptions(residual=True))["done"] == 2
    assert translate_scans(identity, **run, options=plain)["done"] == 2
    model = ScanDenoising.from_pretrained(adding(tmp_path / "model", 1), device="cpu")
    assert translate_scans(model, **run, options=plain)["done"] == 2
    assert translate_scans(model, **run, options=plain)["skipped"] == 2


def test_files_of_the_user_are_not_removed_with_an_old_output(tmp_path, identity):
    put_series(tmp_path / "in" / "a")
    run = {"source": tmp_path / "in", "output": tmp_path / "out", "options": ScanOptions(evidence=False)}
    assert translate_scans(identity, **run)["done"] == 1
    (tmp_path / "out" / "a" / "segmentation.nii").write_text("an afternoon of work")
    assert translate_scans(identity, **run)["failed"] == 1
    assert "holds something else than this output: remove it, or give" in report_of(tmp_path / "out")["a"]["reason"]
    assert (tmp_path / "out" / "a" / "segmentation.nii").read_text() == "an afternoon of work"
    assert (tmp_path / "out" / "a" / "0001.dcm").is_file()


def test_two_processes_share_the_scans(tmp_path):
    for index in range(5):
        put_series(tmp_path / "in" / f"{index}", 2)
    (tmp_path / "in" / "bad.nii").write_text("text")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--main_process_port", "0", "-m", "translate", "infer", "identity"]
    words = [*launch, str(tmp_path / "in"), str(tmp_path / "out"), "--no-evidence", "--json"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["scans"], summary["done"], summary["failed"]) == (6, 5, 1)
    assert list(report_of(tmp_path / "out")) == ["0", "1", "2", "3", "4", "bad"]
    assert len(visible(tmp_path / "out")) == 11
    assert infer(tmp_path / "in", tmp_path / "out", "--no-evidence") == 1
    assert {entry["status"] for entry in report_of(tmp_path / "out").values()} == {"skipped", "failed"}


# nobody is named


def test_no_file_of_ours_and_no_message_names_the_patient(tmp_path, capsys, caplog):
    put_series(tmp_path / "in" / "good", 4)
    put_series(tmp_path / "in" / "bad", 4, change=tilted)
    put_series(tmp_path / "in" / "worse", 8, change=damaged)
    model = adding(tmp_path / "model", 3)
    with caplog.at_level(logging.DEBUG):
        assert infer(tmp_path / "in", tmp_path / "out", "--residual", "--uncertainty", model=model) == 1
    captured = capsys.readouterr()
    texts = {"out": captured.out, "err": captured.err, "log": caplog.text}
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and path.suffix != ".dcm":
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            texts[str(path)] = data.decode("latin-1")
        texts[f"name of {path}"] = path.relative_to(tmp_path).as_posix()
    assert len([name for name in texts if "evidence.json" in name]) == 2
    for name, text in texts.items():
        for secret in ("ZZTOP", "UNIQUE", "PID987654", "19010203", "20210317", "2021-03-17", "ACC445566", "Elsewhere"):
            assert secret not in text, (name, secret)
    derived = pydicom.dcmread(tmp_path / "out" / "good" / "0001.dcm")
    assert derived.PatientName == OLD  # which the series needs, to be found beside its source
