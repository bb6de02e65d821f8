"""EXIF: the orientation out of it, and a block that is still true after the pixels have changed."""

from __future__ import annotations

import logging
import struct

from PIL import ExifTags, Image

logger = logging.getLogger(__name__)

ORIENTATION = 0x0112
EXIF_IFD, GPS_IFD = int(ExifTags.IFD.Exif), int(ExifTags.IFD.GPSInfo)

# What describes the photograph. A TIFF keeps the layout of its pixels in the same directory: that must not travel.
DESCRIPTIVE = frozenset(
    [
        0x010E,  # ImageDescription
        0x010F,  # Make
        0x0110,  # Model
        0x011A,  # XResolution
        0x011B,  # YResolution
        0x0128,  # ResolutionUnit
        0x0131,  # Software
        0x0132,  # DateTime
        0x013B,  # Artist
        0x013C,  # HostComputer
        0x4746,  # Rating
        0x8298,  # Copyright
        *range(0x9C9B, 0x9CA0),  # title, comment, author, keywords and subject of Windows
    ]
)
# The size of the pixels and the pointer to a directory that says nothing about the photograph.
OUTDATED = frozenset([0xA002, 0xA003, 0xA005])
LAYOUT_DESCRIPTIONS = ('{"shape"', "ImageJ=", "<?xml")  # tifffile, ImageJ and OME write array shapes there


def orientation_of(exif: Image.Exif) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it is none of these."""
    value = exif.get(ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def parse_exif(block: bytes | None) -> Image.Exif:
    """The EXIF of a block as in `Metadata.exif`; empty for None."""
    exif = Image.Exif()
    exif.load(block or b"")
    return exif


def upright_exif(exif: Image.Exif) -> bytes | None:
    """A block with the descriptive tags, camera and GPS data, and with orientation 1; None when there are none.

    Thumbnails, pixel sizes and file layout are left out: they would be wrong for other pixels. A block that
    Pillow cannot write again is left out with a warning in the log.
    """
    kept = Image.Exif()
    try:
        for tag in DESCRIPTIVE & set(exif):
            if not str(exif[tag]).startswith(LAYOUT_DESCRIPTIONS):
                kept[tag] = exif[tag]
        for directory in (EXIF_IFD, GPS_IFD):
            tags = {tag: value for tag, value in exif.get_ifd(directory).items() if tag not in OUTDATED}
            if tags:
                kept[directory] = tags
        if not len(kept) and ORIENTATION not in exif:
            return None
        kept[ORIENTATION] = 1
        return kept.tobytes()
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, SyntaxError, struct.error) as error:
        logger.warning("EXIF data cannot be carried over, it is left out: %s", error)
        return None
