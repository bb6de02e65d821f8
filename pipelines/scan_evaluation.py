"""How good a model for scans is, by published protocols and by measures that see what a PSNR does not.

Each slice is measured, figures of a patient are means over slices, and the summary is the mean over patients: a long
scan weighs no more than a short one. Beside the model stand doing nothing and, if wanted, classical methods; what needs
no reference is also told of the target itself. Values are compared before they are rounded for a file.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from translate.contract import CAN_BE_ALLOWED
from translate.data.folders import shown
from translate.data.scans import ScanError
from translate.pipelines.evaluation import write_csv
from translate.pipelines.inference.scan_denoising import ScanDenoising
from translate.pipelines.scan_evaluation_cases import Case, Comparison, Matching, check_apart, find_cases
from translate.pipelines.scan_evaluation_figures import Measured, tissue_name
from translate.pipelines.scan_evaluation_inserts import insert_figures
from translate.pipelines.scan_evaluation_methods import baselines, do_nothing, model_method
from translate.scan_metrics import Preset, find_preset

logger = logging.getLogger(__name__)
SMALLEST = 16  # pixels a side, for Evidence and all windows of SSIM
MODEL_RANGE = "model"  # the preset of the range of the model's contract


@dataclass(frozen=True)
class EvaluationOptions:
    """How a model is measured.

    Args:
        matching: how scans are read and matched.
        presets: by name, the first decides tuning; "model" is the range of the model's contract. None is "red-cnn" for
            HU, else "model".
        baselines: whether non-local means and total variation are measured too.
        tune: what they are tuned on; None leaves them blind.
        inserts: slices into which discs are inserted, 0 for none.
    """

    matching: Matching = field(default_factory=Matching)
    presets: tuple[str, ...] = ()
    baselines: bool = False
    tune: Comparison | None = None
    inserts: int = 0

    def __post_init__(self) -> None:
        if self.tune and not self.baselines:
            raise ScanError("there is something to tune on, but nothing to tune: ask for the baselines too")
        if self.inserts < 0:
            raise ScanError(f"inserts counts slices, 0 or more, got {self.inserts}")


def evaluate_scans(
    pipeline: ScanDenoising,
    comparison: Comparison,
    options: EvaluationOptions | None = None,
    csv_path: Path | None = None,
    *,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Denoise every source slice by slice, and compare it with its target.

    Figures of a method: "presets": {name: {"psnr", "ssim", "mae", "rmse"}}; "bias_target" and "bias_source": mean of
    output minus target, and minus source, in soft tissue as the target has it (`tissue_of`); "noise_sd",
    "noise_mean_frequency" (per mm), "structure", "difference_ratio", "flicker", "low_frequency" as `Evidence` defines
    them for a series; of several series of a patient their mean.
    "target" has what needs no reference. A model that makes another modality has presets and bias_target alone.

    Args:
        csv_path: gets a row for each slice and method, written whole or not at all.

    Returns:
        {"slices", "patients", "unmatched", "units", "presets": what each means, "methods": what each is, "tissue":
        where the bias is measured, "mean": figures by method, "by_patient": likewise by patient, "inserts": see
        `insert_figures`, or None, "csv"}.

    Raises:
        ScanError: nothing is found, or it does not fit; the model is for other scans, presets for other units; a slice
            cannot be read or is too small; something is tuned on what is measured.
        ValueError: an unknown preset.
    """
    options = options or EvaluationOptions()
    if csv_path is not None and csv_path.is_dir():
        raise ScanError(f"{csv_path} is a folder: name a file for the figures of each slice")
    if csv_path is not None and csv_path.exists() and csv_path.suffix.lower() != ".csv":
        inputs = [folder.resolve() for folder in (comparison.source, comparison.target) if folder]
        if any(csv_path.resolve().is_relative_to(folder) for folder in inputs):
            raise ScanError(f"{csv_path} is a file of the input, which is not overwritten: give another one with --csv")
    cases, unmatched = find_cases(comparison, options.matching)
    units = _checked_units(pipeline, cases, options)
    _check_scans(pipeline, cases, options.matching.allow)
    presets = choose_presets(pipeline, options.presets, units)
    methods = {"model": model_method(pipeline)}
    if not pipeline.synthetic:
        methods["do_nothing"] = do_nothing()
    if options.baselines:
        tuned = find_cases(options.tune, options.matching)[0] if options.tune else []
        check_apart(tuned, cases)
        methods |= baselines(tuned, presets, units)
    measured = Measured(methods, presets, not pipeline.synthetic)
    slices = sum(len(case.targets) for case in cases)
    with tqdm(total=slices, unit="slice", disable=not show_progress) as bar:
        for case in cases:
            measured.add(case, pipeline.neighbours, bar)
    summary = {
        "slices": slices,
        "patients": len(measured.by_patient()),
        "unmatched": unmatched,
        "units": units,
        "noise": comparison.noise.facts() if comparison.noise else None,
        "presets": {preset.name: _described(preset) for preset in presets},
        "tissue": tissue_name(units),
        "methods": {name: method.facts for name, method in methods.items()},
        "mean": measured.mean(),
        "by_patient": measured.by_patient(),
        "inserts": insert_figures(methods, cases, options.inserts, pipeline.neighbours) if options.inserts else None,
    }
    if csv_path is not None:
        write_csv(measured.table(), csv_path)
    return summary | {"csv": str(csv_path) if csv_path else None}


