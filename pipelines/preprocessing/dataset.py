"""What every preprocessing task shares: splits, parallel and resumable writing, and the manifest."""

import contextlib
import hashlib
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from translate.data.images import ImageError, Picture, lossless_suffix, probe_picture, write_picture
from translate.data.resize import reduce_picture
from translate.pipelines.journal import Journal, Record
from translate.pipelines.preprocessing.items import Item, Opened
from translate.pipelines.preprocessing.manifest import MANIFEST, other_splits, write_manifest
from translate.pipelines.preprocessing.ownership import claim

logger = logging.getLogger(__name__)


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


def choose_splits(names: list[str], options: Options) -> dict[str, str]:
    """The split of each name: a function of the names and the seed alone. train/ gets at least one."""
    if options.split:
        return dict.fromkeys(names, options.split)
    count = min(max(1, round(options.val * len(names))), len(names) - 1) if options.val else 0
    shuffled = sorted(names, key=lambda name: hashlib.sha256(os.fsencode(f"{options.seed}/{name}")).digest())
    val = set(shuffled[:count])
    return {name: "val" if name in val else "train" for name in names}


def write_dataset(
    items: list[Item],
    output: Path,
    kind: str,
    options: Options,
    origin: str,
    *,
    facts: dict[str, Any] | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Write all items and the manifest; what is there already is kept, and what is not asked for any more is removed.

    A broken image is reported and left out, with its partner.

    Args:
        origin: of the items, from `origin_of`.
        facts: what else the manifest says of the splits that are written.

    Returns:
        {"kind", "images", "failed", "left_out", "splits": {split: count of names}, "output", "manifest", "problems"}.

    Raises:
        ImageError: the output holds something else, or an input; or every image is left out.
    """
    inside = [item.source for item in items if item.source.resolve().is_relative_to(output.resolve())]
    if inside:
        raise ImageError(f"{inside[0]} lies in the output folder {output}: give another folder for the data set")
    others = other_splits(output, kind, options.split, facts or {})
    journal = Journal(output)
    claim(journal, (item.key for item in items), origin, overwrite=options.overwrite)
    records = _write_all(items, journal, options, show_progress)
    problems = {
        item.key: record.reason for item, record in zip(items, records, strict=True) if record.status == "failed"
    }
    broken = {_sample(item) for item in items if item.key in problems}
    kept = [
        (i, r)
        for i, r in zip(items, records, strict=True)
        if r.output and (kind == "unpaired" or _sample(i) not in broken)
    ]
    left_out = sum(record.status == "skipped" and not record.output for record in records)
    if items and left_out == len(items):
        raise ImageError(f"all {left_out} images are left out: lower the detail that they must have")
    remove_stale(journal, {record.output for _, record in kept}, options)
    described = {record.output: _described(item, record, output) for item, record in kept if record.output}
    write_manifest(output, kind, described, others, {"seed": options.seed, "size": options.size, **(facts or {})})
    counts: dict[str, set[str]] = {}
    for item, _ in kept:
        counts.setdefault(item.folder.split("/")[0], set()).add(_sample(item) if kind == "paired" else item.key)
    return {
        "kind": kind,
        "images": len(kept),
        "failed": len(problems),
        "left_out": left_out,
        "splits": {split: len(names) for split, names in sorted(counts.items())},
        "output": str(output),
        "manifest": str(output / MANIFEST),
        "problems": problems,
    }


def _sample(item: Item) -> str:
    """What belongs together: all sides of a name in a split."""
    return f"{item.folder.split('/')[0]}/{item.name}"


def _write_all(items: list[Item], journal: Journal, options: Options, show_progress: bool) -> list[Record]:
    """The records of the items, in their order; those of one picture are made one after the other."""
    groups: dict[Path, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(item.source, []).append(index)
    records: dict[int, Record] = {}
    with (
        ThreadPoolExecutor(options.workers) as pool,
        tqdm(total=len(items), unit="image", disable=not show_progress) as bar,
    ):

        def work(indices: list[int]) -> None:
            opened = Opened(items[indices[0]].source)
            for index in indices:
                records[index] = _write(items[index], opened, journal, options)
                bar.update()

        list(pool.map(work, groups.values()))
    return [records[index] for index in range(len(items))]


def _write(item: Item, opened: Opened, journal: Journal, options: Options) -> Record:
    try:
        content = opened.content
        settings = f"{options.fingerprint()} {item.change.settings if item.change else 'half=None'}"
        if done := journal.find_done(item.key, settings, content):
            return done
        picture = opened.picture
        wanted = item.change(opened) if item.change else picture
        if wanted is None:
            return Record(file=item.key, status="skipped")
        changed = reduce_picture(wanted, options.size)
        suffix = item.source.suffix.lower() if changed is picture else _suffix_of(changed)
        record = Record(
            file=item.key,
            status="done",
            output=f"{item.key}{suffix}",
            width=changed.pixels.shape[1],
            height=changed.pixels.shape[0],
            settings=settings,
            input_sha256=content,
            warnings=opened.warnings or None,
        )
        if changed is picture:
            return journal.put(record, lambda path: _copy(item.source, path))
        return journal.put(record, lambda path: write_picture(changed, path))
    except (ValueError, OSError) as error:
        logger.warning("%s: %s", item.key, error)
        return Record(file=item.key, status="failed", reason=str(error))


def _suffix_of(picture: Picture) -> str:
    return lossless_suffix(picture.metadata.format, picture.pixels.dtype, picture.alpha is not None)


def _copy(source: Path, path: Path) -> None:
    shutil.copyfile(source, path)


def remove_stale(journal: Journal, wanted: set[str | None], options: Options) -> None:
    """Delete what was written here and is not wanted: images that changed their split, partners of broken ones."""
    for name in sorted(journal.outputs - wanted):
        if options.split and not name.startswith(f"{options.split}/"):
            continue
        path = journal.output / name
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            for folder in path.relative_to(journal.output).parents[:-1]:
                (journal.output / folder).rmdir()


def _described(item: Item, record: Record, output: Path) -> dict[str, Any]:
    """What the manifest says of a file."""
    assert record.output is not None
    info = probe_picture(output / record.output)
    return {
        "width": info.width,
        "height": info.height,
        "channels": info.channels,
        "alpha": info.has_alpha,
        "dtype": info.dtype.name,
        "sha256": record.output_sha256,
        **(item.change.facts() if item.change else {}),
        **({"warnings": record.warnings} if record.warnings else {}),
    }
