"""What becomes of the signals: they are logged, diagnosed, and acted on as `health.action` says."""

import logging
import math
from typing import Any

from translate.checkpoint import CheckpointError, has_state
from translate.health.policy import next_action
from translate.health.remedies import remedies_for
from translate.health.rules import Finding, examine, needed
from translate.health.signals import derive
from translate.health.verdict import BALANCED, DIVERGED, SICK, WARMING_UP
from translate.recipe import Recipe
from translate.training.run import Run, TrainingError
from translate.training.state import Watch, go_back

logger = logging.getLogger(__name__)


def read_averages(run: Run) -> dict[str, float]:
    """Terms and signals since the last record, averaged over all processes, as the log names them."""
    scaler = run.accelerator.scaler
    if scaler is not None and scaler.get_scale() < 1:
        scaler.update(1.0)  # every skipped step halves it, and it takes thousands of steps to double
    averages = run.progress.running.averages(lambda sums: run.accelerator.reduce(sums, "sum"))
    run.progress.running.reset()
    values = {name: average.mean for name, average in averages.items() if math.isfinite(average.mean)}
    terms = {name: value for name, value in values.items() if name.startswith(("g/", "d/"))}
    record = terms | derive(values)
    for name in averages.keys() & terms.keys():
        record[f"health/swing/{name}"] = averages[name].swing
    for name, average in averages.items():
        if average.nonfinite and name.startswith(("g/", "d/")):
            record[f"health/nonfinite/{name}"] = average.nonfinite
    if run.trained.controller is not None:
        record["health/augment"] = run.trained.controller.probability.item()
    return record


def watch(run: Run, record: dict[str, Any]) -> None:
    """Diagnose with a new record, say what changed, and act. Verdict and actions are added to the record.

    Raises:
        TrainingError: the run cannot go on, or shall not (`health.action: stop`).
    """
    recipe, progress = run.recipe, run.progress
    state = progress.watch
    before = state.counted
    _count_skipped(state, record, progress.step)
    if state.lost:
        record["health/age"] = progress.step - state.lost
    finding = Finding(WARMING_UP, ())  # all that can be said where nothing is measured
    if recipe.health.every:
        state.records = [*state.records, _slim(record)][-needed(recipe) :]
        finding = examine(state.records, recipe)
    covered = progress.step - before
    state.wrong = max(0, state.wrong + (covered if finding.verdict in SICK else -covered))
    if finding.verdict != state.verdict:
        state.verdict, state.since = finding.verdict, progress.step
        _announce(run, finding)
    _prove(state, record, recipe)
    if recipe.health.every:
        record["verdict"] = state.verdict
    actions = _act(run, finding)
    if actions:
        record["actions"] = actions


def _prove(state: Watch, record: dict[str, Any], recipe: Recipe) -> None:
    """The candidate is a healthy state once as many records as a verdict takes found nothing wrong after it."""
    if state.candidate is None:
        return
    if state.verdict in SICK or any(_skips(record)):
        state.candidate = None
        return
    state.proven += 1
    if state.proven >= needed(recipe):
        state.healthy, state.healthy_lost, state.candidate = state.candidate, state.lost, None


def note_healthy_state(run: Run) -> None:
    """Before the training state is written: it may be one to go back to."""
    state = run.progress.watch
    if run.recipe.health.action == "adjust" and state.verdict not in SICK and not state.skipped:
        if state.candidate is None:
            state.candidate, state.proven = run.progress.step, 0
        if state.healthy is None:
            state.healthy, state.healthy_lost = run.progress.step, state.lost


def _act(run: Run, finding: Finding) -> list[str]:
    """Do what `health.action` says, and return it in words.

    Raises:
        TrainingError: the run ends here.
    """
    health, state = run.recipe.health, run.progress.watch
    hopeless = state.skipped >= health.skips
    verdict = DIVERGED if hopeless else state.verdict
    if verdict not in SICK:
        return []
    due = verdict == DIVERGED or state.wrong >= health.patience
    if health.action == "adjust" and due:
        done = _adjust(run, verdict)
        if done:
            return done
    if hopeless:
        raise TrainingError(
            f"the last {state.skipped} steps had a loss or a gradient that is not finite, and were skipped"
            f"{''.join(f'; {text}' for text in finding.evidence)}. {_advice(run, verdict)}"
        )
    if health.action == "stop" and due:
        raise TrainingError(
            f"{verdict} since step {state.since}, and health.action is stop: {'; '.join(finding.evidence)}. "
            f"{_advice(run, verdict)}"
        )
    return []


def _adjust(run: Run, verdict: str) -> list[str]:
    """The policy's next action, carried out; an empty list if it has none."""
    state, penalty = run.progress.watch, run.recipe.penalty
    weight = 0.0 if penalty.kind == "none" else penalty.weight
    action = next_action(verdict, state.adjustments, weight, run.recipe.data.kind != "unpaired")
    if action is None:
        if not state.exhausted:
            done = "step %d: %s, and health.action adjust has done all that it may do"
            logger.warning(done, run.progress.step, verdict)
        state.exhausted = True
        return []
    text = action.text
    if action.restore:
        back = f"weights of step {state.healthy}" if _restore(run) else "there is no healthy state to go back to"
        text = f"{back}; {text}" if text else back
    state.adjustments = action.adjustments
    state.records, state.skipped, state.wrong = [], 0, 0  # what was measured before says nothing of what comes
    logger.warning("step %d: %s; adjusted: %s", run.progress.step, verdict, text)
    return [text]


def _restore(run: Run) -> bool:
    """Take over the last healthy state; that of the start, where it was tried before and led here again.

    Returns False where there is none: the run began without `adjust`.
    """
    state = run.progress.watch
    if state.adjustments.restores and has_state(run.folder.checkpoints, 0):
        state.healthy, state.healthy_lost = 0, 0
    if state.healthy is None:
        return False
    try:
        go_back(run.folder.checkpoints, state.healthy, run.trained, run.accelerator)
    except CheckpointError as error:
        logger.warning("cannot go back to step %d: %s", state.healthy, error)
        return False
    state.lost = run.progress.step - state.healthy + state.healthy_lost
    state.candidate = None
    return True


def _announce(run: Run, finding: Finding) -> None:
    step = run.progress.step
    if finding.verdict in SICK:
        message = "step %d: %s: %s. %s"
        logger.warning(message, step, finding.verdict, "; ".join(finding.evidence), _advice(run, finding.verdict))
    elif finding.verdict == BALANCED:
        logger.info("step %d: %s: %s", step, finding.verdict, "; ".join(finding.evidence))


def _advice(run: Run, verdict: str) -> str:
    tried = ", ".join(f"{remedy.key} {remedy.value}" for remedy in remedies_for(verdict, run.recipe)[:4])
    return f"To try: {tried}; translate diagnose {run.folder.root} tells more" if tried else ""


def _count_skipped(state: Watch, record: dict[str, Any], step: int) -> None:
    """Steps in a row of which every one was skipped."""
    state.skipped = state.skipped + step - state.counted if max(_skips(record), default=0.0) == 1.0 else 0
    state.counted = step


def _skips(record: dict[str, Any]) -> list[float]:
    return [value for name, value in record.items() if name.startswith("health/skipped/")]


def _slim(record: dict[str, Any]) -> dict[str, Any]:
    """What the rules read."""
    return {name: value for name, value in record.items() if name == "step" or name.startswith(("g/", "d/", "health/"))}
