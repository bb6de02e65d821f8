"""A trained generator from a model folder, whatever it is applied to: loading, saving, running."""

import copy
import hashlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from translate.backends import BackendError, Forward
from translate.backends.prepare import Model, choose, prepared
from translate.checkpoint import CheckpointError, save_tensors, write_folder
from translate.model_folder import CONFIG, ModelConfig, check_replaceable, copy_files, load_generator
from translate.model_sources import find_model, upload_model
from translate.pipelines.inference.samples import sample_images
from translate.pipelines.inference.tiles import Tiled, TileWatch
from translate.processes import process_state
from translate.sizes import translate_any_size
from translate.tiling.facts import facts_of
from translate.tiling.tiled import Tiling

logger = logging.getLogger(__name__)

# Tasks that Pipeline would do wrongly, and what does them.
OWN_PIPELINES = {
    "super_resolution": "SuperResolution",
    "scan_denoising": "ScanDenoising",
    "sketch_to_photo": "SketchToPhoto",
}


# The eight views of a self-ensemble: transposed or not, then mirrored along these axes.
VIEWS = tuple(product((False, True), ((), (-2,), (-1,), (-2, -1))))


class Pretrained:
    """What pipelines for pictures and for scans have in common.

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
        self.tiled = Tiled(Tiling(), config.generators[self.name].tiling, TileWatch())
        self.backend = "torch"
        self.forward: Forward | None = None  # what computes the generator, if not itself

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        direction: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        backend: str = "torch",
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
            backend: what computes the generator, as in `with_backend`.
            revision, token, cache_dir, local_files_only: of a hub id, as in huggingface_hub.

        Raises:
            CheckpointError: there is no such model, its folder is damaged, or its task needs another pipeline, which
                `load_pipeline` would choose.
            BackendError: the back end cannot be used.
        """
        download = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        folder = find_model(model, revision=revision, **download)
        generator, name, config = load_generator(folder, direction)
        cls._check_task(config, folder)
        pipe = cls(generator, config, name=name, folder=folder).to(device or best_device(), dtype)
        return pipe if backend == "torch" else pipe.with_backend(backend)

    @classmethod
    def _check_task(cls, config: ModelConfig, folder: Path) -> None:
        task = task_of(config)
        if task == cls.task or (cls.task is None and task not in OWN_PIPELINES):
            return
        raise CheckpointError(
            f"{folder} is a model of the task {task!r}, which {cls.__name__} does not do: load it with "
            f"{OWN_PIPELINES.get(task, 'Pipeline')}.from_pretrained, or any model with load_pipeline"
        )

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> Self:
        """Move to a device, and choose the precision that it computes in (the weights stay float32).

        A back end is of one device and of float32: torch takes its place, call `with_backend` afterwards.
        """
        self.device = torch.device(device)
        self.generator.to(self.device)
        self.dtype = dtype or self.dtype
        self.backend, self.forward = "torch", None
        return self

    def with_backend(self, name: str, *, pixels: int = 2**16) -> Self:
        """A pipeline of the same network that another back end computes, within 1e-4 of torch in model space.

        What a back end needs is made at its first use, which takes 5 to 60 seconds, compared with torch on real
        images, and kept: beside the model, or in the user's cache.

        >>> pipe = pipe.with_backend("openvino")

        Args:
            name: "torch", "compile", "onnxruntime", "openvino", "tensorrt"; or "auto": of those that were made for
                this model and machine the one that needs least time for `pixels`, loading included, else torch.
            pixels: how many, over all images, will be translated at least.

        Raises:
            BackendError: it is not installed, cannot compute the network, differs by more than 1e-4, or the pipeline
                does not compute in float32.
        """
        other = copy.copy(self)
        if name != "torch" and self.dtype != torch.float32:
            if name != "auto":
                raise BackendError(
                    f"back ends compute in float32, the pipeline in {str(self.dtype).removeprefix('torch.')}: leave "
                    "out --precision, or take --backend torch"
                )
            name = "torch"
        if name != "torch":
            samples = partial(sample_images, self.generator, scans=self.config.contract is not None)
            model = Model(self.generator, self.folder, self.name, samples)
            name = choose(model, pixels) if name == "auto" else name
        other.backend, other.forward = name, None if name == "torch" else prepared(name, model)
        other.tiled = replace(self.tiled, forward=other.forward)
        return other

    def with_tiling(self, tiling: Tiling, watch: TileWatch | None = None) -> Self:
        """A pipeline of the same network that cuts large images in another way; "auto" is the default.

        The network is shared, not copied: call `to` first.

        >>> pipe = pipe.with_tiling(Tiling(tile=512))
        """
        other = copy.copy(self)
        other.tiled = replace(self.tiled, tiling=tiling, watch=watch or self.tiled.watch)
        return other

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

    @torch.inference_mode()
    def run(self, images: Tensor) -> Tensor:
        """Translate (N, C, H, W) of any size in model space: (N, C', scale * H, scale * W), float32.

        What does not fit on the device runs in tiles, with the same result (see `with_tiling`), which is then on the
        CPU; else it is on the device. What overflows in mixed precision is done again in float32, with a warning.

        Raises:
            TilingError: tiles were needed, and the network cannot run in tiles, or there is no room for its maps.
        """
        side = self.tiled.side(self.generator, images, self.device)
        if side is None:
            try:
                return self._run_whole(images.to(self.device))
            except RuntimeError as error:
                side = self.tiled.after(error, images)
        return self.tiled.run(self.generator, images, side, self.device, self.dtype)

    def _run_whole(self, images: Tensor) -> Tensor:
        if self.dtype == torch.float32:
            return translate_any_size(self.generator, images, self.forward)
        with torch.autocast(self.device.type, self.dtype):
            outputs = translate_any_size(self.generator, images).float()
        broken = ~outputs.isfinite().flatten(1).all(dim=1)
        if broken.any():  # only these: an image must not depend on its neighbours in the batch
            logger.warning("the output in %s is not finite: done again in float32", self.dtype)
            outputs[broken] = translate_any_size(self.generator, images[broken])
        return outputs

    def run_views(self, images: Tensor) -> Iterator[Tensor]:
        """The eight outputs for the mirrored and transposed images, each turned back; otherwise as `run`."""
        for transposed, axes in VIEWS:
            output = Pretrained.run(self, (images.mT if transposed else images).flip(axes)).flip(axes)
            yield output.mT if transposed else output

    def fingerprint(self) -> str:
        """Changes when the generator's weights or the config change."""
        unused: dict[str, Any] = {"training": True, "recipe": True, "data": True, "generators": {"__all__": {"tiling"}}}
        digest = hashlib.sha256(self.config.model_dump_json(exclude=unused).encode())
        digest.update(f"{self.name} {self.dtype}".encode())
        if self.backend != "torch":
            digest.update(self.backend.encode())
        for name, tensor in self.generator.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _saved_config(self) -> ModelConfig:
        """The config; without a folder that holds the other networks, of this generator alone."""
        own = self.config.generators[self.name]
        described = own if own.tiling else own.model_copy(update={"tiling": facts_of(self.generator)})
        if self.folder:
            return self.config.model_copy(update={"generators": self.config.generators | {self.name: described}})
        return self.config.model_copy(update={"generators": {self.name: described}, "discriminators": {}})


def best_device() -> torch.device:
    """The GPU if there is one; in a process that Accelerate started, its own."""
    return process_state().device


def task_of(config: ModelConfig) -> str:
    """What a model is for: everything with an intensity contract is for scans."""
    return "scan_denoising" if config.contract else config.task
