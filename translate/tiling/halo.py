"""The plain halo: each tile with all that it depends on around it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from translate.tiling.errors import TilingError
from translate.tiling.probe import Facts, size_rule
from translate.tiling.regions import Region, Sink, Source, cover
from translate.tiling.runner import Crew, Runner


@dataclass(frozen=True)
class Grid:
    """Where the tiles of an image are, and what they are computed of.

    unit: a multiple of the stride and of the size multiple; at it windows begin, and end but at the image's end.
    minimum: sides of a window, unless the image is smaller.
    """

    height: int
    width: int
    radius: int
    unit: int
    minimum: int

    @classmethod
    def of(cls, generator: nn.Module, source: Source, facts: Facts) -> Grid:
        """Raises TilingError if the network cannot run in tiles."""
        check_tileable(facts)
        multiple, minimum = size_rule(generator)
        height, width = source.shape[2:]
        return cls(height, width, facts.radius, math.lcm(facts.stride, multiple), minimum)

    def cores(self, side: int) -> list[Region]:
        """Tiles without their halo, of about side x side."""
        return list(cover(self.height, self.width, max(side // self.unit, 1) * self.unit))

    def window(self, core: Region) -> Region:
        """What a core, of any place and size, is computed of."""
        return Region(*self._along(core.top, core.bottom, self.height), *self._along(core.left, core.right, self.width))

    def _along(self, start: int, stop: int, side: int) -> tuple[int, int]:
        first = max(self._down(start - self.radius), 0)
        last = min(-self._down(-stop - self.radius), side)
        first = max(min(first, self._down(last - self.minimum)), 0)
        return first, min(max(last, -self._down(-first - self.minimum)), side)

    def _down(self, place: int) -> int:
        return place // self.unit * self.unit


def check_tileable(facts: Facts) -> None:
    """Raises TilingError unless a network of these facts can run in tiles with a halo."""
    if facts.norms == "global" or facts.beyond:
        sees = "the whole image at once, or in a way that could not be followed"
        if facts.beyond:
            sees = f"more than {facts.radius} pixels around each one"
        raise TilingError(
            f"this network cannot run in tiles, because it sees {sees}: run it whole (--tile off), or give a "
            "smaller image"
        )


@dataclass(frozen=True)
class Tiles:
    """A generator, an image, and who translates it; `compute` is what computes the generator, if not itself."""

    generator: nn.Module
    source: Source
    grid: Grid
    runner: Runner
    crew: Crew
    compute: Callable[[Tensor], Tensor] | None = None

    def forward(self, window: Region) -> Tensor:
        """What the generator makes of a part of the image, on the device."""
        output: Tensor = (self.compute or self.generator)(self.source.read(window).to(self.runner.device))
        return output

    def each(
        self, work: Callable[[Region], Tensor], take: Callable[[Region, Tensor], None], begin: float, share: float
    ) -> None:
        """`work` of the cores of this process, and `take` of each result; done when all processes are.

        Args:
            begin, share: where the progress of the whole stands, and what this adds to it.
        """
        pixels, every = 0, self.grid.height * self.grid.width
        cores = self.grid.cores(self.crew.smallest(self.runner.side))
        with self.crew.together():
            for core, values in self.runner.each(self.crew.mine(cores), work):
                take(core, values)
                pixels += core.height * core.width
                self.runner.progress(min(begin + share * pixels * self.crew.count / every, 1.0))

    def write(self, forward: Callable[[Region], Tensor], sink: Sink, scale: int, begin: float = 0.0) -> None:
        """The last pass: `forward` of the windows, whose cores go to `sink`."""

        def work(core: Region) -> Tensor:
            window = self.grid.window(core)
            return forward(window)[(..., *enlarged(core, scale).within(enlarged(window, scale)))]

        self.each(work, lambda core, values: sink.write(enlarged(core, scale), values), begin, 1 - begin)


def enlarged(region: Region, scale: int) -> Region:
    """The region of the output that belongs to one of the input."""
    return Region(*(edge * scale for edge in region))


def run_halo(
    generator: nn.Module,
    source: Source,
    sink: Sink,
    facts: Facts,
    runner: Runner,
    crew: Crew | None = None,
    *,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Translate an image in tiles with a halo of the network's radius: exact without norms of the whole image.

    Args:
        generator: in eval mode, on the runner's device.
        source: (N, C, H, W), padded to the generator's size rule.
        sink: takes (N, C', scale * H, scale * W).
        facts: of the generator, by `probe`.
        crew: the processes that share the image; each writes its share of the tiles.
        forward: what computes the generator, if not itself.

    Raises:
        TilingError: the network needs more than a halo, the memory is too small, or another process failed.
    """
    if facts.norms == "spatial":
        raise TilingError("norms of this network look at the whole image, for which a halo is not enough: take passes")
    tiles = Tiles(generator, source, Grid.of(generator, source, facts), runner, crew or Crew(), forward)
    tiles.write(tiles.forward, sink, facts.scale)
