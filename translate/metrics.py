"""How good translations are. Every data range is an argument: no metric guesses one from the pixels.

All are computed in float64 (float32 on MPS, which has none) and without gradients.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SSIM_WINDOW = 11  # pixels
SWD_SMALLEST = 16  # pixels, shorter side of the coarsest level
PATCH = 7  # pixels, side of the patches of sliced_wasserstein
DIVERSITY_SIDE = 32  # pixels, shorter side of what diversity compares


@torch.no_grad()
def psnr(prediction: Tensor, target: Tensor, *, data_range: float) -> Tensor:
    """Peak signal-to-noise ratio of each image in decibel, higher is better, inf for equal images.

    An error of a tenth of the data range in every pixel is 20 dB.

    Args:
        prediction, target: (N, C, H, W), of any dtype.
        data_range: the largest minus the smallest possible value: 2 for [-1, 1], 255 for 8-bit values.

    Returns:
        (N,).

    Raises:
        ValueError: if the shapes differ or are not (N, C, H, W), or data_range is not a positive number.
    """
    _check_pair("psnr", prediction, target, data_range)
    error = (_wide(prediction) - _wide(target)).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(data_range**2 / error)


@torch.no_grad()
def ssim(prediction: Tensor, target: Tensor, *, data_range: float) -> Tensor:
    """Structural similarity of each image (Wang et al. 2004, doi:10.1109/TIP.2003.819861), at most 1, for equal images.

    Gaussian window of 11x11 pixels and sigma 1.5, placed only where it fits, averaged over pixels and channels: the
    same as scikit-image's structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False).

    Args:
        prediction, target: (N, C, H, W), of any dtype, H and W at least 11, values from 0 to data_range: the index
            compares brightness, so [-1, 1] must be shifted to [0, 2].
        data_range: the largest minus the smallest possible value: 2 for [-1, 1], 255 for 8-bit values.

    Returns:
        (N,).

    Raises:
        ValueError: if the shapes differ, are not (N, C, H, W) or are too small, or data_range is not a positive number.
    """
    from kornia.metrics import ssim as ssim_map  # imported here because it takes seconds

    _check_pair("ssim", prediction, target, data_range)
    height, width = prediction.shape[-2:]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(
            f"ssim needs sides of at least {SSIM_WINDOW} pixels, its window, got images of {height} x {width} (H x W): "
            "use larger images, or psnr"
        )
    one, two = _wide(prediction), _wide(target)
    # eps=0: kornia's default would lower the similarity of images with a small data range.
    similarity: Tensor = ssim_map(one, two, SSIM_WINDOW, max_val=float(data_range), eps=0.0, padding="valid")
    return similarity.flatten(1).mean(dim=1)


@torch.no_grad()
def gradient_energy(images: Tensor) -> Tensor:
    """Mean squared gradient of each image: how sharp it is, and how noisy, for it cannot tell these apart.

    Squared differences of neighbouring pixels, the horizontal plus the vertical ones, each averaged over its places
    and the channels: 0 for a constant image, 1 for one that grows by 1 with every pixel to the right.

    Args:
        images: (N, C, H, W), of any dtype, H and W at least 2.

    Returns:
        (N,), in squared values per squared pixel.

    Raises:
        ValueError: for other shapes.
    """
    if images.ndim != 4 or min(images.shape[-2:]) < 2:
        raise ValueError(
            f"gradient_energy needs images (N, C, H, W) with sides of at least 2 pixels, got {tuple(images.shape)}: "
            "give larger images, one batch at a time"
        )
    down, right = (_wide(images).diff(dim=axis).square().flatten(1).mean(dim=1) for axis in (-2, -1))
    return down + right


@torch.no_grad()
def diversity(images: Tensor, *, data_range: float) -> float:
    """How different the images of a set are from one another, which tells the collapse of a generator.

    The root mean square, over all pairs of images and all pixels, of their difference, divided by the data range: 0
    for images that are all the same, 1 for one black and one white. Larger images are first reduced to a shorter side
    of 32 pixels, by averages of areas, so that noise and texture hardly count. Not the diversity that is measured by
    LPIPS: it needs no network, and sees only layout, tone and colour. Judge it beside that of the targets.

    Args:
        images: (N, C, H, W), of any dtype, N at least 2.
        data_range: the largest minus the smallest possible value: 2 for [-1, 1], 255 for 8-bit values.

    Raises:
        ValueError: for other shapes, or if data_range is not a positive number.
    """
    if images.ndim != 4 or len(images) < 2:
        raise ValueError(
            f"diversity needs at least two images (N, C, H, W) of one size, got {tuple(images.shape)}: give more images"
        )
    _check_data_range(data_range)
    height, width = images.shape[-2:]
    factor = min(1.0, DIVERSITY_SIDE / min(height, width))
    reduced = F.adaptive_avg_pool2d(_wide(images), (round(height * factor), round(width * factor)))
    # The mean squared difference over all pairs is twice the variance: no pair need be formed.
    return (2 * reduced.var(dim=0).mean()).sqrt().item() / data_range


@torch.no_grad()
def sliced_wasserstein(
    a: Tensor, b: Tensor, *, smallest: int = SWD_SMALLEST, patches: int = 128, projections: int = 512, seed: int = 0
) -> dict[str, float]:
    """Distance between the patches of two sets of images (Karras et al. 2018, arXiv:1710.10196), lower is better.

    Each level of the Laplacian pyramid gives random 7x7 patches, whose channels are normalised to mean 0 and variance
    1 over the set. The distance is the mean absolute difference of their sorted projections on random directions,
    times 1000 as in the paper. A level tells of structures of its scale: the finest of texture, the last of layout.
    Both sets are sampled at the same places, so that a set is at distance 0 from itself. Numbers can be compared only
    between sets of one size, since few images raise the distance.

    Args:
        a, b: (N, C, H, W) and (N', C, H, W) in [-1, 1]. If N differs, as many patches of the larger set are drawn.
        smallest: pixels; sides are halved while the shorter one stays at least this long. At least 7.
        patches: from each image and level.
        projections: number of directions.
        seed: of everything random: places, directions, and patches drawn.

    Returns:
        the distance of each level under its size, "256x256" (H x W), "128x128", ..., and their "mean".

    Raises:
        ValueError: if C, H or W differ, an image is smaller than `smallest`, or a number is too small.
    """
    _check_sets(a, b, smallest, patches, projections)
    rng = torch.Generator().manual_seed(seed)
    distances = {}
    for level_a, level_b in zip(_pyramid(_wide(a), smallest), _pyramid(_wide(b), smallest), strict=True):
        height, width = level_a.shape[-2:]
        places = _places(max(len(a), len(b)), patches, height, width, rng)
        points_a, points_b = (_descriptors(level, places.to(level.device)) for level in (level_a, level_b))
        distances[f"{height}x{width}"] = 1000 * _sliced_distance(points_a, points_b, projections, rng)
    return {**distances, "mean": sum(distances.values()) / len(distances)}


def _pyramid(images: Tensor, smallest: int) -> list[Tensor]:
    """Laplacian pyramid: what each halving loses, from the finest to the coarsest, and the last reduced image."""
    levels = []
    while math.ceil(min(images.shape[-2:]) / 2) >= smallest:
        reduced = _blur(images)[..., ::2, ::2]
        enlarged = torch.zeros_like(images)
        enlarged[..., ::2, ::2] = reduced
        levels.append(images - 4 * _blur(enlarged))  # 4: three of four pixels are zeros
        images = reduced
    return [*levels, images]


def _blur(images: Tensor) -> Tensor:
    """Binomial 5x5 filter, mirrored at the edges; shapes stay."""
    line = images.new_tensor([1, 4, 6, 4, 1]) / 16
    kernel = torch.outer(line, line).expand(images.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=images.shape[1])


def _places(images: int, patches: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """(2, images, patches): top and left pixel of each patch."""
    return torch.stack([torch.randint(side - PATCH + 1, (images, patches), generator=rng) for side in (height, width)])


def _descriptors(images: Tensor, places: Tensor) -> Tensor:
    """(N * patches, C * 7 * 7): the patches at these places, each channel with mean 0 and variance 1 over all."""
    top, left = places[:, : len(images)]
    index = torch.arange(len(images), device=images.device)[:, None]
    windows = images.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # (N, C, H - 6, W - 6, 7, 7)
    patches = windows[index, :, top, left].flatten(0, 1)
    variance, mean = torch.var_mean(patches, dim=(0, 2, 3), keepdim=True, correction=0)
    # A constant channel stays 0: below 1e-6 there is only rounding, which must not become a pattern.
    return ((patches - mean) / variance.sqrt().clamp(min=1e-6)).flatten(1)


def _sliced_distance(a: Tensor, b: Tensor, projections: int, rng: torch.Generator) -> float:
    """Mean over random directions of the 1-Wasserstein distance of the projections; the larger set is thinned."""
    count = min(len(a), len(b))
    a, b = (
        points if len(points) == count else points[torch.randperm(len(points), generator=rng)[:count].to(points.device)]
        for points in (a, b)
    )
    total = 0.0
    for start in range(0, projections, 128):  # in parts, to bound the memory
        directions = torch.randn(a.shape[1], min(128, projections - start), generator=rng, dtype=torch.float64).to(a)
        directions /= directions.norm(dim=0, keepdim=True)
        difference = (a @ directions).sort(dim=0).values - (b @ directions).sort(dim=0).values
        total += difference.abs().mean(dim=0).sum().item()
    return total / projections


def _wide(images: Tensor) -> Tensor:
    return images.to(torch.float32 if images.device.type == "mps" else torch.float64)


def _check_pair(name: str, prediction: Tensor, target: Tensor, data_range: float) -> None:
    if prediction.shape != target.shape or prediction.ndim != 4:
        raise ValueError(
            f"{name} needs two image batches of one shape (N, C, H, W), got {tuple(prediction.shape)} and "
            f"{tuple(target.shape)}: bring both to one shape first"
        )
    _check_data_range(data_range)


def _check_data_range(data_range: float) -> None:
    if not 0 < data_range < math.inf:
        raise ValueError(
            f"data_range must be a positive number, got {data_range!r}: give the largest minus the smallest possible "
            "value, 2 for images in [-1, 1]"
        )


def _check_sets(a: Tensor, b: Tensor, smallest: int, patches: int, projections: int) -> None:
    if a.ndim != 4 or a.shape[1:] != b.shape[1:] or 0 in (len(a), len(b)):
        raise ValueError(
            f"sliced_wasserstein needs two sets of images of one size, (N, C, H, W) and (N', C, H, W), got "
            f"{tuple(a.shape)} and {tuple(b.shape)}: resize or crop both to one size"
        )
    for name, value, minimum in [
        ("smallest", smallest, PATCH),
        ("patches", patches, 1),
        ("projections", projections, 1),
    ]:
        if value < minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value!r}: give a larger number")
    if min(a.shape[-2:]) < smallest:
        raise ValueError(
            f"sliced_wasserstein needs sides of at least {smallest} pixels, got images of {a.shape[-2]} x "
            f"{a.shape[-1]} (H x W): use larger images, or a smaller `smallest`, at least {PATCH}"
        )
