"""A model for scans against its targets: figures of scikit-image, nothing tuned on what is measured, refusals."""

import csv
import json
import math
from functools import cache
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from test_contract import scan_model
from test_scan_pipeline import CONTRACT, Adds, Mean, adds, pipe_of
from torch.nn import functional as F

from translate.cli import main
from translate.cli.evaluate_scans import in_words
from translate.contract import IntensityContract
from translate.data.augment import sample_seed
from translate.data.ct_noise import CtDose, simulate_low_dose
from translate.data.images import from_array, write_picture
from translate.data.intensity import IntensityRange
from translate.data.noise import rician
from translate.data.scans import Derivation, ScanError
from translate.networks import ResidualUNet
from translate.noise_statistics import SOFT_TISSUE
from translate.phantoms import measure_discs
from translate.pipelines import ScanDenoising, classical
from translate.pipelines.classical import NonLocalMeans, TotalVariation, settings_to_json, tune
from translate.pipelines.preprocessing.scan_noise import LowDose, Rician
from translate.pipelines.scan_evaluation import EvaluationOptions, evaluate_scans
from translate.pipelines.scan_evaluation_cases import Comparison, Matching, NoisyScan, find_cases, spread
from translate.pipelines.scan_evaluation_figures import tissue_of
from translate.scan_evidence import Evidence
from translate.scan_metrics import body_mask, find_preset, measure

NAME, ID = "Quixotic^Zebulon", "ZQ-4711-MRN"
SIDE = 64
PIXEL = 0.478516  # mm, of the head


@cache
def anatomy(name):
    """A real CT slice, int16 HU (512, 512): a head, or an abdomen."""
    file = {"head": "693_UNCR.dcm", "abdomen": "explicit_VR-UN.dcm"}[name]
    dataset = pydicom.dcmread(Path(data_store.__file__).parent / "data" / file)
    return (dataset.pixel_array + int(dataset.RescaleIntercept)).clip(-1024, 3071).astype(np.int16)


def crops(name, count=3, side=SIDE, at=(210, 180)):
    """(count, side, side) HU: parts of a slice that are two pixels apart, as neighbours of a series."""
    top, left = at
    every = [anatomy(name)[top + 2 * n : top + 2 * n + side, left : left + side] for n in range(count)]
    return np.stack(every).astype(np.float32)


def noisy(values, sigma=20.0, seed=0):
    return np.rint(values + np.random.default_rng(seed).normal(0, sigma, values.shape)).astype(np.float32)


def write(folder, values, *, patient=ID, heights=None, modality="CT", kernel="STANDARD", name=NAME):
    """A series of whole numbers, in files whose names are not in the order of space."""
    folder.mkdir(parents=True, exist_ok=True)
    series, study = generate_uid(), generate_uid()
    for number, slice in enumerate(values):
        dataset = pydicom.dcmread(Path(data_store.__file__).parent / "data" / "693_UNCR.dcm")
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if modality == "MR":
            dataset.Modality, dataset.SOPClassUID = "MR", MRImageStorage
            dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
            del dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType
        else:
            dataset.ConvolutionKernel = kernel
            slice = slice - float(dataset.RescaleIntercept)
        dataset.Rows, dataset.Columns = slice.shape
        dataset.PixelData = np.ascontiguousarray(slice.astype(np.int16)).tobytes()
        dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = patient, name, "19430217"
        dataset.SliceThickness = 5
        dataset.ImagePositionPatient = [-50, -50, 5 * number if heights is None else heights[number]]
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.InstanceNumber = number + 1
        dataset.save_as(folder / f"{(number * 7 + 3) % 11:02d}.dcm")
    return folder


PATIENTS = {"one": crops("head", 3), "two": crops("abdomen", 2, at=(250, 150))}


@pytest.fixture
def doses(tmp_path):
    """low/ and full/ of two patients, three slices of a head and two of an abdomen; the low dose has white noise."""
    for seed, (name, values) in enumerate(PATIENTS.items()):
        write(tmp_path / "full" / name, values, patient=f"{ID}-{name}")
        write(tmp_path / "low" / name, noisy(values, seed=seed), patient=f"{ID}-{name}")
    return Comparison(tmp_path / "low", tmp_path / "full")


BY_FOLDER = Matching(patient="one|two")


