"""PNG: complete files only, 16 bits per channel, and a writer that keeps colour profile and EXIF.

Pillow reduces 16-bit colour to 8 bits and OpenCV drops the profile, so the chunks are handled here.
PNG (Third Edition), W3C Recommendation 2025, https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import BinaryIO

import cv2
import kornia_rs
import numpy as np

from translate.data import pil
from translate.data.packing import Compression, deflater
from translate.data.picture import ImageError, Picture, to_array
from translate.data.pil import Stored

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}  # IHDR's colour type -> channels and alpha
COLOUR_TYPES = {samples: kind for kind, samples in SAMPLES.items()}
PLAIN = {0: "mono", 2: "rgb", 6: "rgba"}  # IHDR's colour type -> kornia_rs' name
BAND = 64  # rows filtered at once: small enough for the processor's cache
UP = 2  # the number of a filter
PIECE = 2**28  # bytes of one IDAT chunk, the format allows up to 2**31 - 1
METRES_PER_INCH = 0.0254


def inspect(file: BinaryIO) -> Stored:
    """Read the header and the chunks around the pixels, not the pixels."""
    small: dict[bytes, bytes] = {}
    for name, start, length in chunks(file):
        if name in (b"IHDR", b"eXIf", b"tRNS"):
            file.seek(start)
            small.setdefault(name, file.read(length))
    file.seek(0)
    image = pil.open_pillow(file, "png")
    if "Raw profile type exif" not in image.info:
        image.info["exif"] = small.get(b"eXIf", b"")  # or Pillow decodes the picture to look for it behind the pixels
    stored = pil.describe(image, "png")
    if not is_deep(small[b"IHDR"]):
        return stored
    samples = SAMPLES[small[b"IHDR"][9]]
    channels, has_alpha = (samples + 1) // 2 * 2 - 1, samples % 2 == 0 or b"tRNS" in small
    return replace(stored, info=replace(stored.info, channels=channels, has_alpha=has_alpha, dtype=np.dtype(np.uint16)))


def decode(data: bytes) -> np.ndarray:
    """The values as stored: (H, W, channels and alpha), uint8 or uint16 at 16 bits per channel.

    Raises:
        ImageError: if any part is missing or damaged.
    """
    found = complete_chunks(data)
    header = data[slice(*found[b"IHDR"][0])]
    # Only what makes the pixels: libpng would print warnings about others, and act on some.
    needed = [data[start - 8 : stop + 4] for name in (b"IHDR", b"IDAT", b"IEND") for start, stop in found[name]]
    pixels = SIGNATURE + b"".join(needed)
    if not is_deep(header):
        plain = None if b"tRNS" in found else _decode_plain(pixels, header)
        return pil.decode(pil.open_pillow(BytesIO(data), "png")) if plain is None else plain
    decoded = cv2.imdecode(np.frombuffer(pixels, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ImageError("its compressed pixels are damaged: copy or export it again")
    order = {0: [0], 2: [2, 1, 0], 4: [0, 3], 6: [2, 1, 0, 3]}[header[9]]  # OpenCV gives BGR, and BGRA for grey + alpha
    values = decoded.reshape(*decoded.shape[:2], -1)[..., order]
    if b"tRNS" in found and header[9] in (0, 2):
        transparent = np.frombuffer(data[slice(*found[b"tRNS"][0])], ">u2")[: values.shape[2]]
        alpha = np.where((values == transparent).all(axis=2), 0, 65535).astype(np.uint16)
        values = np.dstack([values, alpha])
    return values


def _decode_plain(data: bytes, header: bytes) -> np.ndarray | None:
    """(H, W, 1, 3 or 4) uint8, in half of Pillow's time; None for what Pillow must read, or say what is wrong with."""
    width, height, depth, kind = struct.unpack(">IIBB", header[:10])
    if depth != 8 or kind not in PLAIN:
        return None
    try:
        return kornia_rs.io.decode_image_png_u8(data, (height, width), PLAIN[kind])
    except Exception:  # of no type of its own
        return None


