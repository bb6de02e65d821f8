"""The training loop: resolve, check, print, save, then start."""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from tqdm.auto import tqdm

from translate.data.augment import sample_seed
from translate.kernels.switch import fast_kernels
from translate.memory import keep_freed_memory
from translate.processes import process_state
from translate.recipe import Recipe
from translate.training.checks import check_recipe_fits
from translate.training.drawings import style_of
from translate.training.feed import arranged, batches_of
from translate.training.interrupt import stop_requests
from translate.training.pictures import check_pictures
from translate.training.plan import move_augmentation, objective_of, plan_step, set_learning_rates
from translate.training.precision import Precision, choose_precision
from translate.training.probe import IMAGES, Probe
from translate.training.records import cut_log
from translate.training.report import report, save_state_of
from translate.training.run import Run
from translate.training.run_folder import RunFolder, check_same_run
from translate.training.scans import check_scans
from translate.training.setup import build_datasets, build_networks, build_unseen, find_files, prepare
from translate.training.state import load_training
from translate.training.step import train_step
from translate.training.trackers import check_trackers, tracker_config

logger = logging.getLogger(__name__)


def train(recipe: Recipe, output: Path, *, show_progress: bool = True) -> dict[str, Any]:
    """Train from the start, or from where the run in `output` stopped, until the recipe's last step.

    Returns:
        {"steps", "figures", "model", "best", "verdict"}: figures on val/, the model folders, and the last diagnosis.

    Raises:
        ConfigError: the recipe does not fit the data, the device or the run in `output`.
        ImageError: the data set is incomplete or an image is broken.
        CheckpointError: every training state in `output` is damaged.
        TrainingError: losses stay not finite, or the run is sick and `health.action` is stop.
    """
    run = start(recipe, output)
    try:
        if run.progress.step < recipe.training.steps:
            _loop(run, show_progress)
        else:
            logger.info("the run in %s is complete: %d steps", output, run.progress.step)
    finally:
        run.accelerator.end_training()
    best = run.folder.best if run.folder.best.is_dir() else run.folder.model
    return {
        "steps": run.progress.step,
        "figures": run.progress.figures,
        "model": str(run.folder.model),
        "best": str(best),
        "verdict": run.progress.watch.verdict if recipe.health.every else None,
    }


def start(recipe: Recipe, output: Path) -> Run:
    """Resolve, check and save everything that a run needs, and take over the state in which it stopped."""
    check_recipe_fits(recipe)
    check_trackers(recipe.logging.trackers)
    splits = find_files(recipe)
    check_pictures(recipe, splits)
    contract = check_scans(recipe, splits.train)
    style = style_of(recipe, splits.train)
    folder = RunFolder(output)
    check_same_run(folder, recipe, splits)
    precision, accelerator = build_accelerator(recipe, folder.root)
    if accelerator.device.type == "cpu" and recipe.training.kernels == "fast":
        keep_freed_memory()
    set_seed(recipe.training.seed)
    trained = prepare(recipe, build_networks(recipe), accelerator, precision)
    torch.manual_seed(sample_seed(recipe.training.seed, accelerator.process_index))  # dropout differs between processes
    images_per_step = recipe.training.batch_size * recipe.training.accumulation * accelerator.num_processes
    progress = load_training(folder.checkpoints, trained, accelerator, images_per_step)
    training_set, shown_set = build_datasets(recipe, splits, accelerator.main_process_first)
    if accelerator.is_main_process:
        folder.create(recipe, splits)
        cut_log(folder.log, progress.step)
    accelerator.wait_for_everyone()
    if recipe.logging.trackers:
        accelerator.init_trackers("translate", config=tracker_config(recipe))
    sets = (training_set, shown_set)
    run = Run(recipe, folder, splits, accelerator, precision, trained, progress, *sets, contract, style)
    return replace(run, probe=_probe(run))


def _probe(run: Run) -> Probe | None:
    """Validation images for the discriminators; None where there are no such images or nothing is measured."""
    if run.splits.val is None or not run.recipe.health.every or not run.trained.objective.discriminators:
        return None
    unseen = build_unseen(run.recipe, run.splits.val)
    one_size = run.recipe.data.crop is not None
    group = getattr(run.recipe.discriminator, "minibatch_std", 0) or 1  # a smaller one would look different
    size = min(IMAGES, *unseen.lengths) // group * group if one_size else 1
    if size < group:
        return None
    minimum = max(int(judge.size_minimum) for judge in run.trained.networks.discriminators.values())  # type: ignore[arg-type]
    probe = Probe(unseen, size, minimum, partial(arranged, run))
    return probe if probe.batches else None


def build_accelerator(recipe: Recipe, project: Path | None) -> tuple[Precision, Accelerator]:
    """The Accelerator of a run, with the precision resolved for the device it finds."""
    AcceleratorState._reset_state()  # an earlier run of this Python process may have had another precision
    precision = choose_precision(recipe.training.precision, process_state().device)
    accelerator = Accelerator(
        gradient_accumulation_steps=recipe.training.accumulation,
        mixed_precision=precision if precision in ("bf16", "fp16") else "no",
        log_with=list(recipe.logging.trackers) or None,
        project_dir=project,
        step_scheduler_with_optimizer=False,
    )
    return precision, accelerator


def _loop(run: Run, show_progress: bool) -> None:
    """Step until the last step.

    Raises:
        KeyboardInterrupt: the run was asked to stop; its state is saved.
    """
    progress, steps = run.progress, run.recipe.training.steps
    batches = batches_of(run)
    shown = show_progress and run.accelerator.is_main_process
    started = time.monotonic()
    if progress.step == 0 and run.recipe.health.action == "adjust":
        save_state_of(run)  # to go back to, if there is no later one
    with (
        tqdm(total=steps, initial=progress.step, disable=not shown, unit="step") as bar,
        stop_requests(run.accelerator.num_processes == 1) as stop,
    ):
        while progress.step < steps:
            rate = step(run, batches)
            bar.update()
            report(run, rate, bar, time.monotonic() - started)
            if stop.asked and progress.step < steps:
                save_state_of(run)
                raise KeyboardInterrupt(f"stopped after step {progress.step}, which is saved: the same command goes on")


def step(run: Run, batches: Iterator[Any]) -> float:
    """One optimizer step over its micro-steps. Returns the generators' learning rate."""
    recipe, progress, trained = run.recipe, run.progress, run.trained
    networks = [*trained.objective.generators.values(), *trained.objective.discriminators.values()]
    rate = set_learning_rates(run)
    plan, objective = plan_step(run), objective_of(run)
    if recipe.training.compile == "graphs":
        torch.compiler.cudagraph_mark_step_begin()  # until the next one, nothing overwrites what a network returned
    kernels = recipe.training.kernels == "fast" and not recipe.training.compile
    for _ in range(recipe.training.accumulation):
        with run.accelerator.accumulate(*networks), fast_kernels(kernels):
            values = train_step(objective, next(batches), trained.pool, trained.optimizers, run.accelerator, plan)
        progress.running.add(values)
    progress.step += 1
    move_augmentation(run, values)
    if trained.ema:
        trained.ema.update(progress.images_per_step, progress.step * progress.images_per_step)
    return rate
