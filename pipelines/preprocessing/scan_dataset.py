"""A data set of slices: its files, its manifest, and whose slices are in which split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from translate.data.scans import Scan, ScanError
from translate.pipelines.journal import Journal, Record
from translate.pipelines.preprocessing.dataset import Options, remove_stale
from translate.pipelines.preprocessing.manifest import MANIFEST, Others, other_splits, write_manifest
from translate.pipelines.preprocessing.ownership import claim, origin_of
from translate.pipelines.preprocessing.scan_patients import Ledger
from translate.pipelines.preprocessing.scan_writing import Output, SliceWriter, Storing, Unit, described


class Written(NamedTuple):
    """A file that is there, and what the manifest says of it."""

    output: Output
    name: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a data set is made of.

    kind: "paired", "unpaired" or "alone".
    inputs: the folders that the slices come from; only a digest of them is kept.
    problems: scans that could not be read at all, by their names, and why; they count as failed.
    noise: how noisy copies are made, for the manifest.
    """

    kind: str
    units: list[Unit]
    inputs: tuple[Path, ...]
    problems: dict[str, str]
    noise: dict[str, Any] | None = None


def write_scan_dataset(
    plan: Plan, output: Path, options: Options, storing: Storing, *, show_progress: bool = True
) -> dict[str, Any]:
    """Write all units and the manifest; what is there already is kept, and what is not asked for any more is removed.

    A slice that cannot be read is reported and left out, with its partner and its copies.

    Returns:
        {"kind", "images", "failed", "left_out", "splits": {split: count of names}, "patients": {split: count},
        "output", "manifest", "problems": {name: reason}}.

    Raises:
        ImageError: the output holds something else.
        ScanError: a patient would be in two splits; the other split has other units; every slice is left out.
        StorageError: the type that is asked for would lose values.
    """
    kind, units = plan.kind, plan.units
    others = other_splits(output, kind, options.split, {})
    _check_units(units, others)
    journal = Journal(output)
    ledger = Ledger(journal.folder)
    # A split that was begun and stopped is in the ledger, and not in the manifest yet.
    kept = {*others.splits, *ledger.splits} - {options.split} if options.split else set()
    patients = _patients(o for unit in units for o in unit.outputs)
    ledger.check(patients, kept)
    keys = (o.key for unit in units for o in unit.outputs)
    claim(journal, keys, origin_of("scans", *plan.inputs), overwrite=options.overwrite)
    ledger.claim(patients, kept)
    records = SliceWriter(journal, storing).write_all(units, options.workers, show_progress)
    written = [
        Written(o, record.output, described(record, output))
        for unit, made in zip(units, records, strict=True)
        for o, record in zip(unit.outputs, made, strict=True)
        if record.output
    ]
    problems, left_out = {**plan.problems, **_failures(records)}, _left_out(records)
    if units and left_out == len(units):
        raise ScanError(f"all {left_out} slices show less of the body than {storing.min_body}: lower --min-body")
    remove_stale(journal, {entry.name for entry in written}, options)
    _write_manifest(output, kind, written, others, {"seed": options.seed, "noise": plan.noise, "storing": storing})
    ledger.settle(_patients(entry.output for entry in written), kept)
    return {
        "kind": kind,
        "images": len(written),
        "failed": len(problems),
        "left_out": left_out,
        "splits": _counts(written, kind),
        "patients": {split: len(names) for split, names in _patients(e.output for e in written).items()},
        "output": str(output),
        "manifest": str(output / MANIFEST),
        "problems": problems,
    }


def scan_facts(written: list[Written]) -> dict[str, Any]:
    """What the manifest says of the scans of a split, or of one of its sides: lengths in mm, [lowest, highest]."""
    scans: dict[int, Scan] = {id(entry.output.slice.scan): entry.output.slice.scan for entry in written}
    headers = [scan.header for scan in scans.values()]
    ranges = [entry.facts["range"] for entry in written]
    return {
        "modality": headers[0].modality,
        "units": headers[0].units,
        "spacing": _span(length for header in headers for length in header.spacing[1:]),
        "slice_spacing": _span(header.spacing[0] for header in headers),
        "thickness": _span(header.thickness for header in headers),
        "kernels": sorted({header.kernel for header in headers if header.kernel}),
        "storage": sorted({entry.facts["dtype"] for entry in written}),
        "range": [min(low for low, _ in ranges), max(high for _, high in ranges)],
        "patients": len({entry.output.slice.patient for entry in written}),
    }


def _write_manifest(output: Path, kind: str, written: list[Written], others: Others, making: dict[str, Any]) -> None:
    """Write the manifest, in which each split has facts of its own."""
    splits = dict(others.splits)
    for split in sorted({entry.output.split for entry in written}):
        here = [entry for entry in written if entry.output.split == split]
        names = sorted({entry.name.split("/")[1] for entry in here})
        sides = [[entry for entry in here if entry.name.split("/")[1] == name] for name in names]
        about: dict[str, Any] = {"scans": scan_facts(here)}
        if len({(facts["modality"], facts["units"]) for facts in map(scan_facts, sides)}) > 1:
            about = {"scans": scan_facts(sides[0]), "target_scans": scan_facts(sides[1])}
        about["scans"] |= {"noise": making["noise"], "min_body": making["storing"].min_body}
        splits[split] = {"kind": kind, "seed": making["seed"], **about}
    if any(made.get("kind") == "alone" for made in splits.values()):
        kind = "alone"
    files = {entry.name: entry.facts for entry in written}
    write_manifest(output, kind, {}, Others(splits, others.files | files), {})


def _check_units(units: list[Unit], others: Others) -> None:
    ours = {output.slice.scan.header.units for unit in units for output in unit.outputs}
    for split, made in others.splits.items():
        theirs = {made[key]["units"] for key in ("scans", "target_scans") if key in made}
        if theirs and theirs != ours:
            raise ScanError(
                f"{split} of this data set is in {' and '.join(sorted(theirs))}, these scans are in "
                f"{' and '.join(sorted(ours))}: give another folder"
            )


def _patients(outputs: Iterable[Output]) -> dict[str, set[str]]:
    """Who is in each split."""
    patients: dict[str, set[str]] = {}
    for output in outputs:
        patients.setdefault(output.split, set()).add(output.slice.patient)
    return dict(sorted(patients.items()))


def _failures(records: list[list[Record]]) -> dict[str, str]:
    return {record.file: record.reason or "" for made in records for record in made if record.status == "failed"}


def _left_out(records: list[list[Record]]) -> int:
    """Slices that show too little: units of which nothing failed and nothing is written."""
    return sum(all(record.status == "skipped" for record in made) for made in records)


def _counts(written: list[Written], kind: str) -> dict[str, int]:
    """Samples of each split: all sides of a name are one, but for unpaired data, where each file is one."""
    names: dict[str, set[str]] = {}
    for entry in written:
        name = entry.name if kind == "unpaired" else entry.name.rpartition("/")[2]
        names.setdefault(entry.output.split, set()).add(name)
    return {split: len(found) for split, found in sorted(names.items())}


def _span(lengths: Iterable[float | None]) -> list[float] | None:
    known = [length for length in lengths if length is not None]
    return [min(known), max(known)] if known else None