def evaluate(pipeline, comparison, csv_path=None, **options):
    options = {"matching": BY_FOLDER} | options
    return evaluate_scans(pipeline, comparison, EvaluationOptions(**options), csv_path, show_progress=False)


def identity():
    return ScanDenoising.from_pretrained("identity", device="cpu")


def sides(name):
    """Source and target of a patient of `doses`."""
    return noisy(PATIENTS[name], seed=list(PATIENTS).index(name)), PATIENTS[name]


# figures


def test_figures_are_those_of_scikit_image_as_means_over_slices_then_patients(doses):
    summary = evaluate(identity(), doses, presets=("abdomen", "full"))
    assert (summary["slices"], summary["patients"], summary["unmatched"], summary["units"]) == (5, 2, 0, "HU")
    for preset, low, high in (("abdomen", -160, 240), ("full", -1024, 3072)):
        expected = {}
        for name in PATIENTS:
            pairs = [np.clip(pair, low, high) - low for pair in zip(*sides(name), strict=True)]  # SSIM: black is 0
            expected[name] = {
                "psnr": np.mean([peak_signal_noise_ratio(y, x, data_range=high - low) for x, y in pairs]),
                "ssim": np.mean([structural_similarity(x, y, data_range=high - low) for x, y in pairs]),
                "mae": np.mean([np.abs(x - y).mean() for x, y in pairs]),
            }
            got = summary["by_patient"][name]["do_nothing"]["presets"][preset]
            assert {key: got[key] for key in expected[name]} == pytest.approx(expected[name], rel=1e-5)
        for key in ("psnr", "ssim", "mae"):
            mean = (expected["one"][key] + expected["two"][key]) / 2
            assert summary["mean"]["do_nothing"]["presets"][preset][key] == pytest.approx(mean, rel=1e-5)


def test_every_preset_says_its_range_mask_and_window(doses):
    summary = evaluate(identity(), doses, presets=("red-cnn", "synthrad"))
    assert summary["presets"]["red-cnn"] == (
        "red-cnn: [-160, 240] HU, range 400, whole slice, SSIM 11x11 Gaussian sigma 1.5, zero-padded"
    )
    assert "inside the mask, SSIM 7x7 uniform" in summary["presets"]["synthrad"]
    assert all(description in in_words(summary) for description in summary["presets"].values())


def test_red_cnn_is_the_preset_where_none_is_named(doses):
    assert list(evaluate(identity(), doses)["presets"]) == ["red-cnn"]


def test_a_masked_preset_takes_the_body_of_the_target_and_leaves_out_slices_without_one(tmp_path):
    body = np.full((2, 40, 40), -1000, np.float32)
    body[0, 10:30, 10:30] = crops("head", 1, 20)[0]
    write(tmp_path / "full", body)
    write(tmp_path / "low", noisy(body))
    summary = evaluate(
        identity(), Comparison(tmp_path / "low", tmp_path / "full"), presets=("synthrad", "full"), matching=Matching()
    )
    mask = body_mask(body[0])
    assert 300 < mask.sum() <= 400
    expected = measure(noisy(body)[0], body[0], find_preset("synthrad"), mask)
    assert summary["mean"]["do_nothing"]["presets"]["synthrad"] == pytest.approx(expected)
    whole = [measure(x, y, find_preset("full"))["mae"] for x, y in zip(noisy(body), body, strict=True)]
    assert summary["mean"]["do_nothing"]["presets"]["full"]["mae"] == pytest.approx(np.mean(whole))


def test_an_untrained_model_has_the_figures_of_doing_nothing_exactly(doses, tmp_path):
    model = ScanDenoising.from_pretrained(scan_model(tmp_path / "run" / "model"), device="cpu")
    allowed = Matching(patient="one|two", allow=frozenset({"kernel", "spacing", "thickness"}))
    summary = evaluate(model, doses, presets=("red-cnn", "full", "model"), matching=allowed)
    assert summary["mean"]["model"] == summary["mean"]["do_nothing"]
    assert summary["methods"]["model"] == {"name": "run/model", "fingerprint": model.fingerprint()}
    assert summary["presets"]["model"].startswith("model: [-1024, 3071] HU, range 4095, whole slice")


