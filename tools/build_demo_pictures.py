"""Rebuild the pictures of the demo, pipelines/pictures, from the two npm packages that they come from.

    pip install pillow resvg-py
    python tools/build_demo_pictures.py

Needs npm. Each pair is a line drawing and a 3-D render of the same emoji, drawn by the same designers on the same
32 x 32 grid, so the two are registered without any search.
"""

import argparse
import hashlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).parents[1] / "pipelines" / "pictures"
SIDE = 128  # pixels

# name of the line drawing = file name of the render, which is the code points of the emoji
FACES = """
angry-face=1f620 anguished-face=1f627 anxious-face-with-sweat=1f630 astonished-face=1f632
beaming-face-with-smiling-eyes=1f601 confounded-face=1f616 confused-face=1f615 cowboy-hat-face=1f920
crying-face=1f622 disappointed-face=1f61e downcast-face-with-sweat=1f613 drooling-face=1f924 exploding-head=1f92f
expressionless-face=1f611 face-blowing-a-kiss=1f618 face-exhaling=1f62e-200d-1f4a8 face-holding-back-tears=1f979
face-savoring-food=1f60b face-vomiting=1f92e face-with-diagonal-mouth=1fae4 face-with-hand-over-mouth=1f92d
face-with-head-bandage=1f915 face-with-medical-mask=1f637 face-with-monocle=1f9d0
face-with-open-eyes-and-hand-over-mouth=1fae2 face-with-open-mouth=1f62e face-with-peeking-eye=1fae3
face-with-raised-eyebrow=1f928 face-with-rolling-eyes=1f644 face-with-spiral-eyes=1f635-200d-1f4ab
face-with-steam-from-nose=1f624 face-with-tears-of-joy=1f602 face-with-thermometer=1f912 face-with-tongue=1f61b
face-without-mouth=1f636 fearful-face=1f628 flushed-face=1f633 frowning-face=2639-fe0f
frowning-face-with-open-mouth=1f626 grimacing-face=1f62c grinning-face=1f600 grinning-face-with-big-eyes=1f603
grinning-face-with-smiling-eyes=1f604 grinning-face-with-sweat=1f605 grinning-squinting-face=1f606
hugging-face=1f917 hushed-face=1f62f kissing-face=1f617 kissing-face-with-closed-eyes=1f61a
kissing-face-with-smiling-eyes=1f619 knocked-out-face=1f635 loudly-crying-face=1f62d lying-face=1f925
money-mouth-face=1f911 nerd-face=1f913 neutral-face=1f610 partying-face=1f973 pensive-face=1f614
persevering-face=1f623 pleading-face=1f97a relieved-face=1f60c rolling-on-the-floor-laughing=1f923
sad-but-relieved-face=1f625 saluting-face=1fae1 shushing-face=1f92b sleeping-face=1f634 sleepy-face=1f62a
slightly-frowning-face=1f641 slightly-smiling-face=1f642 smiling-face=263a-fe0f smiling-face-with-halo=1f607
smiling-face-with-heart-eyes=1f60d smiling-face-with-hearts=1f970 smiling-face-with-smiling-eyes=1f60a
smiling-face-with-sunglasses=1f60e smiling-face-with-tear=1f972 smirking-face=1f60f sneezing-face=1f927
squinting-face-with-tongue=1f61d star-struck=1f929 thinking-face=1f914 tired-face=1f62b unamused-face=1f612
upside-down-face=1f643 weary-face=1f629 winking-face=1f609 winking-face-with-tongue=1f61c woozy-face=1f974
worried-face=1f61f yawning-face=1f971 zany-face=1f92a zipper-mouth-face=1f910
"""
CATS = """
cat-face=1f431 cat-with-tears-of-joy=1f639 cat-with-wry-smile=1f63c crying-cat=1f63f grinning-cat=1f63a
grinning-cat-with-smiling-eyes=1f638 kissing-cat=1f63d pouting-cat=1f63e smiling-cat-with-heart-eyes=1f63b
weary-cat=1f640
"""
CLOCKS = """
one-oclock=1f550 one-thirty=1f55c two-oclock=1f551 two-thirty=1f55d three-oclock=1f552 three-thirty=1f55e
four-oclock=1f553 four-thirty=1f55f five-oclock=1f554 five-thirty=1f560 six-oclock=1f555 six-thirty=1f561
seven-oclock=1f556 seven-thirty=1f562 eight-oclock=1f557 eight-thirty=1f563 nine-oclock=1f558 nine-thirty=1f564
ten-oclock=1f559 ten-thirty=1f565 eleven-oclock=1f55a eleven-thirty=1f566 twelve-oclock=1f55b twelve-thirty=1f567
"""
# keycap-5 is missing on purpose: its line drawing is 32 x 33, so it would not be registered.
BUTTONS = """
keycap-0=0030-fe0f-20e3 keycap-1=0031-fe0f-20e3 keycap-2=0032-fe0f-20e3 keycap-3=0033-fe0f-20e3
keycap-4=0034-fe0f-20e3 keycap-6=0036-fe0f-20e3 keycap-7=0037-fe0f-20e3 keycap-8=0038-fe0f-20e3
keycap-9=0039-fe0f-20e3 keycap-10=1f51f up-arrow=2b06-fe0f up-right-arrow=2197-fe0f right-arrow=27a1-fe0f
down-right-arrow=2198-fe0f down-arrow=2b07-fe0f down-left-arrow=2199-fe0f left-arrow=2b05-fe0f up-left-arrow=2196-fe0f
up-down-arrow=2195-fe0f left-right-arrow=2194-fe0f left-arrow-curving-right=21aa-fe0f
right-arrow-curving-left=21a9-fe0f right-arrow-curving-up=2934-fe0f right-arrow-curving-down=2935-fe0f
clockwise-vertical-arrows=1f503 counterclockwise-arrows-button=1f504 shuffle-tracks-button=1f500 repeat-button=1f501
repeat-single-button=1f502 play-button=25b6-fe0f fast-forward-button=23e9 next-track-button=23ed-fe0f
play-or-pause-button=23ef-fe0f reverse-button=25c0-fe0f fast-reverse-button=23ea last-track-button=23ee-fe0f
upwards-button=1f53c fast-up-button=23eb downwards-button=1f53d fast-down-button=23ec pause-button=23f8-fe0f
stop-button=23f9-fe0f record-button=23fa-fe0f eject-button=23cf-fe0f antenna-bars=1f4f6 cinema=1f3a6 free-button=1f193
new-button=1f195 ok-button=1f197 up-button=1f199 cool-button=1f192 information=2139-fe0f p-button=1f17f-fe0f
"""
# Every one has relatives among the others: the demo asks for a new arrangement of known parts, not for new parts.
HELD_OUT = """
astonished-face confused-face crying-face face-with-tongue grinning-face-with-smiling-eyes pensive-face
smiling-face-with-heart-eyes smirking-face tired-face winking-face worried-face grinning-cat
four-oclock nine-thirty keycap-3 left-arrow
"""


