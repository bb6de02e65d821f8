"""Stage 1 for scans: slices of scans become a data set for training, in their own units, split by patient.

Files are named pNNN_sNN_IIII[_rN].tif: patient, series, slice and noisy copy, by numbers that say nothing about a
person. Neither files nor manifest hold a name, an ID, a date, or where the scans came from.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from translate.data.augment import sample_seed
from translate.data.folders import shown
from translate.data.scans import ScanError
from translate.pipelines.preprocessing.dataset import Options, choose_splits
from translate.pipelines.preprocessing.folders import check_apart, warn_of_splits
from translate.pipelines.preprocessing.scan_dataset import Plan, write_scan_dataset
from translate.pipelines.preprocessing.scan_pairs import match_slices
from translate.pipelines.preprocessing.scan_sources import Found, Reading, Slice, expression, find_slices
from translate.pipelines.preprocessing.scan_writing import Noise, Output, Storing, Unit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScanOptions:
    """What all tasks with scans know besides `Options`, whose `val` is a share of the patients here.

    val_patients: expressions; patients that one of them matches whole are in val/, all others in train/.
    allow_unmatched: leave out slices without a partner instead of refusing them.
    """

    reading: Reading = field(default_factory=Reading)
    storing: Storing = field(default_factory=Storing)
    val_patients: tuple[str, ...] = ()
    allow_unmatched: bool = False


def prepare_scan_pairs(
    source: Path, target: Path, output: Path, options: Options, scans: ScanOptions, *, show_progress: bool = True
) -> dict[str, Any]:
    """Match the slices of two folders and write OUT/{train,val}/{source,target}.

    Returns what `write_scan_dataset` returns, with "unmatched", the count of slices that have no partner.

    Raises:
        ScanError: from `find_slices` and `match_slices`; slices without a partner that are not allowed, or none with.
    """
    _check(options, output, source, target)
    if source.resolve() == target.resolve():
        raise ScanError(f"source and --target are both {source}: give the scans that SOURCE shall become as --target")
    found = [find_slices(folder, scans.reading) for folder in (source, target)]
    sources, targets = (side.slices for side in found)
    matched = match_slices(sources, targets)
    if matched.alone:
        message = (
            f"{len(matched.alone)} slices have no partner, of {len(sources)} in {source} and {len(targets)} in "
            f"{target}, for example {shown(slice.name for slice in matched.alone)}: {matched.reasons}"
        )
        if not matched.pairs or not scans.allow_unmatched:
            raise ScanError(message + (". --allow unmatched leaves them out" if matched.pairs else ""))
        logger.warning("%s. They are left out", message)
    splits = split_patients([a for a, _ in matched.pairs], options, scans)
    names = names_of([a for a, _ in matched.pairs], options.seed)
    units = [
        Unit(tuple(Output(f"{splits[a.patient]}/{side}/{name}", s) for side, s in (("source", a), ("target", b))), b)
        for (a, b), name in zip(matched.pairs, names, strict=True)
    ]
    plan = Plan("paired", units, (source, target), _unusable(*found))
    summary = write_scan_dataset(plan, output, options, scans.storing, show_progress=show_progress)
    return summary | {"unmatched": len(matched.alone)}


def prepare_noisy_scans(
    folder: Path,
    output: Path,
    options: Options,
    scans: ScanOptions,
    noise: Noise,
    *,
    realisations: int = 1,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Write OUT/{train,val}/{source,target}: noisy copies of slices, and the slices themselves as what to restore.

    Args:
        realisations: copies of each slice, with independent noise; the target is written as often.

    Returns what `write_scan_dataset` returns. Raises ScanError from `find_slices`.
    """
    if realisations < 1:
        raise ScanError(f"realisations must be at least 1, got {realisations}: noisy copies of each slice")
    _check(options, output, folder)
    found = find_slices(folder, scans.reading)
    slices = found.slices
    for scan in {id(slice.scan): slice.scan for slice in slices}.values():
        noise.check(scan.header)
    splits = split_patients(slices, options, scans)
    units = []
    for slice, name in zip(slices, names_of(slices, options.seed), strict=True):
        outputs = []
        for copy in range(1, realisations + 1):
            own = f"{name}_r{copy}" if realisations > 1 else name
            split, seed = splits[slice.patient], sample_seed(options.seed, *os.fsencode(own))
            outputs.append(Output(f"{split}/source/{own}", slice, noise, seed))
            outputs.append(Output(f"{split}/target/{own}", slice))
        units.append(Unit(tuple(outputs), slice))
    made = {**noise.facts(), "realisations": realisations, "seed": options.seed}
    plan = Plan("paired", units, (folder,), found.problems, made)
    return write_scan_dataset(plan, output, options, scans.storing, show_progress=show_progress)


