"""How fast samples are loaded, against the published PIL loader: without the cache, with it, and left as 8 bits.

    python benchmarks/loader.py [--data DIR] [--images 64] [--rounds 7] [--kinds paired side_by_side unpaired]

Without --data it makes a data set of 256 x 256 JPEGs (512 x 256 side by side) of scikit-image's photographs. One
process and one thread; every contender gives batches of 286 -> 256 pixels with flips, up to what a CPU step gets.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from plain_loader import CROPPED, RESIZED, PlainHalves, PlainPairs, PlainUnpaired
from skimage import data as skimage_data
from timing import alternate, machine, table
from torch.utils.data import DataLoader

from translate.data.build import build_dataset
from translate.data.cache import PictureCache
from translate.data.sampling import StepSampler
from translate.data.splits import DataConfig, Split, find_training

KINDS = ("paired", "side_by_side", "unpaired")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a prepared folder; its --kinds must be one")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--images", type=int, default=64, help="pairs that are made")
    parser.add_argument(
        "--samples", type=int, default=64, help="samples a round and contender; 16 times that with cache"
    )
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.empty(8_000_000).fill_(0)  # from here on the allocator keeps what is freed, as it does in a training
    settings = {"batch": options.batch, "images": options.images, "rounds": options.rounds}
    print(machine(("torch", "opencv-python-headless", "pillow"), **settings), "\n")
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds:
            root = options.data or make(Path(folder) / kind, kind, options.images)
            print(measure(root, kind, options), "\n")


def make(root: Path, kind: str, count: int) -> Path:
    """A data set of JPEGs: crops of photographs, and their negatives."""
    photographs = [skimage_data.astronaut(), skimage_data.coffee(), skimage_data.chelsea(), skimage_data.rocket()]
    random = np.random.default_rng(0)
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        top, left = (int(random.integers(side - 255)) for side in photograph.shape[:2])
        crop = photograph[top : top + 256, left : left + 256]
        sides = (
            {"": np.hstack([255 - crop, crop])} if kind == "side_by_side" else {"source": 255 - crop, "target": crop}
        )
        for side, pixels in sides.items():
            folder = root / "train" / side
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{index:05d}.jpg", quality=90)
    return root


def measure(root: Path, kind: str, options: argparse.Namespace) -> str:
    config = DataConfig(kind=kind, folder=root, resize=RESIZED, crop=CROPPED)  # type: ignore[arg-type]
    split = find_training(config)
    with tempfile.TemporaryDirectory() as folder:
        cache = PictureCache.build(split.files(), Path(folder), source=split.source, size=config.working_size())
        published = plain_batches(split, kind, options.batch)
        few, many = options.samples // options.batch, 16 * options.samples // options.batch
        contenders: dict[str, tuple[Callable[[], object], int]] = {
            "published loader": (lambda: take(published, few), few),
            "ours, from files": (taking(ours(config, split, None, options.batch, stored=False), few), few),
            "ours, with the cache": (taking(ours(config, split, cache, options.batch, stored=False), many), many),
            "ours, with the cache, 8 bits for a device": (
                taking(ours(config, split, cache, options.batch, stored=True), many),
                many,
            ),
        }
        seconds = alternate({name: call for name, (call, _) in contenders.items()}, options.rounds)
    each = {name: [s / (contenders[name][1] * options.batch) for s in own] for name, own in seconds.items()}
    return table(f"{kind}: loader", each, "published loader", unit="sample")


def ours(config: DataConfig, split: Split, cache: PictureCache | None, size: int, *, stored: bool) -> Iterator[Any]:
    """Batches without end: as they travel to a device, or in model space on the CPU."""
    dataset = build_dataset(config, split, config.training_geometry(), 0, cache)
    for draws in StepSampler(dataset.lengths, size, 0, 0, 10**9):
        batch = dataset.batch(draws)
        yield batch if stored else dataset.to_model(batch)  # type: ignore[arg-type]


def plain_batches(split: Split, kind: str, batch: int) -> Iterator[Any]:
    """Batches of the published loader without end."""
    dataset: Any = PlainPairs([(pair.source, pair.target) for pair in split.pairs])
    if kind == "side_by_side":
        dataset = PlainHalves([pair.source for pair in split.pairs])
    if kind == "unpaired":
        dataset = PlainUnpaired(list(split.a), list(split.b))
    while True:
        yield from DataLoader(dataset, batch_size=batch, shuffle=True)


def taking(batches: Iterator[Any], count: int) -> Callable[[], None]:
    return lambda: take(batches, count)


def take(batches: Iterator[Any], count: int) -> None:
    for _ in itertools.islice(batches, count):
        pass


if __name__ == "__main__":
    main()
