"""Layer streaming: every generator in tiles gives what it gives for the whole image."""

import math
from pathlib import Path

import data_store
import numpy as np
import pytest
import torch
from conftest import ROOT
from skimage import data as skimage_data
from test_networks import GENERATOR_ROWS, generator, norms
from torch import nn

from translate.data.images import read_picture
from translate.data.scan_folder import find_scans
from translate.model_sources import shipped_models
from translate.networks import EDSR, GENERATORS, ResNet, UNet
from translate.networks.dropout import noise
from translate.pipelines import ScanDenoising, load_pipeline
from translate.pipelines.inference.tiles import Held
from translate.sizes import translate_any_size
from translate.tiling.errors import TilingError
from translate.tiling.tiled import Tiling, translate_tiled

CASES = [(row, choice) for row in GENERATOR_ROWS for choice in norms(row, GENERATORS)]
every_generator = pytest.mark.parametrize(
    ("row", "choice"), CASES, ids=[" ".join((row, *choice.values())) for row, choice in CASES]
)
# height, width, side of the tiles: odd everything; a remainder of one pixel; smaller than a tile; thin; tiny tiles
SIZES = [(71, 102, 37), (129, 65, 64), (38, 20, 128), (3, 120, 16), (1, 1, 64)]
ENLARGED = [(23, 34, 16), (33, 17, 16), (18, 10, 64), (1, 1, 64)]  # for networks that make eight pixels of one


def photograph(height, width, images=2):
    """Crops of photographs, (N, 3, H, W) in [-1, 1]."""
    pictures = (skimage_data.chelsea(), skimage_data.coffee())[:images]
    crops = [torch.from_numpy(picture[60 : 60 + height, 100 : 100 + width].copy()) for picture in pictures]
    return torch.stack(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


def lively(network, seed=0):
    """Weights that keep values about as large as they are, also where an untrained network does nothing."""
    torch.manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in" if isinstance(layer, nn.Conv2d) else "fan_out")
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1)
        if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -1, 1)
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.uniform_(-1, 1)
            layer.running_var.uniform_(0.5, 2)
    return network.eval()


def tiled(network, images, side, *, source=None, **options):
    """The output, and what was reported."""
    n, _, height, width = images.shape
    output = torch.full((n, network.out_channels, height * network.scale, width * network.scale), math.nan)
    report = translate_tiled(network, source or Held(images), Held(output), side, **options)
    return output, report


@torch.inference_mode()
def whole(network, images):
    return translate_any_size(network, images)


def largest(values):
    return float(values.abs().max())


def grey(values):
    """0 to 255, not rounded."""
    return values.clamp(-1, 1).double() * 127.5 + 127.5


def assert_equal(output, expected):
    """Within 1e-5, and the same 8-bit picture.

    Some convolutions add up in another order where the map has another size (transposed ones of wide maps do), which is
    seen at the seventh digit. A value that lies closer than that to the middle between two grey levels may then round
    to the other one: one in a hundred thousand at most, so none where a picture has fewer values.
    """
    assert largest(output - expected) <= 1e-5
    changed = grey(output).round() != grey(expected).round()
    assert ((grey(expected[changed]) % 1 - 0.5).abs() <= 1e-5 * 127.5).all()
    assert int(changed.sum()) <= changed.numel() // 100_000


@every_generator
def test_tiles_give_what_the_whole_image_gives(row, choice):
    network = lively(generator(row, **choice))
    for height, width, side in ENLARGED if network.scale == 8 else SIZES:
        images = photograph(height, width)
        output, report = tiled(network, images, side)
        assert_equal(output, whole(network, images))
        assert report.tiles > 1 or max(height, width) <= side


def test_of_millions_of_values_the_few_that_round_otherwise_were_on_the_boundary():
    network, images = lively(GENERATORS["upsampled_unet"](scale=8, width=4, depth=2)), photograph(71, 102)
    assert_equal(tiled(network, images, 64)[0], whole(network, images))


# models that ship


def drawing():
    pixels = read_picture(sorted((ROOT / "pipelines" / "pictures" / "sketch").glob("*.png"))[3]).pixels
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.fixture(scope="module")
def abdomen():
    """A part of a real CT slice, HU, float32 of whole numbers."""
    (scan,) = find_scans(Path(data_store.__file__).parent / "data" / "explicit_VR-UN.dcm")
    return scan.read(0)[110:390, 110:438]


@pytest.mark.parametrize("name", shipped_models())
def test_a_model_that_ships_gives_the_same_picture(name, abdomen):
    network = load_pipeline(name, device="cpu").generator
    images = photograph(129, 102)[:, : network.in_channels]
    if name == "sketch-to-emoji":
        images = drawing()
    if name == "ct-denoising":
        images = torch.from_numpy(abdomen)[None, None] / 2047.5 - 0.5
    expected = whole(network, images)
    for side in (64, 128, 37):
        assert_equal(tiled(network, images, side)[0], expected)


@pytest.mark.parametrize("side", [64, 128, 37])
def test_a_scan_in_tiles_is_the_whole_scan_to_the_last_integer(abdomen, side):
    pipe = ScanDenoising.from_pretrained("ct-denoising", device="cpu")
    expected = pipe.with_tiling(Tiling(tile=None))(abdomen, units="HU")
    output = pipe.with_tiling(Tiling(tile=side))(abdomen, units="HU")
    assert np.abs(expected - abdomen).max() > 5
    assert np.abs(output - expected).max() < 0.05
    np.testing.assert_array_equal(np.rint(output), np.rint(expected))  # of 91840 none is that close to a half