def is_deep(header: bytes) -> bool:
    """Whether this IHDR has 16 bits per channel."""
    return header[8] == 16


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length in bytes of each chunk, up to the last one that starts within the file."""
    position = len(SIGNATURE)
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        length, name = struct.unpack(">I4s", head)
        yield name, position + 8, length
        position += length + 12
        if name == b"IEND":
            return


def complete_chunks(data: bytes) -> dict[bytes, list[tuple[int, int]]]:
    """Where the content of each chunk starts and stops, by name.

    Raises:
        ImageError: if a chunk is cut off, has a wrong checksum, or IHDR, IDAT or IEND is missing.
    """
    found: dict[bytes, list[tuple[int, int]]] = {}
    view = memoryview(data)
    for name, start, length in chunks(BytesIO(data)):
        stop = start + length
        if view[stop : stop + 4] != struct.pack(">I", zlib.crc32(view[start - 4 : stop])):
            part = name.decode("latin-1")
            raise ImageError(f"it is truncated or damaged in its part {part!r}: copy or export it again")
        found.setdefault(name, []).append((start, stop))
    if missing := [name.decode() for name in (b"IHDR", b"IDAT", b"IEND") if name not in found]:
        raise ImageError(f"it is truncated, the parts {missing} are missing: copy or export it again")
    return found


def encode(picture: Picture, compression: Compression = "fast") -> bytes:
    """A PNG file of a uint8 or uint16 picture, grey or RGB, with or without alpha.

    By default 3 times as fast as OpenCV and files of the same size; "small" is as slow and as small as Pillow's, files
    7 to 20 % smaller.
    """
    array, metadata = to_array(picture), picture.metadata
    height, width = array.shape[:2]
    kind = COLOUR_TYPES[array.size // (height * width)]
    parts = [SIGNATURE, chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * array.itemsize, kind, 0, 0, 0))]
    if metadata.icc is not None:
        parts.append(chunk(b"iCCP", b"icc\0\0" + zlib.compress(metadata.icc)))
    if metadata.dpi is not None:
        per_metre = (round(value / METRES_PER_INCH) for value in metadata.dpi)
        parts.append(chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if metadata.exif is not None:
        parts.append(chunk(b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")))
    pixels = compress(array, compression)
    parts += [chunk(b"IDAT", pixels[start : start + PIECE]) for start in range(0, len(pixels), PIECE)]
    return b"".join([*parts, chunk(b"IEND", b"")])


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))


def compress(array: np.ndarray, compression: Compression) -> bytes:
    """Filter and deflate. Fast: each byte minus the one above it. Small: by the best filter."""
    height, width = array.shape[:2]
    step = array.size // (height * width) * array.itemsize  # bytes from a pixel to the next
    deflate = deflater(compression)
    above = np.zeros((1, width * step), np.uint8)
    out = []
    for top in range(0, height, BAND):
        band = np.ascontiguousarray(array[top : top + BAND], dtype=array.dtype.newbyteorder(">"))
        rows = band.view(np.uint8).reshape(len(band), -1)
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        if compression == "small":
            _filter_best(rows, np.concatenate([above, rows[:-1]]), step, filtered)
        else:
            filtered[:, 0] = UP
            np.subtract(rows[:1], above, out=filtered[:1, 1:])
            np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        out.append(deflate.compress(filtered.data))
        above = rows[-1:]
    return b"".join([*out, deflate.flush()])


def _filter_best(rows: np.ndarray, upper: np.ndarray, step: int, out: np.ndarray) -> None:
    """Each row by that of the five filters which has the smallest sum of absolute values, as the standard advises."""
    left, corner = np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:], corner[:, step:] = rows[:, :-step], upper[:, :-step]
    average = (left & upper) + ((left ^ upper) >> 1)
    filtered = np.stack([rows, rows - left, rows - upper, rows - average, rows - _paeth(left, upper, corner)])
    out[:, 0] = np.abs(filtered.view(np.int8).astype(np.int16)).sum(axis=2).argmin(axis=0)
    out[:, 1:] = filtered[out[:, 0], np.arange(len(rows))]


def _paeth(left: np.ndarray, upper: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Whichever of the three is nearest to left + upper - corner; of equals the first."""
    a, b, c = (values.astype(np.int16) for values in (left, upper, corner))
    to_left, to_upper, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where(to_upper <= to_corner, upper, corner)
    return np.where((to_left <= to_upper) & (to_left <= to_corner), left, nearest)
