"""Draw docs/super_resolution.png: parts of pictures that no shipped model was trained on, enlarged four times.

    python tools/draw_super_resolution.py CHINA [GAN_MODEL] --output docs/super_resolution.png

CHINA: china.jpg of the package scikit-learn (sklearn/datasets/images), by danielbuechele, CC-BY-2.0. The other picture
is grace_hopper.jpg of matplotlib, by the U.S. Navy, in the public domain. Columns: the small picture, bicubic
enlargement, the model super-resolution-x4, GAN_MODEL if it is given, and the original, each with its PSNR on luminance
over the whole picture.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from translate.data.images import Picture, read_picture
from translate.data.imresize import imresize
from translate.data.resize import shrink
from translate.pipelines import SuperResolution
from translate.super_resolution_metrics import luma_figures

PARTS = {"china": (120, 130), "grace_hopper": (90, 170)}  # top and left of each part, in pixels
SIDE = 150
SCALE = 4


def columns(path: Path, models: dict[str, SuperResolution]) -> dict[str, np.ndarray]:
    """(H, W, 3) 8-bit of each column, of the whole picture."""
    original = read_picture(path)
    height, width = (side // SCALE * SCALE for side in original.pixels.shape[:2])
    original = Picture(original.pixels[:height, :width])
    small = shrink(original, SCALE)
    made = {"low resolution": small.pixels.repeat(SCALE, 0).repeat(SCALE, 1)}
    made["bicubic"] = imresize(small.pixels, (height, width))
    made |= {name: model(small, output_type="picture").pixels for name, model in models.items()}
    return made | {"original": original.pixels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("china", metavar="CHINA", type=Path)
    parser.add_argument("gan", metavar="GAN_MODEL", nargs="?", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/super_resolution.png"))
    options = parser.parse_args()
    models = {"super-resolution-x4": SuperResolution.from_pretrained("super-resolution-x4", device="cpu")}
    if options.gan:
        models["GAN stage"] = SuperResolution.from_pretrained(options.gan, device="cpu")
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    files = {"china": options.china, "grace_hopper": hopper}
    rows = {name: columns(file, models) for name, file in files.items()}
    count = len(models) + 3
    figure = Figure(figsize=(2.4 * count, 2.6 * len(rows)), layout="constrained")
    for axes_row, (name, made) in zip(figure.subplots(len(rows), count), rows.items(), strict=True):
        top, left = PARTS[name]
        for axes, (label, pixels) in zip(axes_row, made.items(), strict=True):
            axes.imshow(pixels[top : top + SIDE, left : left + SIDE], interpolation="nearest")
            axes.axis("off")
            psnr = luma_figures(pixels, made["original"], border=SCALE)["psnr"]
            axes.set_title(label if label in ("original", "low resolution") else f"{label}, {psnr:.2f} dB", fontsize=8)
    figure.savefig(options.output, dpi=100)


if __name__ == "__main__":
    main()
