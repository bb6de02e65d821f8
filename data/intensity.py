"""Model space, and the only conversions to it and back: values of files and float32 tensors in [-1, 1]."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from translate.data.imresize import imresize
from translate.data.picture import ImageError, Picture

LUMA = (0.299, 0.587, 0.114)  # of R, G, B: ITU-R Recommendation BT.601
DTYPE_RANGES = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0), "float32": (0.0, 1.0)}


class IntensityError(ValueError):
    """A value range that cannot be used."""


@dataclass(frozen=True, slots=True)
class IntensityRange:
    """What -1 and 1 of model space mean: `low` and `high` in `units`, both finite and low < high.

    >>> IntensityRange(-1024, 3071, "HU").to_model(np.array([-1024, 3071]))
    array([-1.,  1.], dtype=float32)
    """

    low: float
    high: float
    units: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise IntensityError(
                f"an intensity range from {self.low!r} to {self.high!r} has no extent: give finite numbers, low < high"
            )

    @classmethod
    def of_dtype(cls, dtype: Any) -> IntensityRange:
        """The range of pictures of this dtype: uint8 0..255, uint16 0..65535, float32 0..1.

        Raises:
            IntensityError: for other dtypes.
        """
        name = np.dtype(dtype).name
        if name not in DTYPE_RANGES:
            raise IntensityError(
                f"{name} has no range of its own, only {', '.join(DTYPE_RANGES)} have: give an IntensityRange"
            )
        return cls(*DTYPE_RANGES[name], units=name)

    def to_model(self, values: np.ndarray) -> np.ndarray:
        """float32 of the same shape, low -> -1 and high -> 1. Values outside the range stay outside [-1, 1]."""
        if values.dtype == np.uint8 and values.size > 256:
            table = self.to_model(np.arange(256, dtype=np.uint8))
            return cv2.LUT(np.ascontiguousarray(values).reshape(1, -1), table).reshape(values.shape)
        scaled = np.subtract(values, (self.high + self.low) / 2, dtype=_precision(values.dtype))
        scaled /= (self.high - self.low) / 2
        return scaled.astype(np.float32, copy=False)

    def from_model(self, values: np.ndarray, dtype: Any) -> np.ndarray:
        """The inverse of `to_model`, of the same shape.

        Integers are rounded half to even and clipped to the limits of the dtype, not to the range; floats are
        neither. `values` must be finite for integers.
        """
        scaled = np.multiply(values, (self.high - self.low) / 2, dtype=_precision(np.dtype(dtype)))
        scaled += (self.high + self.low) / 2
        return as_dtype(scaled, dtype)

    def to_json(self) -> dict[str, float | str]:
        return asdict(self)

    @classmethod
    def from_json(cls, entries: dict[str, Any]) -> IntensityRange:
        """The inverse of `to_json`.

        Raises:
            IntensityError: if the entries are not exactly low, high and units, or of a wrong type.
        """
        numbers = [entries.get(name) for name in ("low", "high")]
        fine = all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
        if set(entries) != {"low", "high", "units"} or not fine or not isinstance(entries["units"], str):
            raise IntensityError(
                f"an intensity range is stored as {entries!r}, it needs the numbers low and high and the text units"
            )
        return cls(float(entries["low"]), float(entries["high"]), entries["units"])


def _precision(dtype: np.dtype) -> type[np.floating]:
    """float32, twice as fast, where stored units are coarse: for integers of up to 16 bits. Else float64."""
    return np.float32 if dtype.kind in "iu" and dtype.itemsize <= 2 else np.float64


def as_dtype(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Finite float values in this dtype: integers rounded half to even and clipped. Overwrites `values`."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        np.rint(values, out=values)
        np.clip(values, limits.min, limits.max, out=values)
    return values.astype(dtype)


def picture_to_tensor(picture: Picture, channels: int, range: IntensityRange | None = None) -> Tensor:
    """(1, channels, H, W) float32 in model space.

    Grey is repeated for 3 channels. RGB becomes luma (Rec. 601, not rounded) for 1. With alpha the colours are
    premultiplied: what is above `low` is multiplied by the opacity, so transparent pixels are `low`.

    Args:
        channels: 1 or 3.
        range: what the values mean; None is the range of the dtype.

    Raises:
        ImageError: for other numbers of channels, and for values that are not finite.
    """
    if channels not in (1, 3):
        raise ImageError(f"a picture has 1 or 3 channels, got {channels}: use a network with in_channels 1 or 3")
    range = range or IntensityRange.of_dtype(picture.pixels.dtype)
    if picture.pixels.dtype == np.float32:
        check_finite(picture)
    values = range.to_model(_planes(picture.pixels))
    if picture.alpha is not None:
        values += 1
        values *= opacity_of(picture.alpha, np.float32)
        values -= 1
    values = _with_channels(values, channels)
    return torch.from_numpy(values.astype(np.float32, copy=False))[None]


def tensor_to_picture(
    output: Tensor,
    given: Tensor,
    source: Picture,
    *,
    range_in: IntensityRange | None = None,
    range_out: IntensityRange | None = None,
    follow_input: bool = False,
) -> Picture:
    """The picture of a network's output, in the dtype of the source and with its metadata and alpha.

    An identity network gives the source's pixels back, bit for bit, also where they are transparent.
    Alpha of another size is resized. The ICC profile stays only where grey stayed grey or RGB stayed RGB.

    Args:
        output: (1, C', H', W') in model space, C' is 1 or 3.
        given: (1, C, H, W), the result of `picture_to_tensor` for the source.
        range_in, range_out: what the values of given and of output mean; None is the range of the dtype.
        follow_input: whether the result has as many colour channels as the source; else it has C'.

    Raises:
        ImageError: if the output is not finite or not of such a shape.
    """
    _check_output(output)
    dtype = source.pixels.dtype
    range_in = range_in or IntensityRange.of_dtype(dtype)
    range_out = range_out or IntensityRange.of_dtype(dtype)
    channels = source.pixels.shape[2] if follow_input else output.shape[1]
    translated = _with_channels(_to_array(output), channels)  # (channels, H', W')
    metadata = source.metadata if channels == source.pixels.shape[2] else replace(source.metadata, icc=None)
    # A network of one channel has not seen the colours of an RGB source: adding them again would not be its output.
    comparable = output.shape == given.shape and range_in == range_out and given.shape[1] >= source.pixels.shape[2]
    if comparable and (source.alpha is not None or dtype == np.float32):  # integers without alpha are exact anyway
        change = np.subtract(translated, _with_channels(_to_array(given), channels), dtype=_precision(dtype))
        change *= (range_out.high - range_out.low) / 2
        return Picture(_pixels(_add_change(source, change)), source.alpha, metadata)
    if source.alpha is None:
        return Picture(_pixels(range_out.from_model(translated, dtype)), None, metadata)
    alpha = resize_alpha(source.alpha, *translated.shape[1:])
    return Picture(_pixels(_divide_by_alpha(translated, alpha, range_out)), alpha, metadata)


def check_finite(picture: Picture) -> None:
    """Raise ImageError for values that are NaN or infinite."""
    bad = picture.pixels.size - int(np.isfinite(picture.pixels).sum())
    if picture.alpha is not None:
        bad += picture.alpha.size - int(np.isfinite(picture.alpha).sum())
    if bad:
        raise ImageError(f"{bad} values are NaN or infinite, all must be finite: replace them first")


def _check_output(output: Tensor) -> None:
    if output.ndim != 4 or output.shape[0] != 1 or output.shape[1] not in (1, 3):
        raise ImageError(
            f"the network's output has the shape {tuple(output.shape)}, a picture needs (1, 1 or 3, H, W): "
            "convert one picture at a time"
        )
    if not all(math.isfinite(extreme) for extreme in torch.aminmax(output)):
        bad = output.numel() - int(torch.isfinite(output).sum())
        raise ImageError(
            f"the network produced NaN or infinity in {bad} of {output.numel()} values: "
            "run it in float32, or use another checkpoint"
        )


def _to_array(tensor: Tensor) -> np.ndarray:
    """(C, H, W) float32."""
    return tensor[0].detach().to("cpu", torch.float32).numpy()


def _planes(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) -> (C, H, W), as tensors have it: values are moved while they are small."""
    planes = np.empty((pixels.shape[2], *pixels.shape[:2]), pixels.dtype)
    # 3 to 8 times as fast as a transposition, but for rows that are apart: there it may take 10 times as long.
    cv2.split(np.ascontiguousarray(pixels), list(planes))
    return planes


def _pixels(planes: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H, W, C)."""
    return cv2.merge(list(planes)) if len(planes) > 1 else planes[0][..., None]


def _with_channels(planes: np.ndarray, channels: int) -> np.ndarray:
    """Repeat one channel for three; weigh three to luma in float64 for one."""
    if planes.shape[0] == channels:
        return planes
    return np.tensordot([LUMA], planes, axes=1) if channels == 1 else np.repeat(planes, channels, axis=0)


def opacity_of(alpha: np.ndarray, dtype: Any) -> np.ndarray:
    """(H, W) of this float dtype, 0 transparent to 1 opaque."""
    return np.divide(alpha, DTYPE_RANGES[alpha.dtype.name][1], dtype=dtype)


def _inverse_opacity(alpha: np.ndarray) -> np.ndarray:
    """(H, W), what premultiplied colours are multiplied by; 0 where alpha is 0."""
    opacity = opacity_of(alpha, _precision(alpha.dtype))
    return np.divide(1, opacity, out=np.zeros_like(opacity), where=opacity > 0)


def _add_change(source: Picture, change: np.ndarray) -> np.ndarray:
    """(C, H, W): source plus change of premultiplied colours / alpha; the source's colour where alpha is 0."""
    if source.alpha is not None:
        change *= _inverse_opacity(source.alpha)
    return as_dtype(_planes(source.pixels) + change, source.pixels.dtype)


def _divide_by_alpha(premultiplied: np.ndarray, alpha: np.ndarray, range: IntensityRange) -> np.ndarray:
    """Straight colours of model values (C, H, W); `low` (0 for pictures) where alpha is 0."""
    return range.from_model((premultiplied + 1) * _inverse_opacity(alpha) - 1, alpha.dtype)


def resize_alpha(alpha: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bicubic, antialiased where it becomes smaller, clipped to [0, opaque]; the same object where it has that size."""
    if alpha.shape == (height, width):
        return alpha
    opacity = imresize(opacity_of(alpha, np.float32), (height, width))
    return as_dtype(np.clip(opacity, 0, 1) * DTYPE_RANGES[alpha.dtype.name][1], alpha.dtype)
