"""What preprocessing writes, one image at a time: where it comes from, what becomes of it, and its name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from translate.data.images import Picture, read_picture
from translate.data.resize import shrink
from translate.data.working_size import cut_in_half
from translate.pipelines.journal import sha256


class Opened:
    """A picture that several items are made of: read once, when the first of them needs it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []  # what went otherwise than asked for, kept with the records of its items
        self._reduced: dict[int, Picture] = {}
        self._made: dict[str, Picture] = {}

    @cached_property
    def content(self) -> str:
        """SHA-256 of the file."""
        return sha256(self.path)

    @property
    def picture(self) -> Picture:
        return self.reduced(1)

    def reduced(self, factor: int) -> Picture:
        """Bicubic, sides divided by `factor` and rounded down; 1 is the picture as it is."""
        if factor not in self._reduced:
            self._reduced[factor] = read_picture(self.path) if factor == 1 else shrink(self.picture, factor)
        return self._reduced[factor]

    def once(self, name: str, make: Callable[[Picture], Picture]) -> Picture:
        """What `make` gives of the picture, made when the first item asks for it by this name."""
        if name not in self._made:
            self._made[name] = make(self.picture)
        return self._made[name]


class Change(Protocol):
    """What becomes of a picture before it is written."""

    @property
    def settings(self) -> str:
        """Tells it from every other change, so that another one is done anew."""
        ...

    def __call__(self, opened: Opened) -> Picture | None:
        """The picture to write; None leaves it out. What belongs together must be left out together."""
        ...

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the file beyond its size and type."""
        ...


@dataclass(frozen=True)
class Half:
    """One half of a side-by-side image."""

    side: Literal["left", "right"]

    @property
    def settings(self) -> str:
        return f"half={self.side}"

    def __call__(self, opened: Opened) -> Picture:
        return cut_in_half(opened.picture)[0 if self.side == "left" else 1]

    def facts(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Item:
    """One image to write: `name` is the common name of a pair, `folder` where it goes, such as train/source."""

    name: str
    folder: str
    source: Path
    change: Change | None = None  # None: as it is

    @property
    def key(self) -> str:
        return f"{self.folder}/{self.name}"
