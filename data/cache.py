"""Decoded pixels on disk: one flat file that workers and processes map into memory and share."""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from translate.data.images import Metadata, Picture, read_picture


class PictureCache:
    """Pictures decoded once. The key covers path, size and time of every file, so a changed file makes a new cache.

    >>> cache = PictureCache.build(paths, Path("cache"))  # doctest: +SKIP
    >>> cache.read(paths[0]).pixels.dtype  # doctest: +SKIP
    dtype('uint8')
    """

    def __init__(self, folder: Path) -> None:
        """Open a complete cache: `folder` holds index.json and pixels.bin."""
        self.folder = folder
        self.index = json.loads((folder / "index.json").read_text())
        self._pixels: np.memmap | None = None

    @classmethod
    def build(cls, paths: list[Path], root: Path) -> "PictureCache":
        """Decode `paths` into `root/<key>`, or open that folder where it is complete already.

        The folder appears under its name only when it is whole; two processes building at once do no harm.
        """
        folder = root / _key(paths)
        if not (folder / "index.json").is_file():
            aside = root / f".{folder.name}-{os.getpid()}"
            aside.mkdir(parents=True, exist_ok=True)
            try:
                _write(paths, aside)
                with contextlib.suppress(OSError):  # another process was faster
                    aside.rename(folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        return cls(folder)

    def read(self, path: Path) -> Picture:
        """The picture as `read_picture` gives it, without its metadata. Raises KeyError for a path not in the cache."""
        entry = self.index[str(path)]
        pixels = self._array(entry["pixels"])
        alpha = self._array(entry["alpha"]) if entry["alpha"] else None
        return Picture(pixels, alpha, Metadata(format=entry["format"]))

    def _array(self, entry: dict) -> np.ndarray:
        if self._pixels is None:
            self._pixels = np.memmap(self.folder / "pixels.bin", mode="r", dtype=np.uint8)
        shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
        end = entry["offset"] + int(np.prod(shape)) * dtype.itemsize
        return self._pixels[entry["offset"] : end].view(dtype).reshape(shape)

    def __getstate__(self) -> dict:
        return {"folder": self.folder, "index": self.index, "_pixels": None}  # a worker maps the file itself


def _key(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        facts = path.stat()
        digest.update(os.fsencode(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n"))
    return digest.hexdigest()[:16]


def _write(paths: list[Path], folder: Path) -> None:
    index: dict[str, dict] = {}
    with open(folder / "pixels.bin", "wb") as file:
        for path in paths:
            picture = read_picture(path)
            index[str(path)] = {
                "format": picture.metadata.format,
                "pixels": _append(file, picture.pixels),
                "alpha": None if picture.alpha is None else _append(file, picture.alpha),
            }
    (folder / "index.json").write_text(json.dumps(index))


def _append(file, array: np.ndarray) -> dict:  # type: ignore[no-untyped-def]
    file.write(b"\0" * (-file.tell() % 16))  # aligned for every dtype
    entry = {"offset": file.tell(), "shape": array.shape, "dtype": array.dtype.name}
    file.write(np.ascontiguousarray(array).tobytes())
    return entry
