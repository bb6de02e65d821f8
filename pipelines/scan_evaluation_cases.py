"""What is compared when a model for scans is measured: scans to denoise, and what each of their slices should become.

Pairs are matched as `translate preprocess scans` matches them, by patient, place, size and kernel. Without a second
folder the scans are the targets, and the sources are noisy copies of them.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np

from translate.contract import CAN_BE_ALLOWED
from translate.data.augment import sample_seed
from translate.data.dicom_geometry import ALLOWED, Allowed
from translate.data.folders import shown
from translate.data.scans import Derivation, Scan, ScanError, ScanWriter
from translate.pipelines.preprocessing.scan_pairs import match_slices
from translate.pipelines.preprocessing.scan_sources import Reading, Slice, find_slices
from translate.pipelines.preprocessing.scan_writing import Noise
from translate.pipelines.preprocessing.scans import names_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Which scans are compared; exactly one of target and noise is given.

    Args:
        source: file or folder of scans.
        target: what they should become.
        noise: makes noisy copies of the scans, which are then the targets.
    """

    source: Path
    target: Path | None = None
    noise: Noise | None = None

    def __post_init__(self) -> None:
        if (self.target is None) == (self.noise is None):
            what = "neither" if self.target is None else "both"
            raise ScanError(f"sources are compared with a folder of targets, or made of targets by noise, got {what}")


@dataclass(frozen=True)
class Matching:
    """How scans are read and matched.

    Args:
        allow: what would be refused otherwise: "gaps", "duplicates", "tilt", "mixed" of the files, "unmatched" slices,
            "spacing", "thickness", "kernel" of the model's contract.
        units: of files that do not say them.
        patient: an expression that finds the patient in a path, as in `Reading`.
        seed: of simulated noise.
    """

    allow: frozenset[str] = frozenset()
    units: str | None = None
    patient: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        known = {*ALLOWED, *CAN_BE_ALLOWED, "unmatched"}
        if unknown := sorted(self.allow - known):
            raise ScanError(f"allow takes {', '.join(sorted(known))}, got {', '.join(map(repr, unknown))}")

    def reading(self) -> Reading:
        files: frozenset[Allowed] = frozenset(name for name in ALLOWED if name in self.allow)
        return Reading(files, self.units, self.patient)


@dataclass(frozen=True)
class Case:
    """A scan to denoise, with the targets of its slices.

    Args:
        source: as it is, or a NoisyScan.
        targets: by the index of the slice in `source`, in order.
        numbers: likewise; slices that are neighbours in space have consecutive ones.
        patient: what figures call the patient: p001, or what the user's expression found.
        series: what they call the scan, among those of its patient: s01.
        person: tells patients apart; may hold a name.
    """

    source: Scan
    targets: dict[int, Slice]
    numbers: dict[int, int]
    patient: str
    series: str
    person: str = field(repr=False)

    def files(self) -> set[Path]:
        """Everything that it is read from."""
        scans = [self.source, *(slice.scan for slice in self.targets.values())]
        return {path.resolve() for scan in scans for path in scan.files}


@dataclass(frozen=True, kw_only=True)
class NoisyScan(Scan):
    """A scan with noise in it. A slice of whole numbers stays one of whole numbers, as a scanner stores it.

    Args:
        seeds: one a slice.
        peak: the largest value of the original, 0 where the noise does not depend on it.
    """

    original: Scan
    noise: Noise
    seeds: tuple[int, ...] = field(repr=False)
    peak: float

    @property
    def suffix(self) -> str:
        return self.original.suffix

    def read(self, index: int) -> np.ndarray:
        values = self.original.read(index)
        noisy = self.noise(values, self.header, self.peak, self.seeds[index])
        return np.rint(noisy) if (values == np.rint(values)).all() else noisy

    def writer(self, output: Path, derivation: Derivation) -> ScanWriter:
        raise ScanError(f"{self.header.name}: a noisy copy of a scan is measured, not written")


