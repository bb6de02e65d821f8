"""Objectives: their terms on values that can be checked by hand, and the loop's rules around them."""

import math

import pytest
import torch
from torch import nn

from translate.data.batches import Paired, Unpaired
from translate.objectives import OBJECTIVES, CycleGAN, PerceptualGAN, Pix2Pix, Pixel
from translate.objectives.terms import discriminator_terms, frozen, judge, penalty_terms


class Scale(nn.Module):
    """A generator that multiplies: every term can be computed in the head."""

    in_channels = out_channels = 1

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, image):
        return self.factor * image


class Mean(nn.Module):
    """A discriminator of one scale and two layers whose logits are the mean of the image, times a weight."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, image):
        return [[2 * image, self.weight * image.mean(dim=(1, 2, 3), keepdim=True)]]


def pix2pix(**settings):
    return Pix2Pix(generators={"generator": Scale(2.0)}, discriminators={"discriminator": Mean()}, **settings)


def cyclegan(**settings):
    return CycleGAN(
        generators={"a_to_b": Scale(2.0), "b_to_a": Scale(3.0)},
        discriminators={"discriminator_a": Mean(), "discriminator_b": Mean()},
        **settings,
    )


def perceptual_gan(**settings):
    return PerceptualGAN(generators={"generator": Scale(2.0)}, discriminators={"discriminator": Mean()}, **settings)


PAIR = Paired(torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2), ["x", "y"])
APART = Unpaired(torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5), ["x"], ["y"])


def test_pix2pix_terms_are_those_of_the_paper():
    terms, fakes, _ = pix2pix(l1_weight=100).generator_terms(PAIR)
    # output 2, target 0; the discriminator sees source 1 beside output 2: mean 1.5, (1.5 - 1)^2 = 0.25 in least squares
    assert {name: term.item() for name, term in terms.items()} == {"g/gan": 0.25, "g/l1": 200.0}
    assert fakes["pair"].shape == (2, 2, 2, 2)
    assert not fakes["pair"].requires_grad


def test_pix2pix_feature_matching_compares_layers_before_the_logits():
    terms, *_ = pix2pix(feature_matching_weight=10).generator_terms(PAIR)
    # features are twice the pair: source equal, output 2 against target 0 is 4; the mean over both channels is 2
    assert terms["g/feature_matching"].item() == pytest.approx(20.0)


def test_cyclegan_terms_are_those_of_the_paper():
    terms, fakes, _ = cyclegan(cycle_weight=10, identity_weight=0.5).generator_terms(APART)
    assert {name: round(term.item(), 4) for name, term in terms.items()} == {
        "g/gan_a": 0.25,  # b_to_a(0.5) = 1.5
        "g/gan_b": 1.0,  # a_to_b(1) = 2
        "g/cycle_a": 50.0,  # 10 |3 * 2 * 1 - 1|
        "g/cycle_b": 25.0,  # 10 |2 * 3 * 0.5 - 0.5|
        "g/identity_a": 10.0,  # 5 |3 - 1|
        "g/identity_b": 2.5,  # 5 |1 - 0.5|
    }
    assert {name: fake.mean().item() for name, fake in fakes.items()} == {"a": 1.5, "b": 2.0}


def test_cyclegan_refuses_identity_between_kinds_of_other_channels():
    grey = Scale(1.0)
    grey.out_channels = 3
    with pytest.raises(ValueError, match="the identity term needs kinds of equal channels"):
        CycleGAN(generators={"a_to_b": grey, "b_to_a": grey}, discriminators={})


@pytest.mark.parametrize(("distance", "value"), [("l1", 2.0), ("mse", 4.0), ("charbonnier", (4 + 1e-6) ** 0.5)])
def test_pixel_has_the_one_term_of_its_distance(distance, value):
    objective = Pixel(generators={"generator": Scale(2.0)}, discriminators={}, distance=distance)
    terms, fakes, _ = objective.generator_terms(PAIR)  # output 2, target 0
    assert {name: term.item() for name, term in terms.items()} == {f"g/{distance}": pytest.approx(value)}
    assert (fakes, objective.comparisons(PAIR, fakes)) == ({}, {})
    terms[f"g/{distance}"].backward()
    assert objective.generators["generator"].factor.grad > 0


def test_an_objective_without_a_discriminator_has_no_terms_of_one():
    objective = Pixel(generators={"generator": Scale(2.0)}, discriminators={})
    comparisons = objective.comparisons(PAIR, {})
    assert discriminator_terms(judge(comparisons), objective.adversarial, objective.real_label) == {}
    assert penalty_terms(comparisons, "r1", 10.0) == {}


def test_perceptual_gan_terms_are_those_of_the_papers():
    terms, fakes, _ = perceptual_gan(feature_matching_weight=10).generator_terms(PAIR)
    # output 2, target 0; the discriminator sees the output alone: its logit is 2, its features are 4 against 0
    assert {name: round(term.item(), 5) for name, term in terms.items()} == {
        "g/gan": round(0.1 * math.log1p(math.exp(-2)), 5),  # the cross entropy of the logit towards 1
        "g/l1": 2.0,
        "g/feature_matching": 40.0,
    }
    assert fakes["output"].unique().tolist() == [2.0]
    assert not fakes["output"].requires_grad


def test_perceptual_gan_weighs_the_distance_of_features():
    class Apart(nn.Module):
        def forward(self, image, target):
            return 3 * (image - target).abs().mean()

    terms, *_ = perceptual_gan(features=Apart(), perceptual_weight=0.5).generator_terms(PAIR)
    assert terms["g/perceptual"].item() == 0.5 * 3 * 2
    assert terms["g/perceptual"].requires_grad
    with pytest.raises(
        ValueError, match="a perceptual_weight needs features: give them, or set perceptual_weight to 0"
    ):
        perceptual_gan(perceptual_weight=0.5)


def test_perceptual_gan_compares_targets_with_outputs():
    objective = perceptual_gan()
    discriminator, real, fake = objective.comparisons(PAIR, {"output": torch.full((2, 1, 2, 2), 3.0)})[""]
    assert discriminator is objective.discriminators["discriminator"]
    assert (real.unique().tolist(), fake.unique().tolist()) == ([0.0], [3.0])


@pytest.mark.parametrize("name", ["l1_weight", "gan_weight", "perceptual_weight", "feature_matching_weight"])
def test_perceptual_gan_refuses_negative_weights(name):
    with pytest.raises(ValueError, match=rf"{name} must not be negative, got -0\.5: use 0 to leave the term out"):
        perceptual_gan(**{name: -0.5})


def test_perceptual_gan_refuses_a_label_that_its_loss_does_not_have():
    with pytest.raises(ValueError, match="the hinge loss has no label to smooth"):
        perceptual_gan(adversarial="hinge", real_label=0.9)


def test_the_discriminator_term_compares_real_with_fake():
    objective = pix2pix()
    comparisons = objective.comparisons(PAIR, {"pair": torch.full((2, 2, 2, 2), 1.5)})
    # real: 1 beside 0, mean 0.5, (0.5 - 1)^2 = 0.25; fake: 1.5^2 = 2.25; half of the sum
    assert discriminator_terms(judge(comparisons), "lsgan", 1.0)["d/gan"].item() == pytest.approx(1.25)
    # with the real label at 0.5 the real part is 0
    assert discriminator_terms(judge(comparisons), "lsgan", 0.5)["d/gan"].item() == pytest.approx(1.125)


@pytest.mark.parametrize(("kind", "name"), [("r1", "d/r1"), ("gradient_penalty", "d/gradient_penalty")])
def test_a_penalty_is_applied_and_changes_the_discriminators_gradient(kind, name):
    objective = pix2pix()
    comparisons = objective.comparisons(PAIR, {"pair": torch.full((2, 2, 2, 2), 1.5)})
    weight = objective.discriminators["discriminator"].weight
    terms = penalty_terms(comparisons, kind, 10.0)
    # The logit is weight * mean of 8 values, so its gradient has 8 entries of 1/8: squared norm 1/8.
    squared = 1 / 8
    expected = 10 * squared / 2 if kind == "r1" else 10 * (squared**0.5 - 1) ** 2
    assert terms[name].item() == pytest.approx(expected, rel=1e-5)
    terms[name].backward()
    assert weight.grad.abs() > 0.1


def test_no_penalty_is_no_term():
    objective = pix2pix()
    assert penalty_terms(objective.comparisons(PAIR, {"pair": torch.zeros(2, 2, 2, 2)}), "none", 10.0) == {}


def test_frozen_leaves_what_was_frozen_before():
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    with frozen([network]):
        assert not network.weight.requires_grad
    assert network.weight.requires_grad
    assert not network.bias.requires_grad


def test_every_objective_says_which_channels_its_networks_have():
    assert OBJECTIVES["pix2pix"].discriminator_channels(1, 3) == {"discriminator": (1, 3)}
    assert OBJECTIVES["cyclegan"].generator_channels(1, 3) == {"a_to_b": (1, 3), "b_to_a": (3, 1)}
    for name in ("pixel", "perceptual_gan"):
        assert OBJECTIVES[name].generator_channels(1, 3) == {"generator": (1, 3)}
    assert OBJECTIVES["pixel"].discriminator_channels(1, 3) == {}
    assert OBJECTIVES["perceptual_gan"].discriminator_channels(1, 3) == {"discriminator": (3,)}
