"""What every benchmark here shares: contenders that run in turns, and a table of their ratios."""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Seconds = dict[str, list[float]]


def alternate(contenders: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> Seconds:
    """Seconds of each contender in each round: all run once a round, so that a machine that drifts drifts for all.

    Every second round goes backwards, so that none always follows the same one.
    """
    seconds: Seconds = {name: [] for name in contenders}
    for turn in range(-warmup, rounds):
        for name in list(contenders) if turn % 2 else reversed(list(contenders)):
            began = time.perf_counter()
            contenders[name]()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratios(seconds: Seconds, baseline: str) -> dict[str, tuple[float, float, float]]:
    """How many times faster than the baseline each one is: by medians; lowest and highest of the single rounds."""
    plain = seconds[baseline]
    each = {name: [p / own for p, own in zip(plain, owns, strict=True)] for name, owns in seconds.items()}
    medians = {name: statistics.median(plain) / statistics.median(owns) for name, owns in seconds.items()}
    return {name: (medians[name], min(each[name]), max(each[name])) for name in seconds}


def table(title: str, seconds: Seconds, baseline: str, *, items: int = 1, unit: str = "step") -> str:
    """A Markdown table: milliseconds an item, and how many times as fast as the baseline.

    Args:
        items: how many `unit`s one call of a contender did.
    """
    found = ratios(seconds, baseline)
    lines = [f"| {title} | ms a {unit} | times as fast | lowest to highest |", "|---|---:|---:|---|"]
    for name, values in seconds.items():
        ratio, low, high = found[name]
        own = statistics.median(values) / items * 1000
        lines.append(f"| {name} | {own:.4g} | {ratio:.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines)


def machine(packages: Sequence[str] = ("torch",), **settings: object) -> str:
    """One line: processor, cores, threads, versions, and the settings of this run."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    threads = f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"
    given = [f"{name} {value}" for name, value in settings.items()]
    return ", ".join([_processor(), f"{os.cpu_count()} cores", threads, *versions, *given])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
