"""The typed schema of a recipe, which is also its documentation.

The schema of a network or an objective is the signature of its constructor: there is no second list to keep.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, Union, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from translate.data.splits import DataConfig
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
    ObjectiveConfig = _one_of(OBJECTIVES, {"generators", "discriminators", "features"})


class InitialisationConfig(Section):
    """How the weights start."""

    kind: Literal["normal", "xavier", "kaiming", "orthogonal", "constructor"] = "normal"
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


class InstanceNoiseConfig(Section):
    """Gaussian noise on what the discriminators are shown (Sonderby et al. 2016, arXiv:1610.04490)."""

    sigma: float = Field(0.0, ge=0, le=2)  # standard deviation in model space at the first step; 0: none
    until: float = Field(0.5, gt=0, le=1)  # share of the steps over which it falls linearly to 0


class AugmentationConfig(Section):
    """Random changes of what the discriminators are shown, of real and fake images alike; data.* changes the data.

    `fixed` is DiffAugment (Zhao et al. 2020, arXiv:2006.10738), `adaptive` moves the probability by how much the
    discriminator overfits (ADA, Karras et al. 2020, arXiv:2006.06676).
    """

    kind: Literal["none", "fixed", "adaptive"] = "none"
    policy: list[Literal["translate", "cutout", "colour", "flip", "rotate90", "rotate", "scale"]] = [
        "translate",
        "cutout",
        "colour",
    ]
    probability: float = Field(1.0, ge=0, le=1)  # of each change of each image; of kind fixed
    target: float = Field(0.6, ge=-1, le=1)  # of kind adaptive: r_t, the mean sign of the logits on real images
    images: int = Field(500_000, gt=0)  # of kind adaptive: in which the probability can go from 0 to 1


class HealthConfig(Section):
    """What is watched while a GAN trains, and what is done when something goes wrong.

    `warn` says it, `adjust` acts within bounds, `stop` ends the run. Steps whose losses or gradients are not finite
    are skipped in any case, and end the run after `skips` in a row.
    """

    every: int = Field(25, ge=0)  # steps at most between measurements that cost time; 0: no signals, no diagnosis
    action: Literal["warn", "adjust", "stop"] = "warn"
    warmup: int = Field(500, ge=0)  # steps of the networks before the first verdict: a young GAN is out of balance
    window: int = Field(5, ge=3, le=50)  # records (of logging.every steps) that a verdict rests on
    patience: int = Field(1000, gt=0)  # steps that it must be wrong, less those that it is not, before it is acted on
    skips: int = Field(100, gt=0)  # steps in a row that may be skipped


class TrainingConfig(Section):
    """The loop."""

    steps: int = Field(100_000, gt=0)  # optimizer steps
    batch_size: int = Field(1, gt=0)  # images per process and micro-step
    accumulation: int = Field(1, gt=0)  # micro-steps per optimizer step
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = "auto"  # auto: bf16 where the device is good at it
    image_pool: int = Field(0, ge=0)  # past fakes shown to the discriminators again; 50 in CycleGAN, 0: none
    ema_half_life: float = Field(0.0, ge=0)  # in images; 0: no average of the generators' weights
    start_from: str | None = None  # model folder or hub id whose networks are the start
    start_partly: bool = False  # True: take over what fits from start_from, and begin the rest anew (another scale)
    kernels: Literal["fast", "plain"] = "fast"  # on CPUs: fast is ours where they pay, equal within rounding
    compile: bool | Literal["graphs"] = False  # graphs: with CUDA graphs; either way kernels are plain
    channels_last: bool | Literal["auto"] = "auto"  # auto: where bf16 or fp16 is computed on a CUDA device
    seed: int = Field(0, ge=0, lt=2**32)


class ValidationConfig(Section):
    """Figures on val/, from the averaged generators if there are any."""

    every: int = Field(1000, gt=0)  # steps
    images: int = Field(100, gt=0)  # at most so many
    # Lowest and highest value, in the units of data.target_range, that figures and samples see: [-160, 240] of a CT.
    window: tuple[float, float] | None = None


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
    discriminator: DiscriminatorConfig | None = None  # of an objective that has one
    initialisation: InitialisationConfig = InitialisationConfig()
    objective: ObjectiveConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    penalty: PenaltyConfig = PenaltyConfig()
    instance_noise: InstanceNoiseConfig = InstanceNoiseConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    health: HealthConfig = HealthConfig()
    training: TrainingConfig = TrainingConfig()
    validation: ValidationConfig = ValidationConfig()
    logging: LoggingConfig = LoggingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
