"""The model folder: config.json and safetensors, everything needed to rebuild and to use a model."""

import json
import logging
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from torch import nn

import translate
from translate.checkpoint import (
    CheckpointError,
    load_tensors,
    load_weights,
    recover_folder,
    save_tensors,
    write_folder,
)
from translate.contract import IntensityContract
from translate.data.drawing_style import DrawingStyle
from translate.data.intensity import IntensityRange
from translate.data.splits import RangeConfig
from translate.networks import GENERATORS
from translate.tiling.probe import Facts

logger = logging.getLogger(__name__)
CONFIG = "config.json"
FILES = (CONFIG, "*.safetensors", "README.md")  # what makes a model folder; nothing else is copied, up or down
CACHE = "backends"  # a folder in a model folder, of what translate.backends made of the model; not copied either
Name = Annotated[str, StringConstraints(pattern=r"^\w+$")]  # of a network: it becomes a file name


class NetworkConfig(BaseModel):
    """A network by its name in the registry and all arguments of its constructor, channels included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    arguments: dict[str, Any]


class Side(BaseModel):
    """One side of a generator's work: channels, and what -1 and 1 mean (None: the limits of the file's dtype).

    A picture has 1 or 3 channels, a slice of a scan 1 and as many as it has neighbours on both sides.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int = Field(ge=1)
    range: RangeConfig | None = None

    def intensity(self) -> IntensityRange | None:
        return self.range.build() if self.range else None


class GeneratorConfig(NetworkConfig):
    """A generator with what it takes and gives, and what its probe found (by which tiles are cut)."""

    input: Side
    output: Side
    tiling: Facts | None = None


