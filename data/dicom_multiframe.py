"""Enhanced DICOM: many frames in one file (enhanced CT and MR), with what differs between them in functional groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from translate.data.dicom_file import Header, Rescale, check_decodable, check_supported, stored_pixels
from translate.data.dicom_geometry import Allowed, Arrangement
from translate.data.dicom_series import check_allowed
from translate.data.dicom_slice import Slice, differences, header_of, slice_of, sort_slices
from translate.data.dicom_transfer import check_complete
from translate.data.scans import Derivation, Scan, ScanError, ScanWriter

# Where a functional group keeps what a single-frame file has at its top (PS3.3 C.7.6.16.2, C.8.15.3).
GROUPED = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "CTReconstructionSequence": ("ConvolutionKernel",),
}
FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence")


@dataclass(frozen=True)
class DicomMultiframe(Scan):
    """Frames of one file, in order along the normal, volume after volume. Written as NIfTI.

    Args:
        frames: of each slice, counted from 0 as they lie in the file.
        rescales: of each slice.
        pixel_format: a pydicom dataset of what decoding needs.
    """

    frames: tuple[int, ...] = ()
    rescales: tuple[Rescale, ...] = ()
    pixel_format: Any = field(default=None, repr=False, compare=False)

    @property
    def suffix(self) -> str:
        return ".nii.gz"

    def read(self, index: int) -> np.ndarray:
        stored = stored_pixels(self.pixel_format, self.files[0], frame=self.frames[index])
        return self.rescales[index].to_units(stored)

    def writer(self, output: Path, derivation: Derivation) -> ScanWriter:
        from translate.data.nifti import VolumeWriter

        return VolumeWriter(output, self.header, derivation.description)


def open_multiframe(
    path: Path,
    header: Header,
    name: str,
    *,
    allow: frozenset[Allowed] = frozenset(),
    units: str | None = None,
) -> DicomMultiframe:
    """A file as a scan. Frames at equal places are volumes, told apart by their dimension indices.

    Frames without position stay in the order of the file, and none is a neighbour of another.

    Raises:
        ScanError: it is no such file, frames differ in orientation or kind, lie unevenly, or cannot be decoded here.
    """
    check_allowed(allow)
    check_supported(header.dataset, path)
    check_complete(path, header.dataset, header.pixels_at)
    check_decodable([path])
    flat = list(_flat_frames(header.dataset, path))
    for frame in flat:
        check_supported(frame, path)
    slices = [slice_of(frame, path, units) for frame in flat]
    groups, reasons = differences(slices)
    if len(groups) > 1:
        raise ScanError(
            f"{name}: mixed: frames of one file differ in {', '.join(reasons)}, which cannot be one scan: split it "
            "into single-frame files first"
        )
    given = sorted(range(len(slices)), key=lambda frame: (flat[frame].dimension_order, frame))
    arrangement = _arrange([slices[frame] for frame in given], given, allow, name)
    frames = tuple(given[place] for place in arrangement.order)
    ordered = [slices[frame] for frame in frames]
    warnings = [*arrangement.warnings, *dict.fromkeys(warning for one in ordered for warning in one.warnings)]
    return DicomMultiframe(
        header=header_of(ordered, arrangement, name),
        files=(path,),
        warnings=tuple(warnings),
        frames=frames,
        rescales=tuple(one.rescale for one in ordered),
        pixel_format=_pixel_format(header.dataset),
    )


def _pixel_format(dataset: Any) -> Any:
    """Image pixel attributes, and where overlays lie."""
    kept = Dataset()
    for element in dataset:
        if element.tag.group == 0x0028 or (0x6000 <= element.tag.group < 0x6020 and element.tag.element == 0x0102):
            kept.add(element)
    kept.file_meta = dataset.file_meta
    return kept


def _arrange(slices: list[Slice], frames: list[int], allow: frozenset[Allowed], name: str) -> Arrangement:
    if all(one.plane is None for one in slices) and len(slices) > 1:
        return Arrangement(
            order=tuple(int(place) for place in np.argsort(frames)),
            slices_per_volume=len(slices),
            distance=None,
            step=np.zeros(3),
            breaks=frozenset(range(1, len(slices))),
            warnings=("frames have no position: they are in the order of the file and not taken for neighbours",),
        )
    return sort_slices(slices, [f"frame {frame + 1}" for frame in frames], allow, name, repeats=True)


class _Frame(Dataset):
    """A frame in the form of a single-frame header, and what orders frames at one place."""

    dimension_order: tuple[int, ...]


def _flat_frames(dataset: Any, path: Path) -> Iterator[_Frame]:
    count = int(dataset.get("NumberOfFrames") or 1)
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    each = list(dataset.get("PerFrameFunctionalGroupsSequence") or [Dataset()] * count)
    if len(each) != count:
        raise ScanError(f"{path}: describes {len(each)} frames and holds {count}: its header is damaged")
    top = [element for element in dataset if element.VR != "SQ"]
    for own in each:
        frame = _Frame()
        for element in top:
            frame.add(element)
        for sequence, keywords in GROUPED.items():
            group = _group(own, shared, sequence)
            for keyword in keywords:
                if keyword in group:
                    frame.add(group[keyword])
        kinds = [kind for kind in (_group(own, shared, sequence).get("FrameType") for sequence in FRAME_TYPES) if kind]
        if kinds:
            frame.ImageType = kinds[0]
        indices = _group(own, shared, "FrameContentSequence").get("DimensionIndexValues")
        frame.dimension_order = tuple(map(int, np.atleast_1d(indices))) if indices is not None else ()
        yield frame


def _group(own: Any, shared: Any, sequence: str) -> Any:
    """The item of a functional group, of the frame or of all frames; empty where there is none."""
    items = own.get(sequence) or shared.get(sequence)
    return items[0] if items else Dataset()
