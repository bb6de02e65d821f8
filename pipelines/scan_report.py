"""The evidence of a processed scan for its reader: all numbers as JSON, and a page for any browser, offline."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from translate.data.scans import ScanHeader
from translate.pipelines import page
from translate.pipelines.scan_entries import Entries
from translate.pipelines.scan_measures import (
    band_rows,
    bands_plot,
    facts_of_contract,
    facts_of_input,
    facts_of_work,
    measure_rows,
    slices_plot,
    spectrum_plot,
)
from translate.pipelines.scan_panels import slice_parts
from translate.pipelines.scan_pictures import SliceView
from translate.scan_evidence import DEFINITIONS

__all__ = ["SliceView", "choose_views", "write_evidence_page", "write_json"]

PAGE = "evidence.html"
BANNER = "Research only: AI-processed, not for diagnosis"
MEASURE_HEAD = ("Measure", "Value", "What it means", "For comparison")
BAND_HEAD = ("Band", "Input", "Voxels", "Everywhere", "Well inside")
BANDS = (
    "A voxel belongs to the band of its surroundings. Well inside are the voxels around which all is of one band, so "
    "that blurred edges do not count."
)
FOOTER = (
    "The residual is output minus input. Slices, rows and columns are counted from 1 on this page and from 0 in "
    "evidence.json, which holds all numbers in full."
)


def choose_views(count: int) -> list[int]:
    """Which of `count` slices to show beside the one that changed most: at the first quarter and in the middle."""
    return sorted({count // 4, count // 2}) if count > 0 else []


def write_json(path: Path, evidence: Mapping[str, Any]) -> None:
    """Write evidence as strict JSON in its order, whole or not at all; what is NaN or infinite becomes null."""
    text = json.dumps(_strict(evidence), indent=2, allow_nan=False)  # ASCII: file names need not be valid UTF-8
    page.write_file(path, text + "\n")


def write_evidence_page(folder: Path, evidence: dict[str, Any], views: list[SliceView], header: ScanHeader) -> Path:
    """Write `evidence.html` into a folder, whole or not at all, and return its path.

    Args:
        evidence: JSON-ready. Entries that `scan_measures` knows are explained, those that are missing are left out,
            and all others are shown as they are.
        views: the slices to show, a handful; every one becomes pictures in the page.
        header: of the source. Its `patient` is not used.
    """
    entries = Entries(_strict(evidence))
    definitions = [(name.replace("_", " "), text) for name, text in DEFINITIONS.items() if name in evidence]
    parts = [
        page.heading(1, "What the model changed in this scan"),
        page.paragraph(header.name, "name faint"),
        *_warnings(entries),
        page.side_by_side(_facts(entries, header)),
        *_measures(entries, header.units),
        *slice_parts(views, header.units, header.shape[0]),
        *_rest(entries),
        *([page.heading(2, "How it was measured"), page.facts("Definitions", definitions)] if definitions else []),
        page.footer(FOOTER),
    ]
    path = folder / PAGE
    page.write_file(path, page.document(f"Evidence: {header.name}", parts, banner=BANNER))
    return path


def _strict(value: Any) -> Any:
    """The same of dict, list, str, int, float, bool and None; arrays become lists, what is not finite None."""
    if isinstance(value, Mapping):
        return {str(key): _strict(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _strict(value.tolist())
    if isinstance(value, list | tuple):
        return [_strict(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def _facts(entries: Entries, header: ScanHeader) -> list[str]:
    contract = facts_of_contract(entries)
    return [
        page.facts("What was done", facts_of_work(entries)),
        page.facts("Input", facts_of_input(entries, header)),
        *([page.facts("What the model is made for (its contract)", contract)] if contract else []),
    ]


def _warnings(entries: Entries) -> list[str]:
    warnings = entries.take("warnings")
    if not warnings:
        return []
    return [page.warning_box([str(warning) for warning in (warnings if isinstance(warnings, list) else [warnings])])]


def _measures(entries: Entries, units: str) -> list[str]:
    """The table of measures, the bands' own table, and the plots."""
    frequency_units = entries.take("noise.frequency_units")
    rows = measure_rows(entries, units, frequency_units)
    bands = entries.take("bands") or {}
    spectra = {name: entries.take(f"noise.{name}") for name in ("frequency", "power_before", "power_after")}
    each = entries.take("each_slice") or []
    plots = (spectrum_plot(spectra, frequency_units, units), bands_plot(bands, units), slices_plot(each, units))
    drawn = [page.plot(*plot) for plot in plots if plot]
    parts = []
    if rows:
        parts += [page.heading(2, "Measures"), page.table("measures", "Of the whole scan", MEASURE_HEAD, rows)]
    if bands:
        caption = f"Bias: mean change of each band of values ({units})"
        parts.append(page.table("numbers", caption, BAND_HEAD, band_rows(bands, units)))
        parts.append(page.paragraph(BANDS, "note"))
    return [*parts, *([page.plots(drawn)] if drawn else [])]


def _rest(entries: Entries) -> list[str]:
    rows = entries.rest()
    return [page.heading(2, "Further entries"), page.facts("As they are in evidence.json", rows)] if rows else []
