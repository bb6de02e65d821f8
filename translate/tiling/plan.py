"""Which maps of a network are kept between its layers, and what is computed of them tile by tile."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from translate.tiling.operations import (
    Convolution,
    Operation,
    Pointwise,
    SpatialNorm,
    TransposedConvolution,
)
from translate.tiling.recognise import operation_of
from translate.tiling.regions import Region
from translate.tiling.shapes import name_of
from translate.tiling.trace import Node, Shape, trace

LARGEST_REACH = 1 / 20  # of a tile's side: how far beyond it a stage may compute what the next tile computes again


@dataclass(frozen=True)
class Stage:
    """A map that is made tile by tile of maps that are there.

    target: the node that it is the result of; 0 where only the statistics of the image are taken, for a norm of it.
    nodes: what is computed for it, in order; the last is the target.
    sources: the maps that are read.
    released: maps that no later stage needs.
    side: of its tiles, in its own pixels, for tiles of side 1 of the image.
    values: of the largest map that it holds, for each pixel of its own.
    work: multiplications for the whole map.
    """

    target: int
    nodes: tuple[int, ...]
    sources: tuple[int, ...]
    released: tuple[int, ...]
    side: float
    values: float
    work: float


@dataclass(frozen=True)
class Plan:
    """How a network runs layer by layer. nodes[0] is the image, the last one the result."""

    nodes: list[Node]
    operations: list[Operation | None]  # None of the image
    stages: list[Stage]

    @property
    def has_norms(self) -> bool:
        """Whether anything looks at the whole image."""
        return any(isinstance(operation, SpatialNorm) for operation in self.operations)


def make_plan(
    network: nn.Module, shape: Shape, side: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> Plan:
    """Cut a network into stages, for an image (N, C, H, W) and tiles of `side` pixels.

    Maps are kept where a norm needs the statistics of the whole, and where a stage would otherwise compute too much
    that its neighbours compute, too, or the same as another stage.

    Raises:
        Untraceable: the network does something that tiles do not know.
        ValueError: it refuses the shape.
    """
    nodes = trace(network, shape, device, dtype)
    operations = [operation_of(node, nodes) if node.function else None for node in nodes]
    kept = _kept_for_reach(nodes, operations, side)
    _keep_shared(nodes, operations, kept)
    of_image = {
        0 for node, one in zip(nodes, operations, strict=True) if isinstance(one, SpatialNorm) and 0 in node.inputs
    }
    return Plan(nodes, operations, _stages(nodes, operations, sorted(kept - {0} | of_image)))


def needed_regions(
    indices: Sequence[int], region: Region, nodes: Sequence[Node], operations: Sequence[Operation | None]
) -> dict[int, Region]:
    """The region of every map that a region of the last one depends on, through the nodes that are given in order."""
    needed = {indices[-1]: region}
    for index in reversed(indices):
        operation = operations[index]
        if operation is None or index not in needed:
            continue
        wanted = operation.needs(needed[index])
        for one in nodes[index].inputs:
            needed[one] = needed[one].hull(wanted) if one in needed else wanted
    return needed


def halo_cost(plan: Plan, side: int) -> float:
    """How many pixels of the image a tile in its middle depends on, times those of the tile.

    The norms' statistics do not count.
    """
    (height, width), made = plan.nodes[0].shape[2:], plan.nodes[-1].shape[2:]
    rows, columns = min(side, height), min(side, width)
    top, left = (height - rows) // 2, (width - columns) // 2
    scale = made[0] // height
    region = Region(top * scale, (top + rows) * scale, left * scale, (left + columns) * scale)
    seen = needed_regions(range(len(plan.nodes)), region, plan.nodes, plan.operations)[0]
    return seen.height * seen.width / (rows * columns)


def in_one_stage(plan: Plan) -> Plan:
    """The plan of a network without norms that keeps no maps: each tile is computed with its whole halo."""
    return replace(plan, stages=_stages(plan.nodes, plan.operations, [plan.nodes[-1].index]))


def _kept_for_reach(nodes: Sequence[Node], operations: Sequence[Operation | None], side: int) -> set[int]:
    """The image, the result, what norms look at, and what keeps the stages' halos small."""
    norms = [node for node, operation in zip(nodes, operations, strict=True) if isinstance(operation, SpatialNorm)]
    kept = {0, nodes[-1].index, *(node.inputs[0] for node in norms)}
    reach: dict[int, float] = {}  # pixels of the node's own map
    for node, operation in zip(nodes, operations, strict=True):
        if operation is None:
            continue
        grows = _growth(node, operation, nodes)
        before = max((reach[index] for index in node.inputs if index not in kept), default=0.0)
        limit = max(side * LARGEST_REACH * node.shape[3] / nodes[0].shape[3], 2.0)
        if before and grows(before) > max(limit, grows(0.0)) and grows(before) > before * _zoom(node, nodes):
            for index in node.inputs:
                _keep_producer(index, nodes, operations, kept, reach)
            before = 0.0
        reach[node.index] = grows(before)
    return kept


