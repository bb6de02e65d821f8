"""How much memory there is, and how much a network needs."""

from __future__ import annotations

import contextlib
import ctypes
import math
from functools import cache
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

from translate.sizes import padded_side
from translate.tiling.plan import Plan, needed_regions
from translate.tiling.regions import Region
from translate.tiling.trace import Node

BYTES = 4  # of a float32
WORKSPACE = 1.5  # what convolutions need besides their input and output, by experience
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
STATUS = Path("/proc/self/status")


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device, of host memory for a CPU."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = psutil.virtual_memory().available
    if LIMIT.is_file() and (limit := LIMIT.read_text().strip()).isdigit():
        free = min(free, max(int(limit) - psutil.Process().memory_info().rss, 0))
    return free


def peak_memory(device: torch.device) -> int:
    """Most bytes of a GPU since `translate_tiled` began, or of host memory since this process did."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if STATUS.is_file():  # Linux; getrusage would tell the peak of the process that started this one, if that is higher
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        return int(lines["VmHWM"].removesuffix("kB")) * 1024
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))  # Windows knows its peak, macOS what there is now


@cache
def give_back_freed() -> None:
    """Let the C library give large blocks back to the system as soon as they are free, where it is glibc.

    It would keep blocks of up to 32 MiB for later, and tiles have so many sizes that 100 MiB and more lie idle.
    """
    with contextlib.suppress(OSError, AttributeError):  # another system, another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)


def whole_bytes(nodes: list[Node]) -> int:
    """What a recorded network needs for its activations, all in float32, if it runs on the whole image."""
    last = {one: node.index for node in nodes for one in node.inputs}
    alive, most = 0, 0
    for node in nodes:
        alive += math.prod(node.shape)
        most = max(most, alive)
        alive -= sum(math.prod(nodes[one].shape) for one in set(node.inputs) if last[one] == node.index)
    return int(most * BYTES * WORKSPACE)


def tile_bytes(plan: Plan, side: int) -> int:
    """What the largest stage of a plan needs for a tile of this side."""
    most = 0
    for stage in plan.stages:
        n, _, height, width = plan.nodes[stage.target].shape
        own = max(round(side * stage.side), 1)
        top, left = max((height - own) // 2, 0), max((width - own) // 2, 0)
        region = Region(top, min(top + own, height), left, min(left + own, width))
        regions = needed_regions(stage.nodes, region, plan.nodes, plan.operations)
        most = max(most, sum(n * plan.nodes[i].shape[1] * r.height * r.width for i, r in regions.items()))
    return int(most * BYTES * WORKSPACE)


def bytes_per_pixel(generator: nn.Module, device: torch.device) -> float:
    """What a network that cannot be recorded needs for each pixel: all that its layers give, measured once."""
    sides = [padded_side(64, int(generator.size_multiple), int(generator.size_minimum))] * 2  # type: ignore[arg-type]
    found = 0

    def count(layer: nn.Module, given: object, result: object) -> None:
        nonlocal found
        found += result.numel() if isinstance(result, Tensor) else 0

    hooks = [layer.register_forward_hook(count) for layer in generator.modules()]
    try:
        with torch.inference_mode():
            generator(torch.zeros(1, int(generator.in_channels), *sides, device=device))  # type: ignore[arg-type]
    finally:
        for hook in hooks:
            hook.remove()
    return found * BYTES * WORKSPACE / math.prod(sides)
