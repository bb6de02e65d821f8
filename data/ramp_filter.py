"""The filter of filtered back-projection: a ramp, and windows that make it smoother."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from translate.data.scans import ScanError

WINDOWS: dict[str, Callable[[Tensor], Tensor]] = {  # of the frequency in cycles per two detectors, 0 to 1
    "ramp": torch.ones_like,
    "shepp-logan": lambda frequency: torch.sinc(frequency / 2),
    "cosine": lambda frequency: torch.cos(math.pi / 2 * frequency),
    "hamming": lambda frequency: 0.54 + 0.46 * torch.cos(math.pi * frequency),
    "hann": lambda frequency: 0.5 + 0.5 * torch.cos(math.pi * frequency),
}


def window(name: str, cutoff: float = 1.0) -> Callable[[Tensor], Tensor]:
    """What a filter of this name has beside the ramp: a function of the frequency in cycles per detector, 0 to 0.5.

    Args:
        name: "ramp" (nothing), "shepp-logan", "cosine", "hamming" or "hann", from sharp to smooth.
        cutoff: the window is narrowed to this fraction of the highest frequency, and 0 above.

    Raises:
        ScanError: there is no such window, or the cutoff is not in (0, 1].
    """
    if name not in WINDOWS:
        raise ScanError(f"there is no reconstruction filter {name!r}: use one of {', '.join(WINDOWS)}")
    if not 0 < cutoff <= 1:
        raise ScanError(f"the cutoff is a fraction of the highest frequency, above 0 and at most 1, got {cutoff!r}")

    def response(frequency: Tensor) -> Tensor:
        scaled = frequency * 2 / cutoff
        return torch.where(scaled <= 1, WINDOWS[name](scaled), 0.0)

    return response


@torch.no_grad()
def filter_views(sinogram: Tensor, response: Callable[[Tensor], Tensor], *, pitch: float = 1.0) -> Tensor:
    """Each view convolved with the band-limited ramp (Kak and Slaney 1988, chapter 3, equation 61) and a window.

    The ramp is sampled in space: sampled as a straight line in frequency it would have no mean, and the
    reconstruction would be too low by a constant.

    Args:
        sinogram: (..., detectors), used as float32.
        response: the window, a function of the frequency in cycles per detector.
        pitch: of detectors, in pixels.

    Returns:
        The same shape, in the sinogram's units a pixel.
    """
    detectors = sinogram.shape[-1]
    length = 2 ** math.ceil(math.log2(max(2 * detectors, 2)))  # zeros to twice the length: no wrapping around
    places = torch.arange(length, dtype=torch.float64)
    places = torch.minimum(places, length - places)
    ramp = torch.where(places % 2 == 1, -1 / (math.pi * places).square(), 0.0)
    ramp[0] = 0.25
    spectrum = torch.fft.rfft(ramp).real * response(torch.fft.rfftfreq(length, dtype=torch.float64)) / pitch
    spectrum = spectrum.to(sinogram.device, torch.float32)
    return torch.fft.irfft(torch.fft.rfft(sinogram.float(), length) * spectrum, length)[..., :detectors]
