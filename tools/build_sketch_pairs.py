"""Build the data set of the emoji sketch model from the two npm packages that its pictures come from.

    pip install pillow resvg-py
    python tools/build_sketch_pairs.py --out emoji

Needs npm. FOLDER/train and FOLDER/val get sketch/NAME.png, a line drawing (256 x 256, 8-bit grey, on white), and
render/NAME.png, the 3-D render of the same emoji (8-bit RGB, on white), as sketch_pairs.txt beside this script lists
them: split, name of the drawing, and file name of the render, which is the code points of the emoji. All is under the
MIT licence, see pipelines/pictures/README.md.

The list is 760 of the 1264 pairs in which drawing and emoji have one name, drawn at random, 60 of them held out. What
is not in it was not trained on either, and can be used to test.
"""

import argparse
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from build_demo_pictures import (
    LINES,
    RENDERS,
    BuildError,
    check_present,
    draw_line,
    draw_render,
    fetch,
    on_white,
    read_members,
)
from PIL import Image, ImageDraw, ImageFilter, ImageOps

LIST = Path(__file__).with_name("sketch_pairs.txt")
SIDE = 256  # pixels
REGISTERED = 0.6  # overlap from which a pair counts as registered

Pairs = Mapping[tuple[str, str], str]  # (split, name of the drawing) -> file name of the render


def main() -> None:
    """Build every pair into the folder given by --out, and name those that are badly registered."""
    parser = argparse.ArgumentParser(description="build the emoji pairs, line drawing and render, from npm packages")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder for train/ and val/")
    out = parser.parse_args().out
    if out.exists():
        raise BuildError(f"{out} exists: name a new folder")

    pairs = read_pairs(LIST)
    with tempfile.TemporaryDirectory() as folder:
        archive = fetch(LINES, Path(folder))
        lines = read_members(archive, "package/icons/high-contrast/")
        licence = read_members(archive, "package/LICENSE")["LICENSE"]
        renders = read_members(fetch(RENDERS, Path(folder)), "package/assets/")
    overlaps = write_pairs(pairs, lines, renders, out)
    (out / "LICENSE").write_bytes(licence)
    worst = sorted((overlap, name) for name, overlap in overlaps.items() if overlap < REGISTERED)
    print(f"{len(pairs)} pairs in {out}")  # noqa: T201
    print(f"{len(worst)} overlap by less than {REGISTERED}:", ", ".join(f"{n} {o:.2f}" for o, n in worst))  # noqa: T201


def read_pairs(path: Path) -> Pairs:
    """The list of pairs: `split name render` on each line."""
    entries = (line.split() for line in path.read_text().splitlines())
    return {(split, name): render for split, name, render in entries}


def write_pairs(pairs: Pairs, lines: Mapping[str, bytes], renders: Mapping[str, bytes], out: Path) -> dict[str, float]:
    """Write SPLIT/sketch/NAME.png and SPLIT/render/NAME.png for each pair, and return how well each overlaps.

    Raises:
        BuildError: a package lacks one of the pictures; nothing is written then.
    """
    check_present((name for _, name in pairs), lines.keys(), LINES)
    check_present(pairs.values(), renders.keys(), RENDERS)
    overlaps = {}
    for (split, name), render in pairs.items():
        sketch = centred(draw_line(lines[name], SIDE)).convert("L")
        picture = draw_render(renders[render], SIDE).convert("RGB")
        for side, image in (("sketch", sketch), ("render", picture)):
            (out / split / side).mkdir(parents=True, exist_ok=True)
            image.save(out / split / side / f"{name}.png")
        overlaps[name] = overlap(ImageOps.invert(sketch), opacity(renders[render]))
    return overlaps


def centred(picture: Image.Image) -> Image.Image:
    """A picture of at most SIDE x SIDE in the middle of so much white: keycap-5 is 32 x 33, all others are square."""
    whole = Image.new("RGBA", (SIDE, SIDE))
    whole.paste(picture, tuple((SIDE - side) // 2 for side in picture.size))
    return on_white(whole)


def opacity(webp: bytes) -> Image.Image:
    """Where a render is opaque, 8-bit grey."""
    return Image.open(io.BytesIO(webp)).convert("RGBA").getchannel("A")


def overlap(one: Image.Image, other: Image.Image) -> float:
    """Of two pictures that are black where nothing is: intersection of their silhouettes divided by their union.

    Most registered pairs have above 0.8. Outlines are drawn around a render, so that thin things have less: look at
    the pictures.
    """
    first, second = silhouette(one), silhouette(other)
    return float((first & second).sum() / max(1, (first | second).sum()))


def silhouette(picture: Image.Image, *, side: int = 64, reach: int = 2) -> np.ndarray:
    """What is not black, with its holes filled, as bool (side, side); gaps of up to 2 * reach pixels are closed."""
    marks = picture.resize((side, side), Image.Resampling.BOX).point(lambda value: 255 if value > 25 else 0)
    marks = ImageOps.expand(marks, 2 * reach).filter(ImageFilter.MaxFilter(2 * reach + 1))
    ImageDraw.floodfill(marks, (0, 0), 128)  # the outside
    filled = marks.point(lambda value: 0 if value == 128 else 255)
    closed = np.asarray(filled.filter(ImageFilter.MinFilter(2 * reach + 1)))
    return closed[2 * reach : -2 * reach, 2 * reach : -2 * reach] > 0


if __name__ == "__main__":
    main()
