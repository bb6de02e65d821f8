"""Whole-slide images in the formats of scanners, read by windows through openslide."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from translate.data.picture import ImageError, Metadata, PictureInfo, reading
from translate.data.windows import LARGE, WindowReader, dpi_of

logger = logging.getLogger(__name__)

SLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide")


class Slide(WindowReader):
    """The full resolution of a slide as 8-bit RGB, on the slide's background colour (white where it names none).

    The micrometres per pixel are kept as the resolution, the ICC profile as it is.
    """

    def __init__(self, path: Path) -> None:
        with reading(path):
            self._slide = _open(path)
            width, height = self._slide.dimensions
            properties = self._slide.properties
            self._background = "#" + properties.get("openslide.background-color", "ffffff")
            icc = _profile(self._slide, path)
        super().__init__(
            path,
            PictureInfo(height, width, 3, False, np.dtype(np.uint8), "slide"),
            Metadata("slide", icc, None, dpi_of(_spacing(properties))),
        )

    def close(self) -> None:
        self._slide.close()

    def _values(self, rows: slice, columns: slice) -> np.ndarray:
        size = (columns.stop - columns.start, rows.stop - rows.start)
        region = self._slide.read_region((columns.start, rows.start), 0, size)
        ground = Image.new("RGBA", size, self._background)
        ground.alpha_composite(region)
        return np.asarray(ground.convert("RGB"))


def _open(path: Path) -> Any:
    try:
        import openslide
    except ImportError as error:
        raise ImageError(f"a slide needs openslide, which is not installed: {LARGE}") from error
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise ImageError(
            f"openslide knows no slide in it, allowed are {', '.join(SLIDE_SUFFIXES)} as scanners write them: "
            "name a TIFF .tif, or export the slide again"
        ) from error


def _profile(slide: Any, path: Path) -> bytes | None:
    try:
        return None if slide.color_profile is None else slide.color_profile.tobytes()
    except ImageCms.PyCMSError as error:
        logger.warning("the ICC profile of %s is damaged (%s), it is left out", path, error)
        return None


def _spacing(properties: Mapping[str, str]) -> tuple[float, float] | None:
    """Horizontal and vertical micrometres per pixel."""
    try:
        return float(properties["openslide.mpp-x"]), float(properties["openslide.mpp-y"])
    except (KeyError, ValueError):
        return None
