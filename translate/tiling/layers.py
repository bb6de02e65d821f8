"""Layer streaming: a network runs layer by layer, and each layer tile by tile. Exact for tiles of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from translate.tiling.maps import MapStore
from translate.tiling.moments import Moments, merged
from translate.tiling.normalisation import Normalisation, takes_whole
from translate.tiling.operations import Convolution, Pointwise, SpatialNorm, TransposedConvolution
from translate.tiling.plan import Plan, Stage, needed_regions
from translate.tiling.regions import Region, Sink, Source, cover
from translate.tiling.runner import Crew, Runner
from translate.tiling.trace import Node

LARGEST_BLOCK = 2**22  # values, 16 MiB: on a CPU larger ones are slower, and a tile is never more


def stream_layers(
    plan: Plan, source: Source, sink: Sink, runner: Runner, store: MapStore, crew: Crew | None = None
) -> None:
    """Translate an image by a plan that was made for its shape.

    Args:
        source: of the shape of plan.nodes[0], padded to the network's size rule.
        sink: takes the result.
        store: keeps the maps between the layers, and is empty again afterwards.
        crew: the processes that share the image. Each computes its share of the tiles, reads all of `source`, and
            writes its share to `sink`.

    Raises:
        TilingError: the device, the disk or float16 maps are too small, or another process failed.
    """
    crew = crew or Crew()
    run = _Streaming(plan, runner, store, crew, {0: source}, {})
    total = sum(stage.work for stage in plan.stages)
    done = 0.0
    try:
        for stage in plan.stages:
            last = stage is plan.stages[-1]
            target = sink if last else store.make(plan.nodes[stage.target].shape) if stage.target else _Nowhere()
            run.stage(stage, target, done / total, stage.work / total)
            done += stage.work
            if not last and stage.target:
                run.maps[stage.target] = target  # type: ignore[assignment]
            for index in stage.released:
                if index:
                    store.release(run.maps.pop(index))  # type: ignore[arg-type]
    finally:
        store.close()


class _Nowhere:
    """Takes what is there already."""

    def write(self, region: Region, values: Tensor) -> None: ...


@dataclass(frozen=True)
class _Streaming:
    plan: Plan
    runner: Runner
    store: MapStore
    crew: Crew
    maps: dict[int, Source]
    norms: dict[int, Normalisation]  # whose maps are there

    def stage(self, stage: Stage, target: Sink, done: float, share: float) -> None:
        """Make one map."""
        node = self.plan.nodes[stage.target]
        norms = self._norms_of(stage.target)
        whole = self.crew.count == 1 and self.runner.device.type == "cpu" and takes_whole(target, norms.values())
        sums: dict[int, Moments] = {}
        latest: dict[int, Moments] = {}  # of the tile that was computed last
        height, width = node.shape[2:]
        side = self._side(stage, self.crew.smallest(self.runner.side))
        pixels = 0

        def work(region: Region) -> Tensor:
            values = self._evaluate(stage, region)
            for index, norm in norms.items() if not whole else ():
                latest[index] = Moments.of(values.float().reshape(len(values), norm.groups, -1))
            return values

        with self.crew.together():
            for region, values in self.runner.each(self.crew.mine(cover(height, width, side)), work):
                target.write(region, values)
                for index, own in latest.items():
                    sums[index] = sums[index].merge(own) if index in sums else own
                pixels += region.height * region.width
                self.runner.progress(min(done + share * min(pixels * self.crew.count / (height * width), 1.0), 1.0))
        for index, norm in norms.items():
            if whole:
                self.norms[index] = Normalisation.of_map(target, norm)  # type: ignore[arg-type]
                continue
            everybody = merged(one for one in self.crew.gather(sums.get(index)) if one is not None)  # some had no tile
            self.norms[index] = Normalisation.of_moments(everybody, norm, node.shape[1], self.runner.device)

    def _side(self, stage: Stage, side: int) -> int:
        """Of a stage's tiles, for tiles of this side of the image."""
        own = max(round(side * stage.side), 1)
        if self.runner.device.type != "cpu":
            return own
        images = self.plan.nodes[0].shape[0]
        return max(min(own, math.isqrt(int(LARGEST_BLOCK / (images * stage.values)))), 1)

    def _norms_of(self, target: int) -> dict[int, SpatialNorm]:
        """The norms that look at a map."""
        every = zip(self.plan.nodes, self.plan.operations, strict=True)
        return {
            node.index: operation
            for node, operation in every
            if isinstance(operation, SpatialNorm) and node.inputs[0] == target
        }

    def _evaluate(self, stage: Stage, region: Region) -> Tensor:
        """A region of a stage's map, on the device."""
        operations, nodes = self.plan.operations, self.plan.nodes
        needed = needed_regions(stage.nodes, region, nodes, operations)
        tiles = {index: self.maps[index].read(needed[index]).to(self.runner.device) for index in stage.sources}
        uses = _uses(stage, nodes)
        owned = {index for index in stage.sources if index}  # tiles that are no one else's memory; maps give copies
        for index in stage.nodes:
            node, operation = nodes[index], operations[index]
            if operation is None:  # the image, for its statistics
                continue
            have = operation.needs(needed[index])
            inputs = [tiles[one][(..., *have.within(needed[one]))] for one in node.inputs]
            for one in node.inputs:
                uses[one] -= 1
                if not uses[one]:
                    del tiles[one]
            # A tile that nothing reads any more is overwritten: large new blocks cost more than the arithmetic.
            last = len(node.inputs) == 1 and node.inputs[0] in owned and not uses[node.inputs[0]]
            if isinstance(operation, SpatialNorm):
                tiles[index] = self.norms[index].apply(inputs[0], overwrite=last)
            else:
                if isinstance(operation, Pointwise):
                    operation = replace(operation, overwrite=last)
                with _precision(node, self.runner):
                    tiles[index] = operation.run(inputs, have, needed[index])
            if last or isinstance(operation, Convolution | TransposedConvolution | SpatialNorm):
                owned.add(index)
            del inputs
        return tiles[stage.target]


def _uses(stage: Stage, nodes: Sequence[Node]) -> dict[int, int]:
    """How often each map of a stage is read within it."""
    uses: dict[int, int] = {}
    for index in stage.nodes:
        for one in nodes[index].inputs:
            uses[one] = uses.get(one, 0) + 1
    return uses


def _precision(node: Node, runner: Runner) -> AbstractContextManager[object]:
    """The precision of the runner, but where the network itself asks for that of its weights."""
    return torch.autocast(runner.device.type, enabled=False) if node.exact else nullcontext()
