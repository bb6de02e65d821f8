"""The image contract: what every reader gives and every writer takes. No file format is known here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))


class ImageError(ValueError):
    """A picture or a picture file that cannot be used. The message says why and what to do."""


@contextmanager
def naming(what: object) -> Iterator[None]:
    """Inside, an ImageError gets the name of the picture that it is about."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{what}: {error}") from error


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Inside, every error names the path. The decoders raise nearly any type on damaged files."""
    try:
        yield
    except MemoryError:
        raise
    except ImageError as error:
        raise ImageError(f"cannot read {path}: {error}") from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(
            f"cannot read {path}: it is truncated or damaged ({reason}): copy or export it again"
        ) from error


@dataclass(frozen=True)
class Metadata:
    """What a picture came with besides its pixels. Orientation is not in it: it has been applied to the pixels.

    Args:
        format: the kind of file, "png", "jpeg", "tiff", "webp" or "bmp"; "zarr" or "slide" of what is read by windows.
        icc: the ICC colour profile.
        exif: an EXIF block that starts with `Exif` and two zero bytes; its orientation, if any, is 1.
        dpi: horizontal and vertical resolution in pixels per inch.
    """

    format: str = "png"
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True)
class PictureInfo:
    """What a file says about its picture: sides in pixels as seen upright, colour channels without alpha, dtype."""

    height: int
    width: int
    channels: int  # 1 grey, 3 RGB
    has_alpha: bool
    dtype: np.dtype
    format: str  # as in Metadata


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels with straight (not premultiplied) alpha and what they came with.

    Args:
        pixels: (H, W, C), C is 1 (grey) or 3 (RGB), uint8, uint16 or float32. The dtype alone says the range: a
            dark 16-bit picture is 16-bit. Floats may be outside [0, 1] and non-finite.
        alpha: (H, W) of the same dtype, 0 is transparent and the dtype's maximum (1.0 of a float) opaque; or None.
        metadata: what came with the pixels.

    Raises:
        ImageError: for other shapes or dtypes, and for a side of 0.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        check_dtype(self.pixels.dtype)
        if self.pixels.ndim != 3 or self.pixels.shape[2] not in (1, 3) or 0 in self.pixels.shape:
            raise ImageError(
                f"pixels have the shape {self.pixels.shape}, allowed are (H, W, 1) and (H, W, 3) with sides of at "
                "least 1: use from_array for other arrays"
            )
        if self.alpha is None:
            return
        if self.alpha.shape != self.pixels.shape[:2] or self.alpha.dtype != self.pixels.dtype:
            raise ImageError(
                f"alpha is {self.alpha.dtype} of shape {self.alpha.shape}, the pixels need {self.pixels.dtype} of "
                f"shape {self.pixels.shape[:2]}: give both the same size and dtype"
            )

    @property
    def info(self) -> PictureInfo:
        height, width, channels = self.pixels.shape
        return PictureInfo(height, width, channels, self.alpha is not None, self.pixels.dtype, self.metadata.format)


def check_dtype(dtype: np.dtype) -> None:
    """Raise ImageError unless pictures can have this dtype."""
    if dtype not in DTYPES:
        raise ImageError(f"the values are {dtype}, allowed are uint8, uint16 and float32: convert them first")


def from_array(array: np.ndarray, metadata: Metadata | None = None) -> Picture:
    """A picture of an array (H, W), (H, W, 1), (H, W, 2) grey and alpha, (H, W, 3) RGB or (H, W, 4) RGBA.

    Args:
        array: uint8, uint16 or float32, straight alpha. The picture shares its memory.
        metadata: what the result shall carry.

    Raises:
        ImageError: for other shapes or dtypes.
    """
    stacked = array[..., None] if array.ndim == 2 else array
    if stacked.ndim != 3 or not 1 <= stacked.shape[2] <= 4:
        raise ImageError(
            f"the array has the shape {array.shape}, allowed are (H, W) and (H, W, 1 to 4): "
            "give one picture at a time, channels last"
        )
    has_alpha = stacked.shape[2] in (2, 4)
    pixels, alpha = (stacked[..., :-1], stacked[..., -1]) if has_alpha else (stacked, None)
    return Picture(pixels, alpha, metadata or Metadata())


def to_array(picture: Picture) -> np.ndarray:
    """The inverse of `from_array`: (H, W) for grey, (H, W, 2) grey and alpha, (H, W, 3) RGB, (H, W, 4) RGBA."""
    if picture.alpha is not None:
        return np.dstack([picture.pixels, picture.alpha])
    return picture.pixels[..., 0] if picture.pixels.shape[2] == 1 else picture.pixels


def turn_upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation, 1 to 8, to an array (H, W, ...) as it is stored; others leave it as it is."""
    turned = {
        2: lambda: array[:, ::-1],
        3: lambda: array[::-1, ::-1],
        4: lambda: array[::-1],
        5: lambda: array.swapaxes(0, 1),
        6: lambda: np.rot90(array, -1),
        7: lambda: array[::-1, ::-1].swapaxes(0, 1),
        8: lambda: np.rot90(array),
    }
    return np.ascontiguousarray(turned[orientation]()) if orientation in turned else array
