"""What a run must know of the drawings that it trains on: the style that its model carries."""

from collections.abc import Iterable, Iterator

from translate.data.drawing_measures import measure_style
from translate.data.drawing_style import DrawingStyle
from translate.data.images import Picture
from translate.data.splits import Split
from translate.data.working_size import cut_in_half
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
    files = train.source.sources(train.pairs) if train.pairs else train.a
    chosen = [files[index * len(files) // MEASURED] for index in range(MEASURED)] if len(files) > MEASURED else files
    return measure_style(_drawings(recipe, (train.source.read(path) for path in chosen)))


def _drawings(recipe: Recipe, pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Of the size at which the network sees them."""
    data = recipe.data
    for picture in pictures:
        sized = data.working_size().apply(picture)
        yield cut_in_half(sized)[data.source_on == "right"] if data.kind == "side_by_side" else sized
