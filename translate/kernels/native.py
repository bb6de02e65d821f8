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

from translate.kernels.transforms import (
    EVALUATE,
    INTERPOLATE,
    PATCH,
    PRODUCTS,
    TILE,
    WEIGHTS,
    Matrix,
    Transforms,
    transposed,
)

log = logging.getLogger(__name__)

COMPILERS = ("c++", "g++", "clang++")  # unless the environment's CXX names another one
OPTIONS = ("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-pthread")
SOURCE = Path(__file__).with_name("transforms.cpp")
SHARE = 2**17  # numbers that are worth a thread

Strides = tuple[int, int, int, int, int]  # of images, rows and columns of tiles, rows and columns within them
Sizes = tuple[int, int, int, int]  # images, rows and columns of tiles, channels; weights are a column of tiles


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
    matrices = {"EVALUATE": EVALUATE, "WEIGHTS": WEIGHTS, "INTERPOLATE": INTERPOLATE}
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
    def of_weights(weight: Tensor) -> Tensor:
        weight = weight.contiguous()
        made, channels = weight.shape[:2]
        values = weight.new_empty(PATCH**2, made, channels)
        _call(
            library.of_weights, weight, _of_filters(weight), values, _of_values(made, 1, values), (1, made, 1, channels)
        )
        return values

    def to_weights(values: Tensor) -> Tensor:
        _, made, channels = values.shape
        weight = values.new_empty(made, channels, 3, 3)
        _call(
            library.to_weights, values, _of_values(made, 1, values), weight, _of_filters(weight), (1, made, 1, channels)
        )
        return weight

    def from_patches(images: Tensor) -> Tensor:
        count, rows, columns, channels = sizes = _patches(images)
        values = images.new_empty(PATCH**2, count * rows * columns, channels)
        _call(library.from_patches, images, _of_patches(images), values, _of_values(rows, columns, values), sizes)
        return values

    def to_patches(values: Tensor, images: Tensor) -> None:
        _, rows, columns, _ = sizes = _patches(images)
        _call(library.to_patches, values, _of_values(rows, columns, values), images, _of_patches(images), sizes)

    def to_tiles(values: Tensor, tiles: Tensor) -> None:
        count, rows, _, columns, _, channels = tiles.shape
        sizes = (count, rows, columns, channels)
        _call(library.to_tiles, values, _of_values(rows, columns, values), tiles, _of_tiles(tiles), sizes)

    def from_tiles(tiles: Tensor) -> Tensor:
        count, rows, _, columns, _, channels = tiles.shape
        values = tiles.new_empty(PATCH**2, count * rows * columns, channels)
        sizes = (count, rows, columns, channels)
        _call(library.from_tiles, tiles, _of_tiles(tiles), values, _of_values(rows, columns, values), sizes)
        return values

    return Transforms(of_weights, to_weights, from_patches, to_patches, to_tiles, from_tiles)


def _call(
    function: Callable[..., object], source: Tensor, before: Strides, target: Tensor, behind: Strides, sizes: Sizes
) -> None:
    """Transform the small matrices of one tensor, which lie at some places, into those of the other."""
    assert all(one.stride(-1) == 1 and one.dtype == torch.float32 for one in (source, target))
    threads = max(1, min(torch.get_num_threads(), max(source.numel(), target.numel()) // SHARE))
    numbers = (*before, *behind, *sizes, threads)
    pointers = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (source, target))
    function(*pointers, (ctypes.c_int64 * len(numbers))(*numbers))


def _patches(images: Tensor) -> Sizes:
    return images.shape[0], images.shape[1] // TILE, images.shape[2] // TILE, images.shape[3]


def _of_filters(weight: Tensor) -> Strides:
    return (0, weight.stride(0), 0, 3, 1)


def _of_values(rows: int, columns: int, values: Tensor) -> Strides:
    plane, tile, _ = values.stride()
    return (rows * columns * tile, columns * tile, tile, PATCH * plane, plane)


def _of_patches(images: Tensor) -> Strides:
    image, line, pixel, _ = images.stride()
    return (image, TILE * line, TILE * pixel, line, pixel)


def _of_tiles(tiles: Tensor) -> Strides:
    image, row, line, column, pixel, _ = tiles.stride()
    return (image, row, column, line, pixel)
