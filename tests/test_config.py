"""Recipes: what is read, and every way to refuse one."""

import pytest
from conftest import small_recipe

from translate.config import check_recipe, read_recipe, recipe_names, write_yaml
from translate.recipe import ConfigError


def test_every_shipped_recipe_is_valid_and_survives_being_written(tmp_path):
    for name in recipe_names():
        recipe = read_recipe(name)
        (tmp_path / "recipe.yaml").write_text(write_yaml(recipe))
        assert read_recipe(tmp_path / "recipe.yaml") == recipe


def test_1e_4_is_a_number_in_a_file_and_on_the_command_line(tmp_path):
    (tmp_path / "r.yaml").write_text(write_yaml(read_recipe("pix2pix")).replace("0.0002", "1e-4"))
    assert read_recipe(tmp_path / "r.yaml").optimizer.learning_rate == 1e-4
    assert read_recipe("pix2pix", {"optimizer.learning_rate": "1e-4"}).optimizer.learning_rate == 1e-4


def test_an_override_reaches_a_nested_key_and_a_list():
    recipe = read_recipe("pix2pix", {"generator.width": "8", "optimizer.betas": "[0, 0.9]", "data.crop": "null"})
    assert (recipe.generator.width, recipe.optimizer.betas, recipe.data.crop) == (8, (0.0, 0.9), None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.stpes", "5", r"--training.stpes: unknown key 'training.stpes'; did you mean 'training.steps'\?"),
        ("generator.widht", "5", "unknown key 'generator.widht'"),
        ("lr", "5", "unknown key 'lr'"),
        ("trainnig.steps", "5", r"--trainnig.steps: unknown key 'trainnig'; did you mean 'training'\?"),
        ("training.steps", "true", "training.steps must be int, got True"),
        ("training.steps", "1.5", "training.steps must be int, got 1.5"),
        ("training.steps", "many", "training.steps must be int, got 'many'"),
        ("optimizer.learning_rate", "0", "optimizer.learning_rate must be positive, got 0"),
        ("optimizer.learning_rate", "fast", "optimizer.learning_rate must be a number, got 'fast'"),
        ("optimizer.learning_rate", ".nan", "optimizer.learning_rate must be a finite number"),
        ("data.flip", "1", "data.flip must be true or false, got 1"),
        ("task", "5", "task must be a text, got 5"),
        ("training", "5", "training must be a section with keys of its own, got 5"),
        (
            "data.kind",
            "trios",
            "must be one of 'paired', 'side_by_side', 'unpaired', 'degraded', 'neighbouring_slices' or ",
        ),
        ("data.scale", "5", "data.scale must be one of 1, 2, 3, 4 or 8, got 5"),
        ("data.degradation.kind", "awful", "data.degradation.kind must be one of 'bicubic' or 'real', got 'awful'"),
        ("data.degradation.first.blurr", "1", "unknown key .*; did you mean 'data.degradation.first.blur'?"),
        ("data.degradation.first.noise", "[3, 1]", "must be two numbers, the smaller one first, got .3, 1."),
        ("discriminator.name", "judge", "discriminator.name must be one of 'patchgan', .*'unet', got 'judge'"),
        ("discriminator.widht", "4", "unknown key 'discriminator.widht'; did you mean 'discriminator.width'?"),
        ("discriminator", "{width: 4}", "discriminator.name is missing: it says which one"),
        ("objective", "{name: pixel, distance: l3}", "must be one of 'l1', 'charbonnier' or 'mse', got 'l3'"),
        ("objective.features", "x", "unknown key 'objective.features'"),
        ("initialisation.kind", "none", "'orthogonal' or 'constructor', got 'none'"),
        ("generator.name", "pix3pix", "generator.name must be one of 'unet', 'resnet', .*'identity', got 'pix3pix'"),
        (
            "generator.norm",
            "layer",
            "generator.norm must be one of 'instance', 'batch', 'group' or 'none', got 'layer'",
        ),
        ("optimizer.betas", "[0.5, 1.5]", r"optimizer.betas.1 must be less than 1, got 1.5"),
        ("training.steps.more", "1", "--training.steps.more: steps is a value, it has no keys inside"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_its_place(key, value, message):
    with pytest.raises(ConfigError, match=message):
        read_recipe("pix2pix", {key: value})


def test_all_problems_are_listed_at_once_with_file_and_line(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("generator: {name: unet}\ndiscriminator: {name: patchgan}\ntraining:\n  steps: 0\n  sed: 1\n")
    with pytest.raises(ConfigError) as error:
        read_recipe(path)
    lines = str(error.value).splitlines()
    assert any(line.startswith(f"{path}:4: training.steps must be positive") for line in lines)
    assert any(line.startswith(f"{path}:5: unknown key 'training.sed'") and "'training.seed'" in line for line in lines)
    assert any("objective is missing" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", r"r.yaml:2: a is given twice, first at .*r.yaml:1"),
        ("a: [1\n", "is not valid YAML"),
        ("- 1\n", "must hold keys and values, got list"),
        ("generator: {width: 3}\n", "generator.name is missing"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_recipe(tmp_path / "r.yaml")


def test_an_unknown_recipe_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"unknown recipe 'pix3pix'; did you mean 'pix2pix'\?: give the path"):
        read_recipe("pix3pix")
    with pytest.raises(ConfigError, match=r"there is no recipe file missing\.yaml"):
        read_recipe("missing.yaml")


def test_a_mistaken_constructor_value_is_a_recipe_error(paired_folder):
    from translate.training.setup import build_networks

    recipe = small_recipe(paired_folder, generator={"name": "unet", "width": 0})
    with pytest.raises(ConfigError, match=r"generator 'unet': .*width"):
        build_networks(recipe)


def test_values_from_json_are_checked_too():
    with pytest.raises(ConfigError, match="recipe: generator is missing"):
        check_recipe({})
