"""A tiled TIFF or OME-TIFF, written tile by tile, with a pyramid in SubIFDs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from translate.data.halves import Scratch, halve, level_sides
from translate.data.tiff_tags import append_directories, exif_directories, exif_tags, layout_options
from translate.data.windows import Read, WindowedImage, array_reader, cover, spacing_of

SIDE = 512  # of tiles
OME_SUFFIXES = (".ome.tif", ".ome.tiff")
LARGEST_TIFF = 2**32 - 2**26  # bytes of pixels; above, it is a BigTIFF. Deflate may add 0.03 % and each tile 16 bytes


def write_tiff(image: WindowedImage, path: Path, is_ome: bool, progress: Callable[[float], None]) -> None:
    """Write a TIFF, each window once. The halves of each tile are put aside in a file without name for the next level.

    Raises:
        OSError: writing fails.
    """
    info = image.info
    samples = info.channels + info.has_alpha
    sides = level_sides(info.height, info.width)
    tiles = sum(len(list(cover(*side, SIDE))) for side in sides)
    is_big = tiles * SIDE * SIDE * samples * info.dtype.itemsize > LARGEST_TIFF
    directories = {} if is_big else exif_directories(image.metadata)
    told = _counter(tiles, progress)
    with ExitStack() as stack:
        writer = stack.enter_context(tifffile.TiffWriter(path, bigtiff=is_big, byteorder="<", ome=is_ome))
        read = array_reader(image)
        for level, (height, width) in enumerate(sides):
            below = None
            if level + 1 < len(sides):
                below = stack.enter_context(closing(Scratch((*sides[level + 1], samples), info.dtype, path.parent)))
            writer.write(
                data=_tiles(read, (height, width, samples), below, info.has_alpha, told),
                shape=(height, width, samples) if samples > 1 else (height, width),
                dtype=info.dtype,
                tile=(SIDE, SIDE),
                compression="zlib",
                compressionargs={"level": 1},
                maxworkers=1,
                **layout_options(info, image.metadata),
                **(_first_page(image, len(sides) - 1, is_ome, directories) if level == 0 else {"subfiletype": 1}),
            )
            read = below.read if below else read
    if directories:
        with open(path, "r+b") as file:
            append_directories(file, directories)


def _tiles(
    read: Read, shape: tuple[int, int, int], below: Scratch | None, has_alpha: bool, told: Callable[[], None]
) -> Iterator[np.ndarray]:
    """All tiles of a level, row by row, filled up with 0; their halves go to `below`."""
    for rows, columns in cover(*shape[:2], SIDE):
        values = read(rows, columns)
        if below is not None:
            below.write(rows.start // 2, columns.start // 2, halve(values, has_alpha))
        tile = np.zeros((SIDE, SIDE, shape[2]), values.dtype)
        tile[: values.shape[0], : values.shape[1]] = values
        told()
        yield tile


def _first_page(image: WindowedImage, levels: int, is_ome: bool, directories: dict[int, Any]) -> dict[str, Any]:
    """Arguments of the writer that only full resolution has. OME keeps its own text in the place of a description."""
    tags = exif_tags(image.metadata, directories)
    if not is_ome:
        return {"subifds": levels, "metadata": None, "extratags": tags}
    info, spacing = image.info, spacing_of(image.metadata)
    told: dict[str, Any] = {"axes": "YXS" if info.channels + info.has_alpha > 1 else "YX"}
    # By default tifffile makes one of the machine's address and the time.
    told["UUID"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, repr(info))}"
    if spacing is not None:
        told |= {"PhysicalSizeX": spacing[0], "PhysicalSizeXUnit": "µm"}
        told |= {"PhysicalSizeY": spacing[1], "PhysicalSizeYUnit": "µm"}
    description = 270
    return {"subifds": levels, "metadata": told, "extratags": [tag for tag in tags if tag[0] != description]}


def _counter(total: int, progress: Callable[[float], None]) -> Callable[[], None]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(done / total)

    return count
