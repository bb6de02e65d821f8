"""Distances of images as a trained classifier sees them: a loss and a metric. Weights are files of the user.

Nothing is ever downloaded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.checkpoint import CheckpointError, load_tensors
from translate.networks.vgg import VGGFeatures

ESRGAN = {"conv5_4": 1.0}  # Wang et al. 2018, arXiv:1809.00219
REAL_ESRGAN = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}  # arXiv:2107.10833
LPIPS_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
PUBLISHED = {"vgg16": "vgg16-397923af.pth", "vgg19": "vgg19-dcbb9e9d.pth"}  # names of torchvision's files


class PerceptualLoss(nn.Module):
    """Weighted sum, over layers of VGG, of the mean absolute difference of their activations (Johnson et al. 2016,
    arXiv:1603.08155; before the ReLU, as in ESRGAN).

    Args:
        features: VGG19 for the published losses.
        layers: the weight of each layer. `REAL_ESRGAN` sees structure of all sizes, `ESRGAN` only the coarsest layer.

    Shape:
        two (N, C, H, W) in [-1, 1], C 1 or 3, sides as the layers need them (16 for the fifth block); output a scalar,
        0 for equal images. The gradient flows to `image`, not to `target`.

    Raises:
        ValueError: no layer, an unknown layer, a negative weight, unequal shapes, or images too small.
    """

    def __init__(self, features: VGGFeatures, layers: Mapping[str, float] = REAL_ESRGAN) -> None:
        super().__init__()
        features.check_layers(layers)
        if not layers or min(layers.values()) < 0:
            raise ValueError(
                f"layers must name at least one layer, and no negative weight, got {dict(layers)}: "
                'give for example {"conv5_4": 1.0}'
            )
        self.features = features
        self.layers = dict(layers)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        _check_shapes("a perceptual loss", image, target)
        with torch.no_grad():
            wanted = self.features(target, self.layers)
        seen = self.features(image, self.layers)
        return torch.stack([weight * F.l1_loss(seen[name], wanted[name]) for name, weight in self.layers.items()]).sum()


class LPIPS(nn.Module):
    """Learned perceptual distance of images, by VGG16 (Zhang et al. 2018, arXiv:1801.03924); smaller is more alike.

    Args:
        features: VGG16.
        linear: the weight of every channel of the five layers, "lin0.model.1.weight" (1, C, 1, 1) to
            "lin4.model.1.weight": the file of the `lpips` package, weights/v0.1/vgg.pth.

    Shape:
        two (N, C, H, W) in [-1, 1], C 1 or 3, sides at least 16; output (N,), 0 for equal images.

    Raises:
        ValueError: another network than VGG16, linear weights that do not fit it, unequal shapes, or images too small.
    """

    def __init__(self, features: VGGFeatures, linear: Mapping[str, Tensor]) -> None:
        super().__init__()
        if features.name != "vgg16":
            raise ValueError(f"LPIPS was trained on the layers of vgg16, got {features.name}: give weights of vgg16")
        self.features = features
        for index, layer in enumerate(LPIPS_LAYERS):
            weight = _linear_weight(linear, f"lin{index}.model.1.weight", features.channels[f"conv{layer[4:]}"])
            self.register_buffer(f"linear{index}", weight, persistent=False)

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        _check_shapes("LPIPS", image, other)
        a, b = self.features(image, LPIPS_LAYERS), self.features(other, LPIPS_LAYERS)
        distances = []
        for index, layer in enumerate(LPIPS_LAYERS):
            # Pixel by pixel to length 1 over the channels.
            difference = F.normalize(a[layer], dim=1, eps=1e-10) - F.normalize(b[layer], dim=1, eps=1e-10)
            weighted = difference.square() * self.get_buffer(f"linear{index}")
            distances.append(weighted.sum(dim=1).mean(dim=(1, 2)))
        return torch.stack(distances).sum(dim=0)


def load_perceptual_loss(given: str | Path | None, layers: Mapping[str, float] = REAL_ESRGAN) -> PerceptualLoss:
    """The loss with the weights in a file, or with those that torch's hub cache has of VGG19.

    Raises:
        CheckpointError: there are no weights, or they are damaged, or the network lacks a layer.
    """
    path = find_feature_weights(None if given is None else Path(given))
    features = load_features(path)
    try:
        return PerceptualLoss(features, layers)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from None


def load_lpips(features: Path | None, linear: Path) -> LPIPS:
    """LPIPS with VGG16's weights in a file (None: in torch's hub cache) and the linear weights in another.

    Raises:
        CheckpointError: a file is missing or damaged, or does not fit.
    """
    network = load_features(find_feature_weights(features, "vgg16"))
    weights = _read_weights(linear)
    try:
        return LPIPS(network, weights)
    except ValueError as error:
        raise CheckpointError(f"{linear} cannot be used: {error}") from None


def find_feature_weights(given: Path | None, network: Literal["vgg16", "vgg19"] = "vgg19") -> Path:
    """The file with a VGG's weights: the one given, or the one that torch's hub cache has.

    Raises:
        CheckpointError: there is none; says where it was looked for, and how to get it.
    """
    if given is not None:
        if not given.is_file():
            raise CheckpointError(f"there are no weights of {network} at {given}: give an existing file")
        return given
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    found = sorted(folder.glob(f"{network}-*.pth"))
    if not found:
        raise CheckpointError(
            f"the perceptual distance needs the weights of {network}, and there is no {network}-*.pth in {folder}: "
            f"get https://download.pytorch.org/models/{PUBLISHED[network]} (0.5 GB) and put it there, or give your "
            "own file; nothing is downloaded on its own"
        )
    return found[0]


def load_features(path: Path) -> VGGFeatures:
    """VGG16 or VGG19 with the weights in a .safetensors, .pth or .pt file of torchvision's layout.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind, or a layer is missing.
    """
    weights = _read_weights(path)
    try:
        return VGGFeatures(weights)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}: give an existing file")
    if path.suffix == ".safetensors":
        return load_tensors(path)
    if path.suffix not in (".pth", ".pt"):
        raise CheckpointError(f"weights are .safetensors, .pth or .pt files, got {path}: give one of these")
    try:
        # weights_only: nothing but tensors and plain values is unpickled, so that a file cannot run anything.
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file it raises nearly anything
        raise CheckpointError(f"{path} is damaged, or holds more than weights ({error}): get it again") from None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path} holds no named tensors: give the file of a state dict")
    return weights


def _linear_weight(linear: Mapping[str, Tensor], key: str, channels: int) -> Tensor:
    if key not in linear or linear[key].shape != (1, channels, 1, 1):
        found = tuple(linear[key].shape) if key in linear else "no such tensor"
        raise ValueError(
            f"the linear weights need {key} of shape (1, {channels}, 1, 1), got {found}: give the weights of LPIPS for "
            "vgg (weights/v0.1/vgg.pth of the lpips package), and of the VGG16 that they were trained on"
        )
    return linear[key].float()


def _check_shapes(name: str, a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(
            f"{name} compares images of one shape, got {tuple(a.shape)} and {tuple(b.shape)}: "
            "bring both to one shape first"
        )
