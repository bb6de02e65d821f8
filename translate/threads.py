"""Threads that work beside a network."""

import ctypes
import os

import torch


def use_one_core() -> None:
    """Let torch compute on one core in the thread that calls it, as an initializer of a pool.

    Each thread that computes gets a team of OpenMP's threads of its own otherwise, whose busy waiting takes the cores
    from the network. `torch.set_num_threads` would change all threads. Where torch has no OpenMP, nothing happens.
    """
    torch.get_num_threads()  # a thread's first call sets its number
    if os.name == "posix" and (set_number := getattr(ctypes.CDLL(None), "omp_set_num_threads", None)):
        set_number(1)
