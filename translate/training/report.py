"""What is due after a step: record, validation, model folders, samples and training state."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from translate.contract import IntensityContract
from translate.data.drawing_style import DrawingStyle
from translate.data.images import write_picture
from translate.model_folder import ModelConfig, save_model
from translate.recipe import Recipe
from translate.sheet import draw_sheet
from translate.training.precision import Precision
from translate.training.records import append_log, draw_curves, read_log
from translate.training.run_folder import RunFolder
from translate.training.setup import Splits, Trained
from translate.training.state import Progress, save_training
from translate.training.validation import MODEL_SPACE, Dataset, main_figure, sample_rows, validate


class TrainingError(RuntimeError):
    """A run that cannot go on."""


@dataclass(frozen=True)
class Run:
    """What the parts of the loop share. Only `trained` and `progress` change."""

    recipe: Recipe
    folder: RunFolder
    splits: Splits
    accelerator: Accelerator
    precision: Precision
    trained: Trained
    progress: Progress
    training_set: Dataset
    shown_set: Dataset
    contract: IntensityContract | None  # of a model for scans, by the data set as it was at the start
    style: DrawingStyle | None  # of a model for drawings, likewise


def report(run: Run, rate: float, bar: Any, seconds: float) -> None:
    """After a step: what is due of record, validation, samples and training state, in this order."""
    step, recipe = run.progress.step, run.recipe

    def due(every: int) -> bool:
        return step % every == 0 or step == recipe.training.steps

    record: dict[str, Any] = {}
    if due(recipe.logging.every):
        record |= check_losses(run) | {"learning_rate": rate}
        run.progress.running.reset()
        bar.set_postfix({name: f"{value:.3g}" for name, value in record.items() if "/" in name})
    elif due(recipe.validation.every) or due(recipe.checkpoint.every):
        check_losses(run)  # so that weights that are lost replace no good ones
    if due(recipe.validation.every):
        record |= _validation(run)
    if record and run.accelerator.is_main_process:
        record = {"step": step, "images": step * run.progress.images_per_step, **record, "seconds": round(seconds, 1)}
        append_log(run.folder.log, record)
        run.accelerator.log({name: value for name, value in record.items() if name != "step"}, step=step)
    if due(recipe.logging.samples_every):
        _draw(run)
    if due(recipe.checkpoint.every):
        save_state_of(run)


def save_state_of(run: Run) -> None:
    """Write the training state."""
    keep = run.recipe.checkpoint.keep
    save_training(run.folder.checkpoints, run.trained, run.progress, run.accelerator, keep)


def check_losses(run: Run) -> dict[str, float]:
    """Mean of each term since the last record, over all processes.

    Raises:
        TrainingError: a term is not finite, so that the weights are lost.
    """
    names, means = run.progress.running.means()
    values = run.accelerator.reduce(means, "mean").tolist()
    for name, value in zip(names, values, strict=True):
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss term {name!r} is {value} at step {run.progress.step}, and the weights with it: the last "
                f"training state in {run.folder.checkpoints} may still be good; lower optimizer.learning_rate, set "
                "optimizer.clip_norm, or use precision fp32"
            )
    return dict(zip(names, values, strict=True))


def _validation(run: Run) -> dict[str, float]:
    """Figures on val/, and the model folders: model/ always, best/ if it is better."""
    generators = run.trained.shown_generators()
    figures = {}
    if run.splits.val is not None:
        images, window = run.recipe.validation.images, shown_window(run.recipe)
        figures = validate(generators, run.shown_set, images, run.accelerator, window)
        main = main_figure(run.shown_set)
        better = main.better(figures[main.name], run.progress.best)
        run.progress.figures = figures
        if better:
            run.progress.best = figures[main.name]
            _export(run, run.folder.best)
    _export(run, run.folder.model)
    return figures


def _export(run: Run, folder: Path) -> None:
    if not run.accelerator.is_main_process:
        return
    networks = run.trained.networks
    assert run.recipe.data.folder is not None
    recipe = _without_paths(run.recipe.to_json())
    config = ModelConfig(
        task=run.recipe.task,
        follow_input_channels=run.recipe.follow_input_channels,
        generators=networks.generator_configs,
        discriminators=networks.discriminator_configs,
        recipe=recipe,
        contract=run.contract,
        drawing=run.style,
        data=run.splits.summary(run.recipe.data.folder),
        training={
            "steps": run.progress.step,
            "images": run.progress.step * run.progress.images_per_step,
            "precision": run.precision,
            "figures": run.progress.figures,
        },
    )
    save_model(folder, config, {**run.trained.shown_generators(), **networks.discriminators})


def shown_window(recipe: Recipe) -> tuple[float, float]:
    """What figures and samples see, in model space."""
    range, window = recipe.data.target_range, recipe.validation.window
    if range is None or window is None:
        return MODEL_SPACE
    low, high = range.build().to_model(np.array(window, np.float64))
    return float(low), float(high)


def _without_paths(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe as the model folder keeps it: a path of this machine means nothing elsewhere."""
    recipe["data"]["folder"] = None
    start = recipe["training"]["start_from"]
    if start and Path(start).is_dir():
        recipe["training"]["start_from"] = None
    if recipe["objective"].get("feature_weights"):
        recipe["objective"]["feature_weights"] = None
    return recipe


def _draw(run: Run) -> None:
    if not run.accelerator.is_main_process:
        return
    count, window = run.recipe.logging.samples, shown_window(run.recipe)
    rows = sample_rows(run.trained.shown_generators(), run.shown_set, count, run.accelerator, window)
    write_picture(draw_sheet(rows), run.folder.samples / f"step_{run.progress.step:08d}.png")
    draw_curves(read_log(run.folder.log), run.folder.curves)
