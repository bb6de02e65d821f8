"""Pipelines that cut images which do not fit: the same pictures, scans and variations as of the whole.

Both compute in float32, in another order: they differ by less than 1e-5 in model space, whose 2 have 255 steps in
8-bit. So a value whose exact result lies that near to a tie may round the other way: fewer than one in 2,000, by one.
"""

import numpy as np
import pytest
import torch
from conftest import ROOT
from skimage import data as photographs_of
from test_scan_pipeline import CONTRACT, pipe_of, tissue, trained
from test_sketch_to_photo import SKETCHES
from test_sketch_to_photo import pipeline as drawing_pipeline
from test_super_resolution_pipeline import config_of as enlarger_config
from test_super_resolution_pipeline import cut_out
from test_super_resolution_pipeline import network as enlarger_network

from translate.data.images import Picture, from_array, read_picture, to_array
from translate.model_folder import ModelConfig
from translate.networks import Identity, ResNet, UNet, initialise
from translate.pipelines import Pipeline, SuperResolution
from translate.pipelines.inference import pretrained, tiles
from translate.pipelines.inference.tiles import TileWatch
from translate.tiling import tiled
from translate.tiling.errors import TilingError
from translate.tiling.tiled import Tiling

FACE = np.ascontiguousarray(photographs_of.astronaut()[60:131, 170:263])  # 71 x 93 (H x W): no multiple of anything
OFF = Tiling(tile=None)


def face(dtype="uint8", samples=3):
    """The photograph of an astronaut, with 1 to 4 samples; alpha is a ramp."""
    ramp = np.broadcast_to(np.linspace(0, 255, 93).astype(np.uint8), (71, 93))
    grey = FACE[..., 1]
    array = {1: grey, 2: np.dstack([grey, ramp]), 3: FACE, 4: np.dstack([FACE, ramp])}[samples]
    if dtype == "float32":
        return (array / 255).astype(np.float32)
    return array.astype(np.uint16) * 257 if dtype == "uint16" else array


def translator(name="resnet", channels=3, *, follow=False):
    """An untrained generator whose instance norms see the whole image, and that has details everywhere."""
    torch.manual_seed(0)
    size = {"blocks": 1} if name == "resnet" else {"depth": 3}
    arguments = {"in_channels": channels, "out_channels": channels, "width": 4, **size}
    generator = (ResNet if name == "resnet" else UNet)(**arguments)
    initialise(generator, "kaiming")
    entry = {"name": name, "arguments": arguments, "input": {"channels": channels}, "output": {"channels": channels}}
    config = ModelConfig.model_validate({"generators": {"generator": entry}, "follow_input_channels": follow})
    return Pipeline(generator, config)


def enlarger(channels=1, scale=2, **settings):
    network = enlarger_network(channels, scale, adds="details")
    return SuperResolution(network, enlarger_config(channels, scale)).with_settings(**settings)


def cutting(pipe, side):
    """The pipeline with tiles, and what reports of them."""
    watch = TileWatch()
    return pipe.with_tiling(Tiling(tile=side), watch), watch


def check_same(pipe, image, side, **how):
    """The picture in tiles is that of the whole. Returns what was reported of the tiles."""
    in_tiles, watch = cutting(pipe, side)
    whole = pipe.with_tiling(OFF)(image, **how)
    made = in_tiles(image, **how)
    assert made.dtype == whole.dtype
    assert made.shape == whole.shape
    assert whole.std() > 0.05 * np.ptp(whole)  # a constant would prove nothing
    check_close(made, whole)
    assert watch.reports
    assert {report.tile for report in watch.reports} == {side}
    return watch.reports


def check_close(made, whole):
    if whole.dtype == np.float32:
        np.testing.assert_allclose(made, whole, rtol=1e-5, atol=1e-5)  # colours are divided by alpha
        return
    difference = np.abs(made.astype(int) - whole)
    assert difference.max() <= 1
    assert whole.dtype == np.uint16 or (difference > 0).mean() < 1 / 2000


# pictures


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("name", ["resnet", "unet"])
def test_a_picture_in_tiles_is_that_of_the_whole(name, dtype, samples):
    reports = check_same(translator(name, follow=True), face(dtype, samples), 32)
    assert [report.method for report in reports] == ["layers"]


