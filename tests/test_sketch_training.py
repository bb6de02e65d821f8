"""What a model for drawings knows of those that it was trained on."""

from pathlib import Path

import pytest
from conftest import small_recipe
from PIL import Image

from translate.config import read_recipe
from translate.data.images import ImageError
from translate.data.splits import find_training
from translate.model_folder import read_config
from translate.recipe import Recipe
from translate.training.describe import describe
from translate.training.drawings import style_of
from translate.training.loop import train

PICTURES = Path(__file__).parents[1] / "pipelines" / "pictures"
NAMES = ("cat-face", "angry-face", "two-oclock", "star-struck")


def emoji_folder(folder: Path, layout: str) -> Path:
    """Four drawings of 128 x 128 and their renders in train/, as pairs, side by side (render left), or unpaired."""
    for index, name in enumerate(NAMES):
        sketch, render = (Image.open(PICTURES / side / f"{name}.png").convert("RGB") for side in ("sketch", "render"))
        if layout == "side_by_side":
            both = Image.new("RGB", (256, 128))
            both.paste(render, (0, 0))
            both.paste(sketch, (128, 0))
            files = {"": both}
        else:
            files = {"source": sketch, "target": render} if layout == "paired" else {"a": sketch, "b": render}
        for side, image in files.items():
            path = folder / "train" / side / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    return folder


def style(recipe: Recipe):  # type: ignore[no-untyped-def]
    return style_of(recipe, find_training(recipe.data))


def drawings_recipe(folder: Path, **data: object) -> Recipe:
    return small_recipe(folder, data=data).model_copy(update={"task": "sketch_to_photo"})


def test_the_model_folder_says_what_the_drawings_looked_like(tmp_path):
    recipe = drawings_recipe(emoji_folder(tmp_path / "pairs", "paired"))
    measured = read_config(Path(train(recipe, tmp_path / "run", show_progress=False)["model"])).drawing
    assert measured is not None
    assert (measured.width, measured.height) == (128, 128)
    assert measured.paper == pytest.approx(1, abs=0.01)
    assert measured.ink == pytest.approx(0.13, abs=0.05)  # the designers' black is (33, 33, 33)
    assert 4 < measured.line_weight < 8
    assert measured.coverage > 0.85


def test_a_model_of_another_task_says_nothing(tmp_path):
    assert style(small_recipe(emoji_folder(tmp_path, "paired"))) is None


def test_the_style_is_that_of_what_the_network_sees(tmp_path):
    folder = emoji_folder(tmp_path, "paired")
    large, small = (style(drawings_recipe(folder, resize=resize)) for resize in (128, 64))
    assert (small.width, small.height) == (64, 64)
    assert small.line_weight == pytest.approx(large.line_weight / 2, rel=0.3)


@pytest.mark.parametrize("layout", ["side_by_side", "unpaired"])
def test_the_drawings_are_found_in_every_kind_of_folder(tmp_path, layout):
    pairs = style(drawings_recipe(emoji_folder(tmp_path / "pairs", "paired")))
    folder = emoji_folder(tmp_path / layout, layout)
    if layout == "side_by_side":
        recipe = drawings_recipe(folder, kind="side_by_side", source_on="right")
    else:
        recipe = small_recipe(folder, "cyclegan").model_copy(update={"task": "sketch_to_photo"})
    assert style(recipe) == pairs


def test_a_dry_run_says_so_too_where_nothing_is_drawn(tmp_path):
    for side in ("source", "target"):
        (tmp_path / "train" / side).mkdir(parents=True)
        Image.new("L", (32, 32), 255).save(tmp_path / "train" / side / "blank.png")
    recipe = drawings_recipe(tmp_path)
    for start in (lambda: describe(recipe), lambda: train(recipe, tmp_path / "run", show_progress=False)):
        with pytest.raises(ImageError, match="no drawing is visible in 1 pictures, they are empty: give drawings"):
            start()
    assert not (tmp_path / "run").exists()


def test_the_recipes_for_drawings_are_those_of_their_task():
    names = ["sketch_to_photo", "sketch_to_photo_small", "sketch_to_photo_unpaired"]
    assert [read_recipe(name).task for name in names] == ["sketch_to_photo"] * 3
    assert [read_recipe(name).data.kind for name in names] == ["paired", "paired", "unpaired"]
