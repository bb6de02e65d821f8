"""The CT denoiser that ships, on a slice that it was not trained on."""

from pathlib import Path

import data_store
import numpy as np
import pytest
import tifffile
import torch
from pydicom.data import get_testdata_file
from safetensors import safe_open

from translate.cli import main
from translate.data.ct_noise import CtDose, simulate_low_dose
from translate.data.scan_folder import find_scans
from translate.data.scans import ScanError
from translate.model_folder import read_config
from translate.model_sources import find_model
from translate.pipelines import ScanDenoising
from translate.pipelines.classical import NonLocalMeans
from translate.scan_evidence import Evidence
from translate.scan_metrics import PRESETS, measure

LARGEST = 8_000_000  # bytes of a model's weights
PART = (slice(110, 390), slice(110, 438))  # of the abdomen
RED_CNN = PRESETS["red-cnn"]


@pytest.fixture(scope="module")
def abdomen():
    """A part of a real abdominal CT and of its simulated quarter dose with a sharp kernel, HU; and its pixel size."""
    (scan,) = find_scans(Path(data_store.__file__).parent / "data" / "explicit_VR-UN.dcm")
    full, side = scan.read(0), scan.header.spacing[1]
    noisy = np.rint(simulate_low_dose(full, side, CtDose(0.25, filter="D45f"), seed=1)).astype(np.float32)
    return full[PART], noisy[PART], side


@pytest.fixture(scope="module")
def pipe():
    return ScanDenoising.from_pretrained("ct-denoising", device="cpu")


@pytest.fixture(scope="module")
def denoised(pipe, abdomen):
    return pipe(abdomen[1], units="HU")


def test_it_takes_noise_away_and_leaves_the_anatomy(abdomen, denoised):
    full, noisy, side = abdomen
    before, after = (measure(values, full, RED_CNN) for values in (noisy, denoised))
    assert after["psnr"] > before["psnr"] + 8
    assert after["ssim"] > before["ssim"] + 0.2
    evidence = Evidence("HU", (side, side))
    evidence.add(0, noisy, denoised)
    found = evidence.result()
    assert abs(found["bands"]["soft tissue"]["bias"]) < 2
    assert found["structure"] < 0.1


def test_it_is_better_than_non_local_means(abdomen, denoised):
    full, noisy, _ = abdomen
    theirs = NonLocalMeans()(noisy)
    assert measure(denoised, full, RED_CNN)["psnr"] > measure(theirs, full, RED_CNN)["psnr"] + 1


def test_a_tile_with_its_halo_is_the_whole_slice(pipe, abdomen, denoised):
    noisy, halo = abdomen[1], 96
    tile = pipe(noisy[: 128 + halo, : 128 + halo], units="HU")
    assert np.abs(tile[:128, :128] - denoised[:128, :128]).max() < 0.05


def test_half_precision_stays_within_half_a_hounsfield_unit(abdomen, denoised):
    low = ScanDenoising.from_pretrained("ct-denoising", device="cpu", dtype=torch.float16)(abdomen[1], units="HU")
    assert np.sqrt(np.square(low - denoised).mean()) < 0.5


def test_a_precision_that_moves_values_by_more_is_refused(abdomen, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "noisy.tif", abdomen[1][:128, :128])
    words = ["infer", "ct-denoising", str(tmp_path / "noisy.tif"), str(tmp_path / "out.tif"), "--units", "HU"]
    assert main([*words, "--precision", "bf16"]) == 2
    assert "in bfloat16 the result is" in capsys.readouterr().err
    assert not (tmp_path / "out.tif").exists()
    assert main(words) == 0


def test_it_refuses_an_mr(pipe, capsys, tmp_path):
    file = get_testdata_file("MR_small.dcm")
    (scan,) = find_scans(Path(file))
    with pytest.raises(ScanError, match="its modality is MR, the model was trained on CT"):
        pipe.check(scan)
    assert main(["infer", "ct-denoising", file, str(tmp_path / "out.dcm")]) == 2
    assert "its modality is MR" in capsys.readouterr().err
    assert not (tmp_path / "out.dcm").exists()


def test_it_is_small_half_precision_and_has_a_card_and_a_contract():
    folder = find_model("ct-denoising")
    weights = folder / "generator.safetensors"
    assert weights.stat().st_size < LARGEST
    with safe_open(weights, "pt") as tensors:
        assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"F16"}  # noqa: SIM118
    card = (folder / "README.md").read_text()
    assert all(f"## {section}" in card for section in ("Figures", "Recipe", "Data and terms", "Limits"))
    assert "esearch only" in card
    config = read_config(folder)
    assert (config.task, config.contract.modality, config.contract.units) == ("scan_denoising", "CT", "HU")
    assert config.contract.kernels is None
    assert config.recipe["training"]["start_from"] is None  # no path of the machine that trained it
