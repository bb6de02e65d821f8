"""Whose data set an output folder holds, so that none is replaced or mixed by accident."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from translate.data.folders import shown
from translate.data.images import ImageError
from translate.pipelines.journal import Journal


def origin_of(task: str, *inputs: Path) -> str:
    """Changes with the task and the folders that a data set is made from; their names are not kept."""
    return hashlib.sha256("\0".join([task, *(str(path.resolve()) for path in inputs)]).encode()).hexdigest()[:16]


def claim(journal: Journal, keys: Iterable[str], origin: str, *, overwrite: bool) -> None:
    """Note that the folders of these outputs are made from `origin`.

    Args:
        keys: the outputs without suffix, such as train/source/a.
        overwrite: take over splits that were made from something else; what is left over of them is removed later.

    Raises:
        ImageError: the folders hold files that preprocessing did not write, or were made from something else.
    """
    wanted = set(keys)
    path = journal.folder / "origins.json"
    origins: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    strangers = []
    for folder in sorted({key.rpartition("/")[0] for key in wanted}):
        # A crash of the machine can lose a record; such a file has the name of one that is wanted.
        lost = wanted if origins.get(folder.split("/")[0]) == origin else set()
        known = journal.outputs | {name for name in _files(journal.output, folder) if name.rpartition(".")[0] in lost}
        strangers += [name for name in _files(journal.output, folder) if name not in known]
    if strangers:
        raise ImageError(
            f"{journal.output} holds {len(strangers)} files that preprocess did not write, {shown(strangers)}: give "
            "another folder for the data set"
        )
    splits = {key.split("/")[0] for key in wanted}
    others = sorted(split for split in splits if origins.get(split, origin) != origin)
    if others and not overwrite:
        raise ImageError(
            f"{journal.output} holds a data set whose {' and '.join(others)} was made from other folders: give another "
            "folder, or --overwrite to replace it"
        )
    aside = path.with_name(f"aside-{path.name}")
    aside.write_text(json.dumps(origins | dict.fromkeys(splits, origin)))
    os.replace(aside, path)


def _files(output: Path, folder: str) -> list[str]:
    """The files directly in a folder of the output."""
    root = output / folder
    return sorted(path.relative_to(output).as_posix() for path in root.glob("*") if path.is_file())
