"""What every preprocessing task shares: splits, parallel and resumable writing, and the manifest."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from translate.data.datasets import cut_in_half
from translate.data.images import ImageError, Picture, lossless_suffix, probe_picture, read_picture, write_picture
from translate.data.resize import reduce_picture
from translate.pipelines.journal import Journal, Record, sha256
from translate.pipelines.preprocessing.ownership import claim

logger = logging.getLogger(__name__)
MANIFEST = "dataset.json"


@dataclass(frozen=True)
class Options:
    """How a data set is prepared.

    val: share of the images that go to val/, chosen by a hash of their names and the seed; at least one if not 0.
    split: put everything into this split instead, and leave the other splits of the data set as they are.
    size: length of the shorter side in pixels; larger images are reduced, smaller ones stay. None leaves all as they
        are, and copies the files unchanged.
    overwrite: replace a data set that was made from other folders.
    """

    val: float = 0.1
    split: str | None = None
    seed: int = 0
    size: int | None = None
    workers: int = 2
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.val < 1:
            raise ImageError(f"the share of val must be from 0 to below 1, got {self.val}")
        if self.size is not None and self.size < 1:
            raise ImageError(f"the size must be at least 1 pixel, got {self.size}")
        if self.workers < 1:
            raise ImageError(f"workers must be at least 1, got {self.workers}")

    def fingerprint(self) -> str:
        return f"size={self.size}"


@dataclass(frozen=True)
class Item:
    """One image to write: `name` is the common name of a pair, `folder` where it goes, such as train/source."""

    name: str
    folder: str
    source: Path
    half: Literal["left", "right"] | None = None

    @property
    def key(self) -> str:
        return f"{self.folder}/{self.name}"


def choose_splits(names: list[str], options: Options) -> dict[str, str]:
    """The split of each name: a function of the names and the seed alone. train/ gets at least one."""
    if options.split:
        return dict.fromkeys(names, options.split)
    count = min(max(1, round(options.val * len(names))), len(names) - 1) if options.val else 0
    shuffled = sorted(names, key=lambda name: hashlib.sha256(os.fsencode(f"{options.seed}/{name}")).digest())
    val = set(shuffled[:count])
    return {name: "val" if name in val else "train" for name in names}


def write_dataset(
    items: list[Item], output: Path, kind: str, options: Options, origin: str, *, show_progress: bool = True
) -> dict[str, Any]:
    """Write all items and the manifest; what is there already is kept, and what is not asked for any more is removed.

    A broken image is reported and left out, with its partner.

    Args:
        origin: of the items, from `origin_of`.

    Returns:
        {"kind", "images", "failed", "splits": {split: count of names}, "output", "manifest", "problems"}.
    """
    inside = [item.source for item in items if item.source.resolve().is_relative_to(output.resolve())]
    if inside:
        raise ImageError(f"{inside[0]} lies in the output folder {output}: give another folder for the data set")
    others = _other_splits(output, kind, options)
    journal = Journal(output)
    claim(journal, (item.key for item in items), origin, overwrite=options.overwrite)
    with ThreadPoolExecutor(options.workers) as pool:
        written = pool.map(lambda item: _write(item, journal, options), items)
        records = list(tqdm(written, total=len(items), unit="image", disable=not show_progress))
    problems = {
        item.key: record.reason for item, record in zip(items, records, strict=True) if record.status == "failed"
    }
    broken = {_sample(item) for item in items if item.key in problems}
    kept = [
        (i, r)
        for i, r in zip(items, records, strict=True)
        if (kind == "unpaired" and r.output) or _sample(i) not in broken
    ]
    _remove_stale(journal, {record.output for _, record in kept}, options)
    _write_manifest(kind, others | _described(kept, output), output, options)
    counts: dict[str, set[str]] = {}
    for item, _ in kept:
        counts.setdefault(item.folder.split("/")[0], set()).add(_sample(item) if kind == "paired" else item.key)
    return {
        "kind": kind,
        "images": len(kept),
        "failed": len(problems),
        "splits": {split: len(names) for split, names in sorted(counts.items())},
        "output": str(output),
        "manifest": str(output / MANIFEST),
        "problems": problems,
    }


def _sample(item: Item) -> str:
    """What belongs together: all sides of a name in a split."""
    return f"{item.folder.split('/')[0]}/{item.name}"


def _write(item: Item, journal: Journal, options: Options) -> Record:
    try:
        content = sha256(item.source)
        settings = f"{options.fingerprint()} half={item.half}"
        if done := journal.find_done(item.key, settings, content):
            return done
        picture = read_picture(item.source)
        changed = _change(picture, item, options)
        suffix = item.source.suffix.lower() if changed is picture else _suffix_of(changed)
        record = Record(
            file=item.key,
            status="done",
            output=f"{item.key}{suffix}",
            width=changed.pixels.shape[1],
            height=changed.pixels.shape[0],
            settings=settings,
            input_sha256=content,
        )
        if changed is picture:
            return journal.put(record, lambda path: _copy(item.source, path))
        return journal.put(record, lambda path: write_picture(changed, path))
    except (ValueError, OSError) as error:
        logger.warning("%s: %s", item.key, error)
        return Record(file=item.key, status="failed", reason=str(error))


def _change(picture: Picture, item: Item, options: Options) -> Picture:
    """The picture cut and reduced; the very same object where nothing is to be done."""
    if item.half:
        picture = cut_in_half(picture)[0 if item.half == "left" else 1]
    return reduce_picture(picture, options.size)


def _suffix_of(picture: Picture) -> str:
    return lossless_suffix(picture.metadata.format, picture.pixels.dtype, picture.alpha is not None)


def _copy(source: Path, path: Path) -> None:
    shutil.copyfile(source, path)


def _remove_stale(journal: Journal, wanted: set[str | None], options: Options) -> None:
    """Delete what was written here and is not wanted: images that changed their split, partners of broken ones."""
    for name in sorted(journal.outputs - wanted):
        if options.split and not name.startswith(f"{options.split}/"):
            continue
        path = journal.output / name
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            for folder in path.relative_to(journal.output).parents[:-1]:
                (journal.output / folder).rmdir()


def _other_splits(output: Path, kind: str, options: Options) -> dict[str, Any]:
    """The manifest's files of the splits that `options.split` leaves alone."""
    manifest = output / MANIFEST
    if options.split is None or not manifest.is_file():
        return {}
    try:
        before = json.loads(manifest.read_text(encoding="utf-8"))
        before_kind, files = before["kind"], before["files"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ImageError(f"{manifest} is damaged: delete it and prepare each split again") from None
    others = {name: facts for name, facts in files if not name.startswith(f"{options.split}/")}
    if others and before_kind != kind:
        raise ImageError(
            f"{output} holds a data set of kind {before_kind!r}, its split {options.split!r} cannot be {kind!r}: "
            "give another folder"
        )
    return others


def _described(kept: list[tuple[Item, Record]], output: Path) -> dict[str, Any]:
    """What the manifest says of each file."""
    files: dict[str, Any] = {}
    for _, record in kept:
        assert record.output is not None
        info = probe_picture(output / record.output)
        files[record.output] = {
            "width": info.width,
            "height": info.height,
            "channels": info.channels,
            "alpha": info.has_alpha,
            "dtype": info.dtype.name,
            "sha256": record.output_sha256,
        }
    return files


def _write_manifest(kind: str, files: dict[str, Any], output: Path, options: Options) -> None:
    manifest = {"format_version": 1, "kind": kind, "seed": options.seed, "size": options.size, "files": files}
    aside = output / f".{MANIFEST}.new"
    aside.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, output / MANIFEST)
