"""Which samples make which batch: a pure function of (seed, step), whatever the number of processes and workers.

A step takes `batch_size * processes` consecutive places of the epoch's permutation, and each process its slice of them.
Resuming is starting at another step: there is no state.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Draw(NamedTuple):
    """One sample to load: its place in the run (for the augmentation) and the index into each list of files."""

    epoch: int
    place: int
    indices: tuple[int, ...]


@dataclass(frozen=True)
class StepSampler:
    """Batch sampler over `range(start, stop)` batches of one process.

    Args:
        lengths: number of items of each independent list: (pairs,) or (a, b). An epoch sees every item of the longest
            list; a shorter one is drawn through as often as needed, each time in a new order.
        batch_size: samples of one process and step.
    """

    lengths: tuple[int, ...]
    batch_size: int
    seed: int
    start: int
    stop: int
    rank: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if self.steps_per_epoch < 1:
            raise ValueError(
                f"{max(self.lengths)} training images are fewer than one step needs, {self.batch_size} x "
                f"{self.processes} (batch size x processes): lower the batch size"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; what is left over at its end is dropped, and others are left over in the next."""
        return max(self.lengths) // (self.batch_size * self.processes)

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, orders = -1, []
        for batch in range(self.start, self.stop):
            if batch // self.steps_per_epoch != epoch:
                epoch = batch // self.steps_per_epoch
                orders = [self._order(which, epoch) for which in range(len(self.lengths))]
            first = (batch % self.steps_per_epoch) * self.batch_size * self.processes + self.rank * self.batch_size
            yield [
                Draw(epoch, place, tuple(int(order[place]) for order in orders))
                for place in range(first, first + self.batch_size)
            ]

    def _order(self, which: int, epoch: int) -> np.ndarray:
        """The epoch's order of one list, as long as the longest list."""
        length, wanted = self.lengths[which], max(self.lengths)
        random = np.random.default_rng([self.seed, which, epoch])
        rounds = -(-wanted // length)
        return np.concatenate([random.permutation(length) for _ in range(rounds)])[:wanted]
