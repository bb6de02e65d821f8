"""The intensity contract: what a model for scans promises about its values, and which scans it is for."""

import json

import pytest
import torch

from translate.checkpoint import CheckpointError
from translate.contract import CAN_BE_ALLOWED, SLACK, IntensityContract, Linear
from translate.data.intensity import IntensityRange
from translate.data.scans import ScanError, ScanHeader
from translate.model_folder import CONFIG, ModelConfig, load_generator, save_model
from translate.networks import ResidualUNet

HU = IntensityRange(-1024, 3071, "HU")
CONTRACT = IntensityContract.of(
    HU, modality="CT", spacing=(0.5, 1.0), thickness=(1.0, 5.0), kernels=("B30f", "D45f"), largest_change=200
)


def header(**changes):
    fits = {
        "name": "a/series",
        "modality": "CT",
        "units": "HU",
        "shape": (3, 4, 5),
        "slices_per_volume": 3,
        "spacing": (5.0, 0.7, 0.7),
        "thickness": 5.0,
        "kernel": "B30f",
        "patient": "DOE^JANE",
    }
    return ScanHeader(**fits | changes)


def broken(**changes):
    return CONTRACT.model_copy(update=changes)


def scan_model(folder, contract=CONTRACT, **config):
    """A model folder with a small residual network."""
    channels = 1 + 2 * contract.neighbours
    arguments = {"in_channels": channels, "out_channels": 1, "width": 4, "depth": 1}
    side = {"range": {"low": contract.low, "high": contract.high, "units": contract.units}}
    entry = {
        "name": "residual_unet",
        "arguments": arguments,
        "input": {"channels": channels, **side},
        "output": {"channels": 1, **side},
    }
    made = ModelConfig.model_validate(
        {"task": "scan_denoising", "generators": {"generator": entry}, "contract": contract.model_dump(), **config}
    )
    save_model(folder, made, {"generator": ResidualUNet(**arguments)})
    return folder


# the formulas


def test_a_contract_has_the_formulas_of_its_range():
    assert CONTRACT.forward(-1024) == pytest.approx(-1)
    assert CONTRACT.forward(3071) == pytest.approx(1)
    assert CONTRACT.inverse(0) == 1023.5
    assert CONTRACT.inverse.scale == 2047.5
    assert CONTRACT.intensity() == HU
    CONTRACT.check(input=HU, output=HU)


@pytest.mark.parametrize(
    "range", [IntensityRange(0, 65535, "stored"), IntensityRange(0, 20, "SUV"), IntensityRange(-160, 240, "HU")]
)
def test_every_range_makes_a_contract_that_holds(range):
    IntensityContract.of(range, modality="MR").check(input=range, output=range)


def test_the_mistake_of_the_leading_tool_is_refused():
    """It normalises by (x - mean) / std and goes back by x * std + std: zero becomes std - mean = 20.73 HU."""
    mean, std = 500.0, 520.73
    forward, wrong = Linear(scale=1 / std, offset=-mean / std), Linear(scale=std, offset=std)
    tool = broken(low=mean - std, high=mean + std, forward=forward, inverse=wrong)
    range = IntensityRange(mean - std, mean + std, "HU")
    with pytest.raises(CheckpointError, match=r"does not come back: 0 HU would become 20\.73 HU without any network"):
        tool.check(input=range, output=range)
    right = tool.model_copy(update={"inverse": Linear(scale=std, offset=mean)})
    right.check(input=range, output=range)


@pytest.mark.parametrize("shift", [0.0011, -0.002, 20.73])
def test_an_inverse_that_is_off_by_more_than_a_thousandth_is_refused(shift):
    inverse = Linear(scale=2047.5, offset=1023.5 + shift)
    with pytest.raises(CheckpointError, match=f"0 HU would become {shift:.6g} HU without any network"):
        broken(inverse=inverse).check(input=HU, output=HU)


def test_an_inverse_of_another_slope_is_refused_at_the_ends():
    with pytest.raises(CheckpointError, match=r"does not come back: .* do not use this model"):
        broken(inverse=Linear(scale=2047.501, offset=1023.501)).check(input=HU, output=HU)


