"""One DICOM file: whether it can be used, in which units it is, and its pixels exactly as they are stored.

No lookup table, window or colour is ever applied. The numbers that a model sees are slope * stored + intercept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from translate.data.scans import ScanError

try:
    import pydicom
    from pydicom import uid
    from pydicom.pixels import pixel_array
except ImportError as error:
    raise ScanError('reading DICOM needs pydicom: pip install "translate-images[medical]"') from error

from translate.data.dicom_rescale import Rescale, number
from translate.data.dicom_support import (
    MULTI_FRAME,
    SINGLE_FRAME,
    UNITS,
    check_supported,
    class_without_uid,
    is_multiframe,
    modality_of,
    rescale_of,
    units_of,
)
from translate.data.dicom_transfer import check_decodable, explain_decoder

__all__ = [
    "UNITS",
    "Header",
    "Rescale",
    "check_decodable",
    "check_supported",
    "is_multiframe",
    "modality_of",
    "number",
    "read_dataset",
    "read_header",
    "rescale_of",
    "stored_pixels",
    "units_of",
]

# Warnings about values that break the standard quote them, and they can be names and dates of patients.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

FIRST_OVERLAY, LAST_OVERLAY = 0x6000, 0x601E  # groups


class Header(NamedTuple):
    """A file without its pixels, and where they begin: the byte of the element's tag, None where unknown (deflated)."""

    dataset: pydicom.Dataset
    pixels_at: int | None


def read_header(path: Path) -> Header:
    """Read everything before the pixels; files without preamble, meta information or suffix too.

    Raises:
        ScanError: it is no DICOM file, or ends too early.
    """
    try:
        with path.open("rb") as file:
            dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            position = file.tell()
    except Exception as error:  # whatever bytes make pydicom do; its text may quote them
        raise ScanError(f"{path}: cannot be read as DICOM ({type(error).__name__}): copy it again") from error
    if len(dataset) == 0:
        raise ScanError(f"{path}: is no DICOM file, or is cut off in its header: copy it again")
    _complete_meta(dataset)
    deflated = dataset.file_meta.TransferSyntaxUID == uid.DeflatedExplicitVRLittleEndian
    return Header(dataset, None if deflated else position)


def read_dataset(path: Path, *, pixels: bool) -> pydicom.Dataset:
    """Read a file, with its pixels or without. Raises ScanError as `read_header` does."""
    if not pixels:
        return read_header(path).dataset
    try:
        dataset = pydicom.dcmread(path, force=True)
    except Exception as error:
        raise ScanError(f"{path}: cannot be read as DICOM ({type(error).__name__}): copy it again") from error
    if len(dataset) == 0:
        raise ScanError(f"{path}: is no DICOM file, or is cut off: copy it again")
    _complete_meta(dataset)
    return dataset


def _complete_meta(dataset: pydicom.Dataset) -> None:
    """Give a file what it should say and can be told: the transfer syntax found, the SOP class, and the modality."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    if not dataset.get("SOPClassUID") and (found := class_without_uid(dataset)):
        dataset.SOPClassUID = found
    if not dataset.get("Modality") and dataset.get("SOPClassUID") in SINGLE_FRAME | MULTI_FRAME:
        dataset.Modality = modality_of(dataset)


def stored_pixels(dataset: pydicom.Dataset, path: Path, frame: int | None = None) -> np.ndarray:
    """The integers of the file, (rows, columns), all within Bits Stored.

    Bits above Bits Stored are cut off where they are an overlay, or where a signed number was stored without its sign
    extended; both are as the standard has it (PS3.5 8.1.1).

    Args:
        dataset: with pixels; without them if `frame` is given.
        frame: of a multi-frame file, whose pixels are read from `path`, only those of this frame.

    Raises:
        ScanError: they cannot be decoded, or hold numbers that do not fit in Bits Stored.
    """
    source: Any = dataset if frame is None else path
    try:
        stored = pixel_array(source, raw=True, index=frame, correct_unused_bits=False)
    except Exception as error:  # decoders raise anything for broken data
        raise ScanError(f"{path}: {explain_decoder(dataset.file_meta.TransferSyntaxUID, error)}") from error
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise ScanError(f"{path}: decodes to {stored.shape}, its header says {dataset.Rows} x {dataset.Columns}")
    return _within_bits(stored.astype(stored.dtype.newbyteorder("="), copy=False), dataset, path)


def _within_bits(stored: np.ndarray, dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    spare = 8 * stored.dtype.itemsize - int(dataset.BitsStored)
    kept = (stored << spare) >> spare  # zeros above, or the sign
    changed = kept != stored
    if not changed.any():
        return stored
    overlays = range(FIRST_OVERLAY, LAST_OVERLAY + 2, 2)
    if any((dataset.get((group, 0x0102)) or _ZERO).value for group in overlays):  # Overlay Bit Position
        return kept
    if not (stored >> dataset.BitsStored).any():  # signed, and no sign was extended
        return kept
    raise ScanError(
        f"{path}: {int(changed.sum())} pixels, for instance {stored[changed][0]}, do not fit in its "
        f"{dataset.BitsStored} Bits Stored and are no overlay, so their meaning is unknown: correct Bits Stored, "
        "or replace these pixels (padding, often)"
    )


class _ZERO:
    value = 0
