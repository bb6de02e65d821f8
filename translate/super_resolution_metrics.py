"""PSNR and SSIM as the literature of super-resolution reports them, on 8-bit pictures.

Both pictures are brought to Y of BT.601 in studio range, which is not rounded (as for EDSR and SwinIR), as many pixels
as the scale are cut off each border, and the data range is 255.

The published figures of bicubic come from the code of SRCNN and FSRCNN (Dong et al. 2014, arXiv:1501.00092; 2016,
arXiv:1608.00367), which does otherwise: Y of HR is rounded to 8 bits, made smaller and larger again as floats, nothing
rounded in between, and rounded to 8 bits. `published_bicubic` does the same, to prove the metrics: Set5 must give
33.66/.9299 for x2, 30.39/.8682 for x3 and 28.42/.8104 for x4. Rounding Y alone costs 0.03 dB at 34 dB, 0.09 at 38.
"""

import numpy as np
import torch
from torch import Tensor

from translate.data.imresize import imresize
from translate.metrics import gradient_energy, psnr, ssim

DATA_RANGE = 255.0  # of 8-bit Y
STUDIO_LUMA = (65.481, 128.553, 24.966)  # of R, G, B in [0, 1]: ITU-R Recommendation BT.601, 219 steps above 16


def studio_luma(pixels: np.ndarray) -> np.ndarray:
    """Y of BT.601 in studio range, on which super-resolution is measured: 16 for black, 235 for white, not rounded.

    Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255. A grey picture is Y already, from 0 to 255, as the literature has
    it. The YCbCr of OpenCV and Pillow has full range, which costs 1.3 dB.

    Args:
        pixels: uint8 (H, W, 1) grey or (H, W, 3) RGB.

    Returns:
        float64 (H, W).

    Raises:
        ValueError: for other shapes or dtypes.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(
            f"studio_luma needs uint8 (H, W, 1) or (H, W, 3), got {pixels.dtype} {pixels.shape}: convert it first"
        )
    if pixels.shape[2] == 1:
        return pixels[..., 0].astype(np.float64)
    return 16 + pixels @ (np.array(STUDIO_LUMA) / 255)


def luma_figures(output: np.ndarray, target: np.ndarray, *, border: int) -> dict[str, float | None]:
    """PSNR (dB) and SSIM of Y, and the gradient energy of the output's Y divided by the target's.

    Args:
        output, target: uint8 (H, W, C), C is 1, which is Y, or 3 of RGB.
        border: pixels to leave out on each side, at least 1; what is left needs the 11 x 11 pixels of SSIM's window.

    Returns:
        {"psnr", "ssim", "gradient_energy"}; the last is 1 for as sharp as the target, and None if that is flat.

    Raises:
        ValueError: for unequal shapes, other ones, and pictures too small.
    """
    one, two = (_inside(studio_luma(pixels), border) for pixels in (output, target))
    sharpness, due = gradient_energy(one).item(), gradient_energy(two).item()
    return {**_similarity(one, two), "gradient_energy": sharpness / due if due else None}


def published_bicubic(target: np.ndarray, scale: int) -> dict[str, float]:
    """PSNR (dB) and SSIM of making a picture smaller and larger again, by the chain of the published figures.

    Args:
        target: uint8 (H, W, C), C is 1 or 3, sides multiples of the scale.
        scale: also the border that is left out.

    Returns:
        {"psnr", "ssim"}.

    Raises:
        ValueError: for other shapes, and for a picture too small.
    """
    luma = _rounded(studio_luma(target))
    height, width = luma.shape
    enlarged = _rounded(imresize(imresize(luma, (height // scale, width // scale)), (height, width)))
    return _similarity(_inside(enlarged, scale), _inside(luma, scale))


def _similarity(one: Tensor, two: Tensor) -> dict[str, float]:
    return {
        "psnr": psnr(one, two, data_range=DATA_RANGE).item(),
        "ssim": ssim(one, two, data_range=DATA_RANGE).item(),
    }


def _rounded(luma: np.ndarray) -> np.ndarray:
    """To what 8 bits hold, half upwards as MATLAB does, still float64."""
    return np.clip(np.floor(luma + 0.5), 0, 255)


def _inside(luma: np.ndarray, border: int) -> Tensor:
    """(1, 1, H - 2 * border, W - 2 * border)."""
    return torch.from_numpy(luma[border:-border, border:-border].copy())[None, None]
