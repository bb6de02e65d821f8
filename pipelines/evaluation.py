"""How good a model is on images whose translation is known."""

import csv
import os
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from translate.data.folders import Pair, check_sizes, pair_folders
from translate.data.images import ImageError, Picture, read_picture, write_picture
from translate.data.intensity import picture_to_tensor
from translate.data.resize import reduce_picture
from translate.metrics import SSIM_WINDOW, SWD_SMALLEST, diversity, psnr, sliced_wasserstein, ssim
from translate.pipelines.inference.pipeline import Pipeline
from translate.sheet import draw_sheet
from translate.sizes import centre_crop

DATA_RANGE = 2.0  # of model space
SHEET_ACROSS = 3  # pairs beside one another
SHEET_SPACE = 16  # pixels between them


@dataclass(frozen=True)
class Measured:
    """One pair: its figures, and the images (C, H, W) in model space that the figures of the set need."""

    row: dict[str, Any]
    source: Tensor  # may have another size than the others
    output: Tensor
    target: Tensor


def evaluate_pairs(
    pipeline: Pipeline,
    source: Path,
    target: Path,
    csv_path: Path | None = None,
    *,
    source_suffix: str = "",
    target_suffix: str = "",
    size: int | None = None,
    sheet: Path | None = None,
    sheet_images: int = 12,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Translate every source and compare what would be written, rounded to its value type, with the target.

    PSNR (dB, inf for equal images) and SSIM are means over the images, SSIM over those of 11 pixels and more; "swd" is
    the sliced Wasserstein distance (x 1000) between the sets of outputs and targets, cut to one size around their
    centres, as colour if some are; it is None where they are smaller than 16 pixels. "diversity" tells how different
    the outputs, cut alike, are from one another, 0 to 1, and "diversity_targets" the targets; None of a single image.
    The data range is that of the target's value type, or the model's own. "do_nothing" gives the same for the sources
    as they are, where they have the targets' size.

    Args:
        csv_path: gets a row for each image, written whole or not at all.
        size: larger images, sources and targets, are first reduced to this shorter side; needs a scale of 1.
        sheet: a .png that gets source, output and target of some pairs beside one another, three pairs to a row,
            written whole or not at all.
        sheet_images: how many pairs, spread evenly over the set.

    Returns:
        {"images", "psnr", "ssim", "swd", "diversity", "diversity_targets", "do_nothing": {...} or None, "csv",
        "sheet"}.

    Raises:
        ImageError: pairs are incomplete, an image is broken, an output differs from its target in size, or a file
            cannot be written by that name.
    """
    if csv_path is not None and csv_path.is_dir():
        raise ImageError(f"{csv_path} is a folder: name a file for the figures of each image")
    check_sheet(sheet, sheet_images)
    if size is not None and pipeline.generator.scale != 1:
        raise ImageError(
            f"a size cannot be given for a model that enlarges {pipeline.generator.scale} times: leave it out"
        )
    pairs = pair_folders(source, target, source_suffix=source_suffix, target_suffix=target_suffix)
    check_sizes(pairs, scale=int(pipeline.generator.scale))  # type: ignore[arg-type]
    shown = tqdm(pairs, unit="image", disable=not show_progress)
    measured = [_measure(pipeline, pair, size) for pair in shown]
    rows = [one.row for one in measured]
    summary: dict[str, Any] = {"images": len(rows), "psnr": mean_of(rows, "psnr"), "ssim": mean_of(rows, "ssim")}
    outputs, targets = _cut([one.output for one in measured], [one.target for one in measured])
    summary["swd"] = _distance(outputs, targets)
    summary |= {"diversity": _diversity(outputs), "diversity_targets": _diversity(targets)}
    summary["do_nothing"] = _do_nothing(measured)
    if csv_path is not None:
        write_csv(rows, csv_path)
    if sheet is not None:
        write_sheet(measured, sheet, sheet_images)
    return summary | {"csv": str(csv_path) if csv_path else None, "sheet": str(sheet) if sheet else None}


def check_sheet(path: Path | None, images: int) -> None:
    """Raise ImageError unless a sheet of so many images can be written there."""
    if path is not None and (path.is_dir() or path.suffix.lower() != ".png"):
        raise ImageError(f"{path} is no name of a sheet: name a .png file")
    if images < 1:
        raise ImageError(f"a sheet needs at least 1 image, got {images}: give a larger number")


def _measure(pipeline: Pipeline, pair: Pair, size: int | None) -> Measured:
    source, target = (reduce_picture(read_picture(path), size) for path in (pair.source, pair.target))
    prepared = pipeline.prepare(source)
    made = pipeline.finish(pipeline.run(prepared.images), prepared)
    if made.pixels.dtype != target.pixels.dtype:
        raise ImageError(
            f"{pair.name}: the output is {made.pixels.dtype} like its source, the target is {target.pixels.dtype}: "
            "compare images of one value type"
        )
    channels = max(made.pixels.shape[2], target.pixels.shape[2])
    output, wanted = (_tensor(pipeline, picture, channels) for picture in (made, target))
    row = {"name": pair.name, "width": target.info.width, "height": target.info.height}
    row |= {"psnr": psnr(output, wanted, data_range=DATA_RANGE).item(), "ssim": _ssim(output, wanted)}
    given = _tensor(pipeline, source, channels)
    if given.shape == wanted.shape:
        row["psnr_do_nothing"] = psnr(given, wanted, data_range=DATA_RANGE).item()
        row["ssim_do_nothing"] = _ssim(given, wanted)
    return Measured(row, given[0], output[0], wanted[0])


def _tensor(pipeline: Pipeline, picture: Picture, channels: int) -> Tensor:
    """(1, C, H, W) in the model space of the model's output."""
    return picture_to_tensor(picture, channels, pipeline.output.intensity())


def _ssim(output: Tensor, target: Tensor) -> float | None:
    """None for an image smaller than the window."""
    if min(output.shape[-2:]) < SSIM_WINDOW:
        return None
    return ssim(output + 1, target + 1, data_range=DATA_RANGE).item()  # it compares brightness: 0 must be dark


def _do_nothing(measured: list[Measured]) -> dict[str, Any] | None:
    """None where some sources have another size than their targets."""
    rows = [one.row for one in measured]
    if not all("psnr_do_nothing" in row for row in rows):
        return None
    return {
        "psnr": mean_of(rows, "psnr_do_nothing"),
        "ssim": mean_of(rows, "ssim_do_nothing"),
        "swd": _distance(*_cut([one.source for one in measured], [one.target for one in measured])),
    }


def mean_of(rows: list[dict[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None


def _cut(made: list[Tensor], wanted: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Both sets, (N, C, h, w) each: cut to one size around their centres, as colour if some are."""
    images = [*made, *wanted]
    channels = max(image.shape[0] for image in images)
    cut = centre_crop([image.expand(channels, -1, -1) for image in images])
    return cut[: len(made)], cut[len(made) :]


def _distance(made: Tensor, wanted: Tensor) -> float | None:
    """None for images smaller than what the distance compares."""
    return sliced_wasserstein(made, wanted)["mean"] if min(made.shape[-2:]) >= SWD_SMALLEST else None


def _diversity(images: Tensor) -> float | None:
    """None of a single image."""
    return diversity(images, data_range=DATA_RANGE) if len(images) > 1 else None


def write_sheet(measured: list[Measured], path: Path, count: int) -> None:
    """Source, output and target of `count` pairs, or of all if there are fewer, spread evenly over the set."""
    count = min(count, len(measured))
    picked = [measured[index * len(measured) // count] for index in range(count)]
    space = torch.ones(3, 1, SHEET_SPACE)  # white
    shown = [[one.source, one.output, one.target, space] for one in picked]
    rows = [list(chain(*shown[start : start + SHEET_ACROSS]))[:-1] for start in range(0, count, SHEET_ACROSS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(draw_sheet(rows), path)


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    with open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(aside, path)
