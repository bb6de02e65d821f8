"""Random values: what a training pair looks like in other colours, or its source drawn by another hand."""

from dataclasses import dataclass

import numpy as np

from translate.data.augment import sample_seed
from translate.data.intensity import IntensityRange
from translate.data.redraw import redraw

LUMA_SHARE = 0.3  # of the draws that keep the luma
CONCENTRATION = 0.6  # of the Dirichlet distribution of the weights: below 1 one channel often dominates


@dataclass(frozen=True, slots=True)
class Tones:
    """What happens to the values of a training pair; edges and textures of few pictures are then seen in many tones.

    mix_channels: grey is a random mixture of R, G and B; luma in 3 of 10 draws. For pictures without alpha.
    invert: dark and bright change places, with probability 1/2.
    redraw: how much the source alone changes, a drawing, from 0 to 1.
    """

    mix_channels: bool = False
    invert: bool = False
    redraw: float = 0.0

    def mix(self, pictures: list[np.ndarray], seed: int) -> list[np.ndarray]:
        """(H, W, 3) of any dtype to (H, W, 1) float32 in [0, 1] by the same weights; the very same arrays otherwise."""
        if not self.mix_channels or any(picture.shape[2] != 3 for picture in pictures):
            return pictures
        random = np.random.default_rng(sample_seed(seed, 3))
        if random.random() < LUMA_SHARE:
            return pictures
        weights = random.dirichlet([CONCENTRATION] * 3).astype(np.float32)
        highest = [np.float32(IntensityRange.of_dtype(picture.dtype).high) for picture in pictures]
        return [(p.astype(np.float32) @ weights / high)[..., None] for p, high in zip(pictures, highest, strict=True)]

    def draw(self, pictures: list[np.ndarray], seed: int) -> list[np.ndarray]:
        """The source, which comes first, drawn anew; the very same arrays otherwise."""
        if not self.redraw:
            return pictures
        return [redraw(pictures[0], self.redraw, seed), *pictures[1:]]

    def sign(self, seed: int) -> float:
        """What a pair is multiplied by in model space."""
        inverted = self.invert and np.random.default_rng(sample_seed(seed, 4)).random() < 0.5
        return -1.0 if inverted else 1.0


AS_IT_IS = Tones()
