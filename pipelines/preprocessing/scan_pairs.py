"""Which slices of two folders show the same: matched by patient, place, kernel and size."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from translate.data.folders import shown
from translate.data.scans import ScanError
from translate.pipelines.preprocessing.scan_sources import Slice

NEAR = 0.1  # millimetres by which corners of slices may differ that lie in the same place
REASONS = {  # in the order in which they are found; why a slice has no partner, and what to do
    "patient": "lie where the other folder has a slice of another patient: tags may name a patient differently in "
    "both, then give --patient, an expression that matches the patient in the path below the folder",
    "kernel": "have a slice of another reconstruction kernel in their place",
    "frame": "have a slice at their height whose size, pixel spacing or field of view is another: resample one side",
    "place": f"have none in their place, within {NEAR} mm",
}


@dataclass(frozen=True)
class Matched:
    """What was found.

    pairs: source and target.
    alone: slices of either side without a partner, and why, in words.
    """

    pairs: list[tuple[Slice, Slice]]
    alone: list[Slice]
    reasons: str


def match_slices(sources: list[Slice], targets: list[Slice]) -> Matched:
    """Pair the slices that are of one patient and volume, in one place, of one size, and of one kernel if both say so.

    In one place: three corners are at most `NEAR` mm apart, so that pixels lie upon each other.

    Raises:
        ScanError: a slice has several partners.
    """
    theirs: dict[str, list[Slice]] = defaultdict(list)
    for target in targets:
        theirs[target.patient].append(target)
    pairs: list[tuple[Slice, Slice]] = []
    taken: dict[int, Slice] = {}
    for source in sources:
        found = [target for target in _in_place(source, theirs[source.patient]) if _one_kernel(source, target)]
        several = found if len(found) > 1 else [taken[id(target)] for target in found if id(target) in taken]
        if several:
            raise ScanError(
                f"{source.name} lies in one place with several slices of the same patient and kernel, such as "
                f"{shown(slice.name for slice in several)}: leave one of them out, or tell patients apart by --patient"
            )
        for target in found:
            pairs.append((source, target))
            taken[id(target)] = source
    paired = {id(slice) for pair in pairs for slice in pair}
    alone = [slice for slice in (*sources, *targets) if id(slice) not in paired]
    why = Counter(
        _reason(slice, others)
        for side, others in ((sources, targets), (targets, sources))
        for slice in side
        if id(slice) not in paired
    )
    return Matched(pairs, alone, "; ".join(f"{why[reason]} {text}" for reason, text in REASONS.items() if why[reason]))


def _in_place(slice: Slice, others: Iterable[Slice]) -> list[Slice]:
    fitting = [other for other in others if other.size == slice.size and other.volume == slice.volume]
    if not fitting:
        return []
    apart = np.abs(np.stack([other.corners for other in fitting]) - slice.corners).max(axis=(1, 2))
    return [fitting[index] for index in np.flatnonzero(apart <= NEAR)]


def _one_kernel(a: Slice, b: Slice) -> bool:
    kernels = {slice.scan.header.kernel for slice in (a, b)} - {None}
    return len(kernels) < 2


def _reason(slice: Slice, others: list[Slice]) -> str:
    here = _in_place(slice, others)
    if any(other.patient == slice.patient for other in here):
        return "kernel"
    if any(_one_kernel(slice, other) for other in here):
        return "patient"
    down, right = slice.corners[2] - slice.corners[0], slice.corners[1] - slice.corners[0]
    normal = np.cross(right, down)
    normal /= np.linalg.norm(normal) or 1.0
    own = [other for other in others if other.patient == slice.patient]
    if any(abs((other.corners[0] - slice.corners[0]) @ normal) <= NEAR for other in own):
        return "frame"
    return "place"
