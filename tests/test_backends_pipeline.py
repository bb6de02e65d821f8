"""Pipelines, tiles and the command line on another back end than torch."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as skimage_data

from translate.backends import CHOICES, BackendError
from translate.cli import infer_backends
from translate.model_folder import ModelConfig
from translate.networks import EDSR, ResNet
from translate.pipelines import Pipeline, ScanDenoising, SketchToPhoto, SuperResolution, load_pipeline
from translate.pipelines.inference import pretrained
from translate.tiling.tiled import Tiling


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pipeline_of(network, task="translation", kind=Pipeline):
    side = {"channels": network.in_channels}
    entry = {"name": "resnet", "arguments": {}, "input": side, "output": side}
    return kind(network, ModelConfig.model_validate({"task": task, "generators": {"generator": entry}}))


@pytest.fixture
def halves(monkeypatch):
    """A back end that halves what torch gives: anybody sees whether it ran. Returns the sizes that it was given."""
    seen = []

    def prepared(name, model):
        def forward(images):
            seen.append(tuple(images.shape))
            return model.network(images) / 2

        return forward

    monkeypatch.setattr(pretrained, "prepared", prepared)
    return seen


def test_super_resolution_with_self_ensemble_is_the_same_on_openvino(cache):
    pipe = SuperResolution.from_pretrained("super-resolution-x2")
    other = SuperResolution.from_pretrained("super-resolution-x2", backend="openvino")
    photograph = skimage_data.coffee()[:40, :60]
    for ensemble in (False, True):
        one, two = (each(photograph, self_ensemble=ensemble, scale=1.5) for each in (pipe, other))
        assert np.abs(one.astype(int) - two).max() <= 1
        assert (one != two).mean() < 0.001
    assert pipe.fingerprint() != other.fingerprint()
    assert list(cache.rglob("network.onnx"))


def test_a_scan_is_the_same_on_onnxruntime_to_a_hundredth_of_its_units(cache):
    slices = skimage_data.camera()[::16, ::16].astype(np.float32) * 4 - 500
    one = ScanDenoising.from_pretrained("ct-denoising")(slices, units="HU")
    two = ScanDenoising.from_pretrained("ct-denoising", backend="onnxruntime")(slices, units="HU")
    assert np.abs(one - two).max() < 0.01
    assert np.abs(one - slices).max() > 1


def test_every_call_runs_on_the_back_end_and_torch_is_as_before(halves):
    pipe = pipeline_of(ResNet(width=4, blocks=1))
    image = torch.rand(3, 12, 16) * 2 - 1
    other = pipe.with_backend("openvino")
    torch.testing.assert_close(other(image), pipe(image) / 2)
    assert halves == [(1, 3, 12, 16)]
    assert torch.equal(other.with_backend("torch")(image), pipe(image))
    assert (pipe.backend, other.backend) == ("torch", "openvino")


def test_moving_a_pipeline_brings_torch_back(halves):
    pipe = pipeline_of(ResNet(width=4, blocks=1)).with_backend("openvino")
    assert pipe.to("cpu").backend == "torch"
    pipe(torch.zeros(3, 8, 8))
    assert halves == []


def test_tiles_of_a_network_without_norms_run_on_the_back_end(halves):
    network = EDSR(width=4, blocks=1)
    torch.nn.init.normal_(network.tail[0].weight, 0, 0.1)
    pipe = pipeline_of(network, "super_resolution", SuperResolution)
    images = torch.rand(1, 3, 100, 90) * 2 - 1
    whole = pipe.run(images)
    tiled = pipe.with_backend("openvino").with_tiling(Tiling(tile=48)).run(images)
    torch.testing.assert_close(tiled, whole / 2, rtol=0, atol=1e-6)
    assert len(halves) == 6
    assert all(max(size[2:]) < 64 for size in halves)


def test_tiles_on_openvino_give_what_the_whole_image_gives_on_torch(cache):
    pipe = load_pipeline("super-resolution-x2")
    pixels = skimage_data.astronaut()[:150, :170].mean(axis=2).astype(np.float32) / 127.5 - 1
    images = torch.from_numpy(pixels)[None, None]
    tiled = pipe.with_backend("openvino").with_tiling(Tiling(tile=64)).run(images)
    torch.testing.assert_close(tiled, pipe.run(images), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("norm", "tile", "why"), [("instance", 32, "norms look"), ("none", 16, "halo would be too")])
def test_tiles_that_need_layers_run_in_torch_and_say_so(halves, caplog, norm, tile, why):
    torch.manual_seed(0)
    pipe = pipeline_of(ResNet(width=4, blocks=1, norm=norm))
    images = torch.rand(1, 3, 64, 48) * 2 - 1
    with caplog.at_level(logging.INFO):
        tiled = pipe.with_backend("openvino").with_tiling(Tiling(tile=tile)).run(images)
    torch.testing.assert_close(tiled, pipe.run(images), rtol=0, atol=1e-5)
    assert halves == []
    assert f"tiles of {tile} pixels of this network run in torch" in caplog.text
    assert why in caplog.text


def test_variations_are_torchs(halves):
    network = ResNet(width=4, blocks=1, dropout=True)
    pipe = pipeline_of(network, "sketch_to_photo", SketchToPhoto)
    drawing = Image.fromarray(skimage_data.camera()[:24, :24]).convert("RGB")
    plain = pipe.variations(drawing, 2, seed=1, output_type="np")
    other = pipe.with_backend("openvino").variations(drawing, 2, seed=1, output_type="np")
    assert all(np.array_equal(one, two) for one, two in zip(plain, other, strict=True))
    assert halves == []


def test_lower_precision_is_refused_but_for_auto(halves):
    pipe = pipeline_of(ResNet(width=4, blocks=1)).to("cpu", torch.bfloat16)
    with pytest.raises(BackendError, match="back ends compute in float32, the pipeline in bfloat16: leave out --prec"):
        pipe.with_backend("onnxruntime")
    assert pipe.with_backend("auto").backend == "torch"


def test_auto_without_anything_prepared_is_torch(cache):
    assert pipeline_of(ResNet(width=4, blocks=1)).with_backend("auto", pixels=10**12).backend == "torch"
    assert not cache.exists()


def test_the_command_line_offers_all_back_ends():
    assert infer_backends.NAMES == CHOICES


def test_auto_counts_the_pixels_of_an_image_or_a_folder(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "one.png")
    (tmp_path / "notes.txt").write_text("")
    assert infer_backends._pixels(tmp_path / "one.png") == 60000
    assert infer_backends._pixels(tmp_path) == 2 * 2**16
    assert infer_backends._pixels(tmp_path / "notes.txt") == 2**16


def test_a_folder_is_translated_on_a_back_end_and_auto_takes_it_afterwards(command, cache, tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(2):
        Image.fromarray(skimage_data.coffee()[:24, index : index + 30]).save(tmp_path / "in" / f"{index}.png")
    first = command("infer", "super-resolution-x2", tmp_path / "in", tmp_path / "out", "--backend", "onnxruntime")
    assert first.returncode == 0, first.stderr
    assert "preparing onnxruntime for this model and machine, once" in first.stderr
    (record,) = cache.rglob("record.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"plain": 9.0, "seconds": 0.1}))
    again = command("infer", "super-resolution-x2", tmp_path / "in", tmp_path / "two", "--backend", "auto")
    assert "preparing" not in again.stderr
    assert "onnxruntime: 90.00 times as fast as torch when it was prepared" in again.stderr
    names = [f"{index}.png" for index in range(2)]
    assert [(tmp_path / "out" / n).read_bytes() for n in names] == [(tmp_path / "two" / n).read_bytes() for n in names]
