"""Everything a run needs, resolved and checked before it starts."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch._functorch import config as functorch_config

from translate.data.augment import Geometry
from translate.data.build import build_dataset
from translate.data.cache import PictureCache
from translate.data.datasets import PairedImages, UnpairedImages
from translate.data.splits import Split, find_split, find_training
from translate.history import ImagePool
from translate.model_folder import GeneratorConfig, NetworkConfig, Side, load_into, load_parts
from translate.model_sources import find_model
from translate.networks import DISCRIMINATORS, GENERATORS, initialise
from translate.objectives import OBJECTIVES, Objective, PerceptualGAN
from translate.perceptual import load_perceptual_loss
from translate.processes import process_state
from translate.recipe import ConfigError, Recipe
from translate.tiling.facts import facts_of
from translate.training.checks import check_networks
from translate.training.ema import Ema
from translate.training.precision import Precision, choose_layout
from translate.training.step import Optimizers
from translate.views import AdaptiveProbability


@dataclass(frozen=True)
class Splits:
    """The files of a run."""

    train: Split
    val: Split | None

    def summary(self, root: Path) -> dict[str, Any]:
        """What the model folder keeps of the data: counts and fingerprint, no names."""
        return {
            "train": str(self.train),
            "val": str(self.val) if self.val else None,
            "fingerprint": self.train.fingerprint(root),
        }


@dataclass(frozen=True)
class Networks:
    """The networks unwrapped, by name, with what the model folder says of each."""

    generators: dict[str, nn.Module]
    discriminators: dict[str, nn.Module]
    generator_configs: dict[str, GeneratorConfig]
    discriminator_configs: dict[str, NetworkConfig]

    def all(self) -> dict[str, nn.Module]:
        return {**self.generators, **self.discriminators}


@dataclass(frozen=True)
class Trained:
    """What changes while it trains, and what steps it: all of it is in the training state."""

    networks: Networks
    objective: Objective  # holds the networks as Accelerate wrapped them
    optimizers: Optimizers  # as Accelerate wrapped them
    plain_optimizers: Optimizers
    ema: Ema | None
    pool: ImagePool
    controller: AdaptiveProbability | None  # of what the discriminators are shown, where it is adaptive

    def shown_generators(self) -> dict[str, nn.Module]:
        """The generators that are validated and kept: the averages where there are any."""
        return self.ema.networks if self.ema else self.networks.generators


def find_files(recipe: Recipe) -> Splits:
    """List and check the training and validation files."""
    return Splits(find_training(recipe.data), find_split(recipe.data, "val"))


def build_networks(recipe: Recipe) -> Networks:
    """Build and initialise every network of the objective from the global random state.

    Raises:
        ConfigError: a constructor refuses its settings.
    """
    data = recipe.data
    objective = OBJECTIVES[recipe.objective.name]
    taken, made = data.network_channels
    sides = {"source": Side(channels=taken, range=data.source_range)}
    sides["target"] = Side(channels=made, range=data.target_range)
    generator = recipe.generator.model_dump()
    discriminator = recipe.discriminator.model_dump() if recipe.discriminator else {}

    generator_configs, discriminator_configs = {}, {}
    for index, (name, channels) in enumerate(objective.generator_channels(taken, made).items()):
        given, shown = ("source", "target") if index == 0 else ("target", "source")
        arguments = _arguments(generator) | {"in_channels": channels[0], "out_channels": channels[1]}
        generator_configs[name] = GeneratorConfig(
            name=generator["name"], arguments=arguments, input=sides[given], output=sides[shown]
        )
    for name, judged in objective.discriminator_channels(taken, made).items():
        arguments = _arguments(discriminator) | {"in_channels": sum(judged)}
        discriminator_configs[name] = NetworkConfig(name=discriminator["name"], arguments=arguments)
    networks = Networks(
        {name: _build("generator", GENERATORS, config) for name, config in generator_configs.items()},
        {name: _build("discriminator", DISCRIMINATORS, config) for name, config in discriminator_configs.items()},
        generator_configs,
        discriminator_configs,
    )
    for name, generator_network in networks.generators.items():
        facts = facts_of(generator_network.eval())
        generator_configs[name] = generator_configs[name].model_copy(update={"tiling": facts})
    for network in networks.all().values():
        initialise(network.train(), recipe.initialisation.kind, recipe.initialisation.gain)
    check_networks(recipe, networks.generators, networks.discriminators)
    return networks


def build_objective(recipe: Recipe, networks: Networks) -> Objective:
    """The recipe's objective over these networks. Raises ConfigError where they do not fit it."""
    settings = recipe.objective.model_dump()
    build = OBJECTIVES[settings.pop("name")]
    if settings.get("perceptual_weight"):
        settings["features"] = load_perceptual_loss(settings["feature_weights"])
    try:
        objective: Objective = build(generators=networks.generators, discriminators=networks.discriminators, **settings)
    except ValueError as error:
        raise ConfigError(f"objective {recipe.objective.name!r}: {error}") from None
    return objective


