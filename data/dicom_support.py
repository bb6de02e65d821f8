"""What a DICOM file is, and in which units: what can be used, what is refused by name and why."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom import uid

from translate.data.dicom_rescale import Rescale, number
from translate.data.scans import ScanError

UNITS = ("HU", "SUV", "Bq/ml", "stored")
SINGLE_FRAME = {
    uid.CTImageStorage: "CT",
    uid.MRImageStorage: "MR",
    uid.PositronEmissionTomographyImageStorage: "PT",
    uid.ComputedRadiographyImageStorage: "CR",
    uid.DigitalXRayImageStorageForPresentation: "DX",
    uid.DigitalXRayImageStorageForProcessing: "DX",
    uid.DigitalMammographyXRayImageStorageForPresentation: "MG",
    uid.DigitalMammographyXRayImageStorageForProcessing: "MG",
    uid.XRayAngiographicImageStorage: "XA",
    uid.XRayRadiofluoroscopicImageStorage: "RF",
}
MULTI_FRAME = {
    uid.EnhancedCTImageStorage: "CT",
    uid.LegacyConvertedEnhancedCTImageStorage: "CT",
    uid.EnhancedMRImageStorage: "MR",
    uid.LegacyConvertedEnhancedMRImageStorage: "MR",
}
PHYSICAL = ("CT", "PT")  # their values mean something: MONOCHROME1 says how to show them, and nothing is inverted


def class_without_uid(dataset: pydicom.Dataset) -> str | None:
    """The SOP class of a file from which an anonymiser took it: by its meta information, or an image's by its modality.

    Only of modalities with one class of single-frame images.
    """
    if found := dataset.file_meta.get("MediaStorageSOPClassUID"):
        return found
    if "Rows" not in dataset or "NumberOfFrames" in dataset:
        return None
    kinds = [kind for kind, modality in SINGLE_FRAME.items() if modality == dataset.get("Modality")]
    return kinds[0] if len(kinds) == 1 else None


def is_multiframe(dataset: pydicom.Dataset) -> bool:
    return dataset.get("SOPClassUID") in MULTI_FRAME


def modality_of(dataset: pydicom.Dataset) -> str:
    """DICOM's code by the SOP class, of a supported file."""
    return (SINGLE_FRAME | MULTI_FRAME)[dataset.SOPClassUID]


def check_supported(dataset: pydicom.Dataset, path: Path) -> None:
    """Raise ScanError, naming what it is, unless the file is a grey image of numbers that can be read and written."""
    if reason := _colour(dataset) or _not_numbers(dataset) or _kind(dataset) or _unreadable(dataset):
        raise ScanError(f"{path}: {reason}")
    if not rescale_of(dataset).is_exact():
        raise ScanError(
            f"{path}: has slope {number(dataset, 'RescaleSlope'):g} and intercept "
            f"{number(dataset, 'RescaleIntercept'):g} with {dataset.BitsStored} bits, which float32 cannot tell apart: "
            "store it with a larger slope"
        )


def _colour(dataset: pydicom.Dataset) -> str | None:
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR":
        return "is in palette colour: only grey scans can be used"
    if number(dataset, "SamplesPerPixel") not in (None, 1):
        return f"is in colour ({photometric}): only grey scans can be used"
    return None


def _not_numbers(dataset: pydicom.Dataset) -> str | None:
    missing = [name for name in ("Rows", "Columns", "BitsAllocated", "BitsStored") if not number(dataset, name)]
    if missing or number(dataset, "PixelRepresentation") not in (0, 1):
        return f"holds no image ({_class_name(dataset)}): leave it out"
    if dataset.BitsAllocated == 1:
        return f"is a mask of one bit a pixel ({_class_name(dataset)}): only scans can be used"
    if "ModalityLUTSequence" in dataset:
        return "has a Modality LUT instead of slope and intercept, which cannot be undone: convert it first"
    return None


