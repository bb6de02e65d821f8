"""How far a network sees, by disturbing its input."""

import copy
import dataclasses
import json
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.networks import EDSR, RRDB, Identity, ResidualUNet, ResNet, UNet, UpsampledUNet
from translate.tiling.probe import Facts, probe


class Does(nn.Module):
    """A function of the image and of layers, with what a pipeline's generator declares."""

    def __init__(self, function, *layers, multiple=1, minimum=8, scale=1):
        super().__init__()
        self.size_multiple, self.size_minimum, self.scale, self.in_channels = multiple, minimum, scale, 3
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, image: Tensor) -> Tensor:
        return self.function(image, *self.layers)


def conv(inside=3, outside=3, kernel=3, **options):
    return nn.Conv2d(inside, outside, kernel, padding=kernel // 2 * options.get("dilation", 1), **options)


def dead():
    """A unit that never fires, between two convolutions."""
    first, last = conv(), conv()
    nn.init.constant_(first.bias, -1e6)
    nn.init.zeros_(last.weight)
    return nn.Sequential(first, nn.ReLU(), last)


LOCAL = {  # radius and stride
    "identity": (Identity, 0, 1),
    "3 x 3": (conv, 1, 1),
    "dilated": (lambda: nn.Sequential(conv(dilation=4), nn.ReLU(), conv(dilation=8)), 12, 1),
    "gaps": (lambda: nn.Sequential(*(conv(dilation=48) for _ in range(3))), 144, 1),
    "gaps to the left": (lambda: nn.Sequential(*aside(), *aside(), *aside()), 144, 1),
    "one wide gap": (lambda: conv(dilation=100), 100, 1),
    "even kernel": (lambda: nn.Sequential(nn.ZeroPad2d((0, 3, 1, 2)), nn.Conv2d(3, 3, 4)), 3, 1),
    "tall kernel": (lambda: nn.Conv2d(3, 3, (101, 1), padding=(50, 0)), 50, 1),
    "reflected border": (lambda: nn.Conv2d(3, 3, 7, padding=3, padding_mode="reflect"), 3, 1),
    "dead units and zero weights": (dead, 2, 1),
    "channel softmax": (lambda: nn.Sequential(conv(), nn.Softmax(1)), 1, 1),
    "largest of 3": (lambda: nn.MaxPool2d(3, 1, 1), 1, 1),
    "smallest of 3": (lambda: Does(lambda image: -F.max_pool2d(-image, 3, 1, 1)), 1, 1),
    "clipped": (lambda: Does(lambda image, layer: layer(image.clamp(-1, 1)).clamp(-1, 1), conv()), 1, 1),
    "sign": (lambda: Does(lambda image, layer: torch.where(layer(image) > 0.9, 1.0, image.sign()), conv()), 1, 1),
    "means of two": (lambda: nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2)), 1, 2),
    "in place": (lambda: Does(lambda image, layer: layer(image).relu_().add_(image), conv()), 1, 1),
    "on a canvas": (lambda: Does(canvas, conv()), 1, 1),
    "in float32": (lambda: Does(lambda image, layer: layer(image.float() * 2).to(image.dtype), conv()), 1, 1),
    "windows of 8": (lambda: Does(windows, conv(), multiple=8), 8, 8),
    "edsr-baseline": (lambda: EDSR(width=2), 34, 1),  # head, 16 * 2, tail
    "resnet-6": (lambda: ResNet(width=2, blocks=6, norm="batch"), 60, 4),
    "resnet-9": (lambda: ResNet(width=2, norm="none"), 84, 4),  # 3 + 1 + 2, 9 * 8, 2 + 1 + 3
    "resnet-9, resize": (lambda: ResNet(width=2, norm="none", upsample="resize"), 87, 4),
    "unet": (lambda: UNet(width=2, depth=2, norm="none"), 9, 4),
    "residual unet": (lambda: ResidualUNet(width=2, depth=1, blocks=1), 7, 2),
    "upsampled unet": (lambda: UpsampledUNet(scale=8, width=2, depth=2), 3, 1),
}


def aside():
    return nn.ZeroPad2d((0, 48, 0, 0)), nn.Conv2d(3, 3, (1, 2), dilation=48)


