"""From the records of a run to a diagnosis: pure functions of what was logged."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from translate.health.remedies import remedies_for
from translate.health.rules import Finding, examine, needed
from translate.health.verdict import WARMING_UP, Diagnosis
from translate.recipe import Recipe

Record = Mapping[str, Any]


def verdicts(records: Sequence[Record], recipe: Recipe) -> list[tuple[int, str]]:
    """The verdict at every record that has signals or losses: (step, verdict)."""
    return review(records, recipe)[1]


def diagnose(records: Sequence[Record], recipe: Recipe) -> Diagnosis:
    """The verdict at the last record, with its evidence, and what to try."""
    return review(records, recipe)[0]


def review(records: Sequence[Record], recipe: Recipe) -> tuple[Diagnosis, list[tuple[int, str]]]:
    """What `diagnose` and `verdicts` say, from one reading of the records."""
    replayed = list(_replay(records, recipe))
    if not replayed:
        return Diagnosis(WARMING_UP, None, ("nothing was logged yet",), (), ()), []
    finding = replayed[-1][1]
    since = next(
        (
            after
            for (_, one), (after, _) in zip(reversed(replayed[:-1]), reversed(replayed[1:]), strict=True)
            if one.verdict != finding.verdict
        ),
        replayed[0][0],
    )
    remedies = remedies_for(finding.verdict, recipe)
    found = Diagnosis(finding.verdict, since, finding.evidence, remedies, finding.hints)
    return found, [(step, one.verdict) for step, one in replayed]


def _replay(records: Sequence[Record], recipe: Recipe) -> Iterator[tuple[int, Finding]]:
    """As the training saw them: the window of each record, which begins anew after an action."""
    window: list[Record] = []
    for record in records:
        if not any(name.startswith(("g/", "d/", "health/")) for name in record):
            continue  # of a validation alone
        window = [*window, record][-needed(recipe) :]
        yield record["step"], examine(window, recipe)
        if record.get("actions"):
            window = []
