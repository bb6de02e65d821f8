"""Stage 1 for sketch-to-photo: photographs, and drawings that are derived from them, become pairs."""

import json
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from translate.data.augment import sample_seed
from translate.data.folders import shown
from translate.data.foreground import cut_out, flatten
from translate.data.images import ImageError, Picture
from translate.data.resize import reduce_picture
from translate.data.sketch import STYLES, SketchSettings, check_styles, draw_style, sketch
from translate.pipelines.preprocessing.dataset import Options, choose_splits, write_dataset
from translate.pipelines.preprocessing.folders import check_apart, unique_names, warn_of_splits
from translate.pipelines.preprocessing.items import Item, Opened
from translate.pipelines.preprocessing.ownership import origin_of

logger = logging.getLogger(__name__)
Foreground = Literal["alpha", "grabcut", "none"]
PaperKind = Literal["plain", "textured"]


@dataclass(frozen=True)
class Deriving:
    """How drawings are derived.

    styles: names of `STYLES` to draw from; the drawings of one photograph differ in style as far as there are styles.
    copies: drawings of each photograph.
    paper: plain white; or textured, with a tone and a grain that differ from drawing to drawing.
    foreground: what is subject: what alpha says; without alpha what GrabCut finds; or none, all is and alpha is
        dropped. What is not becomes paper in the drawing and `background` in the photograph.
    background: red, green and blue, 0 to 255.
    """

    styles: tuple[str, ...] = tuple(STYLES)
    copies: int = 1
    paper: PaperKind = "plain"
    foreground: Foreground = "alpha"
    background: tuple[int, int, int] = (255, 255, 255)

    def __post_init__(self) -> None:
        check_styles(self.styles)
        if self.copies < 1:
            raise ImageError(f"there must be at least 1 drawing of a photograph, got {self.copies} copies")
        for name, given, allowed in (("paper", self.paper, PaperKind), ("foreground", self.foreground, Foreground)):
            if given not in get_args(allowed):
                raise ImageError(f"{name} must be one of {', '.join(get_args(allowed))}, got {given!r}")


@dataclass(frozen=True)
class Photograph:
    """The target: the photograph, or its subject on a plain ground."""

    size: int | None
    foreground: Foreground
    background: tuple[int, int, int]

    @property
    def settings(self) -> str:
        return f"photograph foreground={self.foreground} background={self.background}"

    def __call__(self, opened: Opened) -> Picture:
        return flatten(_subject(opened, self.size, self.foreground), self.background)

    def facts(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class DerivedDrawing:
    """The source: a drawing of the photograph as it is written."""

    size: int | None
    foreground: Foreground
    how: SketchSettings

    @property
    def settings(self) -> str:
        return f"drawing foreground={self.foreground} {self.how}"

    def __call__(self, opened: Opened) -> Picture:
        return sketch(_subject(opened, self.size, self.foreground), self.how)

    def facts(self) -> dict[str, Any]:
        return {"sketch": self.how.to_json()}


def prepare_sketches(
    folder: Path, output: Path, options: Options, deriving: Deriving, *, show_progress: bool = True
) -> dict[str, Any]:
    """Write OUT/{train,val}/{source,target}: drawings derived from the pictures in `folder`, and these.

    A drawing is called as its photograph, or NAME_1 to NAME_N where there are several, and each has a copy of it. The
    split is by photograph. dataset.json holds the settings of each drawing. They depend on names and seed alone.

    Returns what `write_dataset` returns, and "left_whole": names of the photographs of which no subject was found.

    Raises:
        ImageError: the folder holds no pictures, or the output lies in it.
    """
    check_apart(output, folder)
    warn_of_splits(options, folder)
    files = unique_names(folder)
    splits = choose_splits(list(files), options)
    items = [item for name, path in files.items() for item in _items(name, path, splits[name], options, deriving)]
    facts = {
        "styles": list(deriving.styles),
        "copies": deriving.copies,
        "paper": deriving.paper,
        "foreground": deriving.foreground,
        "background": list(deriving.background),
    }
    origin = origin_of("sketches", folder)
    summary = write_dataset(items, output, "paired", options, origin, facts=facts, show_progress=show_progress)
    left_whole = _left_whole(Path(summary["manifest"]), items, folder)
    if left_whole:
        logger.warning(
            "%d photographs have no subject that could be cut out, and are left whole: %s",
            len(left_whole),
            shown(left_whole),
        )
    return {**summary, "left_whole": left_whole}


def _items(name: str, path: Path, split: str, options: Options, deriving: Deriving) -> list[Item]:
    """Drawing and photograph of every copy."""
    order = np.random.default_rng(_seed(options, name)).permutation(len(deriving.styles))
    target = Photograph(options.size, deriving.foreground, deriving.background)
    items = []
    for copy in range(deriving.copies):
        own = name if deriving.copies == 1 else f"{name}_{copy + 1}"
        style = deriving.styles[order[copy % len(order)]]
        how = draw_style(_seed(options, own), (style,), textured=deriving.paper == "textured")
        items.append(Item(own, f"{split}/source", path, DerivedDrawing(options.size, deriving.foreground, how)))
        items.append(Item(own, f"{split}/target", path, target))
    return items


def _seed(options: Options, name: str) -> int:
    return sample_seed(options.seed, *os.fsencode(name))


def _subject(opened: Opened, size: int | None, foreground: Foreground) -> Picture:
    """The photograph at its size, with an alpha where a part of it is ground; made once for all of its items."""

    def make(picture: Picture) -> Picture:
        small = reduce_picture(picture, size)
        if foreground == "none" and small.alpha is not None:
            return replace(small, alpha=None)
        if foreground == "grabcut" and small.alpha is None:
            try:
                return cut_out(small)
            except ImageError as reason:
                opened.warnings.append(f"left whole: {reason}")
        return small

    return opened.once("subject", make)


def _left_whole(manifest: Path, items: list[Item], folder: Path) -> list[str]:
    """The photographs of which the manifest says so: also those that an earlier run wrote."""
    files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    warned = {name.rpartition(".")[0] for name, entry in files.items() if entry.get("warnings")}
    return sorted({item.source.relative_to(folder).as_posix() for item in items if item.key in warned})
