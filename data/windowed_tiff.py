"""TIFF by windows: classic and BigTIFF, tiled and in strips, OME-TIFF, and the full resolution of pyramids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from translate.data import tiff
from translate.data.picture import ImageError, Metadata, PictureInfo, reading, turn_upright
from translate.data.windows import LARGE, Tiles, WindowReader, dpi_of

COLOUR_CHANNELS = (1, 3)
JPEG = (6, 7)  # compressions
ROWS_AT_ONCE = 64  # of pixels that are not compressed and lie one after another
MICROMETRES = {"nm": 1e-3, "µm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}  # of OME's units


class TiffImage(WindowReader):
    """A TIFF whose strips or tiles are decoded when a window needs them.

    As `read_picture`, save for JPEG inside (another decoder) and for OME's three grey planes, which become RGB.
    A tile that was never written is 0, or the file's own no-data value.
    """

    def __init__(self, path: Path) -> None:
        with reading(path):
            self._tif = tifffile.TiffFile(path)
            try:
                planes = _planes(self._tif)
                page = self._page = planes[0].keyframe
                _check(page, planes)
                orientation, metadata = tiff.describe(page, self._tif.filehandle)
                if self._tif.is_ome:
                    metadata = Metadata("tiff", metadata.icc, metadata.exif, _ome_dpi(self._tif) or metadata.dpi)
                self._orientation = orientation
                self._tiles = _tiles(page, planes)
            except BaseException:
                self._tif.close()
                raise
        super().__init__(path, _info(page, len(planes), orientation), metadata)

    def close(self) -> None:
        self._tif.close()

    def _values(self, rows: slice, columns: slice) -> np.ndarray:
        height, width = self._tiles.shape[:2]
        if self._orientation >= 5:
            rows, columns = columns, rows
        if self._orientation in (3, 4, 6, 7):
            rows = slice(height - rows.stop, height - rows.start)
        if self._orientation in (2, 3, 7, 8):
            columns = slice(width - columns.stop, width - columns.start)
        return turn_upright(_finished(self._page, self._tiles.window(rows, columns)), self._orientation)


def _planes(tif: tifffile.TiffFile) -> list[tifffile.TiffPage | tifffile.TiffFrame]:
    """The pages that make the picture in full resolution: one, or OME's three channels."""
    if len(tif.pages) == 0:
        raise ImageError("it is truncated, its directory is missing: copy or export it again")
    if tif.is_ome:
        return _ome_planes(tif)
    several = any(index and not page.is_reduced for index, page in enumerate(tif.pages))
    images = (tif.imagej_metadata or {}).get("images", 1) * tif.pages[0].imagedepth
    if several or images > 1:
        raise ImageError(
            f"it holds {max(len(tif.pages), images)} pages, allowed is one, with smaller versions of it that are "
            "marked as such (NewSubfileType 1): save each as a file of its own"
        )
    return [tif.pages[0]]


def _ome_planes(tif: tifffile.TiffFile) -> list[tifffile.TiffPage | tifffile.TiffFrame]:
    if len(tif.series) != 1:
        raise ImageError(f"it holds {len(tif.series)} images, allowed is one: save each as an OME-TIFF of its own")
    level = tif.series[0].levels[0]
    sides = dict(zip(level.axes, level.shape, strict=True))
    channels = sides.get("C", 1)
    several = {axis: side for axis, side in sides.items() if axis not in "YXSC" and side > 1}
    if several or channels not in COLOUR_CHANNELS or (channels > 1 and "S" in sides):
        told = ", ".join(f"{axis} {side}" for axis, side in sides.items())
        raise ImageError(
            f"its axes are {told}, allowed are one Z and T, and 1 or 3 channels: save the plane and the channels "
            "that are wanted as an OME-TIFF of their own"
        )
    planes = list(level.pages)
    if None in planes:
        raise ImageError("one of its planes is missing: copy its other files beside it, or export it again")
    return planes


def _check(page: tifffile.TiffPage, planes: Sequence[tifffile.TiffPage | tifffile.TiffFrame]) -> None:
    """Raise ImageError for pixels that are missing, and for kinds of pixels that are not read."""
    tiff.check_tags(page, page.parent.filehandle)
    tiff.check_kind(page)
    tiff.has_alpha(page)
    blocks = math.prod(_grid(page)) * (page.samplesperpixel if page.planarconfig == 2 else 1)
    for plane in planes:
        extents = list(zip(plane.dataoffsets, plane.databytecounts, strict=True))
        end = plane.parent.filehandle.size
        if len(extents) < blocks or any(start + count > end for start, count in extents):
            raise ImageError("it is truncated, a part of its pixels is missing: copy or export it again")
    name = {known.value: known.name for known in tifffile.COMPRESSION}.get(page.compression, str(page.compression))
    if page.compression not in tifffile.TIFF.DECOMPRESSORS or page.predictor not in tifffile.TIFF.UNPREDICTORS:
        raise ImageError(
            f"it is compressed as {name} with predictor {page.predictor}, which needs imagecodecs: {LARGE}"
        )
    subsampled = page.photometric == tiff.YCBCR and page.compression not in JPEG
    if subsampled or page.bitspersample not in (1, 8, 16, 32, 64):
        raise ImageError(
            f"its pixels are {tifffile.PHOTOMETRIC(page.photometric).name} of {page.bitspersample} bits, compressed as "
            f"{name}, which is not read by windows: save it as grey or RGB of 8 or 16 bits"
        )


