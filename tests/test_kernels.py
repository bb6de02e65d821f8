"""Kernels of ours beside the 3x3 convolution, the layers and networks that use them, and the switch."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from torch import nn

from translate.data.images import read_picture
from translate.kernels import convolution, few_outputs
from translate.kernels.convolution import Conv3x3, Conv7x7, arranged
from translate.kernels.few_outputs import conv_to_few
from translate.kernels.norm import instance_norm
from translate.kernels.padding import reflect_pad
from translate.kernels.switch import fast, fast_kernels
from translate.networks import EDSR, ResNet, initialise

FORMATS = [torch.contiguous_format, torch.channels_last]
WIDE = {  # networks whose trunk has the 64 channels from which on Winograd's convolution is taken
    "resnet": lambda: ResNet(width=16, blocks=2),
    "resnet, resize": lambda: ResNet(width=32, blocks=1, upsample="resize"),
    "resnet, zeros and batch norm": lambda: ResNet(width=16, blocks=1, padding="zeros", norm="batch", residual=True),
    "resnet, narrow": lambda: ResNet(width=4, blocks=1),
    "edsr": lambda: EDSR(width=64, blocks=2),
    "edsr, wide inside": lambda: EDSR(width=64, inner=70, blocks=1, scale=3),
}


def pictures(count=2, side=48):
    """Emoji, (N, 3, side, side) in [-1, 1]."""
    paths = sorted((ROOT / "pipelines" / "pictures" / "render").glob("*.png"))[:count]
    arrays = [np.asarray(read_picture(path).pixels)[40 : 40 + side, 40 : 40 + side, :3] for path in paths]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1


def results(function, image, gradient):
    """The result, and the gradient to the image."""
    image = image.detach().clone().requires_grad_()
    made = function(image)
    return [made.detach(), *torch.autograd.grad(made, image, gradient)]


def assert_equal(function, other, shape, made_shape):
    """In float64, for both memory formats of image and gradient."""
    torch.manual_seed(0)
    image, gradient = torch.randn(shape, dtype=torch.float64), torch.randn(made_shape, dtype=torch.float64)
    expected = results(other, image, gradient)
    for own, given in itertools.product(FORMATS, FORMATS):
        made = results(function, image.contiguous(memory_format=own), gradient.contiguous(memory_format=given))
        for one, right in zip(made, expected, strict=True):
            torch.testing.assert_close(one, right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(("height", "breadth"), [(4, 9), (8, 5), (7, 4)])
def test_reflection_is_that_of_torch_forward_and_backward(height, breadth, width):
    shape = (2, 3, height, breadth)
    padded = (2, 3, height + 2 * width, breadth + 2 * width)
    assert_equal(lambda image: reflect_pad(image, width), nn.ReflectionPad2d(width), shape, padded)


def test_the_gradient_of_reflection_counts_how_often_a_pixel_is_shown():
    """Of 1 2 3 4 with a padding of 1, 2 1 2 3 4 3, the pixels 2 and 3 are there twice."""
    row = torch.zeros(1, 1, 4, 4, requires_grad=True)
    reflect_pad(row, 1).sum().backward()
    assert row.grad[0, 0].tolist() == [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]


@pytest.mark.parametrize("count", [1, 3])
def test_instance_norm_is_that_of_its_formula_forward_and_backward(count):
    def formula(image):
        variance, mean = torch.var_mean(image, (2, 3), correction=0, keepdim=True)
        return (image - mean) / (variance + 1e-5).sqrt()

    shape = (count, 5, 6, 7)
    assert_equal(instance_norm, formula, shape, shape)


@pytest.mark.parametrize("count", [1, 2])
def test_instance_norm_in_channels_last_can_be_differentiated_twice(count):
    image = torch.randn(count, 3, 4, 5, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    assert torch.autograd.gradgradcheck(instance_norm, image.requires_grad_())


def test_instance_norm_keeps_the_memory_format():
    for memory_format in FORMATS:
        image = torch.randn(2, 5, 6, 7).contiguous(memory_format=memory_format)
        assert instance_norm(image).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("numbers", [1, 3000, 2**19])  # a row at once; several; all
@pytest.mark.parametrize(("made", "high", "wide"), [(3, 7, 7), (1, 3, 5), (2, 1, 1)])
def test_a_convolution_to_few_channels_is_that_of_torch_forward_and_backward(made, high, wide, numbers, monkeypatch):
    monkeypatch.setattr(few_outputs, "BAND", numbers)
    torch.manual_seed(0)
    weight = torch.randn(made, 4, high, wide, dtype=torch.float64, requires_grad=True)
    made_shape = (2, made, 13 - high + 1, 11 - wide + 1)
    assert_equal(
        lambda image: conv_to_few(image, weight), lambda image: F.conv2d(image, weight), (2, 4, 13, 11), made_shape
    )
    image, gradient = torch.randn(2, 4, 13, 11, dtype=torch.float64), torch.randn(made_shape, dtype=torch.float64)
    own, other = (torch.autograd.grad(one(image, weight), weight, gradient) for one in (conv_to_few, F.conv2d))
    torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


def test_a_second_derivative_of_a_convolution_to_few_channels_is_refused():
    image = torch.randn(1, 4, 13, 11, requires_grad=True)
    made = conv_to_few(image, torch.randn(3, 4, 7, 7))
    with pytest.raises(RuntimeError, match="no second derivative: leave fast_kernels"):
        torch.autograd.grad(made.sum(), image, create_graph=True)


@pytest.mark.parametrize("layer", [Conv3x3, Conv7x7])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize(("channels", "made"), [(64, 65), (3, 64), (64, 3), (5, 6)])
def test_a_layer_is_that_of_torch_with_the_same_initialisation(layer, padding, channels, made):
    kernel = 3 if layer is Conv3x3 else 7
    torch.manual_seed(0)
    own = layer(channels, made, padding=padding)
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, made, kernel, padding=kernel // 2, padding_mode=padding)
    assert own.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(one, other) for one, other in zip(own.parameters(), plain.parameters(), strict=True))
    image = torch.randn(2, channels, 9, 10)
    assert torch.equal(own(image), plain(image))  # the switch is off
    with fast_kernels():
        made_fast = own(image)
    torch.testing.assert_close(made_fast, plain(image), rtol=1e-4, atol=1e-5)


def test_layers_take_the_fast_kernels_where_they_pay_and_nowhere_else(monkeypatch):
    taken = []
    for name in ("conv3x3", "conv_to_few", "reflect_pad"):
        real = getattr(convolution, name)
        monkeypatch.setattr(convolution, name, lambda *given, name=name, real=real: taken.append(name) or real(*given))

    def of(layer, image, wanted=True):
        taken.clear()
        with fast_kernels(wanted):
            layer(image)
        return list(taken)

    wide, narrow, head = Conv3x3(64, 64), Conv3x3(63, 64, padding="reflect"), Conv7x7(8, 3, padding="reflect")
    assert of(wide, torch.randn(1, 64, 8, 8)) == ["conv3x3"]
    assert of(narrow, torch.randn(1, 63, 8, 8)) == ["reflect_pad"]
    assert of(head, torch.randn(1, 8, 8, 8)) == ["reflect_pad", "conv_to_few"]
    assert of(Conv7x7(8, 5), torch.randn(1, 8, 8, 8)) == []
    assert of(wide, torch.randn(1, 64, 3, 8)) == []
    assert of(wide, torch.randn(1, 64, 8, 8), wanted=False) == []
    assert of(wide.bfloat16(), torch.randn(1, 64, 8, 8).bfloat16()) == []
    with torch.autocast("cpu", torch.bfloat16):
        assert of(Conv3x3(64, 64), torch.randn(1, 64, 8, 8)) == []


def test_an_arranged_image_has_its_gradient_in_the_format_it_came_in():
    image = torch.randn(2, 3, 4, 5, requires_grad=True)
    assert arranged(image, torch.channels_last) is image  # the switch is off
    with fast_kernels():
        made = arranged(image, torch.channels_last)
    assert made.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(made, image, torch.ones_like(made))
    assert gradient.is_contiguous()


@pytest.mark.parametrize("name", WIDE)
def test_a_network_is_the_same_with_fast_kernels_forward_and_backward(name):
    torch.manual_seed(0)
    network, image = WIDE[name](), pictures(side=28)
    if isinstance(network, EDSR):
        initialise(network, "kaiming")  # its last layer starts at zero
    made = []
    for wanted in (False, True):
        inputs = image.clone().requires_grad_()
        with fast_kernels(wanted):
            output = network(inputs)
            wanting = [one for one in network.parameters() if one.requires_grad]
            made.append([output, *torch.autograd.grad(output.square().sum(), [inputs, *wanting])])
    for one, other in zip(*made, strict=True):
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()
    assert not torch.equal(made[0][0], made[1][0])  # it did take them


@pytest.mark.parametrize("name", WIDE)
def test_a_network_that_switched_back_is_torch_bit_for_bit(name):
    torch.manual_seed(0)
    network, image = WIDE[name]().eval(), pictures(side=28)
    with torch.inference_mode():
        before = network(image)
        with fast_kernels():
            network(image)
        assert not fast()
        assert torch.equal(network(image), before)


def test_what_is_compiled_is_torch_also_inside():
    network, image = ResNet(width=16, blocks=1).eval(), pictures(1, 28)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.inference_mode():
        with fast_kernels():
            made = compiled(image)
        torch.testing.assert_close(made, network(image), rtol=0, atol=1e-6)


def test_fifty_steps_with_fast_kernels_have_the_losses_of_fifty_without():
    """Plain gradient descent: Adam's first steps turn signs of tiny gradients, hence rounding, into whole steps."""
    image, target = pictures(1, 32), pictures(1, 32).flip(3)
    losses = []
    for wanted in (False, True):
        torch.manual_seed(0)
        network = ResNet(width=16, blocks=2)
        initialise(network, "kaiming")
        optimizer = torch.optim.SGD((one for one in network.parameters() if one.requires_grad), lr=0.003)
        seen = []
        for _ in range(50):
            optimizer.zero_grad()
            with fast_kernels(wanted):
                loss = F.l1_loss(network(image), target)
                loss.backward()
            optimizer.step()
            seen.append(loss.detach())
        losses.append(torch.stack(seen))
    assert losses[0][-1] < 0.8 * losses[0][0]
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=0)
