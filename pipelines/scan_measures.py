"""What the entries of the evidence are called on its page, what they mean, and what to hold them against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from translate.data.scans import ScanHeader
from translate.pipelines.plots import draw
from translate.pipelines.scan_entries import Entries, describe, rows
from translate.pipelines.scan_plots import plot_bands, plot_slices, plot_spectra

Plot = tuple[bytes, str, str]  # PNG, what it shows for whoever cannot see it, caption
WORK = ("tool", "version", "model", "settings", "slices", "seconds")


@dataclass(frozen=True)
class Measure:
    """A row of the table. `unit` is the scan's where it is None; the value of "%" is a fraction."""

    path: str
    label: str
    meaning: str
    reference: str = ""
    unit: str | None = None
    signed: bool = False


MEASURES = (
    Measure(
        "residual.mean", "Mean of the residual", "How much brighter (+) or darker (-) the whole scan became.",
        "0 where only noise was taken", signed=True,
    ),
    Measure("residual.sd", "Standard deviation of the residual", "The typical size of a change."),
    Measure("residual.rms", "Root mean square of the residual", "The two rows above in one figure."),
    Measure("residual.changed", "Voxels changed", "The part of all voxels whose value is not the same.", unit="%"),
    Measure("residual.largest", "Largest change", "The voxel that changed most:", signed=True),
    Measure(
        "clipped", "Clipped voxels", "New values that the file cannot hold, and that were moved to its limits.",
        "0 where every value fits", unit="",
    ),
    Measure(
        "noise.patches", "Flat patches", "Squares of flat tissue in which noise was measured: the more, the surer.",
        unit="",
    ),
    Measure("noise.sd_before", "Noise of the input", "Standard deviation in the flat patches."),
    Measure("noise.sd_after", "Noise of the output", "The same places, afterwards."),
    Measure(
        "noise.mean_frequency_before", "Mean noise frequency of the input", "How fine the grain of the noise is.",
        unit="{frequency}",
    ),
    Measure(
        "noise.mean_frequency_after", "Mean noise frequency of the output",
        "Lower than the input's: what noise is left is coarser, which looks like plastic.",
        "BM3D moved one scan's from 0.226 to 0.123 per mm", unit="{frequency}",
    ),
    Measure(
        "structure", "Structure in the residual",
        "How much the residual looks like the edges of the anatomy, from 0 to 1. Noise has no edges.",
        "pure noise 0.00, BM3D 0.09, median filter 0.31, Gaussian filter 0.69 to 0.86", unit="",
    ),
    Measure(
        "between_slices.difference_ratio", "Difference of neighbouring slices",
        "In flat tissue, after divided by before. Noise between slices shrinks with the noise itself.",
        "1 where nothing changed", unit="",
    ),
    Measure(
        "between_slices.flicker", "Flicker between slices",
        "How much the mean brightness of tissue jumps from slice to slice.", "0 where every slice is treated alike",
    ),
    Measure(
        "low_frequency.rms", "Change over wide areas",
        "Root mean square of the strongly smoothed residual: brightness that was moved.",
        "0 where only noise was taken",
    ),
    Measure(
        "low_frequency.largest", "Largest change over a wide area", "Where brightness was moved most:", signed=True
    ),
)  # fmt: skip


def facts_of_work(entries: Entries) -> list[tuple[str, str]]:
    """Who did it, with what: all that is known under these names."""
    names = {"slices": "slices measured"}
    return [row for name in WORK if name in entries for row in rows(entries.take(name), names.get(name, name))]


def facts_of_contract(entries: Entries) -> list[tuple[str, str]]:
    """What the model may be given, without what it leaves open."""
    contract = entries.take("contract")
    known = (
        {key: value for key, value in contract.items() if value is not None} if isinstance(contract, Mapping) else {}
    )
    return list(rows(known))


def facts_of_input(entries: Entries, header: ScanHeader) -> list[tuple[str, str]]:
    """What went in: the header, and the evidence's own entries, which come first where both have one."""
    entries.take("units")  # the header's
    spacing = [f"{step:.4g}" if step else "unknown" for step in header.spacing]
    facts = {
        "name": header.name,
        "modality": header.modality or "unknown",
        "units": header.units,
        "shape": " x ".join(map(str, header.shape)) + " (slices, rows, columns)",
        "spacing": " x ".join(spacing) + " mm (slices, rows, columns)",
        "thickness": f"{header.thickness:.4g} mm" if header.thickness else None,
        "kernel": header.kernel,
    }
    given = entries.take("input")
    extra = {key: value for key, value in given.items() if key not in facts} if isinstance(given, Mapping) else {}
    return list(rows({key: value for key, value in facts.items() if value} | extra))


