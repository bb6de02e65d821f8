"""Reading a recipe: by name or path, with overrides, and every problem explained before anything starts."""

import difflib
import inspect
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from translate.networks import DISCRIMINATORS, GENERATORS
from translate.objectives import OBJECTIVES
from translate.recipe import ConfigError, Recipe


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers: 1e-4 is a number; a key given twice is an error."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def recipe_names() -> list[str]:
    """The recipes that ship, by name."""
    return sorted(path.name.removesuffix(".yaml") for path in _shipped().iterdir() if path.name.endswith(".yaml"))


def read_recipe(recipe: str | Path, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Read a recipe by name or path, apply dotted overrides, and check all of it.

    Args:
        recipe: a name that ships ("pix2pix") or the path of a YAML file.
        overrides: texts by dotted key, {"optimizer.learning_rate": "1e-4"}, read as YAML values.

    Raises:
        ConfigError: with every unknown key, wrong type and value out of range, its file and line, and suggestions.
    """
    label, text = _find(recipe)
    places: dict[str, str] = {}
    values = _parse(text, label, places)
    for key, value in (overrides or {}).items():
        _override(values, key, value, places)
    return check_recipe(values, places, label)


def check_recipe(values: dict[str, Any], places: Mapping[str, str] | None = None, label: str = "recipe") -> Recipe:
    """Validate plain values; `places` says for a dotted key where it was given.

    Raises:
        ConfigError: all problems at once.
    """
    try:
        return Recipe.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        problems = [_explain(dict(problem), places or {}, label) for problem in error.errors(include_url=False)]
        raise ConfigError("\n".join(dict.fromkeys(problems))) from None


def read_section(path: str | Path, model: type[BaseModel]) -> Any:
    """Read a YAML file that holds the settings of one part, such as a degradation.

    Raises:
        ConfigError: there is no such file, or it holds other keys or values than `model` allows.
    """
    if not Path(path).is_file():
        raise ConfigError(f"{str(path)!r} is no YAML file, and no name that is known here: give one of both")
    label, text = _find(path)
    places: dict[str, str] = {}
    values = _parse(text, label, places)
    try:
        return model.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_url=False):
            key = ".".join(map(str, problem["loc"]))
            hint = _suggest(key, _keys(model)) if problem["type"] == "extra_forbidden" else ""
            problems.append(f"{places.get(key, label)}: {key}: {problem['msg']}, got {problem['input']!r}{hint}")
        raise ConfigError("\n".join(problems)) from None


def write_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML, every key written out."""
    return yaml.safe_dump(recipe.to_json(), sort_keys=False)


def _shipped() -> Any:
    return resources.files("translate.configs")


def _find(recipe: str | Path) -> tuple[str, str]:
    path = Path(recipe)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        if not path.is_file():
            raise ConfigError(
                f"there is no recipe file {path}: give a YAML file, or one of {', '.join(recipe_names())}"
            )
        try:
            return str(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from None
    if str(recipe) not in recipe_names():
        raise ConfigError(
            f"unknown recipe {str(recipe)!r}{_suggest(str(recipe), recipe_names())}: "
            f"give the path of a YAML file, or one of {', '.join(recipe_names())}"
        )
    return f"{recipe}.yaml", _shipped().joinpath(f"{recipe}.yaml").read_text(encoding="utf-8")


def _parse(text: str, label: str, places: dict[str, str]) -> dict[str, Any]:
    try:
        node = yaml.compose(text, Loader=_Loader)
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{label} is not valid YAML: {error}") from None
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{label} must hold keys and values, got {type(values).__name__}")
    _locate(node, "", label, places)
    return values


def _locate(node: yaml.MappingNode, prefix: str, label: str, places: dict[str, str]) -> None:
    """Note file and line of every key, and refuse one that is given twice."""
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        where = f"{label}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode) or key.tag.rpartition(":")[2] not in {"str", "merge"}:
            raise ConfigError(f"{where}: {key.value!r} is no key, keys are texts: correct or quote it")
        if name in places:
            raise ConfigError(f"{where}: {name} is given twice, first at {places[name]}: keep one of them")
        places[name] = where
        if isinstance(value, yaml.MappingNode):
            _locate(value, f"{name}.", label, places)


def _override(values: dict[str, Any], key: str, text: str, places: dict[str, str]) -> None:
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        value = text
    *sections, last = key.split(".")
    inside = values
    for depth, section in enumerate(sections, start=1):
        if section not in inside:
            places[".".join(sections[:depth])] = f"--{key}"
        inside = inside.setdefault(section, {})
        if not isinstance(inside, dict):
            raise ConfigError(f"--{key}: {section} is a value, it has no keys inside")
    inside[last] = value
    places[key] = f"--{key}"


def _explain(problem: dict[str, Any], places: Mapping[str, str], label: str) -> str:
    """One problem in our words: place, key, what was given, what is allowed."""
    path = _dotted(problem["loc"])
    where = places.get(path, label)
    given = problem["input"]
    context = problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden" if path in _keys(Recipe):
            section, name = problem["loc"][:2]
            return f"{where}: {path} is no key of {section}.name {name!r}: remove it, or choose another {section}"
        case "extra_forbidden":
            return f"{where}: unknown key {path!r}{_suggest(path, _keys(Recipe))}"
        case "missing":
            return f"{where}: {path} is missing"
        case "union_tag_invalid":
            return f"{where}: {path}.name must be one of {context['expected_tags']}, got {context['tag']!r}"
        case "union_tag_not_found":
            return f"{where}: {path}.name is missing: it says which one"
        case "literal_error":
            return f"{where}: {path} must be one of {context['expected']}, got {given!r}"
        case "int_type" | "int_from_float":
            return f"{where}: {path} must be int, got {given!r}"
        case "float_type":
            return f"{where}: {path} must be a number, got {given!r}"
        case "bool_type":
            return f"{where}: {path} must be true or false, got {given!r}"
        case "string_type":
            return f"{where}: {path} must be a text, got {given!r}"
        case "list_type" | "tuple_type":
            return f"{where}: {path} must be a list in brackets, [a, b], got {given!r}"
        case "too_long":
            return f"{where}: {path} must have at most {context['max_length']} entries, got {given!r}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{where}: {path} must be a section with keys of its own, got {given!r}"
        case "greater_than" if context["gt"] == 0:
            return f"{where}: {path} must be positive, got {given!r}"
    message = problem["msg"].removeprefix("Input should be ")
    return f"{where}: {path} must be {message}, got {given!r}"


def _dotted(location: tuple[Any, ...]) -> str:
    """The key as the recipe writes it: without the tags that pydantic adds for a section chosen by its name."""
    registries = {"generator": GENERATORS, "discriminator": DISCRIMINATORS, "objective": OBJECTIVES}
    parts = [str(part) for part in location]
    if len(parts) > 1 and parts[1] in registries.get(parts[0], {}):
        del parts[1]
    return ".".join(parts)


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of a schema."""
    keys = []
    for name, field in model.model_fields.items():
        keys.append(f"{prefix}{name}")
        for section in _sections(field.annotation):
            keys += _keys(section, f"{prefix}{name}.")
    return keys


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for part in get_args(annotation) for section in _sections(part)] if get_origin(annotation) else []


def _suggest(given: str, allowed: list[str]) -> str:
    """'; did you mean X?' by the whole key, or by its last part."""
    close = difflib.get_close_matches(given, allowed, n=1, cutoff=0.6)
    if not close:
        last = given.rsplit(".", 1)[-1]
        close = [key for key in allowed if key.rsplit(".", 1)[-1] == last][:1]
    return f"; did you mean {close[0]!r}?" if close else ""
