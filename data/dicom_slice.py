"""What is kept in memory of one image of a series: everything that is needed to sort it and to read it, no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from translate.data.dicom_file import (
    Header,
    Rescale,
    check_supported,
    modality_of,
    number,
    read_header,
    rescale_of,
    units_of,
)
from translate.data.dicom_geometry import (
    Allowed,
    Arrangement,
    Plane,
    affine_of,
    arrange,
    listed,
    pixel_spacing,
    plane_of,
    thickness_of,
)
from translate.data.dicom_patient import patient_of, privacy_warnings
from translate.data.dicom_transfer import check_complete
from translate.data.intensity import IntensityRange
from translate.data.scans import ScanError, ScanHeader


@dataclass(frozen=True)
class Slice:
    """One image, or one frame of a file.

    Args:
        spacing: millimetres between rows and between columns.
        padding: from and to which values, in units, there is no measurement.
        instance: the number that orders slices at one place; not their order in space.
    """

    path: Path
    modality: str
    units: str
    size: tuple[int, int]  # rows, columns
    plane: Plane | None
    spacing: tuple[float | None, float | None]
    thickness: float | None
    kernel: str | None
    frame_of_reference: str
    instance: float
    instance_uid: str
    rescale: Rescale
    padding: tuple[float, float] | None
    patient: str | None
    warnings: tuple[str, ...]


def read_slice(path: Path, units: str | None = None) -> Slice:
    """Check one single-frame file, without decoding it. Raises ScanError."""
    return slice_of_header(read_header(path), path, units)


def slice_of_header(header: Header, path: Path, units: str | None) -> Slice:
    """Check the header of a single-frame file, and that the file holds all pixels. Raises ScanError."""
    check_supported(header.dataset, path)
    check_complete(path, header.dataset, header.pixels_at)
    return slice_of(header.dataset, path, units)


def slice_of(dataset: Any, path: Path, units: str | None) -> Slice:
    """Of a header that passed `check_supported`. Raises ScanError for unknown units."""
    kernel = dataset.get("ConvolutionKernel") or None
    if kernel is not None and not isinstance(kernel, str):
        kernel = "/".join(str(part) for part in kernel)
    rescale = rescale_of(dataset)
    return Slice(
        path=path,
        modality=modality_of(dataset),
        units=units_of(dataset, path, units),
        size=(int(dataset.Rows), int(dataset.Columns)),
        plane=plane_of(dataset),
        spacing=pixel_spacing(dataset),
        thickness=thickness_of(dataset),
        kernel=kernel,
        frame_of_reference=str(dataset.get("FrameOfReferenceUID") or ""),
        instance=number(dataset, "InstanceNumber") or 0.0,
        instance_uid=str(dataset.get("SOPInstanceUID") or ""),
        rescale=rescale,
        padding=_padding_of(dataset, rescale),
        patient=patient_of(dataset),
        warnings=privacy_warnings(dataset),
    )


def _padding_of(dataset: Any, rescale: Rescale) -> tuple[float, float] | None:
    """Pixel Padding Value, and to its Range Limit where there is one (PS3.3 C.7.5.1.1.2), in units."""
    first = number(dataset, "PixelPaddingValue")
    if first is None:
        return None
    last = number(dataset, "PixelPaddingRangeLimit")
    ends = rescale.to_units(np.array([first, first if last is None else last]))
    return float(ends.min()), float(ends.max())


def differences(slices: Sequence[Slice]) -> tuple[list[list[Slice]], list[str]]:
    """Slices that can be one scan together, in the order of their first ones; and in what the groups differ."""
    groups: list[list[Slice]] = []
    reasons: list[str] = []
    for one in slices:
        for group in groups:
            if not (reason := _difference(one, group[0])):
                group.append(one)
                break
            reasons.append(reason)
        else:
            groups.append([one])
    return groups, sorted(set(reasons)) if len(groups) > 1 else []


def _difference(one: Slice, other: Slice) -> str | None:
    """The first thing that forbids them to be one scan."""
    for name, label in (
        ("patient", "patient"),
        ("modality", "modality"),
        ("units", "units"),
        ("size", "rows and columns"),
        ("frame_of_reference", "frame of reference"),
        ("kernel", "reconstruction kernel"),
    ):
        if getattr(one, name) != getattr(other, name):
            return label
    if (one.plane is None) != (other.plane is None):
        return "position, which some lack"
    if one.plane and other.plane and not _parallel(one.plane, other.plane):
        return "orientation"
    if not _close(one.spacing, other.spacing):
        return "pixel spacing"
    return "MONOCHROME1 and MONOCHROME2" if one.rescale.inverted != other.rescale.inverted else None


def _parallel(one: Plane, other: Plane) -> bool:
    """The corners of 512 pixels move by less than a pixel."""
    return np.allclose(one.along_row, other.along_row, atol=1e-3) and np.allclose(
        one.along_column, other.along_column, atol=1e-3
    )


def _close(one: tuple[float | None, float | None], other: tuple[float | None, float | None]) -> bool:
    if None in one or None in other:
        return one == other
    return np.allclose(np.array(one, float), np.array(other, float), rtol=1e-3)


def sort_slices(
    slices: Sequence[Slice], names: Sequence[str], allow: frozenset[Allowed], scan: str, *, repeats: bool = False
) -> Arrangement:
    """`arrange` for slices of one kind, which may be a single one without position.

    Raises:
        ScanError: as `arrange` does, and for several slices without position.
    """
    planes = [one.plane for one in slices if one.plane is not None]
    if len(planes) == len(slices):
        return arrange(planes, names, allow, scan, thickness=slices[0].thickness, repeats=repeats)
    if len(slices) > 1:
        raise ScanError(
            f"{scan}: {len(slices) - len(planes)} of {len(slices)} slices have no Image Position and Orientation "
            f"(Patient), so their order is unknown: {listed(names)}: give the files one by one"
        )
    return Arrangement((0,), 1, None, np.zeros(3))


def header_of(ordered: Sequence[Slice], arrangement: Arrangement, name: str) -> ScanHeader:
    """Of slices that are in order already."""
    first = ordered[0]
    low = min(one.rescale.limits[0] for one in ordered)
    high = max(one.rescale.limits[1] for one in ordered)
    thicknesses = {one.thickness for one in ordered}
    thickness = first.thickness if len(thicknesses) == 1 else None
    paddings = {one.padding for one in ordered}
    return ScanHeader(
        name=name,
        modality=first.modality,
        units=first.units,
        shape=(len(ordered), *first.size),
        slices_per_volume=arrangement.slices_per_volume,
        spacing=(arrangement.distance, *first.spacing),
        thickness=thickness,
        kernel=first.kernel,
        storable=IntensityRange(low, high, first.units),
        affine=affine_of(first.plane, first.spacing, thickness, arrangement),
        patient=first.patient,
        breaks=arrangement.breaks,
        padding=first.padding if len(paddings) == 1 else None,
    )
