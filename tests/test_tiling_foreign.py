"""Modules that are not ours in tiles: the plain halo, and statistic passes."""

import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from skimage import data as skimage_data
from torch import Tensor, nn

from translate.networks import EDSR, ResNet
from translate.tiling.errors import TilingError
from translate.tiling.halo import Grid, run_halo
from translate.tiling.passes import run_statistic_passes
from translate.tiling.probe import Facts, probe
from translate.tiling.regions import Region
from translate.tiling.runner import Crew, Runner

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Canvas:
    """A source and a sink in memory. read: the sizes of what was read."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return tuple(self.values.shape)

    def read(self, region):
        assert 0 <= region.top < region.bottom <= self.values.shape[2]
        assert 0 <= region.left < region.right <= self.values.shape[3]
        return self.values[(..., *region.slices)].clone()

    def write(self, region, values):
        assert self.values[(..., *region.slices)].isnan().all(), "written once"
        self.values[(..., *region.slices)] = values


def photograph(height, width, images=1):
    """Crops of photographs, (N, 3, H, W) in [-1, 1]."""
    pictures = (skimage_data.astronaut(), skimage_data.chelsea())[:images]
    crops = [torch.from_numpy(picture[60 : 60 + height, 100 : 100 + width].copy()) for picture in pictures]
    return torch.stack(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


def conv(inside, outside, kernel=3, **options):
    return nn.Conv2d(inside, outside, kernel, padding=kernel // 2 * options.get("dilation", 1), **options)


class Foreign(nn.Module):
    """Anything, with what a pipeline's generator declares."""

    def __init__(self, *layers, multiple=1, minimum=1, scale=1):
        super().__init__()
        self.size_multiple, self.size_minimum, self.scale, self.in_channels = multiple, minimum, scale, 3
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)


class Residual(Foreign):
    def forward(self, image: Tensor) -> Tensor:
        return image + self.layers(image)


class NormTwice(Foreign):
    """One module called at two resolutions, and a norm that is a function."""

    def __init__(self):
        super().__init__(multiple=2, minimum=2)
        self.stem, self.inner, self.head, self.norm = conv(3, 6), conv(6, 6), conv(6, 3), nn.GroupNorm(2, 6)
        nn.init.uniform_(self.norm.weight, 0.5, 2)
        nn.init.uniform_(self.norm.bias)

    def forward(self, image: Tensor) -> Tensor:
        fine = self.norm(self.stem(image)).relu()
        coarse = self.norm(self.inner(F.avg_pool2d(fine, 2))).relu()
        wide = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return self.head(F.instance_norm(fine + wide))


class LayerNorms(Foreign):
    """Layer norm over all pixels with weights of each, which only takes 48 x 40."""

    def __init__(self):
        super().__init__()
        self.stem, self.head, self.norm = conv(3, 4), conv(4, 3), nn.LayerNorm((4, 48, 40))
        self.each = nn.LayerNorm((48, 40))
        for norm in (self.norm, self.each):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.each(self.norm(self.stem(image)).relu()))


def bilinear_resnet():
    block = [conv(8, 8), nn.InstanceNorm2d(8, affine=True), nn.ReLU()]
    return Foreign(
        *(nn.ReflectionPad2d(2), nn.Conv2d(3, 8, 5), nn.InstanceNorm2d(8, affine=True), nn.SiLU()),
        *(conv(8, 8, stride=2), nn.InstanceNorm2d(8, affine=True), nn.ReLU()),
        Residual(*block, *block[:2]),
        *(nn.Upsample(scale_factor=2, mode="bilinear"), conv(8, 8), nn.InstanceNorm2d(8), nn.ReLU()),
        *(conv(8, 3, kernel=7), nn.Tanh()),
        multiple=2,
        minimum=4,
    )


