"""translate infer MODEL INPUT OUTPUT, where INPUT holds scans"""

import argparse
from typing import Any

from translate.cli import CommandError

# Options that only one kind of input has, and what they are where they are not given.
FOR_PICTURES = (
    *("size", "scale", "width", "height", "self_ensemble", "format", "quality", "compression", "workers", "max_pixels"),
    *("clean", "variations", "seed"),
)
FOR_SCANS = ("allow", "units", "residual", "uncertainty", "synthetic", "no_evidence")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    scans = parser.add_argument_group("only for scans (DICOM, NIfTI, and TIFF with --units)")
    scans.add_argument(
        "--units", metavar="UNITS", help="of files that do not say: HU, SUV or stored; makes TIFF files scans"
    )
    scans.add_argument(
        "--allow",
        metavar="NAMES",
        help="let pass: gaps, tilt, duplicates, mixed of the files; spacing, thickness, kernel that the model does not "
        "know; several with commas",
    )
    scans.add_argument("--residual", action="store_true", help="write residual.nii.gz, output minus input")
    scans.add_argument(
        "--uncertainty", action="store_true", help="write uncertainty.nii.gz, over 8 mirrored and turned views; slow"
    )
    scans.add_argument("--synthetic", action="store_true", help="needed for a model that makes another modality")
    scans.add_argument("--no-evidence", action="store_true", help="write the derived files and nothing about them")


def holds(options: argparse.Namespace) -> bool:
    """Whether the input is read as scans: it holds DICOM or NIfTI, has its units declared, or the model is for scans.

    Raises:
        CheckpointError: there is no such model.
    """
    from translate.data.large import is_large
    from translate.data.scan_folder import holds_scans
    from translate.model_folder import read_config
    from translate.model_sources import find_model
    from translate.pipelines.inference.pretrained import task_of

    return (
        options.units is not None
        or (not is_large(options.input) and holds_scans(options.input))
        or task_of(read_config(find_model(options.model))) == "scan_denoising"
    )


def is_given(options: argparse.Namespace, name: str) -> bool:
    """Whether an option without a default is on the command line; 0 is given, too."""
    value = getattr(options, name)
    return value is not None and value is not False


def refuse_given(options: argparse.Namespace, names: tuple[str, ...], why: str) -> None:
    """Refuse options that have no meaning for the input. Raises CommandError."""
    wrong = [name for name in names if is_given(options, name)]
    if wrong:
        flags = ", ".join("--" + name.replace("_", "-") for name in wrong)
        raise CommandError(f"{flags} cannot be used with {options.input}: {why}, leave it out")


def scan_options(options: argparse.Namespace) -> Any:
    """The ScanOptions of a command line. Raises CommandError for options of pictures, ScanError for wrong values."""
    from translate.pipelines.inference.derive_scan import ScanOptions

    refuse_given(options, FOR_PICTURES, "it holds scans, and this is for pictures")
    return ScanOptions(
        allow=frozenset(name.strip() for name in (options.allow or "").split(",") if name.strip()),
        units=options.units,
        residual=options.residual,
        uncertainty=options.uncertainty,
        synthetic=options.synthetic,
        evidence=not options.no_evidence,
        batch_size=options.batch_size,
    )


def infer_scans(options: argparse.Namespace, how: Any, pipeline: Any) -> dict[str, Any]:
    """Translate the scans that the options name, with ScanOptions and a ScanDenoising, and return the summary."""
    from translate.pipelines.inference.scan_folder import is_file_name, translate_scan_file, translate_scans
    from translate.processes import process_state

    if options.input.is_dir() or not is_file_name(options.output):
        return translate_scans(pipeline, options.input, options.output, how, show_progress=not options.json)
    if not process_state().is_main_process:  # one file is not shared
        return {"scans": 1, "done": 1, "skipped": 0, "failed": 0, "output": str(options.output)}
    return translate_scan_file(pipeline, options.input, options.output, how)
