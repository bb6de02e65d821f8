"""NIfTI volumes, .nii and .nii.gz, by nibabel: read slice by slice, written as float32.

NIfTI does not say what its values mean, so the user declares the units or has them as "stored".
"""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from types import ModuleType
from typing import Any

import numpy as np

from translate.data.scan_output import UNITS, VolumeFileWriter, check_units
from translate.data.scans import Derivation, Scan, ScanError, ScanHeader, ScanWriter

SUFFIXES = (".nii.gz", ".nii")
MILLIMETRES = {"mm": 1.0, "meter": 1e3, "micron": 1e-3, "unknown": 1.0}
MARK = b"translate: research only, AI-processed"
SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT
FAST = 1  # gzip: noise in floats hardly shrinks further, and takes several times longer


@dataclass(frozen=True)
class NiftiVolume(Scan):
    """A volume (x, y, z), or volumes over time (x, y, z, t), whose slices come z first and then t.

    A slice has y as rows and x as columns. Values are slope * stored + intercept, rounded to float32 once. A .nii is
    mapped into memory. A .nii.gz cannot be read from its middle: its first slice decompresses it into a temporary
    file without a name, which takes its full size on disk and is kept for the two volumes that were used last.
    """

    @classmethod
    def open(cls, path: Path, *, units: str | None = None, name: str | None = None) -> NiftiVolume:
        """Read the header.

        Args:
            units: of the values, "HU", "SUV" or "stored"; None is "stored".
            name: of the scan; None is the file's.

        Raises:
            ScanError: it is no NIfTI, has other than 3 or 4 dimensions, colours or complex values, or is cut short.
        """
        name = name or path.name
        check_units(units or "stored", name)
        image = _load(path, name)
        _check_kind(image, path, name)
        warnings = []
        unit, _ = image.header.get_xyzt_units()
        if unit == "unknown":
            warnings.append("it does not say the unit of its voxel size: millimetres are assumed")
        if image.header.extensions:
            warnings.append(
                f"its {len(image.header.extensions)} header extensions are not copied to what is derived of it: they "
                "describe this image only, and may identify a person"
            )
        return cls(_scan_header(image, name, units or "stored"), (path,), tuple(warnings))

    @property
    def suffix(self) -> str:
        return ".nii.gz" if self.files[0].name.lower().endswith(".gz") else ".nii"

    def read(self, index: int) -> np.ndarray:
        stamp = self.files[0].stat()
        volume = _open_volume(self.files[0], self.header.name, stamp.st_mtime_ns)
        values = volume.stored[:, :, index].T.astype(np.float64)
        with np.errstate(over="ignore"):
            scaled = (values * volume.slope + volume.intercept).astype(np.float32)
        if bad := int((~np.isfinite(scaled)).sum()):
            raise ScanError(
                f"{self.header.name}: {bad} values of slice {index + 1} are NaN, infinite or too large for float32: "
                "replace them first, with 0 or with the value of air"
            )
        return np.ascontiguousarray(scaled)

    def writer(self, output: Path, derivation: Derivation) -> ScanWriter:
        """float32; the source's header without its slope, extensions and description.

        The name in `output` decides about compression, and is the user's to choose.
        """
        header = _load(self.files[0], self.header.name).header
        if derivation.synthetic:
            header["cal_min"] = header["cal_max"] = 0  # the window of another modality
        return NiftiWriter(output, self.header, header)


class NiftiWriter(VolumeFileWriter):
    """A float32 NIfTI with a given header: dimensions, affines and their codes, units and zooms stay."""

    def __init__(self, output: Path, scan: ScanHeader, header: Any) -> None:
        if not output.name.lower().endswith(SUFFIXES):
            raise ScanError(f"{output.name}: a NIfTI is written as .nii.gz or .nii")
        header = header.copy()
        header.extensions.clear()
        header.set_data_dtype(np.float32)
        header["scl_slope"] = header["scl_inter"] = 0  # a slope of 0 means that values are as they are
        header["descrip"] = MARK
        for text in {"aux_file", "db_name"} & set(header.keys()):
            header[text] = b""  # free texts of the source: nobody knows what they hold
        header["vox_offset"] = header.single_vox_offset
        self.nifti = header
        super().__init__(output, scan, header.get_data_dtype(), header.single_vox_offset)

    def complete(self) -> None:
        with open(self.aside, "r+b") as file:
            self.nifti.write_to(file)
        if self.output.suffix.lower() != ".gz":
            os.rename(self.aside, self.finished)
            return
        with (
            open(self.aside, "rb") as plain,
            open(self.finished, "wb") as packed,
            # Neither the name of the temporary file nor the time: the same values make the same file.
            gzip.GzipFile("", "wb", FAST, packed, mtime=0) as stream,
        ):
            shutil.copyfileobj(plain, stream, 1 << 20)


