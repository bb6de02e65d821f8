"""The published loader (Isola et al. 2017, Zhu et al. 2017), written straightforwardly: the baseline of `loader.py`.

PIL opens the file, resizes to 286 x 286 bicubically, crops 256 at random and flips; then torchvision's ToTensor and
Normalize(0.5, 0.5), step by step as torchvision takes them, and torch's own batch collation.
"""

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

RESIZED, CROPPED = 286, 256


class PlainPairs(Dataset[dict[str, Tensor | str]]):
    """Registered pairs in two files, moved alike."""

    def __init__(self, pairs: list[tuple[Path, Path]]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        source, target = self.pairs[index]
        place = crop_and_flip()
        images = [Image.open(path).convert("RGB") for path in (source, target)]
        return {"A": transformed(images[0], place), "B": transformed(images[1], place), "paths": str(source)}


class PlainHalves(Dataset[dict[str, Tensor | str]]):
    """Registered pairs side by side in one file, moved alike."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        both = Image.open(self.files[index]).convert("RGB")
        width, height = both.size
        place = crop_and_flip()
        left, right = both.crop((0, 0, width // 2, height)), both.crop((width // 2, 0, width, height))
        return {"A": transformed(left, place), "B": transformed(right, place), "paths": str(self.files[index])}


class PlainUnpaired(Dataset[dict[str, Tensor | str]]):
    """Two independent lists of files, each moved for itself."""

    def __init__(self, a: list[Path], b: list[Path]) -> None:
        self.a, self.b = a, b

    def __len__(self) -> int:
        return max(len(self.a), len(self.b))

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        a, b = self.a[index % len(self.a)], self.b[random.randint(0, len(self.b) - 1)]
        images = [Image.open(path).convert("RGB") for path in (a, b)]
        first, second = (transformed(image, crop_and_flip()) for image in images)
        return {"A": first, "B": second, "A_paths": str(a), "B_paths": str(b)}


def crop_and_flip() -> tuple[int, int, bool]:
    """Left, top, and whether it is flipped."""
    room = RESIZED - CROPPED
    return random.randint(0, room), random.randint(0, room), random.random() > 0.5


def transformed(image: Image.Image, place: tuple[int, int, bool]) -> Tensor:
    """(3, 256, 256) in [-1, 1]."""
    left, top, flipped = place
    image = image.resize((RESIZED, RESIZED), Image.Resampling.BICUBIC)
    image = image.crop((left, top, left + CROPPED, top + CROPPED))
    if flipped:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # ToTensor
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True)).view(CROPPED, CROPPED, 3)
    values = pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    # Normalize
    mean, deviation = (torch.as_tensor([0.5, 0.5, 0.5], dtype=torch.float32).view(-1, 1, 1) for _ in range(2))
    return values.clone().sub_(mean).div_(deviation)
