"""A series of classic DICOM files, one slice a file: CT, MR, PET; and X-ray images, of which each is a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from translate.data.dicom_file import Rescale, check_decodable, check_supported, read_dataset, rescale_of, stored_pixels
from translate.data.dicom_geometry import ALLOWED, Allowed, listed
from translate.data.dicom_slice import Slice, differences, header_of, sort_slices
from translate.data.scans import Derivation, Scan, ScanError, ScanWriter

__all__ = ["ALLOWED", "Allowed", "DicomSeries", "open_series"]

PROJECTIONS = ("CR", "DX", "MG", "XA", "RF")  # the images of a series are different views, no stack


@dataclass(frozen=True)
class DicomSeries(Scan):
    """Slices in order along the normal, one a file; decoded when they are read.

    Args:
        rescales: of each slice.
    """

    rescales: tuple[Rescale, ...] = ()

    @property
    def suffix(self) -> str:
        return ""

    def rescale(self, index: int) -> Rescale:
        return self.rescales[index]

    def dataset(self, index: int) -> Any:
        """The pydicom dataset of a slice, with its pixels. Raises ScanError if it is no longer what was opened."""
        path = self.files[index]
        dataset = read_dataset(path, pixels=True)
        check_supported(dataset, path)
        if (dataset.Rows, dataset.Columns) != self.header.shape[1:] or rescale_of(dataset) != self.rescales[index]:
            raise ScanError(f"{path}: has changed since it was opened: start again")
        return dataset

    def read(self, index: int) -> np.ndarray:
        stored = stored_pixels(self.dataset(index), self.files[index])
        return self.rescales[index].to_units(stored)

    def writer(self, output: Path, derivation: Derivation) -> ScanWriter:
        from translate.data.dicom_write import DicomSeriesWriter

        return DicomSeriesWriter(output, self, derivation)


def open_series(slices: Sequence[Slice], name: str, allow: frozenset[Allowed] = frozenset()) -> list[DicomSeries]:
    """Scans of the slices of one series: one, or several where it is mixed and that is allowed, or of X-ray images.

    Args:
        name: of the scan; several are called NAME/part-1 and so on, X-ray images NAME/FILE.

    Raises:
        ScanError: it is mixed, or has duplicates, gaps or tilt, and that is not allowed; its order is unknown; or its
            files cannot be decoded here.
    """
    check_allowed(allow)
    check_decodable(one.path for one in slices)
    slices = sorted(slices, key=lambda one: (one.instance, one.path.as_posix()))
    if slices[0].modality in PROJECTIONS and len(slices) > 1:
        return [_scan([one], f"{name}/{_stem(one.path)}", allow) for one in slices]
    slices, copies = _without_copies(slices, allow, name)
    groups, reasons = differences(slices)
    if len(groups) == 1:
        return [_scan(groups[0], name, allow, copies)]
    if "patient" in reasons:
        raise ScanError(f"{name}: its files are of several patients: {_firsts(groups)}: give each patient's apart")
    if "mixed" not in allow:
        raise ScanError(
            f"{name}: mixed: its {len(slices)} files are {len(groups)} different scans that differ in "
            f"{', '.join(reasons)}: {_firsts(groups)}: keep one kind, or read each as a scan with --allow mixed"
        )
    return [_scan(group, f"{name}/part-{number}", allow, copies) for number, group in enumerate(groups, start=1)]


def check_allowed(allow: frozenset[Allowed]) -> None:
    if unknown := sorted(set(allow) - set(ALLOWED)):
        raise ScanError(f"--allow takes {', '.join(ALLOWED)}, got {', '.join(map(repr, unknown))}")


def _firsts(groups: Sequence[Sequence[Slice]]) -> str:
    return listed([f"{len(group)} like {group[0].path.name}" for group in groups])


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() in (".dcm", ".dicom", ".ima") else path.name


def _placed(path: Path) -> str:
    """With its folder, as copies often have one name."""
    return f"{path.parent.name}/{path.name}"


def _without_copies(slices: list[Slice], allow: frozenset[Allowed], name: str) -> tuple[list[Slice], tuple[str, ...]]:
    """One file of each SOP Instance UID, and a warning where others were left out."""
    seen: dict[str, Slice] = {}
    copies = []
    for one in slices:
        first = seen.setdefault(one.instance_uid or one.path.as_posix(), one)
        if first is not one:
            copies.append((first, one))
    if not copies:
        return slices, ()
    if "duplicates" not in allow:
        first, copy = copies[0]
        raise ScanError(
            f"{name}: duplicates: {len(copies)} files are copies of others (same SOP Instance UID), for instance "
            f"{_placed(first.path)} and {_placed(copy.path)}: remove one of each, or allow it with --allow duplicates"
        )
    return list(seen.values()), (f"{len(copies)} copies of files were left out",)


def _scan(slices: Sequence[Slice], name: str, allow: frozenset[Allowed], copies: tuple[str, ...] = ()) -> DicomSeries:
    arrangement = sort_slices(slices, [one.path.name for one in slices], allow, name)
    ordered = [slices[index] for index in arrangement.order]
    warnings = [*copies, *arrangement.warnings]
    if len({one.thickness for one in ordered}) > 1:
        warnings.append("slices have different thicknesses")
    warnings += dict.fromkeys(warning for one in ordered for warning in one.warnings)
    return DicomSeries(
        header=header_of(ordered, arrangement, name),
        files=tuple(one.path for one in ordered),
        warnings=tuple(warnings),
        rescales=tuple(one.rescale for one in ordered),
    )
