"""How good a super-resolver is, on the protocol by which the literature reports PSNR and SSIM.

Each HR picture is cut to a multiple of the scale at its top left corner. LR is MATLAB's bicubic `imresize` of these
8-bit values, rounded to 8 bits, or a file that is given. The model's output is taken as it would be written, 8-bit, and
measured on Y as translate/super_resolution_metrics.py says, without a border of `scale` pixels. Figures are means over
the pictures.

There are two bicubic baselines. "bicubic" enlarges the same LR as the model, to 8-bit RGB, and is measured alike: only
it may be compared with the model. "bicubic_published" is the chain of the figures in the literature's tables, a check
of the metrics and of the HR pictures. They differ by 0.01 dB on Set5.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from translate.data.folders import list_images, pair_folders, shown
from translate.data.images import ImageError, Picture, PictureInfo, probe_picture, read_picture
from translate.data.imresize import imresize
from translate.data.intensity import IntensityRange, picture_to_tensor
from translate.data.picture import naming
from translate.metrics import SSIM_WINDOW, sliced_wasserstein
from translate.pipelines.evaluation import mean_of, write_csv
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.super_resolution import OutputSize, SuperResolution
from translate.super_resolution_metrics import luma_figures, published_bicubic

PERCEPTUAL_WINDOW = 16  # pixels, the smallest side that the layers of VGG16 take
BICUBIC, PUBLISHED = "_bicubic", "_bicubic_published"  # what the baselines' columns end in

Distance = Callable[[Tensor, Tensor], Tensor]  # of (N, 3, H, W) in model space each: (N,)


@dataclass(frozen=True)
class Subject:
    """A picture of the set, known by its header: the size to which HR is cut, and the LR file if one is given."""

    name: str
    hr: Path
    lr: Path | None
    height: int
    width: int


@dataclass(frozen=True)
class Measured:
    """A picture's figures, and the uint8 centre (h, w, 3) of each version that the set's distance needs."""

    row: dict[str, Any]
    target: np.ndarray
    output: np.ndarray
    bicubic: np.ndarray


def evaluate_super_resolution(
    pipeline: Pipeline,
    hr: Path,
    csv_path: Path | None = None,
    *,
    scale: int | None = None,
    lr: Path | None = None,
    lr_suffix: str = "",
    self_ensemble: bool = False,
    perceptual: Distance | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Enlarge what is made of every HR picture, and compare it with that picture by the protocol above.

    Besides PSNR (dB) and SSIM: "swd" is the sliced Wasserstein distance (x 1000) between the sets of outputs and HR as
    RGB, cut to one size around their centres; "gradient_energy" the mean squared gradient of Y divided by that of HR,
    1 for as sharp, None if all HR are flat; "lpips" the perceptual distance of RGB. All but "swd" leave out the border.
    A grey HR picture is Y itself; outputs are brought to HR's colour channels.

    Args:
        hr: folder of 8-bit pictures without alpha.
        csv_path: gets a row for each picture, written whole or not at all.
        scale: the model's by default.
        lr: folder of what to enlarge, matched with `hr` by name; None makes it of HR.
        lr_suffix: what the names in `lr` end in beyond the common name, such as "x2".
        self_ensemble: enlarge by the mean over eight mirrored and transposed views.
        perceptual: gives "lpips", such as an LPIPS network on the pipeline's device.

    Returns:
        {"images", "scale", "psnr", "ssim", "swd", "gradient_energy", "lpips" if there is `perceptual`, "bicubic": these
        figures of the bicubic enlargement, "bicubic_published": {"psnr", "ssim"} or None if `lr` was given, "csv"}.

    Raises:
        ImageError: before anything runs if the model does not enlarge or has another scale, a picture is too small,
            not 8-bit or has alpha, LR and HR do not fit, or `csv_path` is a folder; for a broken picture.
    """
    if csv_path is not None and csv_path.is_dir():
        raise ImageError(f"{csv_path} is a folder: name a file for the figures of each image")
    scale = checked_scale(pipeline, scale)
    pipeline = _at_its_own_size(pipeline, self_ensemble)
    subjects = find_subjects(hr, scale, lr, lr_suffix, window=PERCEPTUAL_WINDOW if perceptual else SSIM_WINDOW)
    cut = (min(subject.height for subject in subjects), min(subject.width for subject in subjects))
    progress = tqdm(subjects, unit="image", disable=not show_progress)
    measured = [_measure(pipeline, subject, scale, cut, perceptual) for subject in progress]
    rows, targets = [one.row for one in measured], [one.target for one in measured]
    summary: dict[str, Any] = {"images": len(rows), "scale": scale}
    summary |= _summary(rows, [one.output for one in measured], targets)
    summary["bicubic"] = _summary(rows, [one.bicubic for one in measured], targets, BICUBIC)
    published = {key: mean_of(rows, key + PUBLISHED) for key in ("psnr", "ssim")} if lr is None else None
    if csv_path is not None:
        write_csv(rows, csv_path)
    return summary | {"bicubic_published": published, "csv": str(csv_path) if csv_path else None}


