"""The complete training state: into a folder and back, bit for bit."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from translate.checkpoint import Stored, load_newest_state, load_optimizer, optimizer_tensors, save_state
from translate.recipe import ConfigError
from translate.training.records import Running
from translate.training.setup import Trained

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a run is. Everything else of its plan follows from the step."""

    step: int = 0  # optimizer steps done
    best: float | None = None  # the main figure of the model in best/
    figures: dict[str, float] = field(default_factory=dict)  # of the last validation
    running: Running = field(default_factory=Running)  # losses since the last record
    images_per_step: int = 0  # over all processes; a step's place in the data follows from it


def save_training(root: Path, trained: Trained, progress: Progress, accelerator: Accelerator, keep: int) -> None:
    """Write the state from the main process; every process must call it, each has random generators of its own."""
    randoms: list[dict[str, Tensor]] = gather_object([_random_state()])
    if not accelerator.is_main_process:
        return
    tensors = {
        "networks": _flat({name: net.state_dict() for name, net in trained.networks.all().items()}),
        "generator_optimizer": optimizer_tensors(trained.plain_optimizers.generator),
        "pool": trained.pool.state(),
        "running": progress.running.sums,
        "random": _flat({str(rank): state for rank, state in enumerate(randoms)}),
    }
    if trained.plain_optimizers.discriminator:
        tensors["discriminator_optimizer"] = optimizer_tensors(trained.plain_optimizers.discriminator)
    if trained.ema:
        tensors["ema"] = trained.ema.state()
    scaler = accelerator.scaler.state_dict() if accelerator.scaler is not None else None
    plain = {
        "step": progress.step,
        "best": progress.best,
        "figures": progress.figures,
        "counts": progress.running.counts,
        "processes": accelerator.num_processes,
        "images_per_step": progress.images_per_step,
        "scaler": scaler,
    }
    save_state(root, progress.step, plain, tensors, keep)


def load_training(root: Path, trained: Trained, accelerator: Accelerator, images_per_step: int) -> Progress:
    """Take over the newest whole state below `root`; a fresh Progress if there is none.

    Raises:
        CheckpointError: there are states, and all are damaged.
        ConfigError: the run had another number of images a step, from which the place in the data follows.
    """
    stored = load_newest_state(root)
    if stored is None:
        return Progress(images_per_step=images_per_step)
    if stored.progress["images_per_step"] != images_per_step:
        raise ConfigError(
            f"the run took {stored.progress['images_per_step']} images a step with {stored.progress['processes']} "
            f"processes, now it would take {images_per_step} with {accelerator.num_processes}: set training.batch_size "
            "or the number of processes so that it takes as many again"
        )
    for name, network in trained.networks.all().items():
        network.load_state_dict(_part(stored.tensors["networks"], name))
    load_optimizer(trained.plain_optimizers.generator, stored.tensors["generator_optimizer"])
    if trained.plain_optimizers.discriminator:
        load_optimizer(trained.plain_optimizers.discriminator, stored.tensors["discriminator_optimizer"])
    trained.pool.load(stored.tensors["pool"], accelerator.device)
    if trained.ema:
        for name, network in trained.ema.networks.items():
            network.load_state_dict(_part(stored.tensors["ema"], name))
    if accelerator.scaler is not None and stored.progress["scaler"]:
        accelerator.scaler.load_state_dict(stored.progress["scaler"])
    _load_random_state(stored, accelerator)
    running = Running()
    running.sums = {name: value.to(accelerator.device) for name, value in stored.tensors["running"].items()}
    running.counts = stored.progress["counts"]
    logger.info("resumed at step %d from %s", stored.progress["step"], stored.folder)
    kept = {name: stored.progress[name] for name in ("step", "best", "figures", "images_per_step")}
    return Progress(running=running, **kept)


def _random_state() -> dict[str, Tensor]:
    """The generators that a training step draws from (dropout, penalties): torch's, on the CPU and on its GPU.

    Loading and augmentation have none: they are functions of seed and step.
    """
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _load_random_state(stored: Stored, accelerator: Accelerator) -> None:
    states = stored.tensors["random"]
    if stored.progress["processes"] != accelerator.num_processes:
        logger.warning(
            "the run was saved by %d processes and goes on with %d: the random numbers of dropout differ from here on",
            stored.progress["processes"],
            accelerator.num_processes,
        )
    rank = str(accelerator.process_index % stored.progress["processes"])
    state: dict[str, Any] = _part(states, rank)
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _flat(groups: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def _part(tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{group}/"): t for name, t in tensors.items() if name.startswith(f"{group}/")}
