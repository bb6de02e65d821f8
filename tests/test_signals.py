"""What is measured while a GAN trains, on tensors whose figures can be checked by eye, and on real pictures."""

import pytest
import torch
from skimage import data as skimage_data

from translate.health.signals import Spread, accuracies, checkerboard, derive, output_gradients, unseen
from translate.objectives.terms import Judged, Made, Translation


def judged(real, fake):
    return {"": Judged([torch.tensor(r) for r in real], [torch.tensor(f) for f in fake])}


def values(signals):
    return {name: round(value.item(), 6) for name, value in signals.items()}


@pytest.mark.parametrize(
    ("adversarial", "real", "fake"),
    [
        ("lsgan", [0.6, 0.9, 0.4, 1.2], [0.4, 0.6, 0.1, -3.0]),  # the line is 0.5
        ("bce", [0.1, 2.0, -0.1, 9.0], [-0.1, 0.1, -2.0, -3.0]),  # the line is 0
        ("hinge", [0.1, 2.0, -0.1, 9.0], [-0.1, 0.1, -2.0, -3.0]),
        ("wasserstein", [110.0, 120.0, 99.0, 130.0], [90.0, 103.0, 80.0, 70.0]),  # the middle of both means, 100.25
    ],
)
def test_accuracies_are_the_shares_on_the_right_side_of_the_loss_own_line(adversarial, real, fake):
    found = values(accuracies(judged([real], [fake]), adversarial))
    assert found == {"health/real_accuracy": 0.75, "health/fake_accuracy": 0.75}


