"""What a C++ compiler makes faster: the network ahead of time, or our kernels for wide 3x3 convolutions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from translate.backends.base import BackendError, Forward
from translate.backends.exported import exported, quiet
from translate.kernels.convolution import LEAST_CHANNELS, Conv3x3
from translate.kernels.switch import fast_kernels
from translate.kernels.winograd import conv3x3, fixed_weights

KERNELS = {"computed": "by translate.kernels"}  # all that the artefact of such a network holds


class Compiled:
    """AOTInductor (https://docs.pytorch.org/docs/stable/torch.compiler_aot_inductor.html), or `fast_kernels()`.

    Direct convolutions are as fast as a processor can be: for a ResNet-9 the compiler gains nothing, an algorithm with
    fewer multiplications does. So a network with wide 3x3 convolutions stays as it is, and these are computed by
    translate.kernels.winograd, which every process compiles anew, in seconds; any other one is compiled as a whole.
    """

    packages: ClassVar[tuple[str, ...]] = ("torch",)
    suffix: ClassVar[str] = ".pt2"
    code: ClassVar[bool] = True

    def __init__(self, device: torch.device) -> None:
        if device.type not in ("cpu", "cuda"):
            raise BackendError(
                f"compile runs on cpu or cuda, got the device {device}: give another, or --backend torch"
            )
        self.device = device

    def make(self, network: nn.Module, file: Path) -> None:
        if self.device.type == "cpu" and _has_wide_convolutions(network):
            file.write_text(json.dumps(KERNELS), encoding="utf-8")
            return
        program = exported(network)
        try:
            # Freezing brings the weights into the order that the processor wants, once.
            with torch.no_grad(), quiet(), torch._inductor.config.patch(freezing=True):
                torch._inductor.aoti_compile_and_package(program, package_path=str(file))
        except Exception as error:  # of the compiler, of whatever kind
            raise BackendError(
                f"torch cannot compile {type(network).__name__} ({str(error).splitlines()[0]}): a C++ compiler such as "
                "g++ is needed; or take another back end"
            ) from error

    def load(self, file: Path, network: nn.Module) -> Forward:
        if file.stat().st_size < 1024:
            return _by_kernels(network)
        compiled = torch._inductor.aoti_load_package(str(file))

        def forward(images: Tensor) -> Tensor:
            made: Tensor = compiled(images.contiguous())
            return made

        return forward


def _by_kernels(network: nn.Module) -> Forward:
    conv3x3(torch.zeros(1, 64, 8, 8), torch.zeros(64, 64, 3, 3))  # the first call compiles
    kept: dict[Tensor, Tensor] = {}

    def forward(images: Tensor) -> Tensor:
        with fast_kernels(), fixed_weights(kept):
            made: Tensor = network(images)
            return made.contiguous()

    return forward


def _has_wide_convolutions(network: nn.Module) -> bool:
    return any(isinstance(one, Conv3x3) and min(one.weight.shape[:2]) >= LEAST_CHANNELS for one in network.modules())
