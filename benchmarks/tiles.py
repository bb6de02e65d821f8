"""Exact tiles beside the tilings of the field: how far each is from the whole image's translation, and what it costs.

    python benchmarks/tiles.py table [--width 64] [--blocks 9] [--model FOLDER] [--picture FILE] [--sheet FILE.png]
    python benchmarks/tiles.py cost [--sides 128 256 512]
    python benchmarks/tiles.py memory [--sizes 1 4 16 64] [--width 16] [--side 256] [--seconds 3600]

`table`: a ResNet with instance norm and weights as training begins with, or a model folder, and a photograph of 640 x
960 pixels in tiles of 256. PSNR has a peak of 2, the extent of model space; a pixel counts as changed where any of its
8-bit channels differs; compute is the arithmetic of all convolutions beside that of the whole run. All methods run in
turns in one process; time is the median over the rounds of the ratio to the whole run of the same round.

`cost`: time of our layer streaming beside the whole run, on 2 megapixels, likewise in turns.

`memory`: peak of a process that translates an image which exists nowhere as a whole, maps on disk.
"""

import argparse
import copy
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import skimage
import tiling_memory
import tiling_methods
import torch
import torch.nn.functional as F
from exact_tiles import layer_by_layer, pass_by_pass
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from translate.data.images import read_picture, to_array, write_picture
from translate.model_folder import load_generator
from translate.model_sources import find_model
from translate.networks import ResNet, initialise
from translate.sheet import draw_sheet, to_8bit
from translate.sizes import pad_to_rule
from translate.tiling.facts import facts_of

SIZE = (640, 960)  # H x W of the table's picture
MEGAPIXELS_2 = (1448, 1448)
WHOLE = "whole"
SHOWN = ("tile by tile", "thumbnail", "kernelised", "pooled", "layer by layer")  # on the sheet


Translation = Callable[[Tensor], Tensor]


class Method(NamedTuple):
    name: str
    halo: int
    run: Callable[[nn.Module, Tensor], Tensor]


class Measured(NamedTuple):
    psnr: float  # dB
    changed: float  # of the 8-bit pixels, in percent
    largest: float  # difference in model space


class Runs(NamedTuple):
    output: Tensor
    operations: int  # of all convolutions
    seconds: list[float]  # of each round


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    table, cost, memory = (parts.add_parser(name) for name in ("table", "cost", "memory"))
    for part in (table, cost):
        part.add_argument("--width", type=int, default=64)
        part.add_argument("--blocks", type=int, default=9)
        part.add_argument("--rounds", type=int, default=3)
        part.add_argument("--threads", type=int, default=torch.get_num_threads())
        part.add_argument("--model", help="folder or shipped name, in place of a ResNet with first weights")
    table.add_argument("--picture", type=Path, help="in place of the photograph, resized to 640 x 960")
    table.add_argument("--side", type=int, default=256)
    table.add_argument(
        "--halo", type=int, help="of all but the naive tiles; default: the radius of the receptive field"
    )
    table.add_argument("--without", nargs="+", default=[], metavar="METHOD", help="leave out")
    table.add_argument("--sheet", type=Path, help="PNG: whole and tiled translations, differences below, eight times")
    cost.add_argument("--sides", type=int, nargs="+", default=[128, 256, 512])
    memory.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16, 64], help="megapixels")
    memory.add_argument("--width", type=int, default=16)
    memory.add_argument("--side", type=int, default=256)
    memory.add_argument("--seconds", type=float, default=3600, help="limit of a size")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print(f"python {platform.python_version()}, torch {torch.__version__}, scikit-image {skimage.__version__}")
    {"table": print_table, "cost": print_cost, "memory": tiling_memory.print_memory}[options.part](options)


