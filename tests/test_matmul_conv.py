"""Convolutions as products of matrices: exact within rounding, and torch's own wherever they do not pay."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import translate.kernels.matmul_conv as matmul_conv
from translate.kernels.matmul_conv import Conv2d, ConvTranspose2d
from translate.kernels.switch import fast_kernels


@pytest.fixture
def everywhere(monkeypatch):
    """Kernels that pay only for large layers, in small ones too."""
    monkeypatch.setattr(matmul_conv, "LEAST_WEIGHTS", 0)


LAYERS = {
    "4x4 of stride 2": lambda: Conv2d(8, 6, 4, stride=2, padding=1),
    "4x4 of stride 2, back": lambda: ConvTranspose2d(8, 6, 4, stride=2, padding=1),
    "3x3 of stride 1, no bias": lambda: Conv2d(8, 6, 3, padding=1, bias=False),
    "3x3 of stride 2, back": lambda: ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1),
}


def results(layer: nn.Module, image: torch.Tensor, fast: bool) -> list[torch.Tensor]:
    """The output, and the gradients of a sum that weighs all of it differently, to image and parameters."""
    with fast_kernels(fast):
        image = image.detach().requires_grad_(True)
        made = layer(image)
        weights = torch.linspace(-1, 1, made.numel(), dtype=made.dtype).view_as(made)
        return [made.detach(), *torch.autograd.grad((made.square() * weights).sum(), [image, *layer.parameters()])]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("shape", [(1, 8, 2, 2), (2, 8, 4, 6), (3, 8, 5, 3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_matrix_product_is_within_1e_5_of_the_convolution_in_float64(everywhere, layer, shape, layout):
    torch.manual_seed(0)
    built = LAYERS[layer]()
    image = torch.randn(shape).to(memory_format=layout)
    used = results(built, image, True)
    exact = results(built.double(), image.double(), False)
    for own, true in zip(used, exact, strict=True):
        assert own.shape == true.shape
        assert (own.double() - true).norm() <= 1e-5 * true.norm()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_matrix_product_can_be_differentiated_twice(everywhere, layer):
    torch.manual_seed(0)
    built = LAYERS[layer]().double()
    with fast_kernels():
        assert torch.autograd.gradgradcheck(built, torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True))


def test_a_matrix_product_computes_no_gradient_that_nobody_wants(everywhere, monkeypatch):
    def unwanted(*_):
        raise AssertionError("computed")

    monkeypatch.setattr(matmul_conv, "_outer", unwanted)
    layer = LAYERS["4x4 of stride 2"]().requires_grad_(False)
    image = torch.randn(1, 8, 4, 4, requires_grad=True)
    with fast_kernels():
        layer(image).sum().backward()
    assert image.grad is not None


@pytest.mark.parametrize("why", ["off", "large", "bf16", "autocast"])
def test_where_a_matrix_product_does_not_pay_the_convolution_is_that_of_torch(everywhere, monkeypatch, why):
    def used(*_):
        raise AssertionError("used")

    monkeypatch.setattr(matmul_conv._Convolution, "apply", used)
    layer, side = LAYERS["4x4 of stride 2"](), 18 if why == "large" else 16
    image = torch.randn(1, 8, side, side)
    if why == "bf16":
        layer, image = layer.bfloat16(), image.bfloat16()
    with fast_kernels(why != "off"), torch.autocast("cpu", torch.bfloat16, enabled=why == "autocast"):
        made = layer(image)
        assert torch.equal(made, F.conv2d(image, layer.weight, layer.bias, 2, 1))
    with fast_kernels(), pytest.raises(AssertionError, match="used"):
        layer.float()(torch.randn(1, 8, 16, 16))
