"""What the signals and the diagnosis cost: training steps with them beside training steps without.

    python benchmarks/signals.py [--recipes pix2pix_small cyclegan_small] [--every 25] [--rounds 7] [--threads 1]

Two runs of each recipe, one with `health.every` as given and one with 0, take 25 steps and a record in turns, in one
process and on the pictures that the package carries. The ratio is the median over the rounds.
"""

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from importlib import resources
from pathlib import Path

import torch

from translate.config import read_recipe
from translate.training.loop import batches_of, start, step
from translate.training.run import Run
from translate.training.watching import read_averages, watch

STEPS = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["pix2pix_small", "cyclegan_small"])
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} CPUs, {options.threads} thread(s)")
    print(f"health.every {options.every} against 0, {STEPS} steps a block, {options.rounds} rounds\n")
    print("recipe            ms/step without   with   ratio (lowest to highest)")
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(Path(folder) / "data")
        for name in options.recipes:
            without, with_, ratios = compare(name, data, Path(folder), options.every, options.rounds)
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
            print(f"{name:<18}{without:14.1f} {with_:7.1f}   {statistics.median(ratios):.3f} ({spread})")


def prepare(folder: Path) -> Path:
    """The pairs of the package as source and target, and as a and b, for training and validation alike."""
    pictures = resources.files("translate.pipelines") / "pictures"
    for split in ("train", "val"):
        for given, names in (("sketch", ("source", "a")), ("render", ("target", "b"))):
            with resources.as_file(pictures / given) as drawings:
                for name in names:
                    shutil.copytree(drawings, folder / split / name)
    return folder


def compare(name: str, data: Path, folder: Path, every: int, rounds: int) -> tuple[float, float, list[float]]:
    """Median milliseconds a step without and with signals, and the ratios of the rounds."""
    runs = []
    for frequency in (0, every):
        overrides = {"data.folder": str(data), "data.cache": "true", "data.workers": "0"}
        overrides |= {"health.every": str(frequency), "training.steps": str(STEPS * (rounds + 2))}
        run = start(read_recipe(name, overrides), folder / f"{name}_{frequency}")
        runs.append((run, batches_of(run)))
    times: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for index, (run, batches) in enumerate(runs):
            times[index].append(block(run, batches))
        if turn == 0:
            times = [[], []]  # the first of each warms up
    ratios = [with_ / without for without, with_ in zip(*times, strict=True)]
    return statistics.median(times[0]), statistics.median(times[1]), ratios


def block(run: Run, batches: object) -> float:
    """Milliseconds a step of STEPS steps and a record."""
    began = time.perf_counter()
    for _ in range(STEPS):
        step(run, batches)
    record = {"step": run.progress.step, **read_averages(run)}
    if run.recipe.health.every:
        watch(run, record)
    return (time.perf_counter() - began) / STEPS * 1000


if __name__ == "__main__":
    main()
