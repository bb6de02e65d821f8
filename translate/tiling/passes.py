"""Statistic passes: one pass over the tiles for each norm that looks at the whole image, and one for the output."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from translate.tiling.errors import TilingError
from translate.tiling.halo import Grid, Tiles
from translate.tiling.moments import Moments, merged
from translate.tiling.norm_calls import NormCall, norm_call
from translate.tiling.normalisation import Normalisation
from translate.tiling.probe import Facts
from translate.tiling.regions import Region, Sink, Source
from translate.tiling.runner import Crew, Runner

logger = logging.getLogger(__name__)


def run_statistic_passes(
    generator: nn.Module, source: Source, sink: Sink, facts: Facts, runner: Runner, crew: Crew | None = None
) -> None:
    """Translate an image by a network whose norms look at the whole of it, exactly, in tiles with a halo.

    For every call of a norm, in their order, all tiles run up to it with the exact statistics of those before, and its
    own are pooled in float64 over the cores. Then all tiles run to the end. With K norms that costs about K / 2 + 1
    times the plain halo. Norms are caught as operators while the module runs, which stays as it is: it may be scripted
    or compiled, and may call functions in place of modules.

    Args:
        generator: in eval mode, on the runner's device.
        source: (N, C, H, W), padded to the generator's size rule.
        sink: takes (N, C', scale * H, scale * W).
        facts: of the generator, by `probe`.
        crew: the processes that share the image; each writes its share of the tiles.

    Raises:
        TilingError: the network sees the whole image by more than its norms, its norms are others from tile to tile,
            the memory is too small, or another process failed.
    """
    tiles = Tiles(generator, source, Grid.of(generator, source, facts), runner, crew or Crew())
    passes = _Passes(tiles, _find_norms(tiles), [])
    count = len(passes.norms)
    logger.info("%d norms look at the whole image: about %.1f forward passes a tile", count, count / 2 + 1)
    total = (count + 1) * (count + 2) / 2  # of what there is up to the first norm
    for number in range(count):
        passes.measure(number * (number + 1) / 2 / total, (number + 1) / total)
    tiles.write(passes.forward, sink, facts.scale, count * (count + 1) / 2 / total)


@dataclass(frozen=True)
class _Norm:
    """A call of a norm. rows, columns: sides of its map, for those of 1 of the image; call: values are (N, C, 0, 0)."""

    call: NormCall
    rows: Fraction
    columns: Fraction

    def region(self, image: Region) -> Region:
        """What of the map belongs to a region of the image: each pixel to one, where regions cover the image."""
        top, bottom = (math.ceil(edge * self.rows) for edge in (image.top, image.bottom))
        left, right = (math.ceil(edge * self.columns) for edge in (image.left, image.right))
        return Region(top, bottom, left, right)


def _find_norms(tiles: Tiles) -> list[_Norm]:
    """The norms in the order of their calls, by a run of the first tile."""
    norms: list[_Norm] = []

    def work(core: Region) -> Tensor:
        window = tiles.grid.window(core)
        seen = _Listed(window)
        with seen:
            tiles.forward(window)
        norms[:] = seen.norms
        return torch.zeros(1)

    with tiles.crew.together():
        for _ in tiles.runner.each(tiles.grid.cores(tiles.runner.side)[:1], work):
            pass
    for norm in norms:
        if (norm.rows * tiles.grid.unit).denominator != 1 or (norm.columns * tiles.grid.unit).denominator != 1:
            raise TilingError(
                f"a norm of this network sees a map of {norm.rows} x {norm.columns} times the size of the image, which "
                f"tiles at multiples of {tiles.grid.unit} pixels cannot be cut out of: run it whole (--tile off)"
            )
    return norms


class _Listed(TorchDispatchMode):
    """Inside, norms do nothing and are listed."""

    def __init__(self, window: Region) -> None:
        super().__init__()
        self.window, self.norms = window, list[_Norm]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        call = norm_call(func, args, kwargs or {})
        if call is None:
            return func(*args, **(kwargs or {}))
        n, channels, height, width = call.values.shape
        rows, columns = Fraction(height, self.window.height), Fraction(width, self.window.width)
        self.norms.append(_Norm(replace(call, values=call.values.new_empty(n, channels, 0, 0)), rows, columns))
        return call.values.clone()


class _Reached(Exception):
    """The norm that a pass is for: what comes behind it is not computed."""


class _Frozen(TorchDispatchMode):
    """Inside, the first norms have the known statistics, and the one behind them ends the forward pass.

    Attributes:
        reached: that one.
        calls: how many norms there were.
    """

    def __init__(self, norms: Sequence[_Norm], known: Sequence[Normalisation], window: Region) -> None:
        super().__init__()
        self.norms, self.known, self.window = norms, known, window
        self.calls = 0
        self.reached: NormCall | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        call = norm_call(func, args, kwargs or {})
        if call is None:
            return func(*args, **(kwargs or {}))
        number = self.calls
        self.calls += 1
        if number == len(self.norms):
            raise _changed()
        window = self.norms[number].region(self.window)
        if call.values.shape[2:] != (window.height, window.width):
            raise _changed()
        if number == len(self.known):
            self.reached = call
            raise _Reached
        return call.normalised(self.known[number], window)


@dataclass(frozen=True)
class _Passes:
    tiles: Tiles
    norms: Sequence[_Norm]
    known: list[Normalisation]  # of the first norms

    def measure(self, begin: float, share: float) -> None:
        """Get to know the statistics of the next norm."""
        norm = self.norms[len(self.known)]
        parts: list[Moments] = []

        def take(core: Region, packed: Tensor) -> None:
            if count := int(packed[0].flatten()[0]):
                parts.append(Moments(count, packed[1], packed[2]))

        self.tiles.each(self._moments, take, begin, share)
        own = [merged(parts)] if parts else []  # a process may have had no tile
        whole = merged(one for each in self.tiles.crew.gather(own) for one in each)
        self.known.append(norm.call.normalisation(whole))

    def _moments(self, core: Region) -> Tensor:
        """Count, mean and squares of the next norm in a core, float64 (3, images, groups); zeros where it has none."""
        norm, window = self.norms[len(self.known)], self.tiles.grid.window(core)
        seen = _Frozen(self.norms, self.known, window)
        try:
            with seen:
                self.tiles.forward(window)
        except Exception:  # a scripted module makes another one of it
            if seen.reached is None:
                raise
        if seen.reached is None:
            raise _changed()
        part = norm.region(core)
        if not part.height * part.width:
            return torch.zeros(3, 1, 1, dtype=torch.float64)
        rows, columns = part.within(norm.region(window))
        moments = seen.reached.moments(rows, columns)
        return torch.stack([torch.full_like(moments.mean, moments.count), moments.mean, moments.squares])

    def forward(self, window: Region) -> Tensor:
        """What the generator makes of a part of the image, once the statistics of all norms are known."""
        with _Frozen(self.norms, self.known, window):
            return self.tiles.forward(window)


def _changed() -> TilingError:
    return TilingError("the norms of this network are others from tile to tile: run it whole (--tile off)")
