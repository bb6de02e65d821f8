"""A network as a graph of torch's operators, for batches and images of any size."""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from translate.backends.base import BackendError, size_rule
from translate.backends.exact_norms import with_exact_norms

OPSET = 20  # ONNX 1.15; both ONNX Runtime and OpenVINO read it
INPUT, OUTPUT = "image", "translation"


def exported(network: nn.Module) -> ExportedProgram:
    """Record a generator in eval mode with dynamic batch, height and width.

    Raises:
        BackendError: the network does something that depends on its image's values or size.
    """
    multiple, minimum = size_rule(network)
    fewest = max(2, math.ceil(minimum / multiple))  # of 1 the recording would make a constant
    device = next((one.device for one in network.parameters()), torch.device("cpu"))
    # Sides that differ from each other, from the batch and from everything else that may be compared with them.
    shape = (2, int(network.in_channels), (fewest + 5) * multiple, (fewest + 3) * multiple)  # type: ignore[arg-type]
    sizes: dict[int, Any] = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    if multiple > 1:
        sizes |= {2: multiple * Dim("rows", min=1), 3: multiple * Dim("columns", min=1)}
        sizes[0] = Dim("batch", min=1)
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(network, (torch.zeros(shape, device=device),), dynamic_shapes=(sizes,))
    except Exception as error:  # of whatever kind, from within torch
        raise BackendError(
            f"{type(network).__name__} cannot be recorded for images of any size ({_first_line(error)}): use "
            "--backend torch"
        ) from error


def write_onnx(
    network: nn.Module, file: Path, *, opset: int = OPSET, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a generator as one ONNX file, input "image", output "translation", batch, height and width dynamic.

    Args:
        opset: of ONNX, 18 to 23.
        metadata: properties of the file.

    Raises:
        BackendError: the network has no counterpart in ONNX.
    """
    program = exported(with_exact_norms(network))
    try:
        with torch.no_grad(), quiet():
            made = torch.onnx.export(
                program, dynamo=True, opset_version=opset, input_names=[INPUT], output_names=[OUTPUT], verbose=False
            )
    except Exception as error:
        raise BackendError(
            f"{type(network).__name__} cannot be written as ONNX ({_first_line(error)}): use --backend torch or compile"
        ) from error
    assert made is not None
    proto = made.model_proto
    _name_sizes(proto)
    proto.metadata_props.clear()
    for key, value in (metadata or {}).items():
        proto.metadata_props.add(key=key, value=value)
    file.write_bytes(proto.SerializeToString())


def _name_sizes(proto: Any) -> None:
    """Call the sides of input and output batch, height and width."""
    (given,), (made,) = proto.graph.input, proto.graph.output
    names: dict[str, str] = {}
    for place, name in ((0, "batch"), (2, "height"), (3, "width")):
        side = given.type.tensor_type.shape.dim[place]
        names[side.dim_param] = name
        side.dim_param = name
    for side in made.type.tensor_type.shape.dim:
        if side.dim_param:
            whole = names.get(side.dim_param)
            side.dim_param = whole or re.sub(r"\w+", lambda word: names.get(word[0], word[0]), side.dim_param)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's notes on packages that nobody needs."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
