"""The noise of prepared noisy copies: which simulator, with which settings."""

from __future__ import annotations

import logging
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np

from translate.data.augment import sample_seed
from translate.data.ct_noise import KERNELS, CtDose, CtKernel, simulate_low_dose
from translate.data.noise import percent_of_maximum, rician, xray
from translate.data.scans import ScanError, ScanHeader

logger = logging.getLogger(__name__)
SQUARE = 1e-3  # share by which the sides of a pixel may differ
RINGING = 0.05  # of the largest value: magnitudes that were interpolated may be so far below 0


@dataclass(frozen=True)
class LowDose:
    """CT at a part of its dose.

    own_kernel: the noise gets the texture of each scan's own kernel where that is known, instead of `dose.filter`.
    highest: each copy gets a dose of its own, between that of `dose` and this fraction, evenly in its logarithm.
    any_kernel: each copy gets a kernel of its own, between the smooth B30f and the sharp D45f. Both are for models
        that shall know more than one dose and kernel.
    """

    dose: CtDose
    own_kernel: bool = True
    highest: float | None = None
    any_kernel: bool = False
    uses_peak: bool = False

    def __post_init__(self) -> None:
        if self.highest is not None and not self.dose.fraction < self.highest <= 1:
            raise ScanError(
                f"doses go from the lower to the higher one, at most 1, got {self.dose.fraction} and {self.highest}"
            )

    def check(self, header: ScanHeader) -> None:
        if header.units != "HU":
            raise ScanError(
                f"{header.name}: a lower dose is simulated of CT in HU, got {header.modality or 'a scan'} in "
                f"{header.units}: use --rician for MR and --xray-photons for films, or give --units HU if it is CT"
            )
        rows, columns = header.spacing[1:]
        if rows is None or columns is None or abs(rows - columns) > SQUARE * rows:
            raise ScanError(
                f"{header.name}: a lower dose is simulated of slices with square pixels of known size, got "
                f"{rows} x {columns} mm: resample it first"
            )
        if self.own_kernel and header.kernel not in KERNELS:
            logger.warning(
                "%s: how its kernel %s filters noise is not known, it gets that of %s: choose with --kernel-filter",
                header.name,
                header.kernel,
                self.dose.filter,
            )

    def __call__(self, values: np.ndarray, header: ScanHeader, peak: float, seed: int) -> np.ndarray:
        return simulate_low_dose(values, header.spacing[1] or 1.0, self._dose_of(header.kernel, seed), seed)

    def _dose_of(self, kernel: str | None, seed: int) -> CtDose:
        """The dose and kernel of one copy."""
        height, sharpness = np.random.default_rng(sample_seed(seed, 1)).random(2)
        dose = self.dose
        if self.highest is not None:
            dose = replace(dose, fraction=float(dose.fraction * (self.highest / dose.fraction) ** height))
        if self.any_kernel:
            smooth, sharp = KERNELS["B30f"], KERNELS["D45f"]
            between = [a + (b - a) * sharpness for a, b in zip(astuple(smooth), astuple(sharp), strict=True)]
            return replace(dose, filter=CtKernel(*between))
        return replace(dose, filter=kernel) if self.own_kernel and kernel and kernel in KERNELS else dose

    def facts(self) -> dict[str, Any]:
        facts = {"kind": "dose", **asdict(self.dose), "any_kernel": self.any_kernel}
        if self.own_kernel:
            facts["filter"] = f"of the scan's kernel if that is one of {', '.join(KERNELS)}, else {self.dose.filter}"
        if self.any_kernel:
            facts["filter"] = "between B30f and D45f, drawn for each copy"
        if self.highest is not None:
            facts["fraction"] = [self.dose.fraction, self.highest]
        return facts


@dataclass(frozen=True)
class Rician:
    """MR magnitude noise.

    percent: its sigma, as a share of the largest value of the scan.
    """

    percent: float
    uses_peak: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise ScanError(
                f"--rician must be above 0 and at most 100 percent of the largest value, got {self.percent}"
            )

    def check(self, header: ScanHeader) -> None:
        if header.units == "HU":
            raise ScanError(f"{header.name}: Rician noise is that of MR magnitudes, these are HU: use --dose for CT")

    def __call__(self, values: np.ndarray, header: ScanHeader, peak: float, seed: int) -> np.ndarray:
        if values.min() < -RINGING * peak:
            raise ScanError(
                f"{header.name}: Rician noise is that of MR magnitudes, which are not negative, but a slice has "
                f"{values.min():g}: leave this scan out"
            )
        return rician(values, percent_of_maximum(np.array(peak), self.percent), seed)

    def facts(self) -> dict[str, Any]:
        return {"kind": "rician", "percent": self.percent}


@dataclass(frozen=True)
class XRay:
    """A radiograph of few photons: brightness counts them, the brightest pixel of the scan receives `photons`.

    electronic: standard deviation of the detector's own noise, in photons.
    """

    photons: float
    electronic: float = 10.0
    uses_peak: bool = True

    def __post_init__(self) -> None:
        if not self.photons > 0 or not self.electronic >= 0:
            raise ScanError(
                f"photons must be above 0 and electronic noise at least 0, got {self.photons} and {self.electronic}"
            )

    def check(self, header: ScanHeader) -> None:
        if header.units == "HU":
            raise ScanError(f"{header.name}: X-ray noise is that of projections, these are HU: use --dose for CT")

    def __call__(self, values: np.ndarray, header: ScanHeader, peak: float, seed: int) -> np.ndarray:
        if values.min() < 0 or peak <= 0:
            raise ScanError(
                f"{header.name}: photons are counted where values are 0 or more, but a slice has {values.min():g}: "
                "leave this scan out"
            )
        return xray(values / np.float32(peak), self.photons, seed, electronic=self.electronic) * np.float32(peak)

    def facts(self) -> dict[str, Any]:
        return {"kind": "xray", "photons": self.photons, "electronic": self.electronic}
