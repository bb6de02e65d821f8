"""The learning rate as a pure function of the step."""

import math
from typing import Literal


def learning_rate(
    step: int, *, peak: float, total: int, kind: Literal["linear", "cosine", "constant"], hold: float, warmup: int
) -> float:
    """The rate of a step, counted from 0.

    Args:
        kind: how it falls from `peak` to 0 at `total` after the share `hold` of the steps: "linear" as published for
            pix2pix and CycleGAN (hold 0.5), "cosine", or "constant" for not at all.
        warmup: steps over which it first rises linearly from peak / warmup.

    >>> [learning_rate(s, peak=1.0, total=8, kind="linear", hold=0.5, warmup=0) for s in (0, 4, 6, 7)]
    [1.0, 1.0, 0.5, 0.25]
    """
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    constant = round(hold * total)
    if kind == "constant" or step < constant:
        return peak * rise
    done = (step - constant) / max(1, total - constant)
    fall = 1 - done if kind == "linear" else (1 + math.cos(math.pi * done)) / 2
    return peak * rise * max(0.0, fall)
