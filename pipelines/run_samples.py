"""The sheets of samples that a run wrote, for its page: a few of them, none too large."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from translate.data.images import ImageError, read_picture, to_pil

logger = logging.getLogger(__name__)

MOST = 6  # sheets on a page
MOST_BYTES = 500_000  # of a sheet
QUALITY = 90  # of the JPEG that a larger one becomes


def find_samples(folder: Path) -> list[tuple[int, Path]]:
    """Step and path of each sheet `step_N.png`, in the order of steps; none where there is no folder."""
    named = [(re.fullmatch(r"step_(\d+)\.png", path.name), path) for path in folder.glob("step_*.png")]
    return sorted((int(found[1]), path) for found, path in named if found)


def choose_samples(samples: Sequence[tuple[int, Path]]) -> list[tuple[int, Path]]:
    """The first, the last and some evenly between them."""
    if len(samples) <= MOST:
        return list(samples)
    return [samples[round(place * (len(samples) - 1) / (MOST - 1))] for place in range(MOST)]


def read_samples(samples: Sequence[tuple[int, Path]]) -> list[tuple[int, bytes]]:
    """Step and PNG or JPEG of each sheet; one that cannot be read is left out, with a warning."""
    read = []
    for step, path in samples:
        try:
            read.append((step, _reduced(path)))
        except ImageError as error:
            logger.warning("left out of the page: %s", error)
    return read


def _reduced(path: Path) -> bytes:
    """The file as it is, or if it is larger than MOST_BYTES, a JPEG that is not."""
    whole = to_pil(read_picture(path))
    data, scale = path.read_bytes(), 1.0
    while len(data) > MOST_BYTES:
        size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
        file = io.BytesIO()
        whole.resize(size, Image.Resampling.LANCZOS).convert("RGB").save(file, "JPEG", quality=QUALITY, subsampling=0)
        data, scale = file.getvalue(), scale * 0.85
    return data
