"""What networks are made of: norms, frozen biases, initial weights."""

from itertools import product
from typing import get_args

import pytest
import torch
from torch import nn

from translate.networks.blocks import InstanceNorm, group_count, make_norm
from translate.networks.identity import Identity
from translate.networks.initialise import Kind, initialise
from translate.networks.patchgan import PatchGAN
from translate.networks.resnet import ResNet
from translate.networks.unet import UNet


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def by_hand(image):
    """Instance norm as in its paper."""
    centred = image - image.mean(dim=(2, 3), keepdim=True)
    return centred / (centred.square().mean(dim=(2, 3), keepdim=True) + 1e-5).sqrt()


FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize(("image_format", "gradient_format"), list(product(FORMATS, FORMATS)))
@pytest.mark.parametrize("batch", [1, 2])
def test_instance_norm_has_the_gradient_of_its_formula(batch, image_format, gradient_format):
    image = (3 + 2 * noise(batch, 8, 12, 10)).contiguous(memory_format=image_format).requires_grad_()
    incoming = noise(batch, 8, 12, 10).flip(0, 1, 2).contiguous(memory_format=gradient_format)
    result = InstanceNorm()(image)
    result.backward(incoming)
    exact = image.detach().double().requires_grad_()
    expected = by_hand(exact)
    expected.backward(incoming.double())
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(image.grad.double(), exact.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_instance_norm_can_be_differentiated_twice_as_gradient_penalties_need(batch):
    image = noise(batch, 3, 3, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(InstanceNorm(), image)
    assert torch.autograd.gradgradcheck(InstanceNorm(), image)


def test_instance_norm_of_a_constant_channel_is_zero():
    image = torch.full((1, 2, 4, 4), 7.0, requires_grad=True)
    result = InstanceNorm()(image)
    result.backward(noise(1, 2, 4, 4))
    assert result.abs().max() < 1e-3
    assert image.grad.isfinite().all()


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (3, 3), (32, 32), (48, 24), (64, 32), (512, 32), (37, 1)])
def test_a_group_norm_has_the_largest_divisor_up_to_32_groups(channels, groups):
    assert group_count(channels) == groups == make_norm("group", channels).num_groups


def frozen(network):
    return {name for name, parameter in network.named_parameters() if not parameter.requires_grad}


def test_the_biases_that_a_norm_removes_are_zero_and_frozen():
    network = PatchGAN(width=64, norm="instance")
    assert frozen(network) == {"blocks.1.0.bias", "blocks.2.0.bias", "blocks.3.0.bias"}
    assert all(network.get_parameter(name).abs().sum() == 0 for name in frozen(network))
    assert len(frozen(UNet(width=4, depth=4))) == 2 + 3  # neither outermost nor innermost down, not the head
    assert len(frozen(ResNet(width=4, blocks=2))) == 3 + 4 + 2  # all but the head
    assert "ups.0.1.1.bias" in frozen(UNet(width=4, depth=3, upsample="resize"))


def test_group_norm_freezes_only_the_biases_of_single_channel_groups():
    assert frozen(PatchGAN(width=16, norm="group")) == {"blocks.1.0.bias"}  # 32 channels; then 64 and 128
    assert not frozen(PatchGAN(width=64, norm="group"))
    assert not frozen(PatchGAN(width=4, norm="none"))


@pytest.mark.parametrize("network", [PatchGAN(width=32), PatchGAN(width=32, spectral_norm=True)])
def test_published_weights_are_normal_with_deviation_gain(network):
    initialise(network, gain=0.05)
    layer = network.blocks[2][0]
    weight = layer.parametrizations.weight.original if hasattr(layer, "parametrizations") else layer.weight
    assert abs(weight.mean()) < 0.001
    assert abs(weight.std() - 0.05) < 0.001
    assert layer.bias.abs().sum() == 0


def test_batch_norm_starts_around_one():
    network = UNet(width=32, depth=4, norm="batch")
    initialise(network)
    weights = torch.cat([layer.weight for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)])
    assert abs(weights.mean() - 1) < 0.01
    assert 0.01 < weights.std() < 0.03


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_spectral_norm_is_one_from_the_first_weights_on(kind):
    network = PatchGAN(width=8, layers=2, spectral_norm=True).eval()
    initialise(network, kind)
    assert not network.blocks[1][0].parametrizations.weight.training
    for block in network.blocks:
        largest = torch.linalg.matrix_norm(block[0].weight.flatten(1), ord=2)
        torch.testing.assert_close(largest, torch.tensor(1.0), rtol=0.2, atol=0)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_seed_decides_the_weights(kind):
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(ResNet(width=2, blocks=1))
        initialise(networks[-1], kind)
    for one, two in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(one, two)


def test_a_wrong_initialisation_is_refused():
    with pytest.raises(ValueError, match=r"kind must be one of 'normal', 'xavier', .* 'constructor', got 'he'"):
        initialise(Identity(), "he")
    with pytest.raises(ValueError, match=r"gain must be above 0, got 0\.0: 0\.02 is"):
        initialise(Identity(), gain=0.0)
