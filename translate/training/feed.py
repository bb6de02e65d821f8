"""Batches on the device, in model space, as the networks take them."""

from collections.abc import Iterator
from typing import Any

import torch
from accelerate.utils import send_to_device

from translate.data.loading import load
from translate.data.sampling import StepSampler
from translate.sizes import pad_to_rule
from translate.training.precision import choose_layout
from translate.training.run import Run


def batches_of(run: Run) -> Iterator[Any]:
    """Batches from the step where the run is, each on its way to the device while the one before is trained on."""
    training, accelerator = run.recipe.training, run.accelerator
    sampler = StepSampler(
        lengths=run.training_set.lengths,
        batch_size=training.batch_size,
        seed=training.seed,
        start=run.progress.step * training.accumulation,
        stop=training.steps * training.accumulation,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    on_gpu = accelerator.device.type == "cuda"
    batches = load(run.training_set, sampler, run.recipe.data.processes(accelerator.device.type), pin=on_gpu)
    for batch in _copied_ahead(batches, accelerator.device) if on_gpu else batches:
        yield arranged(run, batch)


def _copied_ahead(batches: Iterator[Any], device: torch.device) -> Iterator[Any]:
    """Pinned batches on a GPU. A batch is copied by a stream of its own while the one before is computed with."""
    copying = torch.cuda.Stream(device)

    def copied() -> Any:
        batch = next(batches, None)
        with torch.cuda.stream(copying):
            return send_to_device(batch, device, non_blocking=True)

    coming = copied()
    while coming is not None:
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)
        for image in coming:
            if isinstance(image, torch.Tensor):
                image.record_stream(computing)  # its memory is not given away before the step has used it
        yield coming
        coming = copied()  # the step was launched, and has yet to be computed


def arranged(run: Run, batch: Any) -> Any:
    """A batch on the device in model space, padded to the generators' size rule as in inference."""
    rule = next(iter(run.trained.networks.generators.values()))
    layout = choose_layout(run.recipe.training.channels_last, run.accelerator.device, run.precision)
    dtype = torch.float64 if run.precision == "fp64" else torch.float32
    scales = {"target": run.recipe.data.scale}
    moved: Any = run.training_set.to_model(send_to_device(batch, run.accelerator.device, non_blocking=True))
    images = {
        name: pad_to_rule(side, rule, scales.get(name, 1)).to(dtype, memory_format=layout)
        for name, side in moved._asdict().items()
        if isinstance(side, torch.Tensor)
    }
    return moved._replace(**images)
