"""The published training steps written straightforwardly: the baseline of training_step.py and gpu.py.

Modules of torch as the papers name them, one forward for each thing that is computed, torch's default Adam, nothing
compiled. Weights, order of the updates and loss terms are those of ours, so that losses can be compared.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translate.history import ImagePool
from translate.networks.bicubic import Bicubic

Losses = dict[str, Tensor]


class PlainUNet(nn.Module):
    """The U-Net of pix2pix (Isola et al. 2017, arXiv:1611.07004) with instance norm and transposed convolutions."""

    def __init__(self, width: int, depth: int, dropout: bool) -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.downs = nn.ModuleList([nn.Conv2d(3, width, 4, 2, 1)])
        for level in range(1, depth):
            norm = [nn.InstanceNorm2d(widths[level])] if level < depth - 1 else []
            convolution = nn.Conv2d(widths[level - 1], widths[level], 4, 2, 1)
            self.downs.append(nn.Sequential(nn.LeakyReLU(0.2), convolution, *norm))
        self.ups = nn.ModuleList()
        for level in range(depth - 1, 0, -1):
            channels = widths[level] if level == depth - 1 else 2 * widths[level]
            convolution = nn.ConvTranspose2d(channels, widths[level - 1], 4, 2, 1)
            drop = [nn.Dropout(0.5)] if dropout and 4 <= level < depth - 1 else []
            self.ups.append(nn.Sequential(nn.ReLU(), convolution, nn.InstanceNorm2d(widths[level - 1]), *drop))
        self.head = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, 3, 4, 2, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for down in self.downs:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.ups:
            x = torch.cat([skips.pop(), up(x)], dim=1)
        return self.head(x)


class PlainBlock(nn.Module):
    """A residual block of CycleGAN's generator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.change = nn.Sequential(*half, nn.ReLU(), *other)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


