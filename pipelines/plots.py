"""What the plots of all pages share: how a plot becomes a picture, and how its axes look."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

SIZE = (4.8, 3.2)  # inches: letters are legible on a phone's width


def draw(plot: Callable[[Any], None], rows: int = 1) -> bytes:
    """The PNG of a plot that draws itself into axes, or into an array of so many, one above the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    plot(figure.subplots(rows, sharex=True))
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
    return file.getvalue()


def plain_text(text: str) -> str:
    """A text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def plain(axes: Any) -> None:
    """Axes with nothing that is not needed, under a small bold title."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set(fontsize="medium", fontweight="bold")
