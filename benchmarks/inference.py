"""How fast back ends compute a generator, against PyTorch's eager mode, and how far they are from it.

    python benchmarks/inference.py [--models resnet-9 unet-256 super-resolution-x4] [--backends openvino ...]

Batch 1, 256 x 256 pixels of real images, all contenders in turns in one process, another for each model: what ran
before changes how memory is had, and with it the time of eager mode. Threads by OMP_NUM_THREADS. The
networks of pix2pix and CycleGAN have the weights that training begins with. A back end that is more than 1e-4 off is
named and left out: no pipeline would take it.
"""

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from timing import alternate, machine, ratios
from torch import Tensor, nn

from translate.backends import BACKENDS, BackendError
from translate.backends.prepare import LARGEST_DIFFERENCE, largest_difference
from translate.model_folder import load_generator
from translate.model_sources import find_model
from translate.networks import ResNet, UNet
from translate.pipelines.inference.samples import sample_images
from translate.sizes import translate_any_size

MODELS = ("resnet-9", "unet-256", "super-resolution-x2", "super-resolution-x4", "ct-denoising")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, help=f"of {', '.join(MODELS)}, or model folders")
    parser.add_argument("--backends", nargs="+", choices=list(BACKENDS), default=["compile", "onnxruntime", "openvino"])
    parser.add_argument("--width", type=int, default=64, help="of ResNet-9 and U-Net-256")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if len(options.models) > 1:
        at = sys.argv.index("--models") if "--models" in sys.argv else len(sys.argv)
        others = sys.argv[1:at] + sys.argv[at + 1 + len(options.models) :]
        for name in options.models:
            subprocess.run([sys.executable, sys.argv[0], *others, "--models", name], check=True)
        return
    packages = ("torch", *(name for name in ("onnxruntime", "openvino") if name in options.backends))
    print(machine(packages, batch=1, width=options.width, rounds=options.rounds, device=options.device), "\n")
    for name in options.models:
        network, scans = build(name, options.width)
        print(measure(name, network.to(options.device), sample_images(network, scans=scans), options), "\n")


def build(name: str, width: int) -> tuple[nn.Module, bool]:
    """A generator, and whether it is for scans."""
    torch.manual_seed(0)
    if name == "resnet-9":
        network: nn.Module = ResNet(width=width)
    elif name == "unet-256":
        network = UNet(width=width, norm="batch", dropout=True)
    else:
        network, _, config = load_generator(find_model(name))
        return network.eval().requires_grad_(False), config.contract is not None
    return network.eval().requires_grad_(False), False


def measure(name: str, network: nn.Module, samples: list[Tensor], options: argparse.Namespace) -> str:
    """A Markdown table of one model."""
    samples = [images.to(options.device) for images in samples]
    contenders = {"eager": functools.partial(run, network, samples[0], None)}
    notes = {"eager": ("", "")}
    refused = []
    with tempfile.TemporaryDirectory() as folder:
        for backend in options.backends:
            began = time.perf_counter()
            try:
                ready = BACKENDS[backend](torch.device(options.device))
                file = Path(folder) / f"{backend}{ready.suffix}"
                ready.make(network, file)
                forward = ready.load(file, network)
                difference = largest_difference(network, forward, samples)
            except BackendError as error:
                refused.append(f"{backend}: {error}")
                continue
            seconds = time.perf_counter() - began
            if difference > LARGEST_DIFFERENCE:
                refused.append(f"{backend}: {difference:.1e} from eager, allowed are {LARGEST_DIFFERENCE:.0e}")
                continue
            contenders[backend] = functools.partial(run, network, samples[0], forward)
            notes[backend] = (f"{difference:.1e}", f"{seconds:.1f}")
        found = alternate(contenders, options.rounds)
    lines = [
        f"| {name} | ms an image | times as fast | lowest to highest | largest difference | s to prepare |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for contender, (ratio, low, high) in ratios(found, "eager").items():
        median = 1000 * sorted(found[contender])[len(found[contender]) // 2]
        far, took = notes[contender]
        lines.append(f"| {contender} | {median:.4g} | {ratio:.2f} | {low:.2f} to {high:.2f} | {far} | {took} |")
    return "\n".join([*lines, *(f"\nNot used: {reason}" for reason in refused)])


@torch.inference_mode()
def run(network: nn.Module, images: Tensor, forward: object) -> Tensor:
    return translate_any_size(network, images, forward).cpu()  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
