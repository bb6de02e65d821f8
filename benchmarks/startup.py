"""How long it takes until something happens: commands and imports beside the interpreter and torch alone.

    python benchmarks/startup.py [--rounds 7]

Each row is a process of its own; the rows take turns. The last one translates one picture of 64 x 64 pixels.
"""

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from timing import alternate, machine, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        contenders = {name: partial(run, words) for name, words in commands(Path(folder)).items()}
        seconds = alternate(contenders, options.rounds)
    print(machine(rounds=options.rounds), end="\n\n")
    print(table("start-up", seconds, "python -c pass", unit="process"))
    helped, empty = (sorted(seconds[name])[options.rounds // 2] for name in ("translate --help", "python -c pass"))
    print(f"\ntranslate --help takes {helped - empty:.3f} s more than python -c pass")


def commands(folder: Path) -> dict[str, list[str]]:
    """The rows, as arguments of the interpreter."""
    picture = folder / "picture.png"
    cv2.imwrite(str(picture), np.full((64, 64, 3), 128, np.uint8))
    return {
        "python -c pass": ["-c", "pass"],
        "import translate": ["-c", "import translate"],
        "translate --help": ["-m", "translate", "--help"],
        "translate infer --help": ["-m", "translate", "infer", "--help"],
        "import torch": ["-c", "import torch"],
        "from translate.pipelines import Pipeline": ["-c", "from translate.pipelines import Pipeline"],
        "translate infer identity": ["-m", "translate", "infer", "identity", str(picture), str(folder / "out.png")],
    }


def run(words: list[str]) -> None:
    subprocess.run([sys.executable, *words], check=True, capture_output=True)


if __name__ == "__main__":
    main()
