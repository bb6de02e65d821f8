"""Which files belong together: listing folders and pairing them by name."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from translate.data.images import IMAGE_SUFFIXES, ImageError, PictureInfo, probe_picture
from translate.data.windowed import WINDOWED_SUFFIXES, is_windowed

SHOWN = 3  # files named in an error message; the rest is counted


class Pair(NamedTuple):
    """Two registered pictures: files of one name, or the two halves of one file (`halves`)."""

    name: str
    source: Path
    target: Path


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
    found = sorted(_walk(folder, without.resolve() if without else None, suffixes))
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
    where = f"split {split!r}: " if split else ""
    sources = _by_name(source, source_suffix, where)
    targets = _by_name(target, target_suffix, where)
    for here, there, folder, suffix, other in (
        (sources, targets, target, target_suffix, source),
        (targets, sources, source, source_suffix, target),
    ):
        if alone := sorted(here.keys() - there.keys()):
            raise ImageError(
                f"{where}{len(alone)} of {len(here)} images in {other} have no partner in {folder}, "
                f"for example {shown(here[name].name for name in alone)}: every file needs one of the same name there"
                + (f", ending in {suffix!r} before its extension" if suffix else ", or set a suffix for each side")
            )
    return [Pair(name, sources[name], targets[name]) for name in sorted(sources)]


def side_by_side(folder: Path) -> list[Pair]:
    """One file a pair: both sides are the same path, to be cut in the middle."""
    return [Pair(path.relative_to(folder).with_suffix("").as_posix(), path, path) for path in list_images(folder)]


def _by_name(folder: Path, suffix: str, where: str) -> dict[str, Path]:
    """Map 'sub/name' to its file; the suffix is cut off, and a file without it is an error."""
    files: dict[str, Path] = {}
    for path in list_images(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if not path.stem.endswith(suffix):
            raise ImageError(f"{where}{path} does not end in the suffix {suffix!r}: rename it or change the suffix")
        if path.stem == suffix:
            raise ImageError(f"{where}{path} has no name besides the suffix {suffix!r}: rename it")
        name = name.removesuffix(suffix)
        if name in files:
            raise ImageError(f"{where}{files[name]} and {path.name} share the name {name!r}: keep one of them")
        files[name] = path
    return files


def check_sizes(pairs: list[Pair], *, scale: int = 1, split: str = "") -> None:
    """Refuse pairs whose target is not `scale` times the source, reading the headers only.

    Raises:
        ImageError: naming the split, how many pairs differ, the first few and their sizes.
    """
    wrong = []
    for pair in pairs:
        source, target = probe_picture(pair.source), probe_picture(pair.target)
        if (target.height, target.width) != (source.height * scale, source.width * scale):
            wrong.append(f"{pair.name} ({_size(source)} and {_size(target)})")
    if wrong:
        where = f"split {split!r}: " if split else ""
        raise ImageError(
            f"{where}{len(wrong)} of {len(pairs)} pairs differ in size, source and target in W x H: {shown(wrong)}; "
            f"a target must be {scale} times its source: crop or resize one side"
        )


def check_halves(pairs: list[Pair], *, split: str = "") -> None:
    """Refuse side-by-side pictures of odd width, reading the headers only.

    Raises:
        ImageError: naming the split, how many, the first few and their sizes.
    """
    odd = [f"{pair.source} ({_size(info)})" for pair in pairs if (info := probe_picture(pair.source)).width % 2]
    if odd:
        where = f"split {split!r}: " if split else ""
        raise ImageError(f"{where}{len(odd)} of {len(pairs)} side-by-side images have an odd width: {shown(odd)}")


def _size(info: PictureInfo) -> str:
    return f"{info.width} x {info.height}"


def shown(items: Iterable[str]) -> str:
    """The first few of many items, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