class BuildError(ValueError):
    """The pictures cannot be built from these packages."""


@dataclass(frozen=True)
class Package:
    """One version of an npm package. The digest is the SHA-256 of the archive that `npm pack` stores."""

    name: str
    version: str
    digest: str


LINES = Package("fluentui-emoji", "1.3.0", "ec892e607e854859b812c7d827801756adc19955b0ef56d4ae8afcddd19492c5")
RENDERS = Package(
    "@lobehub/fluent-emoji-3d", "1.1.0", "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"
)


def main() -> None:
    """Build every pair into the folder given by --out."""
    parser = argparse.ArgumentParser(description="rebuild the pictures of the demo from their npm packages")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder that gets sketch/, render/ and held_out.txt")
    out = parser.parse_args().out

    pairs = parse_pairs(FACES, CATS, CLOCKS, BUTTONS)
    with tempfile.TemporaryDirectory() as folder:
        lines = read_members(fetch(LINES, Path(folder)), "package/icons/high-contrast/")
        renders = read_members(fetch(RENDERS, Path(folder)), "package/assets/")
    write_pairs(pairs, lines, renders, out)
    held_out = sorted(HELD_OUT.split())
    (out / "held_out.txt").write_text("".join(f"{name}\n" for name in held_out))
    print(f"{len(pairs) - len(held_out)} pairs and {len(held_out)} held-out pairs in {out}")  # noqa: T201


