"""dataset.json: what a prepared folder holds, and how each of its splits was made."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from translate.data.images import ImageError

MANIFEST = "dataset.json"
VALIDATED_BY_PAIRS = {"alone", "paired"}  # what is trained without targets can be measured with them


class Others(NamedTuple):
    """The splits that are left as they are: how each was made, and their files."""

    splits: dict[str, Any]
    files: dict[str, Any]


def other_splits(output: Path, kind: str, split: str | None, facts: dict[str, Any]) -> Others:
    """The manifest's entries of all splits but `split`; none where that is None, for all are written anew.

    Raises:
        ImageError: the manifest is damaged, or those splits are of another kind or scale.
    """
    manifest = output / MANIFEST
    if split is None or not manifest.is_file():
        return Others({}, {})
    try:
        before = json.loads(manifest.read_text(encoding="utf-8"))
        before_kind, splits, files = before["kind"], dict(before["splits"]), dict(before["files"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ImageError(f"{manifest} is damaged: delete it and prepare each split again") from None
    others = Others(
        {name: made for name, made in splits.items() if name != split},
        {name: entry for name, entry in files.items() if not name.startswith(f"{split}/")},
    )
    if others.files and before_kind != kind and {before_kind, kind} != VALIDATED_BY_PAIRS:
        raise ImageError(
            f"{output} holds a data set of kind {before_kind!r}, its split {split!r} cannot be {kind!r}: "
            "give another folder"
        )
    scale = facts.get("scale", 1)
    if wrong := [made.get("scale", 1) for made in others.splits.values() if made.get("scale", 1) != scale]:
        raise ImageError(
            f"{output} holds a data set of scale {wrong[0]}, its split {split!r} cannot have {scale}: give "
            "another folder"
        )
    return others


def write_manifest(output: Path, kind: str, files: dict[str, Any], others: Others, making: dict[str, Any]) -> None:
    """Write the manifest, whole or not at all.

    Args:
        files: of the splits that were written, by their name below `output`.
        making: how these splits were made.
    """
    splits = others.splits | {name.split("/")[0]: making for name in files}
    manifest = {
        "format_version": 2,
        "kind": kind,
        "splits": dict(sorted(splits.items())),
        "files": others.files | files,
    }
    aside = output / f".{MANIFEST}.new"
    aside.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    os.replace(aside, output / MANIFEST)
