"""Collect the photographs that the shipped super-resolution models are trained on.

    python tools/build_super_resolution_photos.py LOMIRI OUT

LOMIRI: a folder with the photographs of the Debian packages lomiri-wallpapers-16.04 and -20.04, which their authors
give under CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0 or CC0-1.0; those of more than four megapixels are soft at full size
and are halved. Added are the photographs of scikit-image that are in the public domain or CC0. OUT/train gets all but
those named in HELD_OUT, which go to OUT/val. The terms of each are in translate/models/super-resolution-x2/README.md.
"""

import sys
from pathlib import Path

from skimage import data

from translate.data.images import from_array, read_picture, write_picture
from translate.data.resize import shrink

LOMIRI = [
    "Bridge_by_Sander_Klootwijk",
    "Dragonfly_by_Bolly",
    "Kleiber_by_Lukas_Baubkus",
    "Picture_0B_by_freespace",
    "Picture_1A_by_freespace",
    "Wine_by_Jakkub_Mede",
    "aitzgorri_by_Aitzol_Berasategi",
    "analogpattern_by_Peter_Nerlich",
    "free_by_Peter_Nerlich",
    "friends_by_Aitzol_Berasategi",
    "greentock_by_Peter_Nerlich",
    "life_by_Aitzol_Berasategi",
    "picosdeeuropa_by_Aitzol_Berasategi",
    "seeding_by_Clements_Engelhardt",
    "sunset_by_Aitzol_Berasategi",
]
SCIKIT_IMAGE = ["astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket"]
HELD_OUT = ["aitzgorri_by_Aitzol_Berasategi", "rocket"]
LARGE = 4_000_000  # pixels


def main(lomiri: Path, output: Path) -> None:
    pictures = {name: read_picture(lomiri / f"{name}.jpg") for name in LOMIRI}
    pictures |= {name: from_array(getattr(data, name)()) for name in SCIKIT_IMAGE}
    for name, picture in pictures.items():
        folder = output / ("val" if name in HELD_OUT else "train")
        folder.mkdir(parents=True, exist_ok=True)
        large = picture.info.height * picture.info.width > LARGE
        write_picture(shrink(picture, 2) if large else picture, folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
