"""Stage 1 for sketch-to-photo: real drawings and their photographs become pairs, and how they lie on each other."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from translate.data.alignment import Alignment, measure_alignment
from translate.data.drawing_place import fit_drawing, move_drawing
from translate.data.folders import Pair, pair_folders, shown
from translate.data.foreground import flatten
from translate.data.images import ImageError, Picture, read_picture
from translate.pipelines.preprocessing.dataset import Options, choose_splits, write_dataset
from translate.pipelines.preprocessing.folders import check_apart, warn_of_splits
from translate.pipelines.preprocessing.items import Item, Opened
from translate.pipelines.preprocessing.ownership import origin_of
from translate.pipelines.preprocessing.sketches import Photograph

logger = logging.getLogger(__name__)
CLEARLY = 0.01  # by which moving must raise the agreement of edges


@dataclass(frozen=True)
class Checking:
    """What becomes of drawings that do not lie on their photographs.

    max_shift: how far a drawing may lie from its place, the root of the mean square over its pixels: below 1 a share
        of the photograph's shorter side, from 1 on pixels of it.
    align: move those that are further off onto their photographs; else they are left out.
    background: of photographs that are transparent; red, green and blue, 0 to 255.
    """

    max_shift: float = 0.05
    align: bool = False
    background: tuple[int, int, int] = (255, 255, 255)

    def __post_init__(self) -> None:
        if not self.max_shift > 0:
            raise ImageError(
                f"the largest shift must be above 0, a share of the shorter side or pixels, got {self.max_shift}"
            )


@dataclass(frozen=True)
class RealDrawing:
    """The source: a drawing as it is, or brought to its photograph's size and place."""

    width: int
    height: int
    alignment: Alignment | None  # None where the photograph cannot be read
    off: float  # pixels
    moved: bool
    problem: str | None = None  # why it cannot be used

    @property
    def settings(self) -> str:
        return f"real drawing {self.width} x {self.height} {self.alignment if self.moved else None} {self.problem}"

    def __call__(self, opened: Opened) -> Picture:
        if self.problem:
            raise ImageError(self.problem)
        fitted = fit_drawing(opened.picture, self.width, self.height) if self.width else opened.picture
        return move_drawing(fitted, self.alignment.place) if self.moved and self.alignment else fitted

    def facts(self) -> dict[str, Any]:
        if self.alignment is None:
            return {}
        return {"alignment": _rounded(self.alignment, self.off) | {"moved": self.moved}}


def prepare_sketch_pairs(
    photographs: Path,
    drawings: Path,
    output: Path,
    options: Options,
    checking: Checking,
    *,
    source_suffix: str = "",
    target_suffix: str = "",
    show_progress: bool = True,
) -> dict[str, Any]:
    """Pair drawings and photographs by name, check where they lie, and write OUT/{train,val}/{source,target}.

    A drawing of another size is brought to that of its photograph. dataset.json says of each where it lay. All are
    measured anew when the command is given again; what is written already is kept.

    Args:
        source_suffix, target_suffix: what the names of drawings and of photographs end in beyond the common name.

    Returns what `write_dataset` returns, and "alignment": {"median", "largest": pixels off as they were given,
    "moved", "unknown": names, "off": {name: pixels} of the pairs that are left out for it}.

    Raises:
        ImageError: files without a partner, the output lies in an input, or all pairs are left out.
    """
    check_apart(output, drawings, photographs)
    warn_of_splits(options, drawings, photographs)
    pairs = pair_folders(drawings, photographs, source_suffix=source_suffix, target_suffix=target_suffix)
    measured = _measure_all(pairs, checking, options.workers, show_progress)
    off = {
        pair.name: round(made.off, 2) for pair, made in zip(pairs, measured, strict=True) if _left_out(made, checking)
    }
    if len(off) == len(pairs):
        raise ImageError(
            f"all {len(off)} drawings lie too far from their photographs, {_told(off)}: raise the largest shift, let "
            "them be aligned, or prepare them as unpaired"
        )
    splits = choose_splits([pair.name for pair in pairs], options)
    target = Photograph(options.size, "alpha", checking.background)
    items = []
    for pair, made in zip(pairs, measured, strict=True):
        if pair.name not in off:
            items.append(Item(pair.name, f"{splits[pair.name]}/source", pair.source, made))
            items.append(Item(pair.name, f"{splits[pair.name]}/target", pair.target, target))
    facts = {"max_shift": checking.max_shift, "align": checking.align, "background": list(checking.background)}
    origin = origin_of("sketch-pairs", drawings, photographs)
    summary = write_dataset(items, output, "paired", options, origin, facts=facts, show_progress=show_progress)
    report = _report(pairs, measured, off)
    return {**summary, "left_out": summary["left_out"] + len(off), "alignment": report}


