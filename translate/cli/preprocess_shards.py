"""translate preprocess shards: its options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EPILOG = """
Every file is kept as it is, byte for byte, in plain tars of about the same size with an index, so that a data set of
millions of pictures is a few large files. translate train --data OUT reads them like the folder, with the same batches,
and a run can go on with either. tar -xf gives the folder back; sha256sum -c SHA256SUMS checks a copy. A command that
was stopped goes on where it stopped, and until it is done there is no index: what is there is not half a data set.
Training alone reads shards, on Linux and macOS; slices with neighbours need the folder.

  translate preprocess pairs SOURCE TARGET DATA && translate preprocess shards DATA SHARDS
  translate train pix2pix --data SHARDS --output RUN
"""


def add_arguments(task: argparse.ArgumentParser) -> None:
    task.add_argument("folder", metavar="FOLDER", type=Path, help="prepared data set: a folder with train/ and val/")
    task.add_argument("output", metavar="OUT", type=Path, help="folder of the shards")
    task.add_argument(
        "--shard-size", metavar="MB", type=float, default=1000.0, help="megabytes of pictures in a shard (1000)"
    )
    task.add_argument("--workers", metavar="N", type=int, default=2, help="shards that are written at once (2)")
    task.add_argument(
        "--overwrite",
        action="store_true",
        help="pack everything again, also over shards of another folder or damaged ones",
    )
    task.add_argument("--json", action="store_true", help="print one line of JSON with the summary, and nothing else")


def prepare(given: argparse.Namespace, *, show_progress: bool) -> dict[str, Any]:
    """Write the shards that the command line asks for. Returns their summary."""
    from translate.pipelines.preprocessing.shards import Packing, pack_shards

    packing = Packing(given.shard_size, given.workers, given.overwrite)
    return pack_shards(given.folder, given.output, packing, show_progress=show_progress)