def test_equal_scans_have_an_infinite_psnr(tmp_path):
    write(tmp_path / "a", PATIENTS["one"])
    write(tmp_path / "b", PATIENTS["one"])
    summary = evaluate(identity(), Comparison(tmp_path / "a", tmp_path / "b"), matching=Matching())
    figures = summary["mean"]["model"]["presets"]["red-cnn"]
    assert (figures["psnr"], figures["mae"]) == (math.inf, 0)
    assert figures["ssim"] == pytest.approx(1)


def test_the_bias_is_what_the_model_adds(doses):
    summary = evaluate(adds(10), doses)
    model, nothing = summary["mean"]["model"], summary["mean"]["do_nothing"]
    assert model["bias_source"] == pytest.approx(10, abs=1e-3)
    assert nothing["bias_source"] == 0
    assert model["bias_target"] - nothing["bias_target"] == pytest.approx(10, abs=1e-3)
    source, target = sides("two")
    expected = np.mean([(x - y)[tissue_of(y, "HU")].mean() for x, y in zip(source, target, strict=True)])
    assert summary["by_patient"]["two"]["do_nothing"]["bias_target"] == pytest.approx(expected, abs=1e-4)


def test_soft_tissue_is_told_by_the_values_around_a_pixel():
    values = np.full((40, 40), -800, np.float32)
    values[:, 20:] = 40
    values[20, 30] = 900  # noise of the pixel itself
    tissue = tissue_of(values, "HU")
    assert not tissue[:, :18].any()
    assert tissue[:, 22:].all()
    quarters = np.arange(1600, dtype=np.float32).reshape(40, 40)  # in other units: all but the darkest quarter
    assert not tissue_of(quarters, "stored")[:8].any()
    assert tissue_of(quarters, "stored")[12:].all()


def test_what_needs_no_reference_is_that_of_evidence_and_told_of_the_target_too(tmp_path):
    full = crops("head", 3, 96)
    low = noisy(full)
    write(tmp_path / "full", full)
    write(tmp_path / "low", low)
    compared = Comparison(tmp_path / "low", tmp_path / "full")
    mean = evaluate(identity(), compared, matching=Matching())["mean"]
    for name, outputs in (("do_nothing", low), ("target", full)):
        evidence = Evidence("HU", (PIXEL, PIXEL))
        for index, (source, output) in enumerate(zip(low, outputs, strict=True)):
            evidence.add(index, source, output)
        known = evidence.result()
        assert mean[name]["noise_sd"] == known["noise"]["sd_after"]
        assert mean[name]["noise_mean_frequency"] == known["noise"]["mean_frequency_after"]
        assert mean[name]["structure"] == known["structure"]
        assert mean[name]["difference_ratio"] == known["between_slices"]["difference_ratio"]
        assert mean[name]["flicker"] == known["between_slices"]["flicker"]
        assert mean[name]["low_frequency"] == known["low_frequency"]["rms"]
    assert mean["do_nothing"]["difference_ratio"] == 1
    assert mean["target"]["noise_sd"] < mean["do_nothing"]["noise_sd"]
    assert "presets" not in mean["target"]


def test_slices_that_are_no_neighbours_are_not_compared_with_each_other(tmp_path):
    heights = (0, 5, 60, 200)
    for side, values in (("low", noisy(crops("head", 4))), ("full", crops("head", 4))):
        write(tmp_path / side, values, heights=heights)
    compared = Comparison(tmp_path / "low", tmp_path / "full")
    gaps = Matching(allow=frozenset({"gaps"}))
    ratio = evaluate(identity(), compared, matching=gaps)["mean"]["target"]["difference_ratio"]
    low, full = noisy(crops("head", 4)), crops("head", 4)
    evidence = Evidence("HU", (PIXEL, PIXEL))
    for index in range(2):
        evidence.add(index, low[index], full[index])
    assert ratio == evidence.result()["between_slices"]["difference_ratio"]


def test_a_model_sees_the_neighbours_of_a_slice(tmp_path):
    source = crops("head", 3)
    write(tmp_path / "low", source)
    write(tmp_path / "full", source)
    pipeline = pipe_of(Mean(channels=3), CONTRACT.model_copy(update={"neighbours": 1}))
    summary = evaluate(
        pipeline, Comparison(tmp_path / "low", tmp_path / "full"), matching=Matching(), presets=("full",)
    )
    around = [source[[0, 0, 1]], source, source[[1, 2, 2]]]
    expected = np.mean([np.abs(three.mean(axis=0) - one).mean() for three, one in zip(around, source, strict=True)])
    assert expected > 0.5
    assert summary["mean"]["model"]["presets"]["full"]["mae"] == pytest.approx(expected, rel=1e-3)
    assert summary["mean"]["do_nothing"]["presets"]["full"]["mae"] == 0


