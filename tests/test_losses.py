"""Losses have the values of their docstrings, and refuse what would silently give others."""

import math

import pytest
import torch
from torch import nn

from translate.losses import (
    ADVERSARIAL,
    bce_discriminator,
    bce_generator,
    charbonnier,
    feature_matching,
    gradient_penalty,
    hinge_discriminator,
    hinge_generator,
    l1,
    lsgan_discriminator,
    lsgan_generator,
    mse,
    r1_penalty,
    wasserstein_discriminator,
    wasserstein_generator,
)
from translate.networks import MultiScalePatchGAN, PatchGAN, logits


def full(value, *shape):
    return torch.full(shape or (2, 1, 4, 4), float(value))


def close(value, expected):
    torch.testing.assert_close(value, torch.tensor(float(expected)))


def test_bce_is_ln_2_for_an_undecided_discriminator():
    close(bce_discriminator(full(0), full(0)), math.log(2))
    close(bce_generator(full(0)), math.log(2))


def test_bce_is_nearly_zero_for_a_perfect_discriminator_and_large_logits_stay_finite():
    close(bce_discriminator(full(100), full(-100)), 0)
    close(bce_discriminator(full(-100), full(100)), 100)
    close(bce_generator(full(-100)), 100)


def test_bce_with_a_smoothed_label_is_smallest_where_the_sigmoid_is_the_label():
    at_label = bce_discriminator(full(math.log(9)), full(-100), 0.9)  # sigmoid(ln 9) = 0.9
    close(at_label, -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / 2)
    assert at_label < bce_discriminator(full(100), full(-100), 0.9)


def test_lsgan_is_a_quarter_for_an_undecided_discriminator():
    close(lsgan_discriminator(full(0.5), full(0.5)), 0.25)
    close(lsgan_generator(full(0.5)), 0.25)


def test_lsgan_is_zero_for_a_perfect_discriminator_and_a_fooled_one():
    close(lsgan_discriminator(full(1), full(0)), 0)
    close(lsgan_discriminator(full(0.9), full(0), 0.9), 0)
    close(lsgan_generator(full(1)), 0)


def test_hinge_is_two_for_an_undecided_discriminator_and_gains_nothing_beyond_one():
    close(hinge_discriminator(full(0), full(0)), 2)
    close(hinge_discriminator(full(1), full(-1)), 0)
    close(hinge_discriminator(full(5), full(-7)), 0)
    close(hinge_generator(full(3)), -3)


def test_wasserstein_is_minus_the_distance_of_the_mean_logits():
    close(wasserstein_discriminator(full(3), full(1)), -2)
    close(wasserstein_generator(full(3)), -3)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_every_adversarial_loss_pulls_logits_the_right_way(name):
    real, fake, judged = (torch.zeros(3, requires_grad=True) for _ in range(3))
    ADVERSARIAL[name].discriminator(real, fake).backward()
    ADVERSARIAL[name].generator(judged).backward()
    assert (real.grad < 0).all()  # a step down the gradient raises the logits of real images
    assert (fake.grad >= 0).all()
    assert (judged.grad < 0).all()


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_real_and_fake_logits_are_averaged_apart(name):
    loss = ADVERSARIAL[name].discriminator
    torch.testing.assert_close(loss(full(0.3), full(-0.2)), loss(full(0.3, 5, 1), full(-0.2)))


@pytest.mark.parametrize("label", [0.0, 1.1, -1.0, math.nan])
@pytest.mark.parametrize("loss", [bce_discriminator, lsgan_discriminator])
def test_a_real_label_outside_its_interval_is_refused(loss, label):
    with pytest.raises(ValueError, match=f"real_label must be above 0 and at most 1, got {label}: 1 is no smoothing"):
        loss(full(0), full(0), label)


@pytest.mark.parametrize(("name", "loss"), [("hinge", hinge_discriminator), ("wasserstein", wasserstein_discriminator)])
def test_losses_without_labels_refuse_to_smooth_them(name, loss):
    with pytest.raises(
        ValueError, match=rf"the {name} loss has no label to smooth, got real_label=0\.9: use 1, or bce"
    ):
        loss(full(0), full(0), real_label=0.9)


def test_l1_and_mse_are_the_mean_of_absolute_and_squared_differences():
    prediction = torch.tensor([[1.0, -3.0]])
    close(l1(prediction, torch.zeros(1, 2)), 2)
    close(mse(prediction, torch.zeros(1, 2)), 5)


def test_charbonnier_is_epsilon_for_equal_images_and_l1_for_large_errors():
    close(charbonnier(torch.ones(1, 2), torch.ones(1, 2)), 1e-3)
    close(charbonnier(torch.tensor([[3.0, -5.0]]), torch.zeros(1, 2)), 4)
    close(charbonnier(torch.tensor([[3.0]]), torch.zeros(1, 1), epsilon=4.0), 5)  # 3, 4, 5


def test_charbonnier_is_smooth_where_l1_has_an_edge():
    slopes = []
    for error in (-1.0, -1e-6, 0.0, 1e-6, 1.0):
        prediction = torch.tensor([error], dtype=torch.float64, requires_grad=True)
        charbonnier(prediction, torch.zeros_like(prediction)).backward()
        slopes.append(prediction.grad.item())
    assert slopes == pytest.approx([-1, -1e-3, 0, 1e-3, 1], abs=1e-5)


