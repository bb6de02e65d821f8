"""How tiles choose their method, and networks that do what ours do not."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_networks import GENERATOR_ROWS, generator
from test_tiling_layers import largest, lively, photograph, tiled, whole
from torch import nn

from translate.networks import EDSR, ResNet
from translate.pipelines.inference.tiles import Held
from translate.tiling.errors import TilingError
from translate.tiling.facts import facts_of
from translate.tiling.operations import Convolution, TransposedConvolution
from translate.tiling.plan import make_plan
from translate.tiling.probe import probe
from translate.tiling.tiled import Tiling


@pytest.mark.parametrize(
    ("network", "side", "method"),
    [
        (ResNet(width=4, blocks=1), 32, "layers"),
        (ResNet(width=4, blocks=1, norm="none"), 64, "layers"),  # with 20 pixels of halo 2.6 times the pixels
        (ResNet(width=4, blocks=1, norm="none"), 192, "halo"),
        (EDSR(width=4, blocks=1), 64, "halo"),
        (nn.Sequential(nn.Upsample(None, 2, "bilinear"), nn.Conv2d(3, 3, 3, padding=1)), 64, "halo"),
        (nn.Sequential(nn.Conv2d(3, 3, 2, 2), nn.InstanceNorm2d(3), nn.Upsample(None, 2, "bilinear")), 32, "statistics"),  # noqa: E501
    ],
    ids=["norms", "small tiles", "large tiles", "small halo", "unknown function", "unknown function and norm"],
)  # fmt: skip
def test_the_cheapest_method_that_is_exact_is_taken(network, side, method):
    if isinstance(network, nn.Sequential):
        network.scale, network.size_multiple, network.size_minimum = 2 if method == "halo" else 1, 2, 4
        network.in_channels = network.out_channels = 3
    images = photograph(240, 240, 1)
    output, report = tiled(lively(network), images, side)
    assert report.method == method
    assert largest(output - whole(network, images)) <= 1e-5


@pytest.mark.parametrize("row", GENERATOR_ROWS)
def test_what_is_read_off_a_network_is_what_a_probe_finds(row):
    network = generator(row)
    read, probed = facts_of(network), probe(network)
    assert (read.stride, read.norms, read.scale, read.beyond) == (
        probed.stride, probed.norms, probed.scale, probed.beyond,
    )  # fmt: skip
    assert abs(read.radius - probed.radius) <= ("six" in row or network_has_two_phases(row))


def network_has_two_phases(row):
    """Whether either of them may say one pixel too many: transposed convolutions behind an enlargement."""
    return row == "upsampled_unet"


@pytest.mark.parametrize("pad", [(0, 0, 3, 0), (0, 0, 0, 3), (3, 0, 0, 0), (0, 3, 0, 0)])
def test_a_network_may_see_farther_in_one_direction(pad):
    kernel = (4, 1) if pad[2:] != (0, 0) else (1, 4)
    network = nn.Sequential(nn.ZeroPad2d(pad), nn.Conv2d(3, 3, kernel)).eval()
    network.scale, network.size_multiple, network.size_minimum, network.in_channels = 1, 1, 1, 3
    assert facts_of(network).radius == probe(network).radius == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 7}, "a tile is a number of pixels from 8 on, 'auto' or off .None., got 7"),
        ({"tile": True}, "a tile is a number of pixels from 8 on, .* got True"),
        ({"tile": "large"}, "a tile is a number of pixels from 8 on, .* got 'large'"),
        ({"map_memory": -1}, "map_memory is a number of bytes, 0 or more, got -1: 0 is all on disk"),
        ({"map_dtype": torch.bfloat16}, "maps are float32 or float16, got torch.bfloat16: float32 is exact"),
        ({"scratch": Path("missing")}, "the scratch folder missing is no folder: create it first"),
    ],
)
def test_other_settings_are_refused(options, message):
    with pytest.raises(TilingError, match=message):
        Tiling(**options)


# networks of others


class Other(nn.Module):
    """A function of the image and of four convolutions."""

    scale = size_multiple = 1
    size_minimum = 2
    in_channels = out_channels = 3

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.stem, self.inner, self.head = (nn.Conv2d(*channels, 3, padding=1) for channels in ((3, 4), (4, 4), (4, 3)))
        self.image = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image):
        return self.function(self, image)


def in_place_behind_a_use(network, image):
    first = network.stem(image)
    before = network.inner(first)
    after = F.relu(first, inplace=True)
    return network.head(first + before) + network.head(after)  # `first` is `after`


def in_place_by_position(network, image):
    return network.head(F.leaky_relu(network.stem(F.leaky_relu(image, 0.5, True)), 0.1, True))


def in_place_on_a_part(network, image):
    first = network.stem(image)
    F.relu(first[:, :2], inplace=True)
    return network.head(first)


def in_place_on_the_same(network, image):
    first = network.stem(image)
    F.relu(first.detach(), inplace=True)
    return network.head(first)


def in_place_on_itself(network, image):
    first = network.stem(image)
    first += 1
    first[:, :1] = 0
    return network.head(first)


def into_another(network, image):
    first, other = network.stem(image), torch.zeros(2, 4, *image.shape[2:])
    torch.add(first, 1, out=other)
    return network.head(first * other)


def norm_of_the_image(network, image):
    return network.image(F.instance_norm(image)) + F.group_norm(image, 1) + image


def norm_alone(network, image):
    return F.instance_norm(image)


def norm_of_a_norm(network, image):
    return F.group_norm(F.instance_norm(network.image(image)) + image, 3)


def coordinates(network, image):
    columns = torch.linspace(-1, 1, image.shape[3], device=image.device)
    return network.head(torch.cat([image, columns.expand(2, 1, *image.shape[2:])], dim=1)) + columns.expand(
        *image.shape[2:]
    )


def unused(network, image):
    F.instance_norm(network.stem(image))
    return network.image(image)


def gated(network, image):
    first = network.stem(image)
    return network.head(torch.cat([first[:, 2:] * first[:, :2].sigmoid(), first[:, ::2]], dim=1))


def dynamic(network, image):
    return 1 - network.image(image) ** 2 / (1 + image.abs())


OTHERS = {
    **dict.fromkeys((in_place_behind_a_use, in_place_by_position, gated), "layers"),
    **dict.fromkeys((norm_of_the_image, norm_alone, norm_of_a_norm), "layers"),
    **dict.fromkeys((in_place_on_a_part, in_place_on_the_same, in_place_on_itself, into_another), "halo"),
    **dict.fromkeys((coordinates, dynamic, unused), "halo"),
}


class Shared(Held):
    """Gives its own memory, which nobody may change."""

    def read(self, region):
        return self.images[(..., *region.slices)]


@pytest.mark.parametrize(("function", "method"), OTHERS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_networks_that_do_what_ours_do_not_are_exact_too(function, method):
    network, images = lively(Other(function)), photograph(48, 40)
    untouched = images.clone()
    output, report = tiled(network, images, 13, source=Shared(images))
    assert torch.equal(images, untouched)
    assert largest(output - whole(network, untouched.clone())) <= 1e-5
    assert report.method == method


def squeeze_and_excite(network, image):
    return image * network.image(image).mean((2, 3), keepdim=True)


def test_what_looks_at_the_whole_image_in_another_way_is_refused():
    with pytest.raises(TilingError, match=r"sees the whole image at once, .*: run it whole .--tile off"):
        tiled(Other(squeeze_and_excite).eval(), photograph(48, 40), 16)


@pytest.mark.parametrize("row", GENERATOR_ROWS)
def test_no_convolution_is_computed_for_two_maps(row):
    network = generator(row).eval()
    side = 2 * network.size_minimum + 4 * network.size_multiple
    plan = make_plan(network, (1, 3, side, side), side // 2, torch.device("cpu"))
    made = [index for stage in plan.stages for index in stage.nodes]
    convolutions = [i for i in made if isinstance(plan.operations[i], Convolution | TransposedConvolution)]
    assert len(set(convolutions)) == len(convolutions)
