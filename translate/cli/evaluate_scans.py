"""translate evaluate scans MODEL SOURCE"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from translate.cli import CommandError, infer_backends

EPILOG = """
Slices of SOURCE and --target are matched by patient and place; with --dose or --rician the scans of SOURCE are the
targets, and noisy copies of them are denoised. A PSNR of CT means nothing without its range, so figures stand below
the preset that they belong to: red-cnn (the usual one, and the default for HU), eulig-chest, eulig-abdomen,
eulig-neuro, synthrad, abdomen, full, or model, the range that the model was trained on. Slices are measured one by
one; they make the mean of a patient, and patients the mean that is printed. Patients are called p001 and so on, or
what --patient finds.

"do nothing" is the source as it is, "target" what the target itself would get. NLM and TV (--baselines) are non-local
means and total variation; they are tuned on --tune-source and --tune-target, patients that are not measured, or have
settings for noise alone. Bias is the mean of output minus target, and minus source, in soft tissue of the target.
Noise is that of flat tissue; a mean frequency below the target's looks like plastic. Structure is how much of what was
taken away looks like edges, 0 to 1. "z ratio" is how far neighbouring slices differ, output to source, flicker how much
their brightness jumps. --inserts puts discs of known contrast into some noisy slices: recovered is the part of their
contrast that is left, kept the part of discs with at least half of it, invented the part of empty places that now show
one; MTF50 is the sharpness of edges by their contrast. PSNR of equal scans is inf, - is what could not be measured.

  translate evaluate scans MODEL LOW --target FULL --baselines --tune-source LOW2 --tune-target FULL2
  translate evaluate scans MODEL FULL --dose 0.25
"""
PRESET_COLUMNS = {"psnr": ("PSNR dB", 2), "ssim": ("SSIM", 4), "mae": ("MAE", 2), "rmse": ("RMSE", 2)}
EVIDENCE_COLUMNS = {
    "bias_target": ("bias target", 3),
    "bias_source": ("bias source", 3),
    "noise_sd": ("noise sd", 2),
    "noise_mean_frequency": ("mean freq.", 3),
    "structure": ("structure", 3),
    "difference_ratio": ("z ratio", 3),
    "flicker": ("flicker", 3),
    "low_frequency": ("wide areas", 3),
}
LESION_COLUMNS = {
    "recovered": ("recovered", 2),
    "kept": ("kept", 2),
    "invented": ("invented", 2),
    "cnr_after": ("CNR", 2),
    "detectability_after": ("d'", 2),
}
WIDE = 12  # characters of a column
PATIENTS_SHOWN = 30


def add_arguments(task: argparse.ArgumentParser) -> None:
    task.add_argument("source", metavar="SOURCE", type=Path, help="file or folder of scans to denoise")
    ways = task.add_argument_group("what they should become, one of these").add_mutually_exclusive_group(required=True)
    ways.add_argument("--target", metavar="FOLDER", type=Path, help="the same slices at full dose")
    ways.add_argument("--dose", metavar="SHARE", type=float, help="SOURCE itself, of CT at this share of its dose")
    ways.add_argument("--rician", metavar="PERCENT", type=float, help="SOURCE itself, of MR with noise in percent")
    task.add_argument("--kernel-filter", metavar="NAME", help="kernel of --dose (the scan's own if it is known)")
    task.add_argument("--preset", metavar="NAMES", default="", help="protocols of PSNR and SSIM, separated by commas")
    task.add_argument("--baselines", action="store_true", help="measure NLM and TV, too (scikit-image; slow)")
    task.add_argument("--tune-source", metavar="FOLDER", type=Path, help="scans of other patients to tune them on")
    task.add_argument("--tune-target", metavar="FOLDER", type=Path, help="what these should become, with --target")
    task.add_argument(
        "--inserts", metavar="N", type=int, nargs="?", const=3, default=0, help="put discs into N slices (3; slow)"
    )
    task.add_argument("--patient", metavar="REGEX", help="what matches a patient in a path (the patient ID tag)")
    task.add_argument(
        "--allow",
        metavar="WHAT",
        default="",
        help="let pass, separated by commas: gaps, tilt, duplicates, mixed, unmatched; spacing, thickness, kernel that "
        "the model does not know",
    )
    task.add_argument("--units", metavar="UNITS", help="of files that do not say: HU, SUV, stored")
    task.add_argument("--seed", metavar="N", type=int, default=0, help="of simulated noise (0)")


def scans(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options name, and return the summary. Raises CommandError for options that do not fit."""
    from translate.cli.infer import check_device, dtype_of
    from translate.pipelines.inference.scan_denoising import ScanDenoising
    from translate.pipelines.scan_evaluation import EvaluationOptions, evaluate_scans
    from translate.pipelines.scan_evaluation_cases import Comparison, Matching

    _check(options)
    noise = _noise(options)
    tune = options.tune_source and Comparison(options.tune_source, options.tune_target, noise)
    how = EvaluationOptions(
        Matching(frozenset(_words(options.allow)), options.units, options.patient, options.seed),
        tuple(_words(options.preset)),
        options.baselines,
        tune,
        options.inserts,
    )
    check_device(options.device)
    pipeline = ScanDenoising.from_pretrained(
        options.model, direction=options.direction, device=options.device, dtype=dtype_of(options)
    )
    pipeline = infer_backends.with_backend(pipeline, options)
    compared = Comparison(options.source, options.target, noise)
    return evaluate_scans(pipeline, compared, how, options.csv, show_progress=not options.json)


