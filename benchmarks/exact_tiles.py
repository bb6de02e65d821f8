"""Our exact tilings of an image, as the benchmarks call them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from translate.tiling.passes import run_statistic_passes
from translate.tiling.probe import Facts
from translate.tiling.regions import Region, Sink, Source
from translate.tiling.runner import Crew, Runner
from translate.tiling.tiled import Tiling, translate_tiled


@dataclass(frozen=True)
class InMemory:
    """An image (N, C, H, W) or what becomes of it, as source and sink."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.values.shape

    def read(self, region: Region) -> Tensor:
        return self.values[..., *region.slices]

    def write(self, region: Region, values: Tensor) -> None:
        self.values[..., *region.slices] = values


def layer_by_layer(generator: nn.Module, image: Tensor, side: int) -> Tensor:
    """Layer streaming, maps in memory."""
    output = InMemory(empty_output(generator, image))
    translate_tiled(generator, InMemory(image), output, side, tiling=Tiling(map_memory=2**40))
    return output.values


def layer_by_layer_on_disk(generator: nn.Module, source: Source, sink: Sink, side: int, scratch: Path) -> None:
    """Layer streaming, maps on disk."""
    translate_tiled(generator, source, sink, side, tiling=Tiling(map_memory=0, scratch=scratch))


def pass_by_pass(generator: nn.Module, image: Tensor, side: int, facts: Facts) -> Tensor:
    """Statistic passes, which `translate_tiled` takes for networks that cannot be recorded."""
    output = InMemory(empty_output(generator, image))
    runner = Runner(image.device, torch.float32, side)
    run_statistic_passes(generator, InMemory(image), output, facts, runner, Crew())
    return output.values


def empty_output(generator: nn.Module, image: Tensor) -> Tensor:
    """Not a number anywhere, so that what is not written is seen."""
    return image.new_full((len(image), int(generator.out_channels), *image.shape[2:]), torch.nan)
