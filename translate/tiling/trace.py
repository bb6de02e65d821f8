"""What a network does to an image, as a list of functions: recorded while it runs without values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from translate.tiling.errors import Untraceable
from translate.tiling.shapes import ALIASES, ASKING, name_of, shape_of

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


def trace(network: nn.Module, shape: Shape, device: torch.device, dtype: torch.dtype = torch.float32) -> list[Node]:
    """Record what a network does to an image of this shape.

    Nothing is computed but what does not depend on the image. Weights are not copied.

    Args:
        device: what the network believes to run on.
        dtype: of the mixed precision that it will run in, float32 for none.

    Returns:
        The nodes, each behind those that it needs: the first is the image, the last the result.

    Raises:
        Untraceable: the network looks at values, or gives something else than a tensor (N, C, H, W).
        ValueError: the network refuses the shape.
    """
    recorder = _Recorder(device, {id(one) for one in (*network.parameters(), *network.buffers())})
    image = torch.empty(shape, device="meta")
    recorder.add(image, None, (), {})
    try:
        precision = torch.autocast(device.type, dtype) if dtype != torch.float32 else nullcontext()
        with torch.inference_mode(), precision, recorder:
            result = network(image)
    except (NotImplementedError, RuntimeError, TypeError) as error:
        raise Untraceable(f"the network cannot be recorded: {error}") from error
    if not isinstance(result, Tensor) or id(result) not in recorder.known:
        raise Untraceable("the network's result is not made of its input")
    nodes = _behind(recorder.nodes, recorder.known[id(result)][1])
    if len(nodes) == 1:  # the identity
        nodes.append(Node(1, torch.clone, (Value(0),), {}, (0,), nodes[0].shape))
    return nodes


class _Recorder(TorchFunctionMode):
    def __init__(self, device: torch.device, weights: set[int]) -> None:
        super().__init__()
        self.device = device
        self.weights = weights  # ids of the network's own tensors
        self.nodes: list[Node] = []
        self.known: dict[int, tuple[Tensor, int]] = {}  # by id, which the tensor itself keeps from being given again
        self.shared: set[int] = set()  # ids of tensors that may be one memory

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
        if options.get("out") is not None:
            raise Untraceable(
                f"{name_of(function)} writes into a tensor that is there, tiles know results of their own"
            )
        args, options, in_place = _out_of_place(function, args, options)
        result = torch.empty(shape_of(function, args, options), device="meta")
        self.add(result, function, replaced(args, self._value), replaced(options, self._value))
        if in_place:
            return self._overwritten(given[0], result, function)
        if name_of(function) in ALIASES:
            self.shared |= {id(given[0]), id(result)}
        return result

    def _overwritten(self, given: Tensor, result: Tensor, function: Callable[..., Any]) -> Tensor:
        """A tensor that holds a result from now on."""
        if id(given) in self.shared:
            raise Untraceable(f"{name_of(function)} in place changes another tensor, too")
        self.known[id(given)] = (given, self.known[id(result)][1])
        return given

    def _value(self, one: Any) -> Any:
        if not isinstance(one, Tensor) or id(one) in self.weights:
            return one
        # What the network made for this call it may also change.
        return Value(self.known[id(one)][1]) if id(one) in self.known else one.clone()


def _behind(nodes: list[Node], result: int) -> list[Node]:
    """The image and the nodes that the result is made of, numbered anew."""
    needed, waiting = {0}, [result]
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            waiting += nodes[index].inputs
    places = {index: place for place, index in enumerate(sorted(needed))}

    def moved(one: Any) -> Any:
        return Value(places[one.index]) if isinstance(one, Value) else one

    return [
        replace(
            nodes[index],
            index=place,
            arguments=replaced(nodes[index].arguments, moved),
            options=replaced(nodes[index].options, moved),
            inputs=tuple(places[one] for one in nodes[index].inputs),
        )
        for index, place in places.items()
    ]


def replaced(given: Any, change: Callable[[Any], Any]) -> Any:
    """Arguments with everything in them changed, also within tuples, lists and dicts."""
    if isinstance(given, tuple | list):
        return type(given)(replaced(one, change) for one in given)
    if isinstance(given, dict):
        return {name: replaced(one, change) for name, one in given.items()}
    return change(given)


def _out_of_place(function: Callable[..., Any], args: Any, options: Any) -> tuple[Any, Any, bool]:
    """The arguments of a call, but with inplace=False, and whether they asked for it."""
    try:
        call = inspect.signature(function).bind(*args, **options)
    except (TypeError, ValueError):  # builtin functions
        return args, options, False
    if not call.arguments.get("inplace", False):
        return args, options, False
    call.arguments["inplace"] = False
    return call.args, call.kwargs, True


def _flat(given: Any) -> list[Any]:
    if isinstance(given, tuple | list):
        return [one for part in given for one in _flat(part)]
    return [given]
