"""Blur kernels of blind super-resolution (Real-ESRGAN: Wang et al. 2021, arXiv:2107.10833).

Every kernel is (size, size) float64 with an odd size, sums to 1 and looks the same from its opposite side, so that
blurring with it moves nothing. Lengths are in pixels, angles in radians.
"""

import math

import numpy as np

from translate.data.picture import ImageError


def gaussian(size: int, sigma: tuple[float, float], angle: float = 0.0) -> np.ndarray:
    """exp(-q / 2), where q is the squared distance from the centre in units of sigma.

    Args:
        sigma: standard deviations along the two axes of the ellipse, equal for an isotropic kernel. The kernel is
            sampled at the middles of the pixels, so that a sigma well below 0.5 blurs nothing.
        angle: from the horizontal axis to the first axis of the ellipse, towards the bottom of the picture.

    Raises:
        ImageError: for an even size or sigmas that are not positive, as all kernels here.
    """
    return _normalised(np.exp(-_squared_distance(size, sigma, angle) / 2))


def generalised_gaussian(size: int, sigma: tuple[float, float], angle: float, beta: float) -> np.ndarray:
    """exp(-q**beta / 2): more peaked than the Gaussian for beta < 1, flatter for beta > 1, equal to it for 1.

    Raises:
        ImageError: as `gaussian`, and for a beta that is not positive.
    """
    _check_beta(beta)
    return _normalised(np.exp(-(_squared_distance(size, sigma, angle) ** beta) / 2))


def plateau(size: int, sigma: tuple[float, float], angle: float, beta: float) -> np.ndarray:
    """1 / (1 + q**beta): half its peak at one sigma, with a flatter top and steeper sides for a larger beta.

    Raises:
        ImageError: as `generalised_gaussian`.
    """
    _check_beta(beta)
    return _normalised(1 / (1 + _squared_distance(size, sigma, angle) ** beta))


def sinc(size: int, cutoff: float) -> np.ndarray:
    """The circular low-pass filter cutoff / (2 pi r) J1(cutoff r), cut to a square: it leaves ringing at edges.

    Cut so short it also strengthens what is just below the cutoff: by up to half with 21 pixels and pi / 5, and by a
    sixth with pi / 3.

    Args:
        cutoff: the largest frequency that passes, in radians per pixel, up to pi (Nyquist's).

    Raises:
        ImageError: for an even size or a cutoff outside (0, pi].
    """
    if not 0 < cutoff <= math.pi:
        raise ImageError(f"a sinc kernel needs a cutoff above 0 and at most pi radians per pixel, got {cutoff!r}")
    radius = np.hypot(*_offsets(size))
    apart = np.where(radius == 0, 1.0, radius)  # the middle is the limit, cutoff**2 / 4 pi
    values = np.where(
        radius == 0, cutoff**2 / (4 * math.pi), cutoff * bessel_j1(cutoff * apart) / (2 * math.pi * apart)
    )
    return _normalised(values)


def bessel_j1(x: np.ndarray) -> np.ndarray:
    """The Bessel function of the first kind and order 1, of finite values of any shape, to about 1e-14.

    J1(x) = 1/pi integral from 0 to pi of cos(t - x sin t) dt (DLMF 10.9.2). The integrand is smooth and periodic, so
    the midpoint rule is exact to rounding as soon as it has somewhat more than |x| / 2 nodes.
    """
    values = np.asarray(x, dtype=np.float64)
    nodes = int(np.abs(values).max(initial=0.0)) + 32
    total = np.zeros(values.shape)
    for t in (np.arange(nodes) + 0.5) * (math.pi / nodes):
        total += np.cos(t - values * math.sin(t))
    return total / nodes


def _offsets(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal and vertical distance of every pixel from the middle, each broadcasting to (size, size)."""
    if size < 1 or size % 2 == 0:
        raise ImageError(f"a blur kernel needs an odd size, got {size!r}: an even one would move the picture")
    line = np.arange(size) - size // 2
    return line[None, :], line[:, None]


def _squared_distance(size: int, sigma: tuple[float, float], angle: float) -> np.ndarray:
    """(size, size), x^T S^-1 x with the covariance S of the ellipse."""
    if not (sigma[0] > 0 and sigma[1] > 0):
        raise ImageError(f"a blur kernel needs positive sigmas, got {sigma[0]!r} and {sigma[1]!r} pixels")
    x, y = _offsets(size)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    return (along / sigma[0]) ** 2 + (across / sigma[1]) ** 2


def _check_beta(beta: float) -> None:
    if not beta > 0:
        raise ImageError(f"a blur kernel needs a positive beta, got {beta!r}: 1 is the plain shape")


def _normalised(values: np.ndarray) -> np.ndarray:
    return values / values.sum()
