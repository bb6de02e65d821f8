"""Layers with the kernels of ours beside torch's: forward, forward and backward, and how far both are from float64.

    python benchmarks/kernels.py [--width 64] [--side 256] [--rounds 9]

The layers are those of CycleGAN's generator (ResNet, transposed or resize convolutions) of this width, for an image of
this side at batch 1; the last rows are its residual block and the whole generator. Both contenders run in turns in one
process, which keeps freed memory as a training does.
"""

import argparse
from collections.abc import Callable

import torch
from timing import alternate, machine, ratios
from torch import Tensor, nn

from translate.kernels.convolution import Conv3x3, Conv7x7
from translate.kernels.native import transforms
from translate.kernels.padding import reflect_pad
from translate.kernels.switch import fast, fast_kernels
from translate.kernels.transforms import PRODUCTS
from translate.memory import keep_freed_memory
from translate.networks import ResNet, initialise
from translate.networks.blocks import InstanceNorm
from translate.networks.resnet import ResidualBlock

Case = tuple[nn.Module, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    keep_freed_memory()
    native = "no" if transforms(torch.float32) is PRODUCTS else "yes"
    print(machine(width=options.width, side=options.side, rounds=options.rounds, compiler=native))
    print("| layer | input | forward | forward and backward | error of torch's | error of ours |")
    print("|---|---|---:|---:|---:|---:|")
    for name, (module, image) in cases(options.width, options.side).items():
        print(row(name, module, image, options.rounds), flush=True)


class Reflected(nn.Module):
    """Reflection padding by three pixels."""

    def forward(self, image: Tensor) -> Tensor:
        return reflect_pad(image, 3) if fast() else nn.functional.pad(image, (3, 3, 3, 3), mode="reflect")


def cases(width: int, side: int) -> dict[str, Case]:
    """Each layer with what it sees; the trunk in channels_last, as within the network."""
    torch.manual_seed(0)

    def image(channels: int, size: int) -> Tensor:
        return torch.randn(1, channels, size, size)

    def trunk(channels: int, size: int) -> Tensor:
        return image(channels, size).contiguous(memory_format=torch.channels_last)

    low = side // 4
    block = ResidualBlock(4 * width, norm="instance", dropout=False, padding="reflect")
    generator = ResNet(width=width)
    initialise(generator)
    return {
        "reflection, 3 pixels": (Reflected(), image(width, side)),
        "instance norm of the trunk": (InstanceNorm(), trunk(4 * width, low)),
        "3x3, reflected": (Conv3x3(4 * width, 4 * width, padding="reflect"), trunk(4 * width, low)),
        "3x3 behind the first resize": (Conv3x3(4 * width, 2 * width), trunk(4 * width, 2 * low)),
        "3x3 behind the second": (Conv3x3(2 * width, width), trunk(2 * width, side)),
        "7x7, last": (Conv7x7(width, 3, padding="reflect"), image(width, side)),
        "residual block": (block, trunk(4 * width, low)),
        "ResNet-9": (generator, image(3, side)),
    }


def row(name: str, module: nn.Module, image: Tensor, rounds: int) -> str:
    """Of the table: how many times as fast ours is, and the errors relative to the largest value."""
    forward = alternate({kind: runner(module, image, kind, False) for kind in ("torch", "ours")}, rounds)
    both = alternate({kind: runner(module, image, kind, True) for kind in ("torch", "ours")}, rounds)
    exact = gradient(module.double(), image.double())
    module.float()
    errors = []
    for kind in ("torch", "ours"):
        with fast_kernels(kind == "ours"):
            errors.append(f"{(gradient(module, image) - exact).abs().max() / exact.abs().max():.0e}")
    speed = [f"{ratios(seconds, 'torch')['ours'][0]:.2f}" for seconds in (forward, both)]
    return f"| {' | '.join([name, 'x'.join(map(str, image.shape[1:])), *speed, *errors])} |"


def runner(module: nn.Module, image: Tensor, kind: str, backward: bool) -> Callable[[], object]:
    def run() -> None:
        with fast_kernels(kind == "ours"):
            if backward:
                gradient(module, image)
            else:
                with torch.inference_mode():
                    module(image)

    return run


def gradient(module: nn.Module, image: Tensor) -> Tensor:
    """To the image, of the output times random numbers, always the same; those to the weights are computed, too."""
    module.zero_grad()
    image = image.detach().requires_grad_()
    output = module(image)
    random = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    output.backward(random.to(output.dtype).contiguous(memory_format=layout(output)))
    assert image.grad is not None
    return image.grad


def layout(image: Tensor) -> torch.memory_format:
    return torch.contiguous_format if image.is_contiguous() else torch.channels_last


if __name__ == "__main__":
    main()
