"""Mistakes that were made once in tiles, each with what it should give."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from skimage import data as skimage_data
from torch import nn
from torch.nn.utils import parametrizations

from translate.data.images import ImageError, from_array
from translate.data.windowed import InMemory, open_windowed
from translate.data.windowed_write import write_windowed
from translate.networks import ResNet, initialise
from translate.pipelines import load_pipeline
from translate.pipelines.inference.large import translate_large
from translate.pipelines.inference.tiles import Held
from translate.tiling.errors import Untraceable
from translate.tiling.runner import Crew, Runner
from translate.tiling.tiled import Tiling, translate_tiled
from translate.tiling.trace import trace

CPU = torch.device("cpu")
PHOTOGRAPH = torch.from_numpy(skimage_data.astronaut()[:72, :100]).permute(2, 0, 1)[None] / 127.5 - 1


class Net(nn.Module):
    scale, size_multiple, size_minimum, in_channels, out_channels = 1, 1, 1, 3, 3


def in_tiles(network, image=PHOTOGRAPH, side=32, **settings):
    output = torch.full_like(image, torch.nan)
    translate_tiled(network.eval(), Held(image), Held(output), side, **settings)
    return output


class Shared:
    """Two crews in threads: what a launcher starts, without its processes."""

    def __init__(self):
        self.barrier, self.values = threading.Barrier(2, timeout=60), [None, None]

    def gather(self, index, value):
        self.values[index] = value
        self.barrier.wait()
        found = list(self.values)
        self.barrier.wait()
        return found


@dataclass(frozen=True)
class Threaded(Crew):
    shared: object = None

    def gather(self, value):
        return self.shared.gather(self.index, value)


def test_one_process_out_of_memory_cuts_no_gaps_into_what_two_share(monkeypatch, tmp_path):
    network = ResNet(width=4, blocks=1).eval()
    initialise(network)
    output, shared, failed = torch.full_like(PHOTOGRAPH, torch.nan), Shared(), []
    original = Runner._finite

    def once(self, region, work):
        if threading.current_thread().name == "0" and not failed:
            failed.append(region)
            raise torch.OutOfMemoryError("not enough memory")
        return original(self, region, work)

    monkeypatch.setattr(Runner, "_finite", once)

    def run(index):
        crew = Threaded(index, 2, shared)
        tiling = Tiling(scratch=tmp_path)
        translate_tiled(network, Held(PHOTOGRAPH), Held(output), 32, tiling=tiling, crew=crew)

    threads = [threading.Thread(target=run, args=(index,), name=str(index)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed
    with torch.inference_mode():
        torch.testing.assert_close(output, network(PHOTOGRAPH), rtol=0, atol=1e-5)


class LowRank(Net):
    """A weight that is made anew in each call."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, 3, 3) / 5)
        self.down, self.up = nn.Parameter(torch.randn(4, 27)), nn.Parameter(torch.randn(3, 4))

    def forward(self, image):
        weight = self.weight + (self.up @ self.down).view_as(self.weight)
        return nn.functional.instance_norm(nn.functional.conv2d(image, weight, padding=1))


class Orthogonal(Net):
    def __init__(self):
        super().__init__()
        self.layer = parametrizations.orthogonal(nn.Conv2d(3, 3, 3, padding=1))

    def forward(self, image):
        return self.layer(image)


class Masked(Net):
    """Uses a constant, and changes it afterwards."""

    def forward(self, image):
        mask = torch.zeros(image.shape[2:])
        mask[:, ::2] = 1
        result = image * mask
        mask.zero_()
        return result


@pytest.mark.parametrize("network", [LowRank, Orthogonal, Masked])
def test_what_a_network_computes_beside_the_image_is_as_it_is_without_tiles(network):
    torch.manual_seed(0)
    net = network().eval()
    with torch.inference_mode():
        torch.testing.assert_close(in_tiles(net), net(PHOTOGRAPH), rtol=0, atol=1e-5)


class Double(Net):
    def forward(self, image):
        return image.to(torch.float64).tanh().float()


class MapAsWeight(Net):
    def forward(self, image):
        return nn.functional.conv2d(torch.ones(1, 3, 80, 110), image)


@pytest.mark.parametrize(
    ("network", "said"), [(Double, "tiles know to in float32"), (MapAsWeight, "no function|of one map|tensor|recorded")]
)
def test_what_tiles_do_not_know_is_said(network, said):
    from translate.tiling.plan import make_plan

    with pytest.raises((Untraceable, ValueError), match=said):
        make_plan(network(), tuple(PHOTOGRAPH.shape), 32, CPU)


class WithHead(Net):
    """An auxiliary head that nobody reads."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, image):
        nn.functional.instance_norm(self.head(image))
        return self.layer(image)


def test_what_the_result_is_not_made_of_is_left_out():
    assert [node.shape for node in trace(WithHead(), (1, 3, 20, 30), CPU)] == [(1, 3, 20, 30)] * 2


def test_an_output_that_holds_the_input_or_lies_in_it_is_refused_and_costs_nothing(tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "group.zarr", mode="w")
    photograph = skimage_data.astronaut()[:40, :50]
    for name in ("image", "other"):
        group.create_array(name, data=photograph)
    pipe = load_pipeline("identity", device="cpu")
    for source, output in (
        ("group.zarr/image", "group.zarr"),
        ("group.zarr/image", "group.zarr/image"),
        ("group.zarr/image", "group.zarr/image/out.zarr"),
    ):
        with pytest.raises(ImageError, match=r"is the input .*, holds it or lies in it: give another"):
            translate_large(pipe, tmp_path / source, tmp_path / output)
    with pytest.raises(ImageError, match="it is a folder that holds something else"):
        write_windowed(InMemory(from_array(photograph)), tmp_path / "group.zarr")
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "group.zarr")["other"][:], photograph)


def test_a_picture_in_memory_becomes_a_zarr_or_an_ome_tiff_where_that_is_its_name(tmp_path):
    from translate.data.images import write_picture
    from translate.pipelines.inference.folder import translate_file

    photograph = skimage_data.astronaut()[:40, :50]
    write_picture(from_array(photograph), tmp_path / "a.png")
    for name in ("a.zarr", "a.ome.tif"):
        written = translate_file(load_pipeline("identity", device="cpu"), tmp_path / "a.png", tmp_path / name)
        with open_windowed(written) as image:
            np.testing.assert_array_equal(image.read(slice(0, 40), slice(0, 50)).pixels, photograph)
    assert image.info.format == "tiff"


def test_what_the_device_had_no_memory_for_is_not_tried_again_with_the_next_image(monkeypatch):
    pipe = load_pipeline("super-resolution-x2", device="cpu").with_tiling(Tiling(tile=64))
    original, tried = Runner._finite, []

    def small(self, region, work):
        if self.side > 32:
            tried.append(region)
            raise torch.OutOfMemoryError("not enough memory")
        return original(self, region, work)

    monkeypatch.setattr(Runner, "_finite", small)
    image = PHOTOGRAPH[:, :1]
    first = pipe.run(image)
    count = len(tried)
    assert count
    torch.testing.assert_close(pipe.run(image), first, rtol=0, atol=1e-5)
    assert len(tried) == count
