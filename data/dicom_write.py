"""Writes a derived DICOM series: a folder of files that appears when all of them are there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset

from translate.data.dicom_derived import Reference, SeriesIdentity, derived_dataset
from translate.data.dicom_file import read_dataset
from translate.data.dicom_rescale import Rescale
from translate.data.dicom_synthetic import HOUNSFIELD, synthetic_dataset
from translate.data.scan_output import check_complete, name_aside, refuse_existing
from translate.data.scans import Derivation, ScanError, ScanHeader, ScanWriter, check_slice


class DicomSlices(Protocol):
    """What is needed of the series that is the source."""

    @property
    def header(self) -> ScanHeader: ...

    @property
    def files(self) -> tuple[Path, ...]: ...

    def dataset(self, index: int) -> Dataset:
        """Of a slice, with pixels and file meta information."""

    def rescale(self, index: int) -> Rescale: ...


class DicomSeriesWriter(ScanWriter):
    """A derived series: 0001.dcm, 0002.dcm, ... in the order of slices, in a new folder; not thread-safe.

    Values are rounded to the source's integers, clipped to its Bits Stored and counted.

    Args:
        output: a folder that does not exist; a file that does not, where it ends in .dcm and there is one slice.
        derivation: with `synthetic`, the values are HU whatever the header's units are, and a CT is written.
    """

    def __init__(self, output: Path, scan: DicomSlices, derivation: Derivation) -> None:
        super().__init__(output)
        self.scan = scan
        self.derivation = derivation
        self.identity = SeriesIdentity.new(scan.header.shape[0])
        self._aside = name_aside(output)
        self._clipped: dict[int, int] = {}  # of each slice that was written
        self._references: dict[int, Reference] = {}
        refuse_existing(output)

    def write(self, index: int, values: np.ndarray) -> np.ndarray:
        check_slice(values, self.scan.header)
        values = values.astype(np.float32, copy=False)
        source = self.scan.dataset(index)
        rescale = HOUNSFIELD if self.derivation.synthetic else self.scan.rescale(index)
        stored, clipped = rescale.to_stored(values)
        self._save(index, source, stored)
        self._clipped[index] = clipped
        self.clipped = sum(self._clipped.values())
        return rescale.to_units(stored)

    def finish(self) -> None:
        check_complete(self.scan.header, self._clipped.keys())
        refuse_existing(self.output)
        if self.output.suffix == ".dcm" and len(self._clipped) == 1:
            os.rename(self._path(0), self.output)
            self._aside.rmdir()
        else:
            os.rename(self._aside, self.output)

    def discard(self) -> None:
        shutil.rmtree(self._aside, ignore_errors=True)

    def _save(self, index: int, source: Dataset, stored: np.ndarray) -> None:
        make = synthetic_dataset if self.derivation.synthetic else derived_dataset
        sources = self._sources(index, source)
        self._aside.mkdir(parents=True, exist_ok=True)
        try:
            derived = make(source, stored, self.derivation, self.identity, index, sources=sources)
            dcmwrite(self._path(index), derived, enforce_file_format=True)
        except (ScanError, OSError):
            raise
        except Exception as error:  # a value that does not fit its type, which the texts of pydicom's errors quote
            raise ScanError(
                f"{self.scan.files[index]}: has an element that cannot be written: correct it ({type(error).__name__})"
            ) from None

    def _path(self, index: int) -> Path:
        return self._aside / f"{index + 1:04d}.dcm"

    def _sources(self, index: int, source: Dataset) -> list[Reference]:
        """The slice's own image first, then those of the neighbours that the model saw."""
        self._references[index] = Reference.to(source, self.scan.files[index])
        around = self.scan.header.around(index, self.derivation.neighbours)
        for other in {*around} - self._references.keys():
            path = self.scan.files[other]
            self._references[other] = Reference.to(read_dataset(path, pixels=False), path)
        return [self._references[other] for other in dict.fromkeys([index, *around])]
