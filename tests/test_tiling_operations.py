"""What tiles know of functions: a region of the result from the region of the input that it needs, as torch has it."""

import math
import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.networks.bicubic import Bicubic
from translate.tiling.errors import Untraceable
from translate.tiling.recognise import operation_of
from translate.tiling.regions import Region
from translate.tiling.trace import Value, replaced, trace

CPU = torch.device("cpu")
SHAPE = (2, 4, 11, 14)


class Function(nn.Module):
    """A function of the image, and of weights that are made anew in the same way."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, image):
        torch.manual_seed(0)
        return self.function(image)


def operations_of(function):
    nodes = trace(Function(function), SHAPE, CPU)
    return [operation_of(node, nodes) for node in nodes[1:]]


def values_of(nodes, image):
    """Every node's whole map, as torch computes it."""
    values = [image]
    for node in nodes[1:]:

        def given(one):
            return values[one.index] if isinstance(one, Value) else one

        values.append(node.function(*replaced(node.arguments, given), **replaced(node.options, given)))
    return values


def some_regions(height, width, count=40):
    """All, the corners, the edges, single pixels and any others."""
    chosen = random.Random(height * width)
    yield Region(0, height, 0, width)
    yield from (Region(y, y + 1, x, x + 1) for y in (0, height - 1) for x in (0, width - 1))
    yield from (Region(0, 1, 0, width), Region(0, height, width - 1, width))
    for _ in range(count):
        top, left = chosen.randrange(height), chosen.randrange(width)
        yield Region(top, chosen.randint(top + 1, height), left, chosen.randint(left + 1, width))


def assert_by_regions(function, shape=SHAPE):
    """Each function that is recorded gives by regions what torch gives for the whole."""
    network, image = Function(function), torch.randn(shape, generator=torch.Generator().manual_seed(0))
    nodes = trace(network, shape, CPU)
    values = values_of(nodes, image)
    torch.testing.assert_close(values[-1], network(image), rtol=0, atol=0)
    for node in nodes[1:]:
        operation = operation_of(node, nodes)
        assert tuple(values[node.index].shape) == node.shape
        for region in some_regions(*node.shape[2:]):
            have = operation.needs(region)
            inputs = [values[index][(..., *have.slices)] for index in node.inputs]
            height, width = nodes[node.inputs[0]].shape[2:]
            assert 0 <= have.top < have.bottom <= height
            assert 0 <= have.left < have.right <= width
            result = operation.run(inputs, have, region)
            torch.testing.assert_close(result, values[node.index][(..., *region.slices)], rtol=0, atol=2e-6)


CONVOLUTIONS = {
    "3x3": ((5, 4, 3, 3), {"padding": 1}),
    "without padding": ((5, 4, 3, 3), {}),
    "valid": ((5, 4, 3, 2), {"padding": "valid"}),
    "1x1": ((5, 4, 1, 1), {}),
    "stride 2": ((5, 4, 3, 3), {"padding": 1, "stride": 2}),
    "stride 3 of a kernel of 2": ((5, 4, 2, 2), {"stride": 3}),
    "even kernel": ((5, 4, 4, 4), {"padding": 1, "stride": 2}),
    "even kernel, padded more": ((5, 4, 4, 2), {"padding": (2, 1)}),
    "dilation": ((5, 4, 3, 3), {"padding": 2, "dilation": 2}),
    "dilation and stride": ((5, 4, 3, 2), {"padding": (3, 1), "dilation": (3, 2), "stride": (2, 3)}),
    "groups": ((4, 2, 3, 3), {"padding": 1, "groups": 2}),
    "depthwise": ((4, 1, 5, 5), {"padding": 2, "groups": 4}),
    "same": ((5, 4, 5, 3), {"padding": "same"}),
    "same, even kernel": ((5, 4, 4, 2), {"padding": "same"}),
    "same, even and dilated": ((5, 4, 2, 4), {"padding": "same", "dilation": (3, 1)}),
    "padding as large as the kernel": ((5, 4, 3, 3), {"padding": 2}),
}


@pytest.mark.parametrize(("shape", "options"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("has_bias", [True, False])
def test_convolutions(shape, options, has_bias):
    def convolution(image):
        weight, bias = torch.randn(shape) / math.sqrt(math.prod(shape[1:])), torch.randn(shape[0])
        return F.conv2d(image, weight, bias if has_bias else None, **options)

    assert_by_regions(convolution)
    assert_by_regions(lambda image: convolution(image=image), (1, 4, 6, 7))


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, (4, 3)])
@pytest.mark.parametrize(("stride", "extra"), [(1, 0), (2, 0), (2, 1), (3, 0), (3, 2), ((2, 3), (1, 0))])
@pytest.mark.parametrize("padding", [0, 1])
def test_transposed_convolutions(kernel, stride, extra, padding):
    layer = nn.ConvTranspose2d(4, 3, kernel, stride, padding, output_padding=extra)

    def transposed(image):
        nn.init.normal_(layer.weight, std=0.2)
        return layer(image)

    with torch.inference_mode():
        assert_by_regions(transposed, (2, 4, 7, 9))


