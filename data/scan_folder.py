"""Finding scans: what is in a file or a folder, whatever the files are called and however they are mixed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translate.data.dicom_magic import is_dicom
from translate.data.scans import Scan, ScanError

if TYPE_CHECKING:
    from translate.data.dicom_geometry import Allowed
    from translate.data.dicom_slice import Slice

logger = logging.getLogger(__name__)
NIFTI = (".nii", ".nii.gz")
TIFF = (".tif", ".tiff")
DICOM = (".dcm", ".dicom", ".ima")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", *TIFF)  # not opened in search of DICOM
DICOM_DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage


@dataclass(frozen=True)
class Survey:
    """What a folder holds.

    Args:
        scans: all that can be used, sorted by name.
        problems: why others cannot be used, by the name that the scan would have, or by the file.
        ignored: number of files that are no scans.
    """

    scans: list[Scan]
    problems: dict[str, ScanError]
    ignored: int = 0


def find_scans(path: Path, *, allow: frozenset[Allowed] = frozenset(), units: str | None = None) -> list[Scan]:
    """The usable scans of a file or folder, sorted by name; problems of others in a folder are logged.

    Raises:
        ScanError: there is none. With one problem it is that problem.
    """
    found = survey(path, allow=allow, units=units)
    if not found.scans and len(found.problems) == 1:
        raise next(iter(found.problems.values()))
    if not found.scans and found.problems:
        raise ScanError("\n".join(dict.fromkeys(str(problem) for problem in found.problems.values())))
    if not found.scans:
        raise ScanError(
            f"{path} holds no scans, {found.ignored} other files were passed over: give DICOM or NIfTI files"
            + ("" if units else ", or TIFF files with --units")
        )
    for problem in found.problems.values():
        logger.warning("%s", problem)
    return found.scans


def survey(path: Path, *, allow: frozenset[Allowed] = frozenset(), units: str | None = None) -> Survey:
    """Find and check everything, decode nothing.

    A folder is searched with all below it, without hidden files. DICOM files are put together by series, wherever they
    lie; a scan is called after the folder that holds it (FOLDER/series-1 and so on where that holds several), NIfTI
    and TIFF files after themselves. A file is one scan, also where it is a part of a series.

    Args:
        allow: what is read although it is not as it should be.
        units: of files that do not say it; TIFF files count as scans only where this is given.

    Raises:
        ScanError: `path` does not exist.
    """
    if not path.exists():
        raise ScanError(f"{path} does not exist: give a file or a folder of scans")
    search = _Search(path, allow, units)
    files = _files(path, search.refuse_folder) if path.is_dir() else [path]
    for file in files:
        search.add(file)
    found = search.finish()
    if found.ignored and path.is_dir():
        logger.info("%d files in %s are no scans and were passed over", found.ignored, path)
    return found


def holds_scans(path: Path) -> bool:
    """Whether a file is, or a folder holds, DICOM or NIfTI. Opens files until the first is found."""
    files = _files(path) if path.is_dir() else [path]
    for file in files:
        try:
            if _is_nifti(file) or (not file.name.lower().endswith(PICTURES) and is_dicom(file)):
                return True
        except OSError:  # whoever reads it will say so
            continue
    return False


def _may_be_dicom(path: Path) -> bool:
    try:
        return is_dicom(path)
    except OSError as error:
        raise ScanError(f"{path}: cannot be opened: {error.strerror}") from error


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(NIFTI)


def _files(root: Path, on_error: Callable[[OSError], object] = lambda error: None) -> Iterator[Path]:
    """All files below, in order, none hidden; those of a linked folder too, but none twice.

    Args:
        on_error: told of folders that cannot be opened.
    """
    top = root.resolve()
    known = {top}
    for folder, folders, names in os.walk(root, onerror=on_error, followlinks=True):
        shown = [name for name in sorted(folders) if not name.startswith(".")]
        folders[:] = [name for name in shown if _is_new(Path(folder, name), top, known)]
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _is_new(folder: Path, root: Path, known: set[Path]) -> bool:
    """Whether a folder was not there before, and note it. A link into the tree, or to what holds it, is not new."""
    place = folder.resolve()
    if place in known or (folder.is_symlink() and (root in place.parents or place in root.parents)):
        return False
    known.add(place)
    return True


def _without_suffix(name: str) -> str:
    known = (*NIFTI, *TIFF, *DICOM)
    found = max((suffix for suffix in known if name.lower().endswith(suffix)), key=len, default="")
    return name.removesuffix(name[len(name) - len(found) :]) if found else name


@dataclass
class _Search:
    """What was found so far. Of a DICOM file only its `Slice` is kept."""

    root: Path
    allow: frozenset[Allowed]
    units: str | None
    series: dict[str, list[Slice]] = field(default_factory=dict)  # by Series Instance UID
    places: dict[str, list[Path]] = field(default_factory=dict)  # all files of a series, with those that have problems
    broken: dict[str, ScanError] = field(default_factory=dict)  # the first problem of a series
    found: list[tuple[str, Scan | ScanError]] = field(default_factory=list)
    ignored: int = 0

    def add(self, file: Path) -> None:
        name = self._name(file)
        try:
            if _is_nifti(file):
                from translate.data.nifti import NiftiVolume

                self.found.append((name, NiftiVolume.open(file, units=self.units)))
            elif self.units is not None and file.name.lower().endswith(TIFF):
                from translate.data.tiff_scan import TiffScan

                self.found.append((name, TiffScan.open(file, units=self.units)))
            elif file == self.root or not file.name.lower().endswith(PICTURES):
                self._add_dicom(file)
            else:
                self.ignored += 1
        except ScanError as problem:
            self.found.append((name, problem))

    def _add_dicom(self, file: Path) -> None:
        if not _may_be_dicom(file):
            if not file.name.lower().endswith(DICOM):
                self.ignored += 1
                return
            raise ScanError(f"{file}: is no DICOM file, whatever it is called: remove it, or copy it again")
        from translate.data.dicom_file import is_multiframe, read_header
        from translate.data.dicom_multiframe import open_multiframe
        from translate.data.dicom_slice import slice_of_header

        header = read_header(file)
        kind = header.dataset.file_meta.get("MediaStorageSOPClassUID") or header.dataset.get("SOPClassUID")
        if kind == DICOM_DIRECTORY or ("Rows" not in header.dataset and file != self.root):
            self.ignored += 1  # reports, structures, plans
            return
        if is_multiframe(header.dataset):
            name = self._name(file)
            self.found.append((name, open_multiframe(file, header, name, allow=self.allow, units=self.units)))
            return
        series = _series_of(header.dataset, file)
        self.places.setdefault(series, []).append(file)
        try:
            self.series.setdefault(series, []).append(slice_of_header(header, file, self.units))
        except ScanError as problem:
            self.broken.setdefault(series, problem)

    def refuse_folder(self, error: OSError) -> None:
        folder = Path(error.filename)
        problem = ScanError(f"{folder}: cannot be opened: {error.strerror}: make it readable, or leave it out")
        self.found.append((folder.relative_to(self.root).as_posix(), problem))

    def finish(self) -> Survey:
        from_series = []
        for series, name in self._series_names().items():
            from_series += self._open(series, name)
        taken: set[str] = set()
        scans: list[Scan] = []
        problems: dict[str, ScanError] = {}
        for name, what in sorted([*self.found, *from_series], key=lambda pair: pair[0]):
            unique = _unique(name, taken)
            if isinstance(what, ScanError):
                problems[unique] = what
            else:
                scans.append(replace(what, header=what.header.renamed(unique)))
        return Survey(scans, problems, self.ignored)

    def _open(self, series: str, name: str) -> list[tuple[str, Scan | ScanError]]:
        from translate.data.dicom_series import open_series

        if series in self.broken:  # a scan without one of its slices would look complete
            return [(name, self.broken[series])]
        try:
            return [(scan.header.name, scan) for scan in open_series(self.series[series], name, self.allow)]
        except ScanError as problem:
            return [(name, problem)]

    def _series_names(self) -> dict[str, str]:
        """FOLDER, or FOLDER/series-1 and so on; in the order of the first files."""
        if self.root.is_file():
            return dict.fromkeys(self.places, self._name(self.root))
        folders = {series: self._folder(files) for series, files in self.places.items()}
        shared = list(folders.values())
        names, counts = {}, dict.fromkeys(shared, 0)
        for series, folder in folders.items():
            counts[folder] += 1
            names[series] = folder if shared.count(folder) == 1 else f"{folder}/series-{counts[folder]}"
        return names

    def _folder(self, files: list[Path]) -> str:
        """The folder that holds all of them, below the root; the root's own name if that is the root."""
        common = Path(os.path.commonpath([file.parent for file in files])).relative_to(self.root)
        return common.as_posix() if common.parts else (self.root.resolve().name or "scan")

    def _name(self, file: Path) -> str:
        place = Path(file.name) if file == self.root else file.relative_to(self.root)
        return place.with_name(_without_suffix(place.name)).as_posix()


def _series_of(dataset: Any, file: Path) -> str:
    """The Series Instance UID; where it was removed, what else the files of a series in one folder have in common."""
    known = dataset.get("SeriesInstanceUID")
    common = [dataset.get(name) for name in ("StudyInstanceUID", "SeriesNumber", "Modality", "FrameOfReferenceUID")]
    return str(known) if known else f"{file.parent} {common}"


def _unique(name: str, taken: set[str]) -> str:
    """NAME, or NAME-2 and so on; file systems that do not tell upper from lower case are thought of."""
    unique, number = name, 1
    while unique.casefold() in taken:
        number += 1
        unique = f"{name}-{number}"
    taken.add(unique.casefold())
    return unique
