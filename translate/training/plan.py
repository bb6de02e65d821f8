"""What follows for a step from the recipe, the step, and what `health.action: adjust` has changed."""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from translate.health.policy import R1_EVERY
from translate.health.signals import Signals
from translate.objectives import OBJECTIVES, Objective
from translate.recipe import PenaltyConfig
from translate.training.run import Run
from translate.training.schedule import learning_rate
from translate.training.step import StepPlan
from translate.views import View, instance_noise

CONTROLLED_EVERY = 4  # steps (arXiv:2006.06676)
REAL_ACCURACIES = ("health/real_accuracy", "health/real_accuracy_a", "health/real_accuracy_b")


def plan_step(run: Run) -> StepPlan:
    """What is particular to the coming step."""
    recipe, progress = run.recipe, run.progress
    penalty = _penalty(run)
    # At least one measurement for every window of records: a verdict rests on all signals.
    every = min(recipe.health.every, recipe.health.window * recipe.logging.every)
    measured = bool(every) and (progress.step + 1) % every == 0
    probe = None
    if measured and run.probe is not None:
        probe = partial(run.probe.show, progress.step // every, run.trained.objective)
    return StepPlan(
        penalty=penalty if progress.step % penalty.every == 0 else None,
        clip_norm=recipe.optimizer.clip_norm,
        view=_view(run),
        judges=bool(every) or run.trained.controller is not None,
        spread=progress.spread if every else None,
        measured=measured,
        probe=probe,
    )


def objective_of(run: Run) -> Objective:
    """The objective of the coming step: with more feature matching where that was adjusted."""
    objective, least = run.trained.objective, run.progress.watch.adjustments.matching
    given = getattr(objective, "feature_matching_weight", None)
    if given is None or given >= least:
        return objective
    return replace(objective, feature_matching_weight=least)  # type: ignore[type-var]


def set_learning_rates(run: Run) -> float:
    """Give both optimizers the rates of the coming step. Returns the generators'."""
    settings, schedule = run.recipe.optimizer, run.recipe.schedule
    factor = learning_rate(
        run.progress.step,
        peak=1.0,
        total=run.recipe.training.steps,
        kind=schedule.kind,
        hold=schedule.hold,
        warmup=schedule.warmup,
    )
    optimizers, adjusted = run.trained.plain_optimizers, run.progress.watch.adjustments
    discriminator_rate = settings.discriminator_learning_rate or settings.learning_rate
    for optimizer, peak in (
        (optimizers.generator, settings.learning_rate * adjusted.generator_rate),
        (optimizers.discriminator, discriminator_rate * adjusted.discriminator_rate),
    ):
        for group in optimizer.param_groups if optimizer else ():
            group["lr"] = peak * factor
    return settings.learning_rate * adjusted.generator_rate * factor


def _view(run: Run) -> View:
    """What the discriminators are shown in the coming step."""
    recipe, progress = run.recipe, run.progress
    noise, augmentation = recipe.instance_noise, recipe.augmentation
    least = progress.watch.adjustments.augment
    sigma = instance_noise(progress.step, recipe.training.steps, noise.sigma, noise.until)
    probability: Tensor | float = least
    if run.trained.controller is not None:
        probability = run.trained.controller.probability.clamp_min(least)
    elif augmentation.kind == "fixed":
        probability = max(least, augmentation.probability)
    channels = OBJECTIVES[recipe.objective.name].discriminator_channels(*recipe.data.network_channels)
    groups = {sum(pictures): pictures for pictures in channels.values()}
    return View(sigma, probability, tuple(augmentation.policy), groups)


def move_augmentation(run: Run, values: Signals) -> None:
    """After a step, tell the controller of adaptive augmentation how sure the discriminators were of real images."""
    controller, progress = run.trained.controller, run.progress
    if controller is None:
        return
    rights = [value for name, value in values.items() if name in REAL_ACCURACIES]
    controller.add(2 * torch.stack(rights).mean() - 1)  # r_t, the mean sign
    if progress.step % CONTROLLED_EVERY == 0:
        accelerator = run.accelerator
        controller.update(CONTROLLED_EVERY * progress.images_per_step, lambda sums: accelerator.reduce(sums, "mean"))


def _penalty(run: Run) -> PenaltyConfig:
    """The recipe's penalty, or R1 with the weight that was adjusted."""
    given, weight = run.recipe.penalty, run.progress.watch.adjustments.r1
    if not weight:
        return given
    if given.kind == "none":
        return PenaltyConfig(kind="r1", weight=weight, every=R1_EVERY)
    return given.model_copy(update={"weight": max(weight, given.weight)})
