"""Scans that are uploaded: unpacked aside, denoised, packed for the download, and forgotten."""

from __future__ import annotations

import shutil
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path

from translate.data.scan_folder import find_scans, survey
from translate.data.scans import Scan, ScanError
from translate.pipelines.app.uploads import Limits, Report, Workspace
from translate.pipelines.inference.derive_scan import ScanOptions, derive_scan
from translate.pipelines.inference.scan_denoising import ScanDenoising
from translate.pipelines.scan_pictures import Limits as DisplayLimits
from translate.pipelines.scan_pictures import SliceView, choose_limits

UNPACKED = 10  # times max_mb is what the files of one upload may hold together, unpacked
MAX_FILES = 5000


@dataclass(frozen=True)
class Case:
    """A scan before and after, on disk; `label` names no patient and no file."""

    label: str
    source: Scan
    output: Scan
    display: DisplayLimits

    def view(self, index: int) -> SliceView:
        return SliceView(index, self.source.read(index), self.output.read(index))


@dataclass(frozen=True)
class Session:
    """What one person uploaded, and what was made of it. `archive` can be downloaded; `folder` is private."""

    folder: Path
    cases: tuple[Case, ...]
    archive: Path
    notes: tuple[str, ...]


def denoise_uploads(
    pipeline: ScanDenoising,
    uploads: list[Path],
    options: ScanOptions,
    place: tuple[Limits, Workspace],
    report: Report = lambda share, text: None,
) -> Session:
    """Denoise every scan in the files as `translate infer` does, and pack the derived scans and the evidence.

    Raises:
        ScanError: they hold no scan, too much, or none that the model is for.
    """
    limits, workspace = place
    folder = workspace.private / f"scans-{uuid.uuid4().hex}"
    try:
        report(0.0, "unpacking")
        unpack(uploads, folder / "input", limits)
        found = survey(folder / "input", units=options.units)
        if not found.scans and not found.problems:
            raise ScanError("there is no scan in these files: give DICOM files, NIfTI (.nii, .nii.gz) or a zip of them")
        problems = [str(problem) for problem in found.problems.values()]
        cases, notes = _derive(pipeline, found.scans, folder, options, report)
        if not cases:
            raise ScanError("\n".join(dict.fromkeys([*notes, *problems])))
        report(0.98, "packing")
        archive = workspace.download("denoised.zip")
        _pack(folder / "output", archive)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Session(folder, tuple(cases), archive, tuple(dict.fromkeys([*notes, *problems])))


def forget(session: Session | None) -> None:
    """Delete everything of a session."""
    if session is not None:
        shutil.rmtree(session.folder, ignore_errors=True)
        shutil.rmtree(session.archive.parent, ignore_errors=True)


def unpack(uploads: list[Path], folder: Path, limits: Limits) -> None:
    """Copy uploads to a new folder, and what is in zip files.

    Raises:
        ScanError: a zip file is damaged or locked, or all is too much.
    """
    folder.mkdir(parents=True)
    room = UNPACKED * limits.max_mb * 1_000_000
    for number, upload in enumerate(uploads):
        target = folder / f"upload-{number + 1}" if len(uploads) > 1 and _is_zip(upload) else folder
        if _is_zip(upload):
            room -= _unzip(upload, target, room)
        else:
            room -= upload.stat().st_size
            name = upload.name if not (folder / upload.name).exists() else f"{number + 1}-{upload.name}"
            shutil.copyfile(upload, folder / name)
        if room < 0:
            raise ScanError(_too_much(limits))


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _unzip(path: Path, folder: Path, room: int) -> int:
    """Bytes that were unpacked. `extract` keeps every name inside the folder, and reads no more than is declared."""
    try:
        with zipfile.ZipFile(path) as packed:
            files = [entry for entry in packed.infolist() if not entry.is_dir()]
            size = sum(entry.file_size for entry in files)
            if size > room or len(files) > MAX_FILES:
                raise ScanError(
                    f"{path.name} holds {len(files)} files of {size / 1e6:.0f} MB together, allowed are {MAX_FILES} "
                    f"and {room / 1e6:.0f} MB: give fewer slices at a time"
                )
            for entry in files:
                packed.extract(entry, folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ScanError(f"{path.name} cannot be unpacked ({error}): pack it again, without a password") from error
    return size


def _too_much(limits: Limits) -> str:
    return f"the files hold more than {UNPACKED * limits.max_mb} MB together: give fewer slices at a time"


def _derive(
    pipeline: ScanDenoising, scans: list[Scan], folder: Path, options: ScanOptions, report: Report
) -> tuple[list[Case], list[str]]:
    """The scans that were denoised into folder/output/scan-N, and warnings and errors of all in words."""
    total = sum(scan.header.shape[0] for scan in scans)
    cases: list[Case] = []
    notes: list[str] = []
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        report(0.02 + 0.95 * done / total, f"slice {done} of {total}")

    for number, scan in enumerate(scans, 1):
        place = folder / "output" / f"scan-{number}"
        place.mkdir(parents=True)
        try:
            output = place / f"denoised{scan.suffix}"
            derived = derive_scan(pipeline, scan, output, options, count)
            (made,) = find_scans(output, units=scan.header.units if scan.suffix else None)
        except ScanError as error:
            shutil.rmtree(place)
            notes.append(str(error))
            continue
        notes += derived.warnings
        cases.append(_case(scan, made, number if len(scans) > 1 else None))
    return cases, notes


def _case(source: Scan, output: Scan, number: int | None) -> Case:
    slices, rows, columns = source.header.shape
    label = f"{source.header.modality or 'scan'}, {slices} {'slice' if slices == 1 else 'slices'} of {columns} x {rows}"
    indices = sorted({0, slices // 2, slices - 1})
    views = [SliceView(index, source.read(index), output.read(index)) for index in indices]
    limits = choose_limits(views, source.header.units)
    return Case(label if number is None else f"{number}: {label}", source, output, limits)


def _pack(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(folder))