def _info(page: tifffile.TiffPage, planes: int, orientation: int) -> PictureInfo:
    alpha = tiff.has_alpha(page)
    channels = 3 if page.photometric == tiff.PALETTE else planes * (page.samplesperpixel - alpha)
    sides = (page.imagelength, page.imagewidth)
    height, width = sides[::-1] if orientation >= 5 else sides
    return PictureInfo(height, width, channels, alpha, np.dtype(tiff.READ_AS[str(page.dtype)]), "tiff")


def _grid(page: tifffile.TiffPage) -> tuple[int, int]:
    """Rows and columns of tiles or strips."""
    height, width = _side(page)
    return -(-page.imagelength // height), -(-page.imagewidth // width)


def _side(page: tifffile.TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _tiles(page: tifffile.TiffPage, planes: Sequence[tifffile.TiffPage | tifffile.TiffFrame]) -> Tiles:
    shape = (page.imagelength, page.imagewidth, len(planes) * page.samplesperpixel)
    apart = page.planarconfig == 2 and page.samplesperpixel > 1
    if not page.is_tiled and page.is_final and all(_in_one_run(page, plane) for plane in planes):
        parts = page.samplesperpixel if apart else 1

        def load_rows(row: int, column: int) -> np.ndarray:
            return np.concatenate([_rows(page, plane, row, part) for plane in planes for part in range(parts)], axis=2)

        return Tiles(shape, (ROWS_AT_ONCE, page.imagewidth), page.dtype, load_rows)
    grid = _grid(page)
    starts = [part * math.prod(grid) for part in range(page.samplesperpixel if apart else 1)]

    def load_blocks(row: int, column: int) -> np.ndarray:
        index = row * grid[1] + column
        return np.concatenate([_block(page, plane, start + index) for plane in planes for start in starts], axis=2)

    return Tiles(shape, _side(page), page.dtype, load_blocks)


def _in_one_run(page: tifffile.TiffPage, plane: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    """Whether all strips are there and lie one after another."""
    ends = [start + count for start, count in zip(plane.dataoffsets, plane.databytecounts, strict=True)]
    return sum(plane.databytecounts) == page.nbytes and ends[:-1] == list(plane.dataoffsets[1:])


def _rows(page: tifffile.TiffPage, plane: tifffile.TiffPage | tifffile.TiffFrame, row: int, part: int) -> np.ndarray:
    """The `row`-th ROWS_AT_ONCE rows of pixels that are not compressed, and of one sample where those lie apart."""
    samples = 1 if page.planarconfig == 2 else page.samplesperpixel
    first = row * ROWS_AT_ONCE
    count = min(ROWS_AT_ONCE, page.imagelength - first)
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    before = (part * page.imagelength + first) * page.imagewidth * samples
    offset = plane.dataoffsets[0] + before * dtype.itemsize
    values = plane.parent.filehandle.read_array(dtype, count * page.imagewidth * samples, offset)
    return values.reshape(count, page.imagewidth, samples)


def _block(page: tifffile.TiffPage, plane: tifffile.TiffPage | tifffile.TiffFrame, index: int) -> np.ndarray:
    """A decoded tile or strip, (H, W, samples) in its full size."""
    count = plane.databytecounts[index]
    data = None
    if count:
        plane.parent.filehandle.seek(plane.dataoffsets[index])
        data = plane.parent.filehandle.read(count)
    tables = {"jpegtables": plane.jpegtables, "jpegheader": page.jpegheader}
    values, _, shape = page.decode(data, index, **tables, _fullsize=True)
    return np.full(shape, page.nodata, page.dtype)[0] if values is None else values[0]


def _finished(page: tifffile.TiffPage, values: np.ndarray) -> np.ndarray:
    """(H, W, samples) as stored to the values of a picture."""
    if page.photometric == tiff.PALETTE:
        return (page.colormap[:, values[..., 0]] // 256).astype(np.uint8).transpose(1, 2, 0)
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if page.photometric == tiff.WHITE_IS_ZERO:
        values[..., 0] = np.iinfo(values.dtype).max - values[..., 0]
    with np.errstate(over="ignore"):
        values = values.astype(tiff.READ_AS[str(values.dtype)], copy=False)
    if page.extrasamples[:1] != (tiff.ASSOCIATED,):
        return values
    return _straight_bytes(values) if values.dtype == np.uint8 else tiff.straight(values)


def _straight_bytes(values: np.ndarray) -> np.ndarray:
    """Divide the colours by the alpha behind them, as Pillow does: rounded down, and black under alpha 0."""
    alpha = values[..., -1:].astype(np.int32)
    colours = np.minimum(values[..., :-1].astype(np.int32) * 255 // np.maximum(alpha, 1), 255)
    return np.concatenate([np.where(alpha == 0, 0, colours).astype(np.uint8), values[..., -1:]], axis=2)


def _ome_dpi(tif: tifffile.TiffFile) -> tuple[float, float] | None:
    """The resolution from PhysicalSizeX and PhysicalSizeY, whose unit is the micrometre where none is given."""
    pixels = ElementTree.fromstring(tif.ome_metadata).find(".//{*}Pixels")
    spacing = []
    for axis in "XY":
        size = None if pixels is None else pixels.get(f"PhysicalSize{axis}")
        unit = MICROMETRES.get("µm" if pixels is None else pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if size is None or unit is None:
            return None
        spacing.append(float(size) * unit)
    return dpi_of((spacing[0], spacing[1]))
