"""Super-resolution: image in, larger image out, with its colours, alpha and value type."""

import copy
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.data.images import MAX_PIXELS, ImageError, Picture
from translate.data.intensity import picture_to_tensor, resize_alpha, tensor_to_picture
from translate.data.resize import resize_images
from translate.data.transparency import fill_transparent
from translate.model_folder import ModelConfig
from translate.networks.bicubic import Bicubic
from translate.pipelines.inference.pipeline import OutputType, Pipeline, Prepared, to_picture
from translate.pipelines.inference.pretrained import VIEWS


@dataclass(frozen=True)
class OutputSize:
    """How large a result shall be; nothing given is the network's own scale.

    Args:
        scale: times the image's sides, above 0, also below 1; sides are rounded half upwards, to at least 1.
        width, height: in pixels; one alone keeps the aspect, the other side is rounded in the same way.
        max_pixels: the largest height times width that is made, by the network or in the end.

    Raises:
        ImageError: scale together with width or height, or a value that is no such number.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        scale = self.scale
        if scale is not None and not (_is_a(Real, scale) and 0 < scale < math.inf):
            raise ImageError(f"scale must be a finite number above 0, got {scale!r}")
        for name, pixels in (("width", self.width), ("height", self.height), ("max_pixels", self.max_pixels)):
            if pixels is not None and not (_is_a(Integral, pixels) and pixels > 0):
                raise ImageError(f"{name} must be a whole number of pixels above 0, got {pixels!r}")
        if scale is not None and (self.width, self.height) != (None, None):
            raise ImageError(
                f"the size was given twice, by scale={scale} and by width={self.width}, height={self.height}: give "
                "either the scale, or width and height"
            )

    def of(self, height: int, width: int, network_scale: int) -> tuple[int, int]:
        """Height and width of the result for an image of this height and width.

        Raises:
            ImageError: the result, or what the network makes first, is larger than `max_pixels`.
        """
        made = (height * network_scale, width * network_scale)
        wanted = self._wanted(height, width) or made
        largest = max(made, wanted, key=math.prod)
        if math.prod(largest) > self.max_pixels:
            raise ImageError(
                f"an image of {height} x {width} would become one of {largest[0]} x {largest[1]} (H x W), "
                f"{math.prod(largest)} pixels, allowed are {self.max_pixels}: give a smaller one, or pass "
                f"max_pixels={math.prod(largest)} if you have the memory"
            )
        return wanted

    def _wanted(self, height: int, width: int) -> tuple[int, int] | None:
        if self.scale is not None:
            scale = Fraction(str(self.scale))  # the decimal number that was written: 2.3 * 5 is 11.5
            return _half_up(height * scale), _half_up(width * scale)
        if self.width is not None and self.height is not None:
            return self.height, self.width
        if self.width is not None:
            return _half_up(Fraction(height * self.width, width)), self.width
        if self.height is not None:
            return self.height, _half_up(Fraction(width * self.height, height))
        return None


class SuperResolution(Pipeline):
    """A network that enlarges: any image comes back larger, of its value type, channels, alpha and metadata.

    >>> pipe = SuperResolution.from_pretrained("runs/photos/model")
    >>> pipe(Image.new("RGB", (50, 30)), width=120).size
    (120, 72)

    A network of one channel enlarges the luminance (BT.601). The colours are then enlarged by the bicubic kernel, and
    what the network's luminance has more or less than theirs is added to every channel: YCbCr with bicubic chroma.
    Alpha is enlarged by the same kernel, apart from the colours: what is transparent first takes the colours of its
    visible surroundings. (Premultiplied colours would have an edge wherever alpha has one; the network sharpens it,
    alpha stays soft, and their quotient is a dark and a bright fringe.)

    A size other than that of the network is made of the network's output by MATLAB's imresize, before anything is
    rounded. `run` gives the network's size, `finish` the one asked for.

    Attributes:
        size: of the results.
        self_ensemble: whether the network's output is the mean over the eight mirrored and transposed images (the
            geometric self-ensemble of Lim et al. 2017, arXiv:1707.02921): somewhat better, eight times as slow.
    """

    task = "super_resolution"

    def __init__(
        self, generator: nn.Module, config: ModelConfig, *, name: str | None = None, folder: Path | None = None
    ) -> None:
        super().__init__(generator, config, name=name, folder=folder)
        self.scale = int(generator.scale)  # type: ignore[arg-type]
        self.size = OutputSize()
        self.self_ensemble = False
        self._bicubic = Bicubic(self.scale)

    def with_settings(self, *, size: OutputSize | None = None, self_ensemble: bool | None = None) -> Self:
        """A pipeline of the same network with other settings, for calls and for folders.

        The network is shared, not copied: call `to` first.

        >>> translate_folder(pipe.with_settings(size=OutputSize(scale=3)), Path("small"), Path("large"))

        Args:
            size, self_ensemble: None keeps what is set.
        """
        other = copy.copy(self)
        other.size = self.size if size is None else size
        other.self_ensemble = self.self_ensemble if self_ensemble is None else self_ensemble
        return other

    def __call__(
        self,
        image: Any,
        *,
        output_type: OutputType | None = None,
        scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        self_ensemble: bool | None = None,
    ) -> Any:
        """Enlarge an image, or each of a list or iterator; what these and `output_type` are, `Pipeline` tells.

        Args:
            scale, width, height: as in OutputSize; none of them is the pipeline's own size.
            self_ensemble: None is the pipeline's own setting.

        Raises:
            ImageError: an image cannot be read or is of no supported kind, or the size cannot be made.
        """
        given = (scale, width, height) != (None, None, None)
        size = OutputSize(scale, width, height, self.size.max_pixels) if given else None
        pipe = self.with_settings(size=size, self_ensemble=self_ensemble)
        return super(SuperResolution, pipe).__call__(image, output_type=output_type)

    def prepare(self, image: Any) -> Prepared:
        """Read an image and bring it to model space; thread-safe, and without the device.

        Raises:
            ImageError: it cannot be read, is of no supported kind, or its result would be too large.
        """
        picture, kind = to_picture(image)
        self._output_size(picture.pixels.shape[0], picture.pixels.shape[1])  # refuses before the work
        picture = fill_transparent(picture)
        return Prepared(super().prepare(replace(picture, alpha=None)).images, picture, kind)

    @torch.inference_mode()
    def run(self, images: Tensor) -> Tensor:
        """Enlarge (N, C, H, W) of any size in model space: (N, C', scale * H, scale * W) on the device.

        `scale` is the network's; the size that was asked for is made by `finish`.
        """
        if not self.self_ensemble:
            return super().run(images)
        total: Tensor | None = None
        for output in self.run_views(images):
            total = output if total is None else total.add_(output)
        assert total is not None
        return total.div_(len(VIEWS))

    def finish(self, output: Tensor, prepared: Prepared) -> Picture:
        """Bring an output (1, C', H', W') of `run` to the size, value type, range, alpha and metadata of the result."""
        alpha, picture = prepared.picture.alpha, replace(prepared.picture, alpha=None)
        given, size = prepared.images, self._output_size(*prepared.images.shape[-2:])
        output = output.float().cpu()
        if output.shape[1] == 1 and picture.pixels.shape[2] == 3:
            change = output - self._enlarge(given)
            given = picture_to_tensor(picture, 3, self.input.intensity())
            output = self._enlarge(given).add_(change)
        result = tensor_to_picture(
            resize_images(output, size),
            given,
            picture,
            range_in=self.input.intensity(),
            range_out=self.output.intensity(),
            follow_input=True,
        )
        return result if alpha is None else replace(result, alpha=resize_alpha(alpha, *size))

    def fingerprint(self) -> str:
        """Changes when the generator's weights, the config, the size or the self-ensemble change."""
        size = OutputSize() if self.size.scale == self.scale else self.size  # its max_pixels only refuse
        words = [super().fingerprint()]
        words += [f"{name}={value}" for name in ("scale", "width", "height") if (value := getattr(size, name))]
        return " ".join([*words, "self_ensemble"] if self.self_ensemble else words)

    def _run_tensor(self, images: Tensor) -> Tensor:
        size = self._output_size(*images.shape[-2:])
        return resize_images(self.run(images), size)

    def _output_size(self, height: int, width: int) -> tuple[int, int]:
        return self.size.of(height, width, self.scale)

    def _enlarge(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, scale * H, scale * W), as a super-resolver does that adds nothing."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, int(width == 1), 0, int(height == 1)), mode="replicate")  # the layer wants 2 pixels
        return self._bicubic(padded)[..., : height * self.scale, : width * self.scale]


def _half_up(side: Fraction) -> int:
    return max(1, math.floor(side + Fraction(1, 2)))


def _is_a(kind: type, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
