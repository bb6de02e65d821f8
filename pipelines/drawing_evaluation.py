"""How nearly a photograph of a drawing gives the picture that the drawing itself gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from translate.data.cleaning import clean_drawing
from translate.data.folders import list_images
from translate.data.foreground import flatten
from translate.data.images import ImageError, Picture, read_picture, write_picture
from translate.data.intensity import picture_to_tensor
from translate.data.phone_photo import simulate_phone_photo
from translate.data.picture import naming
from translate.data.resize import reduce_picture
from translate.metrics import SSIM_WINDOW, psnr, ssim
from translate.pipelines.evaluation import mean_of, write_csv
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto
from translate.sheet import draw_sheet

DATA_RANGE = 2.0  # of model space
SHEET_ROWS = 12


@dataclass(frozen=True, eq=False)
class _Measured:
    """A photograph of a drawing: its figures, and what the sheet shows of it."""

    figures: dict[str, float]
    shown: list[Tensor]


def evaluate_drawings(
    pipeline: SketchToPhoto,
    drawings: Path,
    csv_path: Path | None = None,
    *,
    photos: int = 5,
    seed: int = 0,
    output: Path | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Photograph clean drawings (simulated), clean the photographs, and compare the outputs of both.

    The reference is the model's output for the drawing itself, or for what cleaning makes of it where it has another
    size than the model's frame. PSNR is in dB, inf for equal outputs.

    Args:
        drawings: a folder of drawings as the model was trained on.
        csv_path: gets a row for each drawing, written whole or not at all.
        photos: of each drawing; each with a light, desk and camera of its own, which follow from `seed`.
        output: a folder that gets sheet.png: drawing, photograph, cleaned photograph, and the outputs of drawing and
            photograph, for the worst photograph of each of the 12 drawings with the lowest SSIM, worst first.

    Returns:
        {"drawings", "photos", "ssim", "ssim_min", "psnr", "psnr_min", "cleaned_ssim", "cleaned_ssim_min", "csv",
        "sheet"}: "cleaned_" is about the drawings, the others about the outputs.

    Raises:
        ImageError: there are no drawings, one is broken, empty or too small, `photos` is below 1, or a photograph
            could not be cleaned.
    """
    if photos < 1:
        raise ImageError(f"the number of photos must be at least 1, got {photos}")
    if csv_path is not None and csv_path.is_dir():
        raise ImageError(f"{csv_path} is a folder: name a file for the figures of each drawing")
    if min(pipeline.style.width, pipeline.style.height) < SSIM_WINDOW:
        raise ImageError(f"SSIM needs drawings of at least {SSIM_WINDOW} pixels, the model's frame is smaller")
    files = list_images(drawings)
    rows, worst = [], []
    for index, path in enumerate(tqdm(files, unit="drawing", disable=not show_progress)):
        seeds = [np.random.SeedSequence([seed, index, photo]) for photo in range(photos)]
        with naming(path):
            measured = _measure(pipeline, read_picture(path), [int(s.generate_state(1)[0]) for s in seeds])
        rows.append({"name": path.stem, **_row([one.figures for one in measured])})
        worst.append(min(measured, key=lambda one: one.figures["ssim"]))
    if csv_path is not None:
        write_csv(rows, csv_path)
    summary: dict[str, Any] = {"drawings": len(rows), "photos": photos * len(rows)}
    for name in ("ssim", "psnr", "cleaned_ssim"):
        summary |= {name: mean_of(rows, name), f"{name}_min": min(row[f"{name}_min"] for row in rows)}
    sheet = None if output is None else _write_sheet(worst, output)
    return summary | {"csv": str(csv_path) if csv_path else None, "sheet": str(sheet) if sheet else None}


def _measure(pipeline: SketchToPhoto, drawing: Picture, seeds: list[int]) -> list[_Measured]:
    frame = (pipeline.style.height, pipeline.style.width)
    clean = drawing if drawing.pixels.shape[:2] == frame else clean_drawing(drawing, pipeline.style).picture
    wanted = pipeline(clean, output_type="pt", clean=False)[None]
    flat, measured = _to_tensor(clean, pipeline.style.paper), []
    for number, seed in enumerate(seeds, 1):
        photo = simulate_phone_photo(drawing, seed).picture
        with naming(f"photo {number}"):
            cleaned = clean_drawing(photo, pipeline.style).picture
        made = pipeline(cleaned, output_type="pt", clean=False)[None]
        seen = _to_tensor(cleaned, 1)
        figures = {"ssim": _ssim(made, wanted), "psnr": psnr(made, wanted, data_range=DATA_RANGE).item()}
        figures["cleaned_ssim"] = _ssim(seen, flat)
        small = picture_to_tensor(reduce_picture(photo, min(frame)), 3)
        measured.append(_Measured(figures, [flat[0], small[0], seen[0], wanted[0], made[0]]))
    return measured


def _row(figures: list[dict[str, float]]) -> dict[str, Any]:
    """Mean and minimum of each figure."""
    row: dict[str, Any] = {"photos": len(figures)}
    for name in figures[0]:
        values = [one[name] for one in figures]
        row |= {name: sum(values) / len(values), f"{name}_min": min(values)}
    return row


def _to_tensor(drawing: Picture, paper: float) -> Tensor:
    """(1, 1, H, W) in model space; transparent is paper."""
    return picture_to_tensor(flatten(drawing, (round(255 * paper),) * 3), 1)


def _ssim(one: Tensor, two: Tensor) -> float:
    return ssim(one + 1, two + 1, data_range=DATA_RANGE).item()  # it compares brightness: 0 must be dark


def _write_sheet(worst: list[_Measured], folder: Path) -> Path:
    rows = sorted(worst, key=lambda one: one.figures["ssim"])[:SHEET_ROWS]
    folder.mkdir(parents=True, exist_ok=True)
    write_picture(draw_sheet([one.shown for one in rows]), folder / "sheet.png")
    return folder / "sheet.png"