def _keep_producer(
    index: int,
    nodes: Sequence[Node],
    operations: Sequence[Operation | None],
    kept: set[int],
    reach: dict[int, float],
) -> None:
    """Keep a map, or what it is made of pointwise, which others may need, too."""
    node, operation = nodes[index], operations[index]
    if index in kept or not reach.get(index):
        return
    joined = name_of(node.function) == "cat"
    if isinstance(operation, Pointwise | SpatialNorm) and (joined or len(node.inputs) == 1):
        for one in node.inputs:
            _keep_producer(one, nodes, operations, kept, reach)
    else:
        kept.add(index)
    reach[index] = 0.0


def _keep_shared(nodes: Sequence[Node], operations: Sequence[Operation | None], kept: set[int]) -> None:
    """Keep also what several stages would compute, unless it is cheap: pointwise of one map."""
    consumers: dict[int, list[int]] = {node.index: [] for node in nodes}
    for node in nodes:
        for index in node.inputs:
            consumers[index].append(node.index)
    targets: dict[int, set[int]] = {}
    for node in reversed(nodes):
        index = node.index
        users = consumers[index]
        targets[index] = set().union(*({user} if user in kept else targets[user] for user in users))
        if index not in kept and len(targets[index]) > 1 and not _is_cheap(index, nodes, operations, kept):
            kept.add(index)


def _is_cheap(index: int, nodes: Sequence[Node], operations: Sequence[Operation | None], kept: set[int]) -> bool:
    while index not in kept:
        if len(nodes[index].inputs) != 1 or not isinstance(operations[index], Pointwise | SpatialNorm):
            return False
        index = nodes[index].inputs[0]
    return True


def _stages(nodes: Sequence[Node], operations: Sequence[Operation | None], targets: list[int]) -> list[Stage]:
    parts = [_part(target, nodes, set(targets) | {0}) for target in targets]
    last = {source: number for number, (_, sources) in enumerate(parts) for source in sources}
    full = max(node.shape[1] for node in nodes if node.shape[2:] == nodes[0].shape[2:])
    values = [_values(target, (*part, *sources), nodes) for target, (part, sources) in zip(targets, parts, strict=True)]
    return [
        Stage(
            target,
            inside,
            sources,
            tuple(source for source in sources if last[source] == number),
            math.sqrt(full / values[number]),
            values[number],
            sum(_work(nodes[index], operations[index]) for index in inside),
        )
        for number, (target, (inside, sources)) in enumerate(zip(targets, parts, strict=True))
    ]


def _part(target: int, nodes: Sequence[Node], kept: set[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The nodes that are computed for a map, and the maps that they are made of."""
    inside: set[int] = set()
    sources: set[int] = set()
    waiting = [target]
    while waiting:
        index = waiting.pop()
        if index in inside:
            continue
        inside.add(index)
        for one in nodes[index].inputs:
            (sources.add if one in kept else waiting.append)(one)
    return tuple(sorted(inside)), tuple(sorted(sources)) or (target,)  # the image itself


def _values(target: int, indices: Sequence[int], nodes: Sequence[Node]) -> float:
    """Values of the largest map behind each pixel of the target."""
    area = nodes[target].shape[2] * nodes[target].shape[3]
    return max(math.prod(nodes[index].shape[1:]) / area for index in indices)


def _work(node: Node, operation: Operation | None) -> float:
    n, channels, height, width = node.shape
    if isinstance(operation, Convolution):
        return n * height * width * operation.weight.numel()
    if isinstance(operation, TransposedConvolution):
        return n * height * width * operation.weight.numel() / math.prod(operation.stride)
    return n * channels * height * width


def _growth(node: Node, operation: Operation, nodes: Sequence[Node]) -> Callable[[float], float]:
    """The reach behind an operation for that of its input, each in pixels of its own map."""
    zoom = _zoom(node, nodes)
    match operation:
        case Pointwise() | SpatialNorm():
            return lambda reach: reach
        case Convolution(weight=weight, dilation=dilation):
            own = dilation[1] * (weight.shape[3] - 1) / 2
            return lambda reach: (reach + own) * zoom
        case TransposedConvolution(weight=weight):
            return lambda reach: reach * zoom + weight.shape[3] / 2
        case _:
            return lambda reach: reach * zoom + (zoom if zoom > 1 else 0)


def _zoom(node: Node, nodes: Sequence[Node]) -> float:
    return node.shape[3] / nodes[node.inputs[0]].shape[3]
