"""Which signals of a run belong together in one plot, and how to read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chart:
    """One plot.

    Args:
        keys: regular expression of the record's keys; the groups that it finds are the label of the line.
        note: how to read it.
        each_side: CycleGAN's two discriminators get plots of their own: the group "side" is "_a" or "_b".
        scale: "log" draws what is not positive at the lower edge; "auto" is "log" where all is positive.
        marks: levels to compare with, and what they are.
        bounds: range of the vertical axis that is always shown; None: none.
        within: beyond it the axis never goes: a ratio of small differences can be anything.
        if_any: lines that are 0 all the time are left out.
    """

    title: str
    keys: str
    note: str
    each_side: bool = False
    scale: str = "linear"
    marks: tuple[tuple[float, str], ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)
    within: tuple[float, float] | None = None
    if_any: bool = False


SIDE = r"(?P<side>_[ab])?"
QUALITY = (
    Chart(
        "PSNR on val/ (dB)", r"val/(psnr)$", "Higher is better: how near outputs come to their targets, pixel by pixel."
    ),
    Chart("SSIM on val/", r"val/(ssim)$", "Higher is better, 1 is the target itself: how alike the structures are."),
    Chart(
        "Sliced Wasserstein distance on val/",
        r"val/(swd(?:_[ab])?)$",
        "Lower is better (x 1000): how far the outputs' textures are from those of real images.",
    ),
)
LOSSES = (
    Chart(
        "Losses of the generator",
        r"g/(.+)$",
        "Weighted terms as they are added up. A rising gan term means that the discriminator improves faster; only the "
        "others say how near the outputs are to their targets.",
        scale="auto",
    ),
    Chart(
        "Losses of the discriminator",
        r"d/(.+)$",
        "Near 0 for long: it wins. At 0.25 with LSGAN, 0.69 with BCE, 2 with hinge: it guesses.",
        scale="auto",
    ),
)
BALANCE = (
    Chart(
        "How often the discriminator is right",
        rf"health/(real_accuracy|fake_accuracy|val_accuracy){SIDE}$",
        "1 is always, 0.5 is guessing. All lines near 1 for long: it wins. Right on real images of training but not on "
        "those of val/: it has learned the training images by heart.",
        each_side=True,
        marks=((0.5, "guessing"),),
        bounds=(-0.02, 1.02),
    ),
    Chart(
        "How often it is right, by scale",
        rf"health/(real_accuracy|fake_accuracy){SIDE}/(scale_\d+)$",
        "Scale 0 sees the finest detail. A scale that always wins shows where outputs differ from real images.",
        each_side=True,
        marks=((0.5, "guessing"),),
        bounds=(-0.02, 1.02),
    ),
    Chart(
        "Overfitting of the discriminator",
        rf"health/(overfitting|r_t){SIDE}$",
        "How false val/ looks: 0 is like the training images, 1 is like outputs. r_t is how sure it is of the training "
        "images, 1 is always right; adaptive augmentation keeps it near its target.",
        marks=((0.6, "usual target of r_t"),),
        bounds=(-0.05, 1.02),
        within=(-1.05, 2.0),
    ),
    Chart(
        "Probability of adaptive augmentation",
        r"health/(augment)$",
        "How often what the discriminator sees is changed. It rises while the discriminator overfits.",
        bounds=(-0.02, 1.02),
    ),
)
OUTPUTS = (
    Chart(
        "Adversarial gradient against all others",
        rf"health/(gradient_ratio){SIDE}$",
        "How strongly the discriminator pulls at the outputs, relative to all other terms. A fall by a factor of ten "
        "and more means that the generator no longer learns from it.",
        scale="log",
    ),
    Chart(
        "Diversity of the outputs",
        rf"health/(diversity|diversity_of_inputs){SIDE}$",
        "How much outputs for different inputs differ: 1 is as much as the images they are compared with, 0 is one "
        "output for all (mode collapse).",
        marks=((1.0, "as different"),),
        bounds=(0, 1.1),
    ),
    Chart(
        "Checkerboard",
        rf"health/(checkerboard){SIDE}$",
        "How far periods of 2 and 4 pixels stand out: 1 is like the targets, 10 is a grid that can be seen, which "
        "generator.upsample resize avoids.",
        marks=((1.0, "like the targets"),),
        bounds=(0, 2),
    ),
)
STEADINESS = (
    Chart(
        "Gradient norm of each network",
        r"health/gradient/(.+)$",
        "Steady is good. Growth without end comes before a divergence; a fall towards 0 means that nothing is learned.",
        scale="log",
    ),
    Chart(
        "Change of the weights in one step",
        r"health/update/(.+)$",
        "Relative to the weights. About 0.001 is usual; far above 0.01 the learning rate is too high for this network.",
        scale="log",
    ),
    Chart(
        "Swing of the losses",
        r"health/swing/(.+)$",
        "Standard deviation within a record, over the mean. Growing swings of both sides are an oscillation.",
        bounds=(0, 0.5),
    ),
    Chart(
        "Steps that were lost",
        r"health/(skipped|nonfinite)/(.+)$",
        "Share of the steps whose losses or gradients were infinite or no number (NaN): they were left out.",
        bounds=(0, None),
        if_any=True,
    ),
)
