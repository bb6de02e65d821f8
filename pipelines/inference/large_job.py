"""A large image among the files of a folder: translated by all processes, recorded by the first."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from dataclasses import asdict, replace
from pathlib import Path

from translate.data.images import ImageError
from translate.data.large import large_output_name
from translate.pipelines.inference.large import needs_whole, translate_large
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.plan import Job, Options
from translate.pipelines.journal import Journal, Record, checksum
from translate.tiling.runner import Crew


def translate_large_file(pipeline: Pipeline, source: Path, output: Path, options: Options, crew: Crew) -> Path:
    """Translate one large image. `output` is a file name with a suffix that can hold it, or a folder.

    Raises:
        ImageError: the image cannot be read or written, options are not for images that are read by windows, or the
            output is the input.
        TilingError: the network cannot run in tiles, or memory or disk are too small.
    """
    check_options(options)
    named = output.suffix and not (output.is_dir() and output.suffix.lower() != ".zarr")
    path = output if named else output / large_output_name(source)
    if path.resolve() == source.resolve():
        raise ImageError(f"the output {path} is the input: give another name, inputs are not overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    translate_large(pipeline, source, path, crew)
    return path


def translate_large_job(
    pipeline: Pipeline, job: Job, journal: Journal, settings: str, crew: Crew, options: Options
) -> Record | None:
    """Translate the image of a job, unless that is done, and record it.

    Returns:
        The record, in the first process; None in the others.
    """
    started = time.monotonic()
    room: Path | None = None
    try:
        check_options(options)
        with crew.together():
            content = checksum(job.source) if crew.index == 0 else ""
            done = journal.find_done(job.file, settings, content) if crew.index == 0 else None
            if done is not None and done.output != job.output:
                done = None  # that place may now belong to another file
        if crew.gather(done is not None)[0]:
            return replace(done, status="skipped", seconds=None) if done else None
        room = Path(crew.gather(str(journal.folder / f"aside-{uuid.uuid4().hex}"))[0])  # the next run removes it
        with crew.together():
            room.mkdir(exist_ok=True)
        aside = room / Path(job.output).name
        made = translate_large(pipeline, job.source, aside, crew)
        if crew.index != 0:
            return None
        record = Record(
            file=job.file,
            status="done",
            output=job.output,
            width=made.width,
            height=made.height,
            seconds=round(time.monotonic() - started, 3),
            settings=settings,
            input_sha256=content,
            tiles=asdict(made.tiles) if made.tiles else None,
        )
        return journal.put(record, lambda path: os.replace(aside, path))
    except Exception as error:  # one image must not stop the others, whatever it holds
        if crew.index != 0:
            return None
        return journal.failed(job.file, error)
    finally:
        if room is not None and crew.index == 0:
            shutil.rmtree(room, ignore_errors=True)


def routed(pipeline: Pipeline, options: Options) -> Options:
    """The options by which a TIFF of many pixels is read whole, as far as allowed, where they or the model need it."""
    encoded = options.format is not None or options.quality is not None or options.compression != "fast"
    whole = options.size is not None or encoded
    return replace(options, windows_from=options.max_pixels + 1) if whole or needs_whole(pipeline) else options


def check_options(options: Options) -> None:
    """Refuse what only pictures have that are read as a whole. Raises ImageError."""
    if options.size is not None:
        raise ImageError("--size reduces pictures that are read as a whole, this one is read by windows: leave it out")
    if options.format is not None:
        raise ImageError(
            f"an image that is read by windows is written as TIFF or Zarr, not as {options.format}: leave --format out"
        )
