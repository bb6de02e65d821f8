"""Every network, one row each; then what is particular to one."""

import inspect
import re
from itertools import product
from typing import get_args

import pytest
import torch
from torch import nn

from translate.losses import gradient_penalty, r1_penalty
from translate.networks import DISCRIMINATORS, GENERATORS, initialise, logits
from translate.networks.blocks import Norm, check_image
from translate.networks.identity import Identity
from translate.networks.patchgan import MinibatchStd, MultiScalePatchGAN, PatchGAN, PixelDiscriminator
from translate.networks.resnet import ResNet
from translate.networks.unet import UNet
from translate.networks.unet_discriminator import UNetDiscriminator

GENERATOR_ROWS = {
    "unet": {"width": 4, "depth": 3},
    "unet, two levels": {"width": 4, "depth": 2},
    "unet, six levels": {"width": 2, "depth": 6, "dropout": True, "norm": "batch"},
    "unet, detail at full resolution": {"width": 4, "depth": 3, "upsample": "resize", "detail": 3},
    "unet, resize": {"width": 4, "depth": 3, "upsample": "resize"},
    "resnet": {"width": 4, "blocks": 1},
    "resnet, resize and zeros": {
        "width": 4,
        "blocks": 2,
        "upsample": "resize",
        "padding": "zeros",
        "dropout": True,
    },
    "edsr": {"width": 4, "blocks": 1},
    "edsr, x3 and wide activation": {"scale": 3, "width": 4, "inner": 6, "blocks": 2, "residual_scale": 0.5},
    "rrdb": {"width": 4, "growth": 2, "blocks": 1},
    "rrdb, x3": {"scale": 3, "width": 4, "growth": 2, "blocks": 1},
    "upsampled_unet": {"width": 4, "depth": 3},
    "upsampled_unet, x3 and resize": {"scale": 3, "width": 4, "depth": 2, "upsample": "resize"},
    "upsampled_unet, x8": {"scale": 8, "width": 4, "depth": 2},
    "residual_unet": {"width": 4, "depth": 2},
    "residual_unet, deep": {"width": 2, "depth": 4, "blocks": 1, "largest_change": None},
    "identity": {},
}
DISCRIMINATOR_ROWS = {
    "patchgan": {"width": 4},
    "patchgan, one layer": {"width": 4, "layers": 1},
    "patchgan, spectral norm": {"width": 4, "layers": 2, "spectral_norm": True},
    "patchgan, minibatch std": {"width": 4, "layers": 2, "minibatch_std": 2},
    "pixel": {"width": 4},
    "pixel, spectral norm": {"width": 4, "spectral_norm": True},
    "multiscale": {"width": 4, "layers": 2, "scales": 2},
    "multiscale, three scales": {"width": 4, "layers": 1, "scales": 3, "spectral_norm": True},
    "multiscale, minibatch std": {"width": 4, "layers": 1, "scales": 2, "spectral_norm": True, "minibatch_std": 4},
    "unet": {"width": 4},
    "unet, two levels without spectral norm": {"width": 4, "depth": 2, "spectral_norm": False},
}
SUPER_RESOLVERS = ("edsr", "rrdb", "upsampled_unet")  # add to an enlargement that can leave [-1, 1] at sharp edges
EQUAL_CHANNELS = ("identity", "residual_unet", *SUPER_RESOLVERS)
ROWS = [(row, GENERATORS) for row in GENERATOR_ROWS] + [(row, DISCRIMINATORS) for row in DISCRIMINATOR_ROWS]


def network_of(row):
    return row.split(",")[0]


def generator(row, **changes):
    return GENERATORS[network_of(row)](**{**GENERATOR_ROWS[row], **changes})


def discriminator(row, **changes):
    return DISCRIMINATORS[network_of(row)](**{**DISCRIMINATOR_ROWS[row], **changes})


def build(row, registry, **changes):
    return generator(row, **changes) if registry is GENERATORS else discriminator(row, **changes)


