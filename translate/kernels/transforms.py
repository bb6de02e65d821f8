"""The transforms of the fast 3x3 convolution: F(4x4, 3x3) of Lavin and Gray 2016 (arXiv:1509.09308).

By Toom and Cook: two polynomials are evaluated at some points and at infinity, multiplied there, and interpolated. Each
transform is M x M^T of small matrices x with a matrix M of constants. Here it is one product of matrices, the Kronecker
product of M and M with x as a column; `native` does the same in a third of the time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod

import torch
from torch import Tensor

# Where the polynomials are evaluated, besides at infinity. Pairs a, -a and b, -b with a * b about 1 keep numbers small:
# rounding errors are a fourth of those at the usual 0, 1, -1, 2, -2 (measured; on the choice of points see Alam et al.
# 2022, doi:10.1145/3524069).
POINTS = (Fraction(0), Fraction(5, 8), Fraction(-5, 8), Fraction(3, 2), Fraction(-3, 2))
TILE = 4  # side of the piece of the output that a patch makes
PATCH = TILE + 2

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Transforms:
    """Of images (N, 4 r + 2, 4 c + 2, C), tiles (N, r, 4, c, 4, C) and values (36, N r c, C), channels side by side.

    of_weights: weights (K, C, 3, 3) to their values (36, K, C).
    to_weights: its transpose.
    from_patches: images, taken as patches that overlap by two pixels, to values.
    to_patches: its transpose, values added to images that are given.
    to_tiles: values, into tiles that are given.
    from_tiles: its transpose, tiles to values.
    """

    of_weights: Callable[[Tensor], Tensor]
    to_weights: Callable[[Tensor], Tensor]
    from_patches: Callable[[Tensor], Tensor]
    to_patches: Callable[[Tensor, Tensor], object]
    to_tiles: Callable[[Tensor, Tensor], object]
    from_tiles: Callable[[Tensor], Tensor]


def _of_weights(weight: Tensor) -> Tensor:
    return torch.mm(_both(WEIGHTS, weight.dtype), weight.reshape(-1, 9).t()).view(PATCH**2, *weight.shape[:2])


def _to_weights(values: Tensor) -> Tensor:
    columns = torch.mm(_both(WEIGHTS, values.dtype).t(), values.view(PATCH**2, -1))
    return columns.t().reshape(*values.shape[1:], 3, 3)


def _from_patches(images: Tensor) -> Tensor:
    count, height, width, channels = images.shape
    image, line, pixel, _ = images.stride()
    sizes = (PATCH, PATCH, count, height // TILE, width // TILE, channels)
    patches = images.as_strided(sizes, (line, pixel, image, TILE * line, TILE * pixel, 1))
    return torch.mm(_both(EVALUATE, images.dtype), patches.reshape(PATCH**2, -1)).view(PATCH**2, -1, channels)


def _to_patches(values: Tensor, images: Tensor) -> None:
    made = torch.mm(_both(EVALUATE, values.dtype).t(), values.view(PATCH**2, -1))
    count, height, width, channels = images.shape
    rows, columns = height // TILE, width // TILE
    patches = made.view(PATCH, PATCH, count, rows, columns, channels).permute(2, 3, 0, 4, 1, 5)
    for top in (0, TILE):  # patches reach two pixels into the next tile
        for left in (0, TILE):
            own = patches[:, :, top : top + TILE, :, left : left + TILE]
            image, line, pixel, _ = images.stride()
            places = (image, TILE * line, line, TILE * pixel, pixel, 1)
            images[:, top:, left:].as_strided(own.shape, places).add_(own)


def _to_tiles(values: Tensor, tiles: Tensor) -> None:
    count, rows, _, columns, _, channels = tiles.shape
    made = torch.mm(_both(INTERPOLATE, values.dtype), values.view(PATCH**2, -1))
    tiles.copy_(made.view(TILE, TILE, count, rows, columns, channels).permute(2, 3, 0, 4, 1, 5))


def _from_tiles(tiles: Tensor) -> Tensor:
    columns = tiles.permute(2, 4, 0, 1, 3, 5).reshape(TILE**2, -1)
    return torch.mm(_both(INTERPOLATE, tiles.dtype).t(), columns).view(PATCH**2, -1, tiles.shape[-1])


PRODUCTS = Transforms(_of_weights, _to_weights, _from_patches, _to_patches, _to_tiles, _from_tiles)


def transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _matrices() -> tuple[Matrix, Matrix, Matrix]:
    """Of patches (6 x 6), of weights (6 x 3), and back to tiles (4 x 6)."""
    others = [[other for other in POINTS if other != point] for point in POINTS]
    patches = [*((*_product(roots), Fraction(0)) for roots in others), _product(POINTS)]
    scales = [
        prod((point - other for other in roots), start=Fraction(1)) for point, roots in zip(POINTS, others, strict=True)
    ]
    weights = [tuple(point**power / scale for power in range(3)) for point, scale in zip(POINTS, scales, strict=True)]
    tiles = [tuple(point**power for power in range(TILE)) for point in POINTS]
    return _floats(patches), _floats([*weights, (0, 0, 1)]), transposed(_floats([*tiles, (0, 0, 0, 1)]))


def _product(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Coefficients of the product of (x - root), from the constant upwards."""
    made: tuple[Fraction, ...] = (Fraction(1),)
    for root in roots:
        made = tuple(a - root * b for a, b in zip((Fraction(0), *made), (*made, Fraction(0)), strict=True))
    return made


def _floats(rows: Sequence[Sequence[Fraction | int]]) -> Matrix:
    return tuple(tuple(float(one) for one in row) for row in rows)


@cache
def _both(matrix: Matrix, dtype: torch.dtype) -> Tensor:
    """The Kronecker product of M and M, which transforms both sides of a small matrix at once."""
    with torch.inference_mode(False):  # kept for calls that are differentiated
        made = torch.tensor(matrix, dtype=torch.float64)
        return torch.kron(made, made).to(dtype)


EVALUATE, WEIGHTS, INTERPOLATE = _matrices()
