"""Which files belong together: listing folders and pairing them by name."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from translate.data.images import IMAGE_SUFFIXES, ImageError, PictureInfo, probe_picture
from translate.data.windowed import WINDOWED_SUFFIXES, is_windowed

SHOWN = 3  # files named in an error message; the rest is counted
Suffixes = tuple[str, str]  # what the names of sources and targets end in beyond the common name


class Pair(NamedTuple):
    """Two registered pictures: files of one name, or the two halves of one file (`halves`)."""

    name: str
    source: Path
    target: Path


class Listing(NamedTuple):
    """One side of pairs: the paths of its files from its folder, and what their names end in beyond the common one."""

    folder: Path
    names: list[str]
    suffix: str


def list_images(folder: Path, *, without: Path | None = None, windowed: bool = False) -> list[Path]:
    """Every image file below `folder`, sorted by its path from there; hidden files and folders are left out.

    Args:
        folder: an existing folder, searched through all its sub-folders.
        without: a folder whose content is not listed (an output folder inside the input folder).
        windowed: whether slides and Zarrs (which are folders) are listed, too.

    Raises:
        ImageError: the folder does not exist, is a file, or holds no image.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ImageError(f"{folder} {what}: give a folder of images")
    suffixes = (*IMAGE_SUFFIXES, *(WINDOWED_SUFFIXES if windowed else ()))
    found = sorted(_walk(folder, without.resolve() if without else None, suffixes), key=lambda path: path.parts)
    if not found:
        raise ImageError(f"{folder} holds no images: files ending in {', '.join(IMAGE_SUFFIXES)} are read")
    return found


def _walk(folder: Path, without: Path | None, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or (without is not None and path.resolve() == without):
            continue
        if path.is_dir() and not (path.suffix.lower() in suffixes and is_windowed(path)):
            yield from _walk(path, without, suffixes)
        elif path.suffix.lower() in suffixes:
            yield path


def pair_folders(
    source: Path, target: Path, *, source_suffix: str = "", target_suffix: str = "", split: str = ""
) -> list[Pair]:
    """Pair the files of two folders by their path without extension and without the suffix of their side.

    Args:
        source_suffix: what the names in `source` end in beyond the common name, such as "x2" or "_LR".
        target_suffix: the same for `target`, such as "_HR".
        split: named in error messages ("train", "val").

    Raises:
        ImageError: a folder is missing or empty, two files of a folder share a name, a file has no partner.
    """
    files = [list_images(folder) for folder in (source, target)]
    sides = [
        Listing(folder, [path.relative_to(folder).as_posix() for path in listed], suffix)
        for folder, listed, suffix in zip((source, target), files, (source_suffix, target_suffix), strict=True)
    ]
    return [Pair(name, files[0][one], files[1][other]) for name, one, other in match_names(sides[0], sides[1], split)]


def match_names(source: Listing, target: Listing, split: str) -> list[tuple[str, int, int]]:
    """The common name of each pair, sorted, and the place of its two files in their listings.

    Raises:
        ImageError: two files of a side share a name, a file has no partner.
    """
    where = f"split {split!r}: " if split else ""
    sources, targets = _by_name(source, where), _by_name(target, where)
    for here, there, side, other in ((sources, targets, source, target), (targets, sources, target, source)):
        if alone := sorted(here.keys() - there.keys()):
            raise ImageError(
                f"{where}{len(alone)} of {len(here)} images in {side.folder} have no partner in {other.folder}, "
                f"for example {shown(side.names[here[name]].rpartition('/')[2] for name in alone)}: every file needs "
                "one of the same name there"
                + (
                    f", ending in {other.suffix!r} before its extension"
                    if other.suffix
                    else ", or set a suffix for each side"
                )
            )
    return [(name, sources[name], targets[name]) for name in sorted(sources)]


def side_by_side(folder: Path) -> list[Pair]:
    """One file a pair: both sides are the same path, to be cut in the middle."""
    return [Pair(path.relative_to(folder).with_suffix("").as_posix(), path, path) for path in list_images(folder)]


def _by_name(side: Listing, where: str) -> dict[str, int]:
    """Map 'sub/name' to the place of its file; the suffix is cut off, and a file without it is an error."""
    files: dict[str, int] = {}
    folder, suffix = side.folder, side.suffix
    for place, path in enumerate(side.names):
        name = path.rpartition(".")[0]
        stem = name.rpartition("/")[2]
        if not stem.endswith(suffix):
            raise ImageError(
                f"{where}{folder / path} does not end in the suffix {suffix!r}: rename it or change the suffix"
            )
        if stem == suffix:
            raise ImageError(f"{where}{folder / path} has no name besides the suffix {suffix!r}: rename it")
        name = name.removesuffix(suffix)
        if name in files:
            other = path.rpartition("/")[2]
            raise ImageError(
                f"{where}{folder / side.names[files[name]]} and {other} share the name {name!r}: keep one of them"
            )
        files[name] = place
    return files


Probe = Callable[[Path], PictureInfo]


def check_sizes(
    pairs: Sequence[Pair], *, scale: int = 1, split: str = "", of: int | None = None, probe: Probe = probe_picture
) -> None:
    """Refuse pairs whose target is not `scale` times the source, reading the headers only.

    Args:
        of: how many pairs there are, where these are some of them.

    Raises:
        ImageError: naming the split, how many pairs differ, the first few and their sizes.
    """
    wrong = []
    for pair in pairs:
        source, target = probe(pair.source), probe(pair.target)
        if (target.height, target.width) != (source.height * scale, source.width * scale):
            wrong.append(f"{pair.name} ({_size(source)} and {_size(target)})")
    if wrong:
        where = f"split {split!r}: " if split else ""
        raise ImageError(
            f"{where}{len(wrong)} of {of or len(pairs)} pairs differ in size, source and target in W x H: "
            f"{shown(wrong)}; a target must be {scale} times its source: crop or resize one side"
        )


def check_halves(
    pairs: Sequence[Pair], *, split: str = "", of: int | None = None, probe: Probe = probe_picture
) -> None:
    """Refuse side-by-side pictures of odd width, reading the headers only.

    Args:
        of: how many pictures there are, where these are some of them.

    Raises:
        ImageError: naming the split, how many, the first few and their sizes.
    """
    odd = [f"{pair.source} ({_size(info)})" for pair in pairs if (info := probe(pair.source)).width % 2]
    if odd:
        where = f"split {split!r}: " if split else ""
        raise ImageError(f"{where}{len(odd)} of {of or len(pairs)} side-by-side images have an odd width: {shown(odd)}")


def fingerprint(files: Iterable[tuple[str, int]]) -> str:
    """Of the names and sizes in bytes of files, in their order."""
    digest = hashlib.sha256()
    for name, size in files:
        digest.update(os.fsencode(f"{name}\0{size}\n"))
    return digest.hexdigest()[:16]


def _size(info: PictureInfo) -> str:
    return f"{info.width} x {info.height}"


def shown(items: Iterable[str]) -> str:
    """The first few of many items, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
