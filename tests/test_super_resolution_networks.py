"""What is particular to the networks that enlarge, and to the discriminator of Real-ESRGAN."""

import re
from math import gcd

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from translate.data.imresize import imresize
from translate.networks import EDSR, RRDB, PatchGAN, UNet, UNetDiscriminator, UpsampledUNet, initialise, logits
from translate.networks.bicubic import Bicubic
from translate.sizes import translate_any_size

SCALES = (1, 2, 3, 4, 8)
SMALL = {
    EDSR: {"width": 4, "blocks": 2},
    RRDB: {"width": 4, "growth": 2, "blocks": 1},
    UpsampledUNet: {"width": 4, "depth": 2},
}


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(params=SMALL, ids=lambda network: network.__name__)
def build(request):
    def make(**changes):
        return request.param(**{**SMALL[request.param], **changes})

    return make


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [(7, 5), (2, 9)])
def test_the_bicubic_layer_is_matlabs_imresize_up_to_the_border(scale, size):
    image = np.random.default_rng(0).uniform(-1, 1, (*size, 3))
    expected = imresize(image, (scale * size[0], scale * size[1]))
    result = Bicubic(scale)(torch.from_numpy(image).permute(2, 0, 1)[None])
    assert result.dtype == torch.float64
    np.testing.assert_allclose(result[0].permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-7)


def test_the_bicubic_layer_treats_every_channel_and_image_alike():
    images = noise(2, 3, 6, 5)
    together = Bicubic(3)(images)
    for n, c in np.ndindex(2, 3):
        assert torch.equal(together[n, c], Bicubic(3)(images[n : n + 1, c : c + 1])[0, 0])


@pytest.mark.parametrize("scale", [0, 1.5, True])
def test_the_bicubic_layer_enlarges_by_whole_numbers_only(scale):
    with pytest.raises(ValueError, match=f"scale must be an int of at least 1, got {scale}"):
        Bicubic(scale)


@pytest.mark.parametrize("scale", SCALES)
def test_a_super_resolver_starts_as_the_bicubic_enlargement(build, scale):
    network = build(scale=scale)
    image = noise(2, 3, 4 * network.size_minimum, 2 * network.size_minimum)
    assert torch.equal(network(image), Bicubic(scale)(image))


@pytest.mark.parametrize("scale", SCALES)
def test_gradients_reach_every_parameter_after_the_first_step(build, scale):
    torch.manual_seed(0)
    network = build(scale=scale)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    image = noise(2, 3, 8, 8)
    target = -noise(2, 3, 8 * scale, 8 * scale)
    for _ in range(2):
        optimizer.zero_grad()
        (network(image) - target).square().mean().backward()
        optimizer.step()
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0] == []


def test_a_few_steps_bring_a_super_resolver_nearer_than_bicubic(build):
    torch.manual_seed(0)
    network = build(scale=2)
    rows = torch.arange(16.0)[:, None].expand(16, 16)
    target = torch.sign(torch.sin(rows / 2 + 0.3))[None, None].expand(1, 3, 16, 16)  # edges, which bicubic blurs
    image = target[..., ::2, ::2]
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = (network(image) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_kernel_of_the_enlargement_is_no_weight(build):
    network = build()
    assert not [name for name in network.state_dict() if "kernel" in name or "enlarge" in name]
    assert network.state_dict().keys() == dict(network.named_parameters()).keys()


@pytest.mark.parametrize("scale", SCALES)
def test_any_input_size_is_enlarged_by_the_scale(build, scale):
    network = build(scale=scale)
    initialise(network)
    for height, width in [(1, 1), (2, 3), (5, 17)]:
        result = translate_any_size(network, noise(1, 3, height, width))
        assert result.shape == (1, 3, scale * height, scale * width)


@pytest.mark.parametrize("channels", [1, 2])
def test_super_resolvers_take_as_many_channels_as_they_give(build, channels):
    network = build(in_channels=channels, out_channels=channels)
    assert network(noise(1, channels, 4, 4)).shape[1] == channels


def test_unequal_channels_are_refused(build):
    message = "as many output as input channels, got in_channels=1 and out_channels=3: make them equal"
    with pytest.raises(ValueError, match=message):
        build(in_channels=1, out_channels=3)
    with pytest.raises(ValueError, match="in_channels must be an int of at least 1, got 0"):
        build(in_channels=0, out_channels=0)


@pytest.mark.parametrize("scale", [0, 5, 16, 2.5, True])
def test_other_scales_are_refused(build, scale):
    with pytest.raises(ValueError, match=rf"scale must be one of 1, 2, 3, 4, 8, got {re.escape(repr(scale))}"):
        build(scale=scale)


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (EDSR, {"blocks": 0}, "blocks must be an int of at least 1, got 0"),
        (EDSR, {"inner": 0}, "inner must be an int of at least 1, got 0"),
        (RRDB, {"growth": 0}, "growth must be an int of at least 1, got 0"),
        (RRDB, {"width": -1}, "width must be an int of at least 1, got -1"),
        (RRDB, {"blocks": 1.5}, r"blocks must be an int of at least 1, got 1\.5"),
        (UpsampledUNet, {"depth": 1}, "depth must be an int of at least 2, got 1"),
        (UpsampledUNet, {"norm": "layer"}, "norm must be one of .*, got 'layer'"),
        (UpsampledUNet, {"upsample": "nearest"}, "upsample must be one of .*, got 'nearest'"),
    ],
)
def test_arguments_that_make_no_super_resolver_are_refused(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)


