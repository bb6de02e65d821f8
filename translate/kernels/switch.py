"""Whether networks may compute with kernels of ours. Off unless asked for: recording and export need torch's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_fast: ContextVar[bool] = ContextVar("fast_kernels", default=False)


def fast() -> bool:
    """Whether this thread is inside `fast_kernels()`. Never in what torch compiles or exports, which is torch's own."""
    return not torch.compiler.is_compiling() and _fast.get()


@contextmanager
def fast_kernels(wanted: bool = True) -> Iterator[None]:
    """Inside, networks use the kernels that are faster on their device and equal within rounding."""
    token = _fast.set(wanted)
    try:
        yield
    finally:
        _fast.reset(token)
