"""What is made of one scan: the derived files, and the evidence of what was changed in it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import translate
from translate.contract import CAN_BE_ALLOWED
from translate.data.dicom_geometry import ALLOWED
from translate.data.nifti import VolumeWriter
from translate.data.scan_output import UNITS
from translate.data.scans import Scan, ScanError, ScanWriter
from translate.pipelines.inference.scan_denoising import DenoisedSlice, ScanDenoising
from translate.pipelines.journal import sha256
from translate.pipelines.scan_pictures import SliceView
from translate.pipelines.scan_report import choose_views, write_evidence_page, write_json
from translate.scan_evidence import Evidence

SMALLEST = 16  # pixels a side, for the measures of Evidence


@dataclass(frozen=True)
class ScanOptions:
    """How scans are translated.

    Args:
        allow: what would be refused otherwise: "gaps", "duplicates", "tilt", "mixed" of the files, "spacing",
            "thickness", "kernel" of the model's contract.
        units: of files that do not say them.
        residual: whether residual.nii.gz, output minus input, is written.
        uncertainty: whether uncertainty.nii.gz is written, which takes nine times as long; otherwise the page shows
            the uncertainty of up to three slices.
        synthetic: must be given for a model whose output is of another modality, and for no other.
        evidence: whether there is any.
        batch_size: slices that run together.
    """

    allow: frozenset[str] = frozenset()
    units: str | None = None
    residual: bool = False
    uncertainty: bool = False
    synthetic: bool = False
    evidence: bool = True
    batch_size: int = 1

    def __post_init__(self) -> None:
        known = {*ALLOWED, *CAN_BE_ALLOWED}
        if unknown := sorted(self.allow - known):
            raise ScanError(f"allow takes {', '.join(sorted(known))}, got {', '.join(map(repr, unknown))}")
        if self.units not in (None, "Bq/ml", *UNITS):  # Bq/ml only of DICOM
            raise ScanError(f"--units takes {', '.join(UNITS)}, got {self.units!r}")
        if self.batch_size < 1:
            raise ScanError(f"batch_size must be at least 1, got {self.batch_size}")
        if not self.evidence and (self.residual or self.uncertainty):
            raise ScanError("the residual and the uncertainty are evidence: leave --no-evidence out")

    def check_model(self, pipeline: ScanDenoising) -> None:
        """Raise ScanError unless `synthetic` says what the model does."""
        contract = pipeline.contract
        if contract and pipeline.synthetic and not self.synthetic:
            raise ScanError(
                f"this model makes {contract.output_modality} of {contract.modality}: its output was never measured, "
                "say that you want it with --synthetic"
            )
        if self.synthetic and not pipeline.synthetic:
            raise ScanError("--synthetic is for models that make another modality, this one does not: leave it out")

    def key(self) -> str:
        """What of it changes the output of a scan that is not refused."""
        flags = [name for name in ("residual", "uncertainty", "evidence") if getattr(self, name)]
        return " ".join([str(self.units), *flags])


@dataclass(frozen=True)
class Derived:
    """What became of a scan. `evidence` is a folder, None where there is none."""

    evidence: Path | None
    clipped: int
    warnings: tuple[str, ...]


def derive_scan(
    pipeline: ScanDenoising,
    scan: Scan,
    output: Path,
    options: ScanOptions,
    on_slice: Callable[[], object] = lambda: None,
) -> Derived:
    """Translate one scan.

    Args:
        output: the file or folder to make, in a folder that exists; the evidence becomes a folder beside it.
        on_slice: called after each slice.

    Raises:
        ScanError: the scan is not for the model, cannot be read, or the result cannot be written.
    """
    options.check_model(pipeline)
    started = time.monotonic()
    warnings = (*scan.warnings, *pipeline.check(scan, options.allow & CAN_BE_ALLOWED))
    findings = _Findings(pipeline, scan, output.parent / "evidence", options) if options.evidence else None
    uncertain = findings.uncertain if findings else frozenset()
    with ExitStack() as stack:
        writer = stack.enter_context(scan.writer(output, pipeline.derivation()))
        if findings:
            findings.open_volumes(stack)
        for denoised in pipeline.denoise(scan, uncertainty=uncertain, batch_size=options.batch_size):
            written = writer.write(denoised.index, denoised.output)
            if findings:
                findings.add(denoised, written)
            on_slice()
    if findings:
        facts = {"clipped": writer.clipped, "warnings": list(warnings), "seconds": round(time.monotonic() - started, 1)}
        findings.write(facts)
    return Derived(findings.folder if findings else None, writer.clipped, warnings)


class _Findings:
    """Gathers the evidence of one scan; three slices are kept."""

    def __init__(self, pipeline: ScanDenoising, scan: Scan, folder: Path, options: ScanOptions) -> None:
        self.pipeline, self.scan, self.folder, self.options = pipeline, scan, folder, options
        slices, rows, columns = scan.header.shape
        self.shown = frozenset() if pipeline.synthetic else frozenset(choose_views(slices))
        # A difference of two modalities has no meaning.
        self.measures = None if pipeline.synthetic or min(rows, columns) < SMALLEST else _evidence_of(scan)
        self.uncertain = frozenset(range(slices)) if options.uncertainty else self.shown
        self.views: list[SliceView] = []
        self.most: tuple[float, SliceView | None] = (-1.0, None)  # root mean square of the largest change
        self.residual: ScanWriter | None = None
        self.uncertainty: ScanWriter | None = None
        folder.mkdir()

    def open_volumes(self, stack: ExitStack) -> None:
        header, units = self.scan.header, self.scan.header.units
        if self.options.residual and not self.pipeline.synthetic:
            text = f"Research: output minus input in {units}"
            self.residual = stack.enter_context(VolumeWriter(self.folder / "residual.nii.gz", header, text))
        if self.options.uncertainty:
            text = "Research: standard deviation over 8 views of the input"
            self.uncertainty = stack.enter_context(VolumeWriter(self.folder / "uncertainty.nii.gz", header, text))

    def add(self, denoised: DenoisedSlice, written: np.ndarray) -> None:
        """Take a slice, as it was read and as it was written."""
        if self.uncertainty and denoised.uncertainty is not None:
            self.uncertainty.write(denoised.index, denoised.uncertainty)
        if self.pipeline.synthetic:
            return
        change = np.subtract(written, denoised.source, dtype=np.float64)
        if self.residual:
            self.residual.write(denoised.index, change.astype(np.float32))
        if self.measures:
            self.measures.add(denoised.index, denoised.source, written)
        view = SliceView(denoised.index, denoised.source, written, denoised.uncertainty)
        if denoised.index in self.shown:
            self.views.append(view)
        size = float(np.sqrt(np.square(change).mean()))
        if size > self.most[0]:
            self.most = (size, view)

    def write(self, facts: dict[str, Any]) -> None:
        """evidence.json and its page."""
        most = self.most[1]
        if most is not None and most.index not in self.shown:
            uncertainty = most.uncertainty
            if uncertainty is None:
                uncertainty = self.pipeline.uncertainty_of(self.scan, most.index)
            self.views.append(SliceView(most.index, most.source, most.output, uncertainty))
        if self.measures is None:
            reason = "its output is of another modality" if self.pipeline.synthetic else "its slices are too small"
            facts["warnings"].append(f"there are no measures of what was changed: {reason}")
        evidence = {**self._work(), **facts, **(self.measures.result() if self.measures else {})}
        write_json(self.folder / "evidence.json", evidence)
        write_evidence_page(self.folder, evidence, self.views, self.scan.header)

    def _work(self) -> dict[str, Any]:
        header, pipeline = self.scan.header, self.pipeline
        return {
            "tool": "translate",
            "version": translate.__version__,
            "model": {"name": pipeline.title, "fingerprint": pipeline.fingerprint()},
            "contract": pipeline.contract.model_dump(mode="json") if pipeline.contract else None,
            "settings": {
                "precision": str(pipeline.dtype).removeprefix("torch."),
                "backend": pipeline.backend,
                "allowed": sorted(self.options.allow),
                "synthetic": self.options.synthetic,
            },
            "input": {
                "name": header.name,
                "modality": header.modality,
                "units": header.units,
                "shape": list(header.shape),
                "spacing": list(header.spacing),
                "thickness": header.thickness,
                "kernel": header.kernel,
                "sha256": content_of(self.scan),
            },
        }


def content_of(scan: Scan) -> str:
    """One SHA-256 for the content of all files of a scan, in the order of its slices."""
    digest = hashlib.sha256()
    for path in scan.files:
        digest.update(sha256(path).encode())
    return digest.hexdigest()


def _evidence_of(scan: Scan) -> Evidence:
    rows, columns = scan.header.spacing[1:]
    return Evidence(scan.header.units, (rows, columns) if rows and columns else None)
