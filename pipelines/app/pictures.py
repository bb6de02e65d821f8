"""Pictures that are uploaded: enlarged or translated, with a preview of before and after and the file to download."""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from translate.data.images import Picture, lossless_suffix, write_picture
from translate.data.resize import reduce_picture
from translate.pipelines.app.uploads import SHOWN, Limits, Report, Workspace, read_upload, safe_stem, to_screen
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.super_resolution import OutputSize, SuperResolution


@dataclass(frozen=True)
class Order:
    """What is wanted of a picture.

    scale: times as wide and high, of a model that enlarges; None is the model's own.
    size: the shorter side to which the picture is reduced first; None leaves it.
    """

    scale: float | None = None
    size: int | None = None


@dataclass(frozen=True)
class Translated:
    """Before and after, (H, W, 3) uint8 of one size of at most SHOWN pixels a side; and the file, of full quality."""

    before: np.ndarray
    after: np.ndarray
    file: Path
    summary: str


def translate_upload(
    pipeline: Pipeline,
    upload: Path,
    order: Order,
    place: tuple[Limits, Workspace],
    report: Report = lambda share, text: None,
) -> Translated:
    """Translate a file as `translate infer` does: value type, alpha and metadata are kept.

    Raises:
        ImageError: it cannot be read, is too large, or its result would be.
    """
    limits, workspace = place
    report(0.05, "reading")
    picture = reduce_picture(read_upload(upload, limits), order.size)
    height, width = picture.pixels.shape[:2]
    if isinstance(pipeline, SuperResolution):
        made = OutputSize(order.scale).of(height, width, pipeline.scale)
        limits.check_made(*made)
        limits.check_made(height * pipeline.scale, width * pipeline.scale)
        pipeline = pipeline.with_settings(size=OutputSize(order.scale))
    prepared = pipeline.prepare(picture)
    report(0.15, f"translating {width} x {height} pixels")
    result = pipeline.finish(pipeline.run(prepared.images), prepared)
    report(0.85, "writing")
    suffix = lossless_suffix(picture.metadata.format, result.pixels.dtype, result.alpha is not None)
    name = f"{safe_stem(upload)}-translated{suffix}"
    file = workspace.download(name)
    write_picture(result, file)
    before, after = _side_by_side(picture, result)
    made_height, made_width = result.pixels.shape[:2]
    summary = f"{width} x {height} → {made_width} x {made_height} pixels, {_depth(result)}, {suffix[1:].upper()}"
    if max(made_height, made_width) > SHOWN:
        summary += f"; shown reduced to {max(after.shape)} pixels, the download has all"
    return Translated(before, after, file, summary)


def preview(upload: Path, limits: Limits) -> np.ndarray:
    """What was uploaded, (H, W, 3) uint8 of at most SHOWN pixels a side. Raises ImageError."""
    return fitted(to_screen(read_upload(upload, limits)))


def fitted(values: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of at most SHOWN pixels a side, averaged where it is larger."""
    longest = max(values.shape[:2])
    if longest <= SHOWN:
        return values
    height, width = (max(1, round(side * SHOWN / longest)) for side in values.shape[:2])
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)


def _side_by_side(picture: Picture, result: Picture) -> tuple[np.ndarray, np.ndarray]:
    """Before enlarged to the size of after (bicubic), both as they are shown."""
    after = fitted(to_screen(result))
    before = to_screen(replace(picture, alpha=None) if result.alpha is None else picture)
    height, width = after.shape[:2]
    smaller = height * width < before.shape[0] * before.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(before, (width, height), interpolation=how), after


def _depth(picture: Picture) -> str:
    kind = {"uint8": "8 bits", "uint16": "16 bits", "float32": "32-bit floats"}[picture.pixels.dtype.name]
    colour = "grey" if picture.pixels.shape[2] == 1 else "colour"
    return f"{kind}, {colour}{'' if picture.alpha is None else ' and alpha'}"