def test_transposed_convolutions_in_groups():
    with torch.inference_mode():
        assert_by_regions(nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
@pytest.mark.parametrize("pad", [(1, 1, 1, 1), (0, 3, 2, 0), (5, 0, 0, 4), (0, 1), (0, 0, 6, 6)])
def test_padding(mode, pad):
    if len(pad) == 2 and mode != "constant":
        pad = (*pad, 0, 0)
    assert_by_regions(lambda image: F.pad(image, pad, mode=mode))
    assert_by_regions(lambda image: F.pad(F.pad(image, (3, 3, 3, 3), mode), pad, mode), (1, 4, 7, 9))


def test_padding_by_a_constant_and_by_more_than_the_map():
    assert_by_regions(lambda image: F.pad(image, (20, 3, 1, 30), value=-1.5), (1, 2, 5, 4))


def test_convolutions_that_pad_by_themselves():
    for mode in ("reflect", "replicate", "zeros"):
        with torch.inference_mode():
            assert_by_regions(nn.Conv2d(4, 3, 5, padding=(2, 1), padding_mode=mode))


@pytest.mark.parametrize(
    "enlarge",
    [
        lambda image: F.interpolate(image, scale_factor=2),
        lambda image: F.interpolate(image, scale_factor=(3.0, 1.0)),
        lambda image: F.interpolate(image, size=(44, 28), mode="nearest"),
        lambda image: F.pixel_shuffle(image, 2),
        lambda image: nn.Upsample(scale_factor=4)(image),
        Bicubic(2),
        Bicubic(3),
        Bicubic(8),
        Bicubic(1),
    ],
)
def test_enlargements(enlarge):
    assert_by_regions(enlarge)
    if isinstance(enlarge, Bicubic):
        assert_by_regions(enlarge, (1, 1, 2, 3))


@pytest.mark.parametrize(
    "function",
    [
        lambda image: torch.cat([image, image * 2, torch.ones(2, 1, 11, 14)], dim=1),
        lambda image: torch.cat((image, image.abs()), -3),
        lambda image: image[:, 1:3],
        lambda image: image[:, ::2],
        lambda image: image[1:],
        lambda image: image + image[:, :1],
        lambda image: 2 * image / 3 - torch.ones(4, 1, 1),
        lambda image: image * torch.randn(1, 4, 1, 1) + torch.randn(2, 1, 11, 14),
        lambda image: image + torch.arange(14.0).expand(11, 14),
        lambda image: image + torch.arange(14.0).expand(4, 11, 14),
        lambda image: torch.maximum(image, torch.tensor(0.5)).clamp(max=1).square().sqrt(),
        lambda image: F.prelu(image, torch.tensor([0.1, 0.2, 0.3, 0.4])),
        lambda image: F.gelu(F.leaky_relu(F.silu(F.elu(image.tanh()))).sigmoid()),
        lambda image: F.batch_norm(image, torch.arange(4.0), torch.arange(1.0, 5), torch.ones(4), torch.ones(4)),
        lambda image: F.instance_norm(image, torch.arange(4.0), torch.arange(1.0, 5), use_input_stats=False),
        lambda image: F.dropout(image, 0.5, training=False).to(torch.float32).contiguous().detach().clone(),
        lambda image: image * (torch.rand(2, 4, 11, 14) > 0.5).to(image.device),
    ],
)
def test_functions_of_single_values(function):
    assert_by_regions(function)


def test_batch_norm_is_rounded_as_that_of_the_whole_map():
    """torch's rounds in another way where a tensor has gaps, as a cut one has."""
    layer, image = nn.BatchNorm2d(4).eval(), torch.randn(2, 4, 40, 40)
    layer.running_mean.uniform_(-1, 1)
    layer.running_var.uniform_(0.5, 2)
    nn.init.uniform_(layer.weight)
    nodes, region = trace(layer, (2, 4, 40, 40), CPU), Region(3, 30, 5, 32)
    with torch.inference_mode():
        result = operation_of(nodes[1], nodes).run([image[(..., *region.slices)]], region, region)
        assert torch.equal(result, layer(image)[(..., *region.slices)])


@pytest.mark.parametrize(
    ("layer", "region", "needed"),
    [
        (nn.Conv2d(4, 4, 3, padding=1), Region(5, 6, 7, 8), Region(4, 7, 6, 9)),
        (nn.Conv2d(4, 4, 3, padding=1), Region(0, 1, 0, 1), Region(0, 2, 0, 2)),
        (nn.Conv2d(4, 4, 4, 2, 1), Region(2, 3, 2, 4), Region(3, 7, 3, 9)),
        (nn.ConvTranspose2d(4, 4, 4, 2, 1), Region(4, 5, 4, 5), Region(1, 3, 1, 3)),  # rows 1 to 4 and 3 to 6
        (nn.ReflectionPad2d(2), Region(0, 3, 13, 18), Region(0, 3, 11, 14)),  # rows 2 1 0, columns 11 12 13 12 11
        (nn.Upsample(scale_factor=2), Region(5, 7, 4, 5), Region(2, 4, 2, 3)),
        (Bicubic(2), Region(8, 10, 8, 9), Region(2, 7, 2, 7)),
    ],
)
def test_a_region_needs_no_more_than_it_must(layer, region, needed):
    nodes = trace(layer, SHAPE, CPU)
    assert operation_of(nodes[-1], nodes).needs(region) == needed


KNOWN_NOT = {
    "bilinear": (lambda image: F.interpolate(image, scale_factor=2, mode="bilinear"), "interpolate by nearest neighb"),
    "one and a half times": (lambda image: F.interpolate(image, scale_factor=1.5), "by nearest neighbour, n times"),
    "2.01 times": (lambda image: F.interpolate(image, scale_factor=2.01), "interpolate by nearest neighbour, n times"),
    "padding alone": (
        lambda image: F.conv2d(image, torch.ones(1, 4, 1, 3), padding=(1, 0)),
        "tiles know conv2d with no more padding than its kernel reaches over",
    ),
    "mean": (lambda image: image - image.mean((2, 3), keepdim=True), "mean is no function that tiles know"),
    "mean of all": (lambda image: image - image.mean(), "mean is no function that tiles know"),
    "view": (lambda image: image.view(2, 4, -1), "view is no function"),
    "reshape": (lambda image: image.reshape(8, 1, 11, 14), "reshape is no function"),
    "flatten": (lambda image: image.flatten(2), "flatten is no function"),
    "transpose": (lambda image: image.mT, "takes a tensor apart in a way that tiles do not know"),
    "flip": (lambda image: image.flip(-1), "flip is no function"),
    "unfold": (lambda image: F.unfold(image, 3), "unfold is no function"),
    "softmax": (lambda image: image.softmax(-1), "softmax is no function"),
    "average pooling": (lambda image: F.avg_pool2d(image, 2), "avg_pool2d is no function"),
    "batch norm in training": (
        lambda image: F.batch_norm(image, torch.zeros(4), torch.ones(4), training=True),
        "tiles know batch_norm with running statistics",
    ),
    "dropout in training": (lambda image: F.dropout(image), "tiles know dropout outside of training"),
    "dilated transposed": (
        lambda image: F.conv_transpose2d(image, torch.ones(4, 1, 2, 2), dilation=2),
        "tiles know conv_transpose2d without dilation",
    ),
    "rows of a map": (lambda image: image[:, :, 1:], "tiles know __getitem__ of channels alone"),
    "one channel": (lambda image: image[:, 0], "tiles know __getitem__ of channels alone"),
    "joined rows": (lambda image: torch.cat([image, image], 2), "cat of channels alone, this one is along dimension 2"),
    "the other border": (
        lambda image: F.pad(image, (1, 1, 1, 1), "circular"),
        "tiles know pad by what is near: a tile would need the other border",
    ),
    "cropping": (lambda image: F.pad(image, (-1, 0, 0, 0)), r"pad of rows and columns, by 0 or more.*\(-1, 0, 0, 0\)"),
    "channels of zeros": (lambda image: F.pad(image, (0, 0, 0, 0, 1, 1)), "pad of rows and columns, by 0 or more"),
    "a constant for each column": (
        lambda image: image * torch.arange(14.0),
        "tiles know mul with constants for channels or for the whole map",
    ),
    "maps of two sizes": (
        lambda image: image[:1, :1] + F.conv2d(image, torch.ones(1, 4, 11, 14)),
        "tiles know add of maps of one size",
    ),
    "weights that are a map": (lambda image: F.conv2d(image, image), "tiles know conv2d of one map"),
    "a change in place": (lambda image: image.add_(1), "add_ is no function"),
    "an assignment": (lambda image: image.__setitem__(0, 1), "__setitem__ is no function"),
    "a result that is given": (
        lambda image: torch.add(image, 1, out=torch.empty(SHAPE)),
        "add writes into a tensor that is there, tiles know results of their own",
    ),
    "a part in place": (
        lambda image: F.relu(image.clone()[:, :2], inplace=True),
        "relu in place changes another tensor, too",
    ),
    "a branch": (lambda image: image if image.sum() > 0 else -image, "sum is no function"),
    "a constant": (lambda image: torch.zeros(SHAPE), "the network's result is not made of its input"),
    "two results": (lambda image: (image, image), "the network's result is not made of its input"),
    "parts": (lambda image: image.chunk(2, dim=1)[0], "chunk is no function"),
}


@pytest.mark.parametrize(("function", "message"), KNOWN_NOT.values(), ids=KNOWN_NOT)
def test_what_tiles_do_not_know_is_named(function, message):
    with pytest.raises(Untraceable, match=message):
        operations_of(function)


def test_a_shape_that_the_network_refuses_is_its_own_error():
    def refuse(image):
        raise ValueError("this network needs other sides")

    with pytest.raises(ValueError, match="this network needs other sides"):
        trace(Function(refuse), SHAPE, CPU)


def test_a_network_that_fails_cannot_be_recorded():
    with pytest.raises(Untraceable, match=r"the network cannot be recorded: size.*must be int"):
        trace(Function(lambda image: image.size("missing")), SHAPE, CPU)