class VolumeWriter(NiftiWriter):
    """A new float32 NIfTI in millimetres of a scan of any kind, for what is computed of it.

    Args:
        header: its affine gives the geometry; 4-D if `slices_per_volume` is fewer than all slices.
        description: of what the values are; the file's `descrip` has its first 39 characters behind our mark.
    """

    def __init__(self, output: Path, header: ScanHeader, description: str) -> None:
        nibabel = _nibabel()
        slices, rows, columns = header.shape
        if slices % header.slices_per_volume:
            raise ScanError(
                f"{header.name}: {slices} slices are not whole volumes of {header.slices_per_volume}: "
                "a volume in time is incomplete"
            )
        volumes = slices // header.slices_per_volume
        nifti = nibabel.Nifti1Header()
        nifti.set_data_shape((columns, rows, header.slices_per_volume, *([volumes] if volumes > 1 else [])))
        nifti.set_xyzt_units("mm", "sec" if volumes > 1 else None)
        _set_geometry(nifti, header.affine)
        super().__init__(output, header, nifti)
        self.nifti["descrip"] = (MARK + b"; " + description.encode("ascii", "replace"))[:79]


@dataclass(frozen=True)
class _Volume:
    """Stored values (x, y, slice), mapped from a file, and what they mean."""

    stored: np.ndarray
    slope: float
    intercept: float


@lru_cache(maxsize=2)
def _open_volume(path: Path, name: str, changed: int) -> _Volume:
    """`changed` is when the file was: an overwritten file is not the one that is mapped."""
    proxy = _load(path, name).dataobj
    shape = (*proxy.shape[:2], int(np.prod(proxy.shape[2:])))
    if path.suffix.lower() != ".gz":
        stored = np.memmap(path, proxy.dtype, "r", proxy.offset, shape, "F")
        return _Volume(stored, proxy.slope, proxy.inter)
    with TemporaryFile() as file:  # the mapping outlives the name and the handle
        try:
            with gzip.open(path) as packed:
                shutil.copyfileobj(packed, file, 1 << 20)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ScanError(f"{name}: its compressed data is damaged ({error}): copy it again") from None
        file.flush()
        if file.tell() < proxy.offset + proxy.dtype.itemsize * int(np.prod(proxy.shape)):
            raise _cut_short(name)
        stored = np.memmap(file, proxy.dtype, "r", proxy.offset, shape, "F")
    return _Volume(stored, proxy.slope, proxy.inter)


def _nibabel() -> ModuleType:
    try:
        import nibabel
    except ImportError:
        raise ScanError(
            'NIfTI files need nibabel, which is not installed: pip install "translate-images[medical]"'
        ) from None
    return nibabel


def _load(path: Path, name: str) -> Any:
    """A nibabel image whose pixels are not read."""
    nibabel = _nibabel()
    try:
        image = nibabel.load(path)
    except FileNotFoundError:
        raise ScanError(f"{name}: there is no such file") from None
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        raise ScanError(f"{name}: it is no NIfTI file that can be read: {type(error).__name__}") from None
    if not isinstance(image, nibabel.Nifti1Image):  # CIFTI-2 is another class
        raise ScanError(f"{name}: it holds a {type(image).__name__}, allowed are volumes in NIfTI-1 and NIfTI-2")
    try:
        image.header.get_xyzt_units()
    except KeyError:
        raise ScanError(f"{name}: it is no NIfTI file that can be read: its units of length and time") from None
    return image


def _check_kind(image: Any, path: Path, name: str) -> None:
    dtype, shape = image.get_data_dtype(), image.shape
    if dtype.kind not in "iuf":
        kind = "colours" if dtype.names else f"values of type {dtype.name}"
        raise ScanError(f"{name}: it holds {kind}, allowed are real numbers in one channel: convert it first")
    if len(shape) not in (3, 4) or 0 in shape:
        raise ScanError(
            f"{name}: its shape is {tuple(shape)}, allowed are 3 dimensions (x, y, z) and 4 (x, y, z, time): "
            "extract what you need"
        )
    size = image.dataobj.offset + dtype.itemsize * int(np.prod(shape))
    if path.suffix.lower() != ".gz" and path.stat().st_size < size:
        raise _cut_short(name)


def _cut_short(name: str) -> ScanError:
    return ScanError(f"{name}: it is cut short, a part of its values is missing: copy it again")


def _scan_header(image: Any, name: str, units: str) -> ScanHeader:
    columns, rows, per_volume, *volumes = image.shape
    factor = MILLIMETRES[image.header.get_xyzt_units()[0]]
    affine = np.array(image.affine, np.float64)
    affine[:3] *= factor
    spacing = [float(zoom) * factor for zoom in image.header.get_zooms()[2::-1]]
    return ScanHeader(
        name=name,
        modality=UNITS[units],
        units=units,
        shape=(per_volume * int(np.prod(volumes, dtype=int)), rows, columns),
        slices_per_volume=per_volume,
        spacing=tuple(side if np.isfinite(side) and side > 0 else None for side in spacing),  # type: ignore[arg-type]
        affine=affine,
    )


def _set_geometry(nifti: Any, affine: np.ndarray) -> None:
    """Both affines; of a sheared one (tilted gantry) only sform, since qform can rotate and scale only."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    nifti.set_zooms([*np.where(sides > 0, sides, 1), 1.0][: len(nifti.get_data_shape())])
    nifti.set_sform(affine, SCANNER)
    directions = affine[:3, :3] / np.where(sides > 0, sides, 1)
    if np.allclose(directions.T @ directions, np.eye(3), atol=1e-4):
        nifti.set_qform(affine, SCANNER)