@pytest.mark.parametrize(
    ("network", "arguments", "parameters"),
    [
        (EDSR, {"scale": 2}, 1_190_412),
        (EDSR, {"scale": 4}, 1_211_184),  # 36 channels more in the last layer, of 577 numbers each
        (RRDB, {"scale": 4}, 16_697_987),  # as published
        (RRDB, {"scale": 2}, 16_697_987 - 36_928),  # one enlargement less
        (RRDB, {"scale": 3}, 16_697_987 - 36_928),
    ],
)
def test_the_numbers_of_parameters_are_known(network, arguments, parameters):
    assert count(network(**arguments)) == parameters


def test_the_parameters_of_an_upsampled_unet_are_those_of_its_unet():
    assert count(UpsampledUNet(scale=4, width=4, depth=3)) == count(UNet(width=4, depth=3, norm="none"))


def test_an_rrdb_starts_with_a_tenth_of_hes_deviation_and_without_biases():
    torch.manual_seed(0)
    network = RRDB(scale=2, blocks=1)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            wanted = 0.0 if name == "tail.2" else 0.1 * (2 / (9 * layer.in_channels)) ** 0.5
            assert layer.weight.std().item() == pytest.approx(wanted, rel=0.1), name
            assert not layer.bias.any(), name


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("scale", SCALES)
def test_an_upsampled_unet_declares_what_its_unet_needs_of_the_enlarged_image(depth, scale):
    network = UpsampledUNet(scale=scale, width=2, depth=depth)
    assert network.size_multiple == 2**depth // gcd(2**depth, scale)
    for side in range(1, 2 * 2**depth + 1):
        fits = side >= 2 and scale * side % 2**depth == 0
        assert fits == (side >= network.size_minimum and side % network.size_multiple == 0), side
    side = network.size_minimum
    assert network(noise(1, 3, side, side)).shape[-2:] == (scale * side, scale * side)


def test_an_upsampled_unet_says_what_size_it_needs():
    message = "got an image of 9 x 8 (H x W): pad it to 12 x 8, or use a smaller depth"
    with pytest.raises(ValueError, match=re.escape(message)):
        UpsampledUNet(scale=2, width=2, depth=3)(noise(1, 3, 9, 8))


def test_an_upsampled_unet_adds_less_than_one_to_the_enlargement():
    network = UpsampledUNet(scale=2, width=4, depth=2, norm="instance")
    initialise(network, "kaiming")
    image = noise(1, 3, 8, 8)
    change = network(image) - Bicubic(2)(image)
    assert 0 < change.abs().max() <= 1


