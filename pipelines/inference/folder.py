"""Translate a folder: decode ahead, run in batches, encode behind; go on after bad files; never do work twice."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from translate.data.images import ImageError, Picture, read_picture, write_picture
from translate.data.large import is_large
from translate.data.resize import reduce_picture
from translate.data.windowed import InMemory
from translate.data.windowed_write import write_windowed
from translate.pipelines.inference.drawing_file import translate_drawing
from translate.pipelines.inference.large_job import routed, translate_large_file, translate_large_job
from translate.pipelines.inference.pipeline import Pipeline, Prepared
from translate.pipelines.inference.plan import (
    Job,
    Options,
    cleaned_name,
    final_name,
    is_planned,
    is_written_by_windows,
    plan_file,
    plan_folder,
)
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto
from translate.pipelines.inference.tiles import TileWatch
from translate.pipelines.journal import Journal, Record, sha256, write_report
from translate.processes import process_state
from translate.tiling.runner import Crew
from translate.tiling.tiled import TileReport

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    outputs: frozenset[str]  # all planned names
    inputs: frozenset[Path]  # resolved


def translate_folder(
    pipeline: Pipeline, source: Path, output: Path, options: Options | None = None, *, show_progress: bool = True
) -> dict[str, Any]:
    """Translate every image below `source` into the same tree below `output`.

    Files that are done (same content, same model and options, output untouched) are skipped; a file that fails is
    reported and the others go on. Under `accelerate launch` the processes share the list, and each of the images that
    are read and written by windows (`translate_large`). Of a pipeline that cleans drawings the cleaned one is written
    beside its result, and the report says what was done to it.

    Returns:
        {"files", "done", "skipped", "failed", "seconds", "output", "report"}; `report` is a JSON-lines file with one
        record for each file.

    Raises:
        ImageError: `source` is no folder or holds no images, or an output would take the place of an input.
    """
    options = routed(pipeline, options or Options())
    state = process_state()
    jobs = plan_folder(source, output, options)
    started = time.monotonic()
    watch = TileWatch(show=show_progress and state.is_main_process)
    pipeline = pipeline.with_tiling(pipeline.tiled.tiling, watch)
    settings = f"{pipeline.fingerprint()} {options.format} {options.quality} {options.size}"
    if pipeline.tiled.tiling.map_dtype != torch.float32:
        settings += f" maps in {pipeline.tiled.tiling.map_dtype}"
    outputs = frozenset(job.output for job in jobs)
    inputs = frozenset(job.source.resolve() for job in jobs)
    run = FolderRun(pipeline, options, Journal(output, state.process_index), settings, outputs, inputs)
    state.wait_for_everyone()  # the journals are read before anybody writes
    crew = Crew(state.process_index, state.num_processes)
    mine = crew.mine(job for job in jobs if not job.large)
    large = [job for job in jobs if job.large]
    with watch, tqdm(total=len(mine) + len(large), unit="file", disable=not watch.show) as bar:
        records = []
        for record in _translate(run, mine):
            records.append(record)
            bar.update()
        for job in large:  # one after another, each by all processes
            shared = translate_large_job(pipeline, job, run.journal, settings, crew, options)
            records += [shared] if shared else []
            bar.update()
    everyone: list[Record] = sorted(gather_object(records), key=lambda record: record.file)
    report = output / "report.jsonl"
    if state.is_main_process:
        report = write_report(output, everyone)
    counts = {status: sum(record.status == status for record in everyone) for status in ("done", "skipped", "failed")}
    seconds = round(time.monotonic() - started, 2)
    return {"files": len(jobs), **counts, "seconds": seconds, "output": str(output), "report": str(report)}


def translate_file(pipeline: Pipeline, source: Path, output: Path, options: Options | None = None) -> Path:
    """Translate one file. `output` is a file name with a known suffix, or a folder that gets a file of the same name.

    What is larger than memory is read and written by windows; see `translate_large`. Drawings can also be strokes
    (.json); see `translate_drawing`.

    Returns:
        The path of the translation.

    Raises:
        ImageError: the image cannot be read or the output cannot be written.
    """
    options = routed(pipeline, options or Options())
    if is_large(source, options.windows_from):
        return translate_large_file(pipeline, source, output, options, Crew.of_launch())
    if isinstance(pipeline, SketchToPhoto):
        return translate_drawing(pipeline, source, output, options)[0]
    job, named = plan_file(source, output, options)
    prepared = pipeline.prepare(_read(source, options))
    picture = pipeline.finish(pipeline.run(prepared.images), prepared)
    path = named or output / final_name(job, picture, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_written_by_windows(path):
        write_windowed(InMemory(picture), path)
    else:
        write_picture(picture, path, quality=options.quality)
    return path


def _read(path: Path, options: Options) -> Picture:
    return reduce_picture(read_picture(path, max_pixels=options.max_pixels), options.size)


def _translate(run: FolderRun, jobs: list[Job]) -> Iterator[Record]:
    """Records of all jobs, in the order in which they end."""
    workers = run.options.workers
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(workers) as writers:
        behind: deque[Future[Record]] = deque()
        for batch in _batches(_ahead(readers, lambda job: _load(run, job), jobs, 2 * workers), run.options.batch_size):
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


def _batches(results: Iterable[Loaded | Record], size: int) -> Iterator[list[Loaded] | Record]:
    """Neighbours of one size together; records pass through."""
    batch: list[Loaded] = []
    for result in results:
        if isinstance(result, Record):
            yield result
            continue
        if batch and (len(batch) == size or batch[0].prepared.images.shape != result.prepared.images.shape):
            yield batch
            batch = []
        batch.append(result)
    if batch:
        yield batch


def _load(run: FolderRun, job: Job) -> Loaded | Record:
    started = time.monotonic()
    try:
        content = sha256(job.source)
        done = run.journal.find_done(job.file, run.settings, content)
        if done is not None and done.output is not None and is_planned(job, done.output) and _is_whole(run, done):
            return replace(done, status="skipped", seconds=None)
        prepared = run.pipeline.prepare(_read(job.source, run.options))
        return Loaded(job, prepared, content, started)
    except Exception as error:  # one file must not stop the others, whatever it holds
        return run.journal.failed(job.file, error)


def _run(run: FolderRun, batch: list[Loaded]) -> tuple[list[torch.Tensor | Exception], list[TileReport | None]]:
    """An output (1, C', H', W') or an error for each, and its tiles; a batch that fails is tried one by one."""
    try:
        outputs = run.pipeline.run(torch.cat([loaded.prepared.images for loaded in batch]))
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
        return run.journal.put(record, lambda path: write_picture(picture, path, quality=run.options.quality))
    except Exception as error:
        return run.journal.failed(job.file, error)


def _put_cleaned(run: FolderRun, name: str, picture: Picture) -> None:
    """Before the result's record: where there is one, the cleaned drawing is there too."""
    path = run.journal.output / name
    if name in run.outputs or path.resolve() in run.inputs:
        raise ImageError(f"its cleaned drawing would be written as {name}, the place of another file: rename that one")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(picture, path, quality=run.options.quality)


def _is_whole(run: FolderRun, done: Record) -> bool:
    """Whether what belongs to an output is still beside it."""
    return done.cleaning is None or (run.journal.output / cleaned_name(str(done.output))).is_file()