NORMS = {
    "bilinear resnet, instance norm": bilinear_resnet,
    "group norm": lambda: Foreign(conv(3, 8), nn.GroupNorm(4, 8), nn.GELU(), conv(8, 3), nn.GroupNorm(1, 3)),
    "one norm called twice, and a function": NormTwice,
    "layer norm of everything": LayerNorms,
    "batch norm of the batch itself": lambda: Foreign(
        conv(3, 8), nn.BatchNorm2d(8, track_running_stats=False), nn.ReLU(), conv(8, 3)
    ),
    "scripted": lambda: scripted(bilinear_resnet()),
    "compiled": lambda: compiled(bilinear_resnet()),
    "super-resolver": lambda: Foreign(
        *(conv(3, 12), nn.PixelShuffle(2), nn.InstanceNorm2d(3), nn.ReLU(), conv(3, 3)), scale=2
    ),
    "ours": lambda: ResNet(width=4, blocks=1, norm="group"),
}
PLAIN = {
    "dilated": lambda: Foreign(conv(3, 6, dilation=2), nn.LeakyReLU(), conv(6, 6, dilation=5), nn.ELU(), conv(6, 3)),
    "even kernels": lambda: Foreign(
        *(nn.ZeroPad2d((0, 1, 1, 2)), nn.Conv2d(3, 6, (4, 2)), nn.PReLU(), nn.Conv2d(6, 6, 4, 2, 1)),
        *(nn.ReLU(), nn.ConvTranspose2d(6, 3, 4, 2, 1)),
        multiple=2,
        minimum=2,
    ),
    "norms with running statistics": lambda: Foreign(
        conv(3, 6), nn.InstanceNorm2d(6, track_running_stats=True), nn.ReLU(), conv(6, 3), nn.BatchNorm2d(3)
    ),
    "three to one and back": lambda: Foreign(
        *(nn.AvgPool2d(3), conv(3, 6), nn.ReLU(), nn.Upsample(scale_factor=3, mode="bicubic"), conv(6, 3)),
        multiple=3,
        minimum=3,
    ),
    "a stride that it does not declare": lambda: Foreign(
        *(nn.MaxPool2d(2), conv(3, 6), nn.ReLU(), nn.Upsample(scale_factor=2), conv(6, 3)),
        minimum=4,
    ),
    "scripted": lambda: scripted(Foreign(conv(3, 6), nn.ReLU(), conv(6, 3))),
    "ours": lambda: EDSR(width=4, blocks=2, scale=3),
}


def scripted(network):
    script = torch.jit.script(network.eval())
    for name in ("size_multiple", "size_minimum", "scale", "in_channels"):
        assert getattr(script, name) == getattr(network, name)
    return script


def compiled(network):
    result = torch.compile(network.eval(), backend="eager")
    with torch.inference_mode():
        result(photograph(16, 16))  # so that there is something compiled
    return result


def built(rows, name):
    torch.manual_seed(7)
    network = rows[name]().eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.InstanceNorm2d) and norm.running_mean is not None:
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
        if isinstance(norm, nn.InstanceNorm2d | nn.GroupNorm | nn.BatchNorm2d) and norm.weight is not None:
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias, -1, 1)
    return network


def run_tiled(network, image, side, *, run=run_statistic_passes, facts=None, crew=None, output=None, **options):
    facts = facts or probe(network)
    size = [edge * facts.scale for edge in image.shape[2:]]
    output = torch.full((len(image), 3, *size), math.nan) if output is None else output
    run(network, Canvas(image), Canvas(output), facts, Runner(CPU, torch.float32, side, **options), crew)
    return output


def whole(network, image):
    with torch.inference_mode():
        return network(image)


def largest(values):
    return float(values.abs().max())


def assert_exact(network, image, side, run=run_statistic_passes, **options):
    """Within 1e-5 of the truth, computed in float64, and of what the network says of the whole image.

    torch's group norm is off by more than that itself in float32, for groups of many values: by what, it may differ.
    """
    tiled, untiled = run_tiled(network, image, side, run=run, **options), whole(network, image)
    truth = whole(network.double(), image.double())
    network.float()
    assert largest(tiled - truth) <= 1e-5
    assert largest(tiled - untiled) <= 1e-5 + largest(untiled - truth)


@pytest.mark.parametrize("side", [16, 23, 64])
@pytest.mark.parametrize("name", NORMS)
def test_statistic_passes_give_what_the_whole_image_gives(name, side):
    assert_exact(built(NORMS, name), photograph(48, 40, images=2), side)


@pytest.mark.parametrize("side", [5, 16, 64])
@pytest.mark.parametrize("name", PLAIN)
def test_a_halo_gives_what_the_whole_image_gives(name, side):
    assert_exact(built(PLAIN, name), photograph(42, 54, images=2), side, run_halo)


