"""What computes a network in place of PyTorch: made once, compared on real images, kept, chosen."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data as skimage_data

from translate.backends import BACKENDS, BackendError, base, prepare, store
from translate.backends.compiled import Compiled
from translate.backends.onnx_runtime import OnnxRuntime
from translate.backends.open_vino import OpenVino
from translate.backends.prepare import Model, choose, prepared
from translate.backends.store import Store
from translate.backends.tensor_rt import TensorRt
from translate.kernels.switch import fast
from translate.networks import EDSR, ResNet, UNet
from translate.sizes import translate_any_size

CPU = torch.device("cpu")


class Offset:
    """A back end whose artefact is a number that it adds to what torch gives."""

    packages = ("torch",)
    suffix = ".txt"
    code = False
    amount = 0.0
    made = 0

    def __init__(self, device):
        self.device = device

    def make(self, network, file):
        type(self).made += 1
        file.write_text(str(self.amount))

    def load(self, file, network):
        amount = float(file.read_text())
        return lambda images: network(images) + amount


@pytest.fixture
def offset(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kind = type("Kind", (Offset,), {"made": 0})
    monkeypatch.setitem(BACKENDS, "offset", kind)
    return kind


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "model").mkdir()
    samples = [torch.rand(1, 3, 20, 24) * 2 - 1, torch.rand(2, 3, 9, 16) * 2 - 1]
    return Model(
        ResNet(width=4, blocks=1).eval().requires_grad_(False), tmp_path / "model", "generator", lambda: samples
    )


def astronaut(channels=3, side=64):
    pixels = skimage_data.astronaut()[:side, 100 : 100 + side].astype(np.float32) / 127.5 - 1
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    return images if channels == 3 else images.mean(1, keepdim=True)


@pytest.mark.parametrize("kind", [OnnxRuntime, OpenVino])
def test_a_back_end_gives_what_torch_gives_for_batches_and_sizes_of_any_kind(kind, tmp_path):
    torch.manual_seed(0)
    network = UNet(width=4, depth=3, upsample="resize", detail=3).eval().requires_grad_(False)
    backend = kind(CPU)
    backend.make(network, tmp_path / "network.onnx")
    forward = backend.load(tmp_path / "network.onnx", network)
    for images in (astronaut(), torch.cat([astronaut(), -astronaut()])[..., :40, :], astronaut()[..., :8, :16]):
        torch.testing.assert_close(forward(images), network(images), rtol=0, atol=2e-5)
    first = forward(astronaut())
    kept = first.clone()
    forward(-astronaut())
    assert torch.equal(first, kept)  # its memory is not the back end's


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
def test_what_torch_compiles_gives_what_torch_gives(tmp_path):
    torch.manual_seed(0)
    network = EDSR(width=4, blocks=1).eval().requires_grad_(False)
    torch.nn.init.normal_(network.tail[0].weight, 0, 0.1)
    Compiled(CPU).make(network, tmp_path / "network.pt2")
    forward = Compiled(CPU).load(tmp_path / "network.pt2", network)
    for images in (astronaut(), torch.cat([astronaut(), -astronaut()])[..., :33, :]):
        torch.testing.assert_close(forward(images), network(images), rtol=0, atol=1e-5)


def test_wide_3x3_convolutions_are_computed_by_our_kernels(tmp_path):
    torch.manual_seed(0)
    network = ResNet(width=16, blocks=1).eval().requires_grad_(False)
    seen = []
    network.blocks[0].register_forward_hook(lambda *_: seen.append(fast()))
    Compiled(CPU).make(network, tmp_path / "network.pt2")
    forward = Compiled(CPU).load(tmp_path / "network.pt2", network)
    for images in (astronaut(), torch.cat([astronaut(), -astronaut()])[..., :20, :36]):
        torch.testing.assert_close(forward(images), network(images), rtol=0, atol=2e-5)
    assert seen == [True, False, True, False]


def test_an_artefact_is_made_once_and_lies_beside_its_model(offset, model):
    first = prepared("offset", model)
    again = prepared("offset", model)
    assert offset.made == 1
    (folder,) = (model.folder / "backends" / "generator").glob("offset-*")
    assert sorted(path.name for path in folder.iterdir()) == ["network.txt", "record.json"]
    assert torch.equal(first(model.samples()[0]), again(model.samples()[0]))


def test_a_back_end_that_is_too_far_off_is_refused_with_the_figure_and_leaves_nothing(offset, model):
    offset.amount = 5e-4
    message = r"offset differs from torch by 5\.0e-04 on real images, allowed are 1e-04.*take --backend torch"
    with pytest.raises(BackendError, match=message):
        prepared("offset", model)
    assert not list(model.folder.rglob("network*"))
    assert choose(model, 10**12) == "torch"


def test_a_back_end_that_gives_nan_is_refused(offset, model):
    offset.amount = float("nan")
    with pytest.raises(BackendError, match="differs from torch by inf"):
        prepared("offset", model)


def test_a_back_end_that_gives_another_size_is_refused(offset, model):
    offset.load = lambda self, file, network: lambda images: network(images)[..., ::2]
    with pytest.raises(BackendError, match=r"gives \(1, 3, 20, 12\) where PyTorch gives \(1, 3, 20, 24\)"):
        prepared("offset", model)


def test_a_damaged_artefact_is_made_again(offset, model):
    prepared("offset", model)
    (file,) = model.folder.rglob("network.txt")
    file.write_text("1.0")
    assert torch.equal(prepared("offset", model)(model.samples()[0]), model.network(model.samples()[0]))
    assert offset.made == 2


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"key": {}}'])
def test_a_damaged_record_is_as_none(offset, model, damage):
    prepared("offset", model)
    (record,) = model.folder.rglob("record.json")
    record.write_text(damage)
    prepared("offset", model)
    assert offset.made == 2
    assert len(list(model.folder.rglob("network.txt"))) == 1


def test_an_artefact_that_cannot_be_loaded_is_made_again(offset, model, caplog):
    prepared("offset", model)
    (record,) = model.folder.rglob("record.json")
    file = record.with_name("network.txt")
    file.write_text("no number")
    told = json.loads(record.read_text()) | {"sha256": store._sha256(file)}
    record.write_text(json.dumps(told))
    prepared("offset", model)
    assert offset.made == 2
    assert "it is made again" in caplog.text


def test_another_training_of_the_model_replaces_the_artefact(offset, model):
    prepared("offset", model)
    with torch.no_grad():
        model.network.head.bias.add_(0.5)
    prepared("offset", model)
    assert offset.made == 2
    assert len(list(model.folder.rglob("network.txt"))) == 1


def test_artefacts_of_other_machines_stay(offset, model, monkeypatch):
    prepared("offset", model)
    monkeypatch.setattr(prepare, "machine", lambda: "another, 64 threads")
    prepared("offset", model)
    assert len(list(model.folder.rglob("network.txt"))) == 2


def test_threads_that_prepare_the_same_at_the_same_time_make_it_once(offset, model):
    at_once = threading.Barrier(4)

    def one():
        at_once.wait()
        prepared("offset", model)

    threads = [threading.Thread(target=one) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert offset.made == 1


def test_machine_code_is_never_read_from_a_model_folder(offset, model, tmp_path):
    prepared("offset", model)
    offset.code = True
    prepared("offset", model)
    assert offset.made == 2
    assert len(list((tmp_path / "cache").rglob("network.txt"))) == 1


@pytest.mark.parametrize("place", ["snapshots/1a2b3c", None])
def test_models_of_the_hub_and_of_no_folder_have_theirs_in_the_users_cache(offset, model, tmp_path, place):
    folder = tmp_path / place if place else None
    if folder:
        folder.mkdir(parents=True)
    prepared("offset", Model(model.network, folder, "generator", model.samples))
    assert len(list((tmp_path / "cache" / "translate" / "backends").rglob("network.txt"))) == 1
    assert not folder or not list(folder.iterdir())


def test_models_that_ship_have_theirs_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shipped = Path(store.translate.__file__).parent / "models" / "identity"
    assert [tmp_path in place.folder.parents for place in store.stores(shipped, "generator", code=False)] == [True]


def test_auto_takes_what_is_done_soonest_with_the_loading(offset, model):
    assert choose(model, 10**9) == "torch"  # nothing is prepared, and nothing is for it
    assert offset.made == 0
    prepared("offset", model)
    (record,) = model.folder.rglob("record.json")
    times = {"plain": 2.0, "seconds": 1.0, "loading": 9.5, "pixels": 100}  # with the start 10 s, and 1 s saved for 100
    record.write_text(json.dumps(json.loads(record.read_text()) | times))
    assert choose(model, 1000) == "torch"
    assert choose(model, 1001) == "offset"
    with torch.no_grad():
        model.network.head.bias.add_(0.5)
    assert choose(model, 10**9) == "torch"  # what is there is of other weights


def test_auto_takes_nothing_that_is_not_whole_or_was_not_measured(offset, model):
    prepared("offset", model)
    (record,) = model.folder.rglob("record.json")
    measured = json.loads(record.read_text()) | {"plain": 2.0, "seconds": 1.0, "loading": 0, "pixels": 100}
    for wrong in ({"pixels": 0}, {"pixels": "many"}, {"seconds": -1.0}):
        record.write_text(json.dumps(measured | wrong))
        assert choose(model, 10**9) == "torch"
    record.write_text(json.dumps(measured))
    assert choose(model, 10**9) == "offset"
    record.with_name("network.txt").write_text("0.1")
    assert choose(model, 10**9) == "torch"
    assert offset.made == 1


def test_an_artefact_that_came_with_a_model_folder_is_compared_before_it_is_used(
    offset, model, monkeypatch, tmp_path, caplog
):
    prepared("offset", model)
    (record,) = model.folder.rglob("record.json")
    forged = record.with_name("network.txt")
    forged.write_text("0.5")
    told = json.loads(record.read_text()) | {"sha256": hashlib.sha256(b"0.5").hexdigest()}
    record.write_text(json.dumps(told))
    images = model.samples()[0]
    torch.testing.assert_close(prepared("offset", model)(images), model.network(images))
    assert "is 5.0e-01 from torch on real images: it is made again" in caplog.text
    assert offset.made == 2
    compared = []
    monkeypatch.setattr(prepare, "largest_difference", lambda *given: compared.append(1) or 0.0)
    prepared("offset", model)
    assert not compared  # by this user, already
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of another user"))
    prepared("offset", model)
    prepared("offset", model)
    assert len(compared) == 1
    assert offset.made == 2


def test_what_a_killed_preparation_left_is_removed(offset, model):
    prepared("offset", model)
    (made,) = (path.parent for path in model.folder.rglob("record.json"))
    left = made.parent / f".new-{made.name.partition('-')[2]}-killed"
    made.rename(left)
    prepared("offset", model)
    assert not left.exists()


def test_what_gives_images_of_another_size_is_not_believed_either(offset, model, monkeypatch, tmp_path):
    prepared("offset", model)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of another user"))
    monkeypatch.setattr(offset, "load", lambda *_: model.network if offset.made > 1 else lambda images: images[..., :1])
    prepared("offset", model)
    assert offset.made == 2


def test_where_nothing_can_be_kept_the_error_says_what_to_do(offset, model, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    nowhere = Model(model.network, None, "generator", model.samples)
    with pytest.raises(
        BackendError, match=r"what offset needs cannot be kept in .*: give XDG_CACHE_HOME a folder that"
    ):
        prepared("offset", nowhere)


def test_an_unknown_back_end_is_refused(model):
    with pytest.raises(BackendError, match="unknown back end 'onnx': give one of torch, compile, onnxruntime"):
        prepared("onnx", model)


def test_what_vanishes_after_it_was_made_is_told(offset, model, monkeypatch):
    monkeypatch.setattr(Store, "find", lambda *_: None)
    with pytest.raises(BackendError, match="cannot be read again: is the disk full"):
        prepared("offset", model)


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda name: None if name == "openvino" else object())
    message = r'this needs openvino, which is not installed: python -m pip install "translate-images\[openvino\]"'
    with pytest.raises(BackendError, match=message):
        OpenVino(CPU)


@pytest.mark.parametrize(
    ("kind", "device", "message"),
    [
        (OpenVino, "cuda", "openvino runs on the CPU here, got the device cuda: give --device cpu"),
        (OnnxRuntime, "mps", "onnxruntime runs on cpu or cuda, got the device mps"),
        (OnnxRuntime, "cuda", "has no CUDAExecutionProvider: python -m pip install onnxruntime-gpu"),
        (TensorRt, "cpu", "tensorrt runs on NVIDIA GPUs, got the device cpu: give --device cuda"),
        (Compiled, "mps", "compile runs on cpu or cuda, got the device mps"),
    ],
)
def test_a_device_that_a_back_end_does_not_know_is_refused(kind, device, message):
    with pytest.raises(BackendError, match=message):
        kind(torch.device(device))


def test_tensorrt_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda name: None if name == "tensorrt" else object())
    with pytest.raises(BackendError, match=r"this needs tensorrt.*translate-images\[tensorrt\]"):
        TensorRt(torch.device("cuda"))


def test_tensorrt_keeps_its_engines_beside_its_artefact_and_falls_back_to_cuda(monkeypatch):
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(OnnxRuntime, "_check_provider", lambda *_: None)
    providers = TensorRt(torch.device("cuda")).providers(Path("/cache/one/network.onnx"))
    assert [name for name, _ in providers] == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]
    assert providers[0][1]["trt_engine_cache_path"] == "/cache/one"
    assert providers[1][1]["use_tf32"] == "0"


def test_a_network_that_cannot_be_recorded_is_refused(tmp_path):
    class Odd(ResNet):
        def forward(self, image):
            return image if image.mean() > 0 else -image

    with pytest.raises(BackendError, match="Odd cannot be recorded for images of any size"):
        OnnxRuntime(CPU).make(Odd(width=4, blocks=1), tmp_path / "network.onnx")


def test_a_missing_compiler_is_told(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", fail)
    with pytest.raises(BackendError, match=r"torch cannot compile EDSR \(no C\+\+ compiler\).*take another back end"):
        Compiled(CPU).make(EDSR(width=4, blocks=1), tmp_path / "network.pt2")


def test_onnxruntime_tells_nobody_what_it_does(tmp_path):
    code = (
        "import os, torch; from translate.backends.onnx_runtime import runtime; runtime(); "
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    )
    environment = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not list(tmp_path.iterdir())  # neither an identifier of the machine nor a queue of events


def test_any_size_can_be_computed_by_something_else():
    network = EDSR(width=4, blocks=1).eval()
    images = astronaut()[..., :5, :7]
    made = translate_any_size(network, images, lambda given: torch.full((1, 3, 10, 14), 0.5))
    assert torch.equal(made, torch.full((1, 3, 10, 14), 0.5))
