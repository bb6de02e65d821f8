"""A CT that was computed from a scan of another modality. Nothing of how the source was acquired is taken over."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from translate.data.dicom_derived import (
    Reference,
    SeriesIdentity,
    describe,
    identify,
    series_description,
    series_number,
    set_pixels,
)
from translate.data.dicom_rescale import Rescale
from translate.data.scans import Derivation, ScanError

HOUNSFIELD = Rescale(slope=1.0, intercept=0.0, inverted=False, lowest=-(2**15), highest=2**15 - 1)
KEPT = (  # who, which study, and where in space: what is true of the synthetic image too
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "PatientPosition",
    "Laterality",
    "BodyPartExamined",
    "InstanceNumber",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SliceLocation",
    "Rows",
    "Columns",
)
TYPE_2 = (  # must be there, may be empty
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator", "InstanceNumber", "SliceThickness"),
    *("KVP", "AcquisitionNumber", "PatientPosition"),
)


def synthetic_dataset(
    source: Dataset,
    stored: np.ndarray,
    derivation: Derivation,
    identity: SeriesIdentity,
    index: int,
    *,
    sources: Sequence[Reference],
) -> Dataset:
    """A CT image with the patient, study, frame of reference and geometry of the source, marked as synthetic.

    Args:
        stored: int16 (Rows, Columns) in HU: see `HOUNSFIELD`.
        index, sources: as for `derived_dataset`.

    Raises:
        ScanError: the derivation is not marked as synthetic, or is of another modality than CT.
    """
    if not derivation.synthetic or derivation.modality != "CT":
        raise ScanError(
            f"a synthetic scan of modality {derivation.modality!r} cannot be written as DICOM, only 'CT' can: "
            "convert the source to NIfTI first"
        )
    derived = Dataset()
    for keyword in KEPT:
        if keyword in source:
            derived[keyword] = deepcopy(source[keyword])
    for keyword in TYPE_2:
        derived.setdefault(keyword, None)
    derived.SOPClassUID = CTImageStorage
    derived.Modality = "CT"
    derived.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    derived.SyntheticData = "YES"
    derived.Manufacturer = "translate"
    derived.SamplesPerPixel, derived.PhotometricInterpretation = 1, "MONOCHROME2"
    derived.BitsAllocated, derived.BitsStored, derived.HighBit, derived.PixelRepresentation = 16, 16, 15, 1
    derived.RescaleIntercept, derived.RescaleSlope, derived.RescaleType = 0, 1, "HU"
    derived.WindowCenter, derived.WindowWidth = 40, 400
    if source.get("LossyImageCompression") == "01":
        for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in source:
                derived[keyword] = deepcopy(source[keyword])
    identify(derived, identity, index)
    derived.SeriesNumber = series_number(source)
    derived.SeriesDescription = series_description(source, derivation)
    describe(derived, source, derivation, identity, sources)
    set_pixels(derived, stored)
    return derived
