"""What the page shows of a scan: one slice through a window, as it was, as it is, and what was changed."""

from __future__ import annotations

import base64
import html

import numpy as np

from translate.data.scans import ScanError
from translate.pipelines.app.scans import Case
from translate.pipelines.scan_entries import describe
from translate.pipelines.scan_pictures import CHANGE_COLOURS, SliceView, Window, change_png, grey_png, palette, whole

CT_WINDOWS = {  # centre and width in HU
    "soft tissue": (40, 400),
    "brain": (40, 80),
    "lung": (-600, 1500),
    "bone": (400, 1800),
}
AUTO, FULL = "auto", "full range"


def window_names(case: Case) -> list[str]:
    """Presets for a scan: those of CT for HU, and from its values."""
    return [*CT_WINDOWS, FULL] if case.source.header.units == "HU" else [AUTO, FULL]


def window_of(case: Case, name: str) -> tuple[float, float]:
    """Centre and width of a preset, in the scan's units. Raises ScanError for another name."""
    if name not in window_names(case):
        raise ScanError(f"there is no window {name!r} for this scan: choose one of {', '.join(window_names(case))}")
    if name in CT_WINDOWS:
        centre, width = CT_WINDOWS[name]
        return float(centre), float(width)
    if name == AUTO:
        low, high = case.display.windows[0].low, case.display.windows[0].high
    else:
        values = case.source.read(case.source.header.shape[0] // 2)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return round((low + high) / 2, 1), round(max(high - low, 1), 1)


def slice_page(case: Case, number: int, centre: float, width: float) -> str:
    """HTML of slice `number`, from 1: input, output and residual beside one another.

    Raises:
        ScanError: there is no such slice, it cannot be read, or the window has no width.
    """
    count = case.source.header.shape[0]
    if not 1 <= number <= count:
        raise ScanError(f"slice {number} is not in this scan: it has the slices 1 to {count}")
    if not width > 0:
        raise ScanError(f"the width of the window is {width:g}, it must be above 0")
    units = case.source.header.units
    view, factor = whole(case.view(number - 1))
    window = Window("", centre - width / 2, centre + width / 2)
    seen = f"{window.low:g} to {window.high:g} {units}"
    note = f", {factor} x {factor} pixels averaged to one" if factor > 1 else ""
    figures = [
        _figure("Input", grey_png(view.source, window), f"{seen}{note}"),
        _figure("Output", grey_png(view.output, window), f"{seen}, AI-processed"),
        _residual(view, case.display.change, units),
    ]
    return f'<div class="slices">{"".join(figures)}</div>'


def _residual(view: SliceView, limit: float, units: str) -> str:
    mean, deviation = float(view.change.mean()), float(view.change.std())
    colours = ", ".join(f"rgb{colour}" for colour in palette(CHANGE_COLOURS, 17))
    caption = f"output − input, mean {describe(mean, units, sign=True)}, sd {describe(deviation, units)}"
    bar = (
        f'<span class="bar" style="background: linear-gradient(to right, {colours})"></span>'
        f'<span class="ends"><span>−{limit:g}</span><span>0</span><span>+{limit:g} {html.escape(units)}</span></span>'
    )
    return _figure("Residual", change_png(view.change, limit), caption, bar)


def _figure(name: str, png: bytes, caption: str, below: str = "") -> str:
    data = base64.b64encode(png).decode()
    text = html.escape(caption)
    return (
        f'<figure class="{name.lower()}"><img src="data:image/png;base64,{data}" alt="{name}: {text}">'
        f"<figcaption><b>{name}</b> {text}{below}</figcaption></figure>"
    )