def prepare(recipe: Recipe, networks: Networks, accelerator: Accelerator, precision: Precision) -> Trained:
    """Place the networks on the device, start them from a model if asked, and wrap them for Accelerate."""
    objective = build_objective(recipe, networks)
    if recipe.training.start_from:
        load = load_parts if recipe.training.start_partly else load_into
        load(find_model(recipe.training.start_from), networks.all())
    features = [objective.features] if isinstance(objective, PerceptualGAN) and objective.features else []
    for network in (*networks.all().values(), *features):
        _arrange(network, recipe, accelerator.device, precision)
    half_life = recipe.training.ema_half_life
    ema = Ema(networks.generators, half_life) if half_life else None
    plain = _optimizers(recipe, networks, fused=precision != "fp16")
    generators = {name: accelerator.prepare(network) for name, network in networks.generators.items()}
    discriminators = {name: accelerator.prepare(network) for name, network in networks.discriminators.items()}
    wrapped = dataclasses.replace(objective, generators=generators, discriminators=discriminators)  # type: ignore[type-var]
    critic = accelerator.prepare(plain.discriminator) if plain.discriminator else None
    optimizers = Optimizers(accelerator.prepare(plain.generator), critic)
    pool = ImagePool(recipe.training.image_pool, recipe.training.seed)
    return Trained(networks, wrapped, optimizers, plain, ema, pool, _controller(recipe, accelerator.device))


def build_datasets(
    recipe: Recipe, splits: Splits, first: Callable[[], Any]
) -> tuple[PairedImages | UnpairedImages, PairedImages | UnpairedImages]:
    """The augmented training set, and the plain set for figures and samples (val/, or the training files without one).

    Args:
        first: a context in which the main process goes before the others, for building the cache.
    """
    data, seed = recipe.data, recipe.training.seed
    cache = None
    if data.cache:
        assert data.folder is not None
        with first():
            cache = PictureCache.build(
                splits.train.files(),
                data.folder / "cache",
                source=splits.train.source,
                size=data.working_size(),
                limit=data.cache_limit,
                check=process_state().is_main_process,
            )
    plain = Geometry(resize=data.resize, frame=data.frame)
    train = build_dataset(data, splits.train, data.training_geometry(), seed, cache, data.training_tones())
    return train, build_dataset(data, splits.val or splits.train, plain, seed)


def build_unseen(recipe: Recipe, val: Split) -> PairedImages | UnpairedImages:
    """The validation set, resized and cropped as the training set is, without its random changes."""
    data = recipe.data
    geometry = Geometry(resize=data.resize, frame=data.frame, crop=data.crop)
    return build_dataset(data, val, geometry, recipe.training.seed)


def _controller(recipe: Recipe, device: torch.device) -> AdaptiveProbability | None:
    settings = recipe.augmentation
    return AdaptiveProbability(settings.target, settings.images, device) if settings.kind == "adaptive" else None


def count_parameters(network: nn.Module) -> int:
    """Parameters of a network, frozen ones included."""
    return sum(parameter.numel() for parameter in network.parameters())


def _arguments(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "name"}


def _build(side: str, registry: dict[str, type[nn.Module]], config: NetworkConfig) -> nn.Module:
    try:
        network = registry[config.name](**config.arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{side} {config.name!r}: {error}") from None
    if not count_parameters(network):
        raise ConfigError(f"{side} {config.name!r} has no weights to train: choose another {side}.name")
    return network


def _arrange(network: nn.Module, recipe: Recipe, device: torch.device, precision: Precision) -> None:
    network.to(device)
    if precision == "fp64":
        network.double()
    network.to(memory_format=choose_layout(recipe.training.channels_last, device, precision))  # type: ignore[call-overload]
    if recipe.training.compile:
        functorch_config.donated_buffer = False  # the signals differentiate a graph that is still needed
        mode = "reduce-overhead" if recipe.training.compile == "graphs" else None
        network.compile(mode=mode)  # in place: the state dict keeps its names


def _optimizers(recipe: Recipe, networks: Networks, *, fused: bool) -> Optimizers:
    settings = recipe.optimizer

    def adam(side: dict[str, nn.Module], rate: float) -> torch.optim.Optimizer:
        weights = [p for network in side.values() for p in network.parameters() if p.requires_grad]
        return torch.optim.Adam(weights, lr=rate, betas=settings.betas, fused=fused)

    critic_rate = settings.discriminator_learning_rate or settings.learning_rate
    critic = adam(networks.discriminators, critic_rate) if networks.discriminators else None
    return Optimizers(adam(networks.generators, settings.learning_rate), critic)
