"""What a derived DICOM image takes over from how its source was encoded, and what it must not."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

OF_THE_SOURCE_ONLY = (  # they describe or vouch for pixels that are no longer there
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
    "HistogramSequence",
    "IconImageSequence",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "PixelDataProviderURL",
    "AlternateRepresentationSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "InstanceCreatorUID",
    "SOPInstanceStatus",
    "SOPAuthorizationDateTime",
    "SOPAuthorizationComment",
    "AuthorizationEquipmentCertificationNumber",
    "DataSetTrailingPadding",
)
ALWAYS_LOSSY = {  # transfer syntaxes -> Lossy Image Compression Method
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
}
WORDS = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}  # bytes of a number, by value representation


def drop_what_describes_pixels(derived: Dataset) -> None:
    """Drop what is true of the source's pixels only, with overlays in their unused bits (retired)."""
    for keyword in OF_THE_SOURCE_ONLY:
        if keyword in derived:
            delattr(derived, keyword)
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0010) in derived and (group, 0x3000) not in derived:
            for tag in [tag for tag in derived.keys() if tag.group == group]:  # noqa: SIM118, it is not a dict
                del derived[tag]


def keep_lossy(derived: Dataset, source: Dataset) -> None:
    """What was lossy once is lossy for ever. A source may say so by its transfer syntax only."""
    syntax = getattr(getattr(source, "file_meta", None), "TransferSyntaxUID", "")
    if syntax in ALWAYS_LOSSY and source.get("LossyImageCompression") != "01":
        size = source.Rows * source.Columns * source.BitsAllocated / 8
        derived.LossyImageCompression = "01"
        derived.LossyImageCompressionMethod = ALWAYS_LOSSY[syntax]
        derived.LossyImageCompressionRatio = round(size / len(source.PixelData), 3)


def to_little_endian(dataset: Dataset) -> None:
    """Swap what pydicom keeps as bytes when it reads a big-endian file: overlay and table data."""
    if dataset.original_encoding[1] is not False:
        return
    for element in dataset.iterall():
        width = WORDS.get(element.VR)
        if width and isinstance(element.value, bytes) and element.tag != 0x7FE00010:
            element.value = np.frombuffer(element.value, f">u{width}").astype(f"<u{width}").tobytes()