@pytest.mark.parametrize(("height", "width"), [(33, 17), (17, 1), (16, 49)])
def test_a_last_tile_may_be_one_pixel_wide(height, width):
    image = photograph(height, width)
    assert_exact(built(PLAIN, "dilated"), image, 16, run_halo)
    assert_exact(built(NORMS, "group norm"), image, 16)


def test_passes_need_no_norm():
    assert_exact(built(PLAIN, "even kernels"), photograph(36, 20), 16)


@pytest.mark.parametrize("name", ["bilinear resnet, instance norm", "group norm", "batch norm of the batch itself"])
def test_a_constant_image_gives_finite_output(name):
    network = built(NORMS, name)
    output = run_tiled(network, torch.full((1, 3, 40, 40), 0.3), 16)
    assert output.isfinite().all()
    assert largest(output - whole(network, torch.full((1, 3, 40, 40), 0.3))) < 1e-3  # rounding, over a deviation of 0


def test_statistics_are_of_the_whole_image_and_not_of_a_tile():
    halves = torch.cat([torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)], dim=3)  # each half is constant
    output = run_tiled(Foreign(nn.InstanceNorm2d(3)).eval(), halves, 16)
    torch.testing.assert_close(output, halves * 2 - 1, atol=1e-4, rtol=0)  # mean 1/2, deviation 1/2


@pytest.mark.parametrize(("run", "rows", "name"), [
    (run_halo, PLAIN, "even kernels"), (run_statistic_passes, NORMS, "one norm called twice, and a function"),
])  # fmt: skip
def test_tiles_that_memory_is_too_small_for_are_done_in_quarters_of_any_place(run, rows, name):
    network = built(rows, name)
    untiled = whole(network, photograph(44, 44))

    def refuse(module, inputs):
        if inputs[0].shape[2] * inputs[0].shape[3] > 500:
            raise torch.OutOfMemoryError("CUDA out of memory")

    facts = probe(network)
    with network.register_forward_pre_hook(refuse):
        output = run_tiled(network, photograph(44, 44), 22, run=run, facts=facts)
    assert largest(output - untiled) <= 1e-5


def test_a_quarter_of_a_tile_may_have_no_pixel_of_a_small_map():
    layers = [nn.AvgPool2d(16), nn.InstanceNorm2d(3), nn.Upsample(scale_factor=16)]
    network, image, calls = Foreign(*layers, multiple=16, minimum=16).eval(), photograph(64, 48), []
    untiled, facts = whole(network, image), probe(network)

    def refuse_once(module, inputs):
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    runner, output = Runner(CPU, torch.bfloat16, 16), torch.full(image.shape, math.nan)
    with network.register_forward_pre_hook(refuse_once):
        run_statistic_passes(network, Canvas(image), Canvas(output), facts, runner)
    assert (runner.halvings, runner.redone) == (1, 0)
    assert largest(output - untiled) <= 1e-5


class Threads(Crew):
    """Two threads as the processes that share an image."""

    board = ([None, None], threading.Barrier(2))

    def gather(self, value):
        values, barrier = self.board
        barrier.wait(60)
        values[self.index] = value
        barrier.wait(60)
        return list(values)


@pytest.mark.parametrize("side", [16, 64])  # of the large one there is one, so one of the two has none
def test_two_processes_give_what_one_gives(side):
    network, image = built(NORMS, "bilinear resnet, instance norm"), photograph(48, 40)
    facts, output = probe(network), torch.full(image.shape, math.nan)

    def share(index):
        run_tiled(network, image, side, facts=facts, crew=Threads(index, 2), output=output)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(share, range(2)))
    assert largest(output - run_tiled(network, image, side)) <= 1e-6


def test_norms_cost_about_half_a_forward_pass_each(caplog):
    network, calls, progress = built(NORMS, "bilinear resnet, instance norm"), [], []
    facts = probe(network)
    with network.register_forward_hook(lambda *_: calls.append(1)), caplog.at_level(logging.INFO):
        run_tiled(network, photograph(48, 40), 24, facts=facts, progress=progress.append)
    assert "5 norms look at the whole image: about 3.5 forward passes a tile" in caplog.text
    assert len(calls) == 1 + 4  # to find the norms, and to the end; 5 * 4 times only up to a norm
    assert progress == sorted(progress)
    assert len(progress) == 6 * 4
    assert progress[-1] == 1
    assert progress[3] == pytest.approx(1 / 21)  # one sixth of 3.5


