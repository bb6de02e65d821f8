"""The tilings of the field that benchmarks/tiles.py measures: right where they must be, off where they are known to."""

import pytest
import torch
from conftest import ROOT
from skimage import data as skimage_data

from translate.networks import ResNet, UNet, initialise
from translate.networks.blocks import InstanceNorm

WAYS = ("tile_by_tile", "thumbnail", "kernelised", "pooled")


@pytest.fixture
def methods(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # where a script finds the others beside it
    import tiling_methods

    return tiling_methods


def resnet(norm="instance"):
    torch.manual_seed(0)
    generator = ResNet(width=4, blocks=1, norm=norm).eval()
    initialise(generator, "kaiming")
    return generator


def photograph(height=64, width=96):
    crop = skimage_data.astronaut()[:height, 150 : 150 + width]
    return torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("way", WAYS)
def test_one_tile_that_covers_all_gives_the_whole_image(methods, way):
    generator, image = resnet(), photograph()
    output = getattr(methods, way)(generator, image, 96, 24)
    torch.testing.assert_close(output, generator(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_several_tiles_with_instance_norm_do_not(methods, way):
    generator, image = resnet(), photograph()
    output = getattr(methods, way)(generator, image, 32, 24)
    assert output.shape == image.shape
    assert (output - generator(image)).abs().max() > 0.01


def test_without_norms_the_halo_of_the_receptive_field_suffices_and_a_smaller_one_does_not(methods):
    generator, image = resnet("none"), photograph(96, 128)
    whole = generator(image)
    # 23 = 3 + 1 + 2 + 2 * 4 + 4 + 2 + 3, as a multiple of 4
    torch.testing.assert_close(methods.tile_by_tile(generator, image, 32, 24), whole, rtol=0, atol=1e-6)
    assert (methods.tile_by_tile(generator, image, 32, 4) - whole).abs().max() > 1e-5


def test_kernelised_statistics_are_means_over_nine_tiles_with_the_edge_repeated(methods):
    table = torch.arange(12.0).reshape(12, 1, 1, 1)  # 3 rows of 4 tiles
    smooth = methods.smoothed(table, 4).reshape(3, 4)
    assert smooth[1, 1] == 5  # 0 1 2, 4 5 6, 8 9 10
    assert smooth[0, 0] == pytest.approx((0 + 0 + 1 + 0 + 0 + 1 + 4 + 4 + 5) / 9)


def test_kernelised_statistics_are_those_of_a_tile_and_its_neighbours(methods):
    row = torch.tensor([-1.0, 1, 1, 5, 6, 18])  # tiles of 2: means 0, 3, 12, deviations 1, 2, 6
    image = row.expand(1, 1, 2, 6)
    output = methods.kernelised(torch.nn.Sequential(InstanceNorm()), image, 2, 0)
    means, deviations = torch.tensor([1.0, 1, 5, 5, 9, 9]), torch.tensor([4.0, 4, 9, 9, 14, 14]) / 3
    torch.testing.assert_close(output, ((row - means) / deviations).expand(1, 1, 2, 6), rtol=1e-4, atol=1e-4)


def test_pooled_variance_is_the_mean_of_the_tiles_variances(methods):
    tiles = [torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[[9.0, 13.0]]]])]  # means 1 and 11, variances 1 and 4
    first, second = methods.advanced(InstanceNorm(), tiles)
    torch.testing.assert_close(first, (tiles[0] - 6) / 2.5**0.5, rtol=1e-4, atol=0)
    torch.testing.assert_close(second, (tiles[1] - 6) / 2.5**0.5, rtol=1e-4, atol=0)


def test_larger_tiles_weigh_more_in_pooled_statistics(methods):
    tiles = [torch.full((1, 1, 1, 3), 4.0), torch.full((1, 1, 1, 1), 8.0)]
    first, _ = methods.advanced(InstanceNorm(), tiles)
    assert (first < 0).all()
    torch.testing.assert_close(first * methods.EPSILON**0.5, torch.full((1, 1, 1, 3), -1.0))  # the mean is 5


def test_thumbnail_statistics_are_those_of_the_image_shrunk_to_a_tile(methods):
    image = photograph(96, 128)
    small = methods.shrunk(image, 32, 4)
    assert small.shape == (1, 3, 24, 32)
    generator = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), InstanceNorm())
    generator.size_multiple = 4
    values = generator[0](small)
    expected = (generator[0](image) - values.mean((2, 3), keepdim=True)) / values.std(
        (2, 3), correction=0, keepdim=True
    )
    torch.testing.assert_close(methods.thumbnail(generator, image, 32, 0), expected, rtol=0, atol=1e-3)
    assert (expected - generator(image)).abs().max() > 0.01


def test_the_norms_are_as_before_also_behind_an_error(methods):
    generator, image = UNet(width=4, depth=3).eval(), photograph()
    before = generator(image)
    with pytest.raises(ZeroDivisionError), methods.norms_by(generator, lambda index, values: values / (1 // 0)):
        generator(image)
    methods.kernelised(generator, image, 32, 0)
    assert torch.equal(generator(image), before)


def test_the_measures_are_exact(methods):
    import tiles

    whole = torch.full((1, 3, 2, 2), -1.0)
    tiled = whole.clone()
    tiled[0, 0, 0, 0] += 2  # one of 12 values, of 4 pixels
    found = tiles.compare(whole, tiled)
    assert found.psnr == pytest.approx(10.79, abs=0.01)  # 10 log10(12)
    assert (found.changed, found.largest) == (25, 2)
    assert tiles.compare(whole, whole).psnr == float("inf")


def test_the_arithmetic_is_that_of_the_convolutions_and_none_without_values(methods):
    import tiles

    network = torch.nn.Conv2d(3, 5, 3, padding=1)
    image = torch.zeros(1, 3, 4, 6)
    _, found = tiles.counted(network, image)
    assert found == 2 * 4 * 6 * 5 * 3 * 9
    assert tiles.counted(network.to("meta"), image.to("meta"))[1] == 0