def plain_resnet(width: int, blocks: int) -> nn.Sequential:
    """The generator of CycleGAN (Zhu et al. 2017, arXiv:1703.10593), with transposed convolutions as published."""
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
    for channels in (width, 2 * width):
        convolution = nn.Conv2d(channels, 2 * channels, 3, 2, 1)
        layers += [convolution, nn.InstanceNorm2d(2 * channels), nn.ReLU()]
    layers += [PlainBlock(4 * width) for _ in range(blocks)]
    for channels in (4 * width, 2 * width):
        up = nn.ConvTranspose2d(channels, channels // 2, 3, 2, 1, 1)
        layers += [up, nn.InstanceNorm2d(channels // 2), nn.ReLU()]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())


def plain_patchgan(channels: int, width: int) -> nn.Sequential:
    """The 70x70 PatchGAN of both papers, with instance norm."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for shallow, deep, stride in ((width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 8 * width, 1)):
        layers += [nn.Conv2d(shallow, deep, 4, stride, 1), nn.InstanceNorm2d(deep), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))


class PlainBlockEDSR(nn.Module):
    """A residual block of EDSR."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


class PlainEDSR(nn.Module):
    """EDSR-baseline (Lim et al. 2017, arXiv:1707.02921) over a bicubic enlargement, as ours is."""

    def __init__(self, width: int, blocks: int, scale: int) -> None:
        super().__init__()
        self.enlarge = Bicubic(scale)  # ours, since torch's has another kernel; it costs next to nothing
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(PlainBlockEDSR(width) for _ in range(blocks)))
        self.tail = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, x: Tensor) -> Tensor:
        return self.enlarge(x) + self.tail(self.body(self.head(x)))


def copy_weights(ours: nn.Module, plain: nn.Module) -> None:
    """Give the plain network the weights of ours: both list their layers in the order of the forward."""
    for own, other in zip(ours.parameters(), plain.parameters(), strict=True):
        other.data.copy_(own)


def plain_step(recipe: Any, networks: dict[str, nn.Module]) -> Callable[[Any], Losses]:
    """The plain step of a recipe of ours, starting from the weights of these networks of ours.

    Args:
        recipe: of pix2pix with a unet, CycleGAN with a resnet, or pixel with an edsr; norm instance, transposed
            convolutions, a patchgan of 3 layers, least squares or cross entropy.

    Returns:
        A function of a batch, which updates the networks and returns the losses, detached.
    """
    build = {"pix2pix": _pix2pix, "cyclegan": _cyclegan, "pixel": _pixel}[recipe.objective.name]
    plain = {name: _network(name, recipe) for name in networks}
    for name, network in plain.items():
        copy_weights(networks[name], network.to(next(networks[name].parameters())))
    return build(recipe, plain)


def _network(name: str, recipe: Any) -> nn.Module:
    generator = recipe.generator
    if name.startswith("discriminator"):
        return plain_patchgan(6 if recipe.objective.name == "pix2pix" else 3, recipe.discriminator.width)
    if generator.name == "unet":
        return PlainUNet(generator.width, generator.depth, generator.dropout)
    if generator.name == "resnet":
        return plain_resnet(generator.width, generator.blocks)
    return PlainEDSR(generator.width, generator.blocks, generator.scale)


def _adam(recipe: Any, *networks: nn.Module) -> torch.optim.Adam:
    parameters = [parameter for network in networks for parameter in network.parameters()]
    return torch.optim.Adam(parameters, lr=recipe.optimizer.learning_rate, betas=recipe.optimizer.betas)


def _wanting(networks: Iterable[nn.Module], wanted: bool) -> None:
    for network in networks:
        network.requires_grad_(wanted)


def _gan(logits: Tensor, real: bool, kind: str) -> Tensor:
    target = torch.full_like(logits, float(real))
    return F.mse_loss(logits, target) if kind == "lsgan" else F.binary_cross_entropy_with_logits(logits, target)


def _pix2pix(recipe: Any, networks: dict[str, nn.Module]) -> Callable[[Any], Losses]:
    generator, discriminator = networks["generator"], networks["discriminator"]
    adam_g, adam_d = _adam(recipe, generator), _adam(recipe, discriminator)
    kind, weight = recipe.objective.adversarial, recipe.objective.l1_weight

    def step(batch: Any) -> Losses:
        fake = generator(batch.source)
        _wanting([discriminator], False)
        adam_g.zero_grad()
        losses = {"g/gan": _gan(discriminator(torch.cat([batch.source, fake], dim=1)), True, kind)}
        losses["g/l1"] = weight * F.l1_loss(fake, batch.target)
        (losses["g/gan"] + losses["g/l1"]).backward()
        adam_g.step()

        _wanting([discriminator], True)
        adam_d.zero_grad()
        on_fake = _gan(discriminator(torch.cat([batch.source, fake.detach()], dim=1)), False, kind)
        on_real = _gan(discriminator(torch.cat([batch.source, batch.target], dim=1)), True, kind)
        losses["d/gan"] = (on_fake + on_real) * 0.5
        losses["d/gan"].backward()
        adam_d.step()
        return {name: loss.detach() for name, loss in losses.items()}

    return step


def _cyclegan(recipe: Any, networks: dict[str, nn.Module]) -> Callable[[Any], Losses]:
    a_to_b, b_to_a = networks["a_to_b"], networks["b_to_a"]
    critics = {kind: networks[f"discriminator_{kind}"] for kind in ("a", "b")}
    adam_g, adam_d = _adam(recipe, a_to_b, b_to_a), _adam(recipe, *critics.values())
    pool = ImagePool(recipe.training.image_pool, recipe.training.seed)
    kind, cycle = recipe.objective.adversarial, recipe.objective.cycle_weight
    identity = cycle * recipe.objective.identity_weight

    def step(batch: Any) -> Losses:
        fake_b, fake_a = a_to_b(batch.a), b_to_a(batch.b)
        back_a, back_b = b_to_a(fake_b), a_to_b(fake_a)
        _wanting(critics.values(), False)
        adam_g.zero_grad()
        losses = {
            "g/identity_a": identity * F.l1_loss(b_to_a(batch.a), batch.a),
            "g/identity_b": identity * F.l1_loss(a_to_b(batch.b), batch.b),
            "g/gan_a": _gan(critics["a"](fake_a), True, kind),
            "g/gan_b": _gan(critics["b"](fake_b), True, kind),
            "g/cycle_a": cycle * F.l1_loss(back_a, batch.a),
            "g/cycle_b": cycle * F.l1_loss(back_b, batch.b),
        }
        torch.stack(list(losses.values())).sum().backward()
        adam_g.step()

        _wanting(critics.values(), True)
        adam_d.zero_grad()
        shown = pool.swap({"a": fake_a.detach(), "b": fake_b.detach()})
        for side, real in (("a", batch.a), ("b", batch.b)):
            on_real = _gan(critics[side](real), True, kind)
            on_fake = _gan(critics[side](shown[side]), False, kind)
            losses[f"d/gan_{side}"] = (on_real + on_fake) * 0.5
            losses[f"d/gan_{side}"].backward()
        adam_d.step()
        return {name: loss.detach() for name, loss in losses.items()}

    return step


def _pixel(recipe: Any, networks: dict[str, nn.Module]) -> Callable[[Any], Losses]:
    generator = networks["generator"]
    adam = _adam(recipe, generator)

    def step(batch: Any) -> Losses:
        adam.zero_grad()
        loss = F.l1_loss(generator(batch.source), batch.target)
        loss.backward()
        adam.step()
        return {"g/l1": loss.detach()}

    return step
