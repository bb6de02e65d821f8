"""One training step: batch in, named scalar losses and signals out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer

from translate.health.signals import Signals, Spread, accuracies, checkerboard, output_gradients
from translate.history import ImagePool
from translate.objectives import Objective
from translate.objectives.terms import (
    Fakes,
    Made,
    Terms,
    View,
    as_is,
    discriminator_terms,
    frozen,
    judge,
    penalty_terms,
)
from translate.recipe import PenaltyConfig
from translate.training.guard import keep_finite, poisoned, statistics, update


@dataclass(frozen=True)
class Optimizers:
    """One optimizer a side; none for the discriminators of an objective that has none."""

    generator: Optimizer
    discriminator: Optimizer | None


@dataclass(frozen=True)
class StepPlan:
    """What is particular to one step; all of it follows from the recipe, the step, and what was adjusted.

    penalty: of the discriminators in this step; None where it is not due.
    clip_norm: largest gradient norm of each side; None for no clipping.
    view: through which the discriminators see images.
    judges: whether the accuracies of the discriminators are wanted.
    spread: compares outputs from step to step; None where no signals are wanted.
    measured: whether the signals that cost time are due.
    probe: then shows the discriminators validation images beside a batch and its fakes; None where there are none.
    """

    penalty: PenaltyConfig | None = None
    clip_norm: float | None = None
    view: View = field(default=as_is)
    judges: bool = False
    spread: Spread | None = None
    measured: bool = False
    probe: Callable[[Any, Fakes], Signals] | None = None


def train_step(
    objective: Objective,
    batch: Any,
    pool: ImagePool,
    optimizers: Optimizers,
    accelerator: Accelerator,
    plan: StepPlan,
) -> Signals:
    """Update the generators once, then the discriminators once, and return every loss term and signal.

    The generators come first, and the discriminators see fakes from before that update: only so do gradient
    accumulation and several processes give what one large batch gives. Between the last micro-steps of an accumulation
    nothing is updated. A side with a loss or gradient that is not finite is not updated either. The results are
    detached scalars still on the device: nothing here waits for the GPU.
    """
    kept = statistics([*objective.generators.values(), *objective.discriminators.values()])
    before = [buffer.clone() for buffer in kept]
    with frozen(objective.discriminators.values()):
        made = objective.generator_terms(batch, plan.view)
        signals = _of_generators(made, plan, accelerator)
        accelerator.backward(poisoned(total(made.terms)))
        signals |= update(
            "generator", optimizers.generator, objective.generators, accelerator, plan.clip_norm, plan.measured
        )

    comparisons = objective.comparisons(batch, show(pool, made.fakes, accelerator))
    judged = judge(comparisons, plan.view)
    critic_terms = discriminator_terms(judged, objective.adversarial, objective.real_label)
    if plan.penalty is not None and plan.penalty.kind != "none":
        weight = plan.penalty.weight * plan.penalty.every
        critic_terms |= penalty_terms(comparisons, plan.penalty.kind, weight, plan.view)
    if optimizers.discriminator is not None:
        signals |= accuracies(judged, objective.adversarial) if plan.judges else {}
        accelerator.backward(poisoned(total(critic_terms)))
        signals |= update(
            "discriminator",
            optimizers.discriminator,
            objective.discriminators,
            accelerator,
            plan.clip_norm,
            plan.measured,
        )
    if plan.measured and plan.probe is not None:
        signals |= plan.probe(batch, made.fakes)
    keep_finite(kept, before)
    return {name: value.detach() for name, value in {**made.terms, **critic_terms, **signals}.items()}


def _of_generators(made: Made, plan: StepPlan, accelerator: Accelerator) -> Signals:
    signals: Signals = {}
    if plan.spread is not None:
        signals |= plan.spread.measure(made.translations)
    if plan.measured:
        scaler = accelerator.scaler
        one = None if scaler is None else scaler.scale(torch.ones((), device=accelerator.device))
        signals |= output_gradients(made, one)
        for suffix, (_, output, target) in made.translations.items():
            signals[f"health/checkerboard{suffix}"] = checkerboard(output, target)
    return signals


def total(terms: Terms) -> Tensor:
    """The sum of the terms."""
    return torch.stack(list(terms.values())).sum()


def show(pool: ImagePool, fakes: Fakes, accelerator: Accelerator) -> Fakes:
    """Pass the fakes of all processes through the pool and return this process's share.

    Every process keeps the same pool, so that the run does not depend on how many there are.
    """
    if not pool.size or accelerator.num_processes == 1:
        return pool.swap(fakes)
    everyone = pool.swap({name: accelerator.gather(fake) for name, fake in fakes.items()})
    return {
        name: images.chunk(accelerator.num_processes)[accelerator.process_index] for name, images in everyone.items()
    }
