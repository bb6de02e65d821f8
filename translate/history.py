"""The image pool (Shrivastava et al. 2017, arXiv:1612.07828): past fakes shown to a discriminator again."""

import zlib

import torch
from torch import Tensor

Fakes = dict[str, Tensor]
RANDOM = "random/"  # starts the name of a generator's state


class ImagePool:
    """Keeps up to `size` fakes of each kind, and swaps new ones against them.

    Until it is full a fake is stored and returned. After that each fake is, with probability 1/2, returned as it is, or
    stored in a random place whose earlier content is returned instead. All decisions come from generators of its own,
    one a kind, on the CPU, so that nothing waits for the device; `state` and `load` carry them over a restart.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.random: dict[str, torch.Generator] = {}
        self.stored: dict[str, list[Tensor]] = {}

    def swap(self, fakes: Fakes) -> Fakes:
        """New and old fakes of the same shapes (N, C, H, W), detached; size 0 returns them unchanged."""
        if not self.size:
            return fakes
        return {name: torch.stack([self._swap_one(name, image) for image in images]) for name, images in fakes.items()}

    def _swap_one(self, name: str, image: Tensor) -> Tensor:
        stored = self.stored.setdefault(name, [])
        if len(stored) < self.size:
            stored.append(_finite_or(image, torch.zeros_like(image)))
            return image
        if name not in self.random:
            self.random[name] = torch.Generator().manual_seed(self.seed + zlib.crc32(name.encode()))
        place = int(torch.randint(2 * self.size, (), generator=self.random[name]))
        if place >= self.size:
            return image
        stored[place], image = _finite_or(image, stored[place]), stored[place]
        return image

    def state(self) -> dict[str, Tensor]:
        """Every tensor that a restart needs, by name."""
        images = {
            f"{name}.{place:04d}": image for name, stored in self.stored.items() for place, image in enumerate(stored)
        }
        return {**{f"{RANDOM}{name}": random.get_state() for name, random in self.random.items()}, **images}

    def load(self, state: dict[str, Tensor], device: torch.device) -> None:
        """Take over what `state` gave."""
        self.random, self.stored = {}, {}
        for key in sorted(state):
            if key.startswith(RANDOM):
                self.random[key.removeprefix(RANDOM)] = torch.Generator()
                self.random[key.removeprefix(RANDOM)].set_state(state[key].cpu())
                continue
            self.stored.setdefault(key.rsplit(".", 1)[0], []).append(state[key].to(device))


def _finite_or(image: Tensor, other: Tensor) -> Tensor:
    """A copy of an image, or of the other one where it has a value that is not finite, which would poison later steps.

    Contiguous, as a restart finds it: otherwise a run in channels_last would go on in another memory format.
    """
    return torch.where(torch.isfinite(image).all(), image, other).clone(memory_format=torch.contiguous_format)
