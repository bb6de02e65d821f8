"""An image in tiles: which method is exact for a network, and the run."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from translate.sizes import mirrored, padded_side
from translate.tiling.errors import TilingError, Untraceable
from translate.tiling.facts import facts_of
from translate.tiling.halo import run_halo
from translate.tiling.layers import stream_layers
from translate.tiling.maps import MapStore
from translate.tiling.memory import bytes_per_pixel, free_memory, peak_memory, tile_bytes, whole_bytes
from translate.tiling.passes import run_statistic_passes
from translate.tiling.plan import Plan, halo_cost, in_one_stage, make_plan
from translate.tiling.probe import Facts, probe
from translate.tiling.regions import Region, Sink, Source
from translate.tiling.runner import Crew, Runner
from translate.tiling.trace import Shape, trace

logger = logging.getLogger(__name__)
Method = Literal["whole", "halo", "layers", "statistics"]
SIDES = (2048, 1024, 512, 256, 128, 64)  # that "auto" tries
LARGEST_ON_CPU = 512  # larger ones leave the caches, and are no faster
PART_OF_FREE = 0.7  # of the device's free memory that "auto" takes
LARGEST_HALO = 1.5  # times the pixels of a tile that it may compute with its halo, before layers are cheaper
LARGEST_HALO_ELSEWHERE = 2.0  # likewise, for a back end that is not torch


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Args:
        tile: side in pixels of the image; "auto" measures the free memory, and does not cut what fits; None never cuts.
        map_memory: bytes of activation maps that are kept in host memory, those beyond it are on disk; None is half of
            what is free.
        map_dtype: float32, or float16: half the space, and an error that the documentation states.
        scratch: folder for maps on disk, which processes that share an image share; None is the system's.

    Raises:
        TilingError: for other values.
    """

    tile: int | Literal["auto"] | None = "auto"
    map_memory: int | None = None
    map_dtype: torch.dtype = torch.float32
    scratch: Path | None = None

    def __post_init__(self) -> None:
        number = isinstance(self.tile, int) and not isinstance(self.tile, bool)
        if self.tile not in ("auto", None) and not (number and self.tile >= 8):  # type: ignore[operator]
            raise TilingError(f"a tile is a number of pixels from 8 on, 'auto' or off (None), got {self.tile!r}")
        if self.map_memory is not None and not (isinstance(self.map_memory, int) and self.map_memory >= 0):
            raise TilingError(f"map_memory is a number of bytes, 0 or more, got {self.map_memory!r}: 0 is all on disk")
        if self.map_dtype not in (torch.float32, torch.float16):
            raise TilingError(f"maps are float32 or float16, got {self.map_dtype}: float32 is exact")
        if self.scratch is not None and not Path(self.scratch).is_dir():
            raise TilingError(f"the scratch folder {self.scratch} is no folder: create it first")

    @property
    def folder(self) -> Path:
        """For what is kept on disk while it runs."""
        return Path(self.scratch or tempfile.gettempdir())


@dataclass(frozen=True)
class TileReport:
    """What a run in tiles did.

    tile: its side in the end, None where the image was not cut.
    redone: tiles that were not finite in low precision and were done again in float32.
    map_memory, map_disk: most bytes of activation maps that were there at once.
    peak_memory: most bytes of a GPU for this image; on a CPU most bytes of the process so far, libraries included.
    """

    method: Method
    tile: int | None
    tiles: int
    halvings: int
    redone: int
    map_memory: int
    map_disk: int
    peak_memory: int


@dataclass(frozen=True)
class Padded:
    """A source, mirrored at the bottom and on the right to the size that a network takes (see translate.sizes)."""

    source: Source
    height: int
    width: int

    @property
    def shape(self) -> Shape:
        return (*self.source.shape[:2], self.height, self.width)

    def read(self, region: Region) -> Tensor:
        height, width = self.source.shape[2:]
        if region.bottom <= height and region.right <= width:
            return self.source.read(region)
        cpu = torch.device("cpu")
        rows = mirrored(height, self.height, cpu)[region.top : region.bottom]
        columns = mirrored(width, self.width, cpu)[region.left : region.right]
        inside = Region(int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1)
        return self.source.read(inside)[..., rows - inside.top, :][..., columns - inside.left]


@dataclass(frozen=True)
class Cut:
    """A sink without what was padded."""

    sink: Sink
    height: int
    width: int

    def write(self, region: Region, values: Tensor) -> None:
        bottom, right = min(region.bottom, self.height), min(region.right, self.width)
        if bottom > region.top and right > region.left:
            inside = Region(region.top, bottom, region.left, right)
            self.sink.write(inside, values[..., : inside.height, : inside.width])


def padded(source: Source, generator: nn.Module) -> Padded:
    """A source of the size that a generator takes."""
    multiple, minimum = int(generator.size_multiple), int(generator.size_minimum)  # type: ignore[arg-type]
    height, width = (padded_side(side, multiple, minimum) for side in source.shape[2:])
    return Padded(source, height, width)


