"""What a derived DICOM image says about itself: PS3.3 C.7.6.1.1.2 (derived images), C.12.1 and C.12.4.1.

Datasets in, datasets out: no file is touched here.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

import translate
from translate.data.dicom_carried import drop_what_describes_pixels, keep_lossy, to_little_endian
from translate.data.scans import Derivation, ScanError

IMPLEMENTATION = UID("2.25.168625157776612492162558177455121860978")  # ours, made once of a random UUID
TEXT_LO, TEXT_ST, TEXT_LT = 64, 1024, 10240  # characters that a value of this representation holds
LARGEST_IS = 2**31 - 1


@dataclass(frozen=True)
class SeriesIdentity:
    """What is new about a derived series.

    Args:
        series: its Series Instance UID.
        instances: a SOP Instance UID for each slice.
        moment: when it was made, with a time zone.
    """

    series: str
    instances: tuple[str, ...]
    moment: datetime

    @classmethod
    def new(cls, slices: int) -> SeriesIdentity:
        """Random UIDs: deriving twice gives two series."""
        return cls(generate_uid(None), tuple(generate_uid(None) for _ in range(slices)), datetime.now(UTC))


@dataclass(frozen=True)
class Reference:
    """An image that a derived one was made of."""

    sop_class: str
    instance: str

    @classmethod
    def to(cls, dataset: Dataset, path: Path) -> Reference:
        """By its UIDs, which a careless de-identification may have left in the file meta information only.

        Raises:
            ScanError: they are in neither.
        """
        meta = getattr(dataset, "file_meta", {})
        names = ("SOPClassUID", "SOPInstanceUID")
        uids = [str(dataset.get(name) or meta.get(f"MediaStorage{name}") or "") for name in names]
        if not all(uids):
            raise ScanError(
                f"{path}: has no SOP Class or no SOP Instance UID, so that a derived image cannot refer to it: "
                "export it again"
            )
        return cls(*uids)


def derived_dataset(
    source: Dataset,
    stored: np.ndarray,
    derivation: Derivation,
    identity: SeriesIdentity,
    index: int,
    *,
    sources: Sequence[Reference],
) -> Dataset:
    """The source with other pixels, marked as derived, as processed and as for research. Explicit VR little endian.

    All else is the source's: patient, study, frame of reference, geometry, slope, intercept, window, photometric
    interpretation, overlays and private elements. Private elements cannot be judged: those that repeat pixels or
    identities stay as wrong or as private as they are. Content Date and Time stay, because they order images that
    are related in time (C.7.6.1); Instance Creation Date and Time say when the derived image was made.

    Args:
        source: with its file meta information.
        stored: integers (Rows, Columns) as the source stores them.
        index: of the slice in `identity`.
        sources: all images that the pixels were made of, the source first.

    Raises:
        ScanError: the derivation is of another modality: see `dicom_synthetic`.
    """
    if derivation.synthetic or derivation.modality not in (None, source.Modality):
        raise ScanError(
            f"a derived {source.get('Modality')} series cannot hold {derivation.modality or 'synthetic'} pixels: "
            "a translation between modalities needs its flag for synthetic images"
        )
    derived = deepcopy(source)
    to_little_endian(derived)
    drop_what_describes_pixels(derived)
    keep_lossy(derived, source)
    derived.SOPClassUID = sources[0].sop_class
    derived.ImageType = ["DERIVED", *(_values(source, "ImageType")[1:] or ["PRIMARY"])]
    identify(derived, identity, index)
    derived.SeriesNumber = series_number(source)
    derived.SeriesDescription = series_description(source, derivation)
    describe(derived, source, derivation, identity, sources)
    nearest = _code("113087", "Smoothing")  # CID 7203 has no code for denoising
    derived.DerivationCodeSequence = [*deepcopy(source.get("DerivationCodeSequence", [])), nearest]
    set_pixels(derived, stored)
    return derived


def identify(derived: Dataset, identity: SeriesIdentity, index: int) -> None:
    """New UIDs, when the instance was made, and file meta information of our own."""
    derived.SOPInstanceUID = identity.instances[index]
    derived.SeriesInstanceUID = identity.series
    local = identity.moment.astimezone(_zone(derived))
    derived.InstanceCreationDate, derived.InstanceCreationTime = local.strftime("%Y%m%d"), local.strftime("%H%M%S")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = derived.SOPClassUID
    meta.MediaStorageSOPInstanceUID = derived.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION
    meta.ImplementationVersionName = f"TRANSLATE_{translate.__version__}"[:16]
    derived.file_meta = meta
    derived.preamble = bytes(128)  # of the source it may hold anything


def describe(
    derived: Dataset,
    source: Dataset,
    derivation: Derivation,
    identity: SeriesIdentity,
    sources: Sequence[Reference],
) -> None:
    """How, of what and by what the image was made, and that it is for research."""
    earlier = source.get("DerivationDescription")
    texts = [ascii_text(derivation.description), f"before: {earlier}" if earlier else ""]
    derived.DerivationDescription = "; ".join(filter(None, texts))[:TEXT_ST]
    derived.SourceImageSequence = [_source_item(reference) for reference in sources]
    devices = deepcopy(source.get("ContributingEquipmentSequence", []))
    derived.ContributingEquipmentSequence = [*devices, _equipment(derivation, identity)]
    derived.ContentQualification = "RESEARCH"
    mark = f"Research: AI-processed ({ascii_text(derivation.purpose)})"
    derived.ImageComments = "; ".join(filter(None, [mark, str(source.get("ImageComments") or "")]))[:TEXT_LT]


def series_description(source: Dataset, derivation: Derivation) -> str:
    """The source's, cut so that the mark fits."""
    end = ", AI-processed, research only]"
    mark = f" [{ascii_text(derivation.purpose)[: TEXT_LO // 2 - 2]}{end}"
    own = " ".join(_values(source, "SeriesDescription"))
    return (own[: TEXT_LO - len(mark)].rstrip() + mark).strip()