@pytest.mark.parametrize("loss", [l1, mse, charbonnier])
def test_image_distances_refuse_to_broadcast(loss):
    message = rf"{loss.__name__} needs equal shapes, got \(2, 3, 8, 8\) and \(2, 1, 8, 8\): bring both"
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8))


def test_feature_matching_averages_layers_then_scales_and_leaves_the_logits_out():
    real = [[full(0), full(0, 1, 2), full(0)], [full(0), full(0)]]
    fake = [[full(1), full(3, 1, 2), full(99)], [full(6), full(99)]]
    close(feature_matching(fake, real), ((1 + 3) / 2 + 6) / 2)


def test_feature_matching_sends_no_gradient_into_the_real_images():
    discriminator = PatchGAN(width=2, layers=1)
    real, fake = (torch.rand(1, 3, 8, 8, requires_grad=True) for _ in range(2))
    feature_matching(discriminator(fake), discriminator(real)).backward()
    assert real.grad is None
    assert fake.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("fake", "real"),
    [
        ([[full(0)]], [[full(0)]]),
        ([], []),
        ([[full(0), full(0)]], [[full(0), full(0), full(0)]]),
        ([[full(0), full(0)]], [[full(0), full(0)]] * 2),
    ],
)
def test_feature_matching_refuses_outputs_that_do_not_match(fake, real):
    with pytest.raises(ValueError, match="needs the same layers of fake and real at every scale, at least 2, got"):
        feature_matching(fake, real)


def test_feature_matching_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"equal shapes, got \(2, 1\) and \(1, 1\)"):
        feature_matching([[full(0, 2, 1), full(0)]], [[full(0, 1, 1), full(0)]])


def sums(weight):
    """A discriminator whose verdict is weight times the sum of an image, as two equal scales of two equal patches."""
    return lambda image: [weight * image.sum(dim=(1, 2, 3)).repeat(2, 1).T] * 2


@pytest.mark.parametrize(("weight", "penalty"), [(0.5, 0), (1.0, 1), (1.5, 4), (0.0, 1)])
def test_the_gradient_penalty_is_zero_at_norm_one(weight, penalty):
    images = torch.rand(3, 1, 2, 2)  # the gradient's norm is weight * sqrt(4)
    close(gradient_penalty(sums(weight), images, torch.zeros(3, 1, 2, 2)), penalty)


def test_the_gradient_penalty_looks_between_real_and_fake_at_points_the_generator_draws():
    seen = []

    def discriminator(image):
        seen.append(image.detach())
        return [image.square()]

    real, fake = torch.zeros(64, 1, 2, 2), torch.ones(64, 1, 2, 2)
    values = [gradient_penalty(discriminator, real, fake, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert values[0] == values[1] != values[2]
    shares = seen[0].flatten(1)
    assert torch.equal(shares, shares[:, :1].expand(-1, 4))  # one point an image
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert 0.3 < shares.mean() < 0.7


@pytest.mark.parametrize("norm", ["instance", "group", "none"])
def test_penalties_train_a_discriminator_also_where_its_gradient_vanishes(norm):
    discriminator = MultiScalePatchGAN(width=2, layers=1, scales=2, norm=norm)
    for real in (torch.rand(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)):
        gradient_penalty(lambda image: logits(discriminator(image)), real, torch.zeros_like(real)).backward()
        real.requires_grad_()
        r1_penalty(logits(discriminator(real)), real).backward()
        gradients = [parameter.grad for parameter in discriminator.parameters() if parameter.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert sum(gradient.abs().sum() for gradient in gradients) > 0


def test_the_gradient_penalty_works_where_gradients_are_off():
    with torch.no_grad():
        close(gradient_penalty(sums(0.5), full(1, 1, 1, 2, 2), full(0, 1, 1, 2, 2)), 0)


def test_the_gradient_penalty_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"gradient_penalty needs equal shapes, got \(2, 1, 4, 4\) and \(1, 1, 4, 4\)"):
        gradient_penalty(sums(1), full(0), full(0, 1, 1, 4, 4))


def test_r1_is_half_the_squared_norm_of_the_gradient_averaged_over_images():
    real = torch.rand(3, 1, 2, 2, requires_grad=True)
    close(r1_penalty(sums(0.5)(real), real), 0.5)  # norm 1
    close(r1_penalty(sums(1.5)(real), real), 4.5)  # norm 3
    scale = torch.tensor([1.0, 3.0, 5.0])[:, None, None, None]
    close(r1_penalty(sums(0.5)(real * scale), real), (1 + 9 + 25) / 3 / 2)


def test_r1_can_be_minimised():
    layer = nn.Conv2d(1, 1, 1)
    real = torch.rand(2, 1, 4, 4, requires_grad=True)
    r1_penalty([layer(real)], real).backward()
    # The mean of 16 pixels, each weighted w / 16: the penalty is 16 (w / 16)^2 / 2, its derivative w / 16.
    torch.testing.assert_close(layer.weight.grad, layer.weight.detach() / 16)


def test_r1_asks_for_real_images_that_require_a_gradient():
    with pytest.raises(ValueError, match=r"got requires_grad=False: call real\.requires_grad_\(\) before"):
        r1_penalty([full(0)], full(0))
