"""What a run leaves for its reader: losses as JSON lines, and curves."""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Average(NamedTuple):
    """Of one term or signal since the last record; values that are not finite count apart."""

    mean: float  # NaN if no value was finite
    swing: float  # standard deviation over the mean magnitude
    nonfinite: float  # share of the steps


class Running:
    """Sums of loss terms and signals since the last record, on the device: reading them is the only wait."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}  # by the names, joined by commas: (5, names), see `add`

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one step's detached scalars; what is not there in every step is averaged over those that have it."""
        key = ",".join(values)
        wide = torch.float64 if any(value.dtype == torch.float64 for value in values.values()) else torch.float32
        row = torch.stack([value.to(wide) for value in values.values()])
        finite = torch.isfinite(row)
        row = torch.where(finite, row, 0)
        added = torch.stack([finite.to(wide), (~finite).to(wide), row, row.square(), row.abs()])
        self.sums[key] = self.sums[key] + added if key in self.sums else added

    def averages(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, Average]:
        """Averages by name, in alphabetical order; this waits for the device.

        Args:
            reduce: the sum or mean of a tensor over all processes.
        """
        columns: dict[str, list[Tensor]] = {}
        for key, sums in sorted(self.sums.items()):  # a restart finds them in another order
            for name, column in zip(key.split(","), reduce(sums).T, strict=True):
                columns.setdefault(name, []).append(column)
        names = sorted(columns)
        if not names:
            return {}
        table = torch.stack([torch.stack(columns[name]).sum(dim=0) for name in names]).tolist()
        return {name: _average(*row) for name, row in zip(names, table, strict=True)}

    def reset(self) -> None:
        self.sums = {}


def _average(finite: float, nonfinite: float, total: float, squares: float, magnitude: float) -> Average:
    share = nonfinite / (finite + nonfinite)
    if not finite:
        return Average(math.nan, math.nan, share)
    mean = total / finite
    deviation = math.sqrt(max(0.0, squares / finite - mean**2))
    return Average(mean, deviation / (magnitude / finite) if magnitude else 0.0, share)


def cut_log(path: Path, step: int) -> None:
    """Make a log (`log.jsonl`, one record a line) that ends at `step`: what a killed run logged later is dropped."""
    kept = [record for record in read_log(path) if record["step"] <= step] if path.exists() else []
    aside = path.with_name(f".{path.name}.new")
    aside.write_text("".join(json.dumps(record) + "\n" for record in kept))
    os.replace(aside, path)


def append_log(path: Path, record: dict[str, Any]) -> None:
    """Add one record."""
    with open(path, "a") as file:
        file.write(json.dumps(record) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """All whole records of a log; a line that a kill cut short ends it."""
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


PANELS = {  # by the start of their names
    "g/": "generator losses",
    "d/": "discriminator losses",
    "val/psnr": "validation PSNR (dB)",
    "val/ssim": "validation SSIM",
    "val/swd": "validation SWD (x 1000)",
}


def draw_curves(records: list[dict[str, Any]], path: Path) -> None:
    """Losses of the generators, of the discriminators, and the validation figures, as one PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 3.5), layout="constrained")
    plot_curves(figure, records)
    save_figure(figure, path)


def plot_curves(figure: Any, records: list[dict[str, Any]]) -> None:
    """Plot the curves side by side into a matplotlib Figure or SubFigure."""
    names = sorted({key for record in records for key in record if key.startswith(tuple(PANELS))})
    panels = [prefix for prefix in PANELS if any(name.startswith(prefix) for name in names)]
    if not panels:
        return
    for axes, prefix in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        for name in (name for name in names if name.startswith(prefix)):
            points = [(record["step"], record[name]) for record in records if name in record]
            marker = "." if len(points) < 30 else ""
            axes.plot(*zip(*points, strict=True), label=name.partition("/")[2], marker=marker)
        if not prefix.startswith("val/") and all(value > 0 for line in axes.lines for value in line.get_ydata()):
            axes.set_yscale("log")
        axes.set(title=PANELS[prefix], xlabel="step")
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure as PNG, whole or not at all."""
    aside = path.with_name(f".{path.name}.new")
    figure.savefig(aside, format="png", dpi=110)
    os.replace(aside, path)
