"""Translate scans: a series, a volume or a tree of both; go on after bad ones; never do work twice.

Everything that is made of one scan is made in a hidden folder and gets its place at the end, whole or not at all.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from accelerate.utils import gather_object
from tqdm.auto import tqdm

from translate.data.dicom_geometry import ALLOWED, Allowed
from translate.data.scan_folder import DICOM, NIFTI, PICTURES, TIFF, Survey, find_scans, survey
from translate.data.scans import Scan, ScanError
from translate.pipelines.inference.derive_scan import ScanOptions, content_of, derive_scan
from translate.pipelines.inference.scan_denoising import ScanDenoising
from translate.pipelines.journal import Journal, Record, write_report
from translate.processes import process_state

logger = logging.getLogger(__name__)
EVIDENCE = "evidence"


@dataclass(frozen=True)
class ScanRun:
    """What the scans of a run share."""

    pipeline: ScanDenoising
    options: ScanOptions
    journal: Journal
    settings: str
    places: dict[str, str]  # of scans by name, below the output folder


def translate_scans(
    pipeline: ScanDenoising,
    source: Path,
    output: Path,
    options: ScanOptions | None = None,
    *,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Translate every scan in a file or folder into OUTPUT/NAME/: the derived series or volume, and evidence/.

    Scans that are done (same content, same model and options, output untouched) are skipped; one that fails is reported
    and the others go on. Under `accelerate launch` the processes share the list.

    Returns:
        {"scans", "done", "skipped", "failed", "seconds", "output", "report"}; `report` is a JSON-lines file with one
        record for each scan.

    Raises:
        ScanError: `source` does not exist or holds no scans, `output` is a file or lies in `source`, or the options are
            not for this model.
    """
    options = options or ScanOptions()
    options.check_model(pipeline)
    _check_folders(source, output)
    state = process_state()
    started = time.monotonic()
    found = survey(source, allow=_allowed_files(options), units=options.units)
    if not found.scans and not found.problems:
        find_scans(source, allow=_allowed_files(options), units=options.units)  # says so
    run = ScanRun(
        pipeline,
        options,
        Journal(output, state.process_index),
        f"{pipeline.fingerprint()} {options.key()}",
        _places([scan.header.name for scan in found.scans]),
    )
    state.wait_for_everyone()  # the journals are read before anybody writes
    mine = found.scans[state.process_index :: state.num_processes]
    records = _problems(run, found) if state.is_main_process else []
    slices = sum(scan.header.shape[0] for scan in mine)
    with tqdm(total=slices, unit="slice", disable=not (show_progress and state.is_main_process)) as bar:
        records += _translate(run, mine, bar)
    everyone: list[Record] = sorted(gather_object(records), key=lambda record: record.file)
    report = output / "report.jsonl"
    if state.is_main_process:
        report = write_report(output, everyone)
    counts = {status: sum(record.status == status for record in everyone) for status in ("done", "skipped", "failed")}
    seconds = round(time.monotonic() - started, 2)
    return {"scans": len(everyone), **counts, "seconds": seconds, "output": str(output), "report": str(report)}


