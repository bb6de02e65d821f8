"""translate evaluate pairs MODEL SOURCE TARGET"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

EPILOG = """
What would be written is compared with the target, in the target's value range. PSNR in dB and SSIM are means over
the images, higher is better. SWD is the sliced Wasserstein distance (Karras et al. 2018, x 1000) between the two sets,
lower is better; it tells blur, which PSNR rewards. "do nothing" are the same figures of the source as it is. The PSNR
of equal images is inf, in JSON the text "inf"; a figure for which the images are too small is - here, null in JSON and
empty in CSV.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    purpose = "compare translations of SOURCE with TARGET, matched by name"
    pairs = tasks.add_parser(
        "pairs", help=purpose, description=purpose, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pairs.add_argument(
        "model", metavar="MODEL", help="model folder, hub id (owner/name), or a model that ships: identity"
    )
    pairs.add_argument("source", metavar="SOURCE", type=Path, help="folder of images to translate")
    pairs.add_argument("target", metavar="TARGET", type=Path, help="folder of what they should become")
    pairs.add_argument(
        "--source-suffix", metavar="TEXT", default="", help="what SOURCE names end in beyond the common name"
    )
    pairs.add_argument("--target-suffix", metavar="TEXT", default="", help="the same for TARGET")
    pairs.add_argument(
        "--csv",
        metavar="FILE",
        type=Path,
        default=Path("evaluation.csv"),
        help="figures of each image (evaluation.csv)",
    )
    pairs.add_argument(
        "--size", metavar="PIXELS", type=int, help="first reduce sources and targets to this shorter side"
    )
    pairs.add_argument("--direction", metavar="NAME", help="generator of a model with several: a_to_b, b_to_a")
    pairs.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps; by default a GPU if there is one")
    pairs.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32", help="of the computation")
    pairs.add_argument("--json", action="store_true", help="print one line of JSON with the summary, and nothing else")


def run(parser: argparse.ArgumentParser, given: list[str]) -> int:
    options = parser.parse_args(given)
    from translate.cli.infer import hint_at_scale, load
    from translate.pipelines.evaluation import evaluate_pairs

    pipeline = load(options)
    hint_at_scale(pipeline, options.size)
    summary = evaluate_pairs(
        pipeline,
        options.source,
        options.target,
        options.csv,
        source_suffix=options.source_suffix,
        target_suffix=options.target_suffix,
        size=options.size,
        show_progress=not options.json,
    )
    sys.stdout.write(json.dumps(strict(summary)) + "\n" if options.json else in_words(summary))
    return 0


def strict(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures for JSON, which has no infinity: it becomes the text "inf", which float() reads."""
    return {
        key: strict(value) if isinstance(value, dict) else "inf" if value == math.inf else value
        for key, value in figures.items()
    }


def in_words(summary: dict[str, Any]) -> str:
    """A table of the model's figures and those of doing nothing."""
    lines = [f"{summary['images']} images      PSNR (dB)     SSIM      SWD"]
    for label, figures in (("model", summary), ("do nothing", summary["do_nothing"])):
        if figures:
            lines.append(
                f"{label:<14}{_number(figures['psnr'], 2)}{_number(figures['ssim'], 4)}{_number(figures['swd'], 1)}"
            )
    if summary["csv"]:
        lines.append(f"each image: {summary['csv']}")
    return "\n".join(lines) + "\n"


def _number(value: float | None, digits: int) -> str:
    return f"{'-':>10}" if value is None else f"{value:>10.{digits}f}"
