"""Shards against a folder of the same small files: packing, opening, random access, resume, memory of a worker.

    python benchmarks/shards.py                              # 100,000 files of 64 x 64 pixels, some minutes
    python benchmarks/shards.py --files 1000 --rounds 2      # a look

All files are in the page cache, which favours the folder: on a disk or a network each of its reads looks up a name.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

BEGAN = time.perf_counter()

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402
from timing import alternate, machine, table  # noqa: E402

from translate.data.augment import Geometry  # noqa: E402
from translate.data.build import build_dataset  # noqa: E402
from translate.data.loading import load  # noqa: E402
from translate.data.sampling import StepSampler  # noqa: E402
from translate.data.splits import DataConfig, find_training  # noqa: E402

IMPORTED = time.perf_counter()
DISTINCT = 400  # pictures; the files repeat them
BATCH = 4
Order = Callable[[np.random.Generator, int, int], Sequence[int]]  # which of so many files, how many
SIDES = {"source": ".jpg", "target": ".png"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, help="half of them sources, half targets (100000)")
    parser.add_argument("--side", type=int, default=64, help="pixels (64)")
    parser.add_argument("--reads", type=int, default=2000, help="files a round (2000)")
    parser.add_argument("--rounds", type=int, default=7, help="of reading; 3 at most of resuming (7)")
    parser.add_argument("--shard-size", type=float, default=100.0, help="MB (100)")
    parser.add_argument("--place", type=Path, help="keep the files here, and take what is here (a temporary folder)")
    parser.add_argument("--first-batch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first_batch:
        first_batch(options.first_batch, options.started)
        return
    settings = {name: getattr(options, name) for name in ("files", "side", "reads", "rounds", "shard_size")}
    print(machine(("torch", "numpy"), **settings) + "\n", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        place = options.place or Path(temporary)
        folder, shards = place / "folder", place / "shards"
        if not folder.is_dir():
            make(folder, options.files // 2, options.side)
        if not shards.is_dir():
            pack(folder, shards, options.shard_size)
        access(folder, shards, options)
        resume(folder, shards, min(3, options.rounds))


def make(folder: Path, pairs: int, side: int) -> None:
    """Write pairs of a JPEG and a PNG, crops of photographs, in folders of a thousand."""
    from skimage import data

    photographs = [data.astronaut(), data.coffee(), data.chelsea()]
    random = np.random.default_rng(0)
    encoded = []
    for index in range(DISTINCT):
        photograph = photographs[index % 3]
        top, left = (random.integers(0, length - side) for length in photograph.shape[:2])
        crop = np.ascontiguousarray(photograph[top : top + side, left : left + side, ::-1])
        encoded.append({name: cv2.imencode(suffix, crop)[1].tobytes() for name, suffix in SIDES.items()})
    for index in range(pairs):
        for name, content in encoded[index % DISTINCT].items():
            path = folder / "train" / name / f"{index // 1000:04d}" / f"{index:08d}{SIDES[name]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def pack(folder: Path, shards: Path, size: float) -> None:
    """Print what packing takes."""
    from translate.pipelines.preprocessing.shards import Packing, pack_shards

    began = time.perf_counter()
    summary = pack_shards(folder, shards, Packing(shard_size=size), show_progress=False)
    seconds = time.perf_counter() - began
    rate, volume = summary["images"] / seconds, summary["bytes"] / 1e6
    index = (shards / "index.safetensors").stat().st_size / 1e6
    print(
        f"packing: {summary['images']} files, {volume:.0f} MB, in {summary['shards']} shards: {seconds:.1f} s, "
        f"{rate:.0f} files a second, {volume / seconds:.0f} MB a second; index {index:.1f} MB\n",
        flush=True,
    )


def access(folder: Path, shards: Path, options: argparse.Namespace) -> None:
    """Print opening times, and the rates at which decoded pictures come, at random and one after the other."""
    splits = {}
    for name, place in (("folder", folder), ("shards", shards)):
        began = time.perf_counter()
        splits[name] = find_training(DataConfig(folder=place))
        print(f"opening the {name}, with all checks: {(time.perf_counter() - began) * 1000:.0f} ms", flush=True)
    files = {name: list(split.files()) for name, split in splits.items()}
    for path in (*files["folder"], *shards.glob("*.tar")):
        path.read_bytes()  # into the page cache
    count = min(options.reads, options.files)
    turns = dict.fromkeys(splits, 0)

    def read(name: str, order: Order) -> None:
        turns[name] += 1  # other files in every round, the same for both
        for place in order(np.random.default_rng(turns[name]), options.files, count):
            splits[name].source.read(files[name][place])

    for title, order in (("random access, decoded", at_random), ("in their order, decoded", in_order)):
        seconds = alternate({name: partial(read, name, order) for name in splits}, options.rounds)
        print("\n" + table(title, seconds, "folder", items=count, unit="file"), flush=True)


def at_random(random: np.random.Generator, files: int, count: int) -> Sequence[int]:
    return random.permutation(files)[:count].tolist()


def in_order(random: np.random.Generator, files: int, count: int) -> Sequence[int]:
    first = int(random.integers(0, files - count + 1))
    return range(first, first + count)


def resume(folder: Path, shards: Path, rounds: int) -> None:
    """Print what it takes from the start of a process to the first batch in the middle of an epoch."""
    found: dict[str, dict[str, float]] = {}

    def start(name: str, place: Path) -> None:
        words = [sys.executable, __file__, "--first-batch", str(place), "--started", str(time.time())]
        found[name] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    contenders = {name: partial(start, name, place) for name, place in (("folder", folder), ("shards", shards))}
    seconds = alternate(contenders, rounds, warmup=0)
    print("\n" + table("process start to first batch and end", seconds, "folder", unit="resume"))
    print("\n| last resume | imports, s | opening to first batch, s | from process start, s | worker alone, MiB |")
    print("|---|---:|---:|---:|---:|")
    for name, facts in found.items():
        print(
            f"| {name} | " + " | ".join(f"{facts[key]:.2f}" for key in ("imports", "batch", "start", "worker")) + " |"
        )


def first_batch(place: Path, started: float) -> None:
    """What training does until its first batch: list and check the files, start loader processes, load."""
    began = time.perf_counter()
    config = DataConfig(folder=place)
    split = find_training(config)
    split.fingerprint(place)
    dataset = build_dataset(config, split, Geometry(flip=True), seed=0)
    middle = len(dataset) // 2 // BATCH
    sampler = StepSampler(dataset.lengths, BATCH, 0, middle, middle + 50)
    batches = load(dataset, sampler, 2)
    next(batches)
    ready, since_start = time.perf_counter(), time.time() - started
    memory = max(child.memory_full_info().uss for child in psutil.Process().children()) / 2**20
    facts = {"imports": IMPORTED - BEGAN, "batch": ready - began, "start": since_start, "worker": memory}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
