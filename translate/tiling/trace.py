"""What a network does to an image, as a list of functions: recorded while it runs without values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from translate.tiling.errors import Untraceable
from translate.tiling.shapes import ASKING, name_of, shape_of

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Value:
    """In the arguments of a node, the result of another one."""

    index: int


@dataclass(frozen=True, eq=False)
class Node:
    """One function of the network, or its input, which has none.

    arguments, options: as the function is called, with a Value for what depends on the image.
    inputs: the nodes among them, in order.
    shape: (N, C, H, W) of the result.
    exact: whether the network asks for its weights' precision here, also in mixed precision.
    """

    index: int
    function: Callable[..., Any] | None
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    inputs: tuple[int, ...]
    shape: Shape
    exact: bool = False


def trace(network: nn.Module, shape: Shape, device: torch.device) -> list[Node]:
    """Record what a network does to an image of this shape. Nothing is computed; weights are not copied.

    Args:
        device: what the network believes to run on.

    Returns:
        The nodes, each behind those that it needs: the first is the image, the last the result.

    Raises:
        Untraceable: the network looks at values, or gives something else than a tensor (N, C, H, W).
        ValueError: the network refuses the shape.
    """
    recorder = _Recorder(device)
    image = torch.empty(shape, device="meta")
    recorder.add(image, None, (), {})
    try:
        # Recorded under autocast: the parts that switch it off are seen.
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16), recorder:
            result = network(image)
    except (NotImplementedError, RuntimeError, TypeError) as error:
        raise Untraceable(f"the network cannot be recorded: {error}") from error
    if not isinstance(result, Tensor) or id(result) not in recorder.known:
        raise Untraceable("the network's result is not made of its input")
    nodes = recorder.nodes[: recorder.known[id(result)][1] + 1]
    if len(nodes) == 1:  # the identity
        nodes.append(Node(1, torch.clone, (Value(0),), {}, (0,), nodes[0].shape))
    return nodes


class _Recorder(TorchFunctionMode):
    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.nodes: list[Node] = []
        self.known: dict[int, tuple[Tensor, int]] = {}  # by id, which the tensor itself keeps from being given again

    def add(self, result: Tensor, function: Callable[..., Any] | None, arguments: Any, options: Any) -> None:
        if result.ndim != 4:
            raise Untraceable(f"{name_of(function)} gives {result.ndim} dimensions, 4 are known")
        inputs = [value.index for value in _flat((arguments, tuple(options.values()))) if isinstance(value, Value)]
        index = len(self.nodes)
        exact = function is not None and not torch.is_autocast_enabled(self.device.type)
        node = Node(index, function, arguments, options, tuple(inputs), tuple(result.shape), exact)  # type: ignore[arg-type]
        self.nodes.append(node)
        self.known[id(result)] = (result, index)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        given = [one for one in _flat((args, tuple(options.values()))) if isinstance(one, Tensor)]
        if not any(id(one) in self.known for one in given):
            return function(*args, **options)
        if function == Tensor.device.__get__:
            return self.device
        if name_of(function) in ASKING:  # for a shape, say
            answer = function(*args, **options)
            if isinstance(answer, Tensor):
                raise Untraceable("the network takes a tensor apart in a way that tiles do not know")
            return answer
        result = torch.empty(shape_of(function, args, options), device="meta")
        self.add(result, function, replaced(args, self._value), replaced(options, self._value))
        return result

    def _value(self, one: Any) -> Any:
        return Value(self.known[id(one)][1]) if isinstance(one, Tensor) and id(one) in self.known else one


def replaced(given: Any, change: Callable[[Any], Any]) -> Any:
    """Arguments with everything in them changed, also within tuples, lists and dicts."""
    if isinstance(given, tuple | list):
        return type(given)(replaced(one, change) for one in given)
    if isinstance(given, dict):
        return {name: replaced(one, change) for name, one in given.items()}
    return change(given)


def _flat(given: Any) -> list[Any]:
    if isinstance(given, tuple | list):
        return [one for part in given for one in _flat(part)]
    return [given]
