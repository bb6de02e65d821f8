"""What a run leaves for its reader: losses as JSON lines, and curves."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from translate.objectives.terms import Terms


class Running:
    """Means of the loss terms since the last record, summed on the device: reading them is the only wait."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, terms: Terms) -> None:
        """Add one step's detached scalars; a term that is not there in every step has its own count."""
        for name, term in terms.items():
            self.sums[name] = self.sums[name] + term if name in self.sums else term.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> tuple[list[str], Tensor]:
        """Names, and one tensor of their means."""
        names = sorted(self.sums)
        means = [self.sums[name] / self.counts[name] for name in names]
        return names, torch.stack(means) if means else torch.zeros(0)

    def reset(self) -> None:
        self.sums, self.counts = {}, {}


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
