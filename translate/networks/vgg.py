"""The convolutions of VGG, whose activations perceptual distances compare."""

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.networks.blocks import check_image

CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # in each block; a pooling follows each
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue in [0, 1]


class VGGFeatures(nn.Module):
    """Activations of a trained VGG16 or VGG19 (Simonyan and Zisserman 2014, arXiv:1409.1556), which stays as it is.

    "conv3_2" is the second convolution of the third block, "relu3_2" what the ReLU behind it makes of it.

    Args:
        weights: in torchvision's layout, "features.0.weight", "features.0.bias", "features.2.weight", ...; the indices
            tell which of the two it is (`name`), the tensors how wide its layers are (`channels`). Other keys are left
            out.

    Shape:
        input (N, 3, H, W) in [-1, 1], or (N, 1, H, W), which is taken as grey; H and W at least 2**(b - 1) for the
        layers of block b. Output: for each layer asked for (N, channels, H', W') with H' = floor(H / 2**(b - 1)).

    Raises:
        ValueError: a convolution is missing or its shape does not fit the one before; a layer that the network does not
            have is asked for; or the image is smaller than the layers need.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.name = _recognise(weights)
        self.convolutions = nn.ModuleDict()
        self.channels: dict[str, int] = {}  # {"conv1_1": 64, ...}
        before = 3
        for layer, place in _places(self.name).items():
            convolution = _convolution(weights, place, before)
            self.convolutions[layer] = convolution
            self.channels[layer] = before = convolution.out_channels
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def check_layers(self, layers: Iterable[str]) -> None:
        """Raises ValueError unless the network has all these layers."""
        for layer in layers:
            if layer[:4] not in ("conv", "relu") or f"conv{layer[4:]}" not in self.channels:
                raise ValueError(
                    f"{self.name} has no layer {layer!r}: it has relu1_1 to relu{list(self.channels)[-1][4:]}, and "
                    "conv in place of relu for what is before the activation"
                )

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        wanted = set(layers)
        self.check_layers(wanted)
        blocks = max([1, *(int(layer[4]) for layer in wanted)])
        image = image.expand(-1, 3, -1, -1) if image.ndim == 4 and image.shape[1] == 1 else image
        check_image(image, channels=3, minimum=2 ** (blocks - 1), advice=", or choose layers of an earlier block")

        x = ((image + 1) / 2 - self.mean) / self.deviation
        found: dict[str, Tensor] = {}
        for layer, convolution in self.convolutions.items():
            if len(found) == len(wanted):
                break
            if layer.endswith("_1") and layer != "conv1_1":
                x = F.max_pool2d(x, 2)
            before = convolution(x)
            x = before.relu()  # not in place: the activation before it may be asked for
            stages = {layer: before, f"relu{layer[4:]}": x}
            found |= {name: stage for name, stage in stages.items() if name in wanted}
        return found


def _places(name: str) -> dict[str, int]:
    """The place of each convolution in torchvision's `features`: {"conv1_1": 0, "conv1_2": 2, "conv2_1": 5, ...}."""
    place, found = 0, {}
    for block, count in enumerate(CONVOLUTIONS[name], start=1):
        for number in range(1, count + 1):
            found[f"conv{block}_{number}"] = place
            place += 2  # the convolution and its ReLU
        place += 1  # the pooling
    return found


def _recognise(weights: Mapping[str, Tensor]) -> str:
    missing = {}
    for name in CONVOLUTIONS:
        keys = [f"features.{place}.{kind}" for place in _places(name).values() for kind in ("weight", "bias")]
        missing[name] = [key for key in keys if key not in weights]
    name = min(missing, key=lambda name: len(missing[name]))
    if missing[name]:
        raise ValueError(
            f"{len(missing[name])} tensors of {name} are missing, the first is {missing[name][0]!r}: give the weights "
            "of a whole VGG16 or VGG19 without batch norm, in torchvision's layout"
        )
    return name


def _convolution(weights: Mapping[str, Tensor], place: int, in_channels: int) -> nn.Conv2d:
    weight, bias = weights[f"features.{place}.weight"], weights[f"features.{place}.bias"]
    out_channels = bias.numel()
    if weight.shape != (out_channels, in_channels, 3, 3) or bias.ndim != 1:
        raise ValueError(
            f"features.{place} must have a weight of shape (C, {in_channels}, 3, 3), as the layer before it gives, and "
            f"a bias of shape (C,), got {tuple(weight.shape)} and {tuple(bias.shape)}: get the weights again"
        )
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    convolution.load_state_dict({"weight": weight, "bias": bias})
    return convolution
