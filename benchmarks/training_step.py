"""Training steps of ours beside the plain ones of plain_step.py, and how far their losses differ.

    python benchmarks/training_step.py [--recipes pix2pix cyclegan super_resolution_x4] [--batches 1] [--rounds 7]

For each recipe and batch size: `plain`, the published step; `ours, kernels plain`; and `ours`, as `translate train`
computes it on this device. Each contender is a process of its own, because memory that is kept is kept for a whole
process; they step in turns, from the same weights, on the same pictures, which the package carries. The loader is not
in it. A row's difference of losses is the largest over all its steps and terms, relative to the plain term. 50 rounds
compare 50 steps and more. Networks as published: instance norm, transposed convolutions, 256 x 256 pixels; the
super-resolver from 48 x 48. CycleGAN at batch 4 takes half a minute a step on two cores.
"""

import argparse
import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from PIL import Image
from plain_step import plain_step
from timing import alternate, machine, table

from translate.config import read_recipe
from translate.training.loop import batches_of, start, step

PICTURES = Path(__file__).resolve().parent.parent / "pipelines" / "pictures"
CONTENDERS = {"plain": None, "ours, kernels plain": "plain", "ours": "fast"}
BATCHES = 4  # different ones, seen over and over
Losses = dict[str, float]
Settings = dict[str, str]  # of a recipe, by dotted key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["pix2pix", "cyclegan", "super_resolution_x4"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1], help="batch sizes; the bars are those of 1")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of all recipes")
    options = parser.parse_args()
    print(machine(rounds=options.rounds, set=" ".join(options.set) or "nothing"))
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder) / "data")
        for recipe in options.recipes:
            for size in options.batches:
                given = dict(each.split("=", 1) for each in options.set)
                measure(recipe, size, options.rounds, Path(folder) / "data", given)


def measure(recipe: str, size: int, rounds: int, data: Path, given: Settings) -> dict[str, float]:
    """Print the table of one recipe and batch size. Returns the contenders' largest relative differences of losses."""
    settings = settings_of(recipe, size, data) | given
    with workers(recipe, settings) as pipes:
        seconds = alternate({name: partial(_ask, pipe, "step") for name, pipe in pipes.items()}, rounds)
        losses: dict[str, list[Losses]] = {name: _ask(pipe, "losses") for name, pipe in pipes.items()}
    differences = {name: difference(losses["plain"], own) for name, own in losses.items()}
    steps = len(losses["plain"])
    print(f"\n{table(f'{recipe}, batch {size}', seconds, 'plain')}")
    for name in list(differences)[1:]:
        print(f"Losses over {steps} steps, {name}: at most {differences[name]:.1e} from the plain ones.")
    return differences


def settings_of(recipe: str, size: int, data: Path) -> Settings:
    """What makes a recipe of ours the published one, but for a batch norm, which ours has none of."""
    common = {"data.folder": str(data), "data.workers": "0", "data.cache": "false", "data.flip": "false"}
    common |= {"training.batch_size": str(size), "training.precision": "fp32", "optimizer.clip_norm": "null"}
    if recipe.startswith("super_resolution"):
        enlarged = {"data.source": "small", "data.flip_vertical": "false", "data.rotate90": "false"}
        return common | enlarged | {"training.channels_last": "false", "schedule.warmup": "0", "data.crop": "48"}
    sides = {"data.resize": "null", "data.crop": "256", "generator.upsample": "transposed"}
    unpaired = {"data.source": "source", "data.target": "target"} if recipe.startswith("cyclegan") else {}
    return common | sides | unpaired


def write_pictures(folder: Path) -> None:
    """Mosaics of 256 x 256 pixels, each of four of the package's drawings (source) or their renders (target)."""
    names = sorted(path.name for path in (PICTURES / "sketch").iterdir())[: 4 * 16]
    for side, kind in (("source", "sketch"), ("target", "render")):
        (folder / "train" / side).mkdir(parents=True)
        for first in range(0, len(names), 4):
            mosaic = Image.new("RGB", (256, 256))
            for place, name in enumerate(names[first : first + 4]):
                mosaic.paste(Image.open(PICTURES / kind / name).convert("RGB"), (128 * (place % 2), 128 * (place // 2)))
            mosaic.save(folder / "train" / side / f"{first:03d}.png")
    (folder / "train" / "small").mkdir()
    for path in sorted((folder / "train" / "target").iterdir()):
        Image.open(path).resize((64, 64), Image.Resampling.BICUBIC).save(folder / "train" / "small" / path.name)


@contextmanager
def workers(recipe: str, settings: Settings) -> Iterator[dict[str, Connection]]:
    """One process for each contender, waiting for what it is asked."""
    context, pipes, processes = multiprocessing.get_context("spawn"), {}, []
    for name, kernels in CONTENDERS.items():
        pipes[name], theirs = context.Pipe()
        arguments = (theirs, recipe, settings | {"training.kernels": kernels or "plain"}, kernels is None)
        processes.append(context.Process(target=work, args=arguments, daemon=True))
        processes[-1].start()
        theirs.close()
    try:
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.close()
        for process in processes:
            process.join()


def work(pipe: Connection, recipe: str, settings: Settings, plain: bool) -> None:
    """Answer "step" after a step, and "losses" with those of all steps, until the other end is closed."""
    losses: list[Losses] = []
    with tempfile.TemporaryDirectory() as folder:
        stepper = steps_of(recipe, settings, plain, Path(folder))
        while True:
            try:
                asked = pipe.recv()
            except EOFError:
                return
            if asked == "step":
                losses.append(next(stepper))
            pipe.send(losses if asked == "losses" else None)


def steps_of(recipe: str, settings: Settings, plain: bool, folder: Path) -> Iterator[Losses]:
    """Losses of one step after another, by ours or by the plain one from the same weights."""
    run = start(read_recipe(recipe, settings), folder / "run")
    batches = list(islice(batches_of(run), BATCHES))
    theirs = plain_step(run.recipe, run.trained.networks.all())
    while True:
        for batch in batches:
            torch.manual_seed(run.progress.step)  # dropout
            if plain:
                values = theirs(batch)
                run.progress.step += 1
                yield {name: float(value) for name, value in values.items()}
                continue
            step(run, iter([batch]))
            averages = run.progress.running.averages(lambda sums: sums)
            run.progress.running.reset()
            yield {name: average.mean for name, average in averages.items() if name[:2] in ("g/", "d/")}


def difference(plain: list[Losses], ours: list[Losses]) -> float:
    """The largest difference of any term in any step, relative to the plain one."""
    pairs = [(a[name], b[name]) for a, b in zip(plain, ours, strict=True) for name in a]
    return max(abs(b - a) / abs(a) for a, b in pairs)


def _ask(pipe: Connection, what: str) -> list[Losses]:
    pipe.send(what)
    return pipe.recv()


if __name__ == "__main__":
    main()
