"""The figures of every slice and method, and their means."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from translate.data.scans import ScanError
from translate.pipelines.inference.windows import naming, windows
from translate.pipelines.scan_evaluation_cases import Case
from translate.pipelines.scan_evaluation_methods import Method
from translate.scan_evidence import Evidence
from translate.scan_metrics import Preset, body_mask, measure
from translate.tissue import QUARTERS, band_limits, ring_median

MASK_BORDER = 3  # pixels, where the uniform window of SSIM does not fit
Figures = dict[str, Any]  # numbers or None by name, some in dictionaries of their own


def tissue_of(target: np.ndarray, units: str) -> np.ndarray:
    """Where a slice (H, W) shows soft tissue, in other units all but the darkest quarter, told as Evidence does."""
    middle = ring_median(target)
    limits = band_limits(middle, units)
    low, high = limits["soft tissue"] if units == "HU" else (limits[QUARTERS[1]][0], np.inf)
    chosen: np.ndarray = (middle >= low) & (middle < high)
    return chosen


def tissue_name(units: str) -> str:
    return "soft tissue" if units == "HU" else "all but the darkest quarter"


class Measured:
    """Gathers the figures of all cases; of each only two slices are in memory, besides the neighbours."""

    def __init__(self, methods: dict[str, Method], presets: list[Preset], comparable: bool) -> None:
        self.methods, self.presets, self.comparable = methods, presets, comparable
        self.rows: list[tuple[dict[str, Any], Figures]] = []  # which slice and method, and figures
        self.evidence: dict[tuple[str, str], list[Figures]] = defaultdict(list)  # by patient and method

    def add(self, case: Case, neighbours: int, bar: Any) -> None:
        header = case.source.header
        rows, columns = header.spacing[1:]
        spacing = (rows, columns) if rows and columns else None
        names = [*self.methods, "target"] if self.comparable else []
        evidence = {name: Evidence(header.units, spacing) for name in names}
        for index, around in windows(case.source, neighbours, case.targets):
            with naming(case.source, index):
                target = _finite(case.targets[index].read())
                outputs = {name: method.denoise(around) for name, method in self.methods.items()}
            source = around[neighbours] if self.comparable else None
            self._compare(case, index, outputs, target, source)
            for name, gathered in evidence.items():
                gathered.add(case.numbers[index], around[neighbours], target if name == "target" else outputs[name])
            bar.update()
        for name, gathered in evidence.items():
            self.evidence[case.patient, name].append(_evident(gathered.result()))

    def _compare(
        self, case: Case, index: int, outputs: dict[str, np.ndarray], target: np.ndarray, source: np.ndarray | None
    ) -> None:
        units = case.targets[index].scan.header.units
        tissue = tissue_of(target, units)
        mask = body_mask(target) if any(preset.needs_mask for preset in self.presets) else None
        every = outputs if source is None else {**outputs, "target": target}
        for name, output in every.items():
            figures: Figures = {}
            if name != "target":
                figures["presets"] = {p.name: _figures(output, target, p, mask) for p in self.presets}
                figures["bias_target"] = _bias(output, target, tissue)
            if source is not None:
                figures["bias_source"] = _bias(output, source, tissue)
            where = {"patient": case.patient, "series": case.series, "slice": index + 1, "method": name}
            self.rows.append((where, figures))

    def by_patient(self) -> dict[str, dict[str, Figures]]:
        groups: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
        for where, figures in self.rows:
            groups[where["patient"]][where["method"]].append(figures)
        return {
            patient: {
                name: mean_figures(each) | mean_figures(self.evidence[patient, name]) for name, each in methods.items()
            }
            for patient, methods in sorted(groups.items())
        }

    def mean(self) -> dict[str, Figures]:
        """Over patients."""
        patients = list(self.by_patient().values())
        return {name: mean_figures([figures[name] for figures in patients]) for name in patients[0]}

    def table(self) -> list[dict[str, Any]]:
        """A row for each slice and method; figures of presets are called "NAME psnr" and so on."""
        return [where | _flat(figures) for where, figures in self.rows if where["method"] != "target"]


def _figures(output: np.ndarray, target: np.ndarray, preset: Preset, mask: np.ndarray | None) -> Figures:
    """None for each figure of a masked preset where the slice shows no body."""
    inside = mask if preset.needs_mask else None
    if inside is not None and not inside[MASK_BORDER:-MASK_BORDER, MASK_BORDER:-MASK_BORDER].any():
        return dict.fromkeys(("psnr", "ssim", "mae", "rmse"))
    return dict(measure(output, target, preset, inside))


def _bias(output: np.ndarray, reference: np.ndarray, where: np.ndarray) -> float | None:
    return float(np.subtract(output, reference, dtype=np.float64)[where].mean()) if where.any() else None


def _evident(result: dict[str, Any]) -> Figures:
    """What of the evidence is compared between methods."""
    noise = result["noise"]
    return {
        "noise_sd": noise["sd_after"],
        "noise_mean_frequency": noise["mean_frequency_after"] if noise["frequency_units"] == "per mm" else None,
        "structure": result["structure"],
        **result["between_slices"],
        "low_frequency": result["low_frequency"]["rms"],
    }


def mean_figures(each: list[Figures]) -> Figures:
    """The mean of every figure over those that have it, None if none has; of no figures none."""
    if not each:
        return {}
    means: Figures = {}
    for key, first in each[0].items():
        values = [figures[key] for figures in each if figures[key] is not None]
        means[key] = mean_figures(values) if isinstance(first, dict) else sum(values) / len(values) if values else None
    return means


def _flat(figures: Figures) -> dict[str, Any]:
    presets = {f"{name} {key}": value for name, of in figures["presets"].items() for key, value in of.items()}
    return presets | {key: value for key, value in figures.items() if key != "presets"}


def _finite(values: np.ndarray) -> np.ndarray:
    if bad := int((~np.isfinite(values)).sum()):
        raise ScanError(f"{bad} values of its target are NaN or infinite, all must be finite: leave it out")
    return values
