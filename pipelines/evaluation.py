"""How good a model is on images whose translation is known."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from translate.data.folders import Pair, check_sizes, pair_folders
from translate.data.images import ImageError, Picture, read_picture
from translate.data.intensity import picture_to_tensor
from translate.data.resize import reduce_picture
from translate.metrics import SSIM_WINDOW, psnr, sliced_wasserstein, ssim
from translate.pipelines.inference.pipeline import Pipeline
from translate.sizes import centre_crop

DATA_RANGE = 2.0  # of model space


@dataclass(frozen=True)
class Measured:
    """One pair: figures of the output and of the source itself, and what the set's distance needs."""

    row: dict[str, Any]
    output: Tensor
    target: Tensor
    source: Tensor | None


def evaluate_pairs(
    pipeline: Pipeline,
    source: Path,
    target: Path,
    csv_path: Path | None = None,
    *,
    source_suffix: str = "",
    target_suffix: str = "",
    size: int | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Translate every source and compare what would be written, rounded to its value type, with the target.

    PSNR (dB, inf for equal images) and SSIM are means over the images, SSIM over those of 11 pixels and more; "swd" is
    the sliced Wasserstein distance (x 1000) between the sets of outputs and targets, cut to one size around their
    centres, as colour if some are; it is None where they are smaller than 16 pixels.
    The data range is that of the target's value type, or the model's own. "do_nothing" gives the same for the sources
    as they are, where they have the targets' size.

    Args:
        csv_path: gets a row for each image, written whole or not at all.
        size: larger images, sources and targets, are first reduced to this shorter side; needs a scale of 1.

    Returns:
        {"images", "psnr", "ssim", "swd", "do_nothing": {...} or None, "csv"}.

    Raises:
        ImageError: pairs are incomplete, an image is broken, an output differs from its target in size, or `csv_path`
            is a folder.
    """
    if csv_path is not None and csv_path.is_dir():
        raise ImageError(f"{csv_path} is a folder: name a file for the figures of each image")
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
    summary["swd"] = _distance([m.output for m in measured], [m.target for m in measured])
    summary["do_nothing"] = _do_nothing(measured)
    if csv_path is not None:
        write_csv(rows, csv_path)
    return summary | {"csv": str(csv_path) if csv_path else None}


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
    same = source.pixels.shape[:2] == target.pixels.shape[:2] and source.pixels.dtype == target.pixels.dtype
    given = _tensor(pipeline, source, channels) if same else None
    if given is not None:
        row["psnr_do_nothing"] = psnr(given, wanted, data_range=DATA_RANGE).item()
        row["ssim_do_nothing"] = _ssim(given, wanted)
    return Measured(row, output[0], wanted[0], given[0] if given is not None else None)


def _tensor(pipeline: Pipeline, picture: Picture, channels: int) -> Tensor:
    """(1, C, H, W) in the model space of the model's output."""
    return picture_to_tensor(picture, channels, pipeline.output.intensity())


def _ssim(output: Tensor, target: Tensor) -> float | None:
    """None for an image smaller than the window."""
    if min(output.shape[-2:]) < SSIM_WINDOW:
        return None
    return ssim(output + 1, target + 1, data_range=DATA_RANGE).item()  # it compares brightness: 0 must be dark


def _do_nothing(measured: list[Measured]) -> dict[str, Any] | None:
    sources = [one.source for one in measured if one.source is not None]
    if len(sources) < len(measured):
        return None
    rows = [one.row for one in measured]
    return {
        "psnr": mean_of(rows, "psnr_do_nothing"),
        "ssim": mean_of(rows, "ssim_do_nothing"),
        "swd": _distance(sources, [one.target for one in measured]),
    }


def mean_of(rows: list[dict[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None


def _distance(outputs: list[Tensor], targets: list[Tensor]) -> float | None:
    images = [*outputs, *targets]
    channels = max(image.shape[0] for image in images)
    cut = centre_crop([image.expand(channels, -1, -1) for image in images])
    if min(cut.shape[-2:]) < 16:
        return None
    made, wanted = torch.split(cut, [len(outputs), len(targets)])
    return sliced_wasserstein(made, wanted)["mean"]


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    with open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(aside, path)
