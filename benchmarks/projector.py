"""How fast projection and filtered back-projection are beside scikit-image's radon and iradon, and how far they differ.

    python benchmarks/projector.py [--size 256] [--views 360] [--runs 3] [--threads 1]

Ours and theirs run in turns, so that both meet the same machine; seconds are medians, ratios medians of the ratios of
neighbouring runs. Differences are RMSE within the circle, in percent of the phantom's range (Shepp and Logan's).
The issue's size is --size 512 --views 720, which takes about 15 s a run of theirs and core.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import skimage
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import iradon, radon, resize

from translate.data.projection import filtered_back_projection, half_turn, project


def timed(function: Callable, *arguments: object) -> tuple[np.ndarray, float]:
    """What it returns, and its seconds."""
    started = time.perf_counter()
    result = function(*arguments)
    return np.asarray(result), time.perf_counter() - started


def phantom(size: int) -> tuple[np.ndarray, np.ndarray]:
    """(size, size) float32 in [0, 1], 0 outside the circle; and where to compare."""
    image = resize(shepp_logan_phantom(), (size, size), anti_aliasing=True).astype(np.float32)
    away = np.hypot(*(np.mgrid[:size, :size] - (size - 1) / 2))
    image[away > size / 2 - 1] = 0
    return image, away < size / 2 - 2


def compare(size: int, views: int, runs: int) -> tuple[dict[str, list[tuple[float, float]]], dict[str, float]]:
    """Seconds of ours and theirs for each stage and run, and differences of reconstructions in percent."""
    image, circle = phantom(size)
    angles = half_turn(views)
    degrees = np.degrees(angles.numpy())
    seconds: dict[str, list[tuple[float, float]]] = {"projection": [], "reconstruction": []}
    for _ in range(runs):
        ours, one = timed(project, torch.from_numpy(image)[None], angles)
        theirs, two = timed(radon, image, degrees)
        seconds["projection"].append((one, two))
        ours, one = timed(filtered_back_projection, torch.from_numpy(ours), angles, size)
        theirs, two = timed(iradon, theirs, degrees)
        seconds["reconstruction"].append((one, two))
    seconds["both"] = [(a + c, b + d) for (a, b), (c, d) in zip(*seconds.values(), strict=True)]
    pairs = {"ours and theirs": (ours[0], theirs), "ours and phantom": (ours[0], image)}
    pairs["theirs and phantom"] = (theirs, image)
    errors = {name: 100 * float(np.sqrt(np.mean((a - b)[circle] ** 2))) for name, (a, b) in pairs.items()}
    return seconds, errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", metavar="N", type=int, default=256)
    parser.add_argument("--views", metavar="N", type=int, default=360)
    parser.add_argument("--runs", metavar="N", type=int, default=3)
    parser.add_argument("--threads", metavar="N", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} of torch, load {os.getloadavg()[0]:.1f}")
    print(f"python {platform.python_version()}, torch {torch.__version__}, scikit-image {skimage.__version__}")
    print(f"{options.size} x {options.size} pixels, {options.views} views, {options.runs} runs")
    compare(64, 60, 1)  # the first calls load what they need
    seconds, errors = compare(options.size, options.views, options.runs)
    print(f"{'':<16}{'ours':>8}{'theirs':>9}{'ratio':>8}")
    for stage, runs in seconds.items():
        ours, theirs = (statistics.median(column) for column in zip(*runs, strict=True))
        ratio = statistics.median(b / a for a, b in runs)
        print(f"{stage:<16}{ours:>6.2f} s{theirs:>7.2f} s{ratio:>8.1f}")
    print(", ".join(f"{name} {error:.2f} %" for name, error in errors.items()))


if __name__ == "__main__":
    main()
