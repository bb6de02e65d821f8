"""How close a scan is to its reference, by the published protocols. A PSNR of CT means nothing without its window.

The same pixels of a quarter-dose slice give 25 dB on [-160, 240] HU and 42 dB on [-1024, 3072] HU. A preset therefore
holds everything a figure depends on, and says it in words. All is computed in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from translate.data.scans import ScanError

BODY_THRESHOLD = -500.0  # HU, half-way between air and water
TABLE_OPENING = 5  # pixels; cuts what is thinner off the body: table, tubes, clothes
KERNELS = {"gaussian": (11, "11x11 Gaussian sigma 1.5, zero-padded"), "uniform": (7, "7x7 uniform, where it fits")}


@dataclass(frozen=True)
class Preset:
    """A protocol of comparison.

    Args:
        name: what reports call it.
        low, high: what values are clipped to, of both scans, for PSNR and SSIM; PSNR's range is high - low.
        ssim: "uniform" is scikit-image's structural_similarity by default: 7 pixels a side, sample covariance, only
            where the window fits. "gaussian" is 11 x 11 pixels of sigma 1.5 with zeros around the slice.
        zero: the value that SSIM's brightness term takes for black: `low`, except where the published code leaves HU.
        errors: what values are clipped to for MAE and RMSE; None is [low, high].
        needs_mask: whether the protocol is defined inside the body only.
        units: of the values.
        source: the paper or code whose figures it reproduces.
    """

    name: str
    low: float
    high: float
    ssim: Literal["gaussian", "uniform"] = "uniform"
    zero: float | None = None
    errors: tuple[float, float] | None = None
    needs_mask: bool = False
    units: str = "HU"
    source: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"a preset from {self.low!r} to {self.high!r} has no extent: give finite numbers, low < high"
            )

    @property
    def data_range(self) -> float:
        return self.high - self.low

    def describe(self, *, masked: bool = False) -> str:
        """What stands beside every figure: "red-cnn: [-160, 240] HU, range 400, whole slice, SSIM 11x11 ..."."""
        where = "inside the mask" if masked or self.needs_mask else "whole slice"
        bounds = f"[{self.low:g}, {self.high:g}] {self.units}, range {self.data_range:g}"
        return f"{self.name}: {bounds}, {where}, SSIM {KERNELS[self.ssim][1]}"


def _eulig(name: str, centre: float, width: float) -> Preset:
    """A window as the benchmark's code has it: DICOM's linear function (PS3.3 C.11.2.1.2.1), width - 1 HU wide."""
    low = centre - 0.5 - (width - 1) / 2
    source = "Eulig et al. 2024, arXiv:2401.04661 (ldct-benchmark), MAE and RMSE as its RMSE on [-1024, 1900]"
    return Preset(name, low, low + width - 1, errors=(-1024.0, 1900.0), source=source)


PRESETS: dict[str, Preset] = {
    "red-cnn": Preset(
        "red-cnn", -160.0, 240.0, ssim="gaussian", zero=0.0, source="Chen et al. 2017, arXiv:1702.00288, SSinyu/RED-CNN"
    ),
    "eulig-chest": _eulig("eulig-chest", -600, 1500),
    "eulig-abdomen": _eulig("eulig-abdomen", 50, 400),
    "eulig-neuro": _eulig("eulig-neuro", 40, 80),
    "synthrad": Preset(
        "synthrad", -1024.0, 3000.0, needs_mask=True, source="Huijben et al. 2024, arXiv:2403.08447 (SynthRAD2023)"
    ),
    "abdomen": Preset("abdomen", -160.0, 240.0, source="scikit-image's SSIM on the soft-tissue window"),
    "full": Preset("full", -1024.0, 3072.0, source="the whole range of 12-bit CT"),
}


def find_preset(name: str) -> Preset:
    """Raises ValueError for an unknown name, saying which there are."""
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}: use one of {', '.join(PRESETS)}")
    return PRESETS[name]


def measure(output: np.ndarray, target: np.ndarray, preset: Preset, mask: np.ndarray | None = None) -> dict[str, float]:
    """Compare a slice with its reference; the figures of a scan are means over its slices.

    With a mask, PSNR, MAE and RMSE are of the pixels inside. For SSIM what is outside becomes `low` in both, and the
    map is averaged inside, as SynthRAD2023 does. SynthRAD gives whole volumes: its window is then 7 x 7 x 7 voxels.

    Args:
        output, target: (H, W), or (S, H, W) for presets with a uniform window, in the preset's units, finite.
        mask: bool of the same shape.

    Returns:
        {"psnr": dB, inf for equal values; "ssim"; "mae", "rmse": in the preset's units}.

    Raises:
        ValueError: unequal or too small shapes, a mask that is missing, empty or of another shape.
    """
    _check(output, target, preset, mask)
    one, two = (np.clip(values.astype(np.float64), preset.low, preset.high) for values in (output, target))
    errors = preset.errors or (preset.low, preset.high)
    difference = np.clip(output.astype(np.float64), *errors) - np.clip(target.astype(np.float64), *errors)
    squared = np.square(one - two)
    if mask is not None:
        difference, squared = difference[mask], squared[mask]
        one, two = np.where(mask, one, preset.low), np.where(mask, two, preset.low)
    error = float(squared.mean())
    return {
        "psnr": 10 * math.log10(preset.data_range**2 / error) if error else math.inf,
        "ssim": _ssim(one, two, preset, mask),
        "mae": float(np.abs(difference).mean()),
        "rmse": math.sqrt(float(np.square(difference).mean())),
    }


def _ssim(one: np.ndarray, two: np.ndarray, preset: Preset, mask: np.ndarray | None) -> float:
    """Structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861) with K1 0.01 and K2 0.03."""
    zero = preset.low if preset.zero is None else preset.zero
    x, y = (torch.from_numpy(values - zero)[None, None] for values in (one, two))
    window = _gaussian_mean if preset.ssim == "gaussian" else _uniform_mean
    side = KERNELS[preset.ssim][0]
    count = side**one.ndim
    sample = count / (count - 1) if preset.ssim == "uniform" else 1.0
    mean_x, mean_y = window(x), window(y)
    variances = sample * (window(x * x) - mean_x**2 + window(y * y) - mean_y**2)
    covariance = sample * (window(x * y) - mean_x * mean_y)
    c1, c2 = (0.01 * preset.data_range) ** 2, (0.03 * preset.data_range) ** 2
    brightness = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    similarity = (brightness * (2 * covariance + c2) / (variances + c2))[0, 0].numpy()
    if mask is None:
        return float(similarity.mean())
    lost = (mask.shape[0] - similarity.shape[0]) // 2  # pixels at each border where the window does not fit
    inside = mask[tuple(slice(lost, side - lost) for side in mask.shape)]
    if not inside.any():
        raise ValueError(
            f"the mask has no pixel farther than {lost} from the border, where SSIM is defined: use another mask"
        )
    return float(similarity[inside].mean())


def _uniform_mean(values: torch.Tensor) -> torch.Tensor:
    side = KERNELS["uniform"][0]
    return (F.avg_pool3d if values.ndim == 5 else F.avg_pool2d)(values, side, stride=1)


def _gaussian_mean(values: torch.Tensor) -> torch.Tensor:
    side = KERNELS["gaussian"][0]
    line = torch.exp(-(torch.arange(side, dtype=torch.float64) - side // 2).square() / (2 * 1.5**2))
    line /= line.sum()
    across = F.conv2d(values, line[None, None, None], padding=(0, side // 2))
    return F.conv2d(across, line[None, None, :, None], padding=(side // 2, 0))


def _check(output: np.ndarray, target: np.ndarray, preset: Preset, mask: np.ndarray | None) -> None:
    allowed = (2, 3) if preset.ssim == "uniform" else (2,)
    if output.shape != target.shape or output.ndim not in allowed:
        shapes = "(H, W) or (S, H, W)" if 3 in allowed else "(H, W)"
        raise ValueError(
            f"{preset.name} compares two arrays of one shape {shapes}, got {output.shape} and {target.shape}: "
            "give a slice and the slice of the reference at the same place"
        )
    side = KERNELS[preset.ssim][0]
    if min(output.shape) < side:
        raise ValueError(f"SSIM of {preset.name} needs sides of at least {side} pixels, got {output.shape}")
    if mask is None and preset.needs_mask:
        raise ValueError(f"{preset.name} is defined inside the body: give mask=body_mask(target)")
    if mask is not None and (mask.shape != output.shape or mask.dtype != np.bool_ or not mask.any()):
        inside = int(np.count_nonzero(mask))
        raise ValueError(
            f"a mask of {output.shape} bool with pixels inside is needed, got {mask.shape} {mask.dtype} with {inside}: "
            "leave out slices without a body"
        )


def body_mask(values: np.ndarray, threshold: float = BODY_THRESHOLD) -> np.ndarray:
    """Where the body is: the largest connected part above the threshold, with its holes (lungs, bowel) filled.

    Parts thinner than five pixels are cut off first, so that the table does not hang on.

    Args:
        values: (H, W) or (S, H, W), in HU, or any other units with a threshold of theirs.

    Returns:
        bool of the same shape; all False where nothing is above the threshold.

    Raises:
        ScanError: if scikit-image is missing.
    """
    try:
        from skimage.measure import label
    except ModuleNotFoundError as error:
        raise ScanError('a mask of the body needs scikit-image: pip install "translate-images[medical]"') from error
    volume = values if values.ndim == 3 else values[None]
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (TABLE_OPENING, TABLE_OPENING))
    above = [cv2.morphologyEx((part > threshold).astype(np.uint8), cv2.MORPH_OPEN, disc) for part in volume]
    parts = label(np.stack(above), connectivity=1)
    sizes = np.bincount(parts.ravel())[1:]
    if not len(sizes):
        return np.zeros(values.shape, dtype=bool)
    body = parts == 1 + int(sizes.argmax())
    outside = [label(np.pad(~part, 1, constant_values=True), connectivity=1) for part in body]
    filled = np.stack([part[1:-1, 1:-1] != part[0, 0] for part in outside])
    return filled.reshape(values.shape)