def parse_pairs(*tables: str) -> dict[str, str]:
    """From tables of `name=code-points` separated by white space, the code points of each name."""
    return dict(entry.split("=") for table in tables for entry in table.split())


def fetch(package: Package, folder: Path) -> Path:
    """Download a package with npm into a folder and return the archive.

    Raises:
        BuildError: the archive is not the one whose digest is recorded.
    """
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    # npm prints the file name last
    name = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.split()[-1]
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    if digest != package.digest:
        raise BuildError(
            f"{package.name}@{package.version} has the SHA-256 {digest}, not {package.digest}: "
            "check what changed in the registry before using it"
        )
    return folder / name


def read_members(archive: Path, prefix: str) -> dict[str, bytes]:
    """The files of a tar archive directly under a prefix, by file name without its ending."""
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.isfile() and member.name.startswith(prefix)]
        return {Path(member.name).stem: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def write_pairs(pairs: Mapping[str, str], lines: Mapping[str, bytes], renders: Mapping[str, bytes], out: Path) -> None:
    """Write sketch/NAME.png, 8-bit grey, and render/NAME.png, 8-bit RGB, for each name.

    Raises:
        BuildError: a package lacks one of the pictures; nothing is written then.
    """
    check_present(pairs.keys(), lines.keys(), LINES)
    check_present(pairs.values(), renders.keys(), RENDERS)
    for name, code_points in pairs.items():
        save(draw_line(lines[name]).convert("L"), out / "sketch" / f"{name}.png")
        save(draw_render(renders[code_points]).convert("RGB"), out / "render" / f"{name}.png")


def check_present(wanted: Iterable[str], present: Iterable[str], package: Package) -> None:
    """Raise BuildError unless a package has every wanted picture."""
    if missing := sorted(set(wanted) - set(present)):
        raise BuildError(
            f"{package.name}@{package.version} lacks {len(missing)} pictures, the first is {missing[0]!r}: "
            "correct the table of names"
        )


def draw_line(svg: bytes, side: int = SIDE) -> Image.Image:
    """Rasterise a line drawing onto white, RGBA, side x side; one that is not square keeps its aspect within that."""
    import resvg_py  # imported here because no test needs it

    png = resvg_py.svg_to_bytes(svg_string=svg.decode(), width=side, height=side)
    return on_white(Image.open(io.BytesIO(bytes(png))))


def draw_render(webp: bytes, side: int = SIDE) -> Image.Image:
    """Put a render onto white and reduce it, RGBA, side x side."""
    return on_white(Image.open(io.BytesIO(webp))).resize((side, side), Image.Resampling.LANCZOS)


def on_white(picture: Image.Image) -> Image.Image:
    """The picture over an opaque white background, RGBA."""
    background = Image.new("RGBA", picture.size, "white")
    background.alpha_composite(picture.convert("RGBA"))
    return background


def save(picture: Image.Image, path: Path) -> None:
    """Save as an optimised PNG, making the folder.

    Raises:
        BuildError: the picture is not SIDE x SIDE, so the pair would not be registered.
    """
    if picture.size != (SIDE, SIDE):
        raise BuildError(f"{path.name} came out as {picture.size}, not {SIDE} x {SIDE}: its drawing is not square")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)


if __name__ == "__main__":
    main()
