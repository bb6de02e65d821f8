"""What every objective is made of: named terms, and what each discriminator compares."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from translate.losses import ADVERSARIAL, feature_matching, gradient_penalty, r1_penalty
from translate.networks import logits

Terms = dict[str, Tensor]  # weighted scalars; their sum is what is minimised
Fakes = dict[str, Tensor]  # what the discriminators are shown as fake, detached


class Comparison(NamedTuple):
    """What one discriminator compares: images (N, C, H, W), conditions included."""

    discriminator: nn.Module
    real: Tensor
    fake: Tensor


class Judged(NamedTuple):
    """A discriminator's logits of real and of fake images, one tensor a scale."""

    real: list[Tensor]
    fake: list[Tensor]


class Translation(NamedTuple):
    """What a generator made (N, C', H', W'), of what, and what real images of that kind look like; in model space."""

    source: Tensor
    output: Tensor
    target: Tensor


Comparisons = dict[str, Comparison]  # by the suffix of its terms: "" or "_a", "_b"


class Made(NamedTuple):
    """What the generators' half of a step gives."""

    terms: Terms
    fakes: Fakes
    translations: dict[str, Translation]  # by suffix, with their graph


class View(Protocol):
    """How images are changed before a discriminator sees them, real and fake alike."""

    def __call__(self, *batches: Tensor) -> list[Tensor]:
        """Batches (N, C, H, W) of one shape, changed; image i of each in the same way."""
        ...


def as_is(*batches: Tensor) -> list[Tensor]:
    """The View that changes nothing."""
    return list(batches)


def bare(network: nn.Module) -> nn.Module:
    """The network inside its DistributedDataParallel wrapper: what a frozen discriminator is called through."""
    return network.module if isinstance(network, DistributedDataParallel) else network


@contextmanager
def frozen(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, no parameter of these networks wants a gradient; afterwards those that did want it again."""
    trained = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def check_settings(adversarial: str, real_label: float, **weights: float) -> None:
    """Refuse what an objective cannot be trained with. Raises ValueError naming the setting."""
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"{name} must not be negative, got {weight!r}: use 0 to leave the term out")
    # The loss itself says whether it has a label to smooth.
    ADVERSARIAL[adversarial].discriminator(torch.zeros(1), torch.zeros(1), real_label)


def mean_over_scales(function: Callable[..., Tensor], *scales: list[Tensor]) -> Tensor:
    """Mean over the scales of a function of each scale's logits."""
    return torch.stack([function(*logits_of_scale) for logits_of_scale in zip(*scales, strict=True)]).mean()


def generator_adversarial(
    comparison: Comparison, adversarial: str, matching_weight: float, view: View = as_is
) -> tuple[Tensor, Tensor | None]:
    """The generator's adversarial term, and the feature matching term if it has a weight."""
    critic = bare(comparison.discriminator)
    fake, real = view(comparison.fake, comparison.real)
    fake_outputs = critic(fake)
    gan = mean_over_scales(ADVERSARIAL[adversarial].generator, logits(fake_outputs))
    if not matching_weight:
        return gan, None
    with torch.no_grad():
        real_outputs = critic(real)
    return gan, matching_weight * feature_matching(fake_outputs, real_outputs)


def judge(comparisons: Comparisons, view: View = as_is) -> dict[str, Judged]:
    """The logits of each discriminator.

    Real and fake go through in one forward, unless a batch norm would see both at once. DistributedDataParallel wants
    one forward per backward: then fakes pass its wrapper by, as in `penalty_terms`.
    """
    judged = {}
    for suffix, (discriminator, real, fake) in comparisons.items():
        (shown,) = view(torch.cat([real, fake]))
        if mixes_images(discriminator):
            real, fake = shown.chunk(2)
            judged[suffix] = Judged(logits(discriminator(real)), logits(bare(discriminator)(fake)))
            continue
        both = [scale.chunk(2) for scale in logits(discriminator(shown))]
        judged[suffix] = Judged([real_logits for real_logits, _ in both], [fake_logits for _, fake_logits in both])
    return judged


def mixes_images(network: nn.Module) -> bool:
    """Whether what a network makes of an image depends on the others of its batch, by a batch norm."""
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())


def discriminator_terms(judged: dict[str, Judged], adversarial: str, real_label: float) -> Terms:
    """One term "d/gan<suffix>" for each discriminator."""
    loss = partial(ADVERSARIAL[adversarial].discriminator, real_label=real_label)
    return {f"d/gan{suffix}": mean_over_scales(loss, real, fake) for suffix, (real, fake) in judged.items()}


def penalty_terms(comparisons: Comparisons, kind: str, weight: float, view: View = as_is) -> Terms:
    """One term "d/r1<suffix>" or "d/gradient_penalty<suffix>" for each discriminator; `kind` "none" gives none.

    They share a backward with `discriminator_terms`. The wrapper, which wants one forward per backward and a gradient
    for every parameter (the last bias has none here), is therefore passed by; its reduction sees the sum all the same.
    """
    terms = {}
    for suffix, (discriminator, real, fake) in comparisons.items():
        critic = bare(discriminator).forward  # itself: what is compiled cannot be differentiated twice
        if kind == "r1":
            shown = view(real)[0].detach().requires_grad_(True)
            terms[f"d/r1{suffix}"] = weight * r1_penalty(logits(critic(shown)), shown)
        elif kind == "gradient_penalty":
            shown_real, shown_fake = view(real, fake)
            value = gradient_penalty(partial(_logits_of, critic), shown_real, shown_fake)
            terms[f"d/gradient_penalty{suffix}"] = weight * value
    return terms


def _logits_of(discriminator: Callable[[Tensor], list[list[Tensor]]], images: Tensor) -> list[Tensor]:
    return logits(discriminator(images))
