"""Models for other programs: every network, the size rule, the contract beside it, and the check before it is there."""

import copy
import json
from pathlib import Path

import onnx
import pytest
import torch
from test_networks import generator, network_of

from translate.backends import BackendError, export
from translate.backends.export import export_model
from translate.backends.exported import write_onnx
from translate.backends.onnx_runtime import OnnxRuntime
from translate.contract import IntensityContract
from translate.data.intensity import IntensityRange
from translate.model_folder import ModelConfig, load_generator
from translate.model_sources import find_model
from translate.networks import GENERATORS, ResNet
from translate.pipelines.inference.samples import sample_images

CPU = torch.device("cpu")
ROWS = (  # every network, with every norm and every way to enlarge
    *("unet, six levels", "unet, detail at full resolution", "resnet", "resnet, resize and zeros"),
    *("edsr, x3 and wide activation", "rrdb, x3", "upsampled_unet, x3 and resize", "residual_unet", "identity"),
)


def test_every_network_is_among_the_rows():
    assert {network_of(row) for row in ROWS} == GENERATORS.keys()


@pytest.mark.parametrize(
    ("row", "norm"), [(r, None) for r in ROWS] + [("resnet", "group"), ("unet, six levels", "none")]
)
def test_every_network_gives_the_same_as_onnx_for_batches_and_sizes_of_any_kind(row, norm, tmp_path):
    torch.manual_seed(0)
    network = generator(row, **({"norm": norm} if norm else {})).eval().requires_grad_(False)
    for tensor in network.state_dict().values():  # also of layers that begin at zero
        if tensor.is_floating_point() and not tensor.any():
            tensor.normal_(0, 0.05)
    write_onnx(network, tmp_path / "network.onnx")
    forward = OnnxRuntime(CPU).load(tmp_path / "network.onnx", network)
    least = max(network.size_minimum, network.size_multiple)
    for count, rows, columns in ((1, 3, 2), (3, 2, 5), (2, 1, 1)):
        images = torch.rand(count, network.in_channels, least * rows, least * columns) * 2 - 1
        torch.testing.assert_close(forward(images), network(images), rtol=0, atol=5e-5)


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_norms_of_flat_images_are_as_exact_as_torchs(norm, tmp_path):
    torch.manual_seed(0)
    network = ResNet(width=8, blocks=2, norm=norm).eval().requires_grad_(False)
    flat = torch.ones(1, 3, 256, 256)
    flat[..., 100:110, 100:110] = 0.9
    write_onnx(network, tmp_path / "network.onnx")
    exact = copy.deepcopy(network).double()(flat.double())
    error = (OnnxRuntime(CPU).load(tmp_path / "network.onnx", network)(flat) - exact).abs().max()
    assert error < 2 * (network(flat) - exact).abs().max() + 1e-5


def config_of(network, **values):
    side = {"channels": 3}
    entry = {"name": "resnet", "arguments": {"width": 4, "blocks": 1}, "input": side, "output": side}
    return ModelConfig.model_validate({"generators": {"a_to_b": entry}} | values)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ResNet(width=4, blocks=1).eval().requires_grad_(False)


def test_an_export_tells_what_is_needed_to_use_it_in_the_file_too(network, tmp_path):
    samples = sample_images(network, scans=False)
    told = export_model(network, config_of(network), "a_to_b", tmp_path / "out", samples=samples, opset=18)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_to_b.onnx", "config.json"]
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == told
    assert (told["scale"], told["size_multiple"], told["size_minimum"], told["opset"]) == (1, 4, 8, 18)
    assert told["check"]["images"] == [[1, 3, 256, 256], [1, 3, 92, 204], [2, 3, 160, 120]]
    assert 0 < told["check"]["largest_difference"] < 1e-4
    file = onnx.load(tmp_path / "out" / "a_to_b.onnx")
    inside = {one.key: one.value for one in file.metadata_props}
    assert inside["task"] == "translation"
    assert json.loads(inside["input"]) == told["input"]
    assert json.loads(inside["size_multiple"]) == 4
    assert file.opset_import[0].version == 18
    sides = [side.dim_param or side.dim_value for side in file.graph.input[0].type.tensor_type.shape.dim]
    assert sides == ["batch", 3, "height", "width"]
    assert [value.name for value in (*file.graph.input, *file.graph.output)] == ["image", "translation"]


def test_the_contract_of_a_scan_model_travels(tmp_path):
    generator, name, config = load_generator(find_model("ct-denoising"))
    generator.eval().requires_grad_(False)
    samples = sample_images(generator, scans=True)[1:]
    export_model(generator, config, name, tmp_path / "out", samples=samples)
    (path,) = (tmp_path / "out").glob("*.onnx")
    inside = {one.key: one.value for one in onnx.load(path).metadata_props}
    contract = IntensityContract.model_validate_json(inside["contract"])
    assert contract == config.contract
    assert contract.intensity() == IntensityRange(-1280, 3072, "HU")