def norms(row, registry):
    """The arguments {"norm": ...} that a network can be built with; one {} for one without the choice."""
    has_choice = "norm" in inspect.signature(registry[network_of(row)]).parameters
    return [{"norm": norm} for norm in get_args(Norm)] if has_choice else [{}]


def outputs(network, image):
    result = network(image)
    return [result] if isinstance(result, torch.Tensor) else logits(result)


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def as_images(photographs):
    """(N, 3, H, W) in [-1, 1] of arrays (H, W, 3) of 8 bits."""
    return torch.stack([torch.from_numpy(array) for array in photographs]).permute(0, 3, 1, 2) / 127.5 - 1


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_every_registered_network_has_a_row():
    assert {network_of(row) for row in GENERATOR_ROWS} == set(GENERATORS)
    assert {network_of(row) for row in DISCRIMINATOR_ROWS} == set(DISCRIMINATORS)


@pytest.mark.parametrize("row", GENERATOR_ROWS)
@pytest.mark.parametrize("channels", [(3, 3), (1, 4)])
def test_a_generator_maps_model_space_to_model_space(row, channels):
    source, target = channels if network_of(row) not in EQUAL_CHANNELS else (channels[0], channels[0])
    network = generator(row, in_channels=source, out_channels=target)
    assert (network.in_channels, network.out_channels) == (source, target)
    side = network.size_minimum
    image = noise(2, source, side + network.size_multiple, side)
    result = network(image)
    assert result.shape == (2, target, network.scale * image.shape[2], network.scale * image.shape[3])
    assert network_of(row) in SUPER_RESOLVERS or result.abs().max() <= 1
    assert result.dtype == torch.float32


@pytest.mark.parametrize("row", [row for row in GENERATOR_ROWS if row != "identity"])
def test_a_generator_takes_exactly_the_sizes_it_declares(row):
    network = generator(row).eval()
    multiple, minimum = network.size_multiple, network.size_minimum
    for height, width in product([minimum - multiple, minimum, minimum + 1, minimum + multiple], [minimum]):
        image = noise(1, 3, height, width)
        if height >= minimum and height % multiple == 0:
            assert network(image).shape == (1, 3, network.scale * height, network.scale * width)
        else:
            fit = minimum if height < minimum else minimum + multiple
            message = f"got an image of {height} x {width} (H x W): pad it to {fit} x {minimum}"
            with pytest.raises(ValueError, match=re.escape(message)):
                network(image)


@pytest.mark.parametrize("row", list(DISCRIMINATOR_ROWS))
def test_a_discriminator_takes_exactly_the_sizes_it_declares(row):
    network = discriminator(row)
    minimum = network.size_minimum
    for side in (minimum, minimum + 1, minimum + 7):
        assert all(scale.shape[:2] == (2, 1) for scale in logits(network(noise(2, 3, side, side + 1))))
    with pytest.raises(ValueError, match=f"at least {minimum}, got an image of {minimum - 1} x {minimum}"):
        network(noise(1, 3, minimum - 1, minimum))


@pytest.mark.parametrize("network", [PatchGAN(width=2), MultiScalePatchGAN(width=2, layers=1, scales=4)])
def test_the_minimum_of_a_patchgan_is_not_larger_than_needed(network, monkeypatch):
    monkeypatch.setattr("translate.networks.patchgan.check_image", lambda *_, **__: None)
    assert logits(network(noise(1, 3, network.size_minimum, network.size_minimum)))[-1].shape[-2:] == (1, 1)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network(noise(1, 3, network.size_minimum - 1, network.size_minimum - 1))