def test_in_a_small_range_a_millionth_of_it_is_allowed_not_a_thousandth_of_a_unit():
    range = IntensityRange(0, 1, "stored")
    contract = IntensityContract.of(range, modality="MR")
    moved = contract.model_copy(update={"inverse": Linear(scale=0.5, offset=0.5 + 1e-5)})
    with pytest.raises(CheckpointError, match="does not come back"):
        moved.check(input=range, output=range)


def test_formulas_of_another_range_are_refused():
    half = {"forward": Linear(scale=1 / 1000, offset=0), "inverse": Linear(scale=1000, offset=0)}
    with pytest.raises(CheckpointError, match=r"maps -1024 HU to -1\.024, model space has -1 there"):
        broken(**half).check(input=HU, output=HU)


def test_sides_with_another_range_are_refused():
    other = IntensityRange(-1000, 3000, "HU")
    with pytest.raises(CheckpointError, match="range -1024 to 3071 HU, but the input of the generator has -1000 to 3"):
        CONTRACT.check(input=other, output=HU)
    with pytest.raises(CheckpointError, match="but the output of the generator has -1000 to 3000 HU"):
        CONTRACT.check(input=HU, output=other)
    with pytest.raises(CheckpointError, match="but the input of the generator has none"):
        CONTRACT.check(input=None, output=HU)
    with pytest.raises(CheckpointError, match="but the input of the generator has -1024 to 3071 stored"):
        CONTRACT.check(input=IntensityRange(-1024, 3071, "stored"), output=HU)


def test_only_a_model_that_makes_another_modality_has_another_range_on_its_output():
    stored = IntensityRange(0, 2000, "stored")
    contract = IntensityContract.of(stored, modality="MR", output_modality="CT")
    assert contract.synthetic
    contract.check(input=stored, output=HU)
    with pytest.raises(CheckpointError, match="the output of the generator has no range"):
        contract.check(input=stored, output=None)
    assert not IntensityContract.of(stored, modality="MR", output_modality="MR").synthetic
    assert not CONTRACT.synthetic


# the schema


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 3071}, "needs low < high"),
        ({"low": float("nan")}, "finite number"),
        ({"high": float("inf")}, "finite number"),
        ({"forward": {"scale": float("inf"), "offset": 0}}, "finite number"),
        ({"spacing": (1.0, 0.5)}, "spacing is from the smallest to the largest"),
        ({"thickness": (5.0, 1.0)}, "thickness is from the smallest to the largest"),
        ({"spacing": (0.0, 0.5)}, "greater than 0"),
        ({"neighbours": -1}, "greater than or equal to 0"),
        ({"largest_change": 0}, "greater than 0"),
        ({"modality": ""}, "at least 1 character"),
        ({"colour": "blue"}, "Extra inputs are not permitted"),
    ],
)
def test_a_contract_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        IntensityContract.model_validate(CONTRACT.model_dump() | changes)


def test_it_travels_in_the_model_folder(tmp_path):
    _, _, config = load_generator(scan_model(tmp_path / "model"))
    assert config.contract == CONTRACT
    assert json.loads((tmp_path / "model" / CONFIG).read_text())["contract"]["inverse"] == {
        "scale": 2047.5,
        "offset": 1023.5,
    }


def test_a_model_folder_with_a_wrong_contract_does_not_load(tmp_path):
    folder = scan_model(tmp_path / "model", broken(inverse=Linear(scale=2047.5, offset=2047.5)))
    with pytest.raises(CheckpointError, match="0 HU would become 1024 HU without any network"):
        load_generator(folder)


def test_channels_are_the_slice_and_its_neighbours(tmp_path):
    around = broken(neighbours=2)
    generator, _, _ = load_generator(scan_model(tmp_path / "model", around))
    assert generator(torch.zeros(1, 5, 8, 8)).shape == (1, 1, 8, 8)
    config = json.loads((tmp_path / "model" / CONFIG).read_text())
    config["contract"]["neighbours"] = 1
    (tmp_path / "model" / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"has \(5, 1\) channels: a model for scans with 1 neighbours on each"):
        load_generator(tmp_path / "model")
    del config["contract"]
    (tmp_path / "model" / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="a model for pictures has 1 or 3 on each side"):
        load_generator(tmp_path / "model")


# which scans it is for