def test_torch_export_is_loaded_again_for_another_size(network, tmp_path):
    samples = sample_images(network, scans=False)[1:]
    export_model(network, config_of(network), "a_to_b", tmp_path / "out", samples=samples, format="torch")
    module = torch.export.load(tmp_path / "out" / "a_to_b.pt2").module()
    images = torch.rand(3, 3, 16, 40)
    torch.testing.assert_close(module(images), network(images))


def test_an_export_that_differs_is_refused_with_the_figure_and_nothing_is_written(network, tmp_path, monkeypatch):
    load = OnnxRuntime.load
    monkeypatch.setattr(OnnxRuntime, "load", lambda self, *given: lambda images: load(self, *given)(images) + 5e-4)
    with pytest.raises(BackendError, match=r"differs from PyTorch by 5\.\de-04 on real images.*nothing was written"):
        export_model(
            network, config_of(network), "a_to_b", tmp_path / "out", samples=sample_images(network, scans=False)[1:]
        )
    assert list(tmp_path.iterdir()) == []


def test_an_export_takes_the_place_of_an_earlier_one_and_of_nothing_else(network, tmp_path):
    def again(folder):
        export_model(network, config_of(network), "a_to_b", folder, samples=[torch.zeros(1, 3, 8, 8)], format="torch")

    again(tmp_path / "out")
    again(tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(BackendError, match="holds something else than an export: give a new or empty folder"):
        again(tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"generators": {}}')
    with pytest.raises(BackendError, match="holds something else than an export"):
        again(tmp_path / "other")
    with pytest.raises(BackendError, match=r"an export is a folder.*got .*model\.onnx: give a new folder"):
        again(tmp_path / "model.onnx")


def test_the_current_folder_is_refused_and_what_is_no_config_is_no_export(network, tmp_path, monkeypatch):
    def to(folder):
        export_model(network, config_of(network), "a_to_b", folder, samples=[torch.zeros(1, 3, 8, 8)], format="torch")

    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendError, match=r"is the current folder, .* give a new one"):
        to(Path())
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"kind": "export", "file": ["a"]}')
    with pytest.raises(BackendError, match="holds something else than an export"):
        to(Path("odd"))
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    to(Path("link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target" / "a_to_b.pt2").is_file()


def test_two_exports_to_one_folder_do_not_mix(network, tmp_path, monkeypatch):
    def begin():
        export_model(
            network, config_of(network), "a_to_b", tmp_path / "out", samples=[torch.zeros(1, 3, 8, 8)], format="torch"
        )

    def in_the_middle(*_):
        with pytest.raises(BackendError, match=r"another process exports to .*out: wait for it"):
            begin()
        return network

    monkeypatch.setattr(export, "_loaded", in_the_middle)
    begin()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_to_b.pt2", "config.json"]


def test_the_shape_of_what_enlarges_is_told(tmp_path):
    generator, name, config = load_generator(find_model("super-resolution-x2"))
    generator.eval().requires_grad_(False)
    samples = [torch.zeros(1, generator.in_channels, 8, 8)]
    told = export_model(generator, config, name, tmp_path / "out", samples=samples, format="torch")
    assert told["input"]["shape"] == ["batch", generator.in_channels, "height", "width"]
    assert told["output"]["shape"] == ["batch", generator.in_channels, "2 * height", "2 * width"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"format": "tflite"}, "format must be one of onnx, torch, got 'tflite'"),
        ({"opset": 11}, "opset must be from 18 to 23, got 11"),
    ],
)
def test_wrong_arguments_are_refused(network, tmp_path, wrong, message):
    with pytest.raises(BackendError, match=message):
        export_model(network, config_of(network), "a_to_b", tmp_path / "out", samples=[], **wrong)


def test_a_network_that_onnx_does_not_know_is_refused(tmp_path, monkeypatch, network):
    def fail(*_, **__):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(BackendError, match=r"ResNet cannot be written as ONNX \(RuntimeError: no such operator\): use"):
        write_onnx(network, tmp_path / "network.onnx")


def test_samples_are_real_images_of_several_sizes_that_fit_the_network(network):
    for images in sample_images(network, scans=False):
        assert network(images).shape == images.shape
        assert images.min() >= -1
        assert images.max() <= 1
        assert images.std() > 0.2
    one, two = sample_images(network, scans=False)[2]
    assert not torch.equal(one, two)


def test_samples_of_scan_models_are_slices_with_neighbours():
    generator = load_generator(find_model("ct-denoising"))[0]
    slices = sample_images(generator, scans=True)[0]
    assert slices.shape == (1, 1, 256, 256)
    assert slices[0, 0, 0, 0] < -0.9  # air
    assert -0.6 < slices[0, 0, 128, 128] - 0.0 < 0.4  # tissue


def test_the_command_writes_and_refuses(command, tmp_path):
    done = command("export", "identity", tmp_path / "out", "--format", "torch")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"written: {tmp_path / 'out' / 'generator.pt2'}, which differs from PyTorch by at most 0.0e+00 on 4 real "
        "images\n"
    )
    wrong = command("export", "identity", tmp_path / "two", "--format", "torch", "--opset", 20)
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "translate: --opset is of ONNX: leave it out, or give --format onnx\n",
    )
    assert not (tmp_path / "two").exists()
