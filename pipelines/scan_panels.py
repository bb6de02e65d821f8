"""The slices of the evidence page: input, output, residual and uncertainty beside one another, and details of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from translate.pipelines import page
from translate.pipelines.scan_entries import describe
from translate.pipelines.scan_pictures import (
    CHANGE_COLOURS,
    UNCERTAINTY_COLOURS,
    Limits,
    SliceView,
    Window,
    change_png,
    choose_limits,
    detail,
    grey_png,
    palette,
    uncertainty_png,
    whole,
)

BAR_STEPS = 17


@dataclass(frozen=True)
class _Row:
    """Where pictures belong: the slice's heading, its anchor, and what all slices share."""

    title: str
    anchor: str
    limits: Limits
    units: str


def slice_parts(views: list[SliceView], units: str, count: int) -> list[str]:
    """HTML with the pictures of all views, in the order of slices; `count` is how many slices the scan has."""
    if not views:
        return []
    limits = choose_limits(views, units)
    note = (
        f"Click a picture to fill the screen with it. Colours of the residual end at -{limits.change:g} and "
        f"+{limits.change:g} {units}, greys at the limits of their window: what is beyond has the last colour."
    )
    parts = [page.heading(2, "Slices"), page.paragraph(note, "note")]
    for view in sorted(views, key=lambda view: view.index):
        row = _Row(f"Slice {view.index + 1} of {count}", f"slice-{view.index + 1}", limits, units)
        parts += _slice_rows(view, row)
    return parts


def _slice_rows(view: SliceView, row: _Row) -> list[str]:
    """The whole slice in a first row; in a second one its other windows, and a detail."""
    shown, factor = whole(view)
    piece, rows, columns = detail(view, row.limits.windows[0])
    height, width = view.source.shape
    frame = (columns.start / width, rows.start / height, piece.source.shape[1] / width, piece.source.shape[0] / height)
    first, *others = row.limits.windows
    above = [*_greys(shown, first, row), _change(view, shown, tuple(100 * part for part in frame), row)]
    if shown.uncertainty is not None:
        above.append(_uncertainty(shown.uncertainty, row))
    below = [one for window in others for one in _greys(shown, window, row)]
    spans = [f"{span.start + 1} to {span.stop}" for span in (rows, columns)]
    place = f"{first.name}: detail where most changes, rows {spans[0]}, columns {spans[1]}"
    below += _greys(piece, first, row, place)
    title = row.title + (f", {factor} x {factor} pixels averaged to one" if factor > 1 else "")
    return [
        page.heading(3, title, row.anchor),
        page.panels(above, len(above)),
        page.panels(below, max(len(above), len(below))),
    ]


def _greys(view: SliceView, window: Window, row: _Row, place: str = "") -> list[page.Panel]:
    """Input and output through one window."""
    made = []
    for name, values in (("Input", view.source), ("Output", view.output)):
        seen = f"{window.name} ({window.low:.4g} to {window.high:.4g} {row.units})"
        caption = place or seen
        own = f"{row.anchor}-{name}-{'detail' if place else f'{window.low:g}'}".lower()
        alt = f"{row.title}: {name.lower()}, {caption}"
        made.append(page.Panel((own, row.anchor), grey_png(values, window), alt, (name, caption)))
    return made


def _change(view: SliceView, shown: SliceView, frame: tuple[float, ...], row: _Row) -> page.Panel:
    limit, units, change = row.limits.change, row.units, view.change
    mean, deviation = float(change.mean()), float(change.std())
    size = f"mean {describe(mean, units, sign=True)}, sd {describe(deviation, units)}"
    caption = f"output - input, {size}; the frame is the detail below"
    alt = f"{row.title}: signed residual, {size}; blue is darker than the input, red is brighter, white is unchanged"
    bar = page.colour_bar(palette(CHANGE_COLOURS, BAR_STEPS), (f"-{limit:g}", "0", f"+{limit:g} {units}"))
    left, top, width, height = frame
    return page.Panel(
        (f"{row.anchor}-residual", row.anchor),
        change_png(shown.change, limit),
        alt,
        ("Residual", caption),
        bar,
        (left, top, width, height),
    )


def _uncertainty(uncertainty: np.ndarray, row: _Row) -> page.Panel:
    limit, units = row.limits.uncertainty, row.units
    caption = f"of the output, standard deviation, mean {describe(float(uncertainty.mean()), units)}"
    alt = f"{row.title}: uncertainty {caption}; dark is certain, bright is uncertain"
    bar = page.colour_bar(palette(UNCERTAINTY_COLOURS, BAR_STEPS), ("0", f"{limit / 2:g}", f"{limit:g} {units}"))
    return page.Panel(
        (f"{row.anchor}-uncertainty", row.anchor),
        uncertainty_png(uncertainty, limit),
        alt,
        ("Uncertainty", caption),
        bar,
    )
