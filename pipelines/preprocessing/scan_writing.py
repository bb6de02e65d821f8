"""How slices become files: in parallel, resumable, and what the manifest says of them."""

from __future__ import annotations

import hashlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from tqdm.auto import tqdm

from translate.data.scan_slices import Storage, StorageError, choose_storage, read_stored, write_slice
from translate.data.scans import Scan, ScanError, ScanHeader
from translate.pipelines.journal import Journal, Record, sha256
from translate.pipelines.preprocessing.scan_sources import Slice

logger = logging.getLogger(__name__)
BODY_HU = -500.0  # above is body: halfway from air to water
BODY_SHARE = 0.1  # of the largest value of a scan in other units; above is body


class Noise(Protocol):
    """Makes a noisy copy of a slice. Its repr tells it from every other noise."""

    @property
    def uses_peak(self) -> bool:
        """Whether it depends on the largest value of the scan."""
        ...

    def check(self, header: ScanHeader) -> None:
        """Raise ScanError for scans that do not have this kind of noise."""
        ...

    def __call__(self, values: np.ndarray, header: ScanHeader, peak: float, seed: int) -> np.ndarray:
        """float32 of the same shape. `peak` is the largest value of the scan, 0 if it is not used. Raises ScanError."""
        ...

    def facts(self) -> dict[str, Any]:
        """Its settings, for the manifest."""
        ...


@dataclass(frozen=True)
class Output:
    """A file to write: `key` is its name without suffix, such as train/source/p001_s01_0001."""

    key: str
    slice: Slice
    noise: Noise | None = None
    seed: int = 0

    @property
    def split(self) -> str:
        return self.key.split("/")[0]


@dataclass(frozen=True)
class Unit:
    """Files that are written or left out together: those of a pair, or all noisy copies of a slice and their targets.

    judged: by which slice is told whether they are left out as nearly empty.
    """

    outputs: tuple[Output, ...]
    judged: Slice


@dataclass(frozen=True)
class Storing:
    """How slices are stored.

    storage: the type of all files; "auto" is the smallest that holds a slice exactly.
    min_body: slices are left out of which a smaller share shows the body.
    """

    storage: Storage | Literal["auto"] = "auto"
    min_body: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_body < 1:
            raise ScanError(
                f"the share of a slice that shows the body must be from 0 to below 1, got {self.min_body}: 0 keeps all"
            )


