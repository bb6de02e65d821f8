"""How far a network sees and what its norms look at: read off its functions where they are known, else probed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import nn

from translate.sizes import padded_side
from translate.tiling.errors import Untraceable
from translate.tiling.operations import (
    BicubicEnlargement,
    Convolution,
    Enlargement,
    Operation,
    SpatialNorm,
    TransposedConvolution,
)
from translate.tiling.plan import needed_regions
from translate.tiling.probe import Facts, probe, size_rule
from translate.tiling.recognise import operation_of
from translate.tiling.regions import Region
from translate.tiling.trace import Node, trace

LONGEST = 2**16  # pixels: sides of the images, without values, that a network is followed in


def facts_of(generator: nn.Module) -> Facts:
    """The facts of any module of one image (N, C, H, W), in milliseconds where its functions are all known."""
    try:
        return _recorded_facts(generator)
    except Untraceable:
        return probe(generator)


def _recorded_facts(generator: nn.Module) -> Facts:
    multiple, minimum = size_rule(generator)
    scale, channels = int(generator.scale), int(generator.in_channels)  # type: ignore[arg-type]
    side = padded_side(256, multiple, minimum)
    while True:
        nodes = trace(generator, (1, channels, side, side), torch.device("cpu"))
        operations = [operation_of(node, nodes) if node.function else None for node in nodes]
        stride = math.lcm(multiple, *(zoom.denominator for zoom in _zooms(nodes, operations)))
        middle = side // 2 // stride * stride
        seen = [_seen(place, nodes, operations) for place in range(middle * scale, (middle + stride) * scale)]
        if all(region.top > 0 and region.left > 0 and max(region.bottom, region.right) < side for region in seen):
            break
        if side >= LONGEST:
            raise Untraceable(f"the network sees farther than {LONGEST} pixels")
        side = padded_side(2 * side, multiple, minimum)
    centres = [place // scale for place in range(middle * scale, (middle + stride) * scale)]
    radius = max(
        max(centre - min(region.top, region.left), max(region.bottom, region.right) - 1 - centre)
        for centre, region in zip(centres, seen, strict=True)
    )
    norms = any(isinstance(operation, SpatialNorm) for operation in operations)
    return Facts(radius, stride, "spatial" if norms else "none", scale)


def _zooms(nodes: Sequence[Node], operations: Sequence[Operation | None]) -> list[Fraction]:
    """How much larger than the image every map is, its padding apart."""
    zooms = [Fraction(1)]
    for node, operation in zip(nodes[1:], operations[1:], strict=True):
        before = zooms[node.inputs[0]]
        match operation:
            case Convolution(stride=(rows, _)):
                zooms.append(before / rows)
            case TransposedConvolution(stride=(rows, _)) | Enlargement(factor=(rows, _)):
                zooms.append(before * rows)
            case BicubicEnlargement(scale=scale):
                zooms.append(before * scale)
            case _:
                zooms.append(before)
    return zooms


def _seen(place: int, nodes: Sequence[Node], operations: Sequence[Operation | None]) -> Region:
    """The region of the image that an output pixel on the diagonal depends on, norms held fixed."""
    pixel = Region(place, place + 1, place, place + 1)
    return needed_regions([node.index for node in nodes[1:]], pixel, nodes, operations)[0]
