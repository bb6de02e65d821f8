"""The pipeline for scans: the identity moves no value, a change comes out as large as the network made it."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from test_contract import scan_model
from torch import nn

from translate.checkpoint import CheckpointError
from translate.contract import IntensityContract
from translate.data.intensity import IntensityRange
from translate.data.scans import Scan, ScanError, ScanHeader
from translate.model_folder import ModelConfig, save_model
from translate.networks import ResidualUNet, UNet
from translate.pipelines import Pipeline, ScanDenoising, SuperResolution, load_pipeline

HU = IntensityRange(-1024, 3071, "HU")
CONTRACT = IntensityContract.of(HU, modality="CT")
RANDOM = np.random.default_rng(0)


@dataclasses.dataclass(frozen=True)
class ArrayScan(Scan):
    """A scan whose slices are in memory, which notes what is read."""

    values: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((1, 16, 16), np.float32))
    reads: list = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, values, **header):
        known = {"name": "made", "modality": "CT", "units": "HU", "slices_per_volume": len(values)} | header
        return cls(ScanHeader(shape=values.shape, **known), (), (), values)

    suffix = ""

    def read(self, index):
        self.reads.append(index)
        return self.values[index]

    def writer(self, output, derivation):
        raise NotImplementedError


class Adds(nn.Module):
    """Adds a constant of model space to the middle channel."""

    scale = size_multiple = size_minimum = 1

    def __init__(self, amount=0.0, channels=1):
        super().__init__()
        self.amount, self.in_channels, self.out_channels = amount, channels, 1

    def forward(self, image):
        middle = self.in_channels // 2
        return image[:, middle : middle + 1] + self.amount


def tissue(slices=3, height=20, width=17):
    return RANDOM.normal(40, 200, (slices, height, width)).clip(-1024, 3071).round().astype(np.float32)


def config_of(contract=CONTRACT, network="residual_unet", **arguments):
    channels = 1 + 2 * contract.neighbours
    side = {"range": {"low": contract.low, "high": contract.high, "units": contract.units}}
    entry = {
        "name": network,
        "arguments": {"in_channels": channels, "out_channels": 1, **arguments},
        "input": {"channels": channels, **side},
        "output": {"channels": 1, **side},
    }
    return ModelConfig.model_validate(
        {"task": "scan_denoising", "generators": {"generator": entry}, "contract": contract.model_dump()}
    )


def pipe_of(network, contract=CONTRACT):
    return ScanDenoising(network, config_of(contract))


def adds(units, contract=CONTRACT):
    """A pipeline whose network adds so many units."""
    half = (contract.high - contract.low) / 2
    return pipe_of(Adds(units / half, 1 + 2 * contract.neighbours), contract)


def trained(depth=1, channels=1, **arguments):
    """A residual network that changes something, by up to some tens of HU."""
    torch.manual_seed(0)
    network = ResidualUNet(channels, 1, width=4, depth=depth, **arguments)
    nn.init.normal_(network.head.weight, std=0.005)
    return network


# the identity


@pytest.mark.parametrize("units", ["HU", "stored", "SUV"])
def test_the_identity_returns_every_value_bit_for_bit(units):
    values = np.concatenate([tissue().ravel(), np.float32([-2000, 30000, 1e7, 0.1, -0.3, 1e-30])])[None]
    made = ScanDenoising.from_pretrained("identity", device="cpu")(values, units=units)
    assert made.dtype == np.float32
    assert made.tobytes() == values.tobytes()


def test_an_untrained_residual_network_returns_every_value_bit_for_bit():
    values = tissue()
    assert pipe_of(ResidualUNet(1, 1, width=4, depth=2))(values, units="HU").tobytes() == values.tobytes()


# what a network changes


@pytest.mark.parametrize("amount", [0.3, 0.6, -100.0, 1e-3])
def test_a_change_comes_out_as_large_as_the_network_made_it(amount):
    values = tissue()
    np.testing.assert_allclose(adds(amount)(values, units="HU"), values + amount, atol=3e-4)


@pytest.mark.parametrize("range", [IntensityRange(0, 4000, "stored"), IntensityRange(0, 20, "SUV")])
def test_a_change_is_scaled_by_the_range_of_the_contract(range):
    values = RANDOM.uniform(range.low, range.high, (1, 8, 8)).astype(np.float32)
    contract = IntensityContract.of(range, modality="MR")
    made = adds(0.25, contract)(values, units=range.units)
    np.testing.assert_allclose(made, values + 0.25, rtol=1e-6, atol=1e-6 * (range.high - range.low))


def test_values_outside_the_range_stay_as_they_are():
    values = np.float32([[-2000, -1024.5, -1024, 0, 3071, 3072, 30000]])
    made = adds(5)(values, units="HU")
    np.testing.assert_allclose(made, [[-2000, -1024.5, -1019, 5, 3076, 3072, 30000]], atol=3e-4)
    assert made[0, [0, 1, 5, 6]].tolist() == [-2000, -1024.5, 3072, 30000]


def test_padding_stays_as_it_is():
    values = np.float32([-1024, -1023, 0, 40, 41])[None, None] * np.ones((1, 2, 1), np.float32)
    scan = ArrayScan.of(values, padding=(-1024.0, -1024.0))
    (made,) = adds(5).denoise(scan)
    np.testing.assert_allclose(made.output[0], [-1024, -1018, 5, 45, 46], atol=3e-4)
    (made,) = adds(5).denoise(ArrayScan.of(values, padding=(0.0, 40.0)), uncertainty=[0])
    np.testing.assert_allclose(made.output[0], [-1019, -1018, 0, 40, 46], atol=3e-4)


def test_the_network_sees_clipped_values():
    seen = []
    pipe = adds(0)
    pipe.generator.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    pipe(np.float32([[-2000, -1024, 1023.5, 3071, 30000]]), units="HU")
    assert seen[0].flatten().tolist() == [-1, -1, 0, 1, 1]


@pytest.mark.parametrize("size", [(17, 33), (1, 1), (8, 5)])
def test_a_slice_may_have_any_size(size):
    values = tissue(2, *size)
    assert pipe_of(trained(depth=3))(values, units="HU").shape == values.shape


def test_whole_and_tiled_agree_within_a_twentieth_of_a_unit():
    """Tiles with a halo of what the network sees: without a norm, nothing reaches further."""
    values = tissue(1, 96, 96)[0]
    pipe = pipe_of(trained(blocks=1))
    whole, halo = pipe(values, units="HU"), 24
    assert np.abs(whole - values).max() > 1
    for top in (0, 48):
        for left in (0, 48):
            rows, columns = (slice(max(0, start - halo), start + 48 + halo) for start in (top, left))
            tile = pipe(values[rows, columns], units="HU")[top - rows.start :, left - columns.start :][:48, :48]
            np.testing.assert_allclose(tile, whole[top : top + 48, left : left + 48], atol=0.05)


def test_a_bright_object_changes_nothing_far_away():
    values = tissue(1, 96, 96)[0]
    metal = values.copy()
    metal[:8, :8] = 3000
    pipe = pipe_of(trained(blocks=1))
    before, after = pipe(values, units="HU"), pipe(metal, units="HU")
    np.testing.assert_array_equal(after[48:, 48:], before[48:, 48:])


# neighbours


class Mean(Adds):
    """The mean of all channels."""

    def forward(self, image):
        return image.mean(dim=1, keepdim=True)


def test_neighbours_are_channels_in_order_and_repeat_the_slice_at_the_ends():
    contract = CONTRACT.model_copy(update={"neighbours": 1})
    values = np.float32([0, 30, 90])[:, None, None] * np.ones((1, 4, 4), np.float32)
    expected = [(0 + 0 + 30) / 3, (0 + 30 + 90) / 3, (30 + 90 + 90) / 3]
    pipe = pipe_of(Mean(channels=3), contract)
    np.testing.assert_allclose(pipe(values, units="HU")[:, 0, 0], expected, atol=1e-3)
    made = [slice.output[0, 0] for slice in pipe.denoise(ArrayScan.of(values))]
    np.testing.assert_allclose(made, expected, atol=1e-3)


def test_neighbours_do_not_reach_into_another_volume():
    contract = CONTRACT.model_copy(update={"neighbours": 1})
    values = np.float32([0, 30, 300, 330])[:, None, None] * np.ones((1, 4, 4), np.float32)
    scan = ArrayScan.of(values, slices_per_volume=2)
    made = [slice.output[0, 0] for slice in pipe_of(Mean(channels=3), contract).denoise(scan)]
    np.testing.assert_allclose(made, [10, 20, 310, 320], atol=1e-3)


def test_the_middle_channel_is_the_slice_itself():
    contract = CONTRACT.model_copy(update={"neighbours": 2})
    values = tissue(6, 8, 8)
    assert adds(0, contract)(values, units="HU").tobytes() == values.tobytes()


@pytest.mark.parametrize("batch_size", [1, 3, 10])
@pytest.mark.parametrize("neighbours", [0, 2])
def test_each_slice_is_read_once_and_batches_change_nothing(batch_size, neighbours):
    contract = CONTRACT.model_copy(update={"neighbours": neighbours})
    pipe = pipe_of(trained(channels=1 + 2 * neighbours), contract)
    scan = ArrayScan.of(tissue(7, 16, 16))
    made = list(pipe.denoise(scan, batch_size=batch_size))
    assert scan.reads == list(range(7))
    assert [slice.index for slice in made] == list(range(7))
    np.testing.assert_array_equal([slice.source for slice in made], scan.values)
    expected = pipe(scan.values, units="HU")
    np.testing.assert_allclose([slice.output for slice in made], expected, atol=1e-3)
    assert np.abs(expected - scan.values).max() > 1


# precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_precisions_of_a_residual_network_agree_within_half_a_unit(dtype):
    scan = ArrayScan.of(tissue(3, 32, 32))
    pipe = pipe_of(trained())
    full = pipe(scan.values, units="HU")
    pipe.to("cpu", dtype)
    assert pipe.check(scan) == []
    low = pipe(scan.values, units="HU")
    assert 0 < np.sqrt(np.square(low - full).mean()) < 0.5


def test_a_network_that_loses_half_a_unit_in_bfloat16_is_refused_with_the_measure():
    torch.manual_seed(0)
    config = config_of(network="unet")
    pipe = ScanDenoising(UNet(1, 1, width=4, depth=2), config).to("cpu", torch.bfloat16)
    scan = ArrayScan.of(tissue(5, 32, 32))
    with pytest.raises(
        ScanError, match=r"made: slice 1 of 5: in bfloat16 the result is [\d.]+ HU \(root mean square\) "
    ):
        pipe.check(scan)
    assert pipe.dtype == torch.bfloat16
    assert pipe.to("cpu", torch.float32).check(scan) == []


def test_the_middle_slice_is_compared_too():
    class Fails(Adds):
        """Rounds where values are high."""

        def forward(self, image):
            low = torch.is_autocast_enabled("cpu") and bool((image > 0).any())
            return image.bfloat16().float() if low else image

    values = tissue(4, 16, 16)
    values[2] += 1500
    pipe = pipe_of(Fails()).to("cpu", torch.bfloat16)
    with pytest.raises(ScanError, match="slice 3 of 4: in bfloat16 the result is"):
        pipe.check(ArrayScan.of(values))


@pytest.mark.parametrize(("units", "refused"), [("HU", False), ("stored", True)])
def test_in_other_units_as_much_of_the_range_is_allowed(units, refused):
    class Off(Adds):
        def forward(self, image):
            return image + self.amount * torch.is_autocast_enabled("cpu")

    span = IntensityRange(0, 409.5, units)  # a tenth of -1024 to 3071
    contract = IntensityContract.of(span, modality="CT")
    pipe = pipe_of(Off(0.2 / 204.75), contract).to("cpu", torch.bfloat16)
    scan = ArrayScan.of(np.full((1, 16, 16), 100, np.float32), units=units)
    if not refused:
        assert pipe.check(scan) == []
        return
    with pytest.raises(ScanError, match=r"0\.2 stored \(root mean square\) away from float32, allowed are 0\.05: use"):
        pipe.check(scan)


# uncertainty


def test_uncertainty_is_the_deviation_over_eight_views():
    pipe = pipe_of(trained())
    scan = ArrayScan.of(tissue(2, 12, 18))
    first, second = pipe.denoise(scan, uncertainty=[1])
    assert first.uncertainty is None
    views = [np.rot90(second.source, turns) for turns in range(4)]
    outputs = [np.rot90(pipe(view.copy(), units="HU"), -turns) for turns, view in enumerate(views)]
    outputs += [np.rot90(pipe(view[:, ::-1].copy(), units="HU")[:, ::-1], -turns) for turns, view in enumerate(views)]
    np.testing.assert_allclose(second.uncertainty, np.std(outputs, axis=0), atol=2e-3)
    assert second.uncertainty.max() > 1
    np.testing.assert_array_equal(second.output, outputs[0])  # the output itself stays the plain pass
    np.testing.assert_array_equal(pipe.uncertainty_of(scan, 1), second.uncertainty)


def test_a_network_that_treats_all_views_alike_is_certain():
    (denoised,) = adds(3).denoise(ArrayScan.of(tissue(1, 16, 24)), uncertainty=[0])
    np.testing.assert_array_equal(denoised.uncertainty, 0)


# what is refused


def test_a_scan_that_the_model_does_not_know_is_refused():
    with pytest.raises(ScanError, match="made: its modality is MR, the model was trained on CT"):
        adds(0).check(ArrayScan.of(tissue(), modality="MR"))
    assert ScanDenoising.from_pretrained("identity").check(ArrayScan.of(tissue(), modality="MR")) == []


def test_values_in_other_units_or_shapes_are_refused():
    with pytest.raises(ScanError, match="the values are in stored, the model was trained on HU: convert them"):
        adds(0)(tissue(), units="stored")
    for wrong in (np.zeros((2, 2, 2, 2)), np.zeros(3), np.zeros((0, 4, 4)), [[1.0]]):
        with pytest.raises(ScanError, match=r"an array \(slices, rows, columns\) or \(rows, columns\), got"):
            adds(0)(wrong, units="HU")


def test_values_that_are_not_finite_are_refused_by_scan_and_slice():
    values = tissue(3)
    values[1, 2, 3] = np.nan
    with pytest.raises(ScanError, match="made: slice 2 of 3: 1 of its values are NaN or infinite, all must be finite"):
        list(adds(0).denoise(ArrayScan.of(values)))
    with pytest.raises(ScanError, match="made: slice 1 of 3: the network gave NaN or infinity for 340 values"):
        list(adds(float("nan")).denoise(ArrayScan.of(tissue(3))))


def test_a_change_beyond_the_contract_is_refused():
    contract = CONTRACT.model_copy(update={"largest_change": 100.0})
    values = tissue()
    adds(100, contract)(values, units="HU")
    with pytest.raises(ScanError, match="the network changes a value by 101 HU, its contract allows 100"):
        adds(101, contract)(values, units="HU")


def test_only_models_with_a_contract_and_the_identity_are_for_scans(tmp_path, small_model):
    with pytest.raises(CheckpointError, match="'small_model' has no intensity contract: it was not trained on scans"):
        ScanDenoising.from_pretrained(small_model, device="cpu")
    folder = scan_model(tmp_path / "chest" / "model")
    assert isinstance(load_pipeline(folder, device="cpu"), ScanDenoising)
    for kind in (Pipeline, SuperResolution):
        with pytest.raises(CheckpointError, match=r"of the task 'scan_denoising', which .* ScanDenoising\.from_pre"):
            kind.from_pretrained(folder)
    pix2pix = config_of(width=4, depth=1).model_copy(update={"task": "translation"})
    save_model(tmp_path / "pix2pix", pix2pix, {"generator": trained()})
    assert isinstance(load_pipeline(tmp_path / "pix2pix", device="cpu"), ScanDenoising)
    enlarging = Adds()
    enlarging.scale = 2
    with pytest.raises(CheckpointError, match="enlarges 2 times, scans keep their geometry"):
        pipe_of(enlarging)


# names


def test_files_name_tool_model_and_hash(tmp_path):
    pipe = ScanDenoising.from_pretrained(scan_model(tmp_path / "chest" / "model"), device="cpu")
    derivation = pipe.derivation()
    assert derivation.purpose == "denoised"
    assert f"model chest/model {pipe.fingerprint()[:12]}" in derivation.description
    assert (derivation.synthetic, derivation.modality, derivation.neighbours) == (False, None, 0)
    assert ScanDenoising.from_pretrained("identity").title == "identity"
    snapshot = scan_model(tmp_path / "models--lab--chest" / "snapshots" / "0123")
    assert ScanDenoising.from_pretrained(snapshot, device="cpu").title == "lab/chest"
    assert adds(0).title == "residual_unet"


def test_a_model_that_makes_another_modality_gives_its_own_output():
    stored = IntensityRange(0, 1000, "stored")
    contract = IntensityContract.of(stored, modality="MR", output_modality="CT")
    entry = config_of(contract).model_dump()
    entry["generators"]["generator"]["output"]["range"] = {"low": -1024, "high": 3071, "units": "HU"}
    pipe = ScanDenoising(Adds(), ModelConfig.model_validate(entry))
    np.testing.assert_allclose(pipe(np.float32([[0, 500, 1000]]), units="stored"), [[-1024, 1023.5, 3071]])
    derivation = pipe.derivation()
    assert (derivation.purpose, derivation.synthetic, derivation.modality) == ("synthetic CT", True, "CT")


# memory

PEAK = """
import resource, sys
import numpy as np
from translate.data.scans import Scan, ScanHeader
from translate.pipelines.inference.scan_denoising import ScanDenoising
class Made(Scan):
    suffix = ""
    def read(self, index):
        return np.full(self.header.shape[1:], index, np.float32)
    def writer(self, output, derivation): ...
def run(count):
    scan = Made(ScanHeader("made", "CT", "HU", (count, 512, 512), count), ())
    for denoised in ScanDenoising.from_pretrained("identity", device="cpu").denoise(scan):
        assert denoised.output[0, 0] == denoised.index
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few = run(20)
print(run(200) - few)
"""


def test_two_hundred_slices_need_no_more_memory_than_twenty():
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 20 * 1024  # kB; 200 slices of float32 are 200 MB
