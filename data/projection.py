"""Parallel-beam projections and filtered back-projection, on any device, without gradients.

Conventions, the same for all functions:
    Pixels have the side 1, so line integrals are in pixels: times the pixel size in mm they are physical ones.
    The origin is the centre of the image, x points right and y up.
    View v at the angle a holds the integrals along x cos(a) + y sin(a) = s, one a detector; detectors lie `pitch`
    pixels apart with their middle at s = 0. Apart from the origin, which scikit-image has half a pixel lower right
    in images of an even size, this is the geometry of its `radon`, whose sinogram is ours transposed.
    Nothing is outside the image, and outside the detectors nothing is measured: `size` detectors cover the circle
    in the square, `detectors_for(size)` cover the square.

Angles that differ by reflections in the axes and diagonals share all geometry: it is computed for one of them, and
the eight reflected and turned images are its channels. Equally spaced angles, starting at 0 and a multiple of 4 in
half a turn, are fastest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from translate.data.ramp_filter import filter_views, window
from translate.data.scans import ScanError

LOOKUPS = 2**21  # at once: few enough for the last cache, enough to keep all cores busy between two barriers
IMAGES = 4  # at once: each has 8 channels
SAME_ANGLE = 1e-6  # radians: a thousandth of a pixel in images of 2000


def detectors_for(size: int, pitch: float = 1.0) -> int:
    """How many detectors see every pixel of a square image of this size in every view."""
    return math.ceil(math.sqrt(2) * size / pitch) + 1


def half_turn(views: int) -> Tensor:
    """(views,) float64: equally spaced angles from 0 to below pi, in radians."""
    return torch.arange(views, dtype=torch.float64) * (math.pi / views)


@torch.no_grad()
def project(images: Tensor, angles: Tensor, detectors: int | None = None, *, pitch: float = 1.0) -> Tensor:
    """Line integrals, linear between the pixels of a row or column (Joseph 1982, doi:10.1109/TMI.1982.4307572).

    Args:
        images: (N, 1, S, S) or (N, S, S), used as float32.
        angles: (V,) in radians, in any order.
        detectors: per view; None is S, which cover the circle in the square.
        pitch: of detectors, in pixels.

    Returns:
        (N, V, detectors) float32 on the images' device, in pixels times the images' units.

    Raises:
        ScanError: the images are not square.
    """
    images = _square(images)
    views = _views(angles, images.device)
    detectors = images.shape[-1] if detectors is None else detectors
    groups = [_project(group, views, detectors, pitch) for group in images.split(IMAGES)]
    return torch.cat(groups)


@torch.no_grad()
def back_project(sinogram: Tensor, angles: Tensor, size: int, *, pitch: float = 1.0) -> Tensor:
    """The sum over all views of the value at a pixel's place, linear between detectors and 0 outside.

    Args:
        sinogram: (N, V, detectors), used as float32.
        angles: (V,) in radians, in any order.
        size: of the square result.
        pitch: of detectors, in pixels.

    Returns:
        (N, size, size) float32 on the sinogram's device.

    Raises:
        ScanError: there are not as many angles as views.
    """
    if sinogram.ndim != 3 or sinogram.shape[1] != len(angles):
        raise ScanError(
            f"a sinogram of {len(angles)} angles has the shape (images, {len(angles)}, detectors), "
            f"got {tuple(sinogram.shape)}"
        )
    views = _views(angles, sinogram.device)
    groups = [_back_project(group, views, size, pitch) for group in sinogram.float().split(IMAGES)]
    return torch.cat(groups)


@dataclass(frozen=True)
class _Views:
    """The angles by their geometry.

    angles: (U,) float64, different ones in [0, pi / 4].
    which: (V,) the place in `angles` of each view.
    turned: (V,) 0 to 7: how the image must lie so that this angle gives the view, see `_lie`.
    """

    angles: Tensor
    which: Tensor
    turned: Tensor


def _views(angles: Tensor, device: torch.device) -> _Views:
    quarters = torch.remainder(angles.to(device, torch.float64), 2 * math.pi) / (math.pi / 2)
    quarter = quarters.floor()
    rest = quarters - quarter
    mirrored = rest > 0.5
    base = torch.where(mirrored, 1 - rest, rest) * (math.pi / 2)
    turned = (quarter + mirrored).long() % 4 + 4 * mirrored
    ordered, order = base.sort()
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered.diff() > SAME_ANGLE
    which = torch.empty_like(order)
    which[order] = new.cumsum(0) - 1
    return _Views(ordered[new], which, turned)


def _lie(images: Tensor, turned: int) -> Tensor:
    """(..., S, S): turned clockwise by 90 degrees times `turned` % 4, then upside down if `turned` is 4 or more.

    The view of the result at an angle b is the image's at turned * 90 degrees + b, or - b where it is upside down.
    """
    images = images.rot90(-(turned % 4), (-2, -1))
    return images.flip(-2) if turned >= 4 else images


def _lie_back(images: Tensor, turned: int) -> Tensor:
    """The inverse of `_lie`."""
    images = images.flip(-2) if turned >= 4 else images
    return images.rot90(turned % 4, (-2, -1))


# The image turned by half a turn has the views mirrored: only half the detectors, or half the pixels, are looked up.
OPPOSITE = [2, 3, 0, 1, 6, 7, 4, 5]


def _project(images: Tensor, views: _Views, detectors: int, pitch: float) -> Tensor:
    """(N, S, S) -> (N, V, detectors). The table of pixels has 8 N columns, and zeros around each row of the images."""
    count, size = images.shape[:2]
    device = images.device
    lying = torch.stack([_lie(images, turned) for turned in range(8)])  # (8, N, S, S)
    table = F.pad(lying.permute(2, 3, 0, 1), (0, 0, 0, 0, 1, 2)).reshape(size * (size + 3), 8 * count)
    middle = (size - 1) / 2
    half = (detectors + 1) // 2  # from the middle outwards
    places = (torch.arange(half, device=device) + (0.5 if detectors % 2 == 0 else 0.0)) * pitch
    heights = middle - torch.arange(size, device=device)  # y of the rows, downwards
    starts = torch.arange(size, device=device, dtype=torch.int32) * (size + 3)
    sums = []
    for angles in views.angles.split(max(1, LOOKUPS // (2 * half * size))):
        cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
        first, second = (places[:, None] / cosine).float(), (heights * (sine / cosine)).float()
        columns = (first - second).add_(middle + 1).clamp_(0, size + 1)  # (angles, half, S)
        sums.append(_interpolate(table, columns, starts) / cosine.float().view(-1, 1, 1))
    outwards = torch.cat(sums).view(-1, half, 8, count).permute(2, 0, 3, 1)  # (8, U, N, half)
    inwards = outwards[OPPOSITE].flip(-1)[..., : detectors - half]
    return torch.cat([inwards, outwards], -1)[views.turned, views.which].transpose(0, 1).contiguous()


def _back_project(sinogram: Tensor, views: _Views, size: int, pitch: float) -> Tensor:
    """(N, V, D) -> (N, size, size). The table of detectors has 8 N columns, and zeros around each view."""
    count, _, detectors = sinogram.shape
    device, unique = sinogram.device, len(views.angles)
    folded = sinogram.new_zeros(8 * unique, count, detectors)
    folded.index_add_(0, views.turned * unique + views.which, sinogram.transpose(0, 1))
    folded = folded.view(8, unique, count, detectors)
    folded = folded + folded[OPPOSITE].flip(-1)  # of these, 2, 3, 6 and 7 are 0, 1, 4 and 5 the other way round
    table = F.pad(folded.permute(1, 3, 0, 2), (0, 0, 0, 0, 1, 2)).reshape(unique * (detectors + 3), 8 * count)
    middle, outside = (size - 1) / 2, (detectors - 1) / 2 + 1
    pixels = torch.arange((size * size + 1) // 2, device=device)  # from the first row to the middle
    starts = torch.arange(unique, device=device, dtype=torch.int32) * (detectors + 3)
    cosine, sine = (views.angles.cos() / pitch).float(), (views.angles.sin() / pitch).float()
    sums = []
    for some in pixels.split(max(1, LOOKUPS // (2 * unique))):
        x, y = (some % size - middle)[:, None], (middle - some // size)[:, None]
        places = torch.addcmul(x * cosine, y.expand(-1, unique), sine).add_(outside)  # (pixels, U)
        sums.append(_interpolate(table, places.clamp_(0, detectors + 1), starts))
    above = torch.cat(sums).view(-1, 8, count).permute(1, 2, 0)  # (8, N, pixels)
    below = above[OPPOSITE].flip(-1)[..., 2 * len(pixels) - size * size :]
    lying = torch.cat([above, below], -1).view(8, count, size, size)
    return torch.stack([_lie_back(lying[turned], turned) for turned in (0, 1, 4, 5)]).sum(0)


def _interpolate(table: Tensor, places: Tensor, starts: Tensor) -> Tensor:
    """Sums over the last axis of what is at `starts` + `places` in the table, linear between its rows.

    (rows, C), (..., K) and (K,) -> (..., C). `places` are not negative; they are overwritten.
    """
    whole = places.to(torch.int32)
    right = places.sub_(whole)
    whole += starts
    rows = torch.stack([whole, whole + 1], -1)
    weights = torch.stack([1 - right, right], -1)
    bags = torch.arange(0, rows.numel(), 2 * places.shape[-1], dtype=torch.int32, device=table.device)
    sums = F.embedding_bag(rows.view(-1), table, bags, mode="sum", per_sample_weights=weights.view(-1))
    return sums.view(*places.shape[:-1], -1)


def _square(images: Tensor) -> Tensor:
    """(N, S, S) float32."""
    single = images.ndim == 4 and images.shape[1] == 1
    if not (single or images.ndim == 3) or images.shape[-1] != images.shape[-2]:
        raise ScanError(
            f"only square images of one channel are projected, (N, 1, S, S) or (N, S, S), got {tuple(images.shape)}: "
            "pad them with what is around the object, or crop them"
        )
    return (images[:, 0] if single else images).float()


@torch.no_grad()
def filtered_back_projection(
    sinogram: Tensor, angles: Tensor, size: int, *, filter: str = "ramp", cutoff: float = 1.0
) -> Tensor:
    """The images whose line integrals these are.

    Args:
        sinogram: (N, V, detectors), used as float32; detectors lie a pixel apart.
        angles: (V,) in radians, equally spaced over half a turn or a whole one.
        size: of the square result.
        filter, cutoff: see `ramp_filter.window`.

    Returns:
        (N, size, size) float32. Outside the circle that all views see, values mean little.

    Raises:
        ScanError: an unknown filter, a cutoff outside (0, 1], or not as many angles as views.
    """
    filtered = filter_views(sinogram, window(filter, cutoff))
    return back_project(filtered, angles, size) * (math.pi / len(angles))