def test_several_scales_have_accuracies_of_their_own():
    found = values(accuracies(judged([[1.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]), "lsgan"))
    assert found == {
        "health/real_accuracy": 0.75,
        "health/real_accuracy/scale_0": 1.0,
        "health/real_accuracy/scale_1": 0.5,
        "health/fake_accuracy": 0.5,
        "health/fake_accuracy/scale_0": 1.0,
        "health/fake_accuracy/scale_1": 0.0,
    }


@pytest.mark.parametrize("scale", [None, 1024.0])
def test_the_gradients_at_the_output_are_those_of_the_terms(scale):
    weight = torch.tensor(1.0, requires_grad=True)
    output = weight * torch.ones(2, 3, 4, 4)
    terms = {"g/gan": 5 * output.sum(), "g/l1": 3 * output.sum(), "g/mean": output.sum()}
    made = Made(terms, {}, {"": Translation(output, output, output)})
    found = values(output_gradients(made, None if scale is None else torch.tensor(scale)))
    assert found == {"health/gan_gradient": 5.0, "health/other_gradient": 4.0}
    torch.stack(list(terms.values())).sum().backward()  # the graph is still there
    assert weight.grad == 9 * output.numel()


def test_a_term_that_does_not_touch_the_output_pulls_with_nothing():
    weight = torch.tensor(1.0, requires_grad=True)
    output = weight * torch.ones(1, 1, 4, 4)
    made = Made({"g/gan": output.sum(), "g/identity": 2 * weight}, {}, {"": Translation(output, output, output)})
    assert values(output_gradients(made)) == {"health/gan_gradient": 1.0, "health/other_gradient": 0.0}


def test_no_adversarial_term_has_no_gradients():
    output = torch.ones(1, 1, 4, 4, requires_grad=True)
    assert output_gradients(Made({"g/l1": output.sum()}, {}, {"": Translation(output, output, output)})) == {}


def flat(*levels):
    return torch.tensor(levels)[:, None, None, None].expand(len(levels), 1, 32, 32).clone()


def test_spread_compares_each_image_with_the_one_before_it_across_steps():
    spread = Spread()
    first = spread.measure({"": Translation(flat(0.0), flat(0.5), flat(0.0))})
    assert first == {}  # one image differs from nothing
    second = values(spread.measure({"": Translation(flat(0.0), flat(0.5), flat(0.4))}))
    assert second == {"raw/spread_source": 0.0, "raw/spread_output": 0.0, "raw/spread_target": pytest.approx(0.16)}
    third = values(spread.measure({"": Translation(flat(0.0, 1.0), flat(0.5, 0.6), flat(0.4, 0.4))}))
    assert third["raw/spread_source"] == 0.5  # 0 to 0, 0 to 1
    assert third["raw/spread_output"] == pytest.approx(0.005)
    assert third["raw/spread_target"] == 0.0


def photographs():
    crops = [getattr(skimage_data, name)()[60:188, 60:188] for name in ("astronaut", "coffee", "chelsea")]
    return torch.stack([torch.from_numpy(crop.copy()).permute(2, 0, 1) / 127.5 - 1 for crop in crops])


def test_a_checkerboard_is_seen_and_a_photograph_has_none():
    images = photographs()
    assert checkerboard(images, images).item() == pytest.approx(1)
    assert 0.3 < checkerboard(images.flip(0)[:2], images[:2]).item() < 3
    for period in (2, 4):
        grid = ((torch.arange(128)[:, None] // (period // 2) + torch.arange(128) // (period // 2)) % 2) * 2 - 1
        assert checkerboard(images + 0.04 * grid, images).item() > 10  # 5 of 255 grey levels


def test_blur_and_noise_are_no_checkerboard():
    images = photographs()
    blurred = torch.nn.functional.avg_pool2d(images, 5, 1, 2)
    noisy = images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert checkerboard(blurred, images).item() < 5
    assert checkerboard(noisy, images).item() < 3


def test_small_images_have_no_spectrum_and_odd_sides_do_no_harm():
    assert checkerboard(torch.zeros(1, 1, 31, 64), torch.zeros(1, 1, 31, 64)).isnan()
    images = photographs()[..., :97, :101]
    assert checkerboard(images, images).item() == pytest.approx(1)


def test_a_constant_output_gives_a_finite_figure():
    assert torch.isfinite(checkerboard(torch.zeros(1, 3, 64, 64), photographs()[:1, :, :64, :64]))


def test_unseen_images_are_compared_with_training_images_and_fakes_of_one_moment():
    logits = ([torch.tensor([1.0, 0.8, 0.4, 0.6])], [torch.tensor([0.2, 0.6])], [torch.tensor([0.0])])
    assert values(unseen(*logits, "lsgan", "_b")) == {
        "health/train_logit_b": 0.7,
        "health/val_logit_b": 0.4,
        "health/fake_logit_b": 0.0,
        "health/train_accuracy_b": 0.75,
        "health/val_accuracy_b": 0.5,
    }


def test_signals_follow_from_the_averages():
    means = {
        "health/real_accuracy_a": 0.9,
        "health/gan_gradient_a": 1.0,
        "health/other_gradient_a": 4.0,
        "raw/spread_output_a": 0.01,
        "raw/spread_target_a": 0.04,
        "raw/spread_source_a": 0.16,
        "health/train_logit_a": 1.0,
        "health/val_logit_a": 0.4,
        "health/fake_logit_a": 0.0,
        "g/gan_a": 7.0,
    }
    found = {name: round(value, 6) for name, value in derive(means).items() if not name.endswith("_logit_a")}
    assert found == {
        "health/real_accuracy_a": 0.9,
        "health/r_t_a": 0.8,
        "health/gan_gradient_a": 1.0,
        "health/other_gradient_a": 4.0,
        "health/gradient_ratio_a": 0.25,
        "health/diversity_a": 0.5,
        "health/diversity_of_inputs_a": 0.25,
        "health/overfitting_a": 0.6,
    }


def test_nothing_is_divided_by_zero():
    means = {"health/gan_gradient": 1.0, "health/other_gradient": 0.0}
    means |= {"raw/spread_output": 1.0, "raw/spread_target": 0.0, "raw/spread_source": 0.0}
    means |= {"health/train_logit": 0.0, "health/val_logit": 0.4, "health/fake_logit": 0.5}
    assert {name for name in derive(means) if not name.endswith("logit")} == {
        "health/gan_gradient",
        "health/other_gradient",
    }
