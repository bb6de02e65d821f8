"""The rules by which the last records of a run get a verdict.

Each rule looks at `health.window` records. The first that applies, in the order of `RULES`, names what is wrong, and
it is the verdict if the window that ended a record earlier says the same: the last `needed` records decide. A figure of
several discriminators or generators is that of the one which is worst off.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from translate.health.verdict import (
    BALANCED,
    COLLAPSE,
    DIVERGED,
    GUESSING,
    OSCILLATING,
    OVERFITTING,
    SICK,
    WARMING_UP,
    WINNING,
)
from translate.losses import ADVERSARIAL
from translate.recipe import Recipe

EXPLODED_LOSS = 100.0  # times what an undecided discriminator has
EXPLODED_SPREAD = 5.0  # times that of the targets: far beyond model space
SKIPPED_LEAST = 10  # steps
SKIPPED_SHARE, SKIPPED_IN_HALF = 0.2, 0.5  # of the steps; half precision skips some to find its loss scale
ONE_OUTPUT, ALIKE = 0.05, 0.3  # diversity below which outputs are one picture, or too much alike
SWINGING = 0.12  # standard deviation of a discriminator's accuracies from record to record
RIGHT, SURE = 0.9, 0.5  # of one that wins: accuracy, and share of the loss of guessing
UNSEEN_GAP, OVERFITTED = 0.4, 0.5  # accuracy on training less that on validation images; r_v
UNDECIDED, PULL = 0.1, 0.02  # accuracy off 0.5; gradient of the adversarial term beside that of the others
GRID = 10.0  # times the energy that targets have


class Finding(NamedTuple):
    """A verdict and what it rests on."""

    verdict: str
    evidence: tuple[str, ...]
    hints: tuple[str, ...] = ()


class Window:
    """Figures of the last records."""

    def __init__(self, records: Sequence[Mapping[str, Any]], recipe: Recipe) -> None:
        self.records = records
        self.recipe = recipe
        named = {name for record in records for name in record}
        self.suffixes = sorted(name.removeprefix("health/diversity") for name in named if _is_of(name, "diversity"))
        self.judged = sorted(name.removeprefix("d/gan") for name in named if name.startswith("d/gan"))

    def values(self, name: str) -> list[float]:
        return [record[name] for record in self.records if name in record]

    def mean(self, name: str) -> float | None:
        """The mean over the records that have it; None if none has."""
        values = self.values(name)
        return sum(values) / len(values) if values else None

    def covered(self, name: str) -> tuple[int, float]:
        """Steps that the records cover, and in how many of them something was, of which each record has the share."""
        steps = [record["step"] for record in self.records]
        ahead = steps[0] if len(steps) == 1 else 2 * steps[0] - steps[1]  # where the first record begins
        lengths = [after - before for before, after in pairwise([max(0, ahead), *steps])]
        shares = [record.get(name, 0.0) for record in self.records]
        return sum(lengths), sum(share * length for share, length in zip(shares, lengths, strict=True))

    def deviation(self, name: str) -> float:
        values = self.values(name)
        if len(values) < 2:
            return 0.0
        mean = sum(values) / len(values)
        return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def examine(records: Sequence[Mapping[str, Any]], recipe: Recipe) -> Finding:
    """The verdict of the last `needed` records, the last of which is now.

    A divergence is seen at once; everything else takes as many records, and the end of the warm-up.
    """
    window = Window(records[-recipe.health.window :], recipe)
    hints = _hints(window)
    diverged = _diverged(window)
    if diverged:
        return Finding(DIVERGED, diverged, hints)
    if len(records) < needed(recipe) or records[-1].get("health/age", records[-1]["step"]) < recipe.health.warmup:
        return Finding(WARMING_UP, (), hints)
    found, evidence = _named(window)
    if found in SICK and found == _named(Window(records[-recipe.health.window - 1 : -1], recipe))[0]:
        return Finding(found, evidence, hints)
    return Finding(BALANCED, _balance(window), hints)


def needed(recipe: Recipe) -> int:
    """How many records a verdict rests on."""
    return recipe.health.window + 1


def _named(window: "Window") -> tuple[str, tuple[str, ...]]:
    for verdict, rule in RULES.items():
        for suffix in window.judged if verdict != COLLAPSE else window.suffixes:
            if evidence := rule(window, suffix):
                return verdict, evidence
    return BALANCED, ()


def _diverged(window: Window) -> tuple[str, ...]:
    last = window.records[-1]
    evidence = [
        f"{name.removeprefix('health/nonfinite/')} was not finite in {share:.0%} of the steps"
        for name, share in last.items()
        if name.startswith("health/nonfinite/")
    ]
    limit = SKIPPED_IN_HALF if window.recipe.training.precision == "fp16" else SKIPPED_SHARE
    found = False
    for side in ("generator", "discriminator"):
        steps, skipped = window.covered(f"health/skipped/{side}")
        if skipped:
            evidence.append(f"{skipped:.0f} of the last {steps} steps of the {side} were skipped")
        found = found or (skipped >= SKIPPED_LEAST and skipped >= limit * steps)
    undecided = ADVERSARIAL[_loss(window.recipe)].undecided
    for suffix in window.judged:
        losses = [abs(value) for value in window.values(f"d/gan{suffix}")[-2:]]
        if undecided and losses and min(losses) > EXPLODED_LOSS * undecided:
            evidence.append(
                f"d/gan{suffix} is {losses[-1]:.3g}, {losses[-1] / undecided:.0f} times what guessing costs"
            )
            found = True
    for suffix in window.suffixes:
        spreads = window.values(f"health/diversity{suffix}")[-2:]
        if min(spreads, default=0.0) > EXPLODED_SPREAD:
            evidence.append(f"outputs differ {spreads[-1]:.1f} times as much as real images do")
            found = True
    return tuple(evidence) if found else ()


def _collapsed(window: Window, suffix: str) -> tuple[str, ...]:
    diversity = window.mean(f"health/diversity{suffix}")
    if diversity is None or max(window.values(f"health/diversity{suffix}")) >= ALIKE:
        return ()  # what comes and goes is no collapse
    if diversity >= ONE_OUTPUT and _wins(window, suffix):
        return ()  # a generator that is taught nothing makes pictures that are much alike, too
    beside = window.mean(f"health/diversity_of_inputs{suffix}")
    evidence = [f"outputs{_of(suffix)} for different inputs differ {diversity:.2f} times as much as real images do"]
    if beside is not None:
        evidence.append(f"and {beside:.2f} times as much as their inputs")
    return tuple(evidence)


def _swings(window: Window, suffix: str) -> tuple[str, ...]:
    real, fake = (f"health/{side}_accuracy{suffix}" for side in ("real", "fake"))
    deviation = math.hypot(window.deviation(real), window.deviation(fake)) / math.sqrt(2)
    lead = [one - two for one, two in zip(window.values(real), window.values(fake), strict=False)]
    if deviation < SWINGING or _crossings(lead) < 2:  # less is a drift or a jump
        return ()
    losses = window.values(f"d/gan{suffix}")
    return (
        f"the discriminator{_of(suffix)} is right on {_span(window.values(real))} of the real and "
        f"{_span(window.values(fake))} of the fake patches, from record to record",
        f"its loss goes between {min(losses):.3g} and {max(losses):.3g}",
    )


def _crossings(values: list[float]) -> int:
    """How often they go from one side of their mean to the other."""
    mean = sum(values) / len(values)
    above = [value > mean for value in values]
    return sum(one != other for one, other in pairwise(above))


def _overfits(window: Window, suffix: str) -> tuple[str, ...]:
    seen, unseen = (window.mean(f"health/{kind}_accuracy{suffix}") for kind in ("train", "val"))
    train, val, fake = (window.mean(f"health/{kind}_logit{suffix}") for kind in ("train", "val", "fake"))
    if seen is None or unseen is None or train is None or val is None or fake is None or train <= fake:
        return ()
    excess = (train - val) / (train - fake)
    if seen - unseen < UNSEEN_GAP or excess < OVERFITTED:
        return ()
    return (
        f"the discriminator{_of(suffix)} takes {seen:.0%} of the patches of training images for real, and {unseen:.0%} "
        "of those of validation images",
        f"validation images lie {excess:.0%} of the way from training images to fakes (r_v)",
    )


def _wins(window: Window, suffix: str) -> tuple[str, ...]:
    real, fake = (window.mean(f"health/{side}_accuracy{suffix}") for side in ("real", "fake"))
    loss, undecided = window.mean(f"d/gan{suffix}"), ADVERSARIAL[_loss(window.recipe)].undecided
    if real is None or fake is None or loss is None or min(real, fake) < RIGHT:
        return ()
    seen, held_out = (window.mean(f"health/{kind}_accuracy{suffix}") for kind in ("train", "val"))
    if seen is not None and held_out is not None and seen - held_out > UNSEEN_GAP / 2:
        return ()  # it does not win, it learns by heart
    if undecided is None or loss > SURE * undecided:
        return ()  # a critic is meant to be far ahead
    evidence = [
        f"the discriminator{_of(suffix)} is right on {real:.0%} of the real and {fake:.0%} of the fake patches",
        f"its loss is {loss:.2g}, {loss / undecided:.0%} of that of guessing",
    ]
    ratio = window.mean(f"health/gradient_ratio{suffix}")
    if ratio is not None:
        evidence.append(f"at the output the adversarial gradient is {ratio:.2g} times that of the other terms")
    return tuple(evidence)


def _guesses(window: Window, suffix: str) -> tuple[str, ...]:
    real, fake = (window.mean(f"health/{side}_accuracy{suffix}") for side in ("real", "fake"))
    ratio = window.mean(f"health/gradient_ratio{suffix}")
    if real is None or fake is None or ratio is None:
        return ()
    if max(abs(real - 0.5), abs(fake - 0.5)) > UNDECIDED or ratio > PULL:
        return ()
    return (
        f"the discriminator{_of(suffix)} is right on {real:.0%} of the real and {fake:.0%} of the fake patches",
        f"at the output the adversarial gradient is {ratio:.2g} times that of the other terms",
    )


Rule = Callable[[Window, str], tuple[str, ...]]
RULES: dict[str, Rule] = {
    COLLAPSE: _collapsed,
    OSCILLATING: _swings,
    OVERFITTING: _overfits,
    WINNING: _wins,
    GUESSING: _guesses,
}


def _balance(window: Window) -> tuple[str, ...]:
    evidence = []
    for suffix in window.judged:
        real, fake = (window.mean(f"health/{side}_accuracy{suffix}") for side in ("real", "fake"))
        if real is not None and fake is not None:
            evidence.append(
                f"the discriminator{_of(suffix)} is right on {real:.0%} of the real and {fake:.0%} of the fake patches"
            )
    for suffix in window.suffixes:
        evidence.append(f"diversity{_of(suffix)} {window.mean(f'health/diversity{suffix}'):.2f} of that of real images")
    return tuple(evidence)


def _hints(window: Window) -> tuple[str, ...]:
    hints = []
    for suffix in window.suffixes:
        energy = window.values(f"health/checkerboard{suffix}")
        middle = sorted(energy)[len(energy) // 2] if energy else 0.0
        if middle > GRID:
            upsample = getattr(window.recipe.generator, "upsample", "resize")
            advice = "" if upsample == "resize" else ": generator.upsample resize avoids it"
            hints.append(
                f"outputs{_of(suffix)} have {middle:.0f} times the energy of real images at the "
                f"frequencies of a checkerboard{advice}"
            )
    return tuple(hints)


def _loss(recipe: Recipe) -> str:
    return getattr(recipe.objective, "adversarial", "lsgan")


def _is_of(name: str, signal: str) -> bool:
    return name in (f"health/{signal}", f"health/{signal}_a", f"health/{signal}_b")


def _of(suffix: str) -> str:
    return f" of {suffix[1:]}" if suffix else ""


def _span(values: list[float]) -> str:
    return f"{min(values):.0%} to {max(values):.0%}"
