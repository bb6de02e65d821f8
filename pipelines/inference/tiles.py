"""Images in memory that are too large for the device: run in tiles, with the same result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from translate.tiling.probe import Facts
from translate.tiling.regions import Region
from translate.tiling.runner import is_out_of_memory
from translate.tiling.tiled import TileReport, Tiling, side_for, translate_tiled

logger = logging.getLogger(__name__)
SMALL = 2**18  # pixels; "auto" does not think about less
AFTER_OUT_OF_MEMORY = 512  # pixels a side of the tiles, where "auto" was wrong


@dataclass(frozen=True)
class Held:
    """Images (N, C, H, W) as a source of tiles, or as what takes them."""

    images: Tensor  # float32 on the CPU

    @property
    def shape(self) -> tuple[int, int, int, int]:
        n, channels, height, width = self.images.shape
        return n, channels, height, width

    def read(self, region: Region) -> Tensor:
        rows, columns = region.slices
        return self.images[..., rows, columns].clone()

    def write(self, region: Region, values: Tensor) -> None:
        rows, columns = region.slices
        self.images[..., rows, columns] = values


class TileWatch:
    """Shows the progress of an image in tiles, and keeps what was reported of it.

    Attributes:
        reports: of the images that ran in tiles since the last `take`.
        largest: side of the tiles that the device had memory for, once it had too little for larger ones.
        too_many: pixels of an image that the device had too little memory for as a whole, under "auto".
    """

    def __init__(self, *, show: bool = False) -> None:
        self.show = show
        self.reports: list[TileReport] = []
        self.largest: int | None = None
        self.too_many: int | None = None
        self._bar: tqdm | None = None

    def progress(self, share: float) -> None:
        """Take the share of an image that is done, 0 to 1."""
        if self._bar is None:
            layout = "{desc}{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left"
            self._bar = tqdm(total=1.0, desc="tiles ", leave=False, disable=not self.show, bar_format=layout)
        self._bar.update(share - self._bar.n)

    def finish(self, report: TileReport) -> None:
        self.reports.append(report)
        if report.halvings:
            self.largest = report.tile
        self.close()

    def take(self) -> TileReport | None:
        """The last report, which is forgotten."""
        reports, self.reports = self.reports, []
        return reports[-1] if reports else None

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class Tiled:
    """How a pipeline cuts its images.

    facts: of its generator.
    forward: what computes the generator, if not itself.
    """

    tiling: Tiling
    facts: Facts | None
    watch: TileWatch
    forward: Callable[[Tensor], Tensor] | None = None

    def side(self, generator: nn.Module, images: Tensor, device: torch.device) -> int | None:
        """The side of the tiles for (N, C, H, W), None where they are not cut."""
        pixels = images.shape[0] * images.shape[2] * images.shape[3]
        if self.tiling.tile == "auto" and pixels <= SMALL:
            return None
        if self.tiling.tile == "auto" and self.watch.too_many is not None and pixels >= self.watch.too_many:
            return self.learnt(AFTER_OUT_OF_MEMORY)
        side = side_for(generator, Held(images), self.tiling, device)
        return None if side is None else self.learnt(side)

    def learnt(self, side: int) -> int:
        """The side, or what the device had memory for before."""
        return side if self.watch.largest is None else min(side, self.watch.largest)

    def after(self, error: Exception, images: Tensor) -> int:
        """The side of the tiles after an error of the whole image; raises it where tiles are no help."""
        if self.tiling.tile != "auto" or not is_out_of_memory(error):
            raise error
        logger.warning("the image is too large for the device as a whole: going on in tiles")
        self.watch.too_many = images.shape[0] * images.shape[2] * images.shape[3]
        return self.learnt(AFTER_OUT_OF_MEMORY)

    def run(self, generator: nn.Module, images: Tensor, side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """The output (N, C', scale * H, scale * W), float32 on the CPU. Raises TilingError."""
        scale = int(generator.scale)  # type: ignore[arg-type]
        n, _, height, width = images.shape
        channels = int(generator.out_channels)  # type: ignore[arg-type]
        output = torch.empty(n, channels, height * scale, width * scale)
        report = translate_tiled(
            generator,
            Held(images.float().cpu()),
            Held(output),
            side,
            tiling=self.tiling,
            device=device,
            dtype=dtype,
            facts=self.facts,
            forward=self.forward,
            progress=self.watch.progress,
        )
        self.watch.finish(report)
        return output
