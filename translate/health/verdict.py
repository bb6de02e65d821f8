"""What a diagnosis says."""

from dataclasses import dataclass
from typing import Any

BALANCED = "balanced"
WINNING = "discriminator winning (vanishing gradients)"
GUESSING = "discriminator guessing"
COLLAPSE = "mode collapse"
OSCILLATING = "oscillating"
OVERFITTING = "discriminator overfitting"
DIVERGED = "diverged"
VERDICTS = (BALANCED, WINNING, GUESSING, COLLAPSE, OSCILLATING, OVERFITTING, DIVERGED)
SICK = (WINNING, GUESSING, COLLAPSE, OSCILLATING, OVERFITTING, DIVERGED)
WARMING_UP = "warming up"  # too early for a verdict


@dataclass(frozen=True)
class Remedy:
    """Something to try: a key of the recipe, the value to give it, and why it helps."""

    key: str
    value: str
    why: str


@dataclass(frozen=True)
class Diagnosis:
    """One of VERDICTS, or WARMING_UP, and what it rests on."""

    verdict: str
    since: int | None  # step of the first record of the stretch that has this verdict; None before there are records
    evidence: tuple[str, ...]  # sentences with figures
    remedies: tuple[Remedy, ...]
    hints: tuple[str, ...]  # what was noticed beside the verdict

    @property
    def sick(self) -> bool:
        return self.verdict in SICK

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "verdict": self.verdict,
            "since": self.since,
            "evidence": list(self.evidence),
            "remedies": [{"key": r.key, "value": r.value, "why": r.why} for r in self.remedies],
            "hints": list(self.hints),
        }
