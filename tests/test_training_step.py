"""A fast step is the plain step: losses of both, kernels, merged forwards, and what must not change by them."""

import itertools
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, small_recipe
from safetensors.torch import load_file

import translate.kernels.matmul_conv as matmul_conv
import translate.objectives.cyclegan as cyclegan
from translate.data.batches import Unpaired
from translate.kernels.switch import fast
from translate.networks import PatchGAN, ResNet
from translate.objectives import CycleGAN
from translate.objectives.terms import Comparison, frozen, judge
from translate.training import loop
from translate.training.loop import batches_of, start, train
from translate.training.precision import choose_layout

SMALL = {"data.crop": "32", "generator.width": "8", "discriminator.width": "8"}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # where a script finds the others beside it
    import training_step

    return training_step


@pytest.fixture
def everywhere(monkeypatch):
    """Kernels that pay only for large layers, in small ones too."""
    monkeypatch.setattr(matmul_conv, "LEAST_WEIGHTS", 0)


def pairs(depth: int) -> dict[str, str]:
    return SMALL | {"generator.depth": str(depth)}


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("pix2pix", pairs(5)),
        (
            "cyclegan",
            SMALL | {"generator.blocks": "1", "training.image_pool": "2", "optimizer.learning_rate": "2e-5"},
        ),
        ("super_resolution_x4", {"data.crop": "16", "generator.width": "8", "generator.blocks": "1"}),
    ],
)
def test_50_fast_steps_have_the_losses_of_the_published_ones(tmp_path, benchmark, everywhere, recipe, settings):
    # In float64, and CycleGAN at a low rate: a GAN makes large differences of rounding, whoever computes it.
    benchmark.write_pictures(tmp_path / "data")
    settings = benchmark.settings_of(recipe, 1, tmp_path / "data") | settings | {"training.precision": "fp64"}
    plain = benchmark.steps_of(recipe, settings, True, tmp_path / "plain")
    ours = benchmark.steps_of(recipe, settings, False, tmp_path / "ours")
    losses = [list(itertools.islice(steps, 50)) for steps in (plain, ours)]
    assert losses[0][0] != losses[0][49]
    assert benchmark.difference(*losses) < 1e-6


def test_the_benchmark_prints_a_table_of_its_contenders(tmp_path, benchmark, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "CONTENDERS", {"plain": None, "ours": "fast"})
    benchmark.write_pictures(tmp_path / "data")
    differences = benchmark.measure("pix2pix", 2, 1, tmp_path / "data", pairs(5))
    printed = capsys.readouterr().out
    assert "| pix2pix, batch 2 | ms a step | times as fast |" in printed
    assert "| ours |" in printed
    assert differences["plain"] == 0
    assert differences["ours"] < 1e-4


def test_the_benchmark_of_a_gpu_says_that_there_is_none(tmp_path, benchmark, capsys, monkeypatch):
    import gpu

    monkeypatch.setattr(gpu, "CUDA", False)
    monkeypatch.setattr(gpu, "SMALL", pairs(5))
    monkeypatch.setattr(
        sys, "argv", ["gpu.py", "--recipes", "pix2pix", "--batches", "1", "--rounds", "1", "--steps", "1"]
    )
    gpu.main()
    printed = capsys.readouterr().out
    assert "There is no GPU" in printed
    assert "pix2pix from files: the GPU computes" in printed
    assert "| ours, batch 1, channels_last |" in printed


@pytest.mark.parametrize(
    ("settings", "inside"),
    [({}, True), ({"kernels": "plain"}, False), ({"compile": True}, False), ({"compile": "graphs"}, False)],
)
def test_the_recipe_switches_the_kernels(tmp_path, paired_folder, monkeypatch, settings, inside):
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *_, **__: None)
    run = start(small_recipe(paired_folder, training=settings), tmp_path / "run")
    seen = []
    run.trained.networks.generators["generator"].register_forward_hook(lambda *_: seen.append(fast()))
    loop.step(run, batches_of(run))
    assert seen == [inside]


@pytest.mark.parametrize(("settings", "mode"), [(True, None), ("graphs", "reduce-overhead")])
def test_graphs_are_a_mode_of_the_compiler(tmp_path, paired_folder, monkeypatch, settings, mode):
    modes = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda _, mode=None: modes.append(mode))
    start(small_recipe(paired_folder, training={"compile": settings}), tmp_path / "run")
    assert modes == [mode, mode]


