"""Two images through one network, operator by operator: what differs between them stays visible at any depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from translate.tiling.norm_calls import norm_call

_STEPS = (torch.ops.aten.sign.default, torch.ops.aten.sgn.default)


class Pair(Tensor):
    """Two tensors of one shape that a network sees as one. Only a Lockstep computes with it."""

    one: Tensor
    other: Tensor

    @staticmethod
    def __new__(cls, one: Tensor, other: Tensor) -> Pair:
        pair: Pair = Tensor._make_wrapper_subclass(
            cls,
            one.shape,
            strides=one.stride(),
            storage_offset=one.storage_offset(),
            dtype=one.dtype,
            device=one.device,
            requires_grad=False,
        )
        pair.one, pair.other = one, other
        return pair

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise AssertionError("a pair is computed with in a lockstep")


class Lockstep(TorchDispatchMode):
    """Inside, every operator runs for both tensors of a Pair, in float64, and norms of the whole map do nothing.

    A network's values are no matter here, and those of hundreds of layers would overflow or vanish: `settle` gives both
    results of every operator others, in place. Views are not settled again.

    Args:
        at_norm: called with what a norm would have looked at.
    """

    def __init__(self, at_norm: Callable[[Pair], None] = lambda pair: None) -> None:
        super().__init__()
        self.at_norm = at_norm

    def settle(self, one: Tensor, other: Tensor, pairs: Sequence[Pair]) -> None:
        """Change float64 or complex results of an operator on `pairs`."""
        raise NotImplementedError

    def evaluate(self, function: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Both results of an operator."""
        return _call(function, args, kwargs, _one), _call(function, args, kwargs, _other)

    def run(self, network: nn.Module, one: Tensor, other: Tensor) -> Pair:
        """What a network in eval mode on the CPU makes of two images of one shape, float64 (N, C, H, W).

        Raises:
            TypeError: it computes with tensors in a way that cannot be followed.
        """
        with torch.inference_mode(), self:
            result = network(Pair(one, other))
        if not isinstance(result, Pair):
            raise TypeError(f"it returns no tensor that depends on the image, but {type(result).__name__}")
        return result

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        tensors = [*_tensors(args), *_tensors(list(kwargs.values()))]
        pairs = [tensor for tensor in tensors if isinstance(tensor, Pair)]
        if tensors and not pairs:
            return func(*args, **kwargs)
        call = norm_call(func, args, kwargs)
        if call is not None:
            if len(pairs) > 1 or not isinstance(call.values, Pair):
                raise TypeError("the weights of its norms depend on the image")
            self.at_norm(call.values)
            return Pair(call.values.one.clone(), call.values.other.clone())
        _refuse_to_write(func, args)
        one, other = self.evaluate(func, args, kwargs)
        return self._joined(one, other, pairs)

    def _joined(self, one: Any, other: Any, pairs: Sequence[Pair]) -> Any:
        if isinstance(one, list | tuple):
            return type(one)(self._joined(first, second, pairs) for first, second in zip(one, other, strict=True))
        if not isinstance(one, Tensor):
            if one != other:
                raise TypeError("it takes numbers out of the image, and decides by them")
            return one
        for pair in pairs:
            if one is pair.one:  # the operator worked in place
                self._settle(one, other, pairs)
                return pair
        if one.is_floating_point() and one.dtype != torch.float64:
            one, other = one.double(), other.double()
        if pairs and not any(_storage(one) == _storage(pair.one) for pair in pairs):
            self._settle(one, other, pairs)
        return Pair(one, other)

    def _settle(self, one: Tensor, other: Tensor, pairs: Sequence[Pair]) -> None:
        if (one.is_floating_point() or one.is_complex()) and one.numel():
            self.settle(one, other, pairs)


class Spread(Lockstep):
    """Keeps nothing but where two tensors differ.

    All values become random ones that no activation cuts off, and the different ones of the second tensor larger by 6
    to 12: nothing cancels, vanishes or saturates, however deep the network.

    Attributes:
        jumped: an operator made all values of a tensor differ, of which less than a quarter did before: it looks at
            everything at once, as pooling and attention do. Of images that are long to any kernel.
    """

    def __init__(self, random: torch.Generator, at_norm: Callable[[Pair], None] = lambda pair: None) -> None:
        super().__init__(at_norm)
        self.random, self.jumped = random, False

    def settle(self, one: Tensor, other: Tensor, pairs: Sequence[Pair]) -> None:
        moved = differs(one, other)
        if not moved.any():
            return
        if moved.all():
            shares = [float(differs(pair.one, pair.other).float().mean()) for pair in pairs if pair.numel()]
            self.jumped |= max(shares) < 1 / 4
        if one.is_complex():
            return
        one.uniform_(0.25, 0.75, generator=self.random)
        other.uniform_(6, 12, generator=self.random).mul_(moved).add_(one)

    def evaluate(self, function: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        one, other = super().evaluate(function, args, kwargs)
        if isinstance(one, Tensor) and (one.dtype == torch.bool or function in _STEPS):
            lower = _call(function, args, kwargs, _lower)  # a step above all values is seen from below
            other = torch.where(lower != one, lower, other)
        return one, other


class Level(Lockstep):
    """Brings both tensors to mean 0 and variance 1 of the first, by the same two numbers."""

    def settle(self, one: Tensor, other: Tensor, pairs: Sequence[Pair]) -> None:
        if one.is_complex() or torch.equal(one, other):
            return
        mean, deviation = one.mean(), one.std(correction=0)
        if deviation > 0:
            for values in (one, other):
                values.sub_(mean).div_(deviation)


def differs(one: Tensor, other: Tensor) -> Tensor:
    """Where two tensors of one shape are not the same but for rounding in float64. Not a number differs."""
    if not one.is_floating_point() and not one.is_complex():
        return one != other
    largest = one.abs().nan_to_num_(0, 0, 0).max() if one.numel() else 0
    return (one != other) & ~((one - other).abs() <= 1e-9 * largest)


def _refuse_to_write(function: Any, args: Sequence[Any]) -> None:
    """Raises TypeError if a tensor that is no pair would be overwritten: what differs would be lost in it."""
    for argument, value in zip(function._schema.arguments, args, strict=False):
        written = argument.alias_info is not None and argument.alias_info.is_write
        if written and isinstance(value, Tensor) and not isinstance(value, Pair):
            raise TypeError("it writes to tensors that it keeps between calls")


def _call(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], side: Callable[[Any], Any]) -> Any:
    return function(*_mapped(args, side), **{name: _mapped(value, side) for name, value in kwargs.items()})


def _mapped(value: Any, side: Callable[[Any], Any]) -> Any:
    """Arguments of an operator are tensors, lists of them, and others."""
    return [_mapped(one, side) for one in value] if isinstance(value, list | tuple) else side(value)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    flat = [one for value in values for one in (value if isinstance(value, list | tuple) else [value])]
    return [one for one in flat if isinstance(one, Tensor)]


def _one(leaf: Any) -> Any:
    return leaf.one if isinstance(leaf, Pair) else _double(leaf)


def _other(leaf: Any) -> Any:
    return leaf.other if isinstance(leaf, Pair) else _double(leaf)


def _lower(leaf: Any) -> Any:
    if isinstance(leaf, Pair) and leaf.one.is_floating_point():
        return 2 * leaf.one - leaf.other
    return _other(leaf)


def _double(leaf: Any) -> Any:
    return leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
