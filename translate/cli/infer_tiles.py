"""translate infer MODEL INPUT OUTPUT: how images are cut that do not fit"""

import argparse
from pathlib import Path
from typing import Any

from translate.cli import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tiles = parser.add_argument_group(
        "for images that do not fit on the device (the result is the same but for rounding)"
    )
    tiles.add_argument(
        "--tile", metavar="N", default="auto", help="side of the tiles in pixels; off; auto (default) measures memory"
    )
    tiles.add_argument(
        "--map-memory", metavar="GIB", type=float, help="of activation maps in memory, the rest is on disk (half)"
    )
    tiles.add_argument(
        "--map-precision",
        choices=["fp32", "fp16"],
        default="fp32",
        help="of activation maps; fp16 takes half the space and changes the result a little",
    )
    tiles.add_argument("--scratch", metavar="DIR", type=Path, help="folder for activation maps on disk")


def tiling_of(options: argparse.Namespace) -> Any:
    """The Tiling of a command line. Raises CommandError and TilingError."""
    import torch

    from translate.tiling.tiled import Tiling

    memory = options.map_memory
    if memory is not None and not 0 <= memory < 2**20:
        raise CommandError(f"--map-memory is in GiB, 0 or more, got {memory}: 0 keeps activation maps on disk")
    dtype = torch.float16 if options.map_precision == "fp16" else torch.float32
    return Tiling(_side(options.tile), None if memory is None else int(memory * 2**30), dtype, options.scratch)


def _side(given: str) -> Any:
    if given in ("auto", "off"):
        return None if given == "off" else given
    if not given.isdecimal():
        raise CommandError(f"--tile is a number of pixels, auto or off, got {given!r}")
    return int(given)