def measure_rows(entries: Entries, units: str, frequency_units: str | None) -> list[tuple[str, str, str, str]]:
    """Label, value, meaning and reference of every measure that is there."""
    found = []
    for measure in MEASURES:
        if measure.path in entries:
            value = entries.take(measure.path)
            unit = units if measure.unit is None else measure.unit.format(frequency=frequency_units or "")
            found.append(
                (measure.label, _value(value, unit, measure.signed), _meaning(measure, value), measure.reference)
            )
    return found


def _value(value: Any, unit: str, signed: bool) -> str:
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,} {unit}".strip()
    if not isinstance(value, float):
        return "not measured" if value is None else str(value)
    return describe(value * 100 if unit == "%" else value, unit, sign=signed)


def _meaning(measure: Measure, value: Any) -> str:
    """Places are counted from 1, as viewers do."""
    if not isinstance(value, Mapping):
        return measure.meaning
    place = [f"{name} {value[name] + 1}" for name in ("slice", "row", "column") if isinstance(value.get(name), int)]
    return f"{measure.meaning} {', '.join(place)}."


def band_rows(bands: Mapping[str, Any], units: str) -> list[tuple[str, ...]]:
    """Name, limits, voxels, bias everywhere and bias well inside of each band; numbers are in the units."""
    found = []
    for name, band in bands.items():
        biases = [_value(band.get(key), units, True).removesuffix(units).strip() for key in ("bias", "bias_inside")]
        found.append(
            (name, _limits(band.get("from"), band.get("below")), _value(band.get("pixels"), "", False), *biases)
        )
    return found


def _limits(low: float | None, high: float | None) -> str:
    if low is None:
        return "" if high is None else f"below {high:g}"
    return f"{low:g} and more" if high is None else f"{low:g} to {high:g}"


def spectrum_plot(noise: Mapping[str, Any], frequency_units: str | None, units: str) -> Plot | None:
    """The noise power spectrum before and after; None where it was not measured."""
    frequency, before, after = (noise.get(name) for name in ("frequency", "power_before", "power_after"))
    if not (frequency and before and after):
        return None
    per = frequency_units or "per pixel"
    area = "mm" if per == "per mm" else "pixel"
    spectra = {"input": before, "output": after}
    png = draw(lambda axes: plot_spectra(axes, frequency, spectra, (per, f"{units}² {area}²")))
    left = sum(after) / sum(before) if sum(before) else 0.0
    alt = f"Noise power against spatial frequency, input and output: {left:.0%} of the power is left"
    return png, alt, "Noise in flat parts of tissue. The closer the shapes of the curves, the more natural the grain."


def bands_plot(bands: Mapping[str, Any], units: str) -> Plot | None:
    """The bias of each band, everywhere and well inside; None where nothing was measured."""
    known = {name: band for name, band in bands.items() if band.get("bias") is not None}
    if not known:
        return None
    values = {name: (band["bias"], band.get("bias_inside")) for name, band in known.items()}
    alt = "Mean change of each band: " + ", ".join(f"{name} {one:+.2f} {units}" for name, (one, _) in values.items())
    caption = "Taking only noise away leaves no bias. In one scan a Gaussian filter moved soft tissue by -9.8 HU."
    return draw(lambda axes: plot_bands(axes, values, units)), alt, caption


def slices_plot(each: list[dict[str, Any]], units: str) -> Plot | None:
    """The residual of each slice; None for fewer than two."""
    if len(each) < 2:
        return None
    numbers = [entry["slice"] + 1 for entry in each]
    means, sizes = ([entry[name] for entry in each] for name in ("mean", "rms"))
    lowest, highest = (describe(value, units, sign=True) for value in (min(means), max(means)))
    alt = f"Residual of each of {len(each)} slices: its mean is between {lowest} and {highest}"
    caption = "Steps and jumps are slices that were treated unlike their neighbours. Anatomy changes slowly."
    return draw(lambda two: plot_slices(two, numbers, means, sizes, units), 2), alt, caption