def test_a_scan_like_those_of_the_training_is_accepted_without_a_warning():
    assert CONTRACT.mismatches(header()) == {}
    assert CONTRACT.check_input(header()) == []


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        ({"modality": "MR"}, "modality", "its modality is MR, the model was trained on CT"),
        ({"units": "stored"}, "units", "its values are in stored, the model was trained on HU"),
        (
            {"spacing": (5.0, 1.5, 1.5)},
            "spacing",
            "its pixels are 1.5 x 1.5 mm, the model was trained on 0.5 to 1 mm",
        ),
        ({"thickness": 10.0}, "thickness", "its slices are 10 mm thick, the model was trained on 1 to 5 mm"),
        ({"kernel": "B70f"}, "kernel", "its reconstruction kernel is B70f, the model was trained on B30f, D45f"),
    ],
)
def test_each_mismatch_has_a_name_and_a_sentence(changes, name, sentence):
    assert CONTRACT.mismatches(header(**changes)) == {name: sentence}
    with pytest.raises(ScanError, match=rf"a/series: {sentence}: use a model for it"):
        CONTRACT.check_input(header(**changes))


@pytest.mark.parametrize("factor", [SLACK * 1.01, 1 / SLACK / 1.01])
def test_spacing_and_thickness_may_lie_a_quarter_outside(factor):
    near = factor / 1.02 if factor > 1 else factor * 1.02
    end = 1.0 if factor > 1 else 0.5
    assert CONTRACT.mismatches(header(spacing=(5.0, end * near, end * near))) == {}
    assert list(CONTRACT.mismatches(header(spacing=(5.0, end * near, end * factor)))) == ["spacing"]
    thick = 5.0 if factor > 1 else 1.0
    assert CONTRACT.mismatches(header(thickness=thick * near)) == {}
    assert list(CONTRACT.mismatches(header(thickness=thick * factor))) == ["thickness"]


def test_kernels_are_compared_without_case_and_blanks():
    assert CONTRACT.mismatches(header(kernel=" b30F ")) == {}


def test_what_is_allowed_becomes_a_warning():
    odd = header(thickness=10.0, kernel="B70f")
    with pytest.raises(
        ScanError, match=r"10 mm thick, .*, and its .* B70f, .*: .*allow it with --allow thickness,kern"
    ):
        CONTRACT.check_input(odd)
    with pytest.raises(ScanError, match=r"series: its slices are 10 mm .*--allow thickness and look at the evidence"):
        CONTRACT.check_input(odd, frozenset({"kernel"}))
    warnings = CONTRACT.check_input(odd, CAN_BE_ALLOWED)
    assert [warning.split(" ")[1] for warning in warnings] == ["slices", "reconstruction"]


def test_modality_and_units_cannot_be_allowed():
    everything = CAN_BE_ALLOWED | {"modality", "units"}
    with pytest.raises(ScanError, match="its modality is MR"):
        CONTRACT.check_input(header(modality="MR"), everything)
    with pytest.raises(
        ScanError, match=r"its modality is MR, .*, and its values are in stored, .*: use a model for it"
    ):
        CONTRACT.check_input(header(modality="MR", units="stored"), everything)


def test_what_a_scan_does_not_say_is_a_warning():
    silent = header(modality="", spacing=(None, None, None), thickness=None, kernel=None)
    assert CONTRACT.mismatches(silent) == {}
    warnings = CONTRACT.check_input(silent)
    assert len(warnings) == 4
    assert warnings[0] == "its modality is unknown, the model was trained on CT"
    assert all("is unknown, the model was trained on" in warning for warning in warnings)


def test_units_that_nobody_declared_are_refused_with_the_way_to_declare_them():
    with pytest.raises(
        ScanError, match="in stored, the model was trained on HU: if its values are in HU, say so with --"
    ):
        CONTRACT.check_input(header(modality="", units="stored"))


def test_a_contract_without_limits_takes_every_scan_of_its_modality():
    free = IntensityContract.of(HU, modality="CT")
    assert free.check_input(header(spacing=(None, 9.0, 9.0), thickness=99.0, kernel="X")) == []
    assert free.check_input(header(spacing=(None, None, None), thickness=None, kernel=None)) == []


def test_no_message_holds_the_patient():
    for changes in ({"modality": "MR"}, {"kernel": "B70f"}):
        with pytest.raises(ScanError) as caught:
            CONTRACT.check_input(header(**changes))
        assert "DOE" not in str(caught.value)
