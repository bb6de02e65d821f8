"""What is known to help against each failure, as keys of the recipe."""

from collections.abc import Callable
from typing import NamedTuple

from translate.health.verdict import (
    COLLAPSE,
    DIVERGED,
    GUESSING,
    OSCILLATING,
    OVERFITTING,
    WINNING,
    Remedy,
)
from translate.recipe import Recipe


def remedies_for(verdict: str, recipe: Recipe) -> tuple[Remedy, ...]:
    """What to try, the most promising first; what the recipe has already is left out."""
    return tuple(
        Remedy(known.key, known.value(recipe), known.why) for known in KNOWN.get(verdict, ()) if known.wanted(recipe)
    )


class Known(NamedTuple):
    """A remedy for any recipe."""

    key: str
    value: Callable[[Recipe], str]
    why: str
    wanted: Callable[[Recipe], bool]


def _rate(recipe: Recipe) -> float:
    return recipe.optimizer.discriminator_learning_rate or recipe.optimizer.learning_rate


def _setting(recipe: Recipe, section: str, key: str) -> object:
    return getattr(getattr(recipe, section), key, None)


R1 = Known(
    "penalty.kind",
    lambda recipe: "r1",
    "R1 keeps the discriminator's slope at real images flat, so that the generator is given a direction "
    "(Mescheder et al. 2018, arXiv:1801.04406); penalty.weight 1 to 100",
    lambda recipe: recipe.penalty.kind == "none",
)
MORE_R1 = Known(
    "penalty.weight",
    lambda recipe: f"{4 * recipe.penalty.weight:g}",
    "a larger weight of the penalty",
    lambda recipe: recipe.penalty.kind != "none",
)
SPECTRAL = Known(
    "discriminator.spectral_norm",
    lambda recipe: "true",
    "bounds the discriminator's slope everywhere (Miyato et al. 2018, arXiv:1802.05957); with discriminator.norm none",
    lambda recipe: _setting(recipe, "discriminator", "spectral_norm") is False,
)
SLOWER_CRITIC = Known(
    "optimizer.discriminator_learning_rate",
    lambda recipe: f"{_rate(recipe) / 4:g}",
    "a slower discriminator (two time-scales, TTUR: Heusel et al. 2017, arXiv:1706.08500)",
    lambda recipe: True,
)
FASTER_CRITIC = Known(
    "optimizer.discriminator_learning_rate",
    lambda recipe: f"{_rate(recipe) * 4:g}",
    "a faster discriminator (two time-scales, TTUR: Heusel et al. 2017, arXiv:1706.08500)",
    lambda recipe: True,
)
SMOOTHING = Known(
    "objective.real_label",
    lambda recipe: "0.9",
    "one-sided label smoothing keeps the discriminator from being sure (Salimans et al. 2016, arXiv:1606.03498)",
    lambda recipe: (
        _setting(recipe, "objective", "adversarial") in ("bce", "lsgan")
        and _setting(recipe, "objective", "real_label") == 1
    ),
)
NOISE = Known(
    "instance_noise.sigma",
    lambda recipe: "0.1",
    "noise on real and fake images makes them overlap, so that no discriminator can be perfect (Sonderby et al. 2016, "
    "arXiv:1610.04490)",
    lambda recipe: recipe.instance_noise.sigma == 0,
)
LEAST_SQUARES = Known(
    "objective.adversarial",
    lambda recipe: "lsgan",
    "the least-squares loss does not saturate (Mao et al. 2017, arXiv:1611.04076); hinge neither",
    lambda recipe: _setting(recipe, "objective", "adversarial") == "bce",
)
ADAPTIVE = Known(
    "augmentation.kind",
    lambda recipe: "adaptive",
    "augmentation of what the discriminator sees, as much as it overfits (ADA, Karras et al. 2020, arXiv:2006.06676); "
    "augmentation.images about a fifth of the images of the run",
    lambda recipe: recipe.augmentation.kind == "none",
)
MORE_DATA = Known(
    "data.flip",
    lambda recipe: "true",
    "more training images, or more augmentation of them: data.flip, data.zoom, data.crop",
    lambda recipe: not recipe.data.flip,
)
SMALLER_CRITIC = Known(
    "discriminator.width",
    lambda recipe: f"{max(1, int(str(_setting(recipe, 'discriminator', 'width'))) // 2)}",
    "a smaller discriminator has less room to learn its images by heart",
    lambda recipe: isinstance(_setting(recipe, "discriminator", "width"), int),
)
LARGER_CRITIC = Known(
    "discriminator.width",
    lambda recipe: f"{int(str(_setting(recipe, 'discriminator', 'width'))) * 2}",
    "a larger discriminator sees more",
    lambda recipe: isinstance(_setting(recipe, "discriminator", "width"), int),
)
MORE_GAN = Known(
    "objective.gan_weight",
    lambda recipe: f"{2 * float(str(_setting(recipe, 'objective', 'gan_weight'))):g}",
    "the adversarial term hardly counts beside the others: more weight, or less of theirs",
    lambda recipe: bool(_setting(recipe, "objective", "gan_weight")),
)
MATCHING = Known(
    "objective.feature_matching_weight",
    lambda recipe: "10",
    "each output must have the discriminator's features of its own target (Wang et al. 2018, arXiv:1711.11585)",
    lambda recipe: _setting(recipe, "objective", "feature_matching_weight") == 0 and recipe.data.kind != "unpaired",
)
MORE_L1 = Known(
    "objective.l1_weight",
    lambda recipe: f"{max(10.0, 4 * float(str(_setting(recipe, 'objective', 'l1_weight')))):g}",
    "each output is tied to its own target",
    lambda recipe: _setting(recipe, "objective", "l1_weight") is not None,
)
MORE_CYCLE = Known(
    "objective.cycle_weight",
    lambda recipe: f"{max(10.0, 2 * float(str(_setting(recipe, 'objective', 'cycle_weight')))):g}",
    "an output must tell which input it was made of",
    lambda recipe: _setting(recipe, "objective", "cycle_weight") is not None,
)
MINIBATCH = Known(
    "discriminator.minibatch_std",
    lambda recipe: "4",
    "lets the discriminator see that outputs of a batch are alike (Karras et al. 2018, arXiv:1710.10196); "
    "training.batch_size a multiple of it",
    lambda recipe: _setting(recipe, "discriminator", "minibatch_std") == 0,
)
POOL = Known(
    "training.image_pool",
    lambda recipe: "50",
    "the discriminator is shown earlier outputs again, so that an old trick does not work twice (Shrivastava et al. "
    "2017, arXiv:1612.07828)",
    lambda recipe: recipe.training.image_pool == 0,
)
AVERAGE = Known(
    "training.ema_half_life",
    lambda recipe: "2000",
    "an average of the generator's weights does not swing with it",
    lambda recipe: recipe.training.ema_half_life == 0,
)
SLOWER = Known(
    "optimizer.learning_rate",
    lambda recipe: f"{recipe.optimizer.learning_rate / 4:g}",
    "lower learning rates of both sides",
    lambda recipe: True,
)
CLIP = Known(
    "optimizer.clip_norm",
    lambda recipe: "1",
    "bounds the step that a single batch can cause; see health/gradient in the log for what is usual",
    lambda recipe: recipe.optimizer.clip_norm is None,
)
WARMUP = Known(
    "schedule.warmup",
    lambda recipe: "500",
    "a slow start of the learning rate",
    lambda recipe: recipe.schedule.warmup == 0,
)
FULL = Known(
    "training.precision",
    lambda recipe: "fp32",
    "half precision overflows at 65504",
    lambda recipe: recipe.training.precision == "fp16",
)
PENALISED = Known(
    "penalty.kind",
    lambda recipe: "gradient_penalty",
    "a Wasserstein critic has no bound without one (Gulrajani et al. 2017, arXiv:1704.00028)",
    lambda recipe: _setting(recipe, "objective", "adversarial") == "wasserstein" and recipe.penalty.kind == "none",
)
KNOWN: dict[str, tuple[Known, ...]] = {
    WINNING: (R1, MORE_R1, SLOWER_CRITIC, SPECTRAL, SMOOTHING, NOISE, LEAST_SQUARES),
    GUESSING: (FASTER_CRITIC, MORE_GAN, LARGER_CRITIC),
    COLLAPSE: (MATCHING, MORE_L1, MORE_CYCLE, MINIBATCH, R1, POOL, SLOWER),
    OSCILLATING: (SLOWER, R1, AVERAGE, SPECTRAL, POOL),
    OVERFITTING: (ADAPTIVE, MORE_DATA, R1, SMALLER_CRITIC, SLOWER_CRITIC),
    DIVERGED: (PENALISED, SLOWER, CLIP, WARMUP, FULL),
}
