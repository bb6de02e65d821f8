"""translate evaluate pairs MODEL SOURCE TARGET, super-resolution MODEL HR_FOLDER, scans MODEL SOURCE,
drawings MODEL DRAWINGS"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from translate.cli import CommandError, evaluate_drawings, evaluate_scans, infer_backends

PAIRS = """
What would be written is compared with the target, in the target's value range. PSNR in dB and SSIM are means over
the images, higher is better. SWD is the sliced Wasserstein distance (Karras et al. 2018, x 1000) between the two sets,
lower is better; it tells blur, which PSNR rewards. "do nothing" are the same figures of the source as it is. Diversity
tells how different the outputs are from one another: 0 if all are the same, however different their sources, and as
much as the targets have where nothing collapsed. It is the root mean square of their differences, over all pairs and
pixels, in parts of the value range, after a reduction to 32 pixels so that noise hardly counts. It is not LPIPS
diversity: it needs no network, and sees only layout, tone and colour.
The PSNR of equal images is inf, in JSON the text "inf"; a figure for which the images are too small, or too few, is -
here, null in JSON and empty in CSV. --sheet shows source, output and target of some pairs side by side: look at it,
for no figure tells what a picture looks like.
"""
SUPER_RESOLUTION = """
The protocol of the literature: HR is cut to a multiple of the scale and reduced by MATLAB's bicubic imresize, unless
--lr gives LR; PSNR in dB and SSIM are those of Y (BT.601, studio range) of 8-bit values without a border of as many
pixels as the scale, means over the images. SWD is the sliced Wasserstein distance (x 1000) between outputs and HR,
lower is better. Gradient is the mean squared gradient of Y divided by that of HR: below 1 is blurred, above 1 noisy or
too sharp. LPIPS is the perceptual distance (Zhang et al. 2018), lower is better; its weights are your own files, and
nothing is downloaded. "bicubic" enlarges the same LR, to compare the model with; "bicubic, published" goes the way of
the figures in the literature's tables and must equal them, for Set5 33.66/.9299 (x2), 30.39/.8682 (x3), 28.42/.8104
(x4).
"""
COLUMNS = {  # figure -> its title and digits
    "psnr": ("PSNR (dB)", 2),
    "ssim": ("SSIM", 4),
    "swd": ("SWD", 1),
    "gradient_energy": ("gradient", 3),
    "lpips": ("LPIPS", 4),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    pairs = _add_task(tasks, "pairs", "compare translations of SOURCE with TARGET, matched by name", PAIRS)
    pairs.add_argument("source", metavar="SOURCE", type=Path, help="folder of images to translate")
    pairs.add_argument("target", metavar="TARGET", type=Path, help="folder of what they should become")
    pairs.add_argument(
        "--source-suffix", metavar="TEXT", default="", help="what SOURCE names end in beyond the common name"
    )
    pairs.add_argument("--target-suffix", metavar="TEXT", default="", help="the same for TARGET")
    pairs.add_argument(
        "--size", metavar="PIXELS", type=int, help="first reduce sources and targets to this shorter side"
    )
    pairs.add_argument("--sheet", metavar="FILE", type=Path, help="a .png of source, output and target of some pairs")
    pairs.add_argument("--sheet-images", metavar="N", type=int, default=12, help="of how many, evenly spread (12)")
    _add_common(pairs)

    purpose = "measure a model that enlarges on HR_FOLDER, by the protocol of the literature"
    enlarged = _add_task(tasks, "super-resolution", purpose, SUPER_RESOLUTION)
    enlarged.add_argument("hr", metavar="HR_FOLDER", type=Path, help="folder of 8-bit images in high resolution")
    enlarged.add_argument("--scale", metavar="N", type=int, help="times to enlarge; must be the model's, its default")
    enlarged.add_argument("--lr", metavar="FOLDER", type=Path, help="what to enlarge instead of HR made smaller")
    enlarged.add_argument(
        "--lr-suffix", metavar="TEXT", default="", help="what names in --lr end in beyond HR's, such as x2"
    )
    enlarged.add_argument(
        "--self-ensemble", action="store_true", help="enlarge by the mean over eight mirrored and transposed views"
    )
    enlarged.add_argument("--lpips-vgg16", metavar="FILE", type=Path, help="weights of torchvision's VGG16, for LPIPS")
    enlarged.add_argument("--lpips-linear", metavar="FILE", type=Path, help="its linear weights, of the lpips package")
    _add_common(enlarged)

    purpose = "measure a model for scans on SOURCE, slice by slice, in the scans' own units"
    scans = _add_task(tasks, "scans", purpose, evaluate_scans.EPILOG)
    evaluate_scans.add_arguments(scans)
    _add_common(scans)

    purpose = "measure how nearly photographs of DRAWINGS give what the drawings give"
    drawings = _add_task(tasks, "drawings", purpose, evaluate_drawings.EPILOG)
    evaluate_drawings.add_arguments(drawings)
    _add_common(drawings)


def _add_task(tasks: Any, name: str, purpose: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = tasks.add_parser(
        name, help=purpose, description=purpose, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model", metavar="MODEL", help="model folder, hub id (owner/name), or the name of a model that ships"
    )
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """The options of every task."""
    parser.add_argument(
        "--csv",
        metavar="FILE",
        type=Path,
        default=Path("evaluation.csv"),
        help="figures of each image (evaluation.csv)",
    )
    parser.add_argument("--direction", metavar="NAME", help="generator of a model with several: a_to_b, b_to_a")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps; by default a GPU if there is one")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32", help="of the computation")
    infer_backends.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one line of JSON with the summary, and nothing else")


def run(parser: argparse.ArgumentParser, given: list[str]) -> int:
    options = parser.parse_args(given)
    measure, tell = {
        "pairs": (pairs, in_words),
        "super-resolution": (super_resolution, in_words),
        "scans": (evaluate_scans.scans, evaluate_scans.in_words),
        "drawings": (evaluate_drawings.drawings, evaluate_drawings.in_words),
    }[options.task]
    summary = measure(options)
    sys.stdout.write(json.dumps(strict(summary)) + "\n" if options.json else tell(summary))
    return 0


def pairs(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options name, and return the summary."""
    from translate.cli.infer import hint_at_scale, load
    from translate.pipelines.evaluation import evaluate_pairs

    pipeline = load(options)
    hint_at_scale(pipeline, options.size)
    return evaluate_pairs(
        pipeline,
        options.source,
        options.target,
        options.csv,
        source_suffix=options.source_suffix,
        target_suffix=options.target_suffix,
        size=options.size,
        sheet=options.sheet,
        sheet_images=options.sheet_images,
        show_progress=not options.json,
    )