def _kind(dataset: pydicom.Dataset) -> str | None:
    kind = dataset.get("SOPClassUID")
    if kind not in SINGLE_FRAME and kind not in MULTI_FRAME:
        return (
            f"is of the kind {_class_name(dataset)}, whose numbers have no known meaning here: CT, MR, CR, DX, MG, XA, "
            "RF and PET images and enhanced CT and MR can be used"
        )
    if kind in SINGLE_FRAME and (number(dataset, "NumberOfFrames") or 1) != 1:
        return f"holds {dataset.NumberOfFrames} frames in a {_class_name(dataset)}: split it into single frames"
    return None


def _unreadable(dataset: pydicom.Dataset) -> str | None:
    photometric = dataset.get("PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return f"has the Photometric Interpretation {photometric}: MONOCHROME1 and MONOCHROME2 can be used"
    high = dataset.get("HighBit", dataset.BitsStored - 1)
    bits = f"Bits Allocated {dataset.BitsAllocated}, Bits Stored {dataset.BitsStored}, High Bit {high}"
    if dataset.BitsAllocated not in (8, 16, 32) or dataset.BitsStored > dataset.BitsAllocated:
        return f"has {bits}: 8, 16 or 32 bits allocated can be read"
    if high != dataset.BitsStored - 1:
        return f"has {bits}: only pixels in the lowest bits can be read"
    if number(dataset, "RescaleSlope") == 0:
        return "has a Rescale Slope of 0: every value would be the same"
    return None


def _class_name(dataset: pydicom.Dataset) -> str:
    return str(getattr(dataset.get("SOPClassUID"), "name", "unknown SOP class"))


def units_of(dataset: pydicom.Dataset, path: Path, assumed: str | None = None) -> str:
    """One of UNITS, by what the file says.

    CT: HU where the Rescale Type is HU or absent, as PS3.3 C.8.2.1 has it; but not for localizers, for which it says
    nothing, and not without slope and intercept; "stored" where it is US, which means unspecified. PT: by Units. All
    others: "stored".

    Args:
        assumed: the user's word, taken where the file does not say.

    Raises:
        ScanError: the units are unknown and none were assumed, or the file contradicts the user.
    """
    if assumed is not None and assumed not in UNITS:
        raise ScanError(f"units must be one of {', '.join(UNITS)}, got {assumed!r}")
    if modality_of(dataset) == "CT" and dataset.get("RescaleType") == "US":
        return assumed or "stored"
    found, why = _units_by_file(dataset)
    if found is None and assumed is None:
        raise ScanError(
            f"{path}: its units are unknown, {why}: if you know them, say so with --units (one of {', '.join(UNITS)})"
        )
    if found is not None and assumed not in (None, found):
        raise ScanError(f"{path}: is in {found}, not in {assumed}: leave --units out")
    return str(found or assumed)


def _units_by_file(dataset: pydicom.Dataset) -> tuple[str | None, str]:
    """The units, or None and why they are unknown."""
    modality = modality_of(dataset)
    if modality == "PT":
        units = str(dataset.get("Units") or "")
        return {"GML": "SUV", "BQML": "Bq/ml"}.get(units), f"the PET file gives Units {units!r}"
    if modality != "CT":
        return "stored", ""
    kind = str(dataset.get("RescaleType") or "HU")
    if "LOCALIZER" in (dataset.get("ImageType") or ()):
        return None, "the CT image is a localizer"
    if number(dataset, "RescaleSlope") is None or number(dataset, "RescaleIntercept") is None:
        return None, "the CT image has no Rescale Slope and Intercept"
    return "HU" if kind == "HU" else None, f"the CT image has the Rescale Type {kind!r}"


def rescale_of(dataset: pydicom.Dataset) -> Rescale:
    """Of a file that passed `check_supported`. A missing slope is 1, a missing intercept 0.

    MONOCHROME1 is inverted only where values have no physical meaning (MR, X-ray): HU and SUV stay what they are.
    """
    signed, bits = dataset.PixelRepresentation == 1, int(dataset.BitsStored)
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    return Rescale(
        slope=1.0 if slope is None else slope,
        intercept=intercept or 0.0,
        inverted=inverted and modality_of(dataset) not in PHYSICAL,
        lowest=-(2 ** (bits - 1)) if signed else 0,
        highest=2 ** (bits - 1) - 1 if signed else 2**bits - 1,
        allocated=int(dataset.BitsAllocated),
    )
