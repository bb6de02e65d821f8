"""What the page takes: files of people whom nobody knows, within limits, and messages that tell them what is wrong."""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translate.data.images import ImageError, Picture, probe_picture, read_picture
from translate.data.intensity import IntensityRange, opacity_of

Report = Callable[[float, str], object]  # the share that is done, and what is done now
SHOWN = 1600  # pixels of the longer side of a picture on the page; the file to download has all


@dataclass(frozen=True)
class Limits:
    """What the page takes and makes.

    max_pixels: the largest width times height of a picture that is read or made.
    max_mb: megabytes of a file that is uploaded.
    """

    max_pixels: int = 16_000_000
    max_mb: int = 50

    def check_made(self, height: int, width: int) -> None:
        """Raise ImageError if a picture of this size would be too large."""
        if height * width > self.max_pixels:
            raise ImageError(
                f"the result would have {width} x {height} pixels, {_mega(height * width)} megapixels, and this page "
                f"makes up to {_mega(self.max_pixels)}: choose a smaller scale or a smaller picture"
            )


@dataclass(frozen=True)
class Workspace:
    """The folders of one page.

    downloads: what is in it is served to whoever knows the name, and deleted when it is old.
    private: never served.
    """

    downloads: Path
    private: Path

    def download(self, name: str) -> Path:
        """The path of a new file of this name, in a folder of its own that cannot be guessed."""
        folder = self.downloads / uuid.uuid4().hex
        folder.mkdir(parents=True)
        return folder / name


def read_upload(path: Path, limits: Limits) -> Picture:
    """Read a picture that was uploaded.

    Raises:
        ImageError: it cannot be read, or has more pixels than the page takes.
    """
    info = probe_picture(path)
    if info.height * info.width > limits.max_pixels:
        raise ImageError(
            f"{path.name} has {info.width} x {info.height} pixels, {_mega(info.height * info.width)} megapixels, and "
            f"this page takes up to {_mega(limits.max_pixels)}: reduce it first"
        )
    return read_picture(path, max_pixels=limits.max_pixels)


def to_screen(picture: Picture) -> np.ndarray:
    """(H, W, 3) uint8 of a picture of any value type, transparent parts on white."""
    values = IntensityRange.of_dtype(picture.pixels.dtype).to_model(np.nan_to_num(picture.pixels))
    values = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values
    if picture.alpha is not None:
        opacity = opacity_of(picture.alpha, np.float32)[..., None]
        values = values * opacity + (1 - opacity)
    return IntensityRange.of_dtype(np.uint8).from_model(values, np.uint8)


def without_places(message: str) -> str:
    """A message without the folders of the server: of every absolute path the name is left.

    >>> without_places("cannot read /srv/x1/photo.png: it is truncated")
    'cannot read photo.png: it is truncated'
    """
    return re.sub(r"(?<![\w:./])/(?:[^\s/:'\"]+/)+", "", message)


def safe_stem(path: Path) -> str:
    """The name of an uploaded file without its suffix, of harmless characters."""
    return re.sub(r"[^\w.-]+", "_", path.stem).strip("._")[:80] or "picture"


def _mega(pixels: int) -> str:
    return f"{pixels / 1e6:.1f}"