def set_pixels(derived: Dataset, stored: np.ndarray) -> None:
    """Native pixels (Rows, Columns), little endian."""
    kind = "i" if derived.PixelRepresentation else "u"
    pixels = np.ascontiguousarray(stored, f"<{kind}{derived.BitsAllocated // 8}").tobytes()
    if derived.BitsAllocated > 8:
        derived.HighBit = derived.BitsStored - 1
    derived.add_new("PixelData", "OW" if derived.BitsAllocated > 8 else "OB", pixels + b"\0" * (len(pixels) % 2))
    derived["PixelData"].is_undefined_length = False


def ascii_text(text: str) -> str:
    """What every Specific Character Set can hold, without the separator of values."""
    return text.encode("ascii", "replace").decode("ascii").replace("\\", "/")


def _values(dataset: Dataset, keyword: str) -> list[str]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else [str(entry) for entry in value]


def series_number(source: Dataset) -> int:
    """1000 above the source's, so that it is listed after what the scanner made; 1000 where there is none."""
    number = int(source.get("SeriesNumber") or 0)
    return number + 1000 if 0 <= number <= LARGEST_IS - 1000 else 1000


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _source_item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class
    item.ReferencedSOPInstanceUID = reference.instance
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [_code("121322", "Source image for image processing operation")]
    return item


def _equipment(derivation: Derivation, identity: SeriesIdentity) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_code("109102", "Processing Equipment")]
    item.Manufacturer = "translate"
    item.ManufacturerModelName = "translate"
    item.SoftwareVersions = translate.__version__
    item.ContributionDateTime = identity.moment.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")
    item.ContributionDescription = ascii_text(f"AI-processed ({derivation.purpose}), for research only")[:TEXT_ST]
    return item


def _zone(dataset: Dataset) -> tzinfo | None:
    """Of the times in a dataset; None is the local one."""
    try:
        return datetime.strptime(str(dataset.get("TimezoneOffsetFromUTC")), "%z").tzinfo
    except ValueError:
        return None
