"""How good the small super-resolution recipe becomes in so many steps, and how long they take, preparation included.

    python benchmarks/super_resolution_small.py PHOTOS TEST [--steps 2000]

PHOTOS: photographs to learn from. TEST: others to measure on, such as Set5's HR pictures. Prints the seconds
of each stage, and PSNR and SSIM beside those of bicubic enlargement and the published ones of FSRCNN.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FSRCNN = "FSRCNN (Dong et al. 2016) has 37.00 / 0.9558 on Set5 at x2; bicubic 33.66 / 0.9299"


def run(*words: object) -> tuple[dict, float]:
    """The JSON summary of a command, and its seconds."""
    started = time.monotonic()
    command = [sys.executable, "-m", "translate", *map(str, words), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout), time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("test", metavar="TEST", type=Path)
    parser.add_argument("--steps", metavar="N", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, output = Path(folder) / "data", Path(folder) / "run"
        making = ("--scale", 2, "--reduce", 1, 2, "--tile", 192, "--min-detail", 3, "--split", "train")
        _, preparing = run("preprocess", "super-resolution", options.photos, data, *making)
        steps = ("--training.steps", options.steps, "--checkpoint.every", options.steps)
        _, training = run("train", "super_resolution_small", "--data", data, "--output", output, *steps)
        table = Path(folder) / "figures.csv"
        figures, _ = run("evaluate", "super-resolution", output / "model", options.test, "--scale", 2, "--csv", table)
    print(f"prepared in {preparing:.0f} s, {options.steps} steps in {training:.0f} s")
    rows = {"model": figures, "bicubic": figures["bicubic"], "bicubic, published": figures["bicubic_published"]}
    for label, row in rows.items():
        print(f"{label:<18} {row['psnr']:.2f} dB / {row['ssim']:.4f}")
    print(FSRCNN)


if __name__ == "__main__":
    main()
