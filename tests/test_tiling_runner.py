"""What tiles run on: too little memory, low precision, pooled statistics."""

import logging

import numpy as np
import pytest
import torch
from test_tiling_layers import lively, photograph, tiled, whole
from torch import nn

from translate.networks import EDSR, ResNet, UNet
from translate.tiling.errors import TilingError
from translate.tiling.moments import Moments, merged
from translate.tiling.operations import Convolution
from translate.tiling.regions import cover
from translate.tiling.runner import Runner, is_out_of_memory

CPU = torch.device("cpu")
NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.87 GB)"),
    MemoryError("Unable to allocate 3.00 GiB"),
]


def limited(most, error=NO_MEMORY[0]):
    """Work that gives the number of each pixel of a map 100 wide, and needs memory for so many pixels."""
    asked = []

    def work(region):
        asked.append(region)
        if region.height * region.width > most:
            raise error
        return torch.arange(10_000).reshape(1, 1, 100, 100)[(..., *region.slices)].float()

    return work, asked


# memory


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_after_an_out_of_memory_every_pixel_comes_once_in_smaller_tiles(error, caplog):
    runner, (work, asked) = Runner(CPU, torch.float32, 40), limited(150, error)
    seen = torch.zeros(1, 1, 100, 100)
    for region, values in runner.each(cover(100, 100, 40), work):
        assert region.height * region.width <= 150
        seen[(..., *region.slices)] += values + 1
    assert torch.equal(seen.flatten(), torch.arange(1.0, 10_001))
    assert (runner.side, runner.halvings) == (10, 2)
    # Two attempts were too much; then the sizes are remembered: no other attempt is.
    assert [region.height for region in asked[:3]] == [40, 20, 10]
    assert sum(region.height * region.width > 150 for region in asked) == 2
    assert runner.tiles == len(asked) - 2
    assert "cpu is out of memory: going on with tiles of 20 pixels" in caplog.text


def test_a_size_is_remembered_for_the_next_map_and_halved_again_if_need_be():
    runner = Runner(CPU, torch.float32, 64)
    list(runner.each(cover(100, 100, runner.side), limited(1024)[0]))
    assert runner.side == 32
    work, asked = limited(1024)
    list(runner.each(cover(100, 100, runner.side), work))
    assert len(asked) == 16
    assert runner.halvings == 1


def test_memory_that_is_too_small_for_a_small_tile_is_an_error():
    runner = Runner(CPU, torch.float32, 64)
    message = "the memory of cpu is too small for a tile of 8 x 8 pixels: end what else uses it, or take another device"
    with pytest.raises(TilingError, match=message):
        list(runner.each(cover(100, 100, 64), limited(63)[0]))
    assert list(Runner(CPU, torch.float32, 64).each(cover(100, 100, 64), limited(64)[0]))


@pytest.mark.parametrize(
    "error", [RuntimeError("expected 3 channels"), ValueError("out of memory"), KeyboardInterrupt()]
)
def test_other_errors_pass(error):
    runner = Runner(CPU, torch.float32, 64)
    with pytest.raises(type(error)):
        list(runner.each(cover(100, 100, 64), limited(63, error)[0]))
    assert runner.halvings == 0
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("network", [UNet(width=4, depth=3), ResNet(width=4, blocks=1), EDSR(width=4, blocks=2)])
def test_a_network_on_a_small_device_gives_the_same(network, monkeypatch):
    images, run = photograph(71, 102), Convolution.run
    expected = whole(lively(network), images)
    attempts = []

    def run_limited(self, inputs, have, region):
        attempts.append(inputs[0].shape[2] * inputs[0].shape[3])
        if attempts[-1] > 700:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, inputs, have, region)

    monkeypatch.setattr(Convolution, "run", run_limited)
    output, report = tiled(network, images, 64)
    assert torch.equal(output.isfinite(), torch.ones_like(output, dtype=torch.bool))
    assert float((output - expected).abs().max()) <= 1e-5
    assert report.halvings >= 2
    assert report.tile == 64 >> report.halvings
    assert sum(attempt > 700 for attempt in attempts) == report.halvings


# low precision


class Overflow(nn.Module):
    """Squares of sums that float16 cannot hold where the image is bright."""

    scale = size_multiple = size_minimum = 1
    in_channels = out_channels = 1

    def forward(self, image):
        large = nn.functional.conv2d(image * 1000, torch.ones(1, 1, 1, 1)) * 100  # at most 65504 in float16
        return large / 1e5


@pytest.mark.parametrize(("dtype", "redone"), [(torch.float16, 2), (torch.bfloat16, 0), (torch.float32, 0)])
def test_only_tiles_that_are_not_finite_are_done_again_in_full_precision(dtype, redone, caplog):
    image = torch.full((1, 1, 32, 48), 0.25)
    image[..., 3, 40] = image[..., 20, 20] = 0.9  # in two of six tiles
    output, report = tiled(Overflow(), image, 16, dtype=dtype)
    torch.testing.assert_close(output, image, rtol=0, atol=5e-3)
    assert (report.redone, report.tiles) == (redone, 6)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == (redone > 0)
    assert not redone or "a tile in torch.float16 is not finite: done again in float32" in caplog.text
    assert float((output - image)[..., :16, 32:].abs().max() if redone else 0) < 1e-6  # float32


def test_low_precision_is_that_of_the_whole_image():
    network, images = lively(UNet(width=8, depth=3)), photograph(64, 96)
    with torch.autocast("cpu", torch.bfloat16):
        expected = whole(network, images).float()
    output = tiled(network, images, 32, dtype=torch.bfloat16)[0]
    full = whole(network, images)
    error = float((expected - full).abs().mean())
    assert error > 1e-3
    assert float((output - full).abs().mean()) < 1.2 * error
    assert float((output - expected).abs().mean()) < error / 2


# statistics


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (1000, 1), (-1e4, 0.1), (3, 0)])
def test_moments_of_parts_are_those_of_all_also_where_the_mean_is_large(mean, deviation):
    values = np.random.default_rng(0).normal(mean, deviation, (2, 3, 5000)).astype(np.float32)
    parts = [Moments.of(torch.from_numpy(part)) for part in np.split(values, [1, 2, 700, 703, 4000], axis=2)]
    moments, exact = merged(parts), values.astype(np.float64)
    assert moments.count == 5000
    np.testing.assert_allclose(moments.mean, exact.mean(2), rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(moments.variance, exact.var(2), rtol=1e-6, atol=1e-12)
    backwards = merged(parts[::-1])
    torch.testing.assert_close(backwards.variance, moments.variance, rtol=1e-9, atol=1e-15)


def test_moments_can_be_checked_by_eye():
    moments = Moments.of(torch.tensor([[1.0, 3.0]])).merge(Moments.of(torch.tensor([[5.0]])))
    assert (moments.count, moments.mean.item(), moments.squares.item()) == (3, 3, 8)
    assert Moments.of(torch.tensor([7.0], dtype=torch.float16)).variance == 0
