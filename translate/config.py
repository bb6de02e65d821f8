"""Recipes: the typed schema, and reading, overriding and checking a recipe before anything starts.

The schema of a network or an objective is the signature of its constructor: there is no second list to keep.
"""

import difflib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from translate.data.datasets import DataConfig
from translate.networks import DISCRIMINATORS, GENERATORS
from translate.objectives import OBJECTIVES


class ConfigError(ValueError):
    """A recipe that cannot be run; the message lists every problem with its place."""


class Section(BaseModel):
    """A part of a recipe: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _schema_of(name: str, build: Callable[..., Any], without: set[str]) -> type[Section]:
    """The section {name: NAME, ...} whose other keys are the constructor's arguments."""
    hints = get_type_hints(build.__init__ if inspect.isclass(build) else build)
    fields: dict[str, Any] = {"name": (Literal[name], ...)}
    for parameter in inspect.signature(build).parameters.values():
        if parameter.name not in without:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[parameter.name] = (hints[parameter.name], default)
    return create_model(build.__name__, __base__=Section, **fields)


def _one_of(registry: Mapping[str, Callable[..., Any]], without: set[str]) -> Any:
    sections = tuple(_schema_of(name, build, without) for name, build in registry.items())
    return Annotated[Union[sections], Field(discriminator="name")] if len(sections) > 1 else sections[0]  # noqa: UP007


if TYPE_CHECKING:
    GeneratorConfig: TypeAlias = Any
    DiscriminatorConfig: TypeAlias = Any
    ObjectiveConfig: TypeAlias = Any
else:
    GeneratorConfig = _one_of(GENERATORS, {"in_channels", "out_channels"})
    DiscriminatorConfig = _one_of(DISCRIMINATORS, {"in_channels"})
    ObjectiveConfig = _one_of(OBJECTIVES, {"generators", "discriminators"})


class InitialisationConfig(Section):
    """How the weights start."""

    kind: Literal["normal", "xavier", "kaiming", "orthogonal"] = "normal"
    gain: float = Field(0.02, gt=0)  # standard deviation of the normal one


class OptimizerConfig(Section):
    """Adam on both sides."""

    learning_rate: float = Field(2e-4, gt=0)
    discriminator_learning_rate: float | None = Field(None, gt=0)  # None: the generator's
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.5, 0.999)
    clip_norm: float | None = Field(None, gt=0)  # largest gradient norm of each side; None: no clipping


class ScheduleConfig(Section):
    """The learning rate over the run, relative to its peak."""

    kind: Literal["linear", "cosine", "constant"] = "linear"
    hold: float = Field(0.5, ge=0, le=1)  # share of the steps at the peak before the decay
    warmup: int = Field(0, ge=0)  # steps of linear rise from 0


class PenaltyConfig(Section):
    """Gradient penalty of the discriminators."""

    kind: Literal["none", "r1", "gradient_penalty"] = "none"
    weight: float = Field(10.0, gt=0)
    every: int = Field(16, gt=0)  # steps; the weight is multiplied by it (lazy regularisation)


class TrainingConfig(Section):
    """The loop."""

    steps: int = Field(100_000, gt=0)  # optimizer steps
    batch_size: int = Field(1, gt=0)  # images per process and micro-step
    accumulation: int = Field(1, gt=0)  # micro-steps per optimizer step
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = "auto"  # auto: bf16 where the device is good at it
    image_pool: int = Field(0, ge=0)  # past fakes shown to the discriminators again; 50 in CycleGAN, 0: none
    ema_half_life: float = Field(0.0, ge=0)  # in images; 0: no average of the generators' weights
    start_from: str | None = None  # model folder or hub id whose networks are the start
    compile: bool = False
    channels_last: bool = False
    seed: int = Field(0, ge=0, lt=2**32)


class ValidationConfig(Section):
    """Figures on val/, from the averaged generators if there are any."""

    every: int = Field(1000, gt=0)  # steps
    images: int = Field(100, gt=0)  # at most so many


class LoggingConfig(Section):
    """What is written while it trains."""

    every: int = Field(50, gt=0)  # steps whose losses are averaged into one record
    samples_every: int = Field(1000, gt=0)  # steps between sample grids
    samples: int = Field(6, gt=0)  # rows of a grid
    trackers: list[Literal["tensorboard", "wandb"]] = []


class CheckpointConfig(Section):
    """The training state."""

    every: int = Field(1000, gt=0)  # steps
    keep: int = Field(2, gt=0)  # newest ones kept; at least 2 gives a fallback for a damaged one


class Recipe(Section):
    """One training run."""

    task: str = "translation"  # kept with the model
    follow_input_channels: bool = False  # True: grey in, grey out, whatever the model's channels (restoration)
    data: DataConfig = DataConfig()
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    initialisation: InitialisationConfig = InitialisationConfig()
    objective: ObjectiveConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    penalty: PenaltyConfig = PenaltyConfig()
    training: TrainingConfig = TrainingConfig()
    validation: ValidationConfig = ValidationConfig()
    logging: LoggingConfig = LoggingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


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
    for section in sections:
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