def side_for(
    generator: nn.Module, source: Source, tiling: Tiling, device: torch.device, *, streamed: bool = False
) -> int | None:
    """The side of the tiles for an image, None where it is not cut.

    Args:
        streamed: whether the image is larger than what should be in memory as a whole.
    """
    height, width = source.shape[2:]
    if tiling.tile is None:
        return None
    if tiling.tile != "auto":
        return None if max(height, width) <= tiling.tile else tiling.tile
    shape, budget = padded(source, generator).shape, free_memory(device) * PART_OF_FREE
    sides = [side for side in SIDES if device.type != "cpu" or side <= LARGEST_ON_CPU]
    try:
        whole = whole_bytes(trace(generator, shape, device))
    except Untraceable:
        per_pixel = bytes_per_pixel(generator, device) * shape[0]
        if per_pixel * height * width <= budget and not streamed:
            return None
        return next((side for side in sides if per_pixel * (2 * side) ** 2 <= budget), sides[-1])
    if whole <= budget and not streamed:
        return None
    fitting = (side for side in sides if tile_bytes(make_plan(generator, shape, side, device), side) <= budget)
    return next(fitting, sides[-1])


def translate_tiled(
    generator: nn.Module,
    source: Source,
    sink: Sink,
    side: int,
    *,
    tiling: Tiling | None = None,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    facts: Facts | None = None,
    forward: Callable[[Tensor], Tensor] | None = None,
    crew: Crew | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> TileReport:
    """Translate an image of any size in tiles: what the generator gives for the whole, within rounding.

    Args:
        generator: in eval mode, on `device`.
        source: the image in model space, of any size.
        sink: takes the result, (N, C', scale * H, scale * W), region by region.
        side: of the tiles, in pixels of the image.
        dtype: float32, or that of mixed precision.
        facts: of the generator, where they are known; needed only for functions that tiles do not know.
        forward: what computes the generator, if not itself; without norms of the whole image, which need its layers.
        crew: the processes that share the image.
        progress: called with the share that is done.

    Raises:
        TilingError: the network looks at the whole image in another way than by norms, the memory is too small for a
            small tile, the disk for the maps, or another process failed.
    """
    tiling, device, crew = tiling or Tiling(), device or torch.device("cpu"), crew or Crew()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    whole, scale = padded(source, generator), int(generator.scale)  # type: ignore[arg-type]
    cut = Cut(sink, source.shape[2] * scale, source.shape[3] * scale)
    runner = Runner(device, dtype, side, progress)
    limit = free_memory(torch.device("cpu")) // 2 if tiling.map_memory is None else tiling.map_memory
    store = MapStore(limit, tiling.map_dtype, tiling.folder, crew)
    method = _run(generator, whole, cut, _Run(runner, store, crew, facts, forward))
    return TileReport(
        method, runner.side, runner.tiles, runner.halvings, runner.redone, store.peak_memory, store.peak_disk,
        peak_memory(device),
    )  # fmt: skip


@dataclass(frozen=True)
class _Run:
    runner: Runner
    store: MapStore
    crew: Crew
    facts: Facts | None
    forward: Callable[[Tensor], Tensor] | None


def _run(generator: nn.Module, source: Padded, sink: Cut, run: _Run) -> Method:
    """Translate by the cheapest method that is exact, and say which it was. Raises TilingError where there is none."""
    side, facts = run.runner.side, run.facts
    plan: Plan | None = None
    with run.crew.together():
        try:
            plan = make_plan(generator, source.shape, side, run.runner.device, run.runner.dtype)
        except Untraceable as error:
            logger.debug("no layer streaming: %s", error)
            facts = facts or probe(generator)
    if run.forward is not None and plan and not plan.has_norms and halo_cost(plan, side) <= LARGEST_HALO_ELSEWHERE:
        facts = facts or facts_of(generator)
        run_halo(generator, source, sink, facts=facts, runner=run.runner, crew=run.crew, forward=run.forward)
        return "halo"
    if run.forward is not None:
        logger.info(
            "tiles of %d pixels of this network run in torch, layer by layer, and not on the back end: %s",
            side,
            "its norms look at the whole image" if plan is None or plan.has_norms else "their halo would be too large",
        )
    if plan is None:
        assert facts is not None
        if facts.norms == "spatial":
            run_statistic_passes(generator, source, sink, facts=facts, runner=run.runner, crew=run.crew)
            return "statistics"
        run_halo(generator, source, sink, facts=facts, runner=run.runner, crew=run.crew)
        return "halo"
    at_once = not plan.has_norms and halo_cost(plan, side) <= LARGEST_HALO
    stream_layers(in_one_stage(plan) if at_once else plan, source, sink, run.runner, run.store, run.crew)
    return "halo" if at_once else "layers"
