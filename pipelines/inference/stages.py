"""The stages of a folder run: decode ahead, run in batches, encode behind, on queues that are bounded."""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import TypeVar

import torch

from translate.data.images import ImageError, Picture, decode_picture, encode_picture, write_picture
from translate.data.resize import reduce_picture
from translate.pipelines.inference.pipeline import Pipeline, Prepared
from translate.pipelines.inference.plan import Job, Options, cleaned_name, final_name, is_planned, resolved
from translate.pipelines.journal import Journal, Record
from translate.threads import use_one_core
from translate.tiling.tiled import TileReport

Item = TypeVar("Item")
Result = TypeVar("Result")
WAITING_BATCHES = 4  # so many batches' images of different sizes may wait for others of their size
WAITING_PIXELS = 2**26  # and so many pixels of them: 0.8 GB of RGB


@dataclass(frozen=True)
class Loaded:
    """A job whose image is ready to run."""

    job: Job
    prepared: Prepared
    content: str  # SHA-256 of the file
    started: float


@dataclass(frozen=True)
class FolderRun:
    """What the stages of a folder run share."""

    pipeline: Pipeline
    options: Options
    journal: Journal
    settings: str
    jobs: tuple[Job, ...]  # of all processes

    @cached_property
    def outputs(self) -> frozenset[str]:
        """All planned names."""
        return frozenset(job.output for job in self.jobs)

    @cached_property
    def inputs(self) -> frozenset[str]:
        """The paths of all inputs without symbolic links."""
        return frozenset(resolved([job.source for job in self.jobs]))


def translate_jobs(run: FolderRun, jobs: list[Job]) -> Iterator[Record]:
    """Records of these jobs, in the order in which they end."""
    workers = run.options.workers
    pool = partial(ThreadPoolExecutor, workers, initializer=use_one_core)
    with pool() as readers, pool() as writers:
        behind: deque[Future[Record]] = deque()
        for batch in batches(_ahead(readers, lambda job: _load(run, job), jobs, 2 * workers), run.options.batch_size):
            if isinstance(batch, Record):
                yield batch
                continue
            for loaded, output, tiles in zip(batch, *_run(run, batch), strict=True):
                behind.append(writers.submit(_save, run, loaded, output, tiles))
            while len(behind) > 2 * workers:
                yield behind.popleft().result()
        while behind:
            yield behind.popleft().result()


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """Results in order, with at most `depth` items begun and not yet taken."""
    begun: deque[Future[Result]] = deque()
    for item in items:
        begun.append(pool.submit(work, item))
        if len(begun) >= depth:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def batches(results: Iterable[Loaded | Record], size: int) -> Iterator[list[Loaded] | Record]:
    """Images of one size together, in the order in which their batches are full; records pass through.

    Images whose batch is not full wait for others of their size. Where too many wait, the batch that has waited longest
    goes as it is.
    """
    waiting: dict[torch.Size, list[Loaded]] = {}  # in the order of their first images
    for result in results:
        if isinstance(result, Record):
            yield result
            continue
        shape = result.prepared.images.shape
        batch = waiting.setdefault(shape, [])
        batch.append(result)
        if len(batch) == size:
            yield waiting.pop(shape)
        while len(waiting) > 1 and _are_too_many(waiting, size):
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def _are_too_many(waiting: dict[torch.Size, list[Loaded]], size: int) -> bool:
    images = sum(len(batch) for batch in waiting.values())
    pixels = sum(len(batch) * shape[-2] * shape[-1] for shape, batch in waiting.items())
    return images > WAITING_BATCHES * size or pixels > WAITING_PIXELS


def _load(run: FolderRun, job: Job) -> Loaded | Record:
    started = time.monotonic()
    try:
        data = job.source.read_bytes()
        content = hashlib.sha256(data).hexdigest()
        done = run.journal.find_done(job.file, run.settings, content)
        if done is not None and done.output is not None and is_planned(job, done.output) and _is_whole(run, done):
            return replace(done, status="skipped", seconds=None)
        picture = decode_picture(data, job.source, max_pixels=run.options.max_pixels)
        prepared = run.pipeline.prepare(reduce_picture(picture, run.options.size))
        return Loaded(job, prepared, content, started)
    except Exception as error:  # one file must not stop the others, whatever it holds
        return run.journal.failed(job.file, error)


def _run(run: FolderRun, batch: list[Loaded]) -> tuple[list[torch.Tensor | Exception], list[TileReport | None]]:
    """An output (1, C', H', W') or an error for each, and its tiles; a batch that fails is tried one by one."""
    try:
        images = [loaded.prepared.images for loaded in batch]
        outputs = run.pipeline.run(torch.cat(images) if len(images) > 1 else images[0])
        return [output[None] for output in outputs], [run.pipeline.tiled.watch.take()] * len(batch)
    except Exception as error:  # out of memory, say
        if len(batch) == 1:
            return [error], [None]
        parts = [_run(run, [loaded]) for loaded in batch]
        return [output for outputs, _ in parts for output in outputs], [tiles for _, (tiles,) in parts]


def _save(run: FolderRun, loaded: Loaded, output: torch.Tensor | Exception, tiles: TileReport | None) -> Record:
    job = loaded.job
    try:
        if isinstance(output, Exception):
            raise output
        picture = run.pipeline.finish(output, loaded.prepared)
        name = final_name(job, picture, run.options)
        if name != job.output and name in run.outputs:
            raise ImageError(f"it would be written as {name}, which is the place of another file: choose a format")
        cleaned = loaded.prepared.cleaned
        if cleaned:
            _put_cleaned(run, cleaned_name(name), cleaned.picture)
        record = Record(
            file=job.file,
            status="done",
            output=name,
            width=picture.pixels.shape[1],
            height=picture.pixels.shape[0],
            seconds=round(time.monotonic() - loaded.started, 3),
            settings=run.settings,
            input_sha256=loaded.content,
            cleaning=list(cleaned.steps) if cleaned else None,
            tiles=asdict(tiles) if tiles else None,
        )
        options = run.options
        encoded = encode_picture(picture, name, quality=options.quality, compression=options.compression)
        return run.journal.put_file(record, encoded)
    except Exception as error:
        return run.journal.failed(job.file, error)


def _put_cleaned(run: FolderRun, name: str, picture: Picture) -> None:
    """Before the result's record: where there is one, the cleaned drawing is there too."""
    path = run.journal.output / name
    if name in run.outputs or str(path.resolve()) in run.inputs:
        raise ImageError(f"its cleaned drawing would be written as {name}, the place of another file: rename that one")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(picture, path, quality=run.options.quality, compression=run.options.compression)


def _is_whole(run: FolderRun, done: Record) -> bool:
    """Whether what belongs to an output is still beside it."""
    return done.cleaning is None or (run.journal.output / cleaned_name(str(done.output))).is_file()
