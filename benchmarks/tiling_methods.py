"""The tilings that the field uses for networks with instance norm, in our own words, to measure how far each is off.

Each takes (generator, image, side, halo) and returns the translation (1, C', H, W) of the whole image (1, C, H, W):
tiles of `side`, each run with `halo` pixels of the image around it, of which only the tile is kept. Instance norms are
those of translate.networks.blocks, the generator's scale is 1, and all sides are multiples of its `size_multiple`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.networks import ResNet
from translate.networks.blocks import InstanceNorm
from translate.networks.resnet import ResidualBlock
from translate.tiling.regions import Region, cover

EPSILON = 1e-5  # of our instance norm
NEIGHBOURS = 3  # tiles a side of the kernel of Ho et al.

Statistics = tuple[Tensor, Tensor]  # mean and standard deviation, (1, channels, 1, 1) each


def tile_by_tile(generator: nn.Module, image: Tensor, side: int, halo: int) -> Tensor:
    """Every tile by itself: halo 0 is the naive way, a halo of the receptive field what is right without norms."""
    return stitched(generator, image, side, halo)


def thumbnail(generator: nn.Module, image: Tensor, side: int, halo: int) -> Tensor:
    """Every norm uses its statistics on the image shrunk to one tile (URST; Chen et al. 2022, arXiv:2103.11784)."""
    known: dict[int, Statistics] = {}

    def learn(index: int, values: Tensor) -> Tensor:
        known[index] = statistics(values)
        return normalised(values, known[index])

    with norms_by(generator, learn):
        generator(shrunk(image, side, int(generator.size_multiple)))
    with norms_by(generator, lambda index, values: normalised(values, known[index])):
        return stitched(generator, image, side, halo)


def kernelised(generator: nn.Module, image: Tensor, side: int, halo: int) -> Tensor:
    """Every norm uses the mean of the statistics of 3 x 3 tiles (URUST; Ho et al. 2022, arXiv:2208.10730).

    A first run of all tiles, each with its own statistics, fills the table; beyond the border its edge is repeated.
    The kernel is the constant one of the paper. Mean and standard deviation hold for a tile as a whole.
    """
    tables: list[list[Statistics]] = [[] for _ in norms(generator)]

    def learn(index: int, values: Tensor) -> Tensor:
        tables[index].append(statistics(values))
        return normalised(values, tables[index][-1])

    with norms_by(generator, learn):
        stitched(generator, image, side, halo)

    height, width = image.shape[-2:]
    columns = -(-width // side)
    smooth = [[smoothed(torch.cat(part), columns) for part in zip(*table, strict=True)] for table in tables]
    output = []
    for number, core in enumerate(cover(height, width, side)):
        own = [(mean[number], deviation[number]) for mean, deviation in smooth]
        with norms_by(generator, lambda index, values, own=own: normalised(values, own[index])):
            output.append((core, run(generator, image, core, halo)))
    return assembled(output, height, width)


def pooled(generator: ResNet, image: Tensor, side: int, halo: int) -> Tensor:
    """All tiles advance together, and every norm uses the mean over the tiles of their means and of their variances.

    The way of Tiled-VAE (in multidiffusion-upscaler for the Stable Diffusion web UI) with group norms: tiles weigh as
    many pixels as they have, halo included; how far the means differ from tile to tile is not in the variance.
    """
    height, width = image.shape[-2:]
    cores = list(cover(height, width, side))
    outers = [grown(core, halo, height, width) for core in cores]
    tiles = [image[..., rows, columns] for rows, columns in (outer.slices for outer in outers)]
    for stage in (generator.stem, generator.downs, generator.blocks, generator.ups, generator.head):
        tiles = advanced(stage, tiles)
    kept = (tile.tanh()[..., *core.within(outer)] for tile, core, outer in zip(tiles, cores, outers, strict=True))
    return assembled(list(zip(cores, kept, strict=True)), height, width)


def advanced(module: nn.Module, tiles: list[Tensor]) -> list[Tensor]:
    """All tiles behind a part of a ResNet, with pooled statistics."""
    if isinstance(module, ResidualBlock):
        return [tile + change for tile, change in zip(tiles, advanced(module.change, tiles), strict=True)]
    if isinstance(module, InstanceNorm):
        weights = torch.tensor([tile[0, 0].numel() for tile in tiles], dtype=torch.float32)[:, None, None, None]
        variances, means = zip(*(torch.var_mean(t, (2, 3), correction=0, keepdim=True) for t in tiles), strict=True)
        variance, mean = (
            (torch.cat(part) * weights).sum(dim=0, keepdim=True) / weights.sum() for part in (variances, means)
        )
        return [normalised(tile, (mean, (variance + EPSILON).sqrt())) for tile in tiles]
    if isinstance(module, nn.Sequential):
        for part in module:
            tiles = advanced(part, tiles)
        return tiles
    return [module(tile) for tile in tiles]


def norms(generator: nn.Module) -> list[InstanceNorm]:
    """In the order of their definition, which is the order of execution in our generators."""
    return [module for module in generator.modules() if isinstance(module, InstanceNorm)]


@contextmanager
def norms_by(generator: nn.Module, rule: Callable[[int, Tensor], Tensor]) -> Iterator[None]:
    """Inside, norm number `index` returns rule(index, its input)."""
    changed = norms(generator)
    try:
        for index, norm in enumerate(changed):
            norm.forward = lambda values, index=index: rule(index, values)
        yield
    finally:
        for norm in changed:
            vars(norm).pop("forward", None)  # that of its class is back


def statistics(values: Tensor) -> Statistics:
    variance, mean = torch.var_mean(values, (2, 3), correction=0, keepdim=True)
    return mean, (variance + EPSILON).sqrt()


def normalised(values: Tensor, known: Statistics) -> Tensor:
    mean, deviation = known
    return (values - mean).div_(deviation)


def smoothed(table: Tensor, columns: int) -> Tensor:
    """Means over 3 x 3 tiles of a table (tiles row by row, channels, 1, 1), of the same shape."""
    grid = table.reshape(-1, columns, table.shape[1]).permute(2, 0, 1)[None]
    around = F.pad(grid, [NEIGHBOURS // 2] * 4, mode="replicate")
    return F.avg_pool2d(around, NEIGHBOURS, stride=1)[0].flatten(1).T[..., None, None]


def shrunk(image: Tensor, side: int, multiple: int) -> Tensor:
    """With a longer side of at most `side` and the same proportions, but for the rounding to a multiple."""
    height, width = image.shape[-2:]
    ratio = min(1.0, side / max(height, width))
    size = [max(multiple, round(length * ratio / multiple) * multiple) for length in (height, width)]
    return F.interpolate(image, size, mode="bicubic", antialias=True) if ratio < 1 else image


def stitched(generator: nn.Module, image: Tensor, side: int, halo: int) -> Tensor:
    height, width = image.shape[-2:]
    return assembled([(core, run(generator, image, core, halo)) for core in cover(height, width, side)], height, width)


def run(generator: nn.Module, image: Tensor, core: Region, halo: int) -> Tensor:
    """The core of one tile: the network pads at the ends of the halo, or at the image's border where that is nearer."""
    outer = grown(core, halo, *image.shape[-2:])
    return generator(image[..., *outer.slices])[..., *core.within(outer)]


def grown(core: Region, halo: int, height: int, width: int) -> Region:
    top, left = max(core.top - halo, 0), max(core.left - halo, 0)
    return Region(top, min(core.bottom + halo, height), left, min(core.right + halo, width))


def assembled(parts: list[tuple[Region, Tensor]], height: int, width: int) -> Tensor:
    first = parts[0][1]
    output = first.new_empty(*first.shape[:2], height, width)
    for core, values in parts:
        output[..., *core.slices] = values
    return output