def _measure_all(pairs: list[Pair], checking: Checking, workers: int, show_progress: bool) -> list[RealDrawing]:
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(pairs), unit="pair", desc="alignment", disable=not show_progress) as bar,
    ):

        def work(pair: Pair) -> RealDrawing:
            made = _measure(pair, checking)
            bar.update()
            return made

        return list(pool.map(work, pairs))


def _measure(pair: Pair, checking: Checking) -> RealDrawing:
    """Where a drawing lies, and what becomes of it. A file that cannot be read is reported when it is written."""
    try:
        photograph = read_picture(pair.target)
        drawing = read_picture(pair.source)
    except (ImageError, OSError):
        return RealDrawing(0, 0, None, 0.0, False)
    width, height = photograph.info.width, photograph.info.height
    try:
        alignment = measure_alignment(fit_drawing(drawing, width, height), flatten(photograph))
    except ImageError as error:
        return RealDrawing(width, height, None, 0.0, False, str(error))
    off = alignment.place.off(width, height)
    clearly = alignment.after - alignment.before >= CLEARLY
    moved = checking.align and alignment.known and clearly and off > _limit(checking, width, height)
    return RealDrawing(width, height, alignment, off, moved)


def _limit(checking: Checking, width: int, height: int) -> float:
    """In pixels."""
    return checking.max_shift * min(width, height) if checking.max_shift < 1 else checking.max_shift


def _left_out(made: RealDrawing, checking: Checking) -> bool:
    """Whether a drawing is known to lie too far off and was not moved."""
    if made.alignment is None or made.moved or not made.alignment.known:
        return False
    return made.off > _limit(checking, made.width, made.height)


def _report(pairs: list[Pair], measured: list[RealDrawing], off: dict[str, float]) -> dict[str, Any]:
    """What the summary says, and the log too."""
    named = {pair.name: made for pair, made in zip(pairs, measured, strict=True) if made.alignment}
    known = {name: made.off for name, made in named.items() if made.alignment and made.alignment.known}
    unknown = [name for name in named if name not in known]
    moved = [name for name, made in named.items() if made.moved]
    median, largest = (round(float(of(list(known.values()))), 2) if known else None for of in (np.median, np.max))
    if known:
        furthest = max(known, key=lambda name: known[name])
        logger.info("%d drawings lie %s pixels off (median), at most %s (%s)", len(known), median, largest, furthest)
    if moved:
        logger.info("%d drawings are moved onto their photographs: %s", len(moved), shown(moved))
    if unknown:
        logger.warning(
            "of %d drawings it cannot be told where they lie, they are kept: %s", len(unknown), shown(unknown)
        )
    if off:
        logger.warning("%d drawings lie too far from their photographs and are left out: %s", len(off), _told(off))
    return {"median": median, "largest": largest, "moved": moved, "unknown": unknown, "off": off}


def _told(off: dict[str, float]) -> str:
    return shown(f"{name} by {pixels:.1f} pixels" for name, pixels in off.items())


def _rounded(alignment: Alignment, off: float) -> dict[str, Any]:
    place = alignment.place
    return {
        "right": round(place.right, 2),
        "down": round(place.down, 2),
        "rotation": round(place.rotation, 3),
        "scale": round(place.scale, 4),
        "off": round(off, 2),
        "before": round(alignment.before, 3),
        "after": round(alignment.after, 3),
        "confidence": round(alignment.confidence, 3),
        "known": alignment.known,
    }