class ModelConfig(BaseModel):
    """config.json. The first generator is the one that is used where none is named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    translate_version: str = translate.__version__
    task: str = "translation"
    follow_input_channels: bool = False
    generators: dict[Name, GeneratorConfig] = Field(min_length=1)
    discriminators: dict[Name, NetworkConfig] = {}
    recipe: dict[str, Any] | None = None
    data: dict[str, Any] | None = None  # fingerprint and counts of what it was trained on
    training: dict[str, Any] | None = None  # steps, images, figures on the validation split
    contract: IntensityContract | None = None  # of a model for scans
    drawing: DrawingStyle | None = None  # of a model for drawings: what it was trained on

    @model_validator(mode="after")
    def _channels_of_its_kind(self) -> Self:
        contract = self.contract
        for name, generator in self.generators.items():
            channels = (generator.input.channels, generator.output.channels)
            if contract is None and not set(channels) <= {1, 3}:
                raise ValueError(f"{name} has {channels} channels: a model for pictures has 1 or 3 on each side")
            if contract is not None and channels != (1 + 2 * contract.neighbours, 1):
                raise ValueError(
                    f"{name} has {channels} channels: a model for scans with {contract.neighbours} neighbours on each "
                    f"side takes {1 + 2 * contract.neighbours} and gives 1"
                )
        return self


def build_network(config: NetworkConfig, registry: dict[str, type[nn.Module]]) -> nn.Module:
    """Build a network with fresh weights.

    Raises:
        CheckpointError: an unknown name, or arguments that its constructor refuses.
    """
    if config.name not in registry:
        raise CheckpointError(
            f"unknown network {config.name!r}, this version knows {', '.join(sorted(registry))}: "
            "the model needs a newer version"
        )
    try:
        return registry[config.name](**config.arguments)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the network {config.name!r} refuses the arguments in {CONFIG}: {error}") from None


def save_model(folder: Path, config: ModelConfig, networks: dict[str, nn.Module]) -> None:
    """Write a model folder, whole or not at all: config.json and, in float32, a safetensors file for each network."""

    def write(aside: Path) -> None:
        for name, network in networks.items():
            weights = {key: t.float() if t.is_floating_point() else t for key, t in network.state_dict().items()}
            save_tensors(weights, aside / f"{name}.safetensors")
        (aside / CONFIG).write_text(json.dumps(config.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")

    expected = config.generators.keys() | config.discriminators.keys()
    assert networks.keys() == expected, (networks.keys(), expected)
    write_folder(folder, write)


def read_config(folder: Path) -> ModelConfig:
    """Read config.json.

    Raises:
        CheckpointError: the folder or the file is missing, or the file is not a model's config.
    """
    recover_folder(folder)
    path = folder / CONFIG
    if not path.is_file():
        inside = folder / "model"
        advice = f"did you mean {inside}?" if (inside / CONFIG).is_file() else "give the model/ that training wrote"
        raise CheckpointError(f"{folder} is no model folder, it has no {CONFIG}: {advice}")
    try:
        return ModelConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is no config of a model of this version: {error}") from None


def load_generator(folder: Path, name: str | None = None) -> tuple[nn.Module, str, ModelConfig]:
    """Load one generator, by default the first.

    Raises:
        CheckpointError: the folder is damaged, or has no generator of that name, or its intensity contract is wrong.
    """
    config = read_config(folder)
    name = name or next(iter(config.generators))
    if name not in config.generators:
        raise CheckpointError(f"{folder} has no generator {name!r}: it has {', '.join(config.generators)}")
    if config.contract:
        sides = config.generators[name]
        config.contract.check(input=sides.input.intensity(), output=sides.output.intensity())
    generator = build_network(config.generators[name], GENERATORS)
    _check_channels(generator, config.generators[name])
    load_weights(generator, folder / f"{name}.safetensors")
    return generator, name, config


def _check_channels(generator: nn.Module, config: GeneratorConfig) -> None:
    """The sides must say what the network takes and gives. Raises CheckpointError."""
    network = (generator.in_channels, generator.out_channels)
    sides = (config.input.channels, config.output.channels)
    if network != sides:
        raise CheckpointError(
            f"the network {config.name!r} takes and gives {network} channels, but input and output in {CONFIG} have "
            f"{sides}: the file was changed, copy it again"
        )


def copy_files(folder: Path, target: Path) -> None:
    """Copy what makes a model folder into a folder that exists."""
    for path in (path for pattern in FILES for path in folder.glob(pattern)):
        shutil.copy(path, target)


def check_replaceable(folder: Path) -> None:
    """Refuse to write a model in the place of anything but a model.

    Raises:
        CheckpointError: it is a file, or a folder with other content, which would be lost.
    """
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file: give a new folder for the model")
    others = (
        [p.name for p in folder.iterdir() if not any(p.match(f) for f in (*FILES, CACHE))] if folder.is_dir() else []
    )
    if others:
        raise CheckpointError(
            f"{folder} holds {len(others)} files or folders that belong to no model, for example {sorted(others)[0]}: "
            "give a new or empty folder for the model, it is replaced as a whole"
        )


def load_parts(folder: Path, networks: dict[str, nn.Module]) -> None:
    """Start networks from what fits of a model folder: tensors of one name and shape; the others stay as they are.

    So a super-resolver for x4 begins with the trunk of one for x2, and a GAN with the generator of a pixel stage.

    Raises:
        CheckpointError: nothing of any network fits.
    """
    read_config(folder)
    taken = 0
    for name, network in networks.items():
        path = folder / f"{name}.safetensors"
        if not path.is_file():
            logger.info("%s begins anew: %s has no such network", name, folder)
            continue
        own = network.state_dict()
        fitting = {k: t for k, t in load_tensors(path).items() if k in own and own[k].shape == t.shape}
        network.load_state_dict(own | fitting)
        taken += len(fitting)
        new = sorted(own.keys() - fitting.keys())
        shown = f", {', '.join(new[:3])}{' and more' if len(new) > 3 else ''} begin anew" if new else ""
        logger.info("%s takes over %d of %d tensors of %s%s", name, len(fitting), len(own), folder, shown)
    if not taken:
        raise CheckpointError(
            f"nothing in {folder} fits the networks of the recipe ({', '.join(networks)}): give a model of their kind"
        )


def load_into(folder: Path, networks: dict[str, nn.Module]) -> None:
    """Start networks from the weights of a model folder, discriminators included.

    Raises:
        CheckpointError: a network is missing there or has another shape.
    """
    config = read_config(folder)
    have = config.generators.keys() | config.discriminators.keys()
    for name, network in networks.items():
        if name not in have:
            raise CheckpointError(
                f"{folder} has no network {name!r} to start from: it has {', '.join(sorted(have))}; "
                "training.start_partly takes over what there is"
            )
        try:
            load_weights(network, folder / f"{name}.safetensors")
        except CheckpointError as error:
            settings = {**config.generators, **config.discriminators}[name]
            raise CheckpointError(
                f"{error}; the model's {name} is {settings.name} with {settings.arguments}: give the recipe the same, "
                "or set training.start_partly to take over what fits"
            ) from None
