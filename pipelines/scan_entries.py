"""Evidence as the page reads it: entries are taken by name and explained, and what nobody took is listed as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LISTED = 8  # values of a longer list are not all shown: evidence.json has them


class Entries:
    """What is left of the evidence. Taking an entry removes it, so that nothing is shown twice or not at all."""

    def __init__(self, evidence: Mapping[str, Any]) -> None:
        self.left = _copy(evidence)

    def __contains__(self, path: str) -> bool:
        place, last = self._find(path)
        return last in place

    def take(self, path: str) -> Any:
        """The entry at "a.b.c", or None where there is none."""
        place, last = self._find(path)
        return place.pop(last, None)

    def _find(self, path: str) -> tuple[dict[str, Any], str]:
        """The group that an entry is in, empty where there is none, and its name there."""
        *above, last = path.split(".")
        place: Any = self.left
        for name in above:
            place = place.get(name) if isinstance(place, dict) else None
        return place if isinstance(place, dict) else {}, last

    def rest(self) -> list[tuple[str, str]]:
        """Names and values of all that is left, without empty groups."""
        return list(rows(self.left))


def _copy(value: Any) -> Any:
    return {key: _copy(entry) for key, entry in value.items()} if isinstance(value, Mapping) else value


def rows(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """A nested entry as names, joined by commas, and values in words."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            plain = str(key).replace("_", " ")
            yield from rows(entry, f"{name}, {plain}" if name else plain)
    elif isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
        for index, entry in enumerate(value[:LISTED]):
            yield from rows(entry, f"{name} {index + 1}")
        if len(value) > LISTED:
            yield name, f"{len(value) - LISTED} more in evidence.json"
    else:
        yield name, text_of(value)


def text_of(value: Any) -> str:
    """A value as a reader writes it."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return describe(value)
    if isinstance(value, list):
        shown = ", ".join(text_of(entry) for entry in value[:LISTED])
        return f"{shown} ... ({len(value)} values)" if len(value) > LISTED else shown or "none"
    return str(value)


def describe(value: float, units: str = "", *, sign: bool = False) -> str:
    """A number with three digits that count, and its units; in HU at most two decimals, as files hold none.

    >>> describe(-0.01234), describe(-0.01234, "HU"), describe(1839.4, "HU", sign=True)
    ('-0.0123', '-0.01 HU', '+1,839 HU')
    """
    size = abs(value)
    if size and not 1e-4 <= size < 1e9 and units != "HU":
        return f"{value:{'+' if sign else ''}.2e} {units}".strip()
    power = int(f"{size:.2e}".partition("e")[2])  # of the first digit that counts, after rounding
    digits = min(max(0, 2 - power), 2 if units == "HU" else 6)
    text = f"{size:,.{digits}f}"
    if not text.strip("0.,"):
        return f"0 {units}".strip()
    return f"{'-' if value < 0 else '+' if sign else ''}{text} {units}".strip()
