"""One tile after another on a device that may be too small for it, and the processes that share an image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate.utils import gather_object
from torch import Tensor

from translate.processes import process_state
from translate.tiling.errors import TilingError
from translate.tiling.regions import Region

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
SMALLEST = 8  # pixels a side of a tile that is not halved again


class Runner:
    """Runs tiles, in smaller ones where the device's memory is too small.

    Args:
        device: what the tiles run on.
        dtype: float32, or what autocast computes in.
        side: of the first tiles, in pixels.
        progress: called with the share of the work that is done, 0 to 1.

    Attributes:
        side: of the tiles to come: halved with every `halvings`.
        tiles: how many have run.
        redone: how many were done again in float32, because their output in `dtype` was not finite.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        side: int,
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.device, self.dtype, self.side, self.progress = device, dtype, side, progress
        self.halvings = self.tiles = self.redone = 0

    def each(self, regions: Iterable[Region], work: Callable[[Region], Tensor]) -> Iterator[tuple[Region, Tensor]]:
        """`work` of each region, in order, in inference mode and the runner's precision.

        After an out-of-memory that region is done again in quarters, as are all that follow. So `work` must take any
        region, not only those it is given here.

        Raises:
            TilingError: the memory is too small for a tile of 8 x 8 pixels.
        """
        before = self.halvings
        for region in regions:
            waiting = [(region, before)]  # a part, and the halvings that it has had
            while waiting:
                part, had = waiting.pop()
                if had < self.halvings:
                    waiting += [(quarter, had + 1) for quarter in reversed(part.quarters())]
                    continue
                values = self._attempt(part, work)
                if values is None:
                    self._halve(part)
                    waiting.append((part, had))
                    continue
                self.tiles += 1
                yield part, values

    def _attempt(self, region: Region, work: Callable[[Region], Tensor]) -> Tensor | None:
        """The values, or None where there was no memory for them."""
        try:
            return self._finite(region, work)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None

    @torch.inference_mode()
    def _finite(self, region: Region, work: Callable[[Region], Tensor]) -> Tensor:
        if self.dtype == torch.float32:
            return work(region)
        with torch.autocast(self.device.type, self.dtype):
            values = work(region)
        if values.isfinite().all():
            return values
        if not self.redone:
            logger.warning("a tile in %s is not finite: done again in float32, as are others like it", self.dtype)
        self.redone += 1
        return work(region)

    def _halve(self, region: Region) -> None:
        if max(region.height, region.width) <= SMALLEST:
            raise TilingError(
                f"the memory of {self.device} is too small for a tile of {region.height} x {region.width} pixels: "
                "end what else uses it, or take another device"
            )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.halvings += 1
        self.side = max(self.side // 2, 1)
        logger.warning("%s is out of memory: going on with tiles of %d pixels", self.device, self.side)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of a device or of the host, was too small."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory")  # of MPS, Windows, Linux
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


@dataclass(frozen=True)
class Crew:
    """The processes that share one image; alone by default."""

    index: int = 0
    count: int = 1

    @classmethod
    def of_launch(cls) -> Crew:
        """All that a launcher started."""
        state = process_state()
        return cls(state.process_index, state.num_processes)

    def mine(self, items: Iterable[Item]) -> list[Item]:
        """The share of this process."""
        return list(items)[self.index :: self.count]

    def gather(self, value: Item) -> Sequence[Item]:
        """Everybody's value, in order of the processes."""
        return [value] if self.count == 1 else gather_object([value])

    def smallest(self, number: int) -> int:
        """The smallest of everybody's numbers, such as the sides of tiles: all must cut alike."""
        return min(self.gather(number))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What all processes do before any goes on. If it fails in one, it fails in all, and none waits for ever.

        Raises:
            TilingError: it failed in another process.
        """
        problem: Exception | None = None
        try:
            yield
        except Exception as error:
            problem = error
        problems = self.gather(None if problem is None else f"{type(problem).__name__}: {problem}")
        if problem is not None:
            raise problem
        if others := [(index, text) for index, text in enumerate(problems) if text is not None]:
            raise TilingError(f"process {others[0][0]} that shares the image failed: {others[0][1]}")