def canvas(image, layer):
    result = torch.zeros(image.shape)
    result[:, :, 1:] = layer(image)[:, :, 1:]
    return result


def windows(image, layer):
    """Attention within windows of 8 x 8."""
    n, channels, height, width = image.shape
    cut = (
        layer(image)
        .view(n, channels, height // 8, 8, width // 8, 8)
        .permute(0, 2, 4, 3, 5, 1)
        .reshape(-1, 64, channels)
    )
    seen = F.scaled_dot_product_attention(cut, cut, cut).view(n, height // 8, width // 8, 8, 8, channels)
    return seen.permute(0, 5, 1, 3, 2, 4).reshape(image.shape)


@pytest.mark.parametrize("name", LOCAL)
def test_the_radius_and_the_stride_are_those_of_the_architecture(name):
    build, radius, stride = LOCAL[name]
    network = build().eval()
    assert probe(network) == Facts(radius, stride, "none", getattr(network, "scale", 1))


def test_influence_does_not_vanish_with_depth():
    # Head, 23 * 15, body's last, and 2 of what is at 2 and 4 times the size.
    assert probe(RRDB(width=1, growth=1).eval()) == Facts(349, 1, "none", 4)


def test_a_deeper_unet_sees_more():
    radii = [probe(UNet(width=2, depth=depth).eval()) for depth in (2, 3, 4, 5)]
    assert [(facts.stride, facts.norms) for facts in radii] == [(stride, "spatial") for stride in (4, 8, 16, 32)]
    assert [facts.radius for facts in radii[:3]] == [9, 21, 45]
    assert 93 <= radii[3].radius <= 93 + 31  # an upper bound from here on


def brute_force(network, size, scale):
    """The largest distance at which an output moves, for a disturbance of each pixel of a row."""
    torch.manual_seed(0)
    image = torch.rand(1, 3, 8, size, dtype=torch.float64)
    most = 0
    for place in range(size // 2 - 8, size // 2 + 8):
        other = image.clone()
        other[..., place] += 1
        moved = (network(image) != network(other)).flatten(0, 2).any(0).nonzero().flatten() // scale
        most = max(most, int((moved - place).abs().max()))
    return most


@pytest.mark.parametrize(
    "network",
    [
        ResNet(width=2, blocks=1, norm="none", upsample="resize"),
        UNet(width=2, depth=3, norm="none"),
        ResidualUNet(width=2, depth=2, blocks=1, largest_change=None),
        nn.Sequential(conv(), nn.Upsample(scale_factor=0.5, mode="bilinear"), conv(), nn.Upsample(scale_factor=2)),
    ],
)
@torch.inference_mode()
def test_the_radius_is_what_trying_all_pixels_finds(network):
    torch.manual_seed(1)
    network = copy.deepcopy(network).double().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    assert probe(network).radius == brute_force(network, 96, 1)


SPATIAL = {
    "instance norm": lambda: nn.InstanceNorm2d(3, affine=True),
    "group norm": lambda: nn.GroupNorm(1, 3),
    "batch norm of the batch itself": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "layer norm": lambda: nn.LayerNorm((3, 16, 16)),
    "layer norm of each channel": lambda: nn.LayerNorm((16, 16)),
    "a function": lambda: Does(F.instance_norm),
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.InstanceNorm2d(3))),
    "ours": lambda: ResNet(width=2, blocks=1),
}


@pytest.mark.parametrize("name", SPATIAL)
def test_norms_of_the_whole_image_are_seen_and_do_not_count_for_the_radius(name):
    network = SPATIAL[name]().eval()
    assert probe(network) == Facts(20 if name == "ours" else 0, 4 if name == "ours" else 1, "spatial", 1)


@pytest.mark.parametrize(
    "norm",
    [
        nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        nn.BatchNorm2d(3),
        Does(lambda image, norm: norm(image.movedim(1, 3)).movedim(3, 1), nn.LayerNorm(3)),
    ],
)
def test_norms_with_running_statistics_and_of_channels_are_local(norm):
    assert probe(norm.eval()) == Facts(0, 1, "none", 1)


def test_a_map_before_a_norm_counts_for_the_radius():
    # What comes behind the norm goes back to where it was.
    there_and_back = Does(lambda image: F.pad(F.instance_norm(F.pad(image[..., 5:], (0, 5)))[..., :-5], (5, 0)))
    assert probe(there_and_back.eval()) == Facts(5, 1, "spatial", 1)


def attention(image, layer):
    tokens = layer(image).flatten(2).mT
    return F.scaled_dot_product_attention(tokens, tokens, tokens).mT.reshape(image.shape)


def squeeze(image, layer):
    return image * layer(image.mean((2, 3), keepdim=True)).sigmoid()


GLOBAL = {
    "squeeze and excitation": lambda: Does(squeeze, conv(kernel=1)),
    "attention": lambda: Does(attention, conv()),
    "attention at an eighth": lambda: nn.Sequential(
        nn.AvgPool2d(8), Does(attention, conv()), nn.Upsample(scale_factor=8)
    ),
    "a norm that is none of torch's": lambda: Does(lambda image: image - image.mean((2, 3), keepdim=True)),
    "fourier": lambda: Does(lambda image: torch.fft.irfft2(torch.fft.rfft2(image).square(), s=image.shape[2:])),
    "pooling of rows": lambda: Does(lambda image: image - image.mean(2, keepdim=True)),
    "noise": lambda: Does(lambda image: image + torch.randn_like(image)),
}
UNFOLLOWED = {
    "a network that knows where it is": (
        lambda: Does(lambda image: image + torch.linspace(0, 1, image.shape[3])),
        "moving an image changes more of the result than its place",
    ),
    "mirrored": (
        lambda: Does(lambda image: image.flip(3)),
        "moving an image changes more of the result than its place",
    ),
    "rolled": (lambda: Does(lambda image: image.roll(1, 3)), "at one border of an image reaches the opposite one"),
    "circular": (
        lambda: nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"),
        "what is at one border of an image reaches the opposite one",
    ),
    "numbers": (lambda: Does(lambda image: image / image.max().item()), "takes numbers out of the image"),
    "a branch": (lambda: Does(lambda image: image if image.mean() > 0 else -image), "takes numbers out of the image"),
    "a memory": (lambda: Does(remember, nn.BatchNorm2d(3)), "writes to tensors that it keeps between calls"),
    "weights of a norm": (
        lambda: Does(lambda image: F.instance_norm(image, weight=image.mean((0, 2, 3)))),
        "the weights of its norms depend on the image",
    ),
    "one size": (lambda: Does(lambda image: image + torch.zeros(16, 16)), "must match the size"),
    "nothing of the image": (lambda: Does(lambda image: list(image)), "returns no tensor that depends on the image"),
}


def remember(image, norm):
    norm.running_mean.copy_(image.mean((0, 2, 3)))
    return image - norm.running_mean[:, None, None]


@pytest.mark.parametrize("name", GLOBAL)
def test_what_looks_at_the_whole_image_is_global(name):
    facts = probe(GLOBAL[name]().eval())
    assert (facts.norms, facts.beyond) == ("global", False)
    assert facts.radius == 128  # what attention costs grows with the square of the image's size


@pytest.mark.parametrize("name", UNFOLLOWED)
def test_what_cannot_be_followed_is_global_and_the_log_says_why(name, caplog):
    build, reason = UNFOLLOWED[name]
    with caplog.at_level(logging.WARNING):
        assert probe(build().eval()).norms == "global"
    assert "cannot be probed, and so not run in tiles" in caplog.text
    assert reason in caplog.text


@pytest.mark.parametrize(
    "network", [UNet(width=1, depth=8, norm="none"), nn.Sequential(*(conv(dilation=100) for _ in range(11)))]
)
def test_a_radius_beyond_what_can_be_looked_at_is_not_taken_for_global(network):
    facts = probe(network.eval())
    assert (facts.norms, facts.beyond) == ("none", True)
    assert facts.radius >= 512


def test_facts_are_kept_as_json():
    facts = Facts(87, 4, "spatial", 1)
    assert Facts(**json.loads(json.dumps(dataclasses.asdict(facts)))) == facts


def test_a_network_is_not_changed_by_the_probe_nor_what_is_random_around_it():
    network = ResNet(width=2, blocks=1, norm="batch").train()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    assert probe(network) == probe(network)
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
