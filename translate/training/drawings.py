"""What a run must know of the drawings that it trains on: the style that its model carries."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from translate.data.augment import Augmentation, Geometry
from translate.data.datasets import cut_in_half
from translate.data.drawing_measures import measure_style
from translate.data.drawing_style import DrawingStyle
from translate.data.images import Picture, read_picture
from translate.data.splits import Split
from translate.recipe import Recipe

TASK = "sketch_to_photo"
MEASURED = 64  # drawings, evenly spread over the training split


def style_of(recipe: Recipe, train: Split) -> DrawingStyle | None:
    """The style of the training drawings as the network sees them; None where the sources are no drawings.

    Raises:
        ImageError: one cannot be read, or nothing is drawn on any of them.
    """
    if recipe.task != TASK:
        return None
    files = [pair.source for pair in train.pairs] or train.a
    chosen = [files[index * len(files) // MEASURED] for index in range(MEASURED)] if len(files) > MEASURED else files
    return measure_style(_drawings(recipe, chosen))


def _drawings(recipe: Recipe, files: list[Path]) -> Iterator[Picture]:
    """Of the size at which the network sees them."""
    data = recipe.data
    resize = Augmentation(Geometry(resize=data.resize, frame=data.frame))
    for path in files:
        picture = read_picture(path)
        if data.kind == "side_by_side":
            picture = cut_in_half(picture)[data.source_on == "right"]
        alphas = [] if picture.alpha is None else [picture.alpha[..., None]]
        pixels, *rest = resize([picture.pixels, *alphas], 0)
        yield replace(picture, pixels=pixels, alpha=rest[0][..., 0] if rest else None)