def _check(options: argparse.Namespace) -> None:
    if options.kernel_filter and options.dose is None:
        raise CommandError("--kernel-filter is a setting of --dose: give it too")
    if (options.tune_source or options.tune_target) and not options.baselines:
        raise CommandError("--tune-source and --tune-target are for --baselines: give it too")
    if options.target and bool(options.tune_source) != bool(options.tune_target):
        raise CommandError("--tune-source and --tune-target belong together: give both, or neither")
    if not options.target and options.tune_target:
        raise CommandError("--tune-target goes with --target: with simulated noise --tune-source holds the targets")


def _noise(options: argparse.Namespace) -> Any:
    from translate.data.ct_noise import CtDose
    from translate.pipelines.preprocessing.scan_noise import LowDose, Rician

    if options.rician is not None:
        return Rician(options.rician)
    if options.dose is None:
        return None
    if options.kernel_filter:
        return LowDose(CtDose(options.dose, filter=options.kernel_filter), own_kernel=False)
    return LowDose(CtDose(options.dose))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def in_words(summary: dict[str, Any]) -> str:
    """Tables of all methods: one for each preset, one of what needs no reference, and those of inserts."""
    patients = f"{summary['patients']} patient" + ("s" if summary["patients"] > 1 else "")
    slices = f"{summary['slices']} slices of {patients}, in {summary['units']}"
    lines = [slices + (", means over the slices of each patient" if summary["patients"] > 1 else "")]
    if summary["noise"]:
        lines.append("sources are the targets with simulated noise: " + _facts(summary["noise"]))
    if summary["unmatched"]:
        lines.append(f"{summary['unmatched']} slices without a partner were left out")
    baselines = {name: method for name, method in summary["methods"].items() if "settings" in method}
    lines += [
        f"{_label(name)}: {_settings(method['settings'])}; {method['tuning']}" for name, method in baselines.items()
    ]
    mean = summary["mean"]
    for preset, description in summary["presets"].items():
        figures = {name: row["presets"][preset] for name, row in mean.items() if "presets" in row}
        lines += ["", description, *_table(figures, PRESET_COLUMNS)]
    lines += _by_patient(summary)
    units = summary["units"]
    title = f"bias in {summary['tissue']} ({units}); in flat tissue noise ({units}) and its mean frequency (per mm)"
    lines += ["", title, *_table(mean, EVIDENCE_COLUMNS)]
    if summary["inserts"]:
        lines += _inserts(summary["inserts"])
    if summary["csv"]:
        lines += ["", f"each slice: {summary['csv']}"]
    return "\n".join(lines) + "\n"


def _by_patient(summary: dict[str, Any]) -> list[str]:
    """PSNR and SSIM of the first preset, where there are several patients."""
    if summary["patients"] < 2:
        return []
    preset = next(iter(summary["presets"]))
    lines = []
    for key in ("psnr", "ssim"):
        title, digits = PRESET_COLUMNS[key]
        methods = [name for name, row in summary["mean"].items() if "presets" in row]
        columns = {name: (_label(name), digits) for name in methods}
        shown = list(summary["by_patient"].items())[:PATIENTS_SHOWN]
        rows = {patient: {name: of[name]["presets"][preset][key] for name in methods} for patient, of in shown}
        lines += ["", f"{preset}, {title} of each patient", *_table(rows, columns)]
        if left := summary["patients"] - len(shown):
            lines.append(f"and {left} more, all are in --json")
    return lines


def _inserts(inserts: dict[str, Any]) -> list[str]:
    lines = []
    for contrast, methods in inserts["lesions"].items():
        count = next(iter(methods.values()))["discs"]
        title = f"{count} discs of {contrast} HU and a radius of {inserts['radius']:g} mm in {inserts['slices']} slices"
        lines += ["", title, *_table(methods, LESION_COLUMNS)]
    names = next(iter(inserts["edges"].values()))
    rows = {name: {c: edges[name]["mtf50"] for c, edges in inserts["edges"].items()} for name in names}
    columns = {contrast: (f"{contrast} HU", 3) for contrast in inserts["edges"]}
    return [*lines, "", "MTF50 of edges of this contrast, per mm", *_table(rows, columns)]


def _table(rows: dict[str, dict[str, Any]], columns: dict[str, tuple[str, int]]) -> list[str]:
    wide = 2 + max(12, *(len(_label(name)) for name in rows))
    lines = [" " * wide + "".join(f"{title:>{WIDE}}" for title, _ in columns.values())]
    for name, figures in rows.items():
        numbers = (_number(figures.get(key), digits) for key, (_, digits) in columns.items())
        lines.append(_label(name).ljust(wide) + "".join(numbers))
    return lines


def _label(name: str) -> str:
    return {"do_nothing": "do nothing", "nlm": "NLM", "tv": "TV"}.get(name, name)


def _number(value: float | None, digits: int) -> str:
    return f"{'-':>{WIDE}}" if value is None else f"{value:>{WIDE}.{digits}f}"


def _settings(settings: dict[str, Any]) -> str:
    """Of a baseline: strengths are multiples of a slice's noise, sizes are whole pixels."""
    units = {float: "times the noise", int: "pixels"}
    return ", ".join(f"{key} {value:g} {units[type(value)]}" for key, value in settings.items() if key != "method")


def _facts(facts: dict[str, Any]) -> str:
    return ", ".join(_fact(key, value) for key, value in facts.items())


def _fact(key: str, value: Any) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str):
        value = " ".join(map(str, value))
    return f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