@dataclass
class SliceWriter:
    """Writes units; thread-safe.

    A noisy copy of a slice of whole numbers is rounded to whole numbers, as a scanner would store it.
    """

    journal: Journal
    storing: Storing
    _sums: dict[Path, str] = field(default_factory=dict)
    _peaks: dict[int, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write_all(self, units: list[Unit], workers: int, show_progress: bool) -> list[list[Record]]:
        """The records of each unit, those of its outputs in their order."""
        groups: dict[Path, list[int]] = {}
        for place, unit in enumerate(units):
            groups.setdefault(unit.judged.file, []).append(place)  # one thread goes through a file of many slices
        records: dict[int, list[Record]] = {}
        stopped = threading.Event()
        with (
            ThreadPoolExecutor(workers) as pool,
            tqdm(total=len(units), unit="slice", disable=not show_progress) as bar,
        ):

            def work(places: list[int]) -> None:
                try:
                    for place in places:
                        if stopped.is_set():
                            return
                        records[place] = self.write(units[place])
                        bar.update()
                except BaseException:
                    stopped.set()
                    raise

            try:
                for future in [pool.submit(work, places) for places in groups.values()]:
                    future.result()
            finally:
                stopped.set()  # after Ctrl-C the pool would go through all that is left
        return [records[place] for place in range(len(units))]

    def write(self, unit: Unit) -> list[Record]:
        """Write what is not there yet. An error leaves the whole unit out: its first record tells why.

        Raises:
            StorageError: the type that is asked for would lose values.
        """
        at = [unit.outputs[0].key]  # the output that is being made
        try:
            return self._write(unit, at)
        except StorageError as error:  # of what the user asked for, not of the slice
            raise StorageError(f"{unit.judged.name}: {error}") from error
        except (ValueError, OSError) as error:
            logger.warning("%s: %s", at[-1], error)
            rest = [Record(file=output.key, status="skipped") for output in unit.outputs if output.key != at[-1]]
            return [Record(file=at[-1], status="failed", reason=str(error)), *rest]

    def _write(self, unit: Unit, at: list[str]) -> list[Record]:
        content = self._content(unit)
        wanted = [
            Record(file=output.key, status="done", settings=self._settings(output), input_sha256=content)
            for output in unit.outputs
        ]
        done = [self.journal.find_done(record.file, record.settings or "", content) for record in wanted]
        if all(done):
            return [record for record in done if record]
        values: dict[int, np.ndarray] = {}
        for output in unit.outputs:
            if id(output.slice) not in values:
                at.append(output.key)
                values[id(output.slice)] = output.slice.read()
        if self.storing.min_body and self._body(values[id(unit.judged)], unit.judged.scan) < self.storing.min_body:
            return [Record(file=output.key, status="skipped") for output in unit.outputs]
        records = []
        for output, record, before in zip(unit.outputs, wanted, done, strict=True):
            at.append(output.key)
            records.append(before or self._put(record, self._made(output, values[id(output.slice)])))
        return records

    def _put(self, record: Record, values: np.ndarray) -> Record:
        storage = choose_storage(values) if self.storing.storage == "auto" else self.storing.storage
        height, width = values.shape
        record = replace(record, output=f"{record.file}.tif", width=width, height=height)
        return self.journal.put(record, lambda path: write_slice(path, values, storage))

    def _made(self, output: Output, values: np.ndarray) -> np.ndarray:
        if output.noise is None:
            return values
        scan = output.slice.scan
        noisy = output.noise(values, scan.header, self._peak(scan) if output.noise.uses_peak else 0.0, output.seed)
        return np.rint(noisy) if (values == np.rint(values)).all() else noisy

    def _settings(self, output: Output) -> str:
        scan = output.slice.scan
        noise = f"{output.noise} seed={output.seed}"
        if output.noise and output.noise.uses_peak:
            noise += f" peak={self._peak(scan)}"
        return (
            f"units={scan.header.units} slice={output.slice.place} noise={noise} storage={self.storing.storage} "
            f"min_body={self.storing.min_body}"
        )

    def _content(self, unit: Unit) -> str:
        """Changes with every file that the unit is made of."""
        files = list(dict.fromkeys(output.slice.file for output in unit.outputs))
        for file in files:
            if file not in self._sums:
                self._sums[file] = sha256(file)
        return hashlib.sha256("".join(self._sums[file] for file in files).encode()).hexdigest()

    def _body(self, values: np.ndarray, scan: Scan) -> float:
        limit = BODY_HU if scan.header.units == "HU" else BODY_SHARE * self._peak(scan)
        return float((values > limit).mean())

    def _peak(self, scan: Scan) -> float:
        """The largest value of a scan; what cannot be read is passed over, and reported when it is its turn."""
        with self._lock:
            if id(scan) not in self._peaks:
                peak = -np.inf
                for index in range(scan.header.shape[0]):
                    try:
                        peak = max(peak, float(scan.read(index).max()))
                    except ScanError:
                        continue
                self._peaks[id(scan)] = peak
            return self._peaks[id(scan)]


def described(record: Record, output: Path) -> dict[str, Any]:
    """What the manifest says of a file."""
    assert record.output is not None
    values = read_stored(output / record.output)
    return {
        "width": record.width,
        "height": record.height,
        "channels": 1,
        "alpha": False,
        "dtype": values.dtype.name,
        "range": [float(values.min()), float(values.max())],
        "sha256": record.output_sha256,
    }
