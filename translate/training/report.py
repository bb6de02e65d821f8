"""What is due after a step: record, validation, model folders, samples and training state."""

from pathlib import Path
from typing import Any

import numpy as np

from translate.data.images import write_picture
from translate.model_folder import ModelConfig, save_model
from translate.recipe import Recipe
from translate.sheet import draw_sheet
from translate.training.records import append_log, draw_curves, read_log
from translate.training.run import Run, TrainingError
from translate.training.state import save_training
from translate.training.validation import MODEL_SPACE, main_figure, sample_rows, validate
from translate.training.watching import note_healthy_state, read_averages, watch


def report(run: Run, rate: float, bar: Any, seconds: float) -> None:
    """After a step: what is due of record, validation, samples and training state, in this order.

    Raises:
        TrainingError: the run ends here, and its state is saved.
    """
    step, recipe = run.progress.step, run.recipe

    def due(every: int) -> bool:
        return step % every == 0 or step == recipe.training.steps

    record: dict[str, Any] = {}
    logged = due(recipe.logging.every)
    if logged:
        record |= read_averages(run) | {"learning_rate": rate}
    if due(recipe.validation.every):
        record |= _validation(run)
    if record:
        record = {"step": step, "images": step * run.progress.images_per_step, **record, "seconds": round(seconds, 1)}
    try:
        if logged:
            watch(run, record)
    except TrainingError:  # what ends a run is in its log and in its state
        _write(run, record, bar)
        save_state_of(run)
        raise
    _write(run, record, bar)
    if due(recipe.logging.samples_every):
        _draw(run)
    if due(recipe.checkpoint.every):
        save_state_of(run)


def _write(run: Run, record: dict[str, Any], bar: Any) -> None:
    """Add a record to the log, the trackers and the progress bar."""
    if not record or not run.accelerator.is_main_process:
        return
    append_log(run.folder.log, record)
    numbers = {name: value for name, value in record.items() if name != "step" and isinstance(value, int | float)}
    run.accelerator.log(numbers, step=run.progress.step)
    losses = {name: f"{value:.3g}" for name, value in numbers.items() if name.startswith(("g/", "d/"))}
    if losses:
        bar.set_postfix(losses)
    if "verdict" in record:
        bar.set_description(record["verdict"], refresh=False)


def save_state_of(run: Run) -> None:
    """Write the training state."""
    note_healthy_state(run)
    keep = run.recipe.checkpoint.keep
    save_training(run.folder.checkpoints, run.trained, run.progress, run.accelerator, keep)


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
