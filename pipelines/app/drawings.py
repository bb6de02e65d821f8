"""Drawings, from the pad or uploaded: cleaned where that is wanted, translated once or in several variations."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from translate.data.drawing_style import DrawingStyle
from translate.data.images import ImageError, write_picture
from translate.data.resize import reduce_picture
from translate.data.strokes import Strokes
from translate.pipelines.app.pictures import fitted
from translate.pipelines.app.uploads import Limits, Report, Workspace, read_upload, safe_stem, to_screen
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto

MAX_VARIATIONS = 8


@dataclass(frozen=True)
class Wish:
    """How many results are wanted, and the seed of the noise between them. One result is made without noise."""

    count: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_VARIATIONS:
            raise ImageError(f"the number of variations is {self.count}, allowed are 1 to {MAX_VARIATIONS}")


@dataclass(frozen=True)
class Drawn:
    """What became of a drawing.

    seen: what the network saw, (H, W, 3) uint8; None of the pad, which shows it.
    steps: how that was made of the upload, in plain words.
    files: the results, PNG.
    archive: the one result, or a zip of several.
    """

    seen: np.ndarray | None
    steps: tuple[str, ...]
    files: tuple[Path, ...]
    archive: Path


def pad_value(style: DrawingStyle) -> dict[str, Any]:
    """An empty drawing for the pad, as JSON: frame and line weight in pixels, grey levels 0 to 255, polylines."""
    paper, ink = round(255 * style.paper), round(255 * style.ink)
    look = {"width": style.width, "height": style.height, "line_weight": style.line_weight, "paper": paper, "ink": ink}
    return {**look, "lines": []}


def strokes_of(value: Any, style: DrawingStyle) -> Strokes:
    """The strokes of what the pad, or a program in its place, sent: polylines in pixels of the style's frame.

    Raises:
        ImageError: there are none, or they cannot be drawn.
    """
    lines = value.get("lines") if isinstance(value, dict) else None
    if not isinstance(lines, list):
        raise ImageError("a drawing is {'lines': [[[x, y], ...], ...]} with x and y in pixels")
    if not lines:
        raise ImageError("nothing has been drawn yet: draw on the pad, or upload a drawing")
    return Strokes(lines, style.width, style.height)


def translate_strokes(
    pipeline: SketchToPhoto,
    value: Any,
    wish: Wish,
    workspace: Workspace,
    report: Report = lambda share, text: None,
) -> Drawn:
    """Translate what was drawn on the pad. Raises ImageError."""
    strokes = strokes_of(value, pipeline.style)
    report(0.1, "translating")
    return _saved(_results(pipeline, strokes, wish), (None, ()), "drawing", workspace)


def translate_drawing(
    pipeline: SketchToPhoto,
    upload: Path,
    wish: Wish,
    clean: bool,
    place: tuple[Limits, Workspace],
    report: Report = lambda share, text: None,
) -> Drawn:
    """Translate a drawing that was uploaded or photographed.

    Raises:
        ImageError: it cannot be read, is too large, or shows no drawing.
    """
    limits, workspace = place
    report(0.05, "reading")
    picture = read_upload(upload, limits)
    if clean:
        report(0.2, "cleaning")
        cleaned = pipeline.clean(picture)
        picture, steps = cleaned.picture, tuple(cleaned.steps)
    else:
        before, picture = picture, reduce_picture(picture, min(pipeline.style.width, pipeline.style.height))
        height, width = picture.pixels.shape[:2]
        steps = () if picture is before else (f"reduced to {width} x {height} pixels",)
    report(0.5, "translating")
    return _saved(_results(pipeline, picture, wish), (to_screen(picture), steps), safe_stem(upload), workspace)


def _results(pipeline: SketchToPhoto, drawing: Any, wish: Wish) -> list[Any]:
    """Pictures."""
    if wish.count == 1:
        return [pipeline(drawing, output_type="picture")]
    return list(pipeline.variations(drawing, wish.count, seed=wish.seed, output_type="picture"))


def _saved(
    results: list[Any], seen: tuple[np.ndarray | None, tuple[str, ...]], stem: str, workspace: Workspace
) -> Drawn:
    first = workspace.download(f"{stem}-1.png" if len(results) > 1 else f"{stem}-translated.png")
    files = [first.with_name(f"{stem}-{number}.png") for number in range(1, len(results) + 1)]
    files = files if len(results) > 1 else [first]
    for result, file in zip(results, files, strict=True):
        write_picture(result, file)
    archive = first
    if len(files) > 1:
        archive = first.with_name(f"{stem}.zip")
        with zipfile.ZipFile(archive, "w") as packed:
            for file in files:
                packed.write(file, file.name)
    shown = None if seen[0] is None else fitted(seen[0])
    return Drawn(shown, seen[1], tuple(files), archive)
