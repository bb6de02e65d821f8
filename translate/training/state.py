"""The complete training state: into a folder and back, bit for bit."""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from translate.checkpoint import Stored, load_newest_state, load_optimizer, optimizer_tensors, read_state, save_state
from translate.health.policy import Adjustments
from translate.health.signals import Spread
from translate.health.verdict import WARMING_UP
from translate.recipe import ConfigError
from translate.training.records import Running
from translate.training.setup import Trained

logger = logging.getLogger(__name__)


@dataclass
class Watch:
    """What the diagnosis knows of the run, the same in all processes."""

    records: list[dict[str, Any]] = field(default_factory=list)  # the last ones, as many as a verdict rests on
    counted: int = 0  # step of the last record
    verdict: str = WARMING_UP
    since: int | None = None  # step of the first record with this verdict
    skipped: int = 0  # steps in a row that were skipped, in whole records
    adjustments: Adjustments = field(default_factory=Adjustments)
    wrong: int = 0  # steps that something was wrong since the last action, less those that nothing was
    lost: int = 0  # steps that were undone by going back: the networks are so much younger than the run
    exhausted: bool = False  # whether it was said that nothing more can be adjusted
    healthy: int | None = (
        None  # step of the last training state that stayed without fault for as long as a verdict takes
    )
    healthy_lost: int = 0  # `lost` at that step
    candidate: int | None = None  # step of one that looked healthy when it was saved
    proven: int = 0  # records without fault since then

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Watch":
        return cls(**{**values, "adjustments": Adjustments(**values["adjustments"])})


@dataclass
class Progress:
    """How far a run is. Everything else of its plan follows from the step, and from what was adjusted."""

    step: int = 0  # optimizer steps done
    best: float | None = None  # the main figure of the model in best/
    figures: dict[str, float] = field(default_factory=dict)  # of the last validation
    running: Running = field(default_factory=Running)  # losses and signals since the last record
    spread: Spread = field(default_factory=Spread)
    watch: Watch = field(default_factory=Watch)
    images_per_step: int = 0  # over all processes; a step's place in the data follows from it


def save_training(root: Path, trained: Trained, progress: Progress, accelerator: Accelerator, keep: int) -> None:
    """Write the state from the main process; every process must call it, each has generators and sums of its own."""
    own: list[dict[str, Tensor]] = gather_object([_state_of_process(progress)])
    if not accelerator.is_main_process:
        return
    tensors = {
        "networks": _flat({name: net.state_dict() for name, net in trained.networks.all().items()}),
        "generator_optimizer": optimizer_tensors(trained.plain_optimizers.generator),
        "pool": trained.pool.state(),
        "processes": _flat({str(rank): state for rank, state in enumerate(own)}),
    }
    if trained.plain_optimizers.discriminator:
        tensors["discriminator_optimizer"] = optimizer_tensors(trained.plain_optimizers.discriminator)
    if trained.ema:
        tensors["ema"] = trained.ema.state()
    if trained.controller:
        tensors["augmentation"] = trained.controller.state()
    scaler = accelerator.scaler.state_dict() if accelerator.scaler is not None else None
    plain = {
        "step": progress.step,
        "best": progress.best,
        "figures": progress.figures,
        "watch": progress.watch.to_json(),
        "processes": accelerator.num_processes,
        "images_per_step": progress.images_per_step,
        "scaler": scaler,
    }
    watch = progress.watch
    save_state(root, progress.step, plain, tensors, keep, protected={watch.healthy, watch.candidate, 0})


def load_training(root: Path, trained: Trained, accelerator: Accelerator, images_per_step: int) -> Progress:
    """Take over the newest whole state below `root`; a fresh Progress if there is none.

    Raises:
        CheckpointError: there are states, and all are damaged.
        ConfigError: the run had another number of images a step, from which the place in the data follows.
    """
    stored = load_newest_state(root)
    if stored is None:
        return Progress(images_per_step=images_per_step)
    if "watch" not in stored.progress:
        raise ConfigError(
            f"{stored.folder} was written by an earlier version, which cannot be resumed: give a new --output, with "
            "training.start_from to begin from the run's model"
        )
    if stored.progress["images_per_step"] != images_per_step:
        raise ConfigError(
            f"the run took {stored.progress['images_per_step']} images a step with {stored.progress['processes']} "
            f"processes, now it would take {images_per_step} with {accelerator.num_processes}: set training.batch_size "
            "or the number of processes so that it takes as many again"
        )
    _take_over(stored, trained, accelerator)
    if trained.controller:
        trained.controller.load(stored.tensors["augmentation"], accelerator.device)
    if accelerator.scaler is not None and stored.progress["scaler"]:
        accelerator.scaler.load_state_dict(stored.progress["scaler"])
    logger.info("resumed at step %d from %s", stored.progress["step"], stored.folder)
    kept = {name: stored.progress[name] for name in ("step", "best", "figures", "images_per_step")}
    progress = Progress(watch=Watch.from_json(stored.progress["watch"]), **kept)
    _load_state_of_process(progress, stored, accelerator)
    return progress


def go_back(root: Path, step: int, trained: Trained, accelerator: Accelerator) -> None:
    """Take over weights, optimizers, averages and image pool of the state of an earlier step; the run goes on from
    where it is.

    Raises:
        CheckpointError: that state is gone or damaged.
    """
    _take_over(read_state(root, step), trained, accelerator)


def _take_over(stored: Stored, trained: Trained, accelerator: Accelerator) -> None:
    for name, network in trained.networks.all().items():
        network.load_state_dict(_part(stored.tensors["networks"], name))
    load_optimizer(trained.plain_optimizers.generator, stored.tensors["generator_optimizer"])
    if trained.plain_optimizers.discriminator:
        load_optimizer(trained.plain_optimizers.discriminator, stored.tensors["discriminator_optimizer"])
    trained.pool.load(stored.tensors["pool"], accelerator.device)
    if trained.ema:
        for name, network in trained.ema.networks.items():
            network.load_state_dict(_part(stored.tensors["ema"], name))


def _state_of_process(progress: Progress) -> dict[str, Tensor]:
    """What each process has of its own: the generators that a training step draws from (dropout, penalties,
    augmentation of what discriminators see), on the CPU and on its GPU, and the sums of the coming record.

    Loading and augmentation of the data have no generator: they are functions of seed and step.
    """
    state = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["random/cuda"] = torch.cuda.get_rng_state()
    state |= {f"running/{names}": sums for names, sums in progress.running.sums.items()}
    return state | {f"spread/{name}": image for name, image in progress.spread.previous.items()}


def _load_state_of_process(progress: Progress, stored: Stored, accelerator: Accelerator) -> None:
    states = stored.tensors["processes"]
    if stored.progress["processes"] != accelerator.num_processes:
        logger.warning(
            "the run was saved by %d processes and goes on with %d: the random numbers of dropout differ from here on",
            stored.progress["processes"],
            accelerator.num_processes,
        )
    rank = str(accelerator.process_index % stored.progress["processes"])
    state: dict[str, Any] = _part(states, rank)
    torch.set_rng_state(state["random/cpu"])
    if "random/cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["random/cuda"])
    progress.running.sums = {name: sums.to(accelerator.device) for name, sums in _part(state, "running").items()}
    progress.spread.previous = {name: image.to(accelerator.device) for name, image in _part(state, "spread").items()}


def _flat(groups: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}


def _part(tensors: dict[str, Tensor], group: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{group}/"): t for name, t in tensors.items() if name.startswith(f"{group}/")}
