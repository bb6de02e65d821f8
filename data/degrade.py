"""How bad pictures come about, for super-resolution: a random plan of plain records, and its application.

Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833): blur, resize, noise and JPEG, twice, with ringing from sinc filters.
BSRGAN (Zhang et al. 2021, arXiv:2103.14006): the same in a random order. The plan says everything, also the seeds of
the noise: kept as JSON, it gives the same picture again with the same versions of NumPy and OpenCV.
"""

import math
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from translate.data.degradation_steps import METHODS, Step, apply
from translate.data.picture import ImageError


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise PydanticCustomError("range", "two numbers, the smaller one first")
    return limits


def _around_one(limits: tuple[float, float]) -> tuple[float, float]:
    if not limits[0] <= 1 <= limits[1]:
        raise PydanticCustomError("range", "two numbers, one of at most 1 and one of at least 1")
    return limits


def _odd(limits: tuple[int, int]) -> tuple[int, int]:
    if not limits[0] % 2 == limits[1] % 2 == 1:
        raise PydanticCustomError("range", "two odd numbers")
    return limits


Probability = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]
AroundOne = Annotated[tuple[Positive, Positive], AfterValidator(_around_one)]
Range = Annotated[tuple[Weight, Weight], AfterValidator(_rising)]
Size = Annotated[int, Field(ge=1)]
Sizes = Annotated[tuple[Size, Size], AfterValidator(_rising), AfterValidator(_odd)]
Quality = Annotated[int, Field(ge=1, le=100)]
Qualities = Annotated[tuple[Quality, Quality], AfterValidator(_rising)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Weights(_Section):
    """How often each of several things is drawn, relative to the others."""

    @model_validator(mode="after")
    def _not_all_zero(self) -> Self:
        if not any(weight for _, weight in self):
            raise PydanticCustomError("weights", "weights of which at least one is above 0")
        return self


class KernelWeights(_Weights):
    isotropic: Weight = 0.405
    anisotropic: Weight = 0.225
    generalised_isotropic: Weight = 0.108
    generalised_anisotropic: Weight = 0.027
    plateau_isotropic: Weight = 0.108
    plateau_anisotropic: Weight = 0.027
    sinc: Weight = 0.1


class ResizeWeights(_Weights):
    up: Weight = 0.2
    down: Weight = 0.7
    keep: Weight = 0.1


class StageConfig(_Section):
    """One round of blur, resize, noise and JPEG. Values are drawn evenly from their ranges, ends included."""

    blur: Probability = 1.0
    kernel_weights: KernelWeights = KernelWeights()
    kernel_size: Sizes = (7, 21)  # pixels, odd
    sigma: PositiveRange = (0.2, 3.0)  # pixels
    generalised_beta: AroundOne = (0.5, 4.0)  # half of the draws below 1, half above
    plateau_beta: AroundOne = (1.0, 2.0)  # likewise
    resize_weights: ResizeWeights = ResizeWeights()
    resize: AroundOne = (0.15, 1.5)  # down to and up to, relative to the input's size (second stage: the output's)
    gaussian_noise: Probability = 0.5  # Poisson noise otherwise
    noise: Range = (1.0, 30.0)  # standard deviation of the Gaussian noise, in 8-bit grey levels
    poisson: Range = (0.05, 3.0)  # Poisson noise's deviation relative to that of one photon a grey level
    grey_noise: Probability = 0.4  # the same noise in all channels
    jpeg: Qualities = (30, 95)


class SecondStageConfig(StageConfig):
    """The second round, milder. Its JPEG is the last one and comes before or after the last resize."""

    blur: Probability = 0.8
    sigma: PositiveRange = (0.2, 1.5)
    resize_weights: ResizeWeights = ResizeWeights(up=0.3, down=0.4, keep=0.3)
    resize: AroundOne = (0.3, 1.2)
    noise: Range = (1.0, 25.0)
    poisson: Range = (0.05, 2.5)
    final_sinc: Probability = 0.8  # of a sinc filter after the last resize


class DegradationConfig(_Section):
    """How the small pictures of a data set are made. The defaults of "real" are those published for Real-ESRGAN."""

    kind: Literal["bicubic", "real"] = "bicubic"  # bicubic: MATLAB's, nothing random
    first: StageConfig = StageConfig()
    second: SecondStageConfig = SecondStageConfig()
    shuffle: bool = False  # all but the last resize, sinc and JPEG in random order (BSRGAN)


def degrade(image: np.ndarray, config: DegradationConfig, scale: int, seed: int) -> np.ndarray:
    """A bad picture (H / scale, W / scale, C) of a good one, in its dtype: `apply` of what `draw` gives.

    Args:
        image: (H, W, C), C is 1 (grey) or 3 (RGB), uint8; for kind "bicubic" also uint16 or float32.
        scale: divides H and W.
        seed: 0 or above; everything random follows from it.

    Raises:
        ImageError: for sides that are no multiples of scale, and as `draw` and `apply`.
    """
    steps = draw(config, scale, seed)
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ImageError(
            f"the picture has {height} x {width} pixels (H x W), scale {scale} needs multiples of {scale}: "
            f"crop it to {height - height % scale} x {width - width % scale}, so that source and target stay aligned"
        )
    return apply(image, steps, (height // scale, width // scale))


def draw(config: DegradationConfig, scale: int, seed: int) -> list[Step]:
    """A random plan for pictures that become `scale` times smaller, a pure function of its arguments.

    Raises:
        ImageError: for a scale below 1.
    """
    if scale < 1:
        raise ImageError(f"a degradation makes pictures smaller by a scale of at least 1, got {scale!r}")
    if config.kind == "bicubic":
        return [{"step": "imresize"}]
    rng = np.random.default_rng(seed)
    first, second = config.first, config.second
    steps = [*_draw_blur(rng, first), *_draw_resize(rng, first, 1.0), _draw_noise(rng, first), _draw_jpeg(rng, first)]
    steps += [*_draw_blur(rng, second), *_draw_resize(rng, second, 1 / scale), _draw_noise(rng, second)]
    if config.shuffle:
        steps = _shuffled(rng, steps)
    fit: list[Step] = [{"step": "fit", "method": _draw_method(rng)}]
    if rng.random() < second.final_sinc:
        fit.append(_draw_sinc(rng, _draw_size(rng, second), math.pi / 3))
    jpeg = [_draw_jpeg(rng, second)]
    return [*steps, *fit, *jpeg] if rng.random() < 0.5 else [*steps, *jpeg, *fit]


def _draw_blur(rng: np.random.Generator, stage: StageConfig) -> list[Step]:
    """One step, or none."""
    if rng.random() >= stage.blur:
        return []
    name, size = _draw_weighted(rng, stage.kernel_weights), _draw_size(rng, stage)
    if name == "sinc":
        return [_draw_sinc(rng, size, math.pi / 3 if size < 13 else math.pi / 5)]
    first = rng.uniform(*stage.sigma)
    turned = "anisotropic" in name
    sigma = [first, rng.uniform(*stage.sigma) if turned else first]
    angle = rng.uniform(-math.pi, math.pi) if turned else 0.0
    step: Step = {"step": "blur", "kernel": name, "size": size, "sigma": sigma, "angle": angle}
    if name.startswith("generalised"):
        step["beta"] = _draw_around_one(rng, stage.generalised_beta)
    elif name.startswith("plateau"):
        step["beta"] = _draw_around_one(rng, stage.plateau_beta)
    return [step]


def _draw_sinc(rng: np.random.Generator, size: int, lowest: float) -> Step:
    return {"step": "blur", "kernel": "sinc", "size": size, "cutoff": rng.uniform(lowest, math.pi)}


def _draw_size(rng: np.random.Generator, stage: StageConfig) -> int:
    smallest, largest = stage.kernel_size
    return smallest + 2 * int(rng.integers((largest - smallest) // 2 + 1))


def _draw_resize(rng: np.random.Generator, stage: StageConfig, base: float) -> list[Step]:
    """One step to a size around `base` times the input's, or none where it would keep the input's size."""
    low, high = stage.resize
    factor = base
    match _draw_weighted(rng, stage.resize_weights):
        case "up":
            factor = base * rng.uniform(1, high)
        case "down":
            factor = base * rng.uniform(low, 1)
    method = _draw_method(rng)
    return [] if factor == 1 else [{"step": "resize", "factor": factor, "method": method}]


def _draw_method(rng: np.random.Generator) -> str:
    return list(METHODS)[rng.integers(len(METHODS))]


def _draw_noise(rng: np.random.Generator, stage: StageConfig) -> Step:
    step: Step = {"step": "noise", "grey": bool(rng.random() < stage.grey_noise), "seed": int(rng.integers(2**32))}
    if rng.random() < stage.gaussian_noise:
        return {**step, "kind": "gaussian", "sigma": rng.uniform(*stage.noise)}
    return {**step, "kind": "poisson", "scale": rng.uniform(*stage.poisson)}


def _draw_jpeg(rng: np.random.Generator, stage: StageConfig) -> Step:
    low, high = stage.jpeg
    return {"step": "jpeg", "quality": int(rng.integers(low, high + 1))}


def _draw_around_one(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """Below 1 and above 1 with the same probability, whatever the limits."""
    return rng.uniform(limits[0], 1) if rng.random() < 0.5 else rng.uniform(1, limits[1])


def _draw_weighted(rng: np.random.Generator, weights: _Weights) -> str:
    """The name of one of the fields."""
    names, values = zip(*weights, strict=True)
    return names[rng.choice(len(names), p=np.divide(values, sum(values)))]


def _shuffled(rng: np.random.Generator, steps: list[Step]) -> list[Step]:
    """A random order, in which the resizes keep theirs: the second one would undo what the first did."""
    mixed = [steps[index] for index in rng.permutation(len(steps))]
    resizes = iter([step for step in steps if step["step"] == "resize"])
    return [next(resizes) if step["step"] == "resize" else step for step in mixed]
