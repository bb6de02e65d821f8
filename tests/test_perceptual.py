"""Distances of a classifier's features, with small weights made here, against the formulas written out."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from translate.checkpoint import CheckpointError
from translate.networks.vgg import VGGFeatures
from translate.perceptual import (
    ESRGAN,
    LPIPS,
    REAL_ESRGAN,
    PerceptualLoss,
    find_feature_weights,
    load_features,
    load_lpips,
    load_perceptual_loss,
)

LAYERS = {  # of torchvision's `features`: convolutions and poolings, written out
    "vgg16": [0, 2, "pool", 5, 7, "pool", 10, 12, 14, "pool", 17, 19, 21, "pool", 24, 26, 28],
    "vgg19": [0, 2, "pool", 5, 7, "pool", 10, 12, 14, 16, "pool", 19, 21, 23, 25, "pool", 28, 30, 32, 34],
}
WIDTHS = [4, 5, 6, 7, 8]  # of the five blocks


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def vgg_weights(network="vgg19"):
    weights, before, block = {}, 3, 0
    for layer in LAYERS[network]:
        if layer == "pool":
            block += 1
            continue
        width = WIDTHS[block]
        weights[f"features.{layer}.weight"] = noise(width, before, 3, 3, seed=layer) * (2 / (3 * before)) ** 0.5
        weights[f"features.{layer}.bias"] = noise(width, seed=100 + layer) / 4
        before = width
    weights["classifier.0.weight"] = noise(2, 2)
    return weights


def linear_weights():
    return {f"lin{i}.model.1.weight": noise(1, width, 1, 1, seed=i).abs() for i, width in enumerate(WIDTHS)}


def by_hand(image, network, weights):
    """Every activation, by the name of its layer."""
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None]
    x = (image.double() * 0.5 + 0.5 - mean) / deviation
    found, block, number = {}, 1, 0
    for layer in LAYERS[network]:
        if layer == "pool":
            x, block, number = F.max_pool2d(x, kernel_size=2, stride=2), block + 1, 0
            continue
        number += 1
        weight, bias = (weights[f"features.{layer}.{kind}"].double() for kind in ("weight", "bias"))
        x = F.conv2d(x, weight, bias, padding=1)
        found[f"conv{block}_{number}"] = x
        x = x.clamp(min=0)
        found[f"relu{block}_{number}"] = x
    return found


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    """A torch hub cache without weights."""
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))


@pytest.mark.parametrize("network", ["vgg16", "vgg19"])
@pytest.mark.parametrize("size", [(16, 16), (37, 18)])
def test_features_are_the_activations_of_the_named_layers(network, size):
    features = VGGFeatures(vgg_weights(network))
    assert features.name == network
    assert features.channels["conv4_2"] == 7
    image = noise(2, 3, *size)
    expected = by_hand(image, network, vgg_weights(network))
    found = features(image, expected)
    assert found.keys() == expected.keys()
    for layer, activation in found.items():
        torch.testing.assert_close(activation.double(), expected[layer], rtol=1e-4, atol=1e-4)


def test_a_grey_image_is_one_of_three_equal_channels():
    features = VGGFeatures(vgg_weights())
    grey = noise(2, 1, 16, 16)
    colour = grey.repeat(1, 3, 1, 1)
    assert torch.equal(features(grey, ["conv5_4"])["conv5_4"], features(colour, ["conv5_4"])["conv5_4"])


def test_features_are_frozen_and_no_part_of_a_state_dict_but_the_convolutions():
    features = VGGFeatures(vgg_weights())
    assert not features.training
    assert not any(parameter.requires_grad for parameter in features.parameters())
    assert len(features.state_dict()) == 2 * 16
    assert torch.equal(features.convolutions["conv1_1"].weight, vgg_weights()["features.0.weight"])


def test_weights_stored_in_half_precision_are_computed_with_in_single():
    features = VGGFeatures({name: tensor.half() for name, tensor in vgg_weights().items()})
    assert features(noise(1, 3, 16, 16), ["relu5_1"])["relu5_1"].dtype == torch.float32


@pytest.mark.parametrize(
    ("layer", "side"), [("relu1_2", 1), ("conv2_2", 2), ("relu3_3", 4), ("conv4_4", 8), ("conv5_4", 16)]
)
def test_features_take_the_sizes_that_their_layers_need(layer, side):
    features = VGGFeatures(vgg_weights())
    assert features(noise(1, 3, side, side), [layer])[layer].shape[-2:] == (1, 1)
    if side > 1:
        message = rf"at least {side}, got an image of {side - 1} x {side} .*, or choose layers of an earlier block"
        with pytest.raises(ValueError, match=message):
            features(noise(1, 3, side - 1, side), [layer])


def test_images_of_two_channels_have_no_features():
    with pytest.raises(ValueError, match=r"shape \(N, 3, H, W\), got \(1, 2, 16, 16\)"):
        VGGFeatures(vgg_weights())(noise(1, 2, 16, 16), ["relu1_1"])


@pytest.mark.parametrize("layer", ["relu5_4", "conv6_1", "pool1_1", "relu", ""])
def test_a_layer_that_a_vgg_does_not_have_is_refused(layer):
    with pytest.raises(ValueError, match=f"vgg16 has no layer '{layer}': it has relu1_1 to relu5_3, and conv in place"):
        VGGFeatures(vgg_weights("vgg16"))(noise(1, 3, 16, 16), ["relu1_1", layer])


def test_weights_that_are_no_vgg_are_refused():
    weights = vgg_weights()
    del weights["features.34.weight"]
    message = r"1 tensors of vgg19 are missing, the first is 'features\.34\.weight': give the weights of a whole VGG"
    with pytest.raises(ValueError, match=message):
        VGGFeatures(weights)
    with pytest.raises(ValueError, match=r"26 tensors of vgg16 are missing, the first is 'features\.0\.weight'"):
        VGGFeatures({})


@pytest.mark.parametrize(
    ("key", "shape"),
    [("features.5.weight", (5, 3, 3, 3)), ("features.5.bias", (5, 1)), ("features.5.bias", ())],
)
def test_weights_of_a_wrong_shape_are_refused(key, shape):
    with pytest.raises(ValueError, match=r"features\.5 must have a weight of shape \(C, 4, 3, 3\).* a bias of shape"):
        VGGFeatures({**vgg_weights(), key: torch.zeros(shape)})


@pytest.mark.parametrize("layers", [ESRGAN, REAL_ESRGAN, {"relu2_2": 0.5, "conv1_1": 0.0}])
def test_a_perceptual_loss_is_the_weighted_sum_of_mean_absolute_differences(layers):
    loss = PerceptualLoss(VGGFeatures(vgg_weights()), layers)
    image, target = noise(2, 3, 20, 16, seed=1), noise(2, 3, 20, 16, seed=2)
    a, b = by_hand(image, "vgg19", vgg_weights()), by_hand(target, "vgg19", vgg_weights())
    expected = sum(weight * (a[layer] - b[layer]).abs().mean() for layer, weight in layers.items())
    assert loss(image, target).item() == pytest.approx(expected.item(), rel=1e-4)
    assert loss(image, image).item() == 0


def test_the_gradient_of_a_perceptual_loss_flows_to_the_image_alone():
    loss = PerceptualLoss(VGGFeatures(vgg_weights()))
    image, target = noise(1, 3, 16, 16, seed=1).requires_grad_(), noise(1, 3, 16, 16, seed=2).requires_grad_()
    loss(image, target).backward()
    assert image.grad.abs().sum() > 0
    assert target.grad is None
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_a_perceptual_loss_compiles_in_one_piece():
    loss = PerceptualLoss(VGGFeatures(vgg_weights()))
    image, target = noise(1, 1, 16, 16, seed=1), noise(1, 1, 16, 16, seed=2)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(image, target), loss(image, target))


@pytest.mark.parametrize("layers", [{}, {"conv5_4": -1.0}])
def test_a_perceptual_loss_needs_layers_with_weights(layers):
    with pytest.raises(ValueError, match=r"layers must name at least one layer, and no negative weight, got \{"):
        PerceptualLoss(VGGFeatures(vgg_weights()), layers)


def test_a_perceptual_loss_compares_images_of_one_shape():
    message = r"a perceptual loss compares images of one shape, got \(2, 3, 16, 16\) and \(1, 3, 16, 16\)"
    with pytest.raises(ValueError, match=message):
        PerceptualLoss(VGGFeatures(vgg_weights()))(noise(2, 3, 16, 16), noise(1, 3, 16, 16))


def lpips_by_hand(a, b, weights, linear):
    total = 0
    for index, layer in enumerate(["relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"]):
        one, two = (by_hand(image, "vgg16", weights)[layer] for image in (a, b))
        one, two = (x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10) for x in (one, two))
        total += ((one - two) ** 2 * linear[f"lin{index}.model.1.weight"]).sum(dim=1).mean(dim=(1, 2))
    return total


@pytest.mark.parametrize("size", [(16, 16), (40, 33)])
def test_lpips_is_the_formula_of_its_paper(size):
    lpips = LPIPS(VGGFeatures(vgg_weights("vgg16")), linear_weights())
    a, b = noise(3, 3, *size, seed=1), noise(3, 3, *size, seed=2)
    result = lpips(a, b)
    assert result.shape == (3,)
    expected = lpips_by_hand(a, b, vgg_weights("vgg16"), linear_weights())
    torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(lpips(b, a), result)
    assert not lpips(a, a).any()


def test_lpips_has_a_finite_gradient_where_all_features_are_zero():
    weights = {name: tensor if "weight" in name else tensor * 0 - 100 for name, tensor in vgg_weights("vgg16").items()}
    image = noise(1, 3, 16, 16).requires_grad_()
    LPIPS(VGGFeatures(weights), linear_weights())(image, noise(1, 3, 16, 16, seed=1)).sum().backward()
    assert image.grad.isfinite().all()


def test_lpips_refuses_what_it_was_not_made_for():
    with pytest.raises(ValueError, match="LPIPS was trained on the layers of vgg16, got vgg19: give weights of vgg16"):
        LPIPS(VGGFeatures(vgg_weights("vgg19")), linear_weights())
    features = VGGFeatures(vgg_weights("vgg16"))
    linear = linear_weights()
    with pytest.raises(ValueError, match=r"lin3\.model\.1\.weight of shape \(1, 7, 1, 1\), got \(1, 9, 1, 1\): give"):
        LPIPS(features, {**linear, "lin3.model.1.weight": torch.zeros(1, 9, 1, 1)})
    del linear["lin4.model.1.weight"]
    with pytest.raises(ValueError, match=r"lin4\.model\.1\.weight .*, got no such tensor"):
        LPIPS(features, linear)
    lpips = LPIPS(features, linear_weights())
    with pytest.raises(ValueError, match=r"LPIPS compares images of one shape, got \(1, 3, 16, 16\) and \(1, 1, 16, "):
        lpips(noise(1, 3, 16, 16), noise(1, 1, 16, 16))
    with pytest.raises(ValueError, match="at least 16, got an image of 15 x 16"):
        lpips(noise(1, 3, 15, 16), noise(1, 3, 15, 16))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt"])
def test_features_are_loaded_from_files_of_both_kinds(tmp_path, name):
    save = save_file if name.endswith(".safetensors") else torch.save
    save(vgg_weights(), tmp_path / name)
    image = noise(1, 3, 16, 16)
    expected = VGGFeatures(vgg_weights())(image, ["conv5_4"])["conv5_4"]
    assert torch.equal(load_features(tmp_path / name)(image, ["conv5_4"])["conv5_4"], expected)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_damaged_file_is_named(tmp_path, name):
    save = save_file if name.endswith(".safetensors") else torch.save
    save(vgg_weights(), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not found"):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=rf"{name} is damaged"):
            load_features(tmp_path / name)


class Harmful:
    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_a_file_cannot_make_python_run_anything(tmp_path, capsys):
    torch.save({"features.0.weight": Harmful()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="holds more than weights"):
        load_features(tmp_path / "w.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [torch.zeros(2), {"state_dict": {"a": torch.zeros(2)}}])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="holds no named tensors: give the file of a state dict"):
        load_features(tmp_path / "w.pth")


def test_a_file_with_a_missing_layer_is_refused_by_its_name(tmp_path):
    weights = vgg_weights()
    del weights["features.16.bias"]
    torch.save(weights, tmp_path / "w.pth")
    message = r"w\.pth cannot be used: 1 tensors of vgg19 are missing, the first is 'features\.16\.bias'"
    with pytest.raises(CheckpointError, match=message):
        load_features(tmp_path / "w.pth")


def test_other_files_and_none_are_refused(tmp_path):
    (tmp_path / "w.onnx").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"weights are .safetensors, .pth or .pt files, got .*w\.onnx: give one"):
        load_features(tmp_path / "w.onnx")
    with pytest.raises(CheckpointError, match=r"there are no weights at .*none\.pth: give an existing file"):
        load_features(tmp_path / "none.pth")


def test_weights_are_found_where_they_are_given_or_in_torchs_cache(tmp_path):
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    cached = tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    cached.write_bytes(b"")
    (tmp_path / "hub" / "checkpoints" / "vgg19_bn-c79401a0.pth").write_bytes(b"")
    assert find_feature_weights(None) == cached
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"")
    assert find_feature_weights(mine) == mine


def test_weights_that_are_nowhere_are_not_downloaded_but_asked_for(tmp_path):
    message = r"no vgg19-\*\.pth in .*hub.checkpoints: get https.*/models/vgg19-dcbb9e9d\.pth .* nothing is downloaded"
    with pytest.raises(CheckpointError, match=message):
        find_feature_weights(None)
    with pytest.raises(CheckpointError, match=r"no vgg16-\*\.pth in .*models/vgg16-397923af\.pth"):
        find_feature_weights(None, "vgg16")
    with pytest.raises(CheckpointError, match=r"there are no weights of vgg19 at .*none\.pth: give an existing file"):
        find_feature_weights(tmp_path / "none.pth")


def test_a_perceptual_loss_is_loaded_from_a_file_or_the_cache(tmp_path):
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    for path in (tmp_path / "hub" / "checkpoints" / "vgg19-0.pth", tmp_path / "mine.pth"):
        torch.save(vgg_weights(), path)
    image, target = noise(1, 3, 16, 16, seed=1), noise(1, 3, 16, 16, seed=2)
    expected = PerceptualLoss(VGGFeatures(vgg_weights()))(image, target)
    for given in (None, tmp_path / "mine.pth", str(tmp_path / "mine.pth")):
        assert torch.equal(load_perceptual_loss(given)(image, target), expected)
    torch.save(vgg_weights("vgg16"), tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match=r"mine\.pth cannot be used: vgg16 has no layer 'conv3_4'"):
        load_perceptual_loss(tmp_path / "mine.pth")


def test_lpips_is_loaded_from_two_files(tmp_path):
    torch.save(vgg_weights("vgg16"), tmp_path / "vgg.pth")
    torch.save(linear_weights(), tmp_path / "linear.pth")
    a, b = noise(1, 3, 16, 16, seed=1), noise(1, 3, 16, 16, seed=2)
    expected = LPIPS(VGGFeatures(vgg_weights("vgg16")), linear_weights())(a, b)
    assert torch.equal(load_lpips(tmp_path / "vgg.pth", tmp_path / "linear.pth")(a, b), expected)
    with pytest.raises(CheckpointError, match=r"vgg\.pth cannot be used: the linear weights need lin0"):
        load_lpips(tmp_path / "vgg.pth", tmp_path / "vgg.pth")
