"""How far a network's pixels see, found out by disturbing some of them."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from translate.sizes import padded_side
from translate.tiling.lockstep import Level, Pair, Spread, differs

logger = logging.getLogger(__name__)
SHORTEST, LONGEST = 256, 2048  # pixels: sides of the images that are probed with, which are as narrow as allowed
MOST_PIXELS = 2**18
LONG = 8  # size multiples: no kernel of a network sees most of an image of so many
STRIDES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32)  # times the size multiple
MOST_PHASES = 16
Place = tuple[int, int]  # first and one past the last disturbed row or column


@dataclass(frozen=True)
class Facts:
    """What decides how a network may run in tiles.

    radius: an output pixel depends on input pixels at most this many rows and columns away from its own, which is
        (y // scale, x // scale), and so do all maps that norms look at.
    stride: moving the input by this many pixels moves the output by scale * stride pixels and changes nothing else.
    norms: "none": the radius is that of the network; "spatial": it is, once the statistics of norms that look at the
        whole image are held fixed; "global": even then the network sees everything, or knows where a pixel is.
    scale: of the network.
    beyond: the radius is larger than the one given, which is as far as could be looked.
    """

    radius: int
    stride: int
    norms: Literal["none", "spatial", "global"]
    scale: int
    beyond: bool = False


def size_rule(generator: nn.Module) -> tuple[int, int]:
    """(multiple, minimum) of the sides of its input; (1, 8) for a module that declares nothing."""
    return int(getattr(generator, "size_multiple", 1)), int(getattr(generator, "size_minimum", 8))


def probe(generator: nn.Module) -> Facts:
    """Facts of any module of one image (N, C, H, W), on a copy of it on the CPU with other weights.

    Rows and columns of long, narrow images are disturbed and followed through every operator, in float64, whatever
    the weights are: a unit that never fires is taken for one that might. So the radius is that of the architecture.
    Images are 256 to 2048 pixels long, and shorter where the network needs wide ones: a dilation of 128 or more in a
    network that sees little else is missed.
    A network that cannot be followed, of which the log says why, is taken as "global".
    """
    try:
        return _Probed(generator).facts()
    except Exception as error:  # the module is anybody's, and so is what it raises
        logger.warning("%s cannot be probed, and so not run in tiles: %s", type(generator).__name__, error)
        return Facts(0, size_rule(generator)[0], "global", _scale(generator))


class _Probed:
    """A copy of a network, and what is known of it."""

    def __init__(self, generator: nn.Module) -> None:
        self.multiple, minimum = size_rule(generator)
        self.narrow = padded_side(1, self.multiple, minimum)
        self.scale = _scale(generator)
        self.channels = int(getattr(generator, "in_channels", 3))
        self.random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.network = copy.deepcopy(generator).cpu().eval()
        self.norms: Literal["none", "spatial"] = "none"
        self.jumped = False  # of the last run
        for parameter in self.network.parameters():
            _randomise(parameter, self.random)

    def facts(self) -> Facts:
        lengths, reached = {1: SHORTEST}, dict[int, int]()
        for axis in (2, 3):
            lengths[axis], reach = self._follow(lengths[axis - 1], axis)
            if reach is None:
                norms = "global" if self.jumped else self.norms
                return Facts(lengths[axis] // 2, self.multiple, norms, self.scale, not self.jumped)
            reached[axis] = reach
        stride = self._stride(reached)
        if stride is None:
            raise ValueError("moving an image changes more of the result than its place")
        for axis, reach in reached.items():
            self._check_borders(reach, stride, axis)
        if stride > 1:
            reached = {axis: self._radius(lengths[axis], stride, axis) for axis in reached}
        return Facts(max(reached.values()), stride, self.norms, self.scale)

    def _follow(self, length: int, axis: int) -> tuple[int, int | None]:
        """The length of an image within which all influence ends, and how far it goes; None if it ends in none."""
        length = padded_side(length, self.multiple, 4 * self.multiple)
        while True:
            middle = length // 2 // self.multiple * self.multiple
            reach = self._reach(length, axis, [(middle, middle + self.multiple)])
            if reach is not None:
                return length, reach + self.multiple - 1
            long = length >= LONG * self.multiple
            if (self.jumped and long) or 2 * length > LONGEST or 2 * length * self.narrow > MOST_PIXELS:
                return length, None
            length *= 2

    def _check_borders(self, reached: int, stride: int, axis: int) -> None:
        length = padded_side(2 * reached + 6 * stride, self.multiple, self.narrow)
        if self._reach(length, axis, [(0, 1), (length - 1, length)]) is None:
            raise ValueError("what is at one border of an image reaches the opposite one")

    def _radius(self, length: int, stride: int, axis: int) -> int:
        """The exact one, but for strides above 16, where it is an upper bound that is exact for whole strides."""
        length = padded_side(length + 4 * stride, self.multiple, self.narrow)
        middle = length // 2 // stride * stride
        each = stride if stride <= MOST_PHASES else 1
        width = stride // each
        places = [(middle + index * width, middle + (index + 1) * width) for index in range(each)]
        reach = self._reach(length, axis, places)
        assert reach is not None  # it ended in a shorter image
        return reach + width - 1

    def _reach(self, length: int, axis: int, places: Sequence[Place]) -> int | None:
        """How far the influence of places goes at most, each in an image of its own; None: across an image."""
        shape = [len(places), self.channels, self.narrow, self.narrow]
        shape[axis] = length
        one = torch.rand(shape, dtype=torch.float64, generator=self.random)
        other = one.clone()
        for sample, (start, stop) in enumerate(places):
            other[sample].narrow(axis - 1, start, stop - start).add_(8)
        found: list[int | None] = []

        def look(pair: Pair) -> None:
            moved = differs(pair.one, pair.other).any(dim=1).any(dim=4 - axis)  # (samples, length of the map)
            found.extend(_distance(line, length, place) for line, place in zip(moved, places, strict=True))

        def at_norm(pair: Pair) -> None:
            self.norms = "spatial"
            look(pair)

        lockstep = Spread(self.random, at_norm)
        look(lockstep.run(self.network, one, other))
        self.jumped = lockstep.jumped
        return None if None in found else max(reach for reach in found if reach is not None)

    def _stride(self, reached: Mapping[int, int]) -> int | None:
        candidates = (self.multiple * factor for factor in STRIDES if self.multiple * factor <= LONGEST // 8)
        fits = (one for one in candidates if all(self._moves(one, reached[axis], axis) for axis in reached))
        return next(fits, None)

    def _moves(self, stride: int, reached: int, axis: int) -> bool:
        """Whether the output moves with the input, in the middle of the image."""
        length = padded_side(2 * reached + 3 * stride, self.multiple, self.narrow)
        shape = [1, self.channels, self.narrow, self.narrow]
        shape[axis] = length + stride
        image = torch.rand(shape, dtype=torch.float64, generator=self.random)
        one, other = (image.narrow(axis, start, length).clone() for start in (0, stride))
        result = Level().run(self.network, one, other)
        common = (length - 2 * reached - stride) * self.scale
        before = result.one.narrow(axis, (reached + stride) * self.scale, common)
        after = result.other.narrow(axis, reached * self.scale, common)
        return bool(((before - after).abs() <= 1e-6).all())


def _scale(generator: nn.Module) -> int:
    return int(getattr(generator, "scale", 1))


def _distance(moved: Tensor, length: int, place: Place) -> int | None:
    """How far what moved in a line of a map is from the place that was disturbed; None if it may go past a border.

    It may where a border is as near as what moved is apart: a dilated kernel leaves gaps.

    Args:
        moved: bool (n,), of a map of an image of `length` pixels.
    """
    indices = moved.nonzero().flatten() * length // len(moved)
    if not len(indices):
        return 0
    (start, stop), low, high = place, int(indices[0]), int(indices[-1])
    gap = max([length // len(moved), *indices.diff().tolist()])
    if (start > 0 and low < gap) or (stop < length and length - high <= gap):
        return None
    return max(start - low, high - (stop - 1), 0)


def _randomise(parameter: Tensor, random: torch.Generator) -> None:
    """Weights that keep the size of what they are applied to, biases and factors above 0."""
    if not parameter.is_floating_point():
        return
    if parameter.ndim >= 2:
        fan_in = max(math.prod(parameter.shape[1:]), 1)
        parameter.data.normal_(0, fan_in**-0.5, generator=random)
    else:
        parameter.data.uniform_(0.5, 1.5, generator=random)
