"""The transforms in machine code, which the machine's C++ compiler makes of transforms.cpp at first use."""

import ctypes
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from translate.kernels.transforms import EVALUATE, INTERPOLATE, PATCH, PRODUCTS, TILE, Matrix, Transforms, transposed

log = logging.getLogger(__name__)

COMPILERS = ("c++", "g++", "clang++")  # unless the environment's CXX names another one
OPTIONS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-pthread")
SOURCE = Path(__file__).with_name("transforms.cpp")
SHARE = 2**17  # numbers that are worth a thread

Strides = tuple[int, int, int, int, int]  # of images, rows and columns of tiles, rows and columns within them


def transforms(dtype: torch.dtype) -> Transforms:
    """The fastest there are. The first call with float32 takes two seconds."""
    return (_compiled() if dtype == torch.float32 else None) or PRODUCTS


@cache
def _compiled() -> Transforms | None:
    """For this process: nothing is left behind on the disk. None, with a line in the log, without a compiler."""
    try:
        library = _build()
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or error
        log.warning("3x3 convolutions take a third longer than they could, for want of a C++ compiler: %s", reason)
        return None
    return _bound(library)


def _build() -> ctypes.CDLL:
    """Raises OSError or subprocess.SubprocessError."""
    found = filter(None, map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS)))
    matrices = {"EVALUATE": EVALUATE, "INTERPOLATE": INTERPOLATE}
    matrices |= {f"{name}_TRANSPOSED": transposed(matrix) for name, matrix in matrices.items()}
    source = "\n".join([*(_constant(*each) for each in matrices.items()), SOURCE.read_text(encoding="utf-8")])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = Path(folder, "transforms.so")
        command = [next(found, COMPILERS[0]), *OPTIONS, "-x", "c++", "-", "-o", str(made)]
        subprocess.run(command, input=source, text=True, check=True, capture_output=True, timeout=300)
        return ctypes.CDLL(str(made))


def _constant(name: str, matrix: Matrix) -> str:
    rows = ", ".join("{" + ", ".join(f"{number!r}f" for number in row) + "}" for row in matrix)
    return f"static constexpr float {name}[{len(matrix)}][{len(matrix[0])}] = {{{rows}}};"


def _bound(library: ctypes.CDLL) -> Transforms:
    def from_patches(images: Tensor) -> Tensor:
        count, height, width, channels = images.shape
        rows, columns = height // TILE, width // TILE
        values = images.new_empty(PATCH**2, count * rows * columns, channels)
        image, line, pixel, _ = images.stride()
        places = (image, TILE * line, TILE * pixel, line, pixel)
        _call(
            library.from_patches, (images, values), (places, _of_values(rows, columns, values)), (count, rows, columns)
        )
        return values

    def to_patches(values: Tensor) -> Tensor:
        patches = values.new_empty(PATCH, PATCH, *values.shape[1:])
        places = _of_values(1, values.shape[1], values)
        _call(library.to_patches, (values, patches), (places, places), (1, 1, values.shape[1]))
        return patches

    def to_tiles(values: Tensor, tiles: Tensor) -> None:
        count, rows, _, columns, _, _ = tiles.shape
        places = (_of_values(rows, columns, values), _of_tiles(tiles))
        _call(library.to_tiles, (values, tiles), places, (count, rows, columns))

    def from_tiles(tiles: Tensor) -> Tensor:
        count, rows, _, columns, _, channels = tiles.shape
        values = tiles.new_empty(PATCH**2, count * rows * columns, channels)
        places = (_of_tiles(tiles), _of_values(rows, columns, values))
        _call(library.from_tiles, (tiles, values), places, (count, rows, columns))
        return values

    return Transforms(from_patches, to_patches, to_tiles, from_tiles)


def _call(
    function: Callable[..., object],
    tensors: tuple[Tensor, Tensor],
    places: tuple[Strides, Strides],
    tiles: tuple[int, int, int],
) -> None:
    """Transform the tiles (images, rows, columns) of one tensor into those of the other."""
    assert all(tensor.stride(-1) == 1 and tensor.dtype == torch.float32 for tensor in tensors)
    threads = max(1, min(torch.get_num_threads(), tensors[1].numel() // SHARE))
    numbers = (*places[0], *places[1], *tiles, tensors[1].shape[-1], threads)
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors)
    function(*pointers, (ctypes.c_int64 * len(numbers))(*numbers))


def _of_values(rows: int, columns: int, values: Tensor) -> Strides:
    _, tiles, channels = values.shape
    return (rows * columns * channels, columns * channels, channels, PATCH * tiles * channels, tiles * channels)


def _of_tiles(tiles: Tensor) -> Strides:
    image, row, line, column, pixel, _ = tiles.stride()
    return (image, row, column, line, pixel)
