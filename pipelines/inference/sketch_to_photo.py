"""Sketch to photograph: a drawing or its strokes in, a picture out, and as many variations of it as are wanted."""

import copy
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from translate.data.cleaning import CleanedDrawing, clean_drawing
from translate.data.drawing_style import DrawingStyle
from translate.data.foreground import flatten
from translate.data.frame import framed_size
from translate.data.images import ImageError, Picture
from translate.data.resize import resize_images
from translate.data.strokes import Strokes, draw_strokes, holds_polylines, read_strokes
from translate.model_folder import ModelConfig
from translate.networks.dropout import Dropout, noise
from translate.pipelines.inference.pipeline import OutputType, Pipeline, Prepared, to_picture
from translate.tiling.tiled import Tiling

MAX_VARIATIONS = 64
MAX_SEED = 2**63 - 1


class SketchToPhoto(Pipeline):
    """A network that makes pictures of drawings, which it sees at the scale of those that it was trained on.

    >>> pipe = SketchToPhoto.from_pretrained("runs/faces/model")
    >>> pipe("drawing.png").save("face.png")
    >>> pipe([[(20, 90), (64, 30), (108, 90)]])  # strokes: polylines in pixels
    >>> pipe.variations("drawing.png", 4, seed=1)

    A drawing of about the size of the training drawings reaches the network as its file has it. One whose longer side
    is outside of 0.8 to 1.25 times theirs is resized for the network, and the result is brought back: a result is as
    large as its drawing. Alpha is paper that shows through, and results have none.

    Attributes:
        style: of the training drawings; where the model does not know it, an ordinary one by which nothing is resized.
        cleans: whether drawings are cleaned first. The result is then as large as the cleaned drawing.
    """

    task = "sketch_to_photo"

    def __init__(
        self, generator: nn.Module, config: ModelConfig, *, name: str | None = None, folder: Path | None = None
    ) -> None:
        super().__init__(generator, config, name=name, folder=folder)
        self.style = config.drawing or DrawingStyle()
        self.cleans = False

    def with_settings(self, *, clean: bool | None = None) -> Self:
        """A pipeline of the same network that cleans drawings first or does not, for calls and for folders.

        The network is shared, not copied: call `to` first.

        Args:
            clean: None keeps what is set.
        """
        other = copy.copy(self)
        other.cleans = self.cleans if clean is None else clean
        return other

    def __call__(self, image: Any, *, output_type: OutputType | None = None, clean: bool | None = None) -> Any:
        """Translate a drawing, or each of a list or iterator.

        Args:
            image: what Pipeline takes; a path of strokes (.json), Strokes, or a list of polylines
                [[(x, y), ...], ...] on a canvas of the frame's size: a list is that if its first element is a list,
                tuple or array (n, 2) of points. The result of strokes is a PIL image.
            output_type: as Pipeline's.
            clean: None is the pipeline's own setting. For photographs and scans of drawings on paper.

        Raises:
            ImageError: a drawing cannot be read, is of no supported kind, or cannot be cleaned.
        """
        pipe = self.with_settings(clean=clean)
        if holds_polylines(image):
            image = self._strokes(image)
        return super(SketchToPhoto, pipe).__call__(image, output_type=output_type)

    def variations(
        self,
        image: Any,
        count: int,
        seed: int = 0,
        *,
        output_type: OutputType | None = None,
        clean: bool | None = None,
    ) -> list[Any]:
        """Pictures of one drawing that differ by the noise of pix2pix: dropout (Isola et al. 2017, arXiv:1611.07004).

        The variation at an index depends on drawing, seed and index only: not on the count, and, but for rounding, not
        on the device. They run one after another, in float32: in a batch the last bits would depend on its size. They
        are torch's, whatever back end the pipeline has: the others know no dropout.

        Args:
            image, output_type, clean: as of a call, of one drawing.
            count: 1 to 64.
            seed: 0 to 2**63 - 1.

        Raises:
            ImageError: the drawing cannot be used, count or seed is no such number, or the network has no dropout.
        """
        _check_number("count", count, 1, MAX_VARIATIONS)
        _check_number("seed", seed, 0, MAX_SEED)
        if not any(isinstance(layer, Dropout) for layer in self.generator.modules()):
            raise ImageError(
                "this model has no dropout layers, so all its variations would be alike: train one with "
                "generator.dropout true (a U-Net has them from generator.depth 6 on)"
            )
        pipe = self.with_settings(clean=clean).with_backend("torch")
        pipe = pipe.with_tiling(Tiling(tile=None))  # noise is drawn for the whole
        pipe.dtype = torch.float32
        prepared = pipe.prepare(image)
        results = []
        for index in range(count):
            own = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)
            with noise([int(own[0])]):
                picture = pipe.finish(pipe.run(prepared.images), prepared)
            results.append(self._as(output_type or prepared.kind, picture))
        return results

    def clean(self, image: Any) -> CleanedDrawing:
        """What a drawing becomes by cleaning, and what was done to it; `image` as of a call, one drawing.

        Raises:
            ImageError: it cannot be read, is of no supported kind, or cannot be cleaned.
        """
        return clean_drawing(self._drawn(image)[0], self.style)

    def prepare(self, image: Any) -> Prepared:
        """Read or draw a drawing, clean it if that is set, and bring it to model space; thread-safe, no device.

        Raises:
            ImageError: it cannot be read, is of no supported kind, or cannot be cleaned.
        """
        picture, kind = self._drawn(image)
        cleaned = clean_drawing(picture, self.style) if self.cleans else None
        picture = cleaned.picture if cleaned else flatten(picture, self._paper())
        images = super().prepare(picture).images
        return Prepared(_resize(images, self._framed_size(images)), picture, kind, cleaned)

    def finish(self, output: Tensor, prepared: Prepared) -> Picture:
        """Bring an output (1, C', H', W') of `run` to the size, value type, range and metadata of the drawing."""
        output = _resize(output.float().cpu(), self._result_size(*prepared.picture.pixels.shape[:2]))
        return super().finish(output, prepared)

    def fingerprint(self) -> str:
        """Changes when the generator's weights, the config or the cleaning change."""
        return super().fingerprint() + (" clean" if self.cleans else "")

    def _run_tensor(self, images: Tensor) -> Tensor:
        if self.cleans:
            raise ImageError("cleaning takes a drawing, not a tensor: give a path, an image, an array or a Picture")
        seen = _resize(images, self._framed_size(images))
        return _resize(self.run(seen), self._result_size(*images.shape[-2:]))

    def _drawn(self, image: Any) -> tuple[Picture, OutputType]:
        """A drawing as a picture, and what kind was given."""
        if holds_polylines(image):
            image = self._strokes(image)
        elif isinstance(image, list | tuple | Tensor):
            raise ImageError(
                f"this takes one drawing, got a {type(image).__name__}: give a path, a PIL image, a NumPy array, a "
                "Picture, Strokes or a list of polylines"
            )
        elif isinstance(image, str | Path) and Path(image).suffix.lower() == ".json":
            image = read_strokes(image)
        if isinstance(image, Strokes):
            return draw_strokes(image, self.style), "pil"
        return to_picture(image)

    def _paper(self) -> tuple[int, int, int]:
        level = round(255 * self.style.paper)
        return level, level, level

    def _strokes(self, lines: Any) -> Strokes:
        return Strokes(lines, self.style.width, self.style.height)

    def _framed_size(self, images: Tensor) -> tuple[int, int]:
        """The size at which the network sees (N, C, H, W)."""
        height, width = images.shape[-2:]
        return framed_size(height, width, self.style) if self.config.drawing else (height, width)

    def _result_size(self, height: int, width: int) -> tuple[int, int]:
        scale = int(self.generator.scale)  # type: ignore[arg-type]
        return height * scale, width * scale


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """As `resize_images`, and within each image's own values: the bicubic kernel overshoots at strokes."""
    resized, within = resize_images(images, size), (1, 2, 3)
    if resized is images:
        return images
    return resized.clamp(images.amin(within, keepdim=True), images.amax(within, keepdim=True))


def _check_number(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or not low <= int(value) <= high:
        raise ImageError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