def test_a_module_is_left_as_it_was_also_after_an_error():
    network, image = built(NORMS, "bilinear resnet, instance norm"), photograph(48, 40)
    before, attributes, facts = whole(network, image), set(vars(network)), probe(network)

    class Full(Canvas):
        def write(self, region, values):
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        run_statistic_passes(network, Canvas(image), Full(image), facts, Runner(CPU, torch.float32, 16))
    assert torch.equal(whole(network, image), before)
    assert set(vars(network)) == attributes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (Facts(128, 1, "global", 1), "sees the whole image at once, or in a way .*: run it whole .--tile off"),
        (Facts(512, 256, "none", 1, beyond=True), "sees more than 512 pixels around each one: run it whole"),
    ],
)
@pytest.mark.parametrize("run", [run_halo, run_statistic_passes])
def test_what_sees_everything_is_refused(run, facts, message):
    with pytest.raises(TilingError, match=message):
        run_tiled(Foreign().eval(), photograph(16, 16), 8, run=run, facts=facts)


def test_a_halo_is_refused_for_norms_of_the_whole_image():
    with pytest.raises(TilingError, match="for which a halo is not enough: take passes"):
        run_tiled(Foreign(nn.InstanceNorm2d(3)).eval(), photograph(16, 16), 8, run=run_halo)


class NormsBySize(Foreign):
    """Norms that depend on the size of what it is given, as no network's should."""

    def __init__(self, small, large):
        super().__init__()
        self.small, self.large = small, large

    def forward(self, image: Tensor) -> Tensor:
        for _ in range(self.large if image.shape[3] > 8 else self.small):
            image = F.instance_norm(image)
        return image


class NormOfPart(Foreign):
    """A norm that sees no map of the network, but a part of what it is given, or more."""

    def __init__(self, *padding):
        super().__init__()
        self.padding = padding

    def forward(self, image: Tensor) -> Tensor:
        return image + F.instance_norm(F.pad(image, self.padding)).sum()


@pytest.mark.parametrize(
    ("network", "facts"),
    [
        (NormsBySize(1, 2), Facts(0, 1, "spatial", 1)),
        (NormsBySize(2, 1), Facts(0, 1, "spatial", 1)),
        (NormOfPart(1, 1), Facts(8, 8, "spatial", 1)),  # 18/16 of one window, 26/24 of the next
    ],
)
def test_norms_that_change_from_tile_to_tile_are_refused(network, facts):
    with pytest.raises(TilingError, match="norms of this network are others from tile to tile: run it whole"):
        run_tiled(network.eval(), photograph(16, 24), 16 - facts.radius, facts=facts)


@pytest.mark.parametrize(("padding", "size"), [((-1, 0), "1 x 15/16"), ((0, 0, 0, 1), "17/16 x 1")])
def test_a_norm_of_a_map_that_cannot_be_cut_is_refused(padding, size):
    with pytest.raises(TilingError, match=f"sees a map of {size} times the size of the image.* run it whole"):
        run_tiled(NormOfPart(*padding).eval(), photograph(32, 32), 16, facts=Facts(0, 1, "spatial", 1))


@pytest.mark.parametrize(
    ("core", "window"),
    [
        (Region(0, 16, 16, 32), Region(0, 24, 8, 40)),  # 6 pixels more, in steps of 8
        (Region(96, 100, 96, 100), Region(88, 100, 88, 100)),  # the image's end is no multiple of 8
        (Region(3, 4, 49, 50), Region(0, 16, 40, 56)),
    ],
)
def test_windows_are_at_multiples_of_the_stride(core, window):
    assert Grid(100, 100, radius=6, unit=8, minimum=1).window(core) == window


def test_windows_are_as_large_as_the_network_needs_and_no_larger_than_the_image():
    grid = Grid(100, 20, radius=0, unit=4, minimum=32)
    assert grid.window(Region(0, 4, 0, 4)) == Region(0, 32, 0, 20)
    assert grid.window(Region(96, 100, 16, 20)) == Region(68, 100, 0, 20)


def test_cores_cover_the_image_and_are_at_least_a_stride_large():
    grid = Grid(20, 12, radius=3, unit=8, minimum=1)
    assert grid.cores(3) == grid.cores(15) == grid.cores(8)
    assert grid.cores(16) == [Region(0, 16, 0, 12), Region(16, 20, 0, 12)]
