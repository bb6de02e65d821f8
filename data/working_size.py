"""The size at which training works on a picture, before anything is random."""

from dataclasses import dataclass, replace

import numpy as np

from translate.data.augment import resize_array, resized
from translate.data.picture import ImageError, Picture, PictureInfo


@dataclass(frozen=True)
class WorkingSize:
    """Length of the shorter (resize) or the longer side (frame) in pixels, as in `Geometry`; both None: as it is.

    halves: whether a picture is two side by side, each of which gets that size.
    """

    resize: int | None = None
    frame: int | None = None
    halves: bool = False

    def of(self, info: PictureInfo) -> tuple[int, int]:
        """(H, W) that a picture will have."""
        parts = 2 if self.halves else 1
        height, width = resized(info.height, info.width // parts, self.resize, self.frame)
        return height, width * parts

    def apply(self, picture: Picture) -> Picture:
        """The picture in this size; the very same object where it has it."""
        sides = cut_in_half(picture) if self.halves else (picture,)
        if self.of(picture.info) == picture.pixels.shape[:2]:
            return picture
        alpha = None
        if picture.alpha is not None:
            alpha = self._joined([side.alpha[..., None] for side in sides if side.alpha is not None])[..., 0]
        return replace(picture, pixels=self._joined([side.pixels for side in sides]), alpha=alpha)

    def _joined(self, sides: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([resize_array(side, self.resize, self.frame) for side in sides], axis=1)


def cut_in_half(picture: Picture) -> tuple[Picture, Picture]:
    """The left and the right half of a picture of even width."""
    width = picture.pixels.shape[1]
    if width % 2:
        raise ImageError(f"a side-by-side image needs an even width, got {width}: both halves must be of one size")
    alpha = picture.alpha
    return (
        Picture(picture.pixels[:, : width // 2], None if alpha is None else alpha[:, : width // 2], picture.metadata),
        Picture(picture.pixels[:, width // 2 :], None if alpha is None else alpha[:, width // 2 :], picture.metadata),
    )
