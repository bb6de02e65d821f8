"""translate preprocess scans: its options, and which data set they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from translate.pipelines.preprocessing.dataset import Options
    from translate.pipelines.preprocessing.scan_writing import Noise
    from translate.pipelines.preprocessing.scans import ScanOptions

EPILOG = """
The data set is a folder with train/ and val/, ready for translate train: one TIFF a slice in the scan's own numbers
(HU for CT), and dataset.json with units, spacing, kernels and SHA-256. Splits are made by patient, and a patient in two
of them is refused, also when --split writes them one after the other. Files and manifest hold no patient data. A
command that was stopped goes on where it stopped. A slice that cannot be read is reported and left out with its
partner; then the exit code is 1.

  translate preprocess scans LOW OUT --target FULL        registered low and full dose
  translate preprocess scans FULL OUT --dose 0.25         CT: simulated quarter dose, to be restored
  translate preprocess scans MR OUT --rician 5            MR: noise of 5 % of the largest value
  translate preprocess scans LOW OUT --unpaired FULL      two kinds that are not registered
  translate preprocess scans NOISY OUT --alone            for training without clean targets
"""


def add_arguments(task: argparse.ArgumentParser) -> None:
    ways = task.add_argument_group("what is learned, one of these").add_mutually_exclusive_group(required=True)
    ways.add_argument("--target", metavar="FOLDER", type=Path, help="scans registered to SOURCE, what it shall become")
    ways.add_argument("--dose", metavar="SHARE", type=float, help="simulate CT at this share of the dose as source")
    ways.add_argument("--rician", metavar="PERCENT", type=float, help="add MR noise, in percent of the largest value")
    ways.add_argument(
        "--xray-photons", metavar="N", type=float, help="add X-ray noise of N photons a pixel where bright"
    )
    ways.add_argument("--unpaired", metavar="FOLDER", type=Path, help="scans of the other kind, not registered")
    ways.add_argument("--alone", action="store_true", help="only SOURCE, for training without targets")

    made = task.add_argument_group("simulated noise")
    made.add_argument("--realisations", metavar="N", type=int, default=1, help="noisy copies of each slice (1)")
    made.add_argument(
        "--highest-dose", metavar="SHARE", type=float, help="CT: each copy gets a share from --dose up to this one"
    )
    made.add_argument("--photons", metavar="N", type=float, help="CT: photons a view and mm at full dose (1.4e5)")
    made.add_argument("--electronic", metavar="N", type=float, help="CT, X-ray: electronic noise, in photons (10)")
    made.add_argument(
        "--kernel-filter",
        metavar="NAME",
        help="CT: filter of the reconstruction (its kernel); any: each copy gets one between B30f and D45f",
    )
    made.add_argument(
        "--cutoff", metavar="SHARE", type=float, help="CT: where the filter ends, of the Nyquist frequency"
    )
    made.add_argument("--views", metavar="N", type=int, help="CT: projections over half a turn (720)")

    read = task.add_argument_group("scans")
    read.add_argument(
        "--patient",
        metavar="REGEX",
        help="whose a file is: what this matches in its path below the folder, or its group 1 (the patient ID tag)",
    )
    read.add_argument(
        "--val-patients", metavar="REGEX", nargs="+", default=[], help="these patients go to val/, all others to train/"
    )
    read.add_argument(
        "--allow",
        metavar="WHAT",
        default="",
        help="let pass, separated by commas: gaps, tilt, duplicates, mixed, unmatched",
    )
    read.add_argument("--units", metavar="UNITS", help="of files that do not say: HU, SUV, Bq/ml, stored")
    read.add_argument(
        "--storage",
        choices=["auto", "int16", "float16", "float32"],
        default="auto",
        help="type of the files; auto is the smallest that holds a slice exactly (auto)",
    )
    read.add_argument(
        "--min-body", metavar="SHARE", type=float, default=0.0, help="leave out slices that show less of the body (0)"
    )


def prepare(given: argparse.Namespace, options: Options, *, show_progress: bool) -> dict[str, Any]:
    """Write the data set that the command line asks for. Returns its summary."""
    from translate.data.scans import ScanError
    from translate.pipelines.preprocessing import scans

    how = _scan_options(given)
    if (noise := _noise(given)) is not None:
        return scans.prepare_noisy_scans(
            given.source,
            given.output,
            options,
            how,
            noise,
            realisations=given.realisations,
            show_progress=show_progress,
        )
    if given.realisations != 1:
        raise ScanError("--realisations counts noisy copies: it goes with --dose, --rician or --xray-photons")
    if given.target:
        return scans.prepare_scan_pairs(
            given.source, given.target, given.output, options, how, show_progress=show_progress
        )
    if given.unpaired:
        return scans.prepare_unpaired_scans(
            given.source, given.unpaired, given.output, options, how, show_progress=show_progress
        )
    return scans.prepare_scans_alone(given.source, given.output, options, how, show_progress=show_progress)


def _scan_options(given: argparse.Namespace) -> ScanOptions:
    from translate.data.dicom_geometry import ALLOWED
    from translate.data.scans import ScanError
    from translate.pipelines.preprocessing.scan_sources import Reading
    from translate.pipelines.preprocessing.scan_writing import Storing
    from translate.pipelines.preprocessing.scans import ScanOptions

    allow = {word.strip() for word in given.allow.split(",") if word.strip()}
    if unknown := sorted(allow - {*ALLOWED, "unmatched"}):
        raise ScanError(f"--allow takes {', '.join(ALLOWED)}, unmatched, got {', '.join(map(repr, unknown))}")
    return ScanOptions(
        Reading(frozenset(word for word in ALLOWED if word in allow), given.units, given.patient),
        Storing(given.storage, given.min_body),
        tuple(given.val_patients),
        "unmatched" in allow,
    )


def _noise(given: argparse.Namespace) -> Noise | None:
    """The simulator that is asked for, with its own defaults for what is not given."""
    from translate.data.scans import ScanError

    of_dose = {"photons": given.photons, "filter": given.kernel_filter, "cutoff": given.cutoff, "views": given.views}
    settings = {name: value for name, value in of_dose.items() if value is not None}
    if given.dose is None and (settings or given.highest_dose is not None):
        raise ScanError(
            "--highest-dose, --photons, --kernel-filter, --cutoff and --views are settings of --dose: give it too"
        )
    if given.electronic is not None:
        if given.dose is None and given.xray_photons is None:
            raise ScanError("--electronic is a setting of --dose and --xray-photons: give one of them too")
        settings["electronic"] = given.electronic
    if given.dose is None and given.rician is None and given.xray_photons is None:
        return None
    from translate.data.ct_noise import CtDose
    from translate.pipelines.preprocessing.scan_noise import LowDose, Rician, XRay

    if given.dose is not None:
        any_kernel = given.kernel_filter == "any"
        if any_kernel:
            del settings["filter"]
        own = given.kernel_filter is None
        return LowDose(CtDose(given.dose, **settings), own, given.highest_dose, any_kernel)
    return Rician(given.rician) if given.rician is not None else XRay(given.xray_photons, **settings)
