"""Images larger than memory: read by windows, translated in tiles, written window by window."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from translate.data.images import ImageError, Picture
from translate.data.picture import Metadata, PictureInfo
from translate.data.windowed import WindowedImage, open_windowed
from translate.data.windowed_write import check_destination, write_windowed
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto
from translate.pipelines.inference.super_resolution import OutputSize, SuperResolution
from translate.tiling.maps import MappedFile
from translate.tiling.regions import Region
from translate.tiling.runner import Crew
from translate.tiling.tiled import TileReport, padded, side_for, translate_tiled

CONTEXT = 2  # pixels of the source around a window, for the bicubic colours of a network of luminance


@dataclass(frozen=True)
class LargeResult:
    """What was made of a large image. `tiles` is None where it was smaller than a tile."""

    height: int
    width: int
    tiles: TileReport | None


def translate_large(
    pipeline: Pipeline, source: str | Path, output: str | Path, crew: Crew | None = None
) -> LargeResult:
    """Translate an image by windows: what the pipeline gives for the whole of it, in memory for one tile.

    Activation maps and the result are on disk while it runs, in the pipeline's scratch folder or that of the output,
    and need many times the space of the image. The output appears whole or not at all.

    Args:
        output: .tif, .tiff, .ome.tif, .ome.tiff or .zarr, in a folder that exists.
        crew: the processes that share the image. All must see the same scratch folder; the first one writes.

    Raises:
        ImageError: the image cannot be read or written, or the pipeline has settings that need it as a whole.
        TilingError: the network cannot run in tiles, or memory or disk are too small.
    """
    crew, source, output = crew or Crew(), Path(source), Path(output)
    tiling = pipeline.tiled.tiling
    with crew.together():  # what fails in one process must not leave the others waiting for it
        _check_apart(source, output)
        check_destination(output)
        pipeline = pipeline.with_tiling(replace(tiling, scratch=tiling.scratch or output.parent))
        opened = open_windowed(source)
    with opened as image:
        with crew.together():
            _check(pipeline, image)
            info, metadata = _described(pipeline, image)
        with contextlib.closing(_Store(info, metadata, pipeline.tiled.tiling.folder, crew)) as store:
            report = _translate(pipeline, image, store, crew)
            with crew.together():
                if crew.index == 0:
                    write_windowed(store, output, source=image)
            return LargeResult(store.info.height, store.info.width, report)


def _translate(pipeline: Pipeline, image: WindowedImage, store: _Store, crew: Crew) -> TileReport | None:
    generator, tiled = pipeline.generator, pipeline.tiled
    source, sink = _Windows(pipeline, image), _Finished(pipeline, image, store)
    with crew.together():
        own = side_for(generator, source, tiled.tiling, pipeline.device, streamed=True)
        own = None if own is None else tiled.learnt(own)
    # One device may have less memory than another, and all must cut alike.
    side = min((one for one in crew.gather(own) if one is not None), default=None)
    if side is None or max(padded(source, generator).shape[2:]) <= side:
        with crew.together():
            if crew.index == 0:
                whole = Region(0, image.info.height, 0, image.info.width)
                sink.write(Region(*(edge * sink.scale for edge in whole)), pipeline.run(source.read(whole)).cpu())
        return None
    report = translate_tiled(
        generator,
        source,
        sink,
        side,
        tiling=tiled.tiling,
        device=pipeline.device,
        dtype=pipeline.dtype,
        facts=tiled.facts,
        forward=tiled.forward,
        crew=crew,
        progress=tiled.watch.progress,
    )
    tiled.watch.finish(report)
    return report


def _check_apart(source: Path, output: Path) -> None:
    """Refuse an output that is the input, holds it, or lies in it. Raises ImageError."""
    given, made = source.resolve(), output.resolve()
    if given == made or made in given.parents or given in made.parents:
        raise ImageError(
            f"the output {output} is the input {source}, holds it or lies in it: give another place, inputs are not "
            "overwritten"
        )


def needs_whole(pipeline: Pipeline) -> bool:
    """Whether a pipeline does something to an image that it needs as a whole."""
    if isinstance(pipeline, SuperResolution):
        return pipeline.self_ensemble or pipeline.size != OutputSize(max_pixels=pipeline.size.max_pixels)
    return isinstance(pipeline, SketchToPhoto)


def _check(pipeline: Pipeline, image: WindowedImage) -> None:
    """Refuse what cannot be done window by window. Raises ImageError."""
    advice = "save it as an ordinary picture for that, which is read whole"
    if isinstance(pipeline, SketchToPhoto):
        raise ImageError(
            f"drawings are not translated by windows, as their size is brought to the training's: {advice}"
        )
    if not isinstance(pipeline, SuperResolution):
        return
    if image.info.has_alpha:
        raise ImageError(f"an image with alpha is not enlarged by windows: remove its alpha, or {advice}")
    if needs_whole(pipeline):
        raise ImageError(
            f"an image that is read by windows is enlarged {pipeline.scale} times, without a self-ensemble: leave "
            f"--scale, --width, --height and --self-ensemble out, or {advice}"
        )


@dataclass(frozen=True)
class _Windows:
    """An image as the network sees it."""

    pipeline: Pipeline
    image: WindowedImage

    @property
    def shape(self) -> tuple[int, int, int, int]:
        info = self.image.info
        return 1, self.pipeline.input.channels, info.height, info.width

    def read(self, region: Region) -> Tensor:
        return self.pipeline.prepare(self.image.read(*region.slices)).images


@dataclass(frozen=True)
class _Finished:
    """Takes the network's output, and puts it into the store in the terms of the image."""

    pipeline: Pipeline
    image: WindowedImage
    store: _Store

    @property
    def scale(self) -> int:
        return int(self.pipeline.generator.scale)  # type: ignore[arg-type]

    def write(self, region: Region, values: Tensor) -> None:
        window = self._around(region)
        made = Region(*(edge * self.scale for edge in window))
        output = torch.zeros(1, values.shape[1], made.height, made.width)
        output[(..., *region.within(made))] = values.float().cpu()
        picture = self.pipeline.finish(output, self.pipeline.prepare(self.image.read(*window.slices)))
        self.store.write(region, picture, region.within(made))

    def _around(self, region: Region) -> Region:
        """The window of the image that a region of the result is finished with."""
        info, scale = self.image.info, self.scale
        context = 0 if self.pipeline.input.channels == info.channels else CONTEXT
        return Region(
            max(region.top // scale - context, 0),
            min(-(-region.bottom // scale) + context, info.height),
            max(region.left // scale - context, 0),
            min(-(-region.right // scale) + context, info.width),
        )


class _Store:
    """The result on disk, until it is written as a file: a WindowedImage of pixels that were put in by regions."""

    def __init__(self, info: PictureInfo, metadata: Metadata, folder: Path, crew: Crew) -> None:
        self.info, self.metadata = info, metadata
        shape = (info.height, info.width, info.channels)
        colours = int(np.prod(shape)) * info.dtype.itemsize
        alphas = info.height * info.width * info.dtype.itemsize if info.has_alpha else 0
        self._file = MappedFile(colours + alphas, folder, crew)
        self._pixels: np.ndarray | None = self._file.array(shape, info.dtype)
        self._alpha = self._file.array(shape[:2], info.dtype, colours) if info.has_alpha else None

    def write(self, region: Region, picture: Picture, inside: tuple[slice, slice]) -> None:
        """Put in the part `inside` of a picture."""
        assert self._pixels is not None
        self._pixels[region.slices] = picture.pixels[inside]
        if self._alpha is not None:
            assert picture.alpha is not None
            self._alpha[region.slices] = picture.alpha[inside]
        self._touch(picture)

    def read(self, rows: slice, columns: slice) -> Picture:
        assert self._pixels is not None
        alpha = None if self._alpha is None else self._alpha[rows, columns].copy()
        picture = Picture(self._pixels[rows, columns].copy(), alpha, self.metadata)
        self._touch(picture)
        return picture

    def _touch(self, picture: Picture) -> None:
        height, width, channels = picture.pixels.shape
        self._file.touched(height, width * channels * picture.pixels.itemsize)

    def close(self) -> None:
        self._pixels = self._alpha = None
        self._file.close()


def _described(pipeline: Pipeline, image: WindowedImage) -> tuple[PictureInfo, Metadata]:
    """What the pipeline makes of an image, by the example of its first pixel."""
    scale = int(pipeline.generator.scale)  # type: ignore[arg-type]
    corner = pipeline.prepare(image.read(slice(0, 1), slice(0, 1)))
    small = pipeline.finish(torch.zeros(1, pipeline.output.channels, scale, scale), corner)
    info = replace(small.info, height=image.info.height * scale, width=image.info.width * scale)
    dpi = small.metadata.dpi
    return info, replace(small.metadata, dpi=(dpi[0] * scale, dpi[1] * scale)) if dpi else small.metadata
