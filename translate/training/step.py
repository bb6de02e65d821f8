"""One training step: batch in, named scalar losses out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from translate.history import ImagePool
from translate.objectives import Objective
from translate.objectives.terms import Fakes, Terms, discriminator_terms, frozen, penalty_terms
from translate.recipe import PenaltyConfig


@dataclass(frozen=True)
class Optimizers:
    """One optimizer a side; none for the discriminators of an objective that has none."""

    generator: Optimizer
    discriminator: Optimizer | None


def train_step(
    objective: Objective,
    batch: Any,
    pool: ImagePool,
    optimizers: Optimizers,
    accelerator: Accelerator,
    penalty: PenaltyConfig | None,
    clip_norm: float | None,
) -> Terms:
    """Update the generators once, then the discriminators once, and return every loss term.

    The generators come first, and the discriminators see fakes from before that update: only so do gradient
    accumulation and several processes give what one large batch gives. Between the last micro-steps of an accumulation
    nothing is updated. The terms are detached scalars still on the device: nothing here waits for the GPU.

    Args:
        penalty: of the discriminators in this step; None where it is not due.
        clip_norm: largest gradient norm of each side; None for no clipping.
    """
    with frozen(objective.discriminators.values()):
        generator_terms, fakes = objective.generator_terms(batch)
        accelerator.backward(total(generator_terms))
        _update(optimizers.generator, objective.generators.values(), accelerator, clip_norm)

    comparisons = objective.comparisons(batch, show(pool, fakes, accelerator))
    critic_terms = discriminator_terms(comparisons, objective.adversarial, objective.real_label)
    if penalty is not None and penalty.kind != "none":
        critic_terms |= penalty_terms(comparisons, penalty.kind, penalty.weight * penalty.every)
    if optimizers.discriminator is not None:
        accelerator.backward(total(critic_terms))
        _update(optimizers.discriminator, objective.discriminators.values(), accelerator, clip_norm)

    return {name: term.detach() for name, term in {**generator_terms, **critic_terms}.items()}


def total(terms: Terms) -> torch.Tensor:
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


def _update(
    optimizer: Optimizer, networks: Iterable[nn.Module], accelerator: Accelerator, clip_norm: float | None
) -> None:
    """Step where the accumulation is complete; Accelerate's optimizer does nothing in between."""
    if clip_norm is not None and accelerator.sync_gradients:
        accelerator.unscale_gradients(optimizer)  # this side's alone: the other side's gradients are not complete
        torch.nn.utils.clip_grad_norm_([p for network in networks for p in network.parameters()], clip_norm)
    optimizer.step()
    optimizer.zero_grad()
