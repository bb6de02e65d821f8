"""The plots of a run, from its records."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from translate.pipelines.plots import draw, plain, plain_text
from translate.pipelines.run_charts import Chart

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito 2008
DASHES = ("-", "--", "-.", ":")  # their number and that of COLOURS have no common divisor: 28 different lines
MOST_POINTS = 300  # of a line; more are averaged
WORDS = {
    "real_accuracy": "real images",
    "fake_accuracy": "outputs",
    "val_accuracy": "real images of val/",
    "diversity": "beside the targets",
    "diversity_of_inputs": "beside the inputs",
    "overfitting": "how false val/ looks",
    "r_t": "r_t",
    "gradient_ratio": "adversarial over others",
    "nonfinite": "not finite:",
}


@dataclass(frozen=True)
class Line:
    """What was logged under one key: means, and the extremes between which they lie, at some steps."""

    label: str
    steps: np.ndarray
    means: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    last: float


def draw_charts(
    charts: Iterable[Chart], columns: Mapping[str, Line], since: int | None = None
) -> list[tuple[bytes, str, str]]:
    """Those charts of which something was logged: PNG, what it shows for whoever cannot see it, and how to read it.

    Args:
        columns: of `read_columns`.
        since: a step to mark in each, from which the run is sick.
    """
    drawn = []
    for chart in charts:
        for title, lines in _split(chart, columns):
            png = draw(partial(plot_chart, chart=chart, title=title, lines=lines, since=since))
            said = ", ".join(f"{line.label} {line.last:.3g}" for line in lines)
            drawn.append((png, f"{title}; at the end: {said}", chart.note))
    return drawn


def read_columns(records: Sequence[Mapping[str, Any]]) -> dict[str, Line]:
    """Everything that was logged as finite numbers, by key."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for record in records:
        step = record["step"]
        for key, value in record.items():
            if "/" in key and isinstance(value, float | int) and math.isfinite(value):
                steps, values = found.setdefault(key, ([], []))
                steps.append(step)
                values.append(value)
    return {key: _thinned(np.array(steps), np.array(values, float)) for key, (steps, values) in found.items()}


def _thinned(steps: np.ndarray, values: np.ndarray) -> Line:
    """At most MOST_POINTS means over equally many records each; the last record stays the last."""
    last = float(values[-1])
    if len(values) <= MOST_POINTS:
        return Line("", steps, values, values, values, last)
    starts = np.linspace(0, len(values), MOST_POINTS, endpoint=False).astype(int)
    counts = np.diff([*starts, len(values)])
    means = np.add.reduceat(values, starts) / counts
    ends = steps[starts + counts - 1]
    return Line("", ends, means, np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts), last)


def _split(chart: Chart, columns: Mapping[str, Line]) -> list[tuple[str, list[Line]]]:
    """The plots of a chart: title and lines."""
    plots: dict[str, list[Line]] = {}
    for key in sorted(columns):
        found = re.match(chart.keys, key)
        if found and (columns[key].highs.any() or not chart.if_any):
            side = (found.groupdict().get("side") or "").removeprefix("_")
            words = [WORDS.get(word, word.replace("_", " ")) for word in _parts(found)]
            label = " ".join([*words, *([] if chart.each_side or not side else [f"({side})"])])
            title = f"{chart.title} ({side})" if chart.each_side and side else chart.title
            plots.setdefault(title, []).append(replace(columns[key], label=label))
    return list(plots.items())


def _parts(found: re.Match[str]) -> list[str]:
    """What the unnamed groups of a key's expression hold."""
    named = set(found.re.groupindex.values())
    return [text for index, text in enumerate(found.groups(), start=1) if index not in named]


def plot_chart(axes: Any, chart: Chart, title: str, lines: Sequence[Line], since: int | None) -> None:
    """Draw one plot into matplotlib axes; its legend stands below it, in their figure."""
    for index, line in enumerate(lines):
        _draw_line(axes, line, index, chart.scale)
    for level, name in chart.marks:
        axes.axhline(level, color="#515962", linewidth=1, linestyle=(0, (1, 2)), label=f"{level:g}: {name}")
    if since is not None:
        axes.axvline(since, color="#515962", linewidth=1, linestyle=(0, (6, 2)), label=f"verdict since step {since}")
    _scale(axes, chart, np.concatenate([line.means for line in lines]))
    axes.set(title=title, xlabel="step")
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    axes.figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    plain(axes)


def _draw_line(axes: Any, line: Line, index: int, scale: str) -> None:
    colour = COLOURS[index % len(COLOURS)]
    style = {"color": colour, "linestyle": DASHES[index % len(DASHES)], "linewidth": 1.6}
    positive = line.means[line.means > 0]
    lowest = positive.min() if scale == "log" and len(positive) else -math.inf  # what is 0 stands at the lower edge
    marker = "." if len(line.means) < 30 else ""
    axes.plot(line.steps, line.means.clip(lowest), marker=marker, label=plain_text(line.label), **style)
    if line.lows is not line.means:
        axes.fill_between(line.steps, line.lows.clip(lowest), line.highs.clip(lowest), color=colour, alpha=0.15, lw=0)


def _scale(axes: Any, chart: Chart, values: np.ndarray) -> None:
    """Logarithmic or not, and from where to where: a single outlier does not flatten a chart with bounds."""
    if (values > 0).any() if chart.scale == "log" else chart.scale == "auto" and (values > 0).all():
        _logarithmic(axes)
    low, high = chart.bounds
    least, most = chart.within or (-math.inf, math.inf)
    if low is not None:
        axes.set_ylim(bottom=max(least, min(low, 1.05 * np.percentile(values, 1))))
    if high is not None:
        axes.set_ylim(top=min(most, max(high, 1.05 * np.percentile(values, 99))))


def _logarithmic(axes: Any) -> None:
    """Ticks as plain numbers, also between the powers of ten where few of these are in sight."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_minor_formatter("{x:g}" if top < 50 * bottom else NullFormatter())
