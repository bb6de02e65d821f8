"""The peak memory of a process that translates an image in tiles, for `python benchmarks/tiles.py memory`.

    python benchmarks/tiling_memory.py MEGAPIXELS WIDTH SIDE    # one size; prints one line of JSON

The image is a photograph repeated over a square, read tile by tile; of the translation only a sum is kept; the maps are
on disk. Resident is what the system counts, pages of the maps included; anonymous is the part that no file backs.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import skimage
import torch
from exact_tiles import layer_by_layer_on_disk
from torch import Tensor

from translate.networks import ResNet, initialise
from translate.tiling.regions import Region

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Repeated:
    """A photograph (C, h, w), uint8, repeated over (1, C, side, side): nothing of it is there before it is read."""

    photograph: Tensor
    side: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return 1, len(self.photograph), self.side, self.side

    def read(self, region: Region) -> Tensor:
        height, width = self.photograph.shape[-2:]
        rows = torch.arange(region.top, region.bottom) % height
        columns = torch.arange(region.left, region.right) % width
        return self.photograph[:, rows[:, None], columns][None].float() / 127.5 - 1


@dataclass
class Summed:
    """Keeps nothing but the number of values and their sum."""

    count: int = 0
    total: float = 0.0

    def write(self, region: Region, values: Tensor) -> None:
        self.count += values.numel()
        self.total += float(values.sum(dtype=torch.float64))


class Watch:
    """The largest anonymous memory of this process, looked at a hundred times a second; in bytes."""

    def __init__(self) -> None:
        self.largest = anonymous()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self.largest = max(self.largest, anonymous())


def anonymous() -> int:
    return _status("RssAnon")


def resident_peak() -> int:
    return _status("VmHWM")  # not getrusage's, which begins at that of the process that started this one


def _status(field: str) -> int:
    """A figure of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def print_memory(options: argparse.Namespace) -> None:
    """A process for each size, one after another."""
    print(f"ResNet-9 of width {options.width}, tiles of {options.side}, maps on disk; MiB\n")
    print("megapixels  resident peak  anonymous peak  more than at start       s  us/pixel")
    for size in options.sizes:
        arguments = [sys.executable, str(Path(__file__)), str(size), str(options.width), str(options.side)]
        try:
            done = subprocess.run(arguments, timeout=options.seconds, stdout=subprocess.PIPE, text=True, check=True)
        except subprocess.TimeoutExpired:
            print(f"{size:>10}   not done in {options.seconds:.0f} s")
            return
        found = json.loads(done.stdout)
        peak, anon, start = (found[key] / MEBIBYTE for key in ("resident", "anonymous", "start"))
        seconds = found["seconds"]
        print(
            f"{size:>10}{peak:>15.0f}{anon:>16.0f}{anon - start:>20.0f}{seconds:>8.0f}{seconds / size:>10.1f}",
            flush=True,
        )


def measure(megapixels: int, width: int, side: int) -> dict[str, float]:
    """Translate one image; memory in bytes."""
    torch.manual_seed(0)
    generator = ResNet(width=width).eval()
    initialise(generator)
    photograph = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1).contiguous()
    length = math.isqrt(megapixels * 10**6) // 4 * 4
    sink = Summed()
    began, start = time.perf_counter(), anonymous()
    with Watch() as watch, tempfile.TemporaryDirectory() as scratch:
        layer_by_layer_on_disk(generator, Repeated(photograph, length), sink, side, Path(scratch))
    if sink.count != 3 * length**2 or not math.isfinite(sink.total):
        raise SystemExit(f"{sink.count} values with the sum {sink.total}: expected {3 * length**2} finite ones")
    seconds = time.perf_counter() - began
    return {"resident": resident_peak(), "anonymous": watch.largest, "start": start, "seconds": seconds}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(*map(int, sys.argv[1:4]))) + "\n")
