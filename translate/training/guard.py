"""Steps whose losses or gradients are not finite change nothing: decided on the device, without waiting for it."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from translate.health.signals import Signals

RUNNING = ("running_mean", "running_var")  # what a batch norm takes over from what it sees


def poisoned(total: Tensor) -> Tensor:
    """The same value, whose gradients are NaN wherever it is not finite.

    A term may be infinite and have finite gradients, in one process of several: NaN reaches all of them with the
    average of the gradients, and all of them skip the step.
    """
    return total * (1 + 0 * total.detach())


def update(
    side: str,
    optimizer: torch.optim.Optimizer,
    networks: Mapping[str, nn.Module],
    accelerator: Accelerator,
    clip_norm: float | None,
    measured: bool,
) -> Signals:
    """Step one side's optimizer where the accumulation is complete, or do nothing if a gradient is not finite.

    In half precision the loss scaler skips such steps. Otherwise the fused optimizer does, which is told by the same
    flag on the device.

    Returns:
        "health/gradient/<network>", the norm before clipping; "health/skipped/<side>", 1 for a skipped step; and where
        `measured`, "health/update/<network>", the norm of the change relative to that of the weights.
    """
    if not accelerator.sync_gradients:
        return {}  # gradients are kept, and Accelerate's optimizer would do nothing
    if accelerator.scaler is not None:
        accelerator.unscale_gradients(optimizer)
    norms = {name: _gradient_norm(network) for name, network in networks.items()}
    total = torch.stack(list(norms.values())).norm()
    finite = torch.isfinite(total)
    parameters = [p for network in networks.values() for p in network.parameters()]
    if clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip_norm, total)
    if accelerator.scaler is None:
        plain: Any = getattr(optimizer, "optimizer", optimizer)
        plain.grad_scale, plain.found_inf = None, (~finite).float()
    before = _copies(networks) if measured else {}
    optimizer.step()
    optimizer.zero_grad()
    signals = {f"health/gradient/{name}": norm for name, norm in norms.items()}
    signals |= {f"health/update/{name}": _change(networks[name], old) for name, old in before.items()}
    # Of a step that was skipped they tell nothing: NaN is left out of the averages.
    signals = {name: torch.where(finite, value, torch.nan) for name, value in signals.items()}
    return signals | {f"health/skipped/{side}": (~finite).float()}


def statistics(networks: Iterable[nn.Module]) -> list[Tensor]:
    """The running statistics of all batch norms."""
    return [
        buffer for network in networks for name, buffer in network.named_buffers() if name.rpartition(".")[2] in RUNNING
    ]


@torch.no_grad()
def keep_finite(buffers: list[Tensor], before: list[Tensor]) -> None:
    """Put back what was there before, where a buffer is no longer finite."""
    for buffer, old in zip(buffers, before, strict=True):
        buffer.copy_(torch.where(torch.isfinite(buffer), buffer, old))


def _gradient_norm(network: nn.Module) -> Tensor:
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    if not gradients:
        return torch.zeros((), device=next(network.parameters()).device)
    return torch.nn.utils.get_total_norm(gradients).float()


def _copies(networks: Mapping[str, nn.Module]) -> dict[str, list[Tensor]]:
    return {name: [p.detach().clone() for p in network.parameters()] for name, network in networks.items()}


@torch.no_grad()
def _change(network: nn.Module, before: list[Tensor]) -> Tensor:
    now = [p.detach() for p in network.parameters()]
    moved = torch.nn.utils.get_total_norm(torch._foreach_sub(now, before))
    return (moved / torch.nn.utils.get_total_norm(now).clamp_min(1e-12)).float()
