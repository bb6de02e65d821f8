"""The plots of the evidence page, each drawn into matplotlib axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from translate.pipelines.plots import plain, plain_text
from translate.pipelines.scan_entries import describe

BEFORE, AFTER = "#8a4b08", "#0b57a4"  # brown and blue differ for the colour-blind and in grey


def plot_spectra(
    axes: Any, frequencies: Sequence[float], spectra: Mapping[str, Sequence[float]], units: tuple[str, str]
) -> None:
    """Noise power against frequency, the input's and the output's; `units` are of frequency and of power."""
    for (name, power), colour, line in zip(spectra.items(), (BEFORE, AFTER), ("--", "-"), strict=True):
        axes.plot(frequencies, power, line, color=colour, label=name, linewidth=1.8)
    axes.set(
        xlabel=f"spatial frequency ({units[0]})",
        ylabel=f"noise power ({plain_text(units[1])})",
        title="Noise power spectrum",
    )
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend(fontsize="small", frameon=False)
    plain(axes)


def plot_bands(axes: Any, biases: Mapping[str, tuple[float, float | None]], units: str) -> None:
    """The bias of each band as two bars, everywhere and well inside, the first band at the top."""
    for shift, name, colour in ((-0.2, "everywhere", BEFORE), (0.2, "well inside", AFTER)):
        values = [pair[name == "well inside"] for pair in biases.values()]
        places = [place + shift for place, value in enumerate(values) if value is not None]
        known = [value for value in values if value is not None]
        labels = [describe(value, units, sign=True).removesuffix(units).strip() for value in known]
        bars = axes.barh(places, known, height=0.36, color=colour, label=name)
        axes.bar_label(bars, labels, padding=4, fontsize="x-small")
    axes.set_yticks(range(len(biases)), map(plain_text, biases))
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    low, high = axes.get_xlim()
    edge = max(abs(low), abs(high), 0.5)  # so that a change of nothing looks like nothing
    axes.set_xlim(-1.25 * edge if low < 0 else -0.25 * edge, 1.25 * edge if high > 0 else 0.25 * edge)
    axes.set(xlabel=f"mean of output - input ({plain_text(units)})", title="Bias of each band")
    axes.figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    plain(axes)


def plot_slices(two: Any, slices: Sequence[int], means: Sequence[float], sizes: Sequence[float], units: str) -> None:
    """Mean and root mean square of the residual of each slice, into two axes."""
    for axes, values, label in zip(two, (means, sizes), ("mean", "rms"), strict=True):
        axes.plot(slices, values, color=AFTER, marker="." if len(slices) < 60 else "", linewidth=1.4)
        axes.set_ylabel(f"{label} ({plain_text(units)})", fontsize="small")
        axes.margins(y=0.2)
        plain(axes)
    low, high = two[0].get_ylim()
    two[0].set_ylim(min(low, -0.1), max(high, 0.1))  # so that a steady mean looks steady
    two[0].axhline(0, color="black", linewidth=0.8)
    two[1].set_ylim(bottom=0)
    two[1].xaxis.get_major_locator().set_params(integer=True)
    two[1].set_xlabel("slice")
    two[0].set_title("Residual of each slice", fontsize="medium", fontweight="bold")