def find_cases(comparison: Comparison, matching: Matching) -> tuple[list[Case], int]:
    """The scans to compare, sorted by name, and how many slices have no partner.

    Noise of the same seed is that of `translate preprocess scans` on the same folder.

    Raises:
        ScanError: from `find_slices` and `match_slices`; slices without a partner that are not allowed, or none with;
            or scans that do not have such noise.
    """
    sources = find_slices(comparison.source, matching.reading()).slices
    names = dict(zip(map(id, sources), names_of(sources, matching.seed), strict=True))
    if comparison.target is None:
        pairs, alone = [(slice, slice) for slice in sources], 0
    else:
        pairs, alone = _matched(sources, comparison, matching)
    groups: dict[int, list[tuple[Slice, Slice]]] = defaultdict(list)
    for pair in pairs:
        groups[id(pair[0].scan)].append(pair)
    cases = []
    for group in groups.values():
        first = group[0][0]
        number, series, _ = names[id(first)].split("_")
        scan = first.scan
        if comparison.noise is not None:
            own = [names[id(slice)] for slice in sources if slice.scan is scan]
            scan = _noisy(scan, comparison.noise, [sample_seed(matching.seed, *os.fsencode(name)) for name in own])
        cases.append(
            Case(
                scan,
                {source.index: target for source, target in group},
                {source.index: source.number for source, _ in group},
                number if matching.patient is None else first.patient,
                series,
                first.patient,
            )
        )
    return cases, alone


def _matched(sources: list[Slice], comparison: Comparison, matching: Matching) -> tuple[list[tuple[Slice, Slice]], int]:
    assert comparison.target is not None
    targets = find_slices(comparison.target, matching.reading()).slices
    matched = match_slices(sources, targets)
    if matched.alone:
        message = (
            f"{len(matched.alone)} slices have no partner, of {len(sources)} in {comparison.source} and "
            f"{len(targets)} in {comparison.target}, for example {shown(slice.name for slice in matched.alone)}: "
            f"{matched.reasons}"
        )
        if not matched.pairs or "unmatched" not in matching.allow:
            raise ScanError(message + (". --allow unmatched leaves them out" if matched.pairs else ""))
        logger.warning("%s. They are left out", message)
    return matched.pairs, len(matched.alone)


def _noisy(scan: Scan, noise: Noise, seeds: list[int]) -> NoisyScan:
    noise.check(scan.header)
    peak = max(float(scan.read(index).max()) for index in range(scan.header.shape[0])) if noise.uses_peak else 0.0
    return NoisyScan(scan.header, scan.files, scan.warnings, original=scan, noise=noise, seeds=tuple(seeds), peak=peak)


def spread(cases: list[Case], count: int) -> list[tuple[Case, int]]:
    """Up to `count` slices: evenly from the patients, and evenly along the slices of each."""
    of_patient: dict[str, list[tuple[Case, int]]] = defaultdict(list)
    for case in cases:
        of_patient[case.person] += [(case, index) for index in case.targets]
    share = -(-count // len(of_patient))
    chosen = []
    for slices in of_patient.values():
        number = min(share, len(slices))
        chosen.append([slices[int((place + 0.5) * len(slices) / number)] for place in range(number)])
    return [slice for turn in zip_longest(*chosen) for slice in turn if slice is not None][:count]


def check_apart(tuned: list[Case], measured: list[Case]) -> None:
    """Raise ScanError if anything is tuned on what is measured."""
    advice = "tune on scans of other patients, or leave --tune-source out"
    files = [set().union(*(case.files() for case in cases)) for cases in (tuned, measured)]
    if shared := files[0] & files[1]:
        raise ScanError(
            f"{len(shared)} files are both in what the baselines are tuned on and in what is measured: {advice}"
        )
    people = [{case.person for case in cases} for cases in (tuned, measured)]
    if both := people[0] & people[1]:
        raise ScanError(
            f"{len(both)} of {len(people[1])} patients that are measured are also in what the baselines are tuned on: "
            f"{advice}"
        )
