"""Initial weights of networks."""

from typing import Any, Literal, cast

from torch import nn
from torch.nn.utils import parametrize

from translate.networks.blocks import check_choice

Kind = Literal["normal", "xavier", "kaiming", "orthogonal", "constructor"]


def initialise(network: nn.Module, kind: Kind = "normal", gain: float = 0.02) -> None:
    """Draw the weights of every convolution anew, as published for pix2pix and CycleGAN: "normal" with gain 0.02.

    Biases become 0, the weights of batch norms are drawn from N(1, gain). The numbers come from torch's global random
    generator: seed it for the same weights in every process. Spectral norms start again from the new weights.

    Args:
        kind: "normal" is N(0, gain); "xavier" (Glorot and Bengio 2010) and "orthogonal" (Saxe et al. 2014,
            arXiv:1312.6120) are scaled by `gain`; "kaiming" (He et al. 2015, arXiv:1502.01852) ignores it;
            "constructor" leaves all as the networks' constructors made it.
        gain: above 0.

    Raises:
        ValueError: for another kind, or a gain that is not above 0.
    """
    check_choice(Kind, kind=kind)
    if kind == "constructor":
        return
    if not gain > 0:
        raise ValueError(f"gain must be above 0, got {gain!r}: 0.02 is the published value")
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            _draw(layer, kind, gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, gain)
            nn.init.zeros_(layer.bias)


def _draw(layer: nn.Conv2d | nn.ConvTranspose2d, kind: Kind, gain: float) -> None:
    spectral: Any = None
    if parametrize.is_parametrized(layer, "weight"):
        spectral = cast(nn.ModuleDict, layer.parametrizations)["weight"]
    weight = layer.weight if spectral is None else spectral.original
    match kind:
        case "normal":
            nn.init.normal_(weight, 0.0, gain)
        case "xavier":
            nn.init.xavier_normal_(weight, gain)
        case "kaiming":
            nn.init.kaiming_normal_(weight, a=0, mode="fan_in")
        case "orthogonal":
            nn.init.orthogonal_(weight, gain)
    if spectral is not None:
        training = spectral.training
        spectral.train()
        for _ in range(15):  # each reading is one power iteration; as many as the constructor of a spectral norm does
            _ = layer.weight
        spectral.train(training)