def checked_scale(pipeline: Pipeline, wanted: int | None) -> int:
    """The model's scale, which must be the wanted one. Raises ImageError."""
    scale = int(pipeline.generator.scale)  # type: ignore[arg-type]
    if scale == 1:
        raise ImageError("the model does not enlarge, its scale is 1: use translate evaluate pairs")
    if wanted not in (None, scale):
        raise ImageError(f"the scale is {wanted}, but the model enlarges {scale} times: give {scale}, or another model")
    return scale


def _at_its_own_size(pipeline: Pipeline, self_ensemble: bool) -> Pipeline:
    if isinstance(pipeline, SuperResolution):
        size = OutputSize(max_pixels=pipeline.size.max_pixels)
        return pipeline.with_settings(size=size, self_ensemble=self_ensemble or None)
    if self_ensemble:
        raise ImageError(
            f"the self-ensemble is for models of the task 'super_resolution', this one's is {pipeline.config.task!r}: "
            "leave it out"
        )
    return pipeline


def find_subjects(
    hr: Path, scale: int, lr: Path | None = None, lr_suffix: str = "", *, window: int = SSIM_WINDOW
) -> list[Subject]:
    """List the pictures and check them all by their headers.

    Args:
        window: pixels that must be left inside the border, high and wide.

    Raises:
        ImageError: as `evaluate_super_resolution` does before anything runs.
    """
    if lr is None and lr_suffix:
        raise ImageError(f"the LR suffix {lr_suffix!r} needs a folder of LR pictures: give it, or leave the suffix out")
    found: list[tuple[str, Path, Path | None]]
    if lr is None:
        found = [(path.relative_to(hr).with_suffix("").as_posix(), path, None) for path in list_images(hr)]
    else:
        found = [(pair.name, pair.target, pair.source) for pair in pair_folders(lr, hr, source_suffix=lr_suffix)]
    subjects = []
    for name, path, small in found:
        info = _checked_info(path)
        subjects.append(Subject(name, path, small, info.height // scale * scale, info.width // scale * scale))
    _check_large_enough(subjects, scale, window)
    _check_lr(subjects, scale)
    return subjects


def _checked_info(path: Path) -> PictureInfo:
    info = probe_picture(path)
    if info.dtype != np.uint8:
        raise ImageError(f"{path} is {info.dtype}, the protocol is for 8-bit pictures: convert it to uint8 first")
    if info.has_alpha:
        raise ImageError(f"{path} has an alpha channel, of which the protocol knows nothing: remove it first")
    return info


def _check_large_enough(subjects: list[Subject], scale: int, window: int) -> None:
    needed = -(-(window + 2 * scale) // scale) * scale
    small = [f"{s.name} ({s.width} x {s.height})" for s in subjects if min(s.height, s.width) < needed]
    if small:
        raise ImageError(
            f"{len(small)} of {len(subjects)} HR pictures are too small (W x H, multiples of {scale}): {shown(small)}; "
            f"sides of {needed} leave the {window} pixels inside the border that are needed: leave the small ones out"
        )


def _check_lr(subjects: list[Subject], scale: int) -> None:
    wrong = []
    for subject in subjects:
        if subject.lr is None:
            continue
        info = _checked_info(subject.lr)
        if (info.height * scale, info.width * scale) != (subject.height, subject.width):
            due = f"{subject.width // scale} x {subject.height // scale}"
            wrong.append(f"{subject.name} ({info.width} x {info.height} instead of {due})")
    if wrong:
        raise ImageError(
            f"{len(wrong)} of {len(subjects)} LR pictures differ in size from HR divided by {scale}, rounded down "
            f"(W x H): {shown(wrong)}; give the LR pictures of this scale, or none to have them made"
        )


def _measure(
    pipeline: Pipeline, subject: Subject, scale: int, cut: tuple[int, int], perceptual: Distance | None
) -> Measured:
    target = read_picture(subject.hr).pixels[: subject.height, : subject.width]
    size = target.shape[:2]
    small = read_picture(subject.lr).pixels if subject.lr else imresize(target, (size[0] // scale, size[1] // scale))
    with naming(subject.name):
        made = pipeline(Picture(small), output_type="picture").pixels
    output, bicubic = (_with_channels(pixels, target.shape[2]) for pixels in (made, imresize(small, size)))
    row: dict[str, Any] = {"name": subject.name, "width": size[1], "height": size[0]}
    for ending, pixels in (("", output), (BICUBIC, bicubic)):
        figures = _figures(pixels, target, scale, perceptual, pipeline.device)
        row |= {key + ending: value for key, value in figures.items()}
    if subject.lr is None:
        row |= {key + PUBLISHED: value for key, value in published_bicubic(target, scale).items()}
    return Measured(row, *(_centre(pixels, cut) for pixels in (target, output, bicubic)))


def _figures(
    output: np.ndarray, target: np.ndarray, scale: int, perceptual: Distance | None, device: torch.device
) -> dict[str, float | None]:
    """By names, of uint8 pictures (H, W, C) without their border."""
    figures = luma_figures(output, target, border=scale)
    if perceptual is not None:
        colours = (_colour_tensor(pixels[scale:-scale, scale:-scale]).to(device) for pixels in (output, target))
        figures["lpips"] = perceptual(*colours).item()
    return figures


def _colour_tensor(pixels: np.ndarray) -> Tensor:
    """(1, 3, H, W) in model space."""
    return picture_to_tensor(Picture(pixels), 3)


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (H, W, channels): grey repeated, or RGB to luma of full range and rounded."""
    if pixels.shape[2] == channels:
        return pixels
    planes = picture_to_tensor(Picture(pixels), channels)[0].numpy()
    return IntensityRange.of_dtype(np.uint8).from_model(planes.transpose(1, 2, 0), np.uint8)


def _centre(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A copy of the (h, w, 3) in the middle, so that the whole can be freed."""
    top, left = ((have - due) // 2 for have, due in zip(pixels.shape, size, strict=False))
    return _with_channels(pixels[top : top + size[0], left : left + size[1]].copy(), 3)


def _summary(
    rows: list[dict[str, Any]], outputs: list[np.ndarray], targets: list[np.ndarray], ending: str = ""
) -> dict[str, Any]:
    """Means of the figures whose columns have this ending, and the distance between the two sets."""
    made, wanted = (torch.cat([_colour_tensor(image) for image in images]) for images in (outputs, targets))
    figures = {"psnr": mean_of(rows, "psnr" + ending), "ssim": mean_of(rows, "ssim" + ending)}
    figures["swd"] = sliced_wasserstein(made, wanted)["mean"]
    names = [name for name in ("gradient_energy", "lpips") if name in rows[0]]
    return figures | {name: mean_of(rows, name + ending) for name in names}
