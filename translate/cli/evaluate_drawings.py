"""translate evaluate drawings MODEL DRAWINGS"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from translate.cli import CommandError

EPILOG = """
Each drawing is photographed (simulated: a sheet of toned paper on a desk, in perspective, with uneven light and a
shadow, defocus, noise and JPEG), the photograph is cleaned as `translate infer --clean` does, and the model's output
for it is compared with its output for the drawing itself. PSNR in dB and SSIM, higher is better, mean and minimum over
all photographs; "drawing" compares the cleaned photograph with the drawing. A drawing that has another size than those
of the training is first brought to it. --output shows the worst photographs: drawing, photograph, cleaned, the
drawing's output, the photograph's output.
"""


def add_arguments(task: argparse.ArgumentParser) -> None:
    task.add_argument("drawings", metavar="DRAWINGS", type=Path, help="folder of clean drawings")
    task.add_argument("--photos", metavar="N", type=int, default=5, help="photographs of each drawing (5)")
    task.add_argument("--seed", metavar="S", type=int, default=0, help="of light, desk, camera and noise (0)")
    task.add_argument("--output", metavar="FOLDER", type=Path, help="write sheet.png there")


def drawings(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options name, and return the summary. Raises CommandError for a model of another task."""
    from translate.cli.infer import load
    from translate.pipelines.drawing_evaluation import evaluate_drawings
    from translate.pipelines.inference.sketch_to_photo import SketchToPhoto

    if options.seed < 0:
        raise CommandError(f"--seed must be 0 or more, got {options.seed}")
    pipeline = load(options)
    if not isinstance(pipeline, SketchToPhoto):
        raise CommandError(f"{options.model} is not a model of the task sketch_to_photo: give one that is")
    return evaluate_drawings(
        pipeline,
        options.drawings,
        options.csv,
        photos=options.photos,
        seed=options.seed,
        output=options.output,
        show_progress=not options.json,
    )


def in_words(summary: dict[str, Any]) -> str:
    """A table of mean and minimum."""
    lines = [f"{summary['drawings']} drawings, {summary['photos']} photographs".ljust(42) + f"{'mean':>10}{'min':>10}"]
    labels = {"ssim": ("output, SSIM", 4), "psnr": ("output, PSNR (dB)", 2), "cleaned_ssim": ("drawing, SSIM", 4)}
    for name, (label, digits) in labels.items():
        lines.append(f"{label:<42}" + "".join(f"{summary[key]:>10.{digits}f}" for key in (name, f"{name}_min")))
    lines.append(f"each drawing: {summary['csv']}")
    if summary["sheet"]:
        lines.append(f"look at it: {summary['sheet']}")
    return "\n".join(lines) + "\n"
