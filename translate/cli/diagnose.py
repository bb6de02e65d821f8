"""translate diagnose RUN"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translate.cli import CommandError

if TYPE_CHECKING:
    from translate.pipelines.run_page import RunView
    from translate.recipe import Recipe

EPILOG = """
RUN is the --output of translate train; it may still be training. The verdict is one of balanced, discriminator winning
(vanishing gradients), discriminator guessing, mode collapse, oscillating, discriminator overfitting and diverged; or
warming up, while it is too early. A page with curves, signals and samples is written beside it: it opens in any
browser, offline.
Exit code: 0 whatever the verdict, which --json gives to scripts; 2 where there is nothing to diagnose.
"""
PAGE = "diagnosis.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a run of translate train")
    parser.add_argument("--output", metavar="PAGE.html", type=Path, help=f"where to write the page (RUN/{PAGE})")
    parser.add_argument(
        "--json", action="store_true", help="print one line of JSON with the diagnosis, and nothing else"
    )
    parser.epilog = EPILOG


def run(parser: argparse.ArgumentParser, given: list[str]) -> int:
    options = parser.parse_args(given)
    path = _page_path(options)
    # "." has no name to show, nor one for the folder of another run.
    view = read_run(options.run.resolve() if options.run.name in ("", "..") else options.run)
    from translate.pipelines.run_page import write_run_page

    write_run_page(path, view)
    sys.stdout.write(json.dumps(summary(view, path)) + "\n" if options.json else in_words(view, path))
    return 0


def read_run(folder: Path) -> RunView:
    """A run as its folder holds it now, with its diagnosis.

    Raises:
        CommandError: it is no run, or has nothing to diagnose yet.
    """
    recipe = _read_recipe(folder)
    records = _read_records(folder, recipe)
    from translate.health.diagnosis import review
    from translate.pipelines.run_page import RunView
    from translate.pipelines.run_samples import find_samples

    samples = find_samples(folder / "samples")
    return RunView(folder, recipe, records, *review(records, recipe), samples)


def summary(view: RunView, path: Path) -> dict[str, Any]:
    """All that is said in words, for scripts."""
    from translate.pipelines.run_words import actions_of, limits_of

    return {
        **view.diagnosis.to_json(),
        "step": view.records[-1]["step"],
        "steps": view.recipe.training.steps,
        "actions": [{"step": step, "action": action} for step, action in actions_of(view.records)],
        "limits": limits_of(view.records, view.recipe),
        "page": str(path),
    }


def in_words(view: RunView, path: Path) -> str:
    """What a reader of the terminal wants to know, the verdict first."""
    from translate.pipelines.run_words import MEANINGS, actions_of, command, limits_of, option

    diagnosis = view.diagnosis
    since = "" if diagnosis.since is None else f" since step {diagnosis.since}"
    lines = [
        f"{diagnosis.verdict}{since} (at step {view.records[-1]['step']} of {view.recipe.training.steps})",
        MEANINGS[diagnosis.verdict],
        *_section("evidence", diagnosis.evidence),
        *_section("also noticed", diagnosis.hints),
        *_section("done by health.action adjust", [f"step {at}: {text}" for at, text in actions_of(view.records)]),
    ]
    if diagnosis.remedies:
        lines += _section("to try, one at a time", [f"{option(one)}   {one.why}" for one in diagnosis.remedies])
        lines.append(f"such as: {command(view.folder, diagnosis.remedies[0])}")
    return "\n".join([*lines, *limits_of(view.records, view.recipe), f"page: {path}"]) + "\n"


def _section(title: str, items: Any) -> list[str]:
    return [f"{title}:", *(f"  {item}" for item in items)] if items else []


def _page_path(options: argparse.Namespace) -> Path:
    path: Path = options.output or options.run / PAGE
    if path.suffix.lower() not in (".html", ".htm"):
        raise CommandError(f"--output must end in .html, got {str(path)!r}")
    if options.output and not path.parent.is_dir():
        raise CommandError(f"there is no folder {path.parent} for the page: make it, or give another --output")
    return path


def _read_recipe(folder: Path) -> Recipe:
    from translate.config import read_recipe
    from translate.model_folder import CONFIG
    from translate.recipe import ConfigError

    path = folder / "recipe.yaml"
    if not folder.is_dir():
        raise CommandError(f"there is no folder {folder}: give the folder of a run, the --output of translate train")
    if (folder / CONFIG).is_file() and not path.is_file():
        raise CommandError(
            f"{folder} is a model folder, which does not hold how it was trained: give the folder of the run, "
            f"{folder.resolve().parent} if it was made there"
        )
    if not path.is_file():
        raise CommandError(f"{folder} is no run, it has no recipe.yaml: give the --output of translate train")
    try:
        return read_recipe(path)
    except ConfigError as error:
        raise CommandError(f"{error}\nthis is the recipe of the run: put back the one that it began with") from None


def _read_records(folder: Path, recipe: Recipe) -> list[dict[str, Any]]:
    from translate.training.records import read_log

    path = folder / "log.jsonl"
    records = read_log(path) if path.is_file() else []
    if not records:
        raise CommandError(
            f"{folder} has logged nothing yet: its first record comes at step {recipe.logging.every} "
            "(logging.every); ask again then"
        )
    if not all(isinstance(record, dict) and isinstance(record.get("step"), int) for record in records):
        raise CommandError(f"{path} holds lines that are no records of a training: give the folder of a run")
    return records
