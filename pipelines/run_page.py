"""The page of a run: what is wrong, what it means, what to try, and everything that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate.config import write_yaml
from translate.health.verdict import Diagnosis
from translate.pipelines import page
from translate.pipelines.run_charts import BALANCE, LOSSES, OUTPUTS, QUALITY, STEADINESS
from translate.pipelines.run_plots import Line, draw_charts, read_columns
from translate.pipelines.run_samples import choose_samples, read_samples
from translate.pipelines.run_timeline import COLOURS, lanes
from translate.pipelines.run_timeline import STYLE as LANES
from translate.pipelines.run_words import MEANINGS, actions_of, command, duration, limits_of, seconds_of
from translate.recipe import Recipe

STYLE = (
    LANES
    + """
.card { border: 1px solid var(--line); border-left: .6rem solid var(--mark); margin: 1rem 0;
  padding: .8rem 1.2rem 1rem }
.card h2 { border: 0; margin: 0; padding: 0; font-size: 1.5rem }
.card h3 { margin: 1rem 0 .3rem }
.measures th[scope=row] { width: 22rem; overflow-wrap: anywhere }
.measures td:nth-of-type(1) { white-space: normal; min-width: 8rem }
.plots { margin-bottom: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)) }
@media (max-width: 40rem) { .measures th[scope=row] { width: auto } }
.panels figure { max-width: 44rem }
"""
)
REMEDY_HEAD = ("Key", "Value", "Why it may help")
FIGURES = {"val/psnr": "last PSNR (dB)", "val/ssim": "last SSIM", "val/swd": "last SWD (x 1000)"}
COLUMNS_PAIRED = "Each row: source, output, target."
COLUMNS_UNPAIRED = "Each row: a picture of a, translated to b, and back; then the same from b."


@dataclass(frozen=True)
class RunView:
    """A run as it is shown.

    Args:
        folder: of the run; its path is shown, and in the commands.
        records: of its log, in the order of steps; at least one.
        verdicts: step and verdict of each record.
        samples: step and path of its sheets of samples.
    """

    folder: Path
    recipe: Recipe
    records: Sequence[dict[str, Any]]
    diagnosis: Diagnosis
    verdicts: Sequence[tuple[int, str]]
    samples: Sequence[tuple[int, Path]]


def write_run_page(path: Path, run: RunView) -> None:
    """Write a page that needs nothing beside it, whole or not at all."""
    columns = read_columns(run.records)
    parts = [
        page.heading(1, "How the training goes"),
        page.paragraph(str(run.folder), "name faint"),
        _verdict(run),
        *_remedies(run),
        *_timeline(run),
        *_samples(run),
        *_plots(run, columns),
        *_facts(run, columns),
    ]
    title = f"{run.diagnosis.verdict}: {run.folder.name}"
    page.write_file(path, page.document(title, parts, style=STYLE))


def _verdict(run: RunView) -> str:
    diagnosis, now = run.diagnosis, run.records[-1]["step"]
    since = f"Since step {diagnosis.since}. " if diagnosis.since is not None else ""
    parts = [
        page.heading(2, diagnosis.verdict.capitalize()),
        page.paragraph(f"{since}The log ends at step {now} of {run.recipe.training.steps}.", "faint"),
        page.paragraph(MEANINGS[diagnosis.verdict]),
        *([page.listing("Evidence", diagnosis.evidence)] if diagnosis.evidence else []),
        *([page.listing("Also noticed", diagnosis.hints)] if diagnosis.hints else []),
        *(page.paragraph(text, "faint") for text in limits_of(run.records, run.recipe)),
    ]
    mark = COLOURS[diagnosis.verdict]
    return f'<section class="card" aria-label="Verdict" style="--mark: {mark}">{"".join(parts)}</section>'


def _remedies(run: RunView) -> list[str]:
    remedies = run.diagnosis.remedies
    if not remedies:
        return []
    note = (
        "What is most likely to help comes first. Change one thing at a time, in a new folder: a run "
        "goes on only with the recipe that it began with."
    )
    return [
        page.heading(2, "What to try"),
        page.paragraph(note, "note"),
        page.table("measures", "Keys of the recipe", REMEDY_HEAD, [(one.key, one.value, one.why) for one in remedies]),
        page.lines("\n".join(command(run.folder, one) for one in remedies)),
    ]


def _timeline(run: RunView) -> list[str]:
    actions = actions_of(run.records)
    return [
        page.heading(2, "What happened when"),
        *([lanes(run.verdicts)] if run.verdicts else []),
        *([page.facts("Done by health.action adjust", [(f"step {at}", text) for at, text in actions])] * bool(actions)),
    ]


def _samples(run: RunView) -> list[str]:
    shown = read_samples(choose_samples(run.samples))
    if not shown:
        return []
    columns = COLUMNS_UNPAIRED if run.recipe.data.kind == "unpaired" else COLUMNS_PAIRED
    note = (
        f"{columns} Click one to fill the screen with it. Are outputs of different rows different (else the generator "
        "has collapsed), and do they get better from one sheet to the next?"
    )
    panels = [
        page.Panel((f"step-{step}", "samples"), picture, f"samples of step {step}", (f"step {step}", ""))
        for step, picture in shown
    ]
    return [
        page.heading(2, "Samples", "samples"),
        page.paragraph(note, "note"),
        page.panels(panels, min(3, len(panels))),
    ]


def _plots(run: RunView, columns: dict[str, Line]) -> list[str]:
    since = run.diagnosis.since if run.diagnosis.sick else None
    parts = []
    for title, charts in (
        ("Losses, and figures on val/", [*LOSSES, *QUALITY]),
        ("Discriminator", BALANCE),
        ("Generator, and its outputs", OUTPUTS),
        ("Steadiness", STEADINESS),
    ):
        drawn = [page.plot(*plot) for plot in draw_charts(charts, columns, since)]
        parts += [page.heading(2, title), page.plots(drawn)] if drawn else []
    return parts


def _facts(run: RunView, columns: dict[str, Line]) -> list[str]:
    recipe, last = run.recipe, run.records[-1]
    figures = [(title, f"{columns[key].last:.4g}") for key, title in FIGURES.items() if key in columns]
    rate, judge = recipe.optimizer.learning_rate, recipe.discriminator
    judge_rate = recipe.optimizer.discriminator_learning_rate or rate
    rows = [
        ("objective", recipe.objective.name),
        ("networks", f"generator {recipe.generator.name}" + (f", discriminator {judge.name}" if judge else "")),
        ("data", str(recipe.data.folder)),
        ("steps", f"{last['step']} of {recipe.training.steps}"),
        ("images", str(last.get("images", "not known"))),
        ("time", duration(seconds_of(run.records))),
        ("learning rates", f"generator {rate:g}" + (f", discriminator {judge_rate:g}" if judge else "")),
        ("records", f"{len(run.records)}, one every {recipe.logging.every} steps"),
        *figures,
    ]
    return [
        page.heading(2, "The run"),
        page.facts("What was trained", rows),
        page.closed("The whole recipe", page.lines(write_yaml(recipe))),
    ]
