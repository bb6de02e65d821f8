"""How images are changed before a discriminator judges them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from translate.networks.blocks import check_choice
from translate.views.changes import Op, cut_out, draw, move, recolour, warp


@dataclass(frozen=True, eq=False)
class View:
    """How real and fake images are changed alike before a discriminator judges them.

    The changes are those of DiffAugment (Zhao et al. 2020, arXiv:2006.10738) and the geometry of ADA (Karras et al.
    2020, arXiv:2006.06676). Each happens to each image with `probability`, independently, in this order:

    - "rotate": about the centre by any angle, all equally likely;
    - "scale": by 2^x, x normal with standard deviation 0.2, the same factor for height and width;
    - "colour": brightness plus -0.5 to 0.5, distance from grey times 0 to 2 (saturation, of pictures with 3 channels),
      distance from the picture's mean times 0.5 to 1.5 (contrast): three changes of their own, and nothing is clipped;
    - "flip": left and right change places, or not, equally likely;
    - "rotate90": by 0, 90, 180 or 270 degrees, equally likely; only by 0 or 180 where height and width differ;
    - "translate": up to an eighth of the side, up or down and left or right, in whole pixels; 0 is filled in;
    - "cutout": a rectangle of half the height and half the width becomes 0, anywhere, also partly beyond the border.

    0 is the mid grey of model space. Rotation and scale are one bilinear warp (ADA filters better, and slower) which
    reflects at the border; flips, quarter turns and translations move pixels and leave their values. An image that
    nothing happens to comes back as it was, bit for bit. Geometry and cutout treat all channels alike.

    All is done on the images' device and never waits for it: the draws come from torch's global generator of that
    device. With a probability of at most 0.8 the changes hardly leak into what the generator makes: only the true
    distribution looks right under them (ADA, section 2.2). The result can be differentiated once.

    Args:
        sigma: standard deviation, in model space, of the noise that is added last (instance noise, Sonderby et al.
            2016, arXiv:1610.04490); 0: none.
        probability: 0 to 1; a scalar tensor on the device where a controller moves it. The number 0 draws nothing.
        policy: names of `Op`; () for none.
        groups: number of channels that are judged -> channels of the pictures that lie side by side in them:
            {6: (3, 3)} for a source beside its translation. Needed by "colour", which treats all of them alike.

    Raises:
        ValueError: an argument is out of its range, an operation is unknown, or a group does not add up.
    """

    sigma: float
    probability: Tensor | float
    policy: tuple[str, ...]
    groups: Mapping[int, tuple[int, ...]]

    def __post_init__(self) -> None:
        for op in self.policy:
            check_choice(Op, op=op)
        if self.sigma < 0:
            raise ValueError(f"sigma must not be negative, got {self.sigma!r}: use 0 for no noise")
        if not isinstance(self.probability, Tensor) and not 0 <= self.probability <= 1:
            raise ValueError(f"probability must be from 0 to 1, got {self.probability!r}: use 0 to change nothing")
        for channels, pictures in self.groups.items():
            if sum(pictures) != channels:
                raise ValueError(
                    f"the pictures of {channels} channels must have {channels} together, got {pictures}: give the "
                    "channels of each picture, as in {6: (3, 3)}"
                )

    def __call__(self, *batches: Tensor) -> list[Tensor]:
        """Batches (N, C, H, W) on one device, changed: image i of each in the same way, but with noise of its own.

        Every call draws anew. Shapes, dtypes (floating) and, where nothing is to be done, the very tensors are kept.

        Raises:
            ValueError: the batches have different numbers of images, or "colour" finds no group for C.
        """
        if self.policy and (isinstance(self.probability, Tensor) or self.probability > 0):
            numbers = {len(images) for images in batches}
            if len(numbers) > 1:
                raise ValueError(
                    f"a view changes image i of every batch alike, got batches of {sorted(numbers)} images: "
                    "give as many of each, or call it once for each"
                )
            drawn = draw(self.policy, self.probability, batches[0])
            batches = tuple(self._changed(images, drawn) for images in batches)
        if self.sigma:
            batches = tuple(images + self.sigma * torch.randn_like(images) for images in batches)
        return list(batches)

    def _changed(self, images: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        ops = set(self.policy)
        if ops & {"rotate", "scale"}:
            images = warp(images, drawn["turn"][0], drawn["zoom"][0])
        if "colour" in ops:
            pictures = images.split(self._pictures(images.shape[1]), dim=1)
            images = torch.cat([recolour(picture, drawn) for picture in pictures], dim=1)
        if ops & {"flip", "rotate90", "translate"}:
            images = move(images, drawn)
        if "cutout" in ops:
            images = cut_out(images, drawn["hole"])
        return images

    def _pictures(self, channels: int) -> tuple[int, ...]:
        if channels not in self.groups:
            raise ValueError(
                f"colour must know which pictures lie side by side in {channels} channels, got groups for "
                f"{sorted(self.groups)}: add {channels} to groups"
            )
        return self.groups[channels]


def instance_noise(step: int, total: int, sigma: float, until: float) -> float:
    """Standard deviation of the instance noise at a step: `sigma` at step 0, falling linearly to 0 at until * total."""
    return sigma * max(0.0, 1 - step / (until * total)) if until > 0 else 0.0
