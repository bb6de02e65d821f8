"""Image in, image out."""

import hashlib
import logging
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from translate.checkpoint import CheckpointError, save_tensors, write_folder
from translate.data.images import ImageError, Metadata, Picture, from_array, from_pil, read_picture, to_array, to_pil
from translate.data.intensity import IntensityRange, picture_to_tensor, tensor_to_picture
from translate.model_folder import (
    CONFIG,
    ModelConfig,
    check_replaceable,
    copy_files,
    find_model,
    load_generator,
    upload_model,
)
from translate.processes import process_state
from translate.sizes import translate_any_size

logger = logging.getLogger(__name__)

OutputType = Literal["pil", "np", "pt", "picture"]
OUTPUT_TYPES = ("pil", "np", "pt", "picture")
OWN_PIPELINES = {"super_resolution": "SuperResolution"}  # tasks that Pipeline would do wrongly, and what does them


@dataclass(frozen=True)
class Prepared:
    """A picture on its way: what the network sees, and what `finish` needs to put the result in the same terms."""

    images: Tensor  # (1, C, H, W) in model space, on the CPU, not padded
    picture: Picture
    kind: OutputType  # of what was given


class Pipeline:
    """A trained generator with its intensity ranges: translates images of any size and value type.

    >>> pipe = Pipeline.from_pretrained("identity")
    >>> pipe(Image.new("RGB", (50, 30))).size
    (50, 30)

    `prepare`, `run` and `finish` are the three stages of a call, public so that they can run apart: prepare on CPU
    workers, run in batches on a GPU, finish while the next batch runs.

    Args:
        generator: takes and gives model space, float32 (N, C, H, W) in [-1, 1].
        config: of its model folder.
        name: which of the config's generators it is; the first by default.
        folder: the model folder it came from, whose other networks `save_pretrained` keeps.
    """

    task: ClassVar[str | None] = None  # the only one whose models are loaded; None is every one without its own class

    def __init__(
        self, generator: nn.Module, config: ModelConfig, *, name: str | None = None, folder: Path | None = None
    ) -> None:
        self.config = config
        self.name = name or next(iter(config.generators))
        self.folder = folder
        self.device = torch.device("cpu")
        self.dtype = torch.float32
        self.generator = generator.eval().requires_grad_(False)
        self.input, self.output = config.generators[self.name].input, config.generators[self.name].output

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        direction: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a model folder, a hub id ("owner/name") or a model that ships ("identity").

        Args:
            direction: the generator of a model that has several, such as "b_to_a"; the first by default.
            device: where to run; None takes a GPU if there is one.
            dtype: torch.bfloat16 or torch.float16 for mixed precision on a GPU.
            revision, token, cache_dir, local_files_only: of a hub id, as in huggingface_hub.

        Raises:
            CheckpointError: there is no such model, its folder is damaged, or its task needs another pipeline, which
                `load_pipeline` would choose.
        """
        download = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        folder = find_model(model, revision=revision, **download)
        generator, name, config = load_generator(folder, direction)
        cls._check_task(config.task, folder)
        return cls(generator, config, name=name, folder=folder).to(device or best_device(), dtype)

    @classmethod
    def _check_task(cls, task: str, folder: Path) -> None:
        if task == cls.task or (cls.task is None and task not in OWN_PIPELINES):
            return
        raise CheckpointError(
            f"{folder} is a model of the task {task!r}, which {cls.__name__} does not do: load it with "
            f"{OWN_PIPELINES.get(task, 'Pipeline')}.from_pretrained, or any model with load_pipeline"
        )

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> Self:
        """Move to a device, and choose the precision that it computes in (the weights stay float32)."""
        self.device = torch.device(device)
        self.generator.to(self.device)
        self.dtype = dtype or self.dtype
        return self

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model folder, whole or not at all: config.json, weights, and the other networks that came along.

        Raises:
            CheckpointError: the folder holds something else than a model.
        """

        def write(aside: Path) -> None:
            if self.folder:
                copy_files(self.folder, aside)
            save_tensors(self.generator.state_dict(), aside / f"{self.name}.safetensors")
            (aside / CONFIG).write_text(self._saved_config().model_dump_json(indent=2) + "\n", encoding="utf-8")

        check_replaceable(Path(folder))
        write_folder(Path(folder), write)

    def push_to_hub(self, repository: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Upload the model folder to the hub as "owner/name" and return the URL of the commit.

        Raises:
            CheckpointError: the hub cannot be reached, or refuses.
        """
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "model"
            self.save_pretrained(folder)
            return upload_model(folder, repository, private=private, token=token)

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

    @torch.inference_mode()
    def run(self, images: Tensor) -> Tensor:
        """Translate (N, C, H, W) of any size in model space: (N, C', scale * H, scale * W) on the device.

        What overflows in mixed precision is done again in float32, with a warning.
        """
        images = images.to(self.device)
        if self.dtype == torch.float32:
            return translate_any_size(self.generator, images)
        with torch.autocast(self.device.type, self.dtype):
            outputs = translate_any_size(self.generator, images).float()
        broken = ~outputs.isfinite().flatten(1).all(dim=1)
        if broken.any():  # only these: an image must not depend on its neighbours in the batch
            logger.warning("the output in %s is not finite: done again in float32", self.dtype)
            outputs[broken] = translate_any_size(self.generator, images[broken])
        return outputs

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

    def fingerprint(self) -> str:
        """Changes when the generator's weights or the config change."""
        digest = hashlib.sha256(self.config.model_dump_json(exclude={"training", "recipe", "data"}).encode())
        digest.update(f"{self.name} {self.dtype}".encode())
        for name, tensor in self.generator.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

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

    def _saved_config(self) -> ModelConfig:
        """The config; without a folder that holds the other networks, of this generator alone."""
        if self.folder:
            return self.config
        only = {self.name: self.config.generators[self.name]}
        return self.config.model_copy(update={"generators": only, "discriminators": {}})


def best_device() -> torch.device:
    """The GPU if there is one; in a process that Accelerate started, its own."""
    return process_state().device


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
