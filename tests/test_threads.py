"""Threads beside a network leave it its cores."""

import os
import subprocess
import sys

import pytest
import torch

PROGRAM = """
import threading
import torch
from translate.threads import use_one_core

def how_many():
    at = torch.__config__.parallel_info()
    return int(at.split("omp_get_max_threads() : ")[1].split()[0]), torch.get_num_threads()

found = []
def work(first):
    first()
    torch.ones(2**20).add_(1)  # sets what a thread has when it first computes
    found.append(how_many())

torch.set_num_threads(3)
for first in (use_one_core, lambda: None):
    thread = threading.Thread(target=work, args=(first,))
    thread.start()
    thread.join()
print(found, how_many())
"""


@pytest.mark.skipif("OpenMP" not in torch.__config__.parallel_info() or os.name != "posix", reason="needs OpenMP")
def test_one_thread_computes_on_one_core_and_the_others_on_all():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[0] == "[(1, 1), (3, 3)] (3, 3)"
