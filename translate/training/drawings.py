"""What a run must know of the drawings that it trains on: the style that its model carries."""

from collections.abc import Iterator
from pathlib import Path

import cv2

from translate.data.augment import resized
from translate.data.datasets import cut_in_half
from translate.data.drawing_measures import measure_style
from translate.data.drawing_style import DrawingStyle
from translate.data.images import Picture, read_picture
from translate.data.splits import DataConfig, Split
from translate.recipe import Recipe

TASK = "sketch_to_photo"
MEASURED = 64  # drawings, evenly spread over the training split


def style_of(recipe: Recipe, train: Split) -> DrawingStyle | None:
    """The style of the training drawings as the network sees them; None where the sources are no drawings."""
    if recipe.task != TASK:
        return None
    files = [pair.source for pair in train.pairs] or train.a
    chosen = [files[index * len(files) // MEASURED] for index in range(MEASURED)] if len(files) > MEASURED else files
    return measure_style(_drawings(recipe, chosen))


def _drawings(recipe: Recipe, files: list[Path]) -> Iterator[Picture]:
    for path in files:
        picture = read_picture(path)
        if recipe.data.kind == "side_by_side":
            picture = cut_in_half(picture)[recipe.data.source_on == "right"]
        yield _as_seen(picture, recipe.data)


def _as_seen(picture: Picture, data: DataConfig) -> Picture:
    """Resized as the training pictures are."""
    given = picture.info
    height, width = resized(given.height, given.width, data.resize, data.frame)
    if (height, width) == (given.height, given.width):
        return picture

    def moved(values):  # type: ignore[no-untyped-def]
        return cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1)

    alpha = None if picture.alpha is None else moved(picture.alpha)[..., 0]
    return Picture(moved(picture.pixels), alpha, picture.metadata)