def test_the_constructors_weights_can_be_kept(build):
    for network in (build(), UNet(width=2, depth=2), PatchGAN(width=2, spectral_norm=True)):
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        initialise(network, "constructor")
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("size", [(8, 8), (9, 15), (16, 11)])
def test_the_unet_discriminator_gives_a_logit_for_every_pixel(size):
    network = UNetDiscriminator(width=4)
    (scale,) = network(noise(2, 3, *size))
    assert scale[-1].shape == (2, 1, *size)
    assert len(scale) == 2 * 3 + 4
    deepest = scale[3]
    assert deepest.shape == (2, 32, size[0] // 8, size[1] // 8)


def test_a_logit_of_the_unet_discriminator_sees_far_around_its_pixel():
    image = noise(1, 3, 96, 96).requires_grad_()
    (result,) = logits(UNetDiscriminator(width=4)(image))
    result[0, 0, 48, 48].backward()
    touched = image.grad[0].abs().sum(dim=0) > 0
    assert touched[48].sum() > 60
    assert touched[:, 48].sum() > 60


def test_spectral_norm_is_on_all_but_the_first_and_the_last_convolution():
    def spectral(network):
        return [name for name, layer in network.named_modules() if hasattr(layer, "parametrizations")]

    inner = ["downs.0.0", "downs.1.0", "downs.2.0", "ups.0.0", "ups.1.0", "ups.2.0", "refine.0.0", "refine.1.0"]
    assert spectral(UNetDiscriminator(width=4)) == inner
    assert spectral(UNetDiscriminator(width=4, spectral_norm=False)) == []


@pytest.mark.parametrize("network", [*SMALL, UNetDiscriminator], ids=lambda network: network.__name__)
def test_a_network_runs_alike_compiled_and_in_channels_last(network):
    torch.manual_seed(0)
    plain = network(**SMALL.get(network, {"width": 4}))
    initialise(plain, "kaiming")
    plain.eval()
    image = noise(2, 3, 8, 12)
    expected = plain(image)
    compiled = torch.compile(plain, backend="aot_eager", fullgraph=True)(image)
    last = plain.to(memory_format=torch.channels_last)(image.contiguous(memory_format=torch.channels_last))
    for result in (compiled, last):
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_an_rrdb_computes_what_its_paper_draws():
    torch.manual_seed(0)
    network = RRDB(1, 1, scale=3, width=3, growth=2, blocks=2)
    initialise(network, "kaiming")
    weights = network.state_dict()

    def convolve(x, name):
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def activate(x):
        return torch.where(x > 0, x, 0.2 * x)

    def dense(x, name):
        seen = [x]
        for i in range(4):
            seen.append(activate(convolve(torch.cat(seen, dim=1), f"{name}.grow.{i}.0")))
        return x + 0.2 * convolve(torch.cat(seen, dim=1), f"{name}.reduce")

    image = noise(2, 1, 5, 4)
    trunk = head = convolve(image, "head")
    for block in range(2):
        x = trunk
        for i in range(3):
            x = dense(x, f"body.{block}.dense.{i}")
        trunk = trunk + 0.2 * x
    features = head + convolve(trunk, "body.2")
    enlarged = features.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    details = convolve(activate(convolve(activate(convolve(enlarged, "ups.0.1")), "tail.0")), "tail.2")
    torch.testing.assert_close(network(image), Bicubic(3)(image) + details)


def test_the_unet_discriminator_computes_what_its_paper_draws():
    torch.manual_seed(0)
    network = UNetDiscriminator(1, width=2, depth=2, spectral_norm=False)
    weights = network.state_dict()

    def convolve(x, name, **how):
        return F.leaky_relu(F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), padding=1, **how), 0.2)

    def enlarge(x, size):
        return F.interpolate(x, size, mode="bilinear")

    full = convolve(noise(2, 1, 7, 8), "stem.0")
    half = convolve(full, "downs.0.0", stride=2)
    quarter = convolve(half, "downs.1.0", stride=2)
    half_up = convolve(enlarge(quarter, (3, 4)), "ups.0.0") + half
    full_up = convolve(enlarge(half_up, (7, 8)), "ups.1.0") + full
    refined = convolve(full_up, "refine.0.0")
    again = convolve(refined, "refine.1.0")
    verdict = F.conv2d(again, weights["head.weight"], weights["head.bias"], padding=1)
    (activations,) = network(noise(2, 1, 7, 8))
    expected = [full, half, quarter, half_up, full_up, refined, again, verdict]
    for activation, wanted in zip(activations, expected, strict=True):
        torch.testing.assert_close(activation, wanted)