@pytest.mark.parametrize(
    ("row", "registry", "norm"), [(row, registry, norm) for row, registry in ROWS for norm in norms(row, registry)]
)
def test_a_constant_image_gives_finite_results_and_gradients(row, registry, norm):
    network = build(row, registry, **norm)
    initialise(network)
    side = 2 * network.size_minimum
    image = torch.full((1, 3, side, side), 0.5, requires_grad=True)
    results = outputs(network, image)
    sum(result.square().sum() for result in results).backward()
    assert all(result.isfinite().all() for result in results)
    assert image.grad.isfinite().all()
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(("row", "registry"), ROWS)
def test_a_state_dict_carries_the_whole_network(row, registry):
    first, second = build(row, registry), build(row, registry)
    image = noise(2, 3, 2 * first.size_minimum, first.size_minimum)
    initialise(first)  # no layer of zeros, behind which nothing could be seen
    first(image)  # changes running statistics and power iterations
    second.load_state_dict(first.state_dict())
    for one, two in zip(outputs(first.eval(), image), outputs(second.eval(), image), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(("row", "registry"), ROWS)
def test_another_number_of_channels_is_refused(row, registry):
    network = build(row, registry)
    with pytest.raises(ValueError, match=r"shape \(N, 3, H, W\), got \(1, 2, 64, 64\): convert the images, or build"):
        network(noise(1, 2, 64, 64))


def test_an_image_without_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"shape \(N, 3, H, W\), got \(3, 8, 8\)"):
        check_image(torch.zeros(3, 8, 8), channels=3)


@pytest.mark.parametrize(
    ("network", "arguments", "millions", "parameters"),
    [
        (UNet, {"norm": "batch", "dropout": True}, 54.414, 54_413_955),
        (ResNet, {}, 11.378, 11_378_179),
        (ResNet, {"blocks": 6}, 7.838, 7_837_699),
        (PatchGAN, {"in_channels": 6, "norm": "batch"}, 2.769, 2_768_705),
        (PatchGAN, {}, 2.765, 2_764_737),
        (PatchGAN, {"minibatch_std": 4}, 2.765, 2_764_737 + 4 * 4),  # one more channel for the logits to see
        (PixelDiscriminator, {"in_channels": 6, "norm": "batch"}, 0.009, 9_024),
        (UNetDiscriminator, {}, 4.377, 4_376_897),
        (Identity, {}, 0, 0),
    ],
)
def test_the_published_networks_have_the_published_numbers_of_parameters(network, arguments, millions, parameters):
    with torch.device("meta"):
        assert count(network(**arguments)) == parameters
    assert round(parameters / 1e6, 3) == millions


def test_dropout_sits_in_the_three_blocks_next_to_the_innermost_of_the_published_unet():
    with torch.device("meta"):
        network = UNet(dropout=True)
    dropped = [any(isinstance(layer, nn.Dropout) for layer in up) for up in network.ups]
    assert dropped == [False, True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("network", "side"),
    [
        (PatchGAN(1, width=2, layers=1, norm="none"), 16),
        (PatchGAN(1, width=2, layers=2, norm="none"), 34),
        (PatchGAN(1, width=2, layers=3, norm="none"), 70),
        (PixelDiscriminator(1, width=2, norm="none"), 1),
    ],
)
def test_a_logit_depends_on_a_patch_of_the_published_size(network, side):
    image = noise(1, 1, 128, 128).requires_grad_()
    (result,) = logits(network(image))
    middle = result.shape[-1] // 2
    result[0, 0, middle, middle].backward()
    touched = image.grad[0, 0] != 0
    assert int(touched.any(dim=0).sum()) == int(touched.any(dim=1).sum()) == side


def test_a_discriminator_returns_the_activations_of_all_layers_logits_last():
    shapes = [
        [tuple(layer.shape) for layer in scale] for scale in MultiScalePatchGAN(width=4, scales=2)(noise(1, 3, 64, 48))
    ]
    assert shapes == [
        [(1, 4, 32, 24), (1, 8, 16, 12), (1, 16, 8, 6), (1, 32, 7, 5), (1, 1, 6, 4)],
        [(1, 4, 16, 12), (1, 8, 8, 6), (1, 16, 4, 3), (1, 32, 3, 2), (1, 1, 2, 1)],
    ]


