"""TIFF as a scan: 16-bit or float grey pages as slices, in units that the user declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from translate.data.intensity import IntensityRange
from translate.data.scan_output import UNITS, VolumeFileWriter, check_units
from translate.data.scans import Derivation, Scan, ScanError, ScanHeader, ScanWriter

MARK = "Research: AI-processed"
BLACK_IS_ZERO = 1
UPRIGHT = 1
READABLE = ("uint16", "int16", "float16", "float32", "float64")
ADOBE_DEFLATE = 8
LARGEST_TIFF = 2**32 - 2**25  # bytes; above, it is a BigTIFF
NOT_KEPT = frozenset(
    [
        *("ImageJ", "images", "slices", "frames", "channels", "hyperstack", "mode"),  # of the shape: written anew
        *("Ranges", "LUTs", "min", "max"),  # for display
        *("Info", "Labels", "ROI", "Overlays"),  # texts, and what somebody drew
    ]
)


@dataclass(frozen=True)
class TiffScan(Scan):
    """A TIFF of one page, or of several of one shape, which are slices in the order of the file (in time: ImageJ's T).

    Values are taken as they are stored. Resolution tags of a TIFF are about print, so the spacing is not known. Each
    `read` opens the file and decodes one page.
    """

    @classmethod
    def open(cls, path: Path, *, units: str | None, name: str | None = None) -> TiffScan:
        """Read the directories.

        Args:
            units: of the values, "HU", "SUV" or "stored".
            name: of the scan; None is the file's.

        Raises:
            ScanError: no units, or not grey pages of one shape with 16-bit or float values that can be decoded.
        """
        name = name or path.name
        if units is None:
            raise ScanError(f"{name}: a TIFF does not say its units: give --units, one of {', '.join(UNITS)}")
        check_units(units, name)
        with _open(path, name) as tif:
            series = _only_series(tif, name)
            _check_page(series.keyframe, name)
            if any(sum(extent) > tif.filehandle.size for extent in _extents(series)):
                raise ScanError(f"{name}: it is cut short, a part of its pixels is missing: copy it again")
            slices, (rows, columns), dtype = _slices(series), series.keyframe.shape[-2:], series.dtype
            over_time = "T" in series.axes
        header = ScanHeader(
            name=name,
            modality=UNITS[units],
            units=units,
            shape=(slices, rows, columns),
            slices_per_volume=1 if over_time else slices,
            storable=IntensityRange(*_limits(dtype), units) if dtype.kind in "iu" else None,
        )
        return cls(header, (path,))

    @property
    def suffix(self) -> str:
        return ".tif"

    def read(self, index: int) -> np.ndarray:
        rows, columns = self.header.shape[1:]
        with _open(self.files[0], self.header.name) as tif:
            series = _only_series(tif, self.header.name)
            if series.dataoffset is not None:  # pages without directories of their own, as ImageJ writes them
                dtype = series.dtype.newbyteorder(tif.byteorder)
                offset = series.dataoffset + index * rows * columns * dtype.itemsize
                stored = tif.filehandle.read_array(dtype, rows * columns, offset)
            else:
                stored = _decode(series.pages[index], f"{self.header.name}: its page {index + 1}")
        with np.errstate(over="ignore"):
            values = stored.reshape(rows, columns).astype(np.float32)
        if bad := int((~np.isfinite(values)).sum()):
            raise ScanError(
                f"{self.header.name}: {bad} values of slice {index + 1} are NaN, infinite or too large for float32: "
                "replace them first"
            )
        return values

    def writer(self, output: Path, derivation: Derivation) -> ScanWriter:
        """The same integers, or float32; the source's resolution, and its ImageJ properties without free texts."""
        with _open(self.files[0], self.header.name) as tif:
            series = _only_series(tif, self.header.name)
            page = series.keyframe
            kept: dict[str, Any] = {"resolution": page.resolution, "resolutionunit": page.resolutionunit}
            if page.compression != 1 and not tif.is_imagej:
                kept["compression"] = ADOBE_DEFLATE
            dtype = np.dtype(series.dtype.name if series.dtype.kind in "iu" else "float32")
            properties = {k: v for k, v in (tif.imagej_metadata or {}).items() if k not in NOT_KEPT}
            as_imagej = bool(tif.is_imagej) and dtype.name != "int16"  # which ImageJ does not know
        return TiffWriter(output, self.header, dtype, derivation, kept, properties if as_imagej else None)


class TiffWriter(VolumeFileWriter):
    """Pages of a TIFF, collected uncompressed and encoded at the end, one at a time."""

    def __init__(
        self,
        output: Path,
        header: ScanHeader,
        dtype: np.dtype,
        derivation: Derivation,
        kept: dict[str, Any],
        imagej: dict[str, Any] | None,
    ) -> None:
        if output.suffix.lower() not in (".tif", ".tiff"):
            raise ScanError(f"{output.name}: a TIFF is written as .tif or .tiff")
        super().__init__(output, header, dtype)
        self.description = f"{MARK} ({derivation.purpose}). {derivation.description}"
        self.kept = kept
        self.imagej = imagej

    def complete(self) -> None:
        size = int(np.prod(self.header.shape)) * self.dtype.itemsize
        texts: dict[str, Any] = {"description": _ascii(self.description), "metadata": None}
        if self.imagej is not None:
            axes = {"axes": "ZYX"} if self.header.shape[0] > 1 else {"axes": "YX"}
            texts = {"metadata": {**self.imagej, **axes, "Info": _ascii(self.description)}}
        shape = self.header.shape if self.header.shape[0] > 1 else self.header.shape[1:]
        options = {"imagej": True} if self.imagej is not None else {"bigtiff": size > LARGEST_TIFF}
        with tifffile.TiffWriter(self.finished, **options) as tif:
            tif.write(
                self._pages(),
                shape=shape,
                dtype=self.dtype,
                photometric="minisblack",
                software="translate",
                **texts,
                **self.kept,
            )

    def _pages(self) -> Iterator[np.ndarray]:
        shape = self.header.shape[1:]
        with open(self.aside, "rb") as file:
            for _ in range(self.header.shape[0]):
                yield np.fromfile(file, self.dtype, shape[0] * shape[1]).reshape(shape)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")


def _limits(dtype: np.dtype) -> tuple[float, float]:
    return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)


