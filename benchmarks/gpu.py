"""Training steps on a GPU: float32 eager beside bf16 + channels_last + CUDA graphs, and how busy the GPU is.

    python benchmarks/gpu.py [--recipes pix2pix cyclegan] [--batches 1 16] [--rounds 7] [--steps 20]

1. Step time and images a second of each recipe and batch size, beside the floors that were counted for an H100.
2. The share of a training from files, loader and all, in which the GPU computes.
3. Whether the gradients of torch's instance norm and of ours are right at batch 1 and 2, in both memory formats.

Without a GPU it says so, and measures the same on the CPU, with small networks: the figures then mean nothing.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import torch
from timing import alternate, machine, table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from training_step import Settings, settings_of, write_pictures

from translate.config import read_recipe
from translate.networks.blocks import InstanceNorm
from translate.training.loop import batches_of, start, step
from translate.training.run import Run

FLOORS = {("pix2pix", 1): "1.0 to 1.2", ("pix2pix", 16): "3.2", ("cyclegan", 1): "5.5 to 6.5"}  # ms a step on an H100
WAYS: dict[str, Settings] = {
    "fp32 eager": {"training.precision": "fp32", "training.channels_last": "false", "training.kernels": "plain"},
    "bf16, channels_last": {"training.precision": "bf16", "training.channels_last": "true"},
    "bf16, channels_last, graphs": {
        "training.precision": "bf16",
        "training.channels_last": "true",
        "training.compile": "graphs",
    },
}
SMALL = {"generator.width": "8", "discriminator.width": "8"}
CUDA = torch.cuda.is_available()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["pix2pix", "cyclegan"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16] if CUDA else [1])
    parser.add_argument("--rounds", type=int, default=7 if CUDA else 1)
    parser.add_argument("--steps", type=int, default=20 if CUDA else 1, help="of one round")
    options = parser.parse_args()
    print(machine(device=torch.cuda.get_device_name() if CUDA else "cpu", rounds=options.rounds, steps=options.steps))
    if not CUDA:
        print("There is no GPU: what it would measure runs on the CPU, with networks of width 8, and means nothing.")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_pictures(data)
        for recipe in options.recipes:
            for size in options.batches:
                measure(
                    recipe, settings_of(recipe, size, data) | ({} if CUDA else SMALL), options.rounds, options.steps
                )
        for recipe in options.recipes:
            settings = settings_of(recipe, 1, data) | ({"data.workers": "4"} if CUDA else SMALL)
            print(f"\n{recipe} from files: the GPU computes {busy(recipe, settings, options.steps):.0%} of the time")
    print("\n| gradient of an instance norm | relative error |\n|---|---:|")
    for name, error in instance_norm_errors("cuda" if CUDA else "cpu").items():
        print(f"| {name} | {error:.1e} |")


def measure(recipe: str, settings: Settings, rounds: int, steps: int) -> None:
    """Print the table of one recipe and batch size."""
    size = int(settings["training.batch_size"])
    with tempfile.TemporaryDirectory() as folder:
        ways = list(WAYS) if CUDA else list(WAYS)[:2]  # without a GPU there are no graphs
        runs = {way: _run(recipe, settings | WAYS[way], Path(folder) / str(place)) for place, way in enumerate(ways)}
        blocks = {way: _block(run, steps) for way, run in runs.items()}
        seconds = alternate(blocks, rounds, warmup=2)
    print(f"\n{table(f'{recipe}, batch {size}', seconds, 'fp32 eager', items=steps)}")
    for way, values in seconds.items():
        print(f"{way}: {size * steps / sorted(values)[len(values) // 2]:.4g} images a second")
    if CUDA and (recipe, size) in FLOORS:
        print(f"The floor of an H100 is {FLOORS[recipe, size]} ms a step, counted from operations and bytes.")


def busy(recipe: str, settings: Settings, steps: int) -> float:
    """The share of the wall time of some steps from files, the first ones left out, in which kernels run."""
    with tempfile.TemporaryDirectory() as folder:
        run = _run(recipe, settings | list(WAYS.values())[-1 if CUDA else 0], Path(folder))
        batches = batches_of(run)
        for _ in range(max(1, steps // 2)):
            step(run, batches)
        _wait()
        activity = ProfilerActivity.CUDA if CUDA else ProfilerActivity.CPU
        with profile(activities=[activity]) as profiler:
            began = time.perf_counter()
            for _ in range(steps):
                step(run, batches)
            _wait()
            wall = time.perf_counter() - began
        # One stream: kernels do not overlap.
        events = profiler.key_averages()
        computed = sum(event.self_device_time_total if CUDA else event.self_cpu_time_total for event in events)
    return computed / 1e6 / wall


def instance_norm_errors(device: str) -> dict[str, float]:
    """The relative error of each layer's gradient at batch 1 and 2, for an incoming one in each memory format."""
    torch.manual_seed(0)
    found = {}
    layers: dict[str, Callable[[Tensor], Tensor]] = {"torch": nn.InstanceNorm2d(8), "ours": InstanceNorm()}
    for name, layer in layers.items():
        for size in (1, 2):
            image, incoming = torch.randn(2, size, 8, 16, 16, dtype=torch.float64, device=device)
            exact = _gradient(nn.functional.instance_norm, image, incoming)
            for layout in (torch.contiguous_format, torch.channels_last):
                given = incoming.float().to(memory_format=layout)
                error = _gradient(layer, image.float().to(memory_format=layout), given).double() - exact
                found[f"{name}, batch {size}, {str(layout)[6:]}"] = float(error.norm() / exact.norm())
    return found


def _gradient(layer: Callable[[Tensor], Tensor], image: Tensor, incoming: Tensor) -> Tensor:
    image = image.detach().requires_grad_(True)
    return torch.autograd.grad(layer(image), image, incoming)[0]


def _run(recipe: str, settings: Settings, folder: Path) -> Run:
    return start(read_recipe(recipe, settings), folder / "run")


def _block(run: Run, steps: int) -> Callable[[], None]:
    batches = cycle(list(islice(batches_of(run), 4)))

    def block() -> None:
        for _ in range(steps):
            step(run, batches)
        _wait()

    return block


def _wait() -> None:
    if CUDA:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
