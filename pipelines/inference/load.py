"""The right pipeline for a model."""

from pathlib import Path

import torch

from translate.model_folder import read_config
from translate.model_sources import find_model
from translate.pipelines.inference.pipeline import Pipeline
from translate.pipelines.inference.pretrained import task_of
from translate.pipelines.inference.scan_denoising import ScanDenoising
from translate.pipelines.inference.sketch_to_photo import SketchToPhoto
from translate.pipelines.inference.super_resolution import SuperResolution

# By task; all others are Pipeline's.
PIPELINES: dict[str, type[Pipeline] | type[ScanDenoising]] = {
    "super_resolution": SuperResolution,
    "scan_denoising": ScanDenoising,
    "sketch_to_photo": SketchToPhoto,
}


def load_pipeline(
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
) -> Pipeline | ScanDenoising:
    """Load a model folder, a hub id ("owner/name") or a model that ships, with the pipeline that its task needs.

    The arguments are those of `Pipeline.from_pretrained`.

    Returns:
        A SuperResolution for the task "super_resolution", a SketchToPhoto for "sketch_to_photo", a ScanDenoising for a
        model with an intensity contract, else a Pipeline.

    Raises:
        CheckpointError: there is no such model, or its folder is damaged.
        BackendError: the back end cannot be used.
    """
    download = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
    folder = find_model(model, revision=revision, **download)
    kind = PIPELINES.get(task_of(read_config(folder)), Pipeline)
    return kind.from_pretrained(folder, direction=direction, device=device, dtype=dtype, backend=backend)
