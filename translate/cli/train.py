"""translate train RECIPE --data DIR --output RUN [--any.key value ...]"""

import argparse
import sys
from pathlib import Path
from typing import Any

from translate.cli import CommandError

EPILOG = """
Any key of the recipe can be given as an option: --optimizer.learning_rate 1e-4 --training.steps 2000
A whole section too, which replaces the recipe's: --generator "{name: resnet, blocks: 6, width: 32}"
A run that was stopped, also by a kill, goes on with the same command, exactly as if it had not been stopped.
Several GPUs or CPU processes: accelerate launch --multi_gpu --num_processes 2 -m translate.train RECIPE ...
All keys with their values: --dry-run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe by name (pix2pix, cyclegan) or a YAML file")
    parser.add_argument("--data", metavar="DIR", help="prepared data set: a folder with train/ and, for figures, val/")
    parser.add_argument("--output", metavar="RUN", help="folder of the run; if it holds a stopped run, that goes on")
    parser.add_argument("--dry-run", action="store_true", help="print recipe, networks and data, check all, and stop")
    parser.add_argument("--json", action="store_true", help="print one line of JSON with the summary, and nothing else")
    parser.usage = "translate train RECIPE --data DIR --output RUN [--any.key VALUE ...] [--dry-run] [--json]"
    parser.epilog = EPILOG


def run(parser: argparse.ArgumentParser, given: list[str]) -> int:
    options, rest = parser.parse_known_args(given)
    overrides = dotted(rest)
    if options.data:
        overrides["data.folder"] = options.data
    from translate.config import read_recipe

    recipe = read_recipe(options.recipe, overrides)
    if options.dry_run:
        from translate.processes import process_state
        from translate.training.describe import describe

        description = describe(recipe)
        if process_state().is_main_process:
            sys.stdout.write(description)
        return 0
    if not options.output:
        raise CommandError("no folder for the run was given: name it with --output RUN")
    from translate.training.loop import train

    summary = train(recipe, Path(options.output), show_progress=not options.json)
    _print(summary, options.output, options.json)
    return 0


def dotted(rest: list[str]) -> dict[str, str]:
    """Read `--key value` and `--key=value` pairs; the recipe's schema decides whether there is such a key.

    Raises:
        CommandError: anything else, with what to write.
    """
    overrides: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        key, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise CommandError(f"unexpected {word!r}: after RECIPE come options, --key value")
        if not equals:
            given = next(words, None)
            if given is None:
                raise CommandError(f"--{key} needs a value: --{key} VALUE")
            value = given
        overrides[key] = value
    return overrides


def _print(summary: dict[str, Any], folder: str, as_json: bool) -> None:
    import json

    from translate.processes import process_state

    if not process_state().is_main_process:
        return
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
        return
    figures = ", ".join(f"{name.removeprefix('val/')} {value:.4g}" for name, value in summary["figures"].items())
    sys.stdout.write(f"{summary['steps']} steps done. Model: {summary['model']}\n")
    if summary["verdict"]:
        sys.stdout.write(f"Diagnosis: {summary['verdict']}; translate diagnose {folder} shows why\n")
    if figures:
        sys.stdout.write(f"On val/ at the end: {figures}. Best model: {summary['best']}\n")