def super_resolution(options: argparse.Namespace) -> dict[str, Any]:
    """The same on the protocol of super-resolution."""
    from translate.cli.infer import load
    from translate.pipelines.super_resolution_evaluation import evaluate_super_resolution

    perceptual, pipeline = load_perceptual(options), load(options)
    return evaluate_super_resolution(
        pipeline,
        options.hr,
        options.csv,
        scale=options.scale,
        lr=options.lr,
        lr_suffix=options.lr_suffix,
        self_ensemble=options.self_ensemble,
        perceptual=perceptual and perceptual.to(pipeline.device),
        show_progress=not options.json,
    )


def load_perceptual(options: argparse.Namespace) -> Any:
    """The LPIPS network of the options, or None. Raises CommandError for one file without the other."""
    features, linear = options.lpips_vgg16, options.lpips_linear
    if (features is None) != (linear is None):
        missing, given = ("vgg16", "linear") if features is None else ("linear", "vgg16")
        raise CommandError(f"--lpips-{given} alone is not enough: give --lpips-{missing} too, or neither")
    if features is None:
        return None
    from translate.perceptual import load_lpips

    return load_lpips(features, linear)


def strict(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures for JSON, which has no infinity: it becomes the text "inf", which float() reads."""
    return {
        key: strict(value) if isinstance(value, dict) else "inf" if value == math.inf else value
        for key, value in figures.items()
    }


def in_words(summary: dict[str, Any]) -> str:
    """A table of the model's figures and those of the baselines."""
    baselines = {
        "do nothing": "do_nothing",
        "bicubic": "bicubic",
        "bicubic, published": "bicubic_published",
    }
    rows = {"model": summary} | {label: summary[key] for label, key in baselines.items() if summary.get(key)}
    columns = [key for key in COLUMNS if key in summary]
    wide = 2 + max(12, *map(len, rows))
    lines = [f"{summary['images']} images".ljust(wide) + "".join(f"{COLUMNS[key][0]:>10}" for key in columns)]
    for label, figures in rows.items():
        numbers = (_number(figures.get(key), COLUMNS[key][1]) for key in columns)
        lines.append(label.ljust(wide) + "".join(numbers))
    if summary.get("diversity") is not None:
        lines.append(_diversity(summary["diversity"], summary["diversity_targets"]))
    if summary["csv"]:
        lines.append(f"each image: {summary['csv']}")
    if summary.get("sheet"):
        lines.append(f"look at it: {summary['sheet']}")
    return "\n".join(lines) + "\n"


def _number(value: float | None, digits: int) -> str:
    return f"{'-':>10}" if value is None else f"{value:>10.{digits}f}"


def _diversity(outputs: float, targets: float) -> str:
    share = f", {100 * outputs / targets:.0f} %" if targets else ""
    return f"diversity {outputs:.3f} (targets {targets:.3f}{share})"