def print_table(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    generator = load(options)
    image = pad_to_rule(picture(options.picture, SIZE, int(generator.in_channels)), generator)
    methods = [m for m in methods_of(generator, options.side, options.halo) if m.name not in options.without]
    size = f"{image.shape[2]} x {image.shape[3]} pixels, tiles of {options.side}"
    print(f"{described(generator)}, {size}, {options.rounds} rounds, {options.threads} thread(s)\n")
    runs = in_turns({WHOLE: generator} | {m.name: partial(m.run, generator) for m in methods}, image, options.rounds)
    whole = runs[WHOLE]
    print(f"whole image: {statistics.median(whole.seconds):.1f} s\n")
    print(f"{'method':<20}{'halo':>5}{'PSNR':>10}{'changed':>12}{'largest':>10}{'compute':>9}{'time':>7}")
    for name, halo, _ in methods:
        found, own = compare(whole.output, runs[name].output), runs[name]
        print(
            f"{name:<20}{halo:>5}{found.psnr:>7.1f} dB{found.changed:>10.3f} %{found.largest:>10.1e}"
            f"{own.operations / whole.operations:>9.2f}{ratio(own, whole):>7.2f}"
        )
    if options.sheet:
        draw(whole.output, [runs[name].output for name in SHOWN if name in runs], options.sheet)


def draw(whole: Tensor, outputs: list[Tensor], path: Path) -> None:
    """Three pictures a row, of half the size, the whole image's first; below each its difference, eight times."""
    halves = [F.avg_pool2d(output, 2)[0] for output in (whole, *outputs)]
    rows = []
    for first in range(0, len(halves), 3):
        row = halves[first : first + 3]
        rows += [row, [8 * (half - halves[0]).abs() - 1 for half in row]]
    write_picture(draw_sheet(rows), path)


def print_cost(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    generator = load(options)
    image = picture(None, MEGAPIXELS_2, int(generator.in_channels))
    sides = {str(side): partial(layer_by_layer, generator, side=side) for side in options.sides}
    print(f"{described(generator)}, {MEGAPIXELS_2[0]} x {MEGAPIXELS_2[1]} pixels, {options.rounds} rounds, ", end="")
    print(f"{options.threads} thread(s)\n")
    runs = in_turns({WHOLE: generator} | sides, image, options.rounds)
    print(f"whole image: {statistics.median(runs[WHOLE].seconds):.1f} s\n\ntile  time  lowest  highest")
    for side in sides:
        ratios = [own / whole for own, whole in zip(runs[side].seconds, runs[WHOLE].seconds, strict=True)]
        print(f"{side:>4}{ratio(runs[side], runs[WHOLE]):>6.2f}{min(ratios):>8.2f}{max(ratios):>9.2f}")


def load(options: argparse.Namespace) -> nn.Module:
    if options.model:
        return load_generator(find_model(options.model))[0].eval()
    torch.manual_seed(0)
    generator = ResNet(width=options.width, blocks=options.blocks).eval()
    initialise(generator)
    return generator


def described(generator: nn.Module) -> str:
    count = sum(parameter.numel() for parameter in generator.parameters())
    return f"{type(generator).__name__}, {len(tiling_methods.norms(generator))} instance norms, {count / 1e6:.1f} M"


def methods_of(generator: nn.Module, side: int, halo: int | None) -> list[Method]:
    """All methods; pooling only for a ResNet."""
    facts = facts_of(generator)
    halo = facts.radius + -facts.radius % facts.stride if halo is None else halo
    ways = {"halo": tiling_methods.tile_by_tile, "thumbnail": tiling_methods.thumbnail}
    ways["kernelised"] = tiling_methods.kernelised
    if isinstance(generator, ResNet):
        ways["pooled"] = tiling_methods.pooled
    methods = [Method("tile by tile", 0, partial(tiling_methods.tile_by_tile, side=side, halo=0))]
    methods += [Method(name, halo, partial(way, side=side, halo=halo)) for name, way in ways.items()]
    return [
        *methods,
        Method("whole, other layout", 0, channels_last),
        Method("pass by pass", halo, partial(pass_by_pass, side=side, facts=facts)),
        Method("layer by layer", 0, partial(layer_by_layer, side=side)),
    ]


def channels_last(generator: nn.Module, image: Tensor) -> Tensor:
    """The whole image with another memory layout: what rounding alone makes of it."""
    other = copy.deepcopy(generator).to(memory_format=torch.channels_last)
    return other(image.to(memory_format=torch.channels_last))


def picture(path: Path | None, size: tuple[int, int], channels: int) -> Tensor:
    """(1, channels, *size) in model space: a picture, or scikit-image's photograph of a cup of coffee."""
    array = skimage.data.coffee() if path is None else to_array(read_picture(path))
    array = array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
    values = cv2.resize(array[..., :3], size[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32) / 127.5 - 1
    values = values if channels == 3 else values.mean(axis=2, keepdims=True)
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()


@torch.inference_mode()
def in_turns(translations: dict[str, Translation], image: Tensor, rounds: int) -> dict[str, Runs]:
    """All of them, one after another, `rounds` times; what they do is counted in the first round."""
    runs: dict[str, Runs] = {}
    for _ in range(rounds):
        for name, translate in translations.items():
            began = time.perf_counter()
            if name not in runs:
                runs[name] = Runs(*counted(translate, image), [])
            else:
                translate(image)
            runs[name].seconds.append(time.perf_counter() - began)
    return runs


def ratio(own: Runs, whole: Runs) -> float:
    """Median of the ratios of the seconds of a round."""
    return statistics.median(one / other for one, other in zip(own.seconds, whole.seconds, strict=True))


def counted(translate: Translation, image: Tensor) -> tuple[Tensor, int]:
    """What it returns, and the floating-point operations of its convolutions."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution: operations}) as counter:
        output = translate(image)
    return output, counter.get_total_flops()


def operations(image: Tensor, weight: Tensor, *arguments: object, out_val: Tensor) -> int:
    """Of a convolution; none where a network is only recorded, without values."""
    return 0 if image.is_meta else conv_flop_count(image.shape, weight.shape, out_val.shape, arguments[4])


operations._get_raw = True  # the counter gives tensors, not shapes


def compare(whole: Tensor, tiled: Tensor) -> Measured:
    difference = (tiled.double() - whole.double()).abs()
    error = difference.square().mean()
    changed = (to_8bit(whole[0]) != to_8bit(tiled[0])).any(axis=2).mean() * 100
    psnr = float(10 * torch.log10(4 / error))  # infinite where nothing differs
    return Measured(psnr, float(changed), float(difference.max()))


if __name__ == "__main__":
    main()