def translate_scan_file(
    pipeline: ScanDenoising, source: Path, output: Path, options: ScanOptions | None = None
) -> dict[str, Any]:
    """Translate a file that holds one scan into a file, and its evidence into the folder OUTPUT.evidence.

    An output that exists is replaced, with its evidence.

    Returns:
        {"scans": 1, "done": 1, "skipped": 0, "failed": 0, "output", "clipped"}

    Raises:
        ScanError: there is no scan, or several, it is not for the model, or the output is of another kind.
    """
    options = options or ScanOptions()
    if output.resolve() == source.resolve():
        raise ScanError(f"the output {output} is the input: give another name, inputs are not overwritten")
    scans = find_scans(source, allow=_allowed_files(options), units=options.units)
    if len(scans) > 1:
        raise ScanError(f"{source} holds {len(scans)} scans: give a folder as output")
    suffixes = _suffixes(scans[0])
    if not output.name.lower().endswith(suffixes):
        raise ScanError(f"the output {output} must end in {' or '.join(suffixes)} for this scan, or be a folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{output.name}.new-{uuid.uuid4().hex[:8]}")
    for left in output.parent.glob(f".{output.name}.new-*"):  # by a run that was killed
        shutil.rmtree(left)
    aside.mkdir()
    try:
        derived = derive_scan(pipeline, scans[0], aside / output.name, options)
        _place_evidence(derived.evidence, output.with_name(f"{output.name}.{EVIDENCE}"), aside)
        os.replace(aside / output.name, output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    for warning in derived.warnings:
        logger.warning("%s: %s", scans[0].header.name, warning)
    done = {"scans": 1, "done": 1, "skipped": 0, "failed": 0}
    return {**done, "output": str(output), "clipped": derived.clipped}


def is_file_name(output: Path) -> bool:
    """Whether an output is the name of a file of a known kind, and no folder."""
    return not output.is_dir() and output.name.lower().endswith((*NIFTI, *DICOM, *PICTURES))


def _suffixes(scan: Scan) -> tuple[str, ...]:
    """Of the file that can be made of a scan."""
    kinds = {"": (".dcm",), ".nii.gz": NIFTI, ".nii": NIFTI, ".tif": TIFF}
    return kinds[scan.suffix]


def _place_evidence(made: Path | None, place: Path, aside: Path) -> None:
    """Put the folder of evidence in place of one that was made before."""
    if place.is_dir():
        if not (place / "evidence.json").is_file():
            raise ScanError(f"{place} exists and is no evidence of an earlier run: remove it, or give another output")
        os.replace(place, aside / "replaced")
    if made:
        os.replace(made, place)


def _check_folders(source: Path, output: Path) -> None:
    if not source.exists():
        raise ScanError(f"{source} does not exist: give a file or a folder of scans")
    if output.is_file():
        raise ScanError(f"{output} is a file: give an output folder")
    inside = source.resolve() in (output.resolve(), *output.resolve().parents)
    if source.is_dir() and inside:
        raise ScanError(
            f"the output folder {output} is, or lies in, the input folder: give another one, or its scans would be "
            "inputs the next time"
        )


def _allowed_files(options: ScanOptions) -> frozenset[Allowed]:
    """What the readers may let pass; the rest of `allow` concerns the model."""
    return cast(frozenset[Allowed], options.allow & frozenset(ALLOWED))


def _places(names: list[str]) -> dict[str, str]:
    """A folder for each scan, by its name; none lies in that of another."""
    taken = {name.casefold() for name in names}
    places = {}
    for name in names:
        place = name
        while any(other.startswith(f"{place.casefold()}/") for other in taken):
            place = f"{place}-scan"
            while place.casefold() in taken:
                place = f"{place}-scan"
        taken.add(place.casefold())
        places[name] = place
    return places


def _problems(run: ScanRun, found: Survey) -> list[Record]:
    return [_failed(run, name, problem) for name, problem in found.problems.items()]


def _translate(run: ScanRun, scans: list[Scan], bar: Any) -> Iterator[Record]:
    for scan in scans:
        before = bar.n
        yield _translate_one(run, scan, bar)
        bar.update(before + scan.header.shape[0] - bar.n)  # also of those that were skipped or failed


def _translate_one(run: ScanRun, scan: Scan, bar: Any) -> Record:
    name = scan.header.name
    started = time.monotonic()
    try:
        content = content_of(scan)
        done = run.journal.find_done(name, run.settings, content)
        if done is not None and done.output == run.places[name]:
            return replace(done, status="skipped", seconds=None)
        _, rows, columns = scan.header.shape
        record = Record(
            file=name,
            status="done",
            output=run.places[name],
            width=columns,
            height=rows,
            slices=scan.header.shape[0],
            settings=run.settings,
            input_sha256=content,
        )
        return _make(run, scan, record, started, bar)
    except Exception as error:  # one scan must not stop the others, whatever it holds
        return _failed(run, name, error)


def _make(run: ScanRun, scan: Scan, record: Record, started: float, bar: Any) -> Record:
    """Derive a scan aside, and put it in its place."""
    stage = run.journal.folder / f"aside-{uuid.uuid4().hex}-parts"
    stage.mkdir()
    try:
        file = stage / (f"{Path(record.file).name}{scan.suffix}" if scan.suffix else "series")  # its folder is renamed
        derived = derive_scan(run.pipeline, scan, file, run.options, bar.update)

        def gather(aside: Path) -> None:
            """A folder of the derived files with the evidence in it."""
            if file.is_dir():
                os.rename(file, aside)
            else:
                aside.mkdir()
                os.rename(file, aside / file.name)
            if derived.evidence:
                os.rename(derived.evidence, aside / EVIDENCE)

        for warning in derived.warnings:
            logger.warning("%s: %s", record.file, warning)
        seconds = round(time.monotonic() - started, 3)
        tiles = run.pipeline.tiled.watch.take()  # of its last slice
        told = replace(
            record,
            clipped=derived.clipped,
            warnings=list(derived.warnings) or None,
            seconds=seconds,
            tiles=asdict(tiles) if tiles else None,
        )
        return run.journal.put(told, gather)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _failed(run: ScanRun, name: str, error: Exception) -> Record:
    ours = isinstance(error, ValueError | OSError)
    reason = str(error) if ours else f"{type(error).__name__}: {error}"
    logger.warning("%s: %s", name, reason.removeprefix(f"{name}: "))
    record = Record(file=name, status="failed", reason=reason)
    run.journal.add(record)
    return record
