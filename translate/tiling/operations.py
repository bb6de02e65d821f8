"""What tiles must know of a function: which region of its input a region of its result needs, and how to compute it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from translate.networks.bicubic import enlarge_inside
from translate.tiling.regions import Region
from translate.tiling.trace import Node, Value, replaced


class Operation(Protocol):
    """A function of maps (N, C, H, W)."""

    def needs(self, region: Region) -> Region:
        """The region of every input that this region of the result depends on."""
        ...

    def run(self, inputs: Sequence[Tensor], have: Region, region: Region) -> Tensor:
        """The result in a region, of inputs that are cut to `have`, which is what it needs."""
        ...


@dataclass(frozen=True)
class Pointwise:
    """A function that is called as the network calls it, with the tile in place of the map.

    dense: whether the tile must be one piece of memory: torch's batch norm rounds in another way where it is not.
    overwrite: whether the result may take the memory of the tile, where the function can do that.
    """

    node: Node
    dense: bool = False
    overwrite: bool = False

    def needs(self, region: Region) -> Region:
        return region

    def run(self, inputs: Sequence[Tensor], have: Region, region: Region) -> Tensor:
        given = iter([one.contiguous() for one in inputs] if self.dense else inputs)
        rows, columns = region.slices

        def of_tile(one: Any) -> Any:
            if isinstance(one, Value):
                return next(given)
            if isinstance(one, Tensor) and one.ndim >= 2 and one.shape[-2:] == self.node.shape[-2:]:
                return one[..., rows, columns]  # a map of its own, such as the noise of dropout
            return one

        assert self.node.function is not None
        arguments, options = replaced(self.node.arguments, of_tile), replaced(self.node.options, of_tile)
        if "inplace" in options:
            options["inplace"] = self.overwrite
        result: Tensor = self.node.function(*arguments, **options)
        return result


@dataclass(frozen=True)
class SpatialNorm:
    """Instance or group norm, whose statistics are those of the whole map.

    groups: of channels that share them.
    weight, bias: (C), or None.
    """

    groups: int
    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def needs(self, region: Region) -> Region:
        return region

    def run(self, inputs: Sequence[Tensor], have: Region, region: Region) -> Tensor:
        raise AssertionError("a norm runs with its statistics")


@dataclass(frozen=True)
class Convolution:
    """conv2d; `before` are the zeros ahead of the true borders, (vertical, horizontal)."""

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    before: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    size: tuple[int, int]  # of the input

    def needs(self, region: Region) -> Region:
        (top, bottom), (left, right) = self._wanted(region)
        height, width = self.size
        return Region(max(top, 0), min(bottom, height), max(left, 0), min(right, width))

    def run(self, inputs: Sequence[Tensor], have: Region, region: Region) -> Tensor:
        (top, bottom), (left, right) = self._wanted(region)
        missing = (have.left - left, right - have.right, have.top - top, bottom - have.bottom)
        values = F.pad(inputs[0], missing) if any(missing) else inputs[0]
        return F.conv2d(values, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _wanted(self, region: Region) -> list[tuple[int, int]]:
        sides = ((region.top, region.bottom), (region.left, region.right))
        return [
            (
                start * self.stride[axis] - self.before[axis],
                (stop - 1) * self.stride[axis]
                - self.before[axis]
                + self.dilation[axis] * (self.weight.shape[2 + axis] - 1)
                + 1,
            )
            for axis, (start, stop) in enumerate(sides)
        ]


@dataclass(frozen=True)
class TransposedConvolution:
    """conv_transpose2d without dilation: pixel i of the input reaches i * stride - padding + 0 ... kernel - 1.

    A tile runs with the network's own padding, which is cut off: other arguments would be computed by another
    algorithm, and rounded in another way.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    extra: tuple[int, int]  # output_padding
    groups: int
    size: tuple[int, int]  # of the input

    def needs(self, region: Region) -> Region:
        found = []
        for axis, (start, stop) in enumerate(((region.top, region.bottom), (region.left, region.right))):
            stride, padding, extra = self.stride[axis], self.padding[axis], self.extra[axis]
            kernel, size = self.weight.shape[2 + axis], self.size[axis]
            first = min(-((kernel - 1 - padding - start) // stride), start // stride)  # reaches it; is not behind it
            last = max((stop - 1 + padding) // stride, -((kernel + extra - 2 * padding - stop) // stride))
            found += [min(max(first, 0), size - 1), min(max(last, 0), size - 1) + 1]
        return Region(*found)

    def run(self, inputs: Sequence[Tensor], have: Region, region: Region) -> Tensor:
        whole = F.conv_transpose2d(
            inputs[0], self.weight, self.bias, self.stride, self.padding, self.extra, self.groups
        )
        top, left = have.top * self.stride[0], have.left * self.stride[1]
        rows, columns = region.within(Region(top, top + whole.shape[2], left, left + whole.shape[3]))
        return whole[..., rows, columns]


@dataclass(frozen=True)
class Padding:
    """F.pad of rows and columns: at the true borders only.

    mode: "constant", "reflect" (2 1 | 0 1 2), "replicate" (0 0 | 0 1 2) or "symmetric" (1 0 | 0 1 2).
    """

    before: tuple[int, int]
    mode: str
    value: float
    size: tuple[int, int]  # of the input

    def needs(self, region: Region) -> Region:
        rows, columns = self._places(region)
        return Region(min(rows), max(rows) + 1, min(columns), max(columns) + 1)

    def run(self, inputs: Sequence[Tensor], have: Region, region: Region) -> Tensor:
        values = inputs[0]
        rows, columns = self._places(region)
        values = _take(_take(values, rows, have.top, 2), columns, have.left, 3)
        if self.mode != "constant":
            return values
        missing = []
        for axis, (start, stop) in ((1, (region.left, region.right)), (0, (region.top, region.bottom))):
            first, last = start - self.before[axis], stop - self.before[axis]
            inside = max(min(last, self.size[axis]) - max(first, 0), 0)
            ahead = min(max(-first, 0), stop - start)
            missing += [ahead, stop - start - inside - ahead]
        if values.shape[2] + sum(missing[2:]) > region.height or values.shape[3] + sum(missing[:2]) > region.width:
            return values.new_full((*values.shape[:2], region.height, region.width), self.value)  # nothing but padding
        return F.pad(values, missing, value=self.value) if any(missing) else values

    def _places(self, region: Region) -> tuple[list[int], list[int]]:
        """The rows and columns of the input that the region is made of, or for constants next to it."""
        found = []
        for axis, (start, stop) in enumerate(((region.top, region.bottom), (region.left, region.right))):
            size, first = self.size[axis], start - self.before[axis]
            places = range(first, stop - self.before[axis])
            if first >= 0 and places[-1] < size:
                found.append(list(places))
            elif self.mode == "constant":
                found.append([place for place in places if 0 <= place < size] or [min(max(first, 0), size - 1)])
            else:
                found.append([_inside(place, size, self.mode) for place in places])
        return found[0], found[1]


@dataclass(frozen=True)
class Enlargement:
    """Nearest-neighbour upsampling and pixel shuffle: each pixel becomes `factor` x `factor`."""

    factor: tuple[int, int]
    function: Callable[[Tensor], Tensor]

    def needs(self, region: Region) -> Region:
        rows, columns = self.factor
        return Region(
            region.top // rows, -(-region.bottom // rows), region.left // columns, -(-region.right // columns)
        )

    def run(self, inputs: Sequence[Tensor], have: Region, region: Region) -> Tensor:
        rows, columns = self.factor
        whole = Region(have.top * rows, have.bottom * rows, have.left * columns, have.right * columns)
        inside = region.within(whole)
        return self.function(inputs[0])[..., inside[0], inside[1]]


@dataclass(frozen=True)
class BicubicEnlargement:
    """The layer of translate.networks.bicubic: its border of two pixels is mirrored at the true borders only."""

    kernel: Tensor
    scale: int
    size: tuple[int, int]  # of the input

    def needs(self, region: Region) -> Region:
        return self._border().needs(self._core(region, 2))

    def run(self, inputs: Sequence[Tensor], have: Region, region: Region) -> Tensor:
        bordered = self._border().run(inputs, have, self._core(region, 2))
        core = self._core(region, 0)
        whole = Region(*(side * self.scale for side in core))
        rows, columns = region.within(whole)
        return enlarge_inside(bordered, self.kernel, self.scale)[..., rows, columns]

    def _border(self) -> Padding:
        return Padding((2, 2), "symmetric", 0.0, self.size)

    def _core(self, region: Region, border: int) -> Region:
        """The pixels of the input, `border` more on each side, counted in the bordered input if there is one."""
        inner = Enlargement((self.scale, self.scale), torch.clone).needs(region)
        return Region(inner.top, inner.bottom + 2 * border, inner.left, inner.right + 2 * border)


def _inside(place: int, size: int, mode: str) -> int:
    if mode == "replicate":
        return min(max(place, 0), size - 1)
    edge = 1 if mode == "symmetric" else 0
    if place < 0:
        return -place - edge
    return place if place < size else 2 * (size - 1) - place + edge


def _take(values: Tensor, places: list[int], start: int, dim: int) -> Tensor:
    """These rows or columns of values that begin at `start`; a view where they follow each other."""
    if places == list(range(places[0], places[0] + len(places))):
        return values.narrow(dim, places[0] - start, len(places))
    return values.index_select(dim, torch.tensor([place - start for place in places], device=values.device))