def test_a_residual_generator_adds_its_head_to_the_input():
    for network in (UNet(width=2, depth=2, residual=True), ResNet(width=2, blocks=1, residual=True)):
        head = network.head[-1] if isinstance(network, UNet) else network.head
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, 2.0)
        image = noise(1, 3, 8, 8)
        torch.testing.assert_close(network(image), image + 2)


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (UNet, {"width": 0}, "width must be an int of at least 1, got 0: give a larger one"),
        (UNet, {"depth": 1}, "depth must be an int of at least 2, got 1"),
        (UNet, {"out_channels": 0}, "out_channels must be an int of at least 1, got 0"),
        (UNet, {"width": 1.5}, r"width must be an int of at least 1, got 1\.5"),
        (UNet, {"detail": -1}, "detail must be an int of at least 0, got -1"),
        (UNet, {"depth": True}, "depth must be an int of at least 2, got True"),
        (UNet, {"norm": "layer"}, "norm must be one of 'instance', 'batch', 'group', 'none', got 'layer'"),
        (UNet, {"upsample": "nearest"}, "upsample must be one of 'transposed', 'resize', got 'nearest'"),
        (UNet, {"out_channels": 1, "residual": True}, "got in_channels=3 and out_channels=1: make them equal, or use"),
        (ResNet, {"blocks": 0}, "blocks must be an int of at least 1, got 0"),
        (ResNet, {"padding": "edge"}, "padding must be one of 'reflect', 'zeros', got 'edge'"),
        (ResNet, {"in_channels": 1, "residual": True}, "residual=True needs as many output as input channels"),
        (Identity, {"out_channels": 1}, "got in_channels=3 and out_channels=1: make them equal"),
        (Identity, {"in_channels": 0}, "in_channels must be an int of at least 1, got 0"),
        (PatchGAN, {"layers": 0}, "layers must be an int of at least 1, got 0"),
        (
            PatchGAN,
            {"minibatch_std": 1},
            r"minibatch_std must be 0 \(none\) or an int of at least 2 images, got 1: give 4",
        ),
        (PatchGAN, {"minibatch_std": True}, "at least 2 images, got True"),
        (MultiScalePatchGAN, {"minibatch_std": -2}, "at least 2 images, got -2"),
        (PatchGAN, {"norm": ""}, "norm must be one of .*, got ''"),
        (PixelDiscriminator, {"width": -1}, "width must be an int of at least 1, got -1"),
        (MultiScalePatchGAN, {"scales": 0}, "scales must be an int of at least 1, got 0"),
        (UNetDiscriminator, {"depth": 0}, "depth must be an int of at least 1, got 0"),
        (UNetDiscriminator, {"in_channels": 0}, "in_channels must be an int of at least 1, got 0"),
    ],
)
def test_arguments_that_make_no_network_are_refused(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)


def numbered(count):
    """(count, 1, 1, 1): 0, 1, 2, ..."""
    return torch.arange(float(count)).reshape(-1, 1, 1, 1)


def test_minibatch_std_adds_the_spread_of_each_group_as_a_channel():
    image = torch.cat([torch.full((1, 3, 2, 2), value) for value in (0.0, 2.0, 5.0, 5.0)])
    result = MinibatchStd(2)(image)
    assert result.shape == (4, 4, 2, 2)
    assert torch.equal(result[:, :3], image)
    expected = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(4, 1, 1).expand(4, 2, 2)  # 0 and 2 are 1 from their mean
    torch.testing.assert_close(result[:, 3], expected, rtol=0, atol=2e-4)


