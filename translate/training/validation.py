"""Figures and samples while it trains, on whole images, without touching any random state of the training."""

import logging
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from translate.data.batches import Paired
from translate.data.datasets import PairedImages, UnpairedImages
from translate.data.sampling import Draw
from translate.data.scan_datasets import ScanSlices
from translate.metrics import psnr, sliced_wasserstein, ssim
from translate.sizes import centre_crop, translate_any_size

logger = logging.getLogger(__name__)

Dataset = PairedImages | UnpairedImages
MODEL_SPACE = (-1.0, 1.0)


class Figure(NamedTuple):
    """The figure by which the best model is kept."""

    name: str
    higher_is_better: bool

    def better(self, new: float, old: float | None) -> bool:
        return old is None or (new > old if self.higher_is_better else new < old)


def main_figure(dataset: Dataset) -> Figure:
    """PSNR for pairs, sliced Wasserstein distance without."""
    return Figure("val/psnr", True) if isinstance(dataset, PairedImages) else Figure("val/swd", False)


@torch.no_grad()
def validate(
    generators: dict[str, nn.Module],
    dataset: Dataset,
    images: int,
    accelerator: Accelerator,
    window: tuple[float, float] = MODEL_SPACE,
) -> dict[str, float]:
    """Figures over the first `images` items of a data set, shared among the processes; all of them get the result.

    Pairs: "val/psnr" in dB and "val/ssim", means over the images, on outputs clipped to the range, or to the window.
    Pairs that weigh their pixels have no clean targets: their PSNR is that of the pixels that count, and they have no
    SSIM. Unpaired: "val/swd" (x 1000), the mean of both directions. Raises ValueError where an image is too small for
    its figure.

    Args:
        window: lowest and highest value in model space that figures of pairs see.
    """
    with evaluating(generators):
        if isinstance(dataset, PairedImages):
            return _validate_pairs(generators["generator"], dataset, images, accelerator, window)
        return _validate_unpaired(generators, dataset, images, accelerator)


def _validate_pairs(
    generator: nn.Module,
    dataset: PairedImages,
    images: int,
    accelerator: Accelerator,
    window: tuple[float, float],
) -> dict[str, float]:
    rows = []
    for index in range(accelerator.process_index, min(images, len(dataset)), accelerator.num_processes):
        sample = dataset[Draw(0, index, (index,))]
        output = _translate(generator, sample.source, accelerator)
        rows.append(_figures(output, sample, window))
    everyone = gather_object(rows)
    return {name: sum(row[name] for row in everyone) / len(everyone) for name in everyone[0]}


def _figures(output: Tensor, sample: Paired, window: tuple[float, float]) -> dict[str, float]:
    """PSNR and SSIM of one output (1, C, H, W) within the window."""
    low, high = window
    # SSIM depends on absolute brightness: it is defined for values from 0 to the data range.
    seen, wanted = (image.clamp(low, high) - low for image in (output, sample.target[None].to(output)))
    if sample.weight is None:
        return {
            "val/psnr": psnr(seen, wanted, data_range=high - low).item(),
            "val/ssim": ssim(seen, wanted, data_range=high - low).item(),
        }
    counts = sample.weight[None].to(output).bool().expand_as(seen)
    one, two = (image[counts][None, None, None] for image in (seen, wanted))
    return {"val/psnr": psnr(one, two, data_range=high - low).item()}


def _validate_unpaired(
    generators: dict[str, nn.Module], dataset: UnpairedImages, images: int, accelerator: Accelerator
) -> dict[str, float]:
    distances = []
    for direction, paths, others in (("a_to_b", dataset.a, dataset.b), ("b_to_a", dataset.b, dataset.a)):
        mine = range(accelerator.process_index, min(images, len(paths)), accelerator.num_processes)
        made = [
            (i, _translate(generators[direction], _load(dataset, direction[0], i), accelerator)[0].cpu()) for i in mine
        ]
        outputs = [image for _, image in sorted(gather_object(made), key=lambda item: item[0])]
        real = [_load(dataset, direction[-1], i) for i in range(min(images, len(others)))]
        cut = centre_crop([image.float() for image in [*outputs, *real]])
        distances.append(sliced_wasserstein(cut[: len(outputs)], cut[len(outputs) :])["mean"])
    return {"val/swd_b": distances[0], "val/swd_a": distances[1], "val/swd": sum(distances) / 2}


@torch.no_grad()
def sample_rows(
    generators: dict[str, nn.Module],
    dataset: Dataset,
    count: int,
    accelerator: Accelerator,
    window: tuple[float, float] = MODEL_SPACE,
) -> list[list[Tensor]]:
    """Rows to look at: source, output, target; without pairs a, a in b's look and back, and the same for b.

    Args:
        window: lowest and highest value in model space that are shown, as black and white.
    """
    with evaluating(generators):
        if isinstance(dataset, PairedImages):
            samples = [dataset[Draw(0, index, (index,))] for index in range(min(count, len(dataset)))]
            made = [_translate(generators["generator"], s.source, accelerator)[0].cpu() for s in samples]
            given = [_seen(s.source) if isinstance(dataset, ScanSlices) else s.source for s in samples]
            targets = [s.target for s in samples]
            return [_in_window(list(row), window) for row in zip(given, made, targets, strict=True)]
        rows = []
        for index in range(min(count, *dataset.lengths)):
            row = []
            for side, there, back in (("a", "a_to_b", "b_to_a"), ("b", "b_to_a", "a_to_b")):
                image = _load(dataset, side, index)
                changed = _translate(generators[there], image, accelerator)
                row += [image, changed[0].cpu(), _translate(generators[back], changed[0], accelerator)[0].cpu()]
            rows.append(_in_window(row, window))
        return rows


def _seen(stack: Tensor) -> Tensor:
    """The slice (1, H, W) in the middle of its neighbours (C, H, W)."""
    return stack[stack.shape[0] // 2][None]


def _in_window(images: list[Tensor], window: tuple[float, float]) -> list[Tensor]:
    low, high = window
    return [(image - low) / (high - low) * 2 - 1 for image in images]


class evaluating:
    """Inside, the networks are in evaluation mode; afterwards each is as it was."""

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        self.networks = networks
        self.modes = {name: network.training for name, network in networks.items()}

    def __enter__(self) -> None:
        for network in self.networks.values():
            network.eval()

    def __exit__(self, *_: Any) -> None:
        for name, network in self.networks.items():
            network.train(self.modes[name])


def _load(dataset: UnpairedImages, side: str, index: int) -> Tensor:
    """One image (C, H, W) of one side, under the data set's geometry."""
    sample = dataset[Draw(0, index, (index if side == "a" else 0, index if side == "b" else 0))]
    return sample.a if side == "a" else sample.b


def _translate(generator: nn.Module, image: Tensor, accelerator: Accelerator) -> Tensor:
    """(1, C', H, W), clipped to model space."""
    dtype = next((p.dtype for p in generator.parameters()), torch.float32)
    images = image[None].to(accelerator.device, dtype)
    return translate_any_size(generator, images).clamp(-1, 1)
