"""Stage 1 for images: folders of pairs, side-by-side images, or two unpaired kinds become a data set for training."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from translate.data.folders import Pair, check_halves, check_sizes, list_images, pair_folders, side_by_side
from translate.data.images import ImageError, probe_picture
from translate.pipelines.preprocessing.dataset import Options, choose_splits, write_dataset
from translate.pipelines.preprocessing.items import Half, Item
from translate.pipelines.preprocessing.ownership import origin_of

logger = logging.getLogger(__name__)


def prepare_pairs(
    source: Path,
    target: Path,
    output: Path,
    options: Options,
    *,
    source_suffix: str = "",
    target_suffix: str = "",
    scale: int = 1,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Pair two folders by name and write OUT/{train,val}/{source,target}.

    Args:
        scale: sides of the targets divided by those of the sources.

    Returns what `write_dataset` returns. Raises ImageError for files without a partner, pairs whose sizes differ
    otherwise, and a size together with a scale.
    """
    if scale != 1 and options.size is not None:
        raise ImageError(f"pairs of scale {scale} cannot be reduced to the size {options.size}: give one of both")
    check_apart(output, source, target)
    warn_of_splits(options, source, target)
    pairs = pair_folders(source, target, source_suffix=source_suffix, target_suffix=target_suffix)
    check_sizes(_readable(pairs), scale=scale)
    splits = choose_splits([pair.name for pair in pairs], options)
    items = [
        Item(pair.name, f"{splits[pair.name]}/{side}", path)
        for pair in pairs
        for side, path in (("source", pair.source), ("target", pair.target))
    ]
    origin, facts = origin_of("pairs", source, target), {"scale": scale} if scale != 1 else None
    return write_dataset(items, output, "paired", options, origin, facts=facts, show_progress=show_progress)


def prepare_side_by_side(
    folder: Path,
    output: Path,
    options: Options,
    *,
    source_on: Literal["left", "right"] = "left",
    show_progress: bool = True,
) -> dict[str, Any]:
    """Cut images in the middle and write OUT/{train,val}/{source,target}.

    Returns what `write_dataset` returns. Raises ImageError for images of odd width.
    """
    check_apart(output, folder)
    warn_of_splits(options, folder)
    pairs = side_by_side(folder)
    check_halves(_readable(pairs))
    splits = choose_splits([pair.name for pair in pairs], options)
    target_on: Literal["left", "right"] = "right" if source_on == "left" else "left"
    items = [
        Item(pair.name, f"{splits[pair.name]}/{side}", pair.source, Half(half))
        for pair in pairs
        for side, half in (("source", source_on), ("target", target_on))
    ]
    return write_dataset(
        items, output, "paired", options, origin_of("side-by-side", folder), show_progress=show_progress
    )


def prepare_unpaired(a: Path, b: Path, output: Path, options: Options, *, show_progress: bool = True) -> dict[str, Any]:
    """Write two unpaired kinds of image as OUT/{train,val}/{a,b}. Returns what `write_dataset` returns."""
    check_apart(output, a, b)
    warn_of_splits(options, a, b)
    items = []
    for side, folder in (("a", a), ("b", b)):
        files = unique_names(folder)
        splits = choose_splits(list(files), options)
        items += [Item(name, f"{splits[name]}/{side}", path) for name, path in files.items()]
    return write_dataset(items, output, "unpaired", options, origin_of("unpaired", a, b), show_progress=show_progress)


def check_apart(output: Path, *inputs: Path) -> None:
    """Refuse to write into a folder that is read: the next run would take its files for input."""
    for folder in inputs:
        if output.resolve().is_relative_to(folder.resolve()):
            raise ImageError(f"the output folder {output} lies in the input folder {folder}: give one elsewhere")


def warn_of_splits(options: Options, *inputs: Path) -> None:
    """Say that a split which is there already is mixed and drawn anew."""
    for folder in inputs:
        splits = [name for name in ("train", "val", "test") if (folder / name).is_dir()]
        if options.split is None and len(splits) > 1:
            logger.warning(
                "%s is split already (%s): its images are mixed and split anew; to keep them apart, prepare each "
                "folder on its own, with --split train and --split val",
                folder,
                ", ".join(splits),
            )


def _readable(pairs: list[Pair]) -> list[Pair]:
    """The pairs whose sizes are known; `write_dataset` reports the others."""
    return [pair for pair in pairs if all(_has_header(path) for path in {pair.source, pair.target})]


def _has_header(path: Path) -> bool:
    try:
        probe_picture(path)
    except ImageError:
        return False
    return True


def unique_names(folder: Path) -> dict[str, Path]:
    """Files by their path without suffix; those that would share one keep it: they are different images here."""
    paths = [path.relative_to(folder) for path in list_images(folder)]
    shared = Counter([*paths, *(path.with_suffix("") for path in paths)])  # also by a.jpg and a.jpg.png
    return {(p if shared[p.with_suffix("")] > 1 else p.with_suffix("")).as_posix(): folder / p for p in paths}