def test_a_run_with_fast_kernels_goes_on_exactly(tmp_path, paired_folder, everywhere):
    def state(steps: int, name: str) -> list[dict[str, torch.Tensor]]:
        recipe = small_recipe(paired_folder, training={"steps": steps}, schedule={"kind": "constant"})
        train(recipe, tmp_path / name, show_progress=False)
        files = sorted((tmp_path / name / "checkpoints" / f"step_{steps:08d}").glob("*.safetensors"))
        return [load_file(path) for path in files]

    state(2, "stopped")
    for whole, stopped in zip(state(4, "whole"), state(4, "stopped"), strict=True):
        assert whole.keys() == stopped.keys()
        assert all(torch.equal(whole[key], stopped[key]) for key in whole)


def test_a_batch_norm_judges_real_and_fake_images_apart():
    torch.manual_seed(0)
    real, fake = torch.rand(2, 3, 32, 32), -torch.rand(2, 3, 32, 32)
    batch = PatchGAN(width=4, layers=1, norm="batch")
    judged = judge({"": Comparison(batch, real, fake)})[""]
    assert torch.equal(judged.real[0], batch(real)[0][-1])
    assert torch.equal(judged.fake[0], batch(fake)[0][-1])


@pytest.mark.parametrize(("norm", "forwards"), [("instance", 1), ("none", 1), ("batch", 2)])
def test_real_and_fake_images_are_judged_in_one_forward_where_that_is_the_same(norm, forwards):
    critic, calls = PatchGAN(width=4, layers=1, norm=norm), []
    critic.register_forward_hook(lambda *_: calls.append(1))
    judge({"": Comparison(critic, torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))})
    assert len(calls) == forwards


def unpaired_terms(norm: str, merged: int) -> tuple[list[torch.Tensor], int]:
    """The generators' terms of a batch of 2 and 2 images, and how many forwards of one generator they took."""
    torch.manual_seed(0)
    generators = {name: ResNet(width=4, blocks=1, norm=norm).double() for name in ("a_to_b", "b_to_a")}
    critics = {f"discriminator_{kind}": PatchGAN(width=4, layers=1).double() for kind in "ab"}
    calls: list[int] = []
    generators["a_to_b"].register_forward_hook(lambda *_: calls.append(1))
    images = torch.rand(2, 2, 3, 32, 32, dtype=torch.float64)
    batch = Unpaired(images[0], images[1], ["", ""], ["", ""])
    cyclegan.MERGED_PIXELS, before = merged, cyclegan.MERGED_PIXELS
    try:
        terms = CycleGAN(generators=generators, discriminators=critics).generator_terms(batch).terms
    finally:
        cyclegan.MERGED_PIXELS = before
    return [terms[name] for name in sorted(terms)], len(calls)


def test_translation_and_identity_share_a_forward_on_small_images_with_the_same_terms():
    apart, three = unpaired_terms("instance", 0)
    merged, two = unpaired_terms("instance", 4 * 32 * 32)
    assert (three, two) == (3, 2)
    torch.testing.assert_close(merged, apart, rtol=1e-12, atol=0)
    assert unpaired_terms("batch", 4 * 32 * 32)[1] == 3


def test_what_is_frozen_gets_no_gradient():
    critic = PatchGAN(width=4, layers=1)
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    with frozen([critic]):
        critic(image)[0][-1].sum().backward()
    assert image.grad is not None
    assert all(parameter.grad is None for parameter in critic.parameters())


FAULTS = """
import resource, torch
from translate.memory import keep_freed_memory
if {kept}: keep_freed_memory()
for _ in range(12): torch.ones(2**23)  # glibc needs some turns to find its places
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5): torch.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's memory")
def test_memory_that_is_kept_is_not_asked_for_again():
    faults = [
        int(subprocess.run([sys.executable, "-c", FAULTS.format(kept=kept)], capture_output=True, check=True).stdout)
        for kept in (False, True)
    ]
    assert faults[1] * 10 < faults[0]


def test_channels_last_is_for_half_precision_on_cuda_unless_it_is_asked_for():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert choose_layout("auto", cpu, "bf16") == torch.contiguous_format
    assert choose_layout("auto", cuda, "fp32") == torch.contiguous_format
    assert choose_layout("auto", cuda, "bf16") == torch.channels_last
    assert choose_layout(True, cpu, "fp32") == torch.channels_last
    assert choose_layout(False, cuda, "bf16") == torch.contiguous_format
