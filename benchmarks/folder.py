"""A folder of photographs, end to end: `translate_folder` against plain loops, and against the bare network.

    python benchmarks/folder.py                        # 300 photographs of 256 x 256 and of 512 x 512, some minutes
    python benchmarks/folder.py --data FOLDER          # your own
    python benchmarks/folder.py --files 20 --rounds 1  # a look

First a network that costs nothing (`identity`): files only, JPEG to PNG. Then a super-resolver: how much of the rate of
its forward alone, on tensors that are ready, is left. Loading the model is counted nowhere.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch
from plain_folder import opencv, published
from timing import alternate, machine, table

from translate.data.folders import list_images
from translate.data.images import from_array, write_picture
from translate.pipelines.inference.folder import translate_folder
from translate.pipelines.inference.load import load_pipeline
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.plan import Options

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="8-bit RGB files, instead of crops of scikit-image's"
    )
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512], help="of the crops")
    parser.add_argument("--forward-files", type=int, default=300, help="for the super-resolver, of the first side")
    parser.add_argument("--model", default="super-resolution-x2")
    parser.add_argument("--workers", type=int, default=Options().workers)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(machine(("torch", "opencv-python-headless", "pillow", "isal", "simplejpeg"), **vars(options)), end="\n\n")
    how = Options(format=".png", workers=options.workers)
    with tempfile.TemporaryDirectory() as temporary:
        room = Path(temporary)
        folders = [options.data] if options.data else [photographs(room, side, options.files) for side in options.sides]
        for folder in folders:
            files_only(folder, room, how, options.rounds)
        few = options.data or photographs(room / "few", options.sides[0], options.forward_files)
        share_of_forward(load_pipeline(options.model), few, room, how, options.rounds)


def photographs(room: Path, side: int, files: int) -> Path:
    """A folder of square crops of scikit-image's photographs as JPEG, enlarged where these are smaller."""
    folder = room / f"crops of {side} x {side}"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    pictures = [getattr(skimage.data, name)() for name in PHOTOGRAPHS]
    for index in range(files):
        picture = pictures[index % len(pictures)]
        cut = min(side, *picture.shape[:2])
        top, left = (int(random.integers(0, length - cut + 1)) for length in picture.shape[:2])
        crop = cv2.resize(picture[top : top + cut, left : left + cut], (side, side), interpolation=cv2.INTER_CUBIC)
        write_picture(from_array(crop), folder / f"{index:05d}.jpg", quality=90)
    return folder


def files_only(folder: Path, room: Path, how: Options, rounds: int) -> None:
    pipeline = load_pipeline("identity", device="cpu")
    contenders = {
        "published loop: PIL": emptied(room, partial(published, pipeline.generator, folder)),
        "naive loop: OpenCV": emptied(room, partial(opencv, pipeline.generator, folder)),
        "translate_folder": emptied(room, partial(translated, pipeline, how, folder)),
    }
    seconds = alternate(contenders, rounds)
    files = len(list_images(folder))
    print(table(f"{files} {folder.name}, no network", seconds, "published loop: PIL", items=files, unit="file"))
    against = statistics.median(seconds["naive loop: OpenCV"]) / statistics.median(seconds["translate_folder"])
    print(f"\ntranslate_folder is {against:.2f} times as fast as the naive OpenCV loop\n")


def share_of_forward(pipeline: Pipeline, folder: Path, room: Path, how: Options, rounds: int) -> None:
    files = list_images(folder)
    prepared = [pipeline.prepare(path).images for path in files]

    def forward() -> None:
        for images in prepared:
            pipeline.run(images)
        if pipeline.device.type == "cuda":
            torch.cuda.synchronize()

    contenders = {
        "forward alone": forward,
        "translate_folder": emptied(room, partial(translated, pipeline, how, folder)),
    }
    seconds = alternate(contenders, rounds)
    print(table(f"{len(files)} {folder.name}, super-resolver", seconds, "forward alone", items=len(files), unit="file"))


def translated(pipeline: Pipeline, how: Options, folder: Path, output: Path) -> None:
    summary = translate_folder(pipeline, folder, output, how, show_progress=False)
    if summary["failed"]:
        raise SystemExit(f"{summary['failed']} files failed: see {summary['report']}")


def emptied(room: Path, loop: Callable[[Path], object]) -> Callable[[], None]:
    """The loop, which gets an empty output folder each time."""

    def run() -> None:
        output = room / "output"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        loop(output)

    return run


if __name__ == "__main__":
    main()
