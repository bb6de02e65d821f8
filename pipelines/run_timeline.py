"""When a run had which verdict: a lane for each verdict, so that none is told by its colour alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import groupby

from translate.health.verdict import VERDICTS, WARMING_UP

Verdicts = Sequence[tuple[int, str]]

# By Okabe and Ito (2008), the sick ones apart from one another as well.
COLOURS = dict(
    zip(VERDICTS, ("#009e73", "#d55e00", "#e69f00", "#cc79a7", "#56b4e9", "#0072b2", "#16191d"), strict=True)
) | {WARMING_UP: "#9aa2ab"}
MOST_CELLS = 400  # of a lane; more records are put together

STYLE = """
.lanes { margin: .6rem 0 1.2rem; max-width: 80rem }
.lane { display: grid; grid-template-columns: 23rem 1fr; gap: .1rem 1.2rem; align-items: center; margin: .5rem 0 }
.lane .faint { display: block; font-size: .875rem }
.track { position: relative; height: 1.3rem; background: var(--soft); border: 1px solid var(--line); overflow: hidden }
.track span { position: absolute; top: 0; bottom: 0; min-width: 2px }
@media (max-width: 50rem) { .lane { grid-template-columns: 1fr } }
"""


def lanes(verdicts: Verdicts) -> str:
    """HTML with one lane for each verdict that a run had, in the order in which they came.

    Args:
        verdicts: step and verdict of each record, in their order; at least one.
    """
    end = verdicts[-1][0]
    cells = _cells(verdicts)
    rows = []
    for verdict in dict.fromkeys(name for _, name in verdicts):
        steps = [step for step, name in verdicts if name == verdict]
        share = f"{100 * len(steps) / len(verdicts):.0f} % of the records"
        when = f"at step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
        spans = "".join(_span(start / end, stop / end, verdict) for start, stop, name in cells if name == verdict)
        rows.append(
            f'<div class="lane"><div><b>{escape(verdict)}</b> <span class="faint">{when}, {share}</span></div>'
            f'<div class="track" aria-hidden="true">{spans}</div></div>'
        )
    ends = f'<div class="ends"><span>step 0</span><span>step {end}</span></div>'
    return f'<div class="lanes">{"".join(rows)}<div class="lane" aria-hidden="true"><div></div>{ends}</div></div>'


def _cells(verdicts: Verdicts) -> list[tuple[int, int, str]]:
    """Stretches of one verdict: after which step, up to which, and the verdict. Of many records the most common."""
    size = -(-len(verdicts) // MOST_CELLS)
    parts = [verdicts[start : start + size] for start in range(0, len(verdicts), size)]
    named = [(part[-1][0], Counter(name for _, name in part).most_common(1)[0][0]) for part in parts]
    stretches, before = [], 0
    for name, group in groupby(named, key=lambda cell: cell[1]):
        last = list(group)[-1][0]
        stretches.append((before, last, name))
        before = last
    return stretches


def _span(start: float, stop: float, verdict: str) -> str:
    colour = COLOURS.get(verdict, "#16191d")
    return f'<span style="left: {100 * start:.2f}%; width: {100 * (stop - start):.2f}%; background: {colour}"></span>'
