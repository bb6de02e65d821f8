"""From a data set and a sampler to batches on the host, made ahead of the training."""

import signal
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from translate.data.prefetch import in_thread
from translate.data.sampling import Draw, StepSampler

PREFETCHED = 4  # batches ahead of each loader process


class Batched(Protocol):
    """A data set that makes whole batches."""

    def batch(self, draws: Sequence[Draw]) -> Any: ...


class _Batches(Dataset[Any]):
    """Asked for by all draws of a batch at once."""

    def __init__(self, dataset: Batched) -> None:
        self.dataset = dataset

    def __getitem__(self, draws: Sequence[Draw]) -> Any:
        return self.dataset.batch(draws)


def load(dataset: Batched, sampler: StepSampler, processes: int, *, pin: bool = False) -> Iterator[Any]:
    """The sampler's batches as they travel to the device, the same whatever `processes` is.

    Args:
        processes: that make them; 0 for a thread of this process.
        pin: whether they lie in memory that a GPU copies from while it computes.
    """
    loader = DataLoader(
        _Batches(dataset),
        sampler=sampler,
        batch_size=None,
        num_workers=processes,
        collate_fn=_as_it_is,
        worker_init_fn=start_worker,
        # of its own, so that starting it changes no random state
        generator=torch.Generator().manual_seed(sampler.seed),
        pin_memory=pin,
        prefetch_factor=PREFETCHED if processes else None,
    )
    return iter(loader) if processes else in_thread(iter(loader))


def _as_it_is(batch: Any) -> Any:
    return batch


def start_worker(_worker: int) -> None:
    """Start-up of a loader process: one thread, since it shares the cores with the training process.

    A Ctrl-C in the terminal reaches it too: the training process decides when to stop, and still needs its batch.
    SIGTERM keeps its meaning, by which the loader ends a worker.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