# maps


@pytest.mark.parametrize(
    ("network", "images", "bounds"),
    [
        (lambda: load_pipeline("sketch-to-emoji", device="cpu").generator, drawing, (3e-3, 1e-4)),
        (lambda: lively(ResNet(width=16)), lambda: photograph(96, 128, 1), (0.05, 3e-3)),
    ],
    ids=["sketch-to-emoji", "ResNet-9"],
)
def test_maps_in_half_precision_cost_little(network, images, bounds):
    """Measured: 0.0011 at most and 0.00004 on average, of a range of 2; with random weights 0.015 and 0.0011."""
    network, images = network(), images()
    output, report = tiled(network, images, 64, tiling=Tiling(map_dtype=torch.float16))
    error = (output - whole(network, images)).abs()
    assert 0 < float(error.max()) < bounds[0]
    assert float(error.mean()) < bounds[1]
    assert report.map_memory * 2 == tiled(network, images, 64)[1].map_memory


@pytest.mark.parametrize("network", [ResNet(width=4, blocks=2), UNet(width=4, depth=3, norm="group")])
def test_maps_on_disk_and_part_of_them_give_the_same(network, tmp_path):
    images = photograph(71, 102)
    expected, in_memory = tiled(lively(network), images, 37)
    half = in_memory.map_memory // 2
    for limit in (0, half):
        output, report = tiled(network, images, 37, tiling=Tiling(map_memory=limit, scratch=tmp_path))
        assert largest(output - expected) <= 1e-5  # other statistics: pooled ones, nearer to the truth than torch's
        assert report.map_disk > 0
        assert report.map_memory <= limit
        assert report.map_memory + report.map_disk >= in_memory.map_memory
    assert in_memory.map_disk == 0


def mapped_files():
    """Lines of the files of maps that this process has open."""
    maps = Path("/proc/self/maps")
    return [line for line in maps.read_text().splitlines() if ".map" in line] if maps.is_file() else []


class Failing(Held):
    """Cannot be read any more at some time; sees what is in the folder of the maps until then."""

    def fail_at(self, count, folder):
        object.__setattr__(self, "left", [count])
        object.__setattr__(self, "seen", [])
        object.__setattr__(self, "folder", folder)
        return self

    def read(self, region):
        self.left[0] -= 1
        self.seen.append((list(self.folder.iterdir()), len(mapped_files())))
        if not self.left[0]:
            raise OSError("the disk was pulled")
        return super().read(region)


def test_nothing_is_left_of_the_maps_after_an_error_at_any_time(tmp_path):
    network, images = lively(UNet(width=4, depth=3, detail=2)), photograph(71, 102)
    counter = Failing(images).fail_at(0, tmp_path)
    tiling = Tiling(map_memory=0, scratch=tmp_path)
    tiled(network, images, 37, tiling=tiling, source=counter)
    total = -counter.left[0]
    if Path("/proc/self/maps").is_file():
        assert max(count for _, count in counter.seen) >= 2
        assert not mapped_files()
    random = np.random.default_rng(0)
    for count in {1, total, *random.integers(2, total, 8).tolist()}:
        source = Failing(images).fail_at(count, tmp_path)
        with pytest.raises(OSError, match="the disk was pulled") as caught:
            tiled(network, images, 37, tiling=tiling, source=source)
        assert caught.tb  # which keeps all that is not closed
        assert source.left == [0]
        assert not any(files for files, _ in source.seen)
        assert not list(tmp_path.iterdir())
        assert not mapped_files()


def test_an_activation_that_float16_cannot_hold_is_refused():
    network = lively(UNet(width=4, depth=3, norm="none"))
    network.downs[0].weight.data *= 1e7
    with pytest.raises(
        TilingError, match=r"an activation is \d.*, maps in float16 hold up to 65504: keep them in float32"
    ):
        tiled(network, photograph(64, 64), 16, tiling=Tiling(map_dtype=torch.float16))
    assert tiled(network, photograph(64, 64), 16)[0].isfinite().all()


# everything else


@every_generator
@pytest.mark.parametrize("value", [0.3, -1.0])
def test_a_constant_image_gives_finite_output(row, choice, value):
    network = lively(generator(row, **choice))
    images = torch.full((1, 3, 40, 24), value)
    output = tiled(network, images, 16)[0]
    assert output.isfinite().all()
    # A constant map divided by its deviation of 0: of rounding a norm makes 1 / sqrt(1e-5) times as much.
    assert largest(output - whole(network, images)) <= 1e-3


def test_noise_is_that_of_the_whole_image():
    for network in (ResNet(width=4, blocks=2, dropout=True), UNet(width=2, depth=6, dropout=True)):
        images = photograph(64, 128)
        with noise([1, 2]):
            expected = whole(lively(network), images)
        with noise([1, 2]):
            output = tiled(network, images, 32)[0]
        assert_equal(output, expected)
        assert largest(output - whole(network, images)) > 0.01


@pytest.mark.parametrize("network", [ResNet(width=4, blocks=2), EDSR(width=4, blocks=2)])
def test_progress_grows_to_one(network):
    shares = []
    report = tiled(lively(network), photograph(48, 40), 16, progress=shares.append)[1]
    assert shares == sorted(shares)
    assert len(shares) == report.tiles
    assert 0 < shares[0] < 0.2
    assert shares[-1] == pytest.approx(1)