def test_minibatch_std_is_a_mean_over_channels_and_positions():
    image = torch.zeros(2, 2, 2, 2)
    image[1, 0, 0, 0] = 8  # 4 at one of 8 places
    torch.testing.assert_close(MinibatchStd(2)(image)[:, 2], torch.full((2, 2, 2), 0.5), rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("batch", "group", "spread"),
    [
        (4, 2, 0.5),  # 0 1, 2 3
        (2, 4, 0.5),  # 0 1
        (6, 4, 0.5),  # 0 1, 2 3, 4 5
        (4, 4, 1.25**0.5),  # 0 1 2 3
        (8, 4, 1.25**0.5),  # 0 1 2 3, 4 5 6 7
        (3, 2, 0),  # 0, 1, 2
        (1, 4, 0),
    ],
)
def test_minibatch_std_groups_neighbours_by_the_greatest_common_divisor(batch, group, spread):
    expected = torch.full((batch, 1, 1), float(spread))
    torch.testing.assert_close(MinibatchStd(group)(numbered(batch))[:, 1], expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("norm", [norm for norm in get_args(Norm) if norm != "batch"])  # which sees the whole batch
@pytest.mark.parametrize("row", ["patchgan, minibatch std", "multiscale, minibatch std"])
def test_fake_images_do_not_change_the_verdict_on_real_ones_beside_them(row, norm, photographs):
    network = discriminator(row, norm=norm).eval()
    real, fake, other = (as_images(photographs[place : place + 4]) for place in (0, 4, 8))
    one, two = (logits(network(torch.cat([real, second]))) for second in (fake, other))
    assert all(torch.equal(a[:4], b[:4]) and not torch.equal(a[4:], b[4:]) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("norm", get_args(Norm))
def test_logits_see_the_spread_behind_every_norm(norm, photographs):
    torch.manual_seed(0)
    network = PatchGAN(width=4, layers=1, norm=norm, minibatch_std=2)
    head = network.blocks[-1][-1]
    nn.init.zeros_(head.weight)
    nn.init.ones_(head.weight[:, -1])
    nn.init.zeros_(head.bias)
    images = as_images([photographs[0], photographs[0], photographs[0], photographs[8]])
    verdicts = logits(network(images))[0][:, 0, 4, 4]  # 16 times the channel, away from the edges
    assert verdicts[:2].max() <= 16 * 2e-4
    assert verdicts[2:].min() > 0.05


@pytest.mark.parametrize("kind", ["collapsed", "one image"])
def test_a_collapsed_batch_gives_finite_gradients_and_penalties(kind, photographs):
    network = MultiScalePatchGAN(width=4, layers=1, scales=2, norm="none", minibatch_std=2)
    image = as_images(photographs[:1] * (2 if kind == "collapsed" else 1)).requires_grad_()
    penalty = r1_penalty(logits(network(image)), image)
    penalty = penalty + gradient_penalty(lambda images: logits(network(images)), image, image)
    (penalty + logits(network(image))[0].mean()).backward()
    assert penalty.isfinite()
    assert image.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


def test_the_gradient_of_minibatch_std_is_right_twice():
    image = noise(4, 2, 3, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(MinibatchStd(2), image)
    assert torch.autograd.gradgradcheck(MinibatchStd(2), image)


def test_minibatch_std_of_half_precision_neither_overflows_nor_changes_the_type():
    image = torch.tensor([0.0, 2000.0], dtype=torch.float16).reshape(2, 1, 1, 1)
    result = MinibatchStd(2)(image)  # 1000 squared is beyond float16
    assert result.dtype == torch.float16
    assert result.flatten().tolist() == [0, 1000, 2000, 1000]


def test_minibatch_std_is_one_graph_for_batches_of_any_size():
    compiled = torch.compile(MinibatchStd(2), backend="eager", fullgraph=True)
    for batch in (2, 4, 6):  # a second size makes the batch a variable of the graph
        assert torch.equal(compiled(numbered(batch)), MinibatchStd(2)(numbered(batch)))


def test_a_patchgan_without_minibatch_std_keeps_the_names_of_its_weights():
    parts = [(0, "0.weight"), (0, "0.bias"), (1, "0.weight"), (1, "0.bias"), (2, "0.weight"), (2, "0.bias")]
    assert list(PatchGAN(width=2, layers=1).state_dict()) == [f"blocks.{block}.{name}" for block, name in parts]
