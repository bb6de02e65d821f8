"""What is measured while a GAN trains: scalars that stay on the device, under the names that the log gives them.

Names that begin with "raw/" are means in the making: `derive` turns their averages over a record into signals.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from translate.losses import ADVERSARIAL
from translate.objectives.terms import Judged, Made, Translation

Signals = dict[str, Tensor]  # scalars on the device

THUMBNAIL = 16  # pixels a side: layout, tone and colour, no texture
SMALLEST_SPECTRUM = 32  # pixels a side


def accuracies(judged: Mapping[str, Judged], adversarial: str) -> Signals:
    """Shares of patches that each discriminator tells right, over all scales and, of several, for each one.

    "health/real_accuracy<suffix>" and "health/fake_accuracy<suffix>": 0.5 for one that guesses, 1 for one that is
    always right. The line between fake and real is that of the loss: logit 0, or 0.5 of the least-squares loss; for a
    critic, which has none, the middle between its mean verdicts on both.
    """
    found: Signals = {}
    for suffix, scales in judged.items():
        pairs = [_accuracy(real, fake, adversarial) for real, fake in zip(*scales, strict=True)]
        for side, values in zip(("real", "fake"), zip(*pairs, strict=True), strict=True):
            name = f"health/{side}_accuracy{suffix}"
            found[name] = torch.stack(values).mean()
            if len(values) > 1:
                found |= {f"{name}/scale_{scale}": value for scale, value in enumerate(values)}
    return found


def _accuracy(real: Tensor, fake: Tensor, adversarial: str) -> tuple[Tensor, Tensor]:
    real, fake = real.detach(), fake.detach()
    line = ADVERSARIAL[adversarial].threshold
    threshold = (real.mean() + fake.mean()) / 2 if line is None else line
    unknown = 0 * (real.mean() + fake.mean())  # NaN where a logit is not finite: such a step is no judgement
    return (real > threshold).float().mean() + unknown, (fake < threshold).float().mean() + unknown


def output_gradients(made: Made, scale: Tensor | None = None) -> Signals:
    """How hard each side of the objective pulls at the generator's output: root mean squares of its gradient there.

    "health/gan_gradient<suffix>" is that of the adversarial term, "health/other_gradient<suffix>" that of all others
    together. The graph is kept. A vanishing gradient of the first beside the second is what a discriminator that wins
    leaves to the generator (Arjovsky and Bottou 2017, arXiv:1701.04862).

    Args:
        scale: of the loss in half precision, in which small gradients would otherwise be 0.
    """
    found: Signals = {}
    for suffix, translation in made.translations.items():
        name = f"g/gan{suffix}"
        if name not in made.terms:
            continue
        others = [term for other, term in made.terms.items() if other != name]
        found[f"health/gan_gradient{suffix}"] = _gradient([made.terms[name]], translation.output, scale)
        found[f"health/other_gradient{suffix}"] = _gradient(others, translation.output, scale)
    return found


def _gradient(terms: list[Tensor], output: Tensor, scale: Tensor | None) -> Tensor:
    wanted = [term for term in terms if term.requires_grad]
    if not wanted:
        return output.new_zeros(())
    factor = output.new_ones((), dtype=torch.float32) if scale is None else scale
    total = torch.stack(wanted).sum() * factor
    (gradient,) = torch.autograd.grad(total, output, retain_graph=True, allow_unused=True)
    if gradient is None:
        return output.new_zeros(())
    return gradient.float().square().mean().sqrt() / factor


class Spread:
    """How much outputs differ from one input to the next, beside targets and inputs.

    Every image is reduced to THUMBNAIL pixels a side and compared with the one before it, also across steps: so it
    works with batches of one image, and a generator that moves slowly is not taken for one that varies.
    """

    def __init__(self) -> None:
        self.previous: dict[str, Tensor] = {}  # the last thumbnail of each kind, (1, C, THUMBNAIL, THUMBNAIL)

    @torch.no_grad()
    def measure(self, translations: Mapping[str, Translation]) -> Signals:
        """Mean squared differences "raw/spread_output<suffix>", "..._target<suffix>" and "..._source<suffix>"."""
        found: Signals = {}
        for suffix, translation in translations.items():
            for kind, images in zip(Translation._fields, translation, strict=True):
                name = f"{kind}{suffix}"
                # Contiguous, as a restart finds the last one: another memory format sums in another order.
                small = F.adaptive_avg_pool2d(images.detach().float(), THUMBNAIL).contiguous()
                row = torch.cat([self.previous[name], small]) if name in self.previous else small
                if len(row) > 1:
                    found[f"raw/spread_{name}"] = row.diff(dim=0).square().mean()
                self.previous[name] = small[-1:].clone()
        return found


def checkerboard(output: Tensor, target: Tensor) -> Tensor:
    """Energy at the frequencies of periods 2 and 4 pixels, where transposed convolutions leave their grid (Odena et
    al. 2016, doi:10.23915/distill.00003), against that of the frequencies around them; relative to the targets.

    Images (N, C, H, W). 1: like the targets; 10: a grid that can be seen. NaN for sides below SMALLEST_SPECTRUM.
    """
    if min(output.shape[-2:]) < SMALLEST_SPECTRUM:
        return output.new_tensor(torch.nan)
    return _prominence(output) / _prominence(target)


def _prominence(images: Tensor) -> Tensor:
    height, width = (side // 4 * 4 for side in images.shape[-2:])
    values = images.detach()[..., :height, :width].float()
    values = values - values.mean(dim=(-2, -1), keepdim=True)
    window = torch.hann_window(height, device=values.device)[:, None] * torch.hann_window(width, device=values.device)
    power = torch.fft.fft2(values * window).abs().square().mean(dim=(0, 1))
    near = max(2, min(height, width) // 16)
    # Half of the plane: the other half mirrors it.
    places = [(0, 2), (2, 0), (2, 2), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (3, 1)]
    shares = []
    for quarter_y, quarter_x in places:
        rows = (torch.arange(-near, near + 1, device=power.device) + quarter_y * height // 4) % height
        columns = (torch.arange(-near, near + 1, device=power.device) + quarter_x * width // 4) % width
        box = power[rows][:, columns]
        peak = box[near - 1 : near + 2, near - 1 : near + 2]
        around = (box.sum() - peak.sum()) / (box.numel() - peak.numel())
        shares.append(peak.mean() / around.clamp_min(1e-12))
    return torch.stack(shares).mean()


def unseen(train: list[Tensor], val: list[Tensor], fake: list[Tensor], adversarial: str, suffix: str) -> Signals:
    """Whether a discriminator knows its training images by heart: what it says of those, of unseen ones and of fakes.

    Its mean logits "health/train_logit<suffix>", "health/val_logit<suffix>" and "health/fake_logit<suffix>", of one
    moment, since all of them move together from step to step; and its accuracies on real images of both sets,
    "health/train_accuracy<suffix>" and "health/val_accuracy<suffix>".

    Args:
        train, val, fake: logits, one tensor a scale.
    """
    kinds = {"train": train, "val": val, "fake": fake}
    found = {
        f"health/{kind}_logit{suffix}": torch.stack([scale.float().mean() for scale in scales]).mean()
        for kind, scales in kinds.items()
    }
    for kind, scales in (("train", train), ("val", val)):
        rights = [_accuracy(real, made, adversarial)[0] for real, made in zip(scales, fake, strict=True)]
        found[f"health/{kind}_accuracy{suffix}"] = torch.stack(rights).mean()
    return found


def derive(means: Mapping[str, float]) -> dict[str, float]:
    """The signals of a record from the averages over its steps: everything "raw/" becomes "health/".

    Each average may be missing, where no value of it was finite.
    """
    signals = {name: value for name, value in means.items() if name.startswith("health/")}
    for name in means:
        suffix = name[-2:] if name.endswith(("_a", "_b")) else ""
        kind = name.removesuffix(suffix)
        match kind:
            case "health/gan_gradient":
                other = means.get(f"health/other_gradient{suffix}", 0.0)
                signals |= _ratio("gradient_ratio", suffix, means[name], other)
            case "raw/spread_output":
                for beside, called in (("target", "diversity"), ("source", "diversity_of_inputs")):
                    whole = means.get(f"raw/spread_{beside}{suffix}", 0.0)
                    signals |= _ratio(called, suffix, math.sqrt(means[name]), math.sqrt(whole))
            case "health/val_logit":
                train, fake = (means.get(f"health/{shown}_logit{suffix}", math.nan) for shown in ("train", "fake"))
                if train > fake:
                    signals[f"health/overfitting{suffix}"] = (train - means[name]) / (train - fake)  # r_v of ADA
            case "health/real_accuracy":
                signals[f"health/r_t{suffix}"] = 2 * means[name] - 1
    return signals


def _ratio(name: str, suffix: str, part: float, whole: float) -> dict[str, float]:
    return {f"health/{name}{suffix}": part / whole} if whole > 0 else {}