def choose_presets(pipeline: ScanDenoising, names: tuple[str, ...], units: str) -> list[Preset]:
    """The presets of these names. Raises ScanError for those of other units, ValueError for unknown ones."""
    chosen = []
    for name in names or ("red-cnn" if units == "HU" else MODEL_RANGE,):
        if name == MODEL_RANGE:
            if pipeline.contract is None:
                raise ScanError(
                    f"the preset {MODEL_RANGE!r} is the range that a model was trained on, the identity has none: give "
                    + ("another preset" if units == "HU" else f"a model that was trained on scans in {units}")
                )
            span = pipeline.output.intensity()
            assert span is not None  # the contract was checked
            chosen.append(Preset(name, span.low, span.high, units=span.units, source="the range of the model"))
        else:
            chosen.append(find_preset(name))
        if chosen[-1].units != units:
            raise ScanError(
                f"the preset {name!r} is for {chosen[-1].units}, the scans are in {units}: use {MODEL_RANGE!r}"
            )
    return chosen


def _described(preset: Preset) -> str:
    mask = " (the body in the target, holes filled)" if preset.needs_mask else ""
    return preset.describe() + mask


def _checked_units(pipeline: ScanDenoising, cases: list[Case], options: EvaluationOptions) -> str:
    """The units of targets. Raises ScanError unless they are those of the outputs, and methods and sizes fit."""
    source, target = cases[0].source.header, next(iter(cases[0].targets.values())).scan.header
    span = pipeline.output.intensity() if pipeline.synthetic else None
    made = span.units if span else source.units
    if made != target.units:
        raise ScanError(f"the outputs are in {made}, the targets in {target.units}: give targets of the same units")
    if pipeline.synthetic and (options.baselines or options.inserts):
        raise ScanError("baselines and inserts are for models that denoise, this one makes another modality")
    if options.inserts and made != "HU":
        raise ScanError(f"inserts have contrasts in HU, the scans are in {made}: leave them out")
    if options.inserts and any(None in case.source.header.spacing[1:] for case in cases):
        raise ScanError("inserts have a size in millimetres, but the size of pixels is unknown: leave them out")
    for case in cases:
        if min(case.source.header.shape[1:]) < SMALLEST:
            raise ScanError(
                f"{case.source.header.name}: slices of at least {SMALLEST} x {SMALLEST} pixels are measured, got "
                f"{case.source.header.shape[1:]}: leave it out"
            )
    return target.units


def _check_scans(pipeline: ScanDenoising, cases: list[Case], allow: frozenset[str]) -> None:
    warnings: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        for warning in pipeline.check(case.source, allow & CAN_BE_ALLOWED):
            warnings[warning].append(case.source.header.name)
    for warning, names in warnings.items():
        logger.warning("%s: %s", shown(names), warning)
