"""translate preprocess pairs | side-by-side | unpaired | super-resolution | sketches | scans | shards"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from translate.cli import preprocess_scans, preprocess_shards, preprocess_sketches

EPILOG = """
The data set is a folder with train/ and val/, ready for translate train, and dataset.json with size, type and SHA-256
of every file. Without --size files are copied unchanged; with it larger images are reduced and written without loss. A
command that was stopped goes on where it stopped. A broken image is reported and left out with its partner; then the
exit code is 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    pairs = _task(tasks, "pairs", "two folders of registered images, matched by name")
    pairs.add_argument("source", metavar="SOURCE", type=Path, help="folder of what will be translated")
    pairs.add_argument("target", metavar="TARGET", type=Path, help="folder of what it shall become")
    pairs.add_argument(
        "--source-suffix", metavar="TEXT", default="", help="what SOURCE names end in beyond the common name: _LR, x2"
    )
    pairs.add_argument("--target-suffix", metavar="TEXT", default="", help="the same for TARGET: _HR")
    pairs.add_argument(
        "--scale", metavar="N", type=int, default=1, help="targets are N times as wide and high as sources (1)"
    )
    halves = _task(tasks, "side-by-side", "one folder of images that hold source and target side by side")
    halves.add_argument("folder", metavar="FOLDER", type=Path, help="folder of images of even width")
    halves.add_argument(
        "--source-on", choices=["left", "right"], default="left", help="the half that is the source (left)"
    )
    unpaired = _task(tasks, "unpaired", "two folders of two kinds of image that do not belong together")
    unpaired.add_argument("a", metavar="A", type=Path, help="folder of one kind")
    unpaired.add_argument("b", metavar="B", type=Path, help="folder of the other kind")
    enlarging = _task(tasks, "super-resolution", "pictures, and smaller or degraded copies of them to be restored")
    enlarging.add_argument("folder", metavar="FOLDER", type=Path, help="folder of pictures of high resolution")
    sketches = _task(
        tasks, "sketches", "photographs, and drawings that are derived from them or real", preprocess_sketches.EPILOG
    )
    sketches.add_argument("folder", metavar="PHOTOS", type=Path, help="folder of photographs")
    scans = _task(tasks, "scans", "slices of CT, MR or X-ray scans, in their own units", preprocess_scans.EPILOG)
    scans.add_argument("source", metavar="SOURCE", type=Path, help="folder or file of scans: DICOM, NIfTI or TIFF")
    for task in (pairs, halves, unpaired, enlarging, sketches, scans):
        task.add_argument("output", metavar="OUT", type=Path, help="folder of the data set")
        whose = "patients" if task is scans else "images"
        task.add_argument(
            "--val", metavar="SHARE", type=float, default=0.1, help=f"share of the {whose} for val/ (0.1)"
        )
        task.add_argument(
            "--split", choices=["train", "val"], help="put everything into this split, and leave the other as it is"
        )
        task.add_argument(
            "--seed", metavar="N", type=int, default=0, help="of the choice for val/, and of all that is random (0)"
        )
        if task not in (enlarging, scans):
            task.add_argument("--size", metavar="PIXELS", type=int, help="reduce images to this shorter side")
        task.add_argument("--workers", metavar="N", type=int, default=2, help="threads (2)")
        task.add_argument(
            "--overwrite", action="store_true", help="replace a data set in OUT that was made from other folders"
        )
        task.add_argument(
            "--json", action="store_true", help="print one line of JSON with the summary, and nothing else"
        )

    _add_super_resolution(enlarging)
    preprocess_sketches.add_arguments(sketches)
    preprocess_scans.add_arguments(scans)
    preprocess_shards.add_arguments(
        _task(
            tasks, "shards", "a prepared data set as a few large tars, for millions of files", preprocess_shards.EPILOG
        )
    )


def _add_super_resolution(task: argparse.ArgumentParser) -> None:
    task.add_argument(
        "--scale", metavar="N", type=int, required=True, help="sides of the pictures divided by those of the copies"
    )
    task.add_argument(
        "--tile", metavar="PIXELS", type=int, help="cut the pictures into sub-images of this side (whole pictures)"
    )
    task.add_argument(
        "--reduce",
        metavar="FACTOR",
        type=int,
        nargs="+",
        default=[1],
        help="first make the pictures smaller by these factors, each for itself: 2 4 gives two of each (1)",
    )
    task.add_argument(
        "--min-detail",
        metavar="LEVELS",
        type=float,
        default=0.0,
        help="leave out sub-images whose neighbouring pixels differ by less, on average, in grey levels: 3 (0)",
    )
    task.add_argument(
        "--degradation",
        metavar="KIND",
        default="bicubic",
        help="bicubic, as MATLAB's imresize; real: blur, noise and JPEG, twice (Real-ESRGAN); or a YAML file with "
        "settings (bicubic)",
    )


def run(parser: argparse.ArgumentParser, given: list[str]) -> int:
    options = parser.parse_args(given)
    summary = _prepare(options)
    if options.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        counts = ", ".join(f"{split} {count}" for split, count in summary["splits"].items())
        unit = "pairs" if summary["kind"] == "paired" else "slices" if options.task == "scans" else "images"
        unit += f" in {summary['shards']} shards" if options.task == "shards" else ""
        left_out = f", {summary['left_out']} left out" if summary["left_out"] else ""
        failed = f"{summary['failed']} files failed{left_out}{preprocess_sketches.told(summary)}"
        sys.stdout.write(f"{unit}: {counts}; {failed}. Manifest: {summary['manifest']}\n")
    return 1 if summary["failed"] else 0


def _prepare(options: argparse.Namespace) -> dict[str, Any]:
    """Do what the task asks for. Returns its summary."""
    shown = not options.json
    if options.task == "shards":
        return preprocess_shards.prepare(options, show_progress=shown)
    from translate.pipelines.preprocessing.dataset import Options
    from translate.pipelines.preprocessing.folders import prepare_pairs, prepare_side_by_side, prepare_unpaired

    size = getattr(options, "size", None)
    how = Options(options.val, options.split, options.seed, size, options.workers, options.overwrite)
    if options.task == "pairs":
        summary = prepare_pairs(
            options.source,
            options.target,
            options.output,
            how,
            source_suffix=options.source_suffix,
            target_suffix=options.target_suffix,
            scale=options.scale,
            show_progress=shown,
        )
    elif options.task == "side-by-side":
        summary = prepare_side_by_side(
            options.folder, options.output, how, source_on=options.source_on, show_progress=shown
        )
    elif options.task == "super-resolution":
        from translate.pipelines.preprocessing.super_resolution import Making, prepare_super_resolution

        making = Making(
            options.scale, options.tile, tuple(options.reduce), options.min_detail, _degradation(options.degradation)
        )
        summary = prepare_super_resolution(options.folder, options.output, how, making, show_progress=shown)
    elif options.task == "sketches":
        summary = preprocess_sketches.prepare(options, how, show_progress=shown)
    elif options.task == "scans":
        summary = preprocess_scans.prepare(options, how, show_progress=shown)
    else:
        summary = prepare_unpaired(options.a, options.b, options.output, how, show_progress=shown)
    return summary


def _degradation(given: str) -> Any:
    """The settings of a degradation, by its kind or from a YAML file."""
    from translate.config import read_section
    from translate.data.degrade import DegradationConfig

    return DegradationConfig(kind=given) if given in ("bicubic", "real") else read_section(given, DegradationConfig)


def _task(
    tasks: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, purpose: str, epilog: str = EPILOG
) -> argparse.ArgumentParser:
    return tasks.add_parser(
        name, help=purpose, description=purpose, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
