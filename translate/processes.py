"""This process among those that a launcher started."""

import atexit
import os

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


class LaunchError(RuntimeError):
    """Processes that were started together do not find each other."""


def process_state() -> PartialState:
    """Accelerate's state of this process: its rank, how many there are, and its device.

    Where there is no GPU the processes are CPU processes, which Accelerate alone would have to be told.

    Raises:
        LaunchError: several processes were started, but they are not joined: each would do all of the work.
    """
    no_gpu = not torch.accelerator.is_available()
    started = int(os.environ.get("WORLD_SIZE", "1"))
    advice = f"start them with accelerate launch --multi_gpu --num_processes {started}, also on CPUs"
    try:
        state = PartialState(cpu=no_gpu or parse_flag_from_env("ACCELERATE_USE_CPU"))
    except ValueError as error:
        raise LaunchError(f"{started} processes were started, but cannot be joined ({error}): {advice}") from None
    if state.num_processes != started:
        raise LaunchError(f"{started} processes were started, but this one runs alone: {advice}")
    if started > 1:
        # Threads of the group that still run while the interpreter goes can abort a process that has done its work.
        atexit.unregister(_leave_group)
        atexit.register(_leave_group)
    return state


def _leave_group() -> None:
    PartialState().destroy_process_group()