def prepare_unpaired_scans(
    a: Path, b: Path, output: Path, options: Options, scans: ScanOptions, *, show_progress: bool = True
) -> dict[str, Any]:
    """Write OUT/{train,val}/{a,b}, two kinds of scans that need not be of the same people.

    A patient who is in both folders is in one split. Returns what `write_scan_dataset` returns.

    Raises:
        ScanError: from `find_slices`; or a split would have no slices of one kind.
    """
    _check(options, output, a, b)
    found = [find_slices(folder, scans.reading) for folder in (a, b)]
    sides = dict(zip("ab", (side.slices for side in found), strict=True))
    every = [slice for slices in sides.values() for slice in slices]
    splits = split_patients(every, options, scans)
    for side, slices in sides.items():
        if missing := set(splits.values()) - {splits[slice.patient] for slice in slices}:
            raise ScanError(
                f"{min(missing)} would have no slices of {side}, whose patients are all in the other split: choose "
                "with --val-patients, give another --seed, or --val 0"
            )
    numbers = _patient_numbers(every, options.seed)
    units = [
        Unit((Output(f"{splits[slice.patient]}/{side}/{name}", slice),), slice)
        for side, slices in sides.items()
        for slice, name in zip(slices, _names(slices, numbers), strict=True)
    ]
    plan = Plan("unpaired", units, (a, b), _unusable(*found))
    return write_scan_dataset(plan, output, options, scans.storing, show_progress=show_progress)


def prepare_scans_alone(
    folder: Path, output: Path, options: Options, scans: ScanOptions, *, show_progress: bool = True
) -> dict[str, Any]:
    """Write OUT/{train,val}/source, for training without targets. Returns what `write_scan_dataset` returns.

    A val/ with targets, made by `prepare_scan_pairs` with the split "val", may stand beside such a train/.
    """
    _check(options, output, folder)
    found = find_slices(folder, scans.reading)
    slices = found.slices
    splits = split_patients(slices, options, scans)
    units = [
        Unit((Output(f"{splits[slice.patient]}/source/{name}", slice),), slice)
        for slice, name in zip(slices, names_of(slices, options.seed), strict=True)
    ]
    plan = Plan("alone", units, (folder,), found.problems)
    return write_scan_dataset(plan, output, options, scans.storing, show_progress=show_progress)


def split_patients(slices: Iterable[Slice], options: Options, scans: ScanOptions) -> dict[str, str]:
    """The split of each patient. Raises ScanError where one of the splits that are asked for would be empty."""
    patients = sorted({slice.patient for slice in slices})
    if scans.val_patients:
        if options.split:
            raise ScanError(f"--val-patients chooses among splits, but all goes to {options.split}: give one of both")
        return _named(patients, scans.val_patients)
    if options.val and options.split is None and len(patients) < 2:
        raise ScanError(
            f"{len(patients)} patient cannot be in train and in val: give more, --val 0 for no val, or --split"
        )
    return choose_splits(patients, options)


def _named(patients: list[str], expressions: tuple[str, ...]) -> dict[str, str]:
    val: set[str] = set()
    for text in expressions:
        pattern = expression(text, "--val-patients", re.IGNORECASE)  # IDs from tags are in lower case, "id " before
        fitting = {patient for patient in patients if pattern.fullmatch(patient.removeprefix("id "))}
        if not fitting:
            raise ScanError(
                f"--val-patients {text!r} matches none of {len(patients)} patients: an expression must match the whole "
                "of what --patient finds, or of the patient ID"
            )
        val |= fitting
    if len(val) == len(patients):
        raise ScanError(f"--val-patients matches all {len(patients)} patients, train would be empty: choose fewer")
    return {patient: "val" if patient in val else "train" for patient in patients}


def names_of(slices: list[Slice], seed: int) -> list[str]:
    """A name for each slice. Patients are numbered in an order that depends on the seed, not on the alphabet."""
    return _names(slices, _patient_numbers(slices, seed))


def _patient_numbers(slices: Iterable[Slice], seed: int) -> dict[str, int]:
    def digest(patient: str) -> bytes:
        return hashlib.sha256(os.fsencode(f"{seed}/{patient}")).digest()

    patients = sorted({slice.patient for slice in slices}, key=digest)
    return {patient: number for number, patient in enumerate(patients, 1)}


def _names(slices: list[Slice], patients: dict[str, int]) -> list[str]:
    series: dict[str, dict[int, int]] = {}  # of each patient, in the order in which they come
    for slice in slices:
        own = series.setdefault(slice.patient, {})
        own.setdefault(id(slice.scan), len(own) + 1)
    return [
        f"p{patients[slice.patient]:03d}_s{series[slice.patient][id(slice.scan)]:02d}_{slice.number:04d}"
        for slice in slices
    ]


def _unusable(*found: Found) -> dict[str, str]:
    """Scans that cannot be read, by their names; those of the second folder are told from those of the first."""
    problems = dict(found[0].problems)
    for side in found[1:]:
        problems |= {name if name not in problems else f"{name} (2)": why for name, why in side.problems.items()}
    return problems


def _check(options: Options, output: Path, *inputs: Path) -> None:
    if options.size is not None:
        raise ScanError(f"scans keep their size, got size {options.size}: their pixels have a meaning in millimetres")
    check_apart(output, *inputs)
    for path in inputs:
        if path.resolve().is_relative_to(output.resolve()):
            raise ScanError(f"{path} lies in the output folder {output}: give another folder for the data set")
        if path.is_dir():
            warn_of_splits(options, path)
