"""Scan in, scan out: what a network changes in a scan, slice by slice, in the units of the scan."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

import translate
from translate.checkpoint import CheckpointError
from translate.data.intensity import IntensityRange
from translate.data.scans import Derivation, Scan, ScanError
from translate.model_folder import ModelConfig
from translate.networks import Identity
from translate.pipelines.inference.pretrained import Pretrained
from translate.pipelines.inference.windows import Window, naming, windows

PRECISION_HU = 0.5  # root mean square by which a lower precision may differ from float32 ...
PRECISION_RANGE = 4095.0  # ... of -1024 to 3071 HU; in other units the same part of the contract's range


@dataclass(frozen=True)
class PreparedSlice:
    """A slice on its way: what the network sees, and the values that `finish` changes."""

    images: Tensor  # (1, C, H, W) in model space, clipped to [-1, 1], on the CPU
    values: np.ndarray  # (H, W) float32 in units, not clipped
    kept: np.ndarray  # (H, W) bool, values that are not the network's to change


@dataclass(frozen=True)
class DenoisedSlice:
    """A slice before and after, float32 (H, W) in units; the output is not rounded to what a file can hold."""

    index: int
    source: np.ndarray
    output: np.ndarray
    uncertainty: np.ndarray | None  # where it was asked for


class ScanDenoising(Pretrained):
    """A trained generator and its intensity contract: scans come back in their own units.

    >>> pipe = ScanDenoising.from_pretrained("identity")
    >>> pipe(np.array([[-1000.0, 40.0]]), units="HU")
    array([[-1000.,    40.]], dtype=float32)

    The network's output is not the result: what it changes is. `finish` takes the difference of output and input of the
    network, in float64, and adds it to the values of the file, so that no conversion moves what the network left alone.
    Values outside the range of the contract (metal) and padding stay as they are. Only a model whose output is of
    another modality than its input gives its output itself.

    `prepare`, `run` and `finish` are the three stages of a slice.

    Raises:
        CheckpointError: the model has no intensity contract and is not the identity, or it enlarges.
    """

    task: ClassVar[str | None] = "scan_denoising"

    def __init__(
        self, generator: nn.Module, config: ModelConfig, *, name: str | None = None, folder: Path | None = None
    ) -> None:
        super().__init__(generator, config, name=name, folder=folder)
        self.contract = config.contract
        if self.contract is None and not isinstance(generator, Identity):
            raise CheckpointError(
                f"the model {self.title!r} has no intensity contract: it was not trained on scans, give one that was"
            )
        if generator.scale != 1:
            raise CheckpointError(
                f"the model {self.title!r} enlarges {generator.scale} times, scans keep their geometry: give another"
            )
        # The identity changes nothing in any range.
        self.range = self.contract.intensity() if self.contract else IntensityRange(-1024, 3071, "any")
        self.neighbours = self.contract.neighbours if self.contract else 0
        self.synthetic = self.contract is not None and self.contract.synthetic

    @classmethod
    def _check_task(cls, config: ModelConfig, folder: Path) -> None:
        """Left to the constructor, which knows the network."""

    @property
    def title(self) -> str:
        """What the model is called in files: its folder, with its run where that is "model", or its hub id."""
        if self.folder is None:
            return self.config.generators[self.name].name
        folder = self.folder.resolve()
        if folder.parent.name == "snapshots":  # of the hub's cache
            return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
        return f"{folder.parent.name}/{folder.name}" if folder.name == "model" else folder.name

    def derivation(self) -> Derivation:
        """What the files of a result say about their origin."""
        modality = self.contract.output_modality if self.contract and self.synthetic else None
        return Derivation(
            f"synthetic {modality}" if modality else "denoised",
            f"AI-processed for research by translate {translate.__version__}, model {self.title} "
            f"{self.fingerprint()[:12]}",
            synthetic=self.synthetic,
            modality=modality,
            neighbours=self.neighbours,
        )

    def __call__(self, values: np.ndarray, *, units: str) -> np.ndarray:
        """Denoise the values of a scan that is in memory.

        Args:
            values: (slices, rows, columns) or (rows, columns) of any real dtype, in units.
            units: what they are in, such as "HU".

        Returns:
            float32 of the same shape.

        Raises:
            ScanError: the model was trained on other units, or the values are not finite or of another shape.
        """
        if self.contract and units != self.contract.units:
            raise ScanError(f"the values are in {units}, the model was trained on {self.contract.units}: convert them")
        if not isinstance(values, np.ndarray) or values.ndim not in (2, 3) or not values.size:
            given = getattr(values, "shape", type(values).__name__)
            raise ScanError(f"a scan is an array (slices, rows, columns) or (rows, columns), got {given}")
        volume = values.reshape(-1, *values.shape[-2:]).astype(np.float32)
        result = np.empty_like(volume)
        for index, denoised in enumerate(result):
            around = range(index - self.neighbours, index + self.neighbours + 1)
            inside = [other if 0 <= other < len(volume) else index for other in around]
            prepared = self.prepare([volume[other] for other in inside])
            denoised[:] = self.finish(self.run(prepared.images), prepared)
        return result.reshape(values.shape)

    def check(self, scan: Scan, allow: frozenset[str] = frozenset()) -> list[str]:
        """Refuse a scan before its pixels are read, if the model or the precision is not for it.

        Args:
            allow: mismatches that shall only be warnings, as in `IntensityContract.check_input`.

        Returns:
            Warnings.

        Raises:
            ScanError: the model was trained on other scans, or a lower precision changes the values of its first or
                middle slice by more than 0.5 HU (root mean square), in other units as much of the range.
        """
        warnings = self.contract.check_input(scan.header, allow) if self.contract else []
        if self.dtype != torch.float32:
            self._check_precision(scan)
        return warnings

    def prepare(self, around: list[np.ndarray], padding: tuple[float, float] | None = None) -> PreparedSlice:
        """Bring a slice to model space; thread-safe, and without the device.

        Args:
            around: float32 (H, W) in units, the slice in the middle and its neighbours in order, as many as the
                contract says.
            padding: from and to which values there is no measurement, of the scan's header.

        Raises:
            ScanError: a value is NaN or infinite.
        """
        stack = np.stack(around)
        if bad := int((~np.isfinite(stack)).sum()):
            raise ScanError(f"{bad} of its values are NaN or infinite, all must be finite: replace them first")
        model = self.range.to_model(np.clip(stack, self.range.low, self.range.high, dtype=np.float64))
        if len(model) < self.input.channels:  # the identity of colour pictures
            model = np.repeat(model, self.input.channels, axis=0)
        values = around[len(around) // 2]
        kept = (values < self.range.low) | (values > self.range.high)
        if padding:
            kept |= (values >= padding[0]) & (values <= padding[1])
        return PreparedSlice(torch.from_numpy(model)[None], values, kept)

    def finish(self, output: Tensor, prepared: PreparedSlice) -> np.ndarray:
        """What an output (1, C', H, W) of `run` makes of a slice: float32 (H, W) in units.

        Raises:
            ScanError: the output is not finite, or changes more than the contract allows.
        """
        made = output[0, 0].double().cpu().numpy()
        if bad := int((~np.isfinite(made)).sum()):
            raise ScanError(
                f"the network gave NaN or infinity for {bad} values: run it in float32, or use another model"
            )
        if self.synthetic:
            span = self.output.intensity()
            assert span is not None  # the contract was checked
            return span.from_model(made, np.float32)
        images, values = prepared.images[0], prepared.values
        change = (made - images[len(images) // 2].double().numpy()) * ((self.range.high - self.range.low) / 2)
        largest = self.contract.largest_change if self.contract else None
        if largest is not None and (found := float(np.abs(change).max())) > largest * 1.001:
            raise ScanError(
                f"the network changes a value by {found:.4g} {self.range.units}, its contract allows {largest:g}: its "
                "weights are not those that the contract was made for"
            )
        kept = prepared.kept | (change == 0)  # -0.0 + 0.0 is 0.0
        return np.where(kept, values, values + change).astype(np.float32)

    @torch.inference_mode()
    def uncertainty(self, prepared: PreparedSlice) -> np.ndarray:
        """How much the result depends on how the slice is turned: float32 (H, W) in units.

        The standard deviation over the results of the eight mirrored and transposed slices.
        """
        views = [self.finish(output, prepared) for output in self.run_views(prepared.images)]
        return np.std(views, axis=0, dtype=np.float64).astype(np.float32)

    def uncertainty_of(self, scan: Scan, index: int) -> np.ndarray:
        """`uncertainty` of one slice of a scan, which is read again. Raises ScanError."""
        (window,) = windows(scan, self.neighbours, [index])
        return self.uncertainty(self._prepare_of(scan, window))

    def denoise(self, scan: Scan, *, uncertainty: Collection[int] = (), batch_size: int = 1) -> Iterator[DenoisedSlice]:
        """Denoise slice by slice, in order; each is read once, and only a few are in memory.

        Args:
            uncertainty: of which slices it is wanted, which takes nine times as long.
            batch_size: slices that run together.

        Raises:
            ScanError: a slice cannot be read or is not finite, or the network fails on it.
        """
        every = windows(scan, self.neighbours)
        while batch := list(islice(every, batch_size)):
            ready = [self._prepare_of(scan, window) for window in batch]
            outputs = self.run(torch.cat([one.images for one in ready]))
            for (index, _), one, output in zip(batch, ready, outputs, strict=True):
                with naming(scan, index):
                    made = self.finish(output[None], one)
                    uncertain = self.uncertainty(one) if index in uncertainty else None
                yield DenoisedSlice(index, one.values, made, uncertain)

    def _prepare_of(self, scan: Scan, window: Window) -> PreparedSlice:
        with naming(scan, window[0]):
            return self.prepare(window[1], scan.header.padding)

    def _check_precision(self, scan: Scan) -> None:
        """Compare with float32 on the first and the middle slice. Raises ScanError."""
        allowed = PRECISION_HU if self.range.units == "HU" else PRECISION_HU / PRECISION_RANGE * _extent(self.range)
        dtype = self.dtype
        for window in windows(scan, self.neighbours, sorted({0, scan.header.shape[0] // 2})):
            prepared = self._prepare_of(scan, window)
            with naming(scan, window[0]):
                low = self.finish(self.run(prepared.images), prepared)
                try:
                    self.dtype = torch.float32
                    full = self.finish(self.run(prepared.images), prepared)
                finally:
                    self.dtype = dtype
                difference = float(np.sqrt(np.square(np.subtract(low, full, dtype=np.float64)).mean()))
                if difference > allowed:
                    raise ScanError(
                        f"in {str(dtype).removeprefix('torch.')} the result is {difference:.3g} {scan.header.units} "
                        f"(root mean square) away from float32, allowed are {allowed:.3g}: use --precision fp32"
                    )


def _extent(range: IntensityRange) -> float:
    return range.high - range.low
