"""`accelerate launch -m translate.train RECIPE ...` is `translate train RECIPE ...` in every process."""

import sys

from translate.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
