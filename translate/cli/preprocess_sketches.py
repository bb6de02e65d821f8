"""translate preprocess sketches: its options, and which data set they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from translate.pipelines.preprocessing.dataset import Options

EPILOG = """
The data set is a folder with train/ and val/, ready for translate train sketch_to_photo: source/ holds drawings,
target/ photographs, and dataset.json says how each drawing was made, by which it can be made again, or how it lies on
its photograph. Lines are as wide as the picture asks for, so give --size as it will be trained. A command that was
stopped goes on where it stopped. A broken file is reported and left out with its partner; then the exit code is 1.

  translate preprocess sketches PHOTOS OUT --size 256                         drawings of all styles and strengths
  translate preprocess sketches PHOTOS OUT --size 256 --copies 4              four drawings of each photograph
  translate preprocess sketches PHOTOS OUT --styles pencil --paper textured   pencil on paper with tone and grain
  translate preprocess sketches PORTRAITS OUT --foreground grabcut            the person alone, on white
  translate preprocess sketches PHOTOS OUT --drawings SKETCHES                real drawings; those that are off left out
  translate preprocess sketches PHOTOS OUT --drawings SKETCHES --align        the same, but moved onto the photographs

Drawings and photographs that do not belong together: translate preprocess unpaired DRAWINGS PHOTOS OUT.
"""
OF_DERIVED = ("styles", "copies", "paper", "foreground")
OF_REAL = ("source_suffix", "target_suffix", "max_shift", "align")


def add_arguments(task: argparse.ArgumentParser) -> None:
    task.add_argument(
        "--background",
        metavar="COLOUR",
        default="white",
        help="of the photographs behind their subject: #f0f0f0 (white)",
    )
    derived = task.add_argument_group("drawings that are derived from the photographs")
    derived.add_argument(
        "--styles",
        metavar="NAME",
        nargs="+",
        help="to draw from: canny, dog, pencil, xdog; each of random strength (all)",
    )
    derived.add_argument("--copies", metavar="N", type=int, help="drawings of each photograph, of different styles (1)")
    derived.add_argument(
        "--paper", choices=["plain", "textured"], help="white; or with random tone, grain and uneven strokes (plain)"
    )
    derived.add_argument(
        "--foreground",
        choices=["alpha", "grabcut", "none"],
        help="what is drawn: what alpha says; without alpha, what GrabCut finds; or all, without alpha (alpha)",
    )
    real = task.add_argument_group("real drawings")
    real.add_argument("--drawings", metavar="FOLDER", type=Path, help="drawings of the photographs, matched by name")
    real.add_argument(
        "--source-suffix", metavar="TEXT", help="what names of drawings end in beyond the common name: -sz"
    )
    real.add_argument("--target-suffix", metavar="TEXT", help="the same for photographs")
    real.add_argument(
        "--max-shift",
        metavar="PIXELS",
        type=float,
        help="how far a drawing may lie from its place on the photograph; below 1 a share of its shorter side (0.05)",
    )
    real.add_argument(
        "--align",
        action="store_true",
        default=None,
        help="move drawings that lie further off, instead of leaving them out",
    )


def prepare(given: argparse.Namespace, options: Options, *, show_progress: bool) -> dict[str, Any]:
    """Write the data set that the command line asks for. Returns its summary."""
    from translate.data.images import ImageError
    from translate.pipelines.preprocessing.sketch_pairs import Checking, prepare_sketch_pairs
    from translate.pipelines.preprocessing.sketches import Deriving, prepare_sketches

    background = _colour(given.background)
    derived, real = (
        {n: getattr(given, n) for n in names if getattr(given, n) is not None} for names in (OF_DERIVED, OF_REAL)
    )
    if given.drawings is None:
        if real:
            raise ImageError(f"{_flag(real)} is for real drawings: give their folder by --drawings")
        if "styles" in derived:
            derived["styles"] = tuple(derived["styles"])
        deriving = Deriving(background=background, **derived)
        return prepare_sketches(given.folder, given.output, options, deriving, show_progress=show_progress)
    if derived:
        raise ImageError(f"{_flag(derived)} is for drawings that are derived: leave it out, or leave --drawings out")
    suffixes = {name: real.pop(name) for name in ("source_suffix", "target_suffix") if name in real}
    return prepare_sketch_pairs(
        given.folder,
        given.drawings,
        given.output,
        options,
        Checking(background=background, **real),
        **suffixes,
        show_progress=show_progress,
    )


def told(summary: dict[str, Any]) -> str:
    """What the words of the summary say beyond the counts."""
    whole = len(summary.get("left_whole", []))
    alignment = summary.get("alignment", {})
    counts = {"left whole": whole, **{name: len(alignment.get(name, [])) for name in ("moved", "off", "unknown")}}
    names = {"moved": "moved", "off": "too far off", "unknown": "of unknown place"}
    return "".join(f", {count} {names.get(name, name)}" for name, count in counts.items() if count)


def _flag(given: dict[str, Any]) -> str:
    return "--" + next(iter(given)).replace("_", "-")


def _colour(given: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    from translate.data.images import ImageError

    try:
        red, green, blue = ImageColor.getrgb(given)[:3]
    except ValueError:
        raise ImageError(
            f"unknown colour {given!r}: give a name such as white, or six digits such as #f0f0f0"
        ) from None
    return red, green, blue