@pytest.mark.parametrize("side", [8, 33, 92])
def test_tiles_may_have_any_side(side):
    (report,) = check_same(translator(), face(), side)
    assert (report.halvings, report.redone) == (0, 0)


def test_a_batch_of_tensors_in_tiles_is_that_of_the_whole():
    images = torch.from_numpy(np.stack([FACE, FACE[::-1].copy()])).permute(0, 3, 1, 2) / 127.5 - 1
    pipe = translator()
    made = cutting(pipe, 32)[0](images)
    torch.testing.assert_close(made, pipe.with_tiling(OFF)(images), rtol=0, atol=1e-5)


def test_one_channel_stays_grey():
    assert check_same(translator(channels=1), face(samples=1), 32)


@pytest.mark.parametrize("samples", [1, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_enlargement_in_tiles_is_that_of_the_whole(channels, samples):
    check_same(enlarger(channels), face(samples=samples), 32)
    check_same(enlarger(channels), face("uint16", samples), 32)


def test_an_enlargement_to_a_size_of_ones_own_in_tiles_is_that_of_the_whole():
    check_same(enlarger(), cut_out(), 24, scale=2.7)


def test_a_self_ensemble_in_tiles_is_that_of_the_whole():
    reports = check_same(enlarger(self_ensemble=True), face(), 40)
    assert len(reports) == 8


def test_a_drawing_in_tiles_is_that_of_the_whole():
    drawing = to_array(read_picture(SKETCHES[0]))[:, :100]
    large = from_array(np.kron(drawing, np.ones((2, 2), np.uint8)))  # 256 x 200, seen at half the size
    pipe = drawing_pipeline()
    whole = pipe.with_tiling(OFF)(large)
    in_tiles, watch = cutting(pipe, 48)
    made = in_tiles(large)
    assert made.pixels.shape == (256, 200, 3)
    assert whole.pixels.std() > 5
    check_close(made.pixels, whole.pixels)
    assert len(watch.reports) == 1


def test_variations_are_not_cut_since_their_noise_belongs_to_the_whole():
    drawing = face()[:64, :64]
    pipe = drawing_pipeline()
    in_tiles, watch = cutting(pipe, 16)
    for one, other in zip(pipe.variations(drawing, 2, seed=3), in_tiles.variations(drawing, 2, seed=3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not watch.reports


# scans


@pytest.mark.parametrize("neighbours", [0, 1])
def test_a_scan_in_tiles_is_within_a_twentieth_of_a_unit_of_the_whole(neighbours):
    contract = CONTRACT.model_copy(update={"neighbours": neighbours})
    pipe = pipe_of(trained(depth=2, channels=1 + 2 * neighbours), contract)
    slices = tissue(3, 75, 90)
    whole = pipe.with_tiling(OFF)(slices, units="HU")
    in_tiles, watch = cutting(pipe, 32)
    made = in_tiles(slices, units="HU")
    assert np.abs(whole - slices).max() > 1
    assert np.abs(made - whole).max() < 0.05
    assert len(watch.reports) == 3


# when "auto" cuts


@pytest.fixture
def plenty(monkeypatch):
    """Sets how many bytes are free on every device."""

    def set_free(count):
        monkeypatch.setattr(tiled, "free_memory", lambda device: count)

    set_free(2**40)
    return set_free


def tensor(height, width):
    return torch.zeros(1, 3, height, width)


def test_auto_is_the_default_and_does_not_cut_what_fits(plenty):
    pipe = translator()
    assert pipe.tiled.tiling.tile == "auto"
    assert pipe.tiled.side(pipe.generator, tensor(600, 600), pipe.device) is None


def test_auto_cuts_smaller_tiles_for_less_memory_and_none_are_larger_than_the_caches(plenty):
    pipe = translator()
    sides = []
    for free in (3e8, 3e7, 1e7, 3e6, 1e6, 1e3):
        plenty(int(free))
        sides.append(pipe.tiled.side(pipe.generator, tensor(3000, 3000), pipe.device))
    assert sides == sorted(sides, reverse=True)
    assert sides[0] == 512
    assert sides[-1] == 64
    assert len(set(sides)) == 4


def test_auto_does_not_think_about_small_images(plenty):
    plenty(0)
    pipe = translator()
    assert pipe.tiled.side(pipe.generator, tensor(512, 512), pipe.device) is None
    assert pipe.tiled.side(pipe.generator, tensor(512, 513), pipe.device) == 64


def test_auto_with_little_memory_gives_the_picture_of_the_whole(plenty, monkeypatch):
    monkeypatch.setattr(tiles, "SMALL", 0)
    plenty(10_000)
    watch = TileWatch()
    pipe = translator()
    made = pipe.with_tiling(Tiling(), watch)(face())
    check_close(made, pipe.with_tiling(OFF)(face()))
    assert [report.tile for report in watch.reports] == [64]


@pytest.fixture
def too_large(monkeypatch):
    """The whole image does not fit on the device."""

    def fail(generator, images, forward):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(pretrained, "translate_any_size", fail)


def test_auto_goes_on_in_tiles_where_the_whole_does_not_fit_after_all(too_large, monkeypatch, caplog):
    watch = TileWatch()
    image = np.tile(FACE, (8, 1, 1))  # 568 rows, tiles have 512
    made = translator().with_tiling(Tiling(), watch)(image)
    assert [report.tile for report in watch.reports] == [512]
    assert "the image is too large for the device as a whole: going on in tiles" in caplog.text
    monkeypatch.undo()
    check_close(made, translator().with_tiling(OFF)(image))


def test_off_does_not_cut_what_does_not_fit(too_large):
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate 20 GiB"):
        translator().with_tiling(OFF)(face())


def test_an_error_that_is_not_about_memory_is_not_answered_by_tiles(monkeypatch):
    def fail(generator, images, forward):
        raise RuntimeError("cuDNN error")

    monkeypatch.setattr(pretrained, "translate_any_size", fail)
    with pytest.raises(RuntimeError, match="cuDNN error"):
        translator()(face())


# settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tile": 7}, "a tile is a number of pixels from 8 on, 'auto' or off .None., got 7"),
        ({"tile": "512"}, "from 8 on, 'auto' or off .None., got '512'"),
        ({"tile": 64.0}, "from 8 on, 'auto' or off .None., got 64.0"),
        ({"tile": True}, "from 8 on, 'auto' or off .None., got True"),
        ({"map_memory": -1}, "map_memory is a number of bytes, 0 or more, got -1: 0 is all on disk"),
        ({"map_dtype": torch.bfloat16}, "maps are float32 or float16, got torch.bfloat16: float32 is exact"),
        ({"scratch": ROOT / "nowhere"}, "the scratch folder .*nowhere is no folder: create it first"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(TilingError, match=message):
        Tiling(**settings)


def test_another_tiling_changes_no_other_pipeline_and_shares_the_network():
    pipe = translator()
    other, watch = cutting(pipe, 32)
    assert other.generator is pipe.generator
    assert pipe.tiled.tiling == Tiling()
    assert other.tiled.watch is watch
    assert pipe.fingerprint() == other.fingerprint()


def test_maps_on_disk_give_the_same_and_leave_nothing_behind(tmp_path):
    pipe, watch = translator(), TileWatch()
    whole = pipe.with_tiling(OFF)(face())
    made = pipe.with_tiling(Tiling(tile=32, map_memory=0, scratch=tmp_path), watch)(face())
    check_close(made, whole)
    assert watch.reports[0].map_memory == 0
    assert watch.reports[0].map_disk > 71 * 93 * 4 * 4
    assert not list(tmp_path.iterdir())


def test_the_report_of_the_last_image_is_taken_once():
    pipe, watch = cutting(translator(), 32)
    pipe(face())
    report = watch.take()
    assert (report.method, report.tile, report.map_disk) == ("layers", 32, 0)
    assert report.tiles > 6
    assert report.peak_memory > 2**20
    assert watch.take() is None


def test_a_network_that_tiles_cannot_serve_says_so_and_runs_whole_when_told():
    class Pooled(Identity):
        """Subtracts the mean of the whole image."""

        def forward(self, image):
            return image - torch.nn.functional.adaptive_avg_pool2d(image, 1)

    pipe = Pipeline(Pooled(), translator().config)
    with pytest.raises(TilingError, match=r"sees the whole image at once.*run it whole \(--tile off\)"):
        cutting(pipe, 32)[0](face())
    assert isinstance(pipe.with_tiling(OFF)(from_array(face())), Picture)
