"""From a network to what computes it: made once, compared with PyTorch on real images, kept, loaded."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from translate.backends import BACKENDS, Backend, BackendError, Forward
from translate.backends.base import versions
from translate.backends.store import Key, Record, Store, is_trusted, machine, network_digest, stores, trust
from translate.sizes import translate_any_size

logger = logging.getLogger(__name__)
LARGEST_DIFFERENCE = 1e-4  # from PyTorch, in model space: an eightieth of a level of 8 bits
ROUNDS = 3
STARTING = 0.5  # seconds for what a record does not measure: importing the back end's package


@dataclass(frozen=True)
class Model:
    """A generator, and where it comes from.

    Attributes:
        network: in eval mode, on the device that it shall run on.
        folder, name: the model folder, if there is one, and which of its generators this is.
        samples: gives real images in model space, (N, C, H, W) of several sizes, by which a back end is judged. The
            first one is also what it is timed with.
    """

    network: nn.Module
    folder: Path | None
    name: str
    samples: Callable[[], Sequence[Tensor]]

    @property
    def device(self) -> torch.device:
        return next((one.device for one in self.network.parameters()), torch.device("cpu"))


def prepared(name: str, model: Model) -> Forward:
    """What computes a model on a back end; made if it is not there, which takes 5 to 60 seconds.

    Processes that prepare the same at the same time wait for the first one.

    Raises:
        BackendError: the back end is unknown or not installed, cannot compute the network, or differs from PyTorch by
            more than 1e-4 on a sample.
    """
    backend = _backend(name, model.device)
    key = _key(name, backend, model)
    places = stores(model.folder, model.name, code=backend.code)
    found = _load_found(backend, key, model, places)
    if found is not None:
        return found
    try:
        with places[0].lock(key):
            found = _load_found(backend, key, model, places[:1])  # another process may have made it meanwhile
            if found is not None:
                return found
            logger.info("preparing %s for this model and machine, once ...", name)
            places[0].add(key, _file(backend), lambda file: _made(backend, key, model, file))
    except OSError as error:
        raise BackendError(
            f"what {name} needs cannot be kept in {places[0].folder} ({error}): give XDG_CACHE_HOME a folder that can "
            "be written, or take --backend torch"
        ) from error
    found = _load_found(backend, key, model, places[:1])
    if found is None:
        raise BackendError(f"what {name} made in {places[0].folder} cannot be read again: is the disk full?")
    return found


def choose(model: Model, pixels: int) -> str:
    """The back end by which `pixels` pixels are translated soonest, loading included: "torch" or one that is prepared.

    Nothing is prepared for it, and what was prepared is judged by what was measured then.
    """
    digest = network_digest(model.network)
    best, saved = "torch", 0.0
    for name, kind in BACKENDS.items():
        try:
            backend = kind(model.device)
        except BackendError:
            continue
        key = _key(name, backend, model, digest)
        for place in stores(model.folder, model.name, code=kind.code):
            _, record = place.find(key, _file(backend)) or (None, None)
            if record is None:
                continue
            own = (record.plain - record.seconds) * pixels / record.pixels - record.loading - STARTING
            if own > saved:
                best, saved = name, own
    return best


def largest_difference(network: nn.Module, forward: Forward, samples: Sequence[Tensor]) -> float:
    """The largest absolute difference between two ways to compute a network, over images of any size."""
    found = 0.0
    with torch.inference_mode():
        for images in samples:
            plain = translate_any_size(network, images)
            other = translate_any_size(network, images, forward)
            if plain.shape != other.shape:
                raise BackendError(f"it gives {tuple(other.shape)} where PyTorch gives {tuple(plain.shape)}: not used")
            found = max(found, float((plain - other).abs().nan_to_num(nan=torch.inf).max()))
    return found


def _backend(name: str, device: torch.device) -> Backend:
    if name not in BACKENDS:
        raise BackendError(f"unknown back end {name!r}: give one of torch, {', '.join(BACKENDS)}, or auto")
    return BACKENDS[name](device)


def _key(name: str, backend: Backend, model: Model, digest: str | None = None) -> Key:
    digest = digest or network_digest(model.network)
    return Key(name, versions(backend.packages), digest, str(model.device), machine())


def _file(backend: Backend) -> str:
    return f"network{backend.suffix}"


def _load_found(backend: Backend, key: Key, model: Model, places: Sequence[Store]) -> Forward | None:
    for place in places:
        found = place.find(key, _file(backend))
        if found is None:
            continue
        try:
            forward = backend.load(found[0], model.network)
        except Exception as error:  # of the back end's own kinds
            logger.warning("%s cannot be loaded (%s): it is made again", found[0], error)
            continue
        if not is_trusted(found[1]):
            difference = _difference(forward, model)
            if not difference <= LARGEST_DIFFERENCE:
                logger.warning("%s is %.1e from torch on real images: it is made again", found[0], difference)
                continue
            trust(found[1])
        logger.info("%s: %.2f times as fast as torch when it was prepared", key.backend, found[1].ratio)
        return forward
    return None


def _difference(forward: Forward, model: Model) -> float:
    samples = [images.to(model.device) for images in model.samples()]
    try:
        return largest_difference(model.network, forward, samples)
    except Exception as error:  # of the back end's own kinds, or of another shape
        logger.debug("cannot be compared: %s", error)
        return torch.inf


def _made(backend: Backend, key: Key, model: Model, file: Path) -> Record:
    """Make, load, compare and time. Raises BackendError."""
    backend.make(model.network, file)
    began = time.perf_counter()
    forward = backend.load(file, model.network)
    loading = time.perf_counter() - began
    samples = [images.to(model.device) for images in model.samples()]
    difference = largest_difference(model.network, forward, samples)
    if not difference <= LARGEST_DIFFERENCE:
        raise BackendError(
            f"{key.backend} differs from torch by {difference:.1e} on real images, allowed are "
            f"{LARGEST_DIFFERENCE:.0e} (model space): it is not used for this model, take --backend torch"
        )
    plain, seconds = _timed(model.network, forward, samples[0])
    pixels = samples[0].shape[0] * samples[0].shape[2] * samples[0].shape[3]
    logger.info(
        "%s: largest difference from torch %.1e on %d real images, %.2f times as fast",
        key.backend, difference, sum(len(images) for images in samples), plain / seconds,
    )  # fmt: skip
    return Record(key, "", difference, pixels, plain, seconds, loading)


def _timed(network: nn.Module, forward: Forward, images: Tensor) -> tuple[float, float]:
    """Seconds of both, medians of alternating runs."""
    seconds: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for own, way in zip(seconds, (None, forward), strict=True):
                began = time.perf_counter()
                translate_any_size(network, images, way).cpu()
                own.append(time.perf_counter() - began)
    return statistics.median(seconds[0]), statistics.median(seconds[1])