# whose scans


def test_each_slice_is_a_row_of_the_csv_and_nobody_is_named(doses, tmp_path, capsys, caplog):
    command = ["identity", doses.source, "--target", doses.target, "--csv", tmp_path / "out" / "each.csv", "--json"]
    assert main(["evaluate", "scans", *map(str, command)]) == 0
    out = capsys.readouterr().out
    summary = json.loads(out)
    text = (tmp_path / "out" / "each.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 5 * 2
    assert {row["patient"] for row in rows} == set(summary["by_patient"]) == {"p001", "p002"}
    assert sorted((row["slice"], row["series"]) for row in rows if row["method"] == "model") == [
        ("1", "s01"), ("1", "s01"), ("2", "s01"), ("2", "s01"), ("3", "s01"),
    ]  # fmt: skip
    of_patient = [float(row["red-cnn psnr"]) for row in rows if (row["patient"], row["method"]) == ("p001", "model")]
    psnr = summary["by_patient"]["p001"]["model"]["presets"]["red-cnn"]["psnr"]
    assert np.mean(of_patient) == pytest.approx(psnr)
    folder = str(tmp_path)
    for told in (out.replace(folder, ""), text, caplog.text.replace(folder, "")):
        assert not [word for word in ("Quixotic", "Zebulon", ID, ID.lower(), "1943") if word in told]


def test_patients_are_called_what_the_user_finds_them_by(doses):
    assert list(evaluate(identity(), doses)["by_patient"]) == ["one", "two"]


def test_the_command_prints_tables_and_where_the_csv_is(doses, tmp_path, capsys):
    command = [
        "identity",
        doses.source,
        "--target",
        doses.target,
        "--csv",
        tmp_path / "each.csv",
        "--patient",
        "one|two",
    ]
    assert main(["evaluate", "scans", *map(str, command), "--preset", "red-cnn, full"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "5 slices of 2 patients, in HU, means over the slices of each patient\n\nred-cnn: [-160, 240] HU"
    )
    assert "\nfull: [-1024, 3072] HU, range 4096, whole slice, SSIM 7x7 uniform" in out
    summary = evaluate(identity(), doses)
    one = summary["by_patient"]["one"]["model"]["presets"]["red-cnn"]["psnr"]
    assert f"\none           {one:>12.2f}{one:>12.2f}\n" in out
    assert "bias in soft tissue (HU)" in out
    assert out.endswith(f"each slice: {tmp_path / 'each.csv'}\n")
    assert max(map(len, out.splitlines())) <= 132


# noise


def test_simulated_noise_is_that_of_the_simulator_and_of_preprocessing(doses):
    compared = Comparison(doses.target, noise=LowDose(CtDose(0.25)))
    summary = evaluate(identity(), compared, matching=Matching(), presets=("full",))
    numbers = {case.person: case for case in find_cases(doses, Matching())[0]}
    for name in PATIENTS:
        case = numbers[f"id {ID}-{name}".lower()]
        figures = []
        for number, values in enumerate(PATIENTS[name]):
            seed = sample_seed(0, *f"{case.patient}_s01_{number:04d}".encode())
            low = np.rint(simulate_low_dose(values, PIXEL, CtDose(0.25), seed))
            figures.append(measure(low, values, find_preset("full"))["psnr"])
        got = summary["by_patient"][case.patient]["do_nothing"]["presets"]["full"]["psnr"]
        assert got == pytest.approx(np.mean(figures), rel=1e-6)
    assert summary["noise"]["fraction"] == 0.25


def test_simulated_noise_depends_on_the_seed_and_on_nothing_else(doses):
    def values(seed):
        cases, _ = find_cases(Comparison(doses.target, noise=LowDose(CtDose(0.1))), Matching(seed=seed))
        by_person = sorted(cases, key=lambda case: case.person)
        return [case.source.read(index) for case in by_person for index in case.targets]

    first, again, other = values(0), values(0), values(1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_mr_is_measured_in_the_range_of_its_model(tmp_path):
    values = np.clip(crops("head", 2) + 100, 0, 400)
    values[1] = np.rint(values[1] / 2)  # the noise is a share of the largest value of both
    write(tmp_path / "mr", values, modality="MR")
    contract = IntensityContract.of(IntensityRange(0, 500, "stored"), modality="MR")
    pipeline = pipe_of(Adds(0.0), contract)
    comparison = Comparison(tmp_path / "mr", noise=Rician(5))
    summary = evaluate(pipeline, comparison, matching=Matching())
    assert summary["presets"] == {
        "model": "model: [0, 500] stored, range 500, whole slice, SSIM 7x7 uniform, where it fits"
    }
    sources = [
        np.rint(rician(value, 0.05 * values.max(), sample_seed(0, *f"p001_s01_{number:04d}".encode())))
        for number, value in enumerate(values)
    ]
    expected = np.mean([np.abs(np.minimum(x, 500) - y).mean() for x, y in zip(sources, values, strict=True)])
    assert summary["mean"]["model"]["presets"]["model"]["mae"] == pytest.approx(expected, rel=1e-5)
    assert summary["tissue"] == "all but the darkest quarter"
    with pytest.raises(ScanError, match="the preset 'red-cnn' is for HU, the scans are in stored: use 'model'"):
        evaluate(pipeline, comparison, matching=Matching(), presets=("red-cnn",))
    with pytest.raises(ScanError, match="inserts have contrasts in HU, the scans are in stored"):
        evaluate(pipeline, comparison, matching=Matching(), inserts=1)


def test_a_noisy_copy_is_not_written(doses, tmp_path):
    cases, _ = find_cases(Comparison(doses.target, noise=LowDose(CtDose(0.5))), Matching())
    assert isinstance(cases[0].source, NoisyScan)
    assert cases[0].source.suffix == ""
    with pytest.raises(ScanError, match="a noisy copy of a scan is measured, not written"):
        cases[0].source.writer(tmp_path / "out", Derivation("denoised", ""))


# another modality


def test_a_model_that_makes_another_modality_is_measured_against_it_alone(tmp_path):
    mr, ct = np.clip(crops("head", 2) + 100, 0, 400), crops("head", 2)
    write(tmp_path / "mr", mr, modality="MR")
    write(tmp_path / "ct", ct)
    contract = IntensityContract.of(IntensityRange(0, 500, "stored"), modality="MR", output_modality="CT")
    pipeline = pipe_of(Adds(0.0), contract)
    side = {"channels": 1, "range": {"low": -1000, "high": 1000, "units": "HU"}}
    pipeline.output = type(pipeline.output).model_validate(side)
    compared = Comparison(tmp_path / "mr", tmp_path / "ct")
    summary = evaluate(pipeline, compared, matching=Matching(), presets=("synthrad",))
    made = mr / 250 * 1000 - 1000
    expected = [measure(x, y, find_preset("synthrad"), body_mask(y)) for x, y in zip(made, ct, strict=True)]
    assert list(summary["mean"]) == ["model"]
    assert set(summary["mean"]["model"]) == {"presets", "bias_target"}
    mae = summary["mean"]["model"]["presets"]["synthrad"]["mae"]
    assert mae == pytest.approx(np.mean([one["mae"] for one in expected]), rel=1e-5)
    assert "\ntarget" not in in_words(summary)
    with pytest.raises(ScanError, match="baselines and inserts are for models that denoise, this one makes another"):
        evaluate(pipeline, compared, matching=Matching(), baselines=True)
    pipeline.output = pipeline.input
    with pytest.raises(ScanError, match="the outputs are in stored, the targets in HU: give targets of the same units"):
        evaluate(pipeline, compared, matching=Matching())


# baselines


@pytest.fixture
def few_settings(monkeypatch):
    grids = {"nlm": {"h": (0.3, 0.6), "sigma": (0.8,), "patch": (3, 5), "distance": (5,)}, "tv": {"weight": (0.5, 1.5)}}
    monkeypatch.setattr(classical, "GRIDS", grids)


@pytest.fixture
def others(tmp_path):
    """The same for two other patients, to tune on."""
    for seed, name in enumerate(("three", "four")):
        values = crops("head", 2, at=(180 + 60 * seed, 240))
        write(tmp_path / "tune" / "full" / name, values, patient=f"{ID}-{name}")
        write(tmp_path / "tune" / "low" / name, noisy(values, seed=9 + seed), patient=f"{ID}-{name}")
    return Comparison(tmp_path / "tune" / "low", tmp_path / "tune" / "full")


EVERYBODY = Matching(patient="one|two|three|four")


def test_baselines_are_tuned_on_other_patients_and_measured_like_the_model(doses, others, few_settings):
    summary = evaluate(
        identity(), doses, matching=EVERYBODY, baselines=True, tune=others, presets=("synthrad", "red-cnn")
    )
    pairs = []
    for seed in (1, 0):  # by name: four, three
        values = crops("head", 2, at=(180 + 60 * seed, 240))
        pairs += list(zip(noisy(values, seed=9 + seed), values, strict=True))
    for name in ("nlm", "tv"):
        settings = tune(name, [x for x, _ in pairs], [y for _, y in pairs], find_preset("red-cnn"))
        facts = summary["methods"][name]
        assert facts["settings"] == settings_to_json(settings)
        assert facts["tuning"] == "tuned on 4 slices of 2 patients, by the PSNR of red-cnn"
        expected = [measure(settings(x), y, find_preset("red-cnn"))["psnr"] for x, y in zip(*sides("two"), strict=True)]
        got = summary["by_patient"]["two"][name]["presets"]["red-cnn"]["psnr"]
        assert got == pytest.approx(np.mean(expected), rel=1e-5)
    told = in_words(summary)
    assert "\nTV: weight 1.5 times the noise; tuned on 4 slices of 2 patients" in told
    assert "\nNLM: h 0.6 times the noise, sigma 0.8 times the noise, patch " in told


def test_without_anything_to_tune_on_baselines_are_blind_and_say_so(doses):
    summary = evaluate(identity(), doses, baselines=True)
    assert summary["methods"]["nlm"]["settings"] == settings_to_json(NonLocalMeans(inside=SOFT_TISSUE))
    assert summary["methods"]["tv"]["settings"] == settings_to_json(TotalVariation(inside=SOFT_TISSUE))
    assert "not tuned: settings for noise alone" in in_words(summary)


def test_simulated_noise_is_tuned_on_simulated_noise(doses, others, few_settings):
    noise = LowDose(CtDose(0.25))
    summary = evaluate(
        identity(), Comparison(doses.target, noise=noise), matching=EVERYBODY, baselines=True,
        tune=Comparison(others.target, noise=noise),
    )  # fmt: skip
    assert summary["methods"]["tv"]["tuning"].startswith("tuned on 4 slices of 2 patients")


def test_tuning_on_what_is_measured_is_refused(doses, tmp_path):
    message = (
        "5 files are both|10 files are both in what the baselines are tuned on and in what is measured: tune on scans"
    )
    with pytest.raises(ScanError, match=message):
        evaluate(identity(), doses, baselines=True, tune=doses)
    copies = {}
    for side in ("low", "full"):  # the same patient, other files
        copies[side] = write(tmp_path / "again" / side, PATIENTS["one"] + 1, patient=f"{ID}-one")
    again = Comparison(copies["low"], copies["full"])
    with pytest.raises(ScanError, match="1 of 2 patients that are measured are also in what the baselines are tuned"):
        evaluate(identity(), doses, matching=Matching(), baselines=True, tune=again)


def test_slices_are_spread_over_patients(doses):
    cases, _ = find_cases(doses, BY_FOLDER)
    chosen = {count: [(case.patient, index) for case, index in spread(cases, count)] for count in (1, 2, 4, 9)}
    assert chosen[1] == [("one", 1)]
    assert chosen[2] == [("one", 1), ("two", 1)]
    assert chosen[4] == [("one", 0), ("two", 0), ("one", 2), ("two", 1)]
    assert len(chosen[9]) == 5


# inserts


class Blur(Adds):
    """A mean of 5 x 5 pixels, as a residual."""

    def forward(self, image):
        return F.avg_pool2d(F.pad(image, (2, 2, 2, 2), mode="replicate"), 5, stride=1)


def test_inserted_discs_and_edges_stay_without_denoising_and_fade_in_a_blur(tmp_path):
    plain = np.full((2, 128, 128), 40, np.float32) + ndimage.gaussian_filter(crops("abdomen", 2, 128) / 20, (0, 3, 3))
    write(tmp_path / "full", np.rint(plain))
    write(tmp_path / "low", noisy(plain, 10))
    compared = Comparison(tmp_path / "low", tmp_path / "full")
    summary = evaluate(pipe_of(Blur()), compared, matching=Matching(), inserts=2)
    inserts = summary["inserts"]
    assert (inserts["slices"], inserts["radius"]) == (2, 3)
    nothing, blurred = (inserts["lesions"]["20"][name] for name in ("do_nothing", "model"))
    assert (nothing["recovered"], nothing["kept"], nothing["invented"]) == (pytest.approx(1), 1, 0)
    assert nothing["cnr_after"] == pytest.approx(nothing["cnr_before"])
    known = measure_discs(lambda values: values, list(noisy(plain, 10)), contrast=20, radius=3 / PIXEL)
    assert nothing == pytest.approx(known.to_json(), rel=1e-4)
    assert 0.5 < blurred["recovered"] < 0.98
    assert blurred["cnr_after"] > 2 * nothing["cnr_after"]
    for contrast in ("50", "200", "1000"):
        assert inserts["edges"][contrast]["model"]["mtf50"] < 0.6 * inserts["edges"][contrast]["do_nothing"]["mtf50"]
    told = in_words(summary)
    assert "discs of 20 HU and a radius of 3 mm in 2 slices" in told
    assert "MTF50 of edges of this contrast, per mm" in told


def test_inserts_need_room(tmp_path):
    write(tmp_path / "air", noisy(np.full((1, 64, 64), -900.0)))
    compared = Comparison(tmp_path / "air", noise=LowDose(CtDose(0.5)))
    with pytest.raises(ScanError, match="none of the slices has soft tissue for a disc of 10 pixels"):
        evaluate(adds(0), compared, matching=Matching(), inserts=1)


def test_inserts_need_millimetres_and_so_do_frequencies(tmp_path):
    for side, values in (("low", noisy(crops("head", 1))), ("full", crops("head", 1))):
        (tmp_path / side).mkdir()
        write_picture(from_array(values[0]), tmp_path / side / "p1.tif")
    compared, matching = Comparison(tmp_path / "low", tmp_path / "full"), Matching(units="HU", patient="p1")
    mean = evaluate(identity(), compared, matching=matching)["mean"]
    assert mean["model"]["noise_sd"] > 10
    assert mean["model"]["noise_mean_frequency"] is None
    with pytest.raises(ScanError, match="inserts have a size in millimetres, but the size of pixels is unknown"):
        evaluate(identity(), compared, matching=matching, inserts=1)


# refusals


def test_slices_without_a_partner_are_refused_or_left_out(doses):
    next(path for path in (doses.source / "two").iterdir()).unlink()
    with pytest.raises(ScanError, match=r"1 slices have no partner, of 4 in .*--allow unmatched leaves them out"):
        evaluate(identity(), doses)
    summary = evaluate(identity(), doses, matching=Matching(patient="one|two", allow=frozenset({"unmatched"})))
    assert (summary["slices"], summary["unmatched"]) == (4, 1)
    assert "1 slices without a partner were left out" in in_words(summary)


def test_nothing_in_common_is_refused_even_where_it_is_allowed(tmp_path):
    write(tmp_path / "low", PATIENTS["one"])
    write(tmp_path / "full", PATIENTS["one"], heights=(100, 105, 110))
    allow = Matching(allow=frozenset({"unmatched"}))
    with pytest.raises(ScanError, match=r"6 slices have no partner, of 3 in .* and 3 in"):
        evaluate(identity(), Comparison(tmp_path / "low", tmp_path / "full"), matching=allow)


def test_scans_that_the_model_does_not_know_are_refused_before_anything_runs(doses, tmp_path):
    model = ScanDenoising.from_pretrained(scan_model(tmp_path / "model"), device="cpu")
    with pytest.raises(ScanError, match="its reconstruction kernel is STANDARD, the model was trained on B30f, D45f"):
        evaluate(model, doses)


def test_wrong_options_are_refused(doses, tmp_path):
    with pytest.raises(ScanError, match="made of targets by noise, got neither"):
        Comparison(tmp_path)
    with pytest.raises(ScanError, match="made of targets by noise, got both"):
        Comparison(tmp_path, tmp_path, LowDose(CtDose(0.25)))
    with pytest.raises(ScanError, match=r"allow takes duplicates, gaps, .*, unmatched, got 'everything'"):
        Matching(allow=frozenset({"everything"}))
    with pytest.raises(ScanError, match="there is something to tune on, but nothing to tune"):
        EvaluationOptions(tune=doses)
    with pytest.raises(ScanError, match="inserts counts slices, 0 or more, got -1"):
        EvaluationOptions(inserts=-1)
    with pytest.raises(ScanError, match="is a folder: name a file for the figures of each slice"):
        evaluate(identity(), doses, tmp_path)
    with pytest.raises(ValueError, match="there is no preset 'mayo': use one of red-cnn"):
        evaluate(identity(), doses, presets=("mayo",))
    with pytest.raises(ScanError, match="the range that a model was trained on, the identity has none: give another"):
        evaluate(identity(), doses, presets=("model",))


def test_a_model_of_other_scans_is_told_before_its_range(tmp_path):
    comparison = Comparison(write(tmp_path / "mr", crops("head") + 1024, modality="MR"), noise=Rician(5))
    with pytest.raises(ScanError, match="the identity has none: give a model that was trained on scans in stored"):
        evaluate(identity(), comparison, matching=Matching())
    with pytest.raises(ScanError, match="its modality is MR, the model was trained on CT"):
        evaluate(pipe_of(Adds(0)), comparison, matching=Matching())


def test_figures_never_replace_a_scan(doses):
    scan = next(path for path in sorted(doses.source.rglob("*")) if path.is_file())
    content = scan.read_bytes()
    with pytest.raises(ScanError, match="is a file of the input, which is not overwritten: give another one"):
        evaluate(identity(), doses, scan)
    assert scan.read_bytes() == content


def test_small_slices_are_refused(tmp_path):
    write(tmp_path / "full", crops("head", 1, 15))
    with pytest.raises(ScanError, match=r"slices of at least 16 x 16 pixels are measured, got \(15, 15\)"):
        evaluate(identity(), Comparison(tmp_path / "full", noise=LowDose(CtDose(0.5))), matching=Matching())


def test_a_target_that_is_not_finite_is_refused_by_slice(doses, monkeypatch):
    from translate.pipelines.preprocessing.scan_sources import Slice

    monkeypatch.setattr(Slice, "read", lambda self: np.full(self.size, np.nan, np.float32))
    with pytest.raises(ScanError, match="one: slice 1 of 3: 4096 values of its target are NaN or infinite"):
        evaluate(identity(), doses)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--target", "X", "--kernel-filter", "D45f"], "--kernel-filter is a setting of --dose: give it too"),
        (["--target", "X", "--tune-source", "X"], "--tune-source and --tune-target are for --baselines: give it too"),
        (["--target", "X", "--baselines", "--tune-source", "X"], "belong together: give both, or neither"),
        (["--dose", "0.5", "--baselines", "--tune-target", "X"], "--tune-target goes with --target: with simulated"),
        (["--dose", "1.5"], "a dose is a fraction of the scan's, above 0 and at most 1, got 1.5"),
        (["--rician", "0"], "--rician must be above 0"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_the_command(given, message, tmp_path, capsys):
    assert main(["evaluate", "scans", "identity", str(tmp_path), *given]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_the_command_takes_a_kernel_for_simulated_noise(doses, tmp_path, capsys):
    command = [
        "identity",
        doses.target / "one",
        "--dose",
        "0.25",
        "--kernel-filter",
        "D45f",
        "--csv",
        tmp_path / "c.csv",
    ]
    assert main(["evaluate", "scans", *map(str, command), "--seed", "3", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["noise"]["fraction"], summary["noise"]["filter"]) == (0.25, "D45f")
    low = simulate_low_dose(PATIENTS["one"][0], PIXEL, CtDose(0.25, filter="D45f"), sample_seed(3, *b"p001_s01_0000"))
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    expected = measure(np.rint(low), PATIENTS["one"][0], find_preset("red-cnn"))["psnr"]
    assert float(rows[0]["red-cnn psnr"]) == pytest.approx(expected, rel=1e-6)


def test_a_residual_network_that_is_trained_differs_from_doing_nothing(doses):
    """The row of the model is not the row of the source by mistake."""
    network = ResidualUNet(in_channels=1, out_channels=1, width=4, depth=1)
    network.head.bias.data += 0.001
    mean = evaluate(pipe_of(network), doses)["mean"]
    assert mean["model"]["presets"] != mean["do_nothing"]["presets"]
