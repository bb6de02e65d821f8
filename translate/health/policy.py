"""What `health.action: adjust` does: few things, each bounded, each written down.

- discriminator winning: R1 on the discriminators, each time with R1_FACTOR times the weight; then their rate halved;
- discriminator overfitting: R1 as above, and augmentation of what they see more likely by AUGMENT_STEP;
- discriminator guessing: their rate doubled;
- oscillating: R1 as above, and both rates a quarter;
- mode collapse: back to a healthy state with feature matching (of pairs); the next times the generators' rate halved;
- diverged: back to a healthy state, both rates a tenth.

A first return is to the last healthy state, later ones are to the start, since that state led here. After RESTORES
returns a run that is not finite for `health.skips` steps ends.
"""

from dataclasses import dataclass, replace

from translate.health.verdict import COLLAPSE, DIVERGED, GUESSING, OSCILLATING, OVERFITTING, WINNING

R1_FIRST, R1_FACTOR, R1_LARGEST = 10.0, 4.0, 160.0
R1_EVERY = 4  # steps, where the recipe has no penalty
RATE_SMALLEST, RATE_LARGEST = 0.001, 4.0  # of what the recipe says
AUGMENT_STEP, AUGMENT_LARGEST = 0.4, 0.8  # beyond 0.8 generators begin to draw the augmentation (arXiv:2006.06676)
MATCHING = 10.0  # weight (arXiv:1711.11585)
RESTORES = 3


@dataclass(frozen=True)
class Adjustments:
    """What was changed against the recipe since the start; as values, so that it travels with the training state."""

    generator_rate: float = 1.0  # factor of the generators' learning rate
    discriminator_rate: float = 1.0
    r1: float = 0.0  # weight of R1 at least; 0: as the recipe says
    augment: float = 0.0  # probability of augmentation at least
    matching: float = 0.0  # weight of feature matching at least
    restores: int = 0  # returns to an earlier state


@dataclass(frozen=True)
class Action:
    """The next adjustments, and what to say of them."""

    adjustments: Adjustments
    restore: bool  # go back to the last healthy state first
    text: str


def next_action(verdict: str, now: Adjustments, penalty_weight: float, paired: bool) -> Action | None:
    """What the policy does about a verdict; None if all it may do is done.

    Args:
        penalty_weight: of the gradient penalty in the recipe, 0 for none: R1 starts above it.
        paired: whether each output has a target, whose features it can match.
    """
    then, restore = now, False
    match verdict:
        case _ if verdict == WINNING:
            more = _more_r1(now, penalty_weight)
            then = more if more != now else _slower(now, critic=0.5)
        case _ if verdict == OVERFITTING:
            augment = min(AUGMENT_LARGEST, round(now.augment + AUGMENT_STEP, 3))
            then = replace(_more_r1(now, penalty_weight), augment=augment)
        case _ if verdict == GUESSING:
            then = _slower(now, critic=2.0)
        case _ if verdict == OSCILLATING:
            then = _slower(_more_r1(now, penalty_weight), generator=0.25, critic=0.25)
        case _ if verdict == COLLAPSE and now.restores < RESTORES:
            matching = MATCHING if paired else now.matching
            then, restore = replace(now, restores=now.restores + 1, matching=matching), True
            if now.restores or not paired:
                then = _slower(then, generator=0.5)
        case _ if verdict == DIVERGED and now.restores < RESTORES:
            then, restore = _slower(replace(now, restores=now.restores + 1), generator=0.1, critic=0.1), True
    if then == now:
        return None
    return Action(then, restore, _text(now, then))


def _more_r1(now: Adjustments, penalty_weight: float) -> Adjustments:
    start = now.r1 or penalty_weight
    return replace(now, r1=min(max(R1_LARGEST, start), start * R1_FACTOR if start else R1_FIRST))


def _slower(now: Adjustments, generator: float = 1.0, critic: float = 1.0) -> Adjustments:
    def bounded(rate: float) -> float:
        return min(RATE_LARGEST, max(RATE_SMALLEST, rate))

    return replace(
        now,
        generator_rate=bounded(now.generator_rate * generator),
        discriminator_rate=bounded(now.discriminator_rate * critic),
    )


def _text(now: Adjustments, then: Adjustments) -> str:
    """The changes in words."""
    named = {
        "r1": "penalty of the discriminators, R1 if the recipe has none (penalty.weight)",
        "matching": "weight of feature matching (objective.feature_matching_weight)",
        "augment": "probability of augmentation (augmentation.probability)",
        "generator_rate": "rate of the generators (optimizer.learning_rate), as a factor",
        "discriminator_rate": "rate of the discriminators (optimizer.discriminator_learning_rate), as a factor",
    }
    changes = [
        f"{words}: {getattr(now, key):g} to {getattr(then, key):g}"
        for key, words in named.items()
        if getattr(now, key) != getattr(then, key)
    ]
    return "; ".join(changes)
