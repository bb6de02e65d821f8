"""The steps that make pictures bad, and a plan of them applied. Nothing here is random: noise has its seed in its step.

Between the steps pictures are float32 (H, W) or (H, W, 3) in about [0, 1], rounded by JPEG and at the end only.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from translate.data import blur_kernels
from translate.data.imresize import imresize
from translate.data.picture import ImageError

Step = dict[str, Any]  # what JSON can hold: {"step": "jpeg", "quality": 41}
METHODS = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
LONGEST_SIDE = 65500  # pixels, of a JPEG


class Frame(NamedTuple):
    """Height and width of the whole plan's input and output."""

    given: tuple[int, int]
    wanted: tuple[int, int]


def apply(image: np.ndarray, steps: Sequence[Step], size: tuple[int, int]) -> np.ndarray:
    """The picture after all steps, of `size` (H', W') and with the dtype and the channels of `image`.

    The steps, each {"step": name, ...}:
        blur: kernel and size; sigma (two), angle and beta, or cutoff, as the functions of blur_kernels.
        resize: to factor times the size of `image`, by method "area", "bilinear" or "bicubic".
        fit: to `size`, by method.
        noise: kind "gaussian" with sigma in 8-bit grey levels, or "poisson" with scale; grey (the same noise in all
            channels) and seed.
        jpeg: quality, 1 to 100, with OpenCV's chroma subsampling (4:2:0).
        imresize: MATLAB's bicubic to `size`; stands alone.

    Args:
        image: (H, W, C), C is 1 (grey) or 3 (RGB), uint8; for imresize also uint16 or float32.

    Raises:
        ImageError: for other pictures, a step that is unknown or lacks something, and if the size is not reached.
    """
    if image.ndim != 3 or image.shape[2] not in (1, 3) or min(*image.shape, *size) < 1:
        raise ImageError(
            f"a picture to degrade is (H, W, 1) or (H, W, 3) and has sides of at least 1 before and after, got "
            f"{image.shape} to become {size[0]} x {size[1]}: convert it first"
        )
    if [step.get("step") for step in steps] == ["imresize"]:
        return imresize(image, size)
    if image.dtype != np.uint8:
        raise ImageError(
            f"real degradations include JPEG, which has 8 bits, got a picture of {image.dtype}: convert it to uint8, "
            "or use kind 'bicubic'"
        )
    frame = Frame(image.shape[:2], size)
    working = (image[..., 0] if image.shape[2] == 1 else image).astype(np.float32) / 255
    for step in steps:
        working = _apply_step(working, step, frame)
    if working.shape[:2] != size:
        raise ImageError(
            f"the steps leave {working.shape[0]} x {working.shape[1]} pixels (H x W), not the {size[0]} x {size[1]} "
            "asked for: end them with a step 'fit'"
        )
    return _to_8_bits(working).reshape(*size, image.shape[2])


def _apply_step(image: np.ndarray, step: Step, frame: Frame) -> np.ndarray:
    name = step.get("step")
    if name not in ACTIONS:
        raise ImageError(f"unknown step {name!r}, allowed are {', '.join(ACTIONS)}, and imresize alone")
    try:
        return ACTIONS[name](image, step, frame)
    except KeyError as missing:
        raise ImageError(f"the step {step!r} lacks or does not know {missing}: use a plan as draw makes it") from None


def kernel_of(step: Step) -> np.ndarray:
    """The (size, size) kernel of a blur.

    Raises:
        ImageError: for an unknown name, and as the functions of blur_kernels.
    """
    size = step["size"]
    match step["kernel"]:
        case "isotropic" | "anisotropic":
            return blur_kernels.gaussian(size, step["sigma"], step["angle"])
        case "generalised_isotropic" | "generalised_anisotropic":
            return blur_kernels.generalised_gaussian(size, step["sigma"], step["angle"], step["beta"])
        case "plateau_isotropic" | "plateau_anisotropic":
            return blur_kernels.plateau(size, step["sigma"], step["angle"], step["beta"])
        case "sinc":
            return blur_kernels.sinc(size, step["cutoff"])
    raise ImageError(
        f"unknown kernel {step['kernel']!r}, allowed are sinc, isotropic and anisotropic, the latter two also after "
        "generalised_ and plateau_"
    )


def _blur(image: np.ndarray, step: Step, frame: Frame) -> np.ndarray:
    return cv2.filter2D(image, -1, kernel_of(step), borderType=cv2.BORDER_REFLECT_101)


def _resize(image: np.ndarray, step: Step, frame: Frame) -> np.ndarray:
    height, width = (max(1, round(side * step["factor"])) for side in frame.given)
    return cv2.resize(image, (width, height), interpolation=METHODS[step["method"]])


def _fit(image: np.ndarray, step: Step, frame: Frame) -> np.ndarray:
    return cv2.resize(image, frame.wanted[::-1], interpolation=METHODS[step["method"]])


def _noise(image: np.ndarray, step: Step, frame: Frame) -> np.ndarray:
    """The noisy picture, clipped to [0, 1] before and after."""
    image = np.clip(image, 0, 1)
    colour = image.ndim == 3
    rng = np.random.default_rng(step["seed"])
    source = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if colour and step["grey"] else image
    noise = NOISES[step["kind"]](rng, source, step)
    if colour and step["grey"]:
        noise = noise[..., None]
    return np.clip(image + noise, 0, 1)


def _gaussian(rng: np.random.Generator, source: np.ndarray, step: Step) -> np.ndarray:
    return rng.standard_normal(source.shape, dtype=np.float32) * np.float32(step["sigma"] / 255)


def _poisson(rng: np.random.Generator, source: np.ndarray, step: Step) -> np.ndarray:
    """`scale` times the noise of a picture in which a grey level is a photon: scale * sqrt(level) grey levels."""
    photons = rng.poisson(source * 255.0)
    return (photons / 255 - source).astype(np.float32) * np.float32(step["scale"])


def _jpeg(image: np.ndarray, step: Step, frame: Frame) -> np.ndarray:
    if max(image.shape[:2]) > LONGEST_SIDE:
        raise ImageError(
            f"the picture has {image.shape[0]} x {image.shape[1]} pixels (H x W) when it becomes a JPEG, which has at "
            f"most {LONGEST_SIDE} a side: cut it into pieces"
        )
    pixels = _to_8_bits(image)
    colour = pixels.ndim == 3
    stored = cv2.imencode(".jpg", pixels[..., ::-1] if colour else pixels, [cv2.IMWRITE_JPEG_QUALITY, step["quality"]])
    decoded = cv2.imdecode(stored[1], cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return (decoded[..., ::-1] if colour else decoded).astype(np.float32) / 255


def _to_8_bits(image: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


ACTIONS: dict[str, Callable[[np.ndarray, Step, Frame], np.ndarray]] = {
    "blur": _blur,
    "resize": _resize,
    "fit": _fit,
    "noise": _noise,
    "jpeg": _jpeg,
}
NOISES: dict[str, Callable[[np.random.Generator, np.ndarray, Step], np.ndarray]] = {
    "gaussian": _gaussian,
    "poisson": _poisson,
}
