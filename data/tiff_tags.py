"""What a TIFF says about its picture, as tifffile wants it, and the EXIF directories that tifffile does not write."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import tifffile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from translate.data.metadata import EXIF_IFD, GPS_IFD, ORIENTATION, parse_exif
from translate.data.picture import Metadata, PictureInfo

Tag = tuple[int, int, int, Any, bool]  # code, type, count, value, and whether it is of the first page only
Directories = dict[int, dict[int, Any]]


def layout_options(info: PictureInfo, metadata: Metadata) -> dict[str, Any]:
    """Arguments of tifffile's writer: colours, alpha, profile and resolution."""
    options: dict[str, Any] = {
        "photometric": "rgb" if info.channels == 3 else "minisblack",
        "predictor": info.dtype.kind == "u",
        "iccprofile": metadata.icc,
        "software": False,
    }
    if info.channels + info.has_alpha > 1:
        options["planarconfig"] = "contig"
    if info.has_alpha:
        options["extrasamples"] = ["unassalpha"]
    if metadata.dpi is not None:
        options |= {"resolution": metadata.dpi, "resolutionunit": "inch"}
    return options


def exif_directories(metadata: Metadata) -> Directories:
    """The EXIF and GPS directories of the metadata, those that have an entry."""
    exif = parse_exif(metadata.exif)
    return {tag: exif.get_ifd(tag) for tag in (EXIF_IFD, GPS_IFD) if exif.get_ifd(tag)}


def exif_tags(metadata: Metadata, directories: Directories) -> list[Tag]:
    """The descriptive tags, orientation 1, and a place for each of the directories.

    tifffile refuses to write pointers to directories, so that the places have tags that are one lower, and the value 0,
    until `append_directories`.
    """
    exif = parse_exif(metadata.exif)
    tags: list[Tag] = [(ORIENTATION, 3, 1, 1, True)]
    tags += [_tag(tag, value) for tag, value in exif.items() if isinstance(value, str | bytes)]
    return tags + [(tag - 1, 4, 1, 0, True) for tag in directories]


def append_directories(file: BinaryIO, directories: Directories) -> None:
    """Write the directories behind a little-endian TIFF below 4 GiB that has a place for each."""
    if not directories:
        return
    file.seek(0)
    with tifffile.TiffFile(file) as tif:
        places = {tag: tif.pages[0].tags[tag - 1] for tag in directories}
        entries = {tag: (place.offset, place.valueoffset) for tag, place in places.items()}
    for tag, values in directories.items():
        end = file.seek(0, 2)
        start = end + end % 2
        directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0", group=tag)
        for name, value in values.items():
            directory[name] = value
        file.write(b"\0" * (start - end) + directory.tobytes(start))
        for place, content in zip(entries[tag], (struct.pack("<H", tag), struct.pack("<I", start)), strict=True):
            file.seek(place)
            file.write(content)


def _tag(tag: int, value: str | bytes) -> Tag:
    content = value.encode() + b"\0" if isinstance(value, str) else value
    return tag, 2 if isinstance(value, str) else 1, len(content), content, True
