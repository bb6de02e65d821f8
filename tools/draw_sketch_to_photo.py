"""Draw docs/sketch_to_photo.png: what sketch-to-emoji makes of held-out drawings, a photograph of one, and strokes.

    python tools/build_sketch_pairs.py --out PAIRS
    python tools/draw_sketch_to_photo.py PAIRS --output docs/sketch_to_photo.png

Drawings and renders are Microsoft's Fluent Emoji (MIT). The photograph of a sheet of paper is simulated.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from translate.data.images import read_picture, write_picture
from translate.data.phone_photo import simulate_phone_photo
from translate.pipelines import SketchToPhoto, Strokes

HELD_OUT = (
    "anguished-face",
    "laptop",
    "light-bulb",
    "orange-heart",
    "ten-oclock",
    "melting-face",
    "pickup-truck",
    "cactus",
)
PHOTOGRAPHED, PHOTO_SEED = "sun-with-face", 3
HOUSE = Strokes(
    [
        [(48, 118), (128, 44), (208, 118)],
        [(66, 104), (66, 210), (190, 210), (190, 104)],
        [(110, 210), (110, 156), (146, 156), (146, 210)],
    ],
    256,
    256,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="folder that tools/build_sketch_pairs.py made")
    parser.add_argument("--model", default="sketch-to-emoji")
    parser.add_argument("--output", type=Path, default=Path("docs/sketch_to_photo.png"))
    options = parser.parse_args()
    pipe = SketchToPhoto.from_pretrained(options.model, device="cpu")
    val = options.pairs / "val"
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    axes = figure.subplots(4, len(HELD_OUT))
    for column, name in enumerate(HELD_OUT):
        drawing = read_picture(val / "sketch" / f"{name}.png")
        shown = [drawing.pixels, _pixels(pipe, drawing), read_picture(val / "render" / f"{name}.png").pixels]
        for row, pixels in enumerate(shown):
            _show(axes[row, column], pixels)
    for row, label in enumerate(("drawing, held out", "translation", "render")):
        axes[row, 0].set_title(label, fontsize=10, loc="left")
    for place, (label, pixels) in zip(axes[3], _by_hand(pipe, val).items(), strict=True):
        _show(place, pixels)
        place.set_title(label, fontsize=10, loc="left")
    figure.savefig(options.output.with_suffix(".new.png"), dpi=100)
    write_picture(read_picture(options.output.with_suffix(".new.png")), options.output)
    options.output.with_suffix(".new.png").unlink()


def _by_hand(pipe: SketchToPhoto, val: Path) -> dict[str, np.ndarray]:
    """A photograph of a drawing on paper, and strokes, each with what becomes of it."""
    photo = simulate_phone_photo(read_picture(val / "sketch" / f"{PHOTOGRAPHED}.png"), PHOTO_SEED).picture
    one, two, three = pipe.variations(HOUSE, 3, seed=1, output_type="np")
    return {
        "a photograph": photo.pixels,
        "cleaned": pipe.clean(photo).picture.pixels,
        "translation": _pixels(pipe.with_settings(clean=True), photo),
        "strokes": pipe.prepare(HOUSE).picture.pixels,
        "translation ": _pixels(pipe, HOUSE),
        "variations": one,
        " ": two,
        "  ": three,
    }


def _pixels(pipe: SketchToPhoto, drawing: object) -> np.ndarray:
    return pipe(drawing, output_type="np")


def _show(place, pixels: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    place.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255)
    place.axis("off")


if __name__ == "__main__":
    main()
