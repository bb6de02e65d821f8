"""Image in, image out."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch import Tensor

from translate.data.cleaning import CleanedDrawing
from translate.data.images import ImageError, Metadata, Picture, from_array, from_pil, read_picture, to_array, to_pil
from translate.data.intensity import IntensityRange, picture_to_tensor, tensor_to_picture
from translate.pipelines.inference.pretrained import Pretrained

OutputType = Literal["pil", "np", "pt", "picture"]
OUTPUT_TYPES = ("pil", "np", "pt", "picture")


@dataclass(frozen=True)
class Prepared:
    """A picture on its way: what the network sees, and what `finish` needs to put the result in the same terms."""

    images: Tensor  # (1, C, H, W) in model space, on the CPU, not padded
    picture: Picture
    kind: OutputType  # of what was given
    cleaned: CleanedDrawing | None = None  # of a drawing that was cleaned first


class Pipeline(Pretrained):
    """A trained generator with its intensity ranges: translates images of any size and value type.

    >>> pipe = Pipeline.from_pretrained("identity")
    >>> pipe(Image.new("RGB", (50, 30))).size
    (50, 30)

    `prepare`, `run` and `finish` are the three stages of a call, public so that they can run apart: prepare on CPU
    workers, run in batches on a GPU, finish while the next batch runs.
    """

    def __call__(self, image: Any, *, output_type: OutputType | None = None) -> Any:
        """Translate an image, or each of a list or iterator.

        Args:
            image: a path, a PIL image, an array (H, W) or (H, W, 1 to 4) of uint8, uint16 or float32 in [0, 1], a
                Picture, or a tensor (C, H, W) or (N, C, H, W) in model space; a list of these; or an iterator, whose
                results come lazily.
            output_type: "pil", "np", "pt" or "picture"; by default what was given, and a PIL image for a path (which
                cannot hold 16-bit or float colour: ask for another type then).

        Returns:
            The translation, as wide and high as the image times the generator's scale, in its dtype.

        Raises:
            ImageError: an image cannot be read or is of no supported kind.
        """
        if isinstance(image, list | tuple):
            return [self(one, output_type=output_type) for one in image]
        if isinstance(image, Iterable) and not isinstance(image, str | bytes | dict | np.ndarray | Tensor):
            return (self(one, output_type=output_type) for one in image)
        if isinstance(image, Tensor):
            return self._translate_tensor(image, output_type)
        prepared = self.prepare(image)
        picture = self.finish(self.run(prepared.images), prepared)
        return self._as(output_type or prepared.kind, picture)

    def prepare(self, image: Any) -> Prepared:
        """Read an image and bring it to model space; thread-safe, and without the device."""
        picture, kind = to_picture(image)
        return Prepared(picture_to_tensor(picture, self.input.channels, self.input.intensity()), picture, kind)

    def finish(self, output: Tensor, prepared: Prepared) -> Picture:
        """Bring an output (1, C', H', W') back to the value type, range, alpha and metadata of what was given."""
        return tensor_to_picture(
            output.float().cpu(),
            prepared.images,
            prepared.picture,
            range_in=self.input.intensity(),
            range_out=self.output.intensity(),
            follow_input=self.config.follow_input_channels,
        )

    def _translate_tensor(self, image: Tensor, output_type: OutputType | None) -> Any:
        if image.ndim not in (3, 4) or image.shape[-3] != self.input.channels or not image.is_floating_point():
            raise ImageError(
                f"a tensor must be float (C, H, W) or (N, C, H, W) in [-1, 1] with {self.input.channels} channels, got "
                f"{image.dtype} {tuple(image.shape)}"
            )
        images = image[None] if image.ndim == 3 else image
        outputs = self._run_tensor(images.float())
        if output_type in (None, "pt"):
            return outputs[0] if image.ndim == 3 else outputs
        pictures = [self._as(output_type, _from_model_space(one, self.output.intensity())) for one in outputs]
        return pictures[0] if image.ndim == 3 else pictures

    def _run_tensor(self, images: Tensor) -> Tensor:
        """What a call makes of (N, C, H, W) in model space."""
        return self.run(images)

    def _as(self, kind: OutputType, picture: Picture) -> Any:
        if kind not in OUTPUT_TYPES:
            raise ImageError(f"output_type must be one of {', '.join(OUTPUT_TYPES)}, got {kind!r}")
        if kind == "pt":
            channels = picture.pixels.shape[2]
            return picture_to_tensor(replace(picture, alpha=None), channels, self.output.intensity())[0]
        return picture if kind == "picture" else to_pil(picture) if kind == "pil" else to_array(picture)


def to_picture(image: Any) -> tuple[Picture, OutputType]:
    """What `prepare` was given, as a picture, and what kind it was. Raises ImageError."""
    if isinstance(image, Picture):
        return image, "picture"
    if isinstance(image, str | Path):
        return read_picture(image), "pil"
    if isinstance(image, Image.Image):
        return from_pil(image), "pil"
    if isinstance(image, np.ndarray):
        return from_array(image), "np"
    raise ImageError(
        f"cannot translate a {type(image).__name__}: give a path, a PIL image, a NumPy array, a tensor, a Picture, or "
        "a list of these"
    )


def _from_model_space(output: Tensor, intensity: IntensityRange | None) -> Picture:
    """An 8-bit picture of an output (C', H, W) whose source had no value type; float32 where the range has units."""
    values = output.float().cpu().permute(1, 2, 0).numpy()
    if intensity is None:
        return Picture(IntensityRange.of_dtype(np.uint8).from_model(values, np.uint8), None, Metadata())
    return Picture(intensity.from_model(values, np.float32), None, Metadata())
