"""What becomes of faint lesions and of edges: discs of known contrast, put into the noisy sources.

A disc is added to the slice as it is, after its noise: a disc of 20 HU and 6 mm takes away less than one photon in 400,
so the noise behind it stays what it is. With strong edges a scanner's noise would grow, by a tenth or so for 1000 HU,
which does not matter where the same noise is denoised with and without the disc.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import numpy as np

from translate.data.scans import ScanError
from translate.phantoms import Denoise, edge_mtf, flat_positions, measure_discs
from translate.pipelines.scan_evaluation_cases import Case, spread
from translate.pipelines.scan_evaluation_methods import Method

LESIONS = (10.0, 20.0, 40.0)  # HU
LESION_RADIUS = 3.0  # mm
EDGES = (50.0, 200.0, 1000.0)  # HU
EDGE_RADIUS = 10.0  # pixels
EDGE_SEEDS = (0, 1)
TRIED = 4  # times as many slices are looked at as are wanted: not every one has room


def insert_figures(methods: dict[str, Method], cases: list[Case], count: int, neighbours: int) -> dict[str, Any]:
    """Insert discs into up to `count` slices and denoise them alone, each standing for its neighbours too.

    Returns:
        {"slices", "radius": mm of the lesions, "lesions": {contrast: {method: as Detection}}, "edges": {contrast:
        {method: {"mtf50", "mtf10": per mm, mean over slices, None beyond what pixels hold}}}}; contrasts are in HU.

    Raises:
        ScanError: no slice has room for a disc.
    """
    chosen = _with_room(cases, count)
    spacing = chosen[0][1]
    slices = [values for values, step in chosen if step == spacing]  # a disc of one size in pixels is one in mm
    lesions: dict[str, dict[str, Any]] = {f"{contrast:g}": {} for contrast in LESIONS}
    edges: dict[str, dict[str, Any]] = {f"{contrast:g}": {} for contrast in EDGES}
    for name, method in methods.items():
        denoise = _remembering(_alone(method, neighbours), slices)
        for contrast in LESIONS:
            found = measure_discs(denoise, slices, contrast=contrast, radius=LESION_RADIUS / spacing)
            lesions[f"{contrast:g}"][name] = found.to_json()
        for contrast in EDGES:
            edges[f"{contrast:g}"][name] = _edge(denoise, slices, contrast, spacing)
    return {"slices": len(slices), "radius": LESION_RADIUS, "lesions": lesions, "edges": edges}


def _with_room(cases: list[Case], count: int) -> list[tuple[np.ndarray, float]]:
    """Sources that have tissue for the larger discs, and the size of their pixels."""
    found: list[tuple[np.ndarray, float]] = []
    for case, index in spread(cases, TRIED * count):
        if len(found) == count:
            break
        values, spacing = case.source.read(index), case.source.header.spacing[1]
        assert spacing is not None  # was checked
        try:
            flat_positions(values, max(EDGE_RADIUS, LESION_RADIUS / spacing), 1, seed=0)
        except ValueError:
            continue
        found.append((values, spacing))
    if not found:
        raise ScanError(
            f"none of the slices has soft tissue for a disc of {EDGE_RADIUS:g} pixels: leave the inserts out"
        )
    return found


def _alone(method: Method, neighbours: int) -> Denoise:
    return lambda values: method.denoise([values.astype(np.float32)] * (2 * neighbours + 1))


def _remembering(denoise: Denoise, slices: list[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """`denoise`, which does the slices without discs only once."""
    known = {id(values): denoise(values) for values in slices}
    return lambda values: known[id(values)] if id(values) in known else denoise(values)


def _edge(denoise: Denoise, slices: list[np.ndarray], contrast: float, spacing: float) -> dict[str, float | None]:
    found = [
        edge_mtf(denoise, values, contrast=contrast, spacing=spacing, radius=EDGE_RADIUS, seeds=EDGE_SEEDS)
        for values in slices
    ]
    means: dict[str, float | None] = {}
    for key in ("mtf50", "mtf10"):
        values = [value for value in (getattr(sharpness, f"{key}_after") for sharpness in found) if value is not None]
        means[key] = fmean(values) if len(values) == len(found) else None
    return means
