"""Real images by which back ends and exports are compared with PyTorch."""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
from torch import Tensor, nn

from translate.data.images import read_picture
from translate.sizes import padded_side

SIDES = ((1, 256, 256), (1, 90, 201), (2, 160, 120))  # batch, height, width
KINDS = ("render", "sketch", "render")  # of pictures: norms are less exact on drawings, which are nearly all paper
PICTURES = 36  # of each kind, 128 x 128 each, 6 x 6 of them in one


def sample_images(generator: nn.Module, *, scans: bool) -> list[Tensor]:
    """Images of several sizes, in model space, that a generator takes: of the pictures that come with the package, or
    slices with air, fat, muscle, lungs and bone.

    Args:
        scans: whether the generator is for scans.
    """
    multiple, minimum = int(generator.size_multiple), int(generator.size_minimum)  # type: ignore[arg-type]
    channels = int(generator.in_channels)  # type: ignore[arg-type]
    found = []
    for index, (count, height, width) in enumerate(SIDES):
        rows, columns = padded_side(height, multiple, minimum), padded_side(width, multiple, minimum)
        if index and rows == columns:
            columns += multiple
        size = (channels, rows, columns)
        parts = [_slice(size, number) if scans else _picture(size, number, KINDS[index]) for number in range(count)]
        found.append(torch.from_numpy(np.stack(parts)))
    return found


def _picture(size: tuple[int, int, int], number: int, kind: str) -> np.ndarray:
    """(channels, height, width) float32 in [-1, 1]."""
    channels, height, width = size
    folder = resources.files("translate.pipelines") / "pictures" / kind
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".png"))[:PICTURES]
    with resources.as_file(folder) as there:
        pixels = [read_picture(there / name).pixels[..., :3].astype(np.float32) / 127.5 - 1 for name in names]
    side = int(PICTURES**0.5)
    sheet = np.concatenate([np.concatenate(pixels[row * side : (row + 1) * side], axis=1) for row in range(side)])
    sheet = np.repeat(sheet.mean(axis=2, keepdims=True), channels, axis=2) if channels != sheet.shape[2] else sheet
    repeats = (-(-(height + 64 * number) // len(sheet)), -(-width // len(sheet)), 1)
    cut = np.tile(sheet, repeats)[64 * number : 64 * number + height, :width]
    return np.ascontiguousarray(cut.transpose(2, 0, 1))


def _slice(size: tuple[int, int, int], number: int) -> np.ndarray:
    """(channels, height, width) float32 in [-1, 1]: neighbouring slices through a chest."""
    channels, height, width = size
    random = np.random.default_rng(number)
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]

    def inside(top: float, left: float, tall: float, wide: float) -> np.ndarray:
        return ((rows - top) / tall) ** 2 + ((columns - left) / wide) ** 2 < 1

    made = np.empty((channels, height, width), np.float32)
    for index in range(channels):
        hu = np.full((height, width), -1000.0)
        organs = ((0, 0, 0.8, 0.9, -100), (0, 0, 0.7, 0.8, 50), (-0.1, -0.4, 0.45, 0.3, -800))
        for top, left, tall, wide, value in (*organs, (-0.1, 0.4, 0.45, 0.3, -800), (0.5, 0, 0.12, 0.12, 900)):
            hu[inside(top, left, tall + 0.01 * index, wide)] = value
        made[index] = (hu + random.normal(0, 25, hu.shape) + 1024) / 2048 - 1
    return made.clip(-1, 1)