def _open(path: Path, name: str) -> tifffile.TiffFile:
    try:
        return tifffile.TiffFile(path)
    except FileNotFoundError:
        raise ScanError(f"{name}: there is no such file") from None
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise ScanError(f"{name}: it is no TIFF that can be read ({type(error).__name__})") from None


def _only_series(tif: tifffile.TiffFile, name: str) -> Any:
    if len(tif.series) != 1:
        raise ScanError(
            f"{name}: it holds {len(tif.series)} series of pages, allowed is one, of pages of one shape and type: "
            "save each as a file of its own"
        )
    series = tif.series[0]
    if len(series.shape) > 3 or "C" in series.axes:
        raise ScanError(
            f"{name}: its axes are {series.axes} of {series.shape}, allowed are slices, rows and columns: "
            "save each channel and each time as a file of its own"
        )
    return series


def _decode(page: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(page.asarray())
    except Exception as error:  # decoders raise anything for broken data
        raise ScanError(f"{name} cannot be decoded ({type(error).__name__}): copy it again") from None


def _slices(series: Any) -> int:
    return int(np.prod(series.shape)) // int(np.prod(series.keyframe.shape[-2:]))


def _extents(series: Any) -> Iterator[tuple[int, int]]:
    """Offset and length of all pieces of pixels."""
    if series.dataoffset is not None:
        yield series.dataoffset, series.nbytes
        return
    for page in series.pages:
        yield from zip(page.dataoffsets, page.databytecounts, strict=True)


def _check_page(page: tifffile.TiffPage, name: str) -> None:
    dtype = str(page.dtype)
    if page.photometric != BLACK_IS_ZERO or page.samplesperpixel != 1:
        kind = f"{tifffile.PHOTOMETRIC(page.photometric).name} with {page.samplesperpixel} channels"
        raise ScanError(f"{name}: its pixels are {kind}, allowed is grey where black is zero: convert it first")
    if dtype not in READABLE or page.bitspersample not in (16, 32, 64):
        raise ScanError(
            f"{name}: its values are {dtype} of {page.bitspersample} bits, allowed are {', '.join(READABLE)}: a scan "
            "in physical units needs more than 8 bits"
        )
    if page.imagedepth != 1 or page.tags.valueof(274, UPRIGHT) != UPRIGHT:
        raise ScanError(f"{name}: it has an orientation tag or is stored as blocks of depth: save it as plain pages")
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
        tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError:
        raise ScanError(
            f"{name}: it is compressed as {tifffile.COMPRESSION(page.compression).name}, which cannot be decoded: "
            "save it uncompressed or with deflate, or pip install imagecodecs"
        ) from None
