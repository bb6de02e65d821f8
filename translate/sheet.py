"""Many images as one, to look at."""

from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from translate.data.images import Picture, from_array


def draw_sheet(rows: list[list[Tensor]], *, gap: int = 4) -> Picture:
    """Rows of images (C, H, W) in model space, C is 1 or 3, on white, pixel by pixel: an 8-bit RGB picture.

    Images may differ in size, and rows in length; each stands at the top left of its cell.

    Args:
        gap: pixels between images and around them.
    """
    cells = [[to_8bit(image) for image in row] for row in rows]
    heights = [max(cell.shape[0] for cell in row) for row in cells]
    widths = [max(cell.shape[1] for cell in column if cell is not None) for column in zip_longest(*cells)]
    sheet = np.full((sum(heights) + gap * (len(heights) + 1), sum(widths) + gap * (len(widths) + 1), 3), 255, np.uint8)
    top = gap
    for row, height in zip(cells, heights, strict=True):
        left = gap
        for cell, width in zip(row, widths, strict=False):  # a short row leaves white
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
            left += width + gap
        top += height + gap
    return from_array(sheet)


def to_8bit(image: Tensor) -> np.ndarray:
    """(C, H, W) in model space as an RGB array (H, W, 3) to look at."""
    levels = ((image.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.expand(3, -1, -1).permute(1, 2, 0).numpy()
