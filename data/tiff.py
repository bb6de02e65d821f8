"""TIFF: one page, 8-bit, 16-bit or float, grey or RGB, with or without alpha; signed 16-bit in grey, for scans.

tifffile reads the header and writes. Up to 8 bits Pillow decodes. Above that tifffile decodes, and OpenCV what
tifffile cannot without imagecodecs (LZW).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

import cv2
import numpy as np
import tifffile
from PIL import Image

from translate.data import pil
from translate.data.metadata import ORIENTATION, orientation_of, upright_exif
from translate.data.packing import Compression, deflater
from translate.data.picture import ImageError, Metadata, Picture, PictureInfo, to_array
from translate.data.tiff_tags import append_directories, exif_directories, exif_tags, layout_options

ICC_PROFILE = 34675
FIRST_PRIVATE_TAG = 32768
STRIP = 2**20  # bytes of pixels that are packed together
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, YCBCR: 3}  # samples without alpha
ASSOCIATED, STRAIGHT = 1, 2  # kinds of alpha: premultiplied or not
READ_AS = {"bool": "uint8", "uint8": "uint8", "uint16": "uint16"} | dict.fromkeys(
    ("int16", "float16", "float32", "float64"), "float32"
)
_OPENCV_LOG_LEVEL = threading.Lock()  # it is one for the process


def inspect(file: BinaryIO) -> pil.Stored:
    """Read the header.

    Raises:
        ImageError: for several pages, missing pixels, and kinds of pixels other than the module's.
    """
    page = _only_page(file)
    alpha = has_alpha(page)
    channels = 3 if page.photometric == PALETTE else page.samplesperpixel - alpha
    dtype = np.dtype(READ_AS[str(page.dtype)])
    info = PictureInfo(page.imagelength, page.imagewidth, channels, alpha, dtype, "tiff")
    return pil.Stored(info, *describe(page, file))


def describe(page: tifffile.TiffPage, file: BinaryIO) -> tuple[int, Metadata]:
    """The EXIF orientation, 1 to 8, and the metadata of a page of this open file."""
    exif = Image.Exif()
    exif.endian, exif.bigtiff = page.parent.byteorder, page.parent.is_bigtiff
    if exif.bigtiff and exif.endian == ">":  # Pillow does not read such files
        exif[ORIENTATION] = page.tags.valueof(ORIENTATION, default=1)
    else:
        exif.load_from_fp(file, page.offset)
    dpi = pil.read_dpi({"dpi": page.get_resolution("inch")}) if 296 in page.tags and page.resolutionunit > 1 else None
    icc = page.tags.valueof(ICC_PROFILE)
    return orientation_of(exif), Metadata("tiff", icc or None, upright_exif(exif), dpi)


def decode(data: bytes) -> np.ndarray:
    """The values as stored: (H, W, channels and alpha), uint8, uint16 or float32.

    Alpha that is stored premultiplied is divided out, white-is-zero is inverted. float64 is rounded to float32, which
    holds int16 and float16 exactly.
    """
    page = _only_page(BytesIO(data))
    if READ_AS[str(page.dtype)] == "uint8":
        return pil.decode(pil.open_pillow(BytesIO(_without_orientation(page, data)), "tiff"))
    values = _decode_deep(page, data)
    if page.photometric == WHITE_IS_ZERO:
        values[..., 0] = 65535 - values[..., 0]
    if page.extrasamples[:1] == (ASSOCIATED,):
        values = straight(values)
    return values


def _only_page(file: BinaryIO) -> tifffile.TiffPage:
    file.seek(0, 2)
    end = file.tell()
    file.seek(0)
    tif = tifffile.TiffFile(file)
    if len(tif.pages) == 0:
        raise ImageError("it is truncated, its directory is missing: copy or export it again")
    page = tif.pages[0]
    check_tags(page, file)
    images = (tif.imagej_metadata or {}).get("images", 1) * page.imagedepth
    if len(tif.pages) > 1 or images > 1:
        raise ImageError(
            f"it holds {max(len(tif.pages), images)} pages, allowed is one: save each as a file of its own"
        )
    if any(start + count > end for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)):
        raise ImageError("it is truncated, a part of its pixels is missing: copy or export it again")
    check_kind(page)
    return page


def check_tags(page: tifffile.TiffPage, file: BinaryIO) -> None:
    """Raise if a tag about the pixels has its value outside the file: tifffile would go on without the tag."""
    size_of_count, size_of_tag = (8, 20) if page.parent.is_bigtiff else (2, 12)
    file.seek(page.offset)
    count = int.from_bytes(file.read(size_of_count), "little" if page.parent.byteorder == "<" else "big")
    entries = file.read(min(count, 4096) * size_of_tag)
    codes = {code for code, *_ in struct.iter_unpack(f"{page.parent.byteorder}H{size_of_tag - 2}x", entries)}
    if lost := sorted(code for code in codes if code < FIRST_PRIVATE_TAG and code not in page.tags):
        raise ImageError(f"it is truncated or damaged, the values of the tags {lost} are missing: export it again")


def check_kind(page: tifffile.TiffPage) -> None:
    sampleformat, bits = str(page.dtype), page.bitspersample
    packed = bits not in (16, 32, 64) and bits > 8
    signed_colour = sampleformat == "int16" and (page.photometric != BLACK_IS_ZERO or page.samplesperpixel != 1)
    if sampleformat not in READ_AS or packed or signed_colour:
        raise ImageError(
            f"its values are {sampleformat} of {bits} bits, allowed are uint8, uint16 and float32 (float16, float64 "
            "and int16 of one grey channel are converted): save it as one of these"
        )
    inverted_float = page.photometric == WHITE_IS_ZERO and READ_AS[sampleformat] == "float32"
    deep_colour = page.photometric in (PALETTE, YCBCR) and READ_AS[sampleformat] != "uint8"
    if page.photometric not in COLOURS or inverted_float or deep_colour:
        raise ImageError(
            f"its colour model is {tifffile.PHOTOMETRIC(page.photometric).name} of {sampleformat}, allowed are grey "
            "and RGB: convert it to one of these first"
        )


def has_alpha(page: tifffile.TiffPage) -> bool:
    """Whether there is one channel more than colours. A missing ExtraSamples tag (OpenCV's files) means alpha too."""
    extra = page.samplesperpixel - COLOURS[page.photometric]
    if extra not in (0, 1) or (extra and page.extrasamples[:1] not in ((), (ASSOCIATED,), (STRAIGHT,))):
        raise ImageError(
            f"it has {page.samplesperpixel} channels, of which {extra} are neither colour nor marked as alpha: "
            "save only grey or RGB, and mark alpha as such (ExtraSamples 2)"
        )
    return extra == 1


def _decode_deep(page: tifffile.TiffPage, data: bytes) -> np.ndarray:
    """(H, W, samples) of uint16 or float32."""
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    try:
        values = page.asarray()
        if page.planarconfig == 2 and shape[2] > 1:
            values = np.moveaxis(values, 0, -1)
        return values.reshape(shape).astype(READ_AS[str(page.dtype)])
    except (ValueError, KeyError, ImportError) as error:
        if not any(word in str(error) for word in ("imagecodecs", "compression")):
            raise
    with _OPENCV_LOG_LEVEL:  # it would warn of the alpha in its own files
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        cv2.utils.logging.setLogLevel(level)
    if decoded is None or decoded.dtype != page.dtype or decoded.size != np.prod(shape):
        name = tifffile.COMPRESSION(page.compression).name
        raise ImageError(
            f"its pixels are damaged, or {name} with {shape[2]} channels of {page.dtype} is not supported: "
            "save it uncompressed or with deflate"
        )
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[shape[2]]
    return decoded.reshape(shape)[..., order].astype(READ_AS[str(page.dtype)])


def _without_orientation(page: tifffile.TiffPage, data: bytes) -> bytes:
    """The same file with orientation 1, because Pillow turns a TIFF (no other format) upright by itself."""
    if ORIENTATION not in page.tags:
        return data
    out = bytearray(data)
    struct.pack_into(page.parent.byteorder + "H", out, page.tags[ORIENTATION].valueoffset, 1)
    return bytes(out)


def straight(values: np.ndarray) -> np.ndarray:
    """Divide the colours by the alpha behind them; colour under alpha 0 stays as it is."""
    opaque = 65535.0 if values.dtype == np.uint16 else 1.0
    alpha = values[..., -1:].astype(np.float64) / opaque
    colours = np.divide(values[..., :-1], alpha, out=values[..., :-1].astype(np.float64), where=alpha != 0)
    if values.dtype == np.uint16:
        colours = np.clip(np.rint(colours), 0, opaque)
    return np.concatenate([colours.astype(values.dtype), values[..., -1:]], axis=2)


def encode(picture: Picture, compression: Compression = "fast") -> bytes:
    """A TIFF file of any picture, deflated unless the compression is "none", with its profile, EXIF and resolution."""
    array = np.ascontiguousarray(to_array(picture))
    options = layout_options(picture.info, picture.metadata)
    content: np.ndarray | Iterator[bytes] = array
    if compression == "none":
        options["predictor"] = False
    else:
        rows = max(1, STRIP * len(array) // array.nbytes)
        content = (_packed(array[top : top + rows], compression) for top in range(0, len(array), rows))
        options |= {"compression": "zlib", "rowsperstrip": rows}
    directories = exif_directories(picture.metadata)
    buffer = BytesIO()
    tifffile.imwrite(
        buffer, content, shape=array.shape, dtype=array.dtype, byteorder="<",
        metadata=None, extratags=exif_tags(picture.metadata, directories), **options,
    )  # fmt: skip
    append_directories(buffer, directories)
    return buffer.getvalue()


def _packed(strip: np.ndarray, compression: Compression) -> bytes:
    """A deflated strip. Integers are first replaced by their differences to the left: the tag Predictor says so."""
    if strip.dtype.kind == "u":
        strip = np.concatenate([strip[:, :1], strip[:, 1:] - strip[:, :-1]], axis=1)
    deflate = deflater(compression)
    return deflate.compress(strip.astype(strip.dtype.newbyteorder("<"), copy=False).data) + deflate.flush()
