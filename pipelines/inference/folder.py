"""Translate a folder or a file; a folder goes on after bad files, and never does work twice."""

import time
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from translate.data.images import read_picture, write_picture
from translate.data.large import is_large
from translate.data.resize import reduce_picture
from translate.data.windowed import InMemory
from translate.data.windowed_write import write_windowed
from translate.pipelines.inference.drawing_file import translate_drawing
from translate.pipelines.inference.large_job import routed, translate_large_file, translate_large_job
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.plan import Options, final_name, is_written_by_windows, plan_file, plan_folder
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto
from translate.pipelines.inference.stages import FolderRun, translate_jobs
from translate.pipelines.inference.tiles import TileWatch
from translate.pipelines.journal import Journal, Record, write_report
from translate.processes import process_state
from translate.tiling.runner import Crew


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
    settings = _settings(pipeline, options)
    run = FolderRun(pipeline, options, Journal(output, state.process_index), settings, tuple(jobs))
    state.wait_for_everyone()  # the journals are read before anybody writes
    crew = Crew(state.process_index, state.num_processes)
    mine = crew.mine(job for job in jobs if not job.large)
    large = [job for job in jobs if job.large]
    with watch, tqdm(total=len(mine) + len(large), unit="file", disable=not watch.show) as bar:
        records = []
        for record in translate_jobs(run, mine):
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
    read = read_picture(source, max_pixels=options.max_pixels)
    prepared = pipeline.prepare(reduce_picture(read, options.size))
    picture = pipeline.finish(pipeline.run(prepared.images), prepared)
    path = named or output / final_name(job, picture, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_written_by_windows(path):
        write_windowed(InMemory(picture), path)
    else:
        write_picture(picture, path, quality=options.quality, compression=options.compression)
    return path


def _settings(pipeline: Pipeline, options: Options) -> str:
    """What the outputs depend on besides the inputs: a record with other settings lets no file be skipped."""
    settings = f"{pipeline.fingerprint()} {options.format} {options.quality} {options.size}"
    if pipeline.tiled.tiling.map_dtype != torch.float32:
        settings += f" maps in {pipeline.tiled.tiling.map_dtype}"
    return settings if options.compression == "fast" else f"{settings} {options.compression}"
