"""How hard lossless files are packed: a trade of time for bytes, never of values."""

from __future__ import annotations

import zlib
from typing import Literal, Protocol, get_args

from isal import isal_zlib

Compression = Literal["fast", "small", "none"]
COMPRESSIONS: tuple[str, ...] = get_args(Compression)
TAKES: dict[str, tuple[str, ...]] = {  # format -> the compressions that it has; others are written as with "fast"
    "png": ("fast", "small"),
    "tiff": ("fast", "small", "none"),
    "webp": ("fast", "small"),
    "jpeg": ("fast",),
    "bmp": ("fast",),
}


class Deflater(Protocol):
    """A zlib stream (RFC 1950) in the making: what `compress` and then `flush` give, one behind the other."""

    def compress(self, data: memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


def deflater(compression: Compression) -> Deflater:
    """ISA-L's fast deflate, or for "small" zlib as libpng sets it up for filtered pixels: 15 times as long."""
    if compression == "small":
        return zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    return isal_zlib.compressobj(2)
