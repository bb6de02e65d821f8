"""What a diagnosis means to someone who has never trained a GAN."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from translate.health.verdict import (
    BALANCED,
    COLLAPSE,
    DIVERGED,
    GUESSING,
    OSCILLATING,
    OVERFITTING,
    WARMING_UP,
    WINNING,
    Remedy,
)
from translate.recipe import Recipe

MEANINGS = {
    BALANCED: "Nothing that was measured calls for a change. Whether the outputs are good enough, the samples and the "
    "validation figures say.",
    WARMING_UP: "It is too early for a verdict: young networks are out of balance in every run. Ask again later.",
    WINNING: "The discriminator tells outputs from real images so surely that its answers no longer show the generator "
    "how to improve: what the generator learns from them has nearly vanished. More steps alone seldom help.",
    GUESSING: "The discriminator cannot tell outputs from real images although the outputs are still poor, so the "
    "generator learns next to nothing from it. It is too weak for this generator, or learns too slowly.",
    COLLAPSE: "Different inputs give nearly the same output: the generator has found a picture that passes, and no "
    "longer looks at what it is given. It seldom comes back from there on its own.",
    OSCILLATING: "Generator and discriminator chase each other: their losses swing widely, and what is learned in one "
    "stretch is lost in the next. Where the run ends is a matter of luck.",
    OVERFITTING: "The discriminator has learned its training images by heart: real images that it has never seen look "
    "false to it. The generator is taught about those few images rather than about real ones.",
    DIVERGED: "Losses or gradients have left all bounds, or became infinite or no number at all (NaN). The weights no "
    "longer learn, and may be lost: best/ and the training states hold earlier ones.",
}
NO_SIGNALS = (
    "No signals were logged: the run was made by an earlier version, or with health.every 0, or is younger than its "
    "first measurement. What is said here rests on the losses and the validation figures alone."
)
NO_DISCRIMINATOR = (
    "This objective has no discriminator: what goes wrong between two networks cannot happen, and is not looked for."
)


def limits_of(records: Sequence[dict[str, Any]], recipe: Recipe) -> list[str]:
    """What a diagnosis of these records could not see, in sentences."""
    measured = recipe.health.every and any(name.startswith("health/") for record in records for name in record)
    return [*([] if measured else [NO_SIGNALS]), *([] if recipe.discriminator else [NO_DISCRIMINATOR])]


def option(remedy: Remedy) -> str:
    """What to add to the command line of `translate train`."""
    return f"--{remedy.key} {shlex.quote(remedy.value)}"


def command(run: Path, remedy: Remedy) -> str:
    """The command that begins the run anew, with a remedy."""
    recipe, output = shlex.quote(str(run / "recipe.yaml")), shlex.quote(f"{run}-2")
    return f"translate train {recipe} --output {output} {option(remedy)}"


def actions_of(records: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    """What `health.action adjust` did: step and text."""
    return [(record["step"], str(action)) for record in records for action in record.get("actions") or ()]


def seconds_of(records: Sequence[dict[str, Any]]) -> float:
    """How long a run trained, in seconds: its clock begins again when it is resumed."""
    times = [float(record.get("seconds") or 0) for record in records]
    return sum(now for now, then in zip(times, [*times[1:], 0.0], strict=True) if then < now)


def duration(seconds: float) -> str:
    """Hours, minutes or seconds: the two largest that count."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
