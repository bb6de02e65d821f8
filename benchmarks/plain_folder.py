"""Two plain loops over a folder of photographs, one file after the other: the baselines of `folder.py`.

`published` is the canonical test loop (Isola et al. 2017, Zhu et al. 2017), written straightforwardly: PIL, ToTensor
and Normalize(0.5, 0.5) step by step as torchvision takes them, the network, back to 8 bits in NumPy, and PIL's PNG.
`opencv` is what one would write next: OpenCV reads and writes, with its default PNG, and torch converts.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn


def published(generator: nn.Module, source: Path, output: Path) -> None:
    for path in sorted(source.iterdir()):
        image = Image.open(path).convert("RGB")
        tensor = torch.from_numpy(np.array(image, np.uint8, copy=True))
        tensor = tensor.view(image.size[1], image.size[0], 3).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        half = torch.tensor([0.5, 0.5, 0.5]).view(-1, 1, 1)
        with torch.no_grad():
            result: Tensor = generator(tensor.clone().sub_(half).div_(half)[None])
        values = (np.transpose(result[0].cpu().float().numpy(), (1, 2, 0)) + 1) / 2.0 * 255.0
        Image.fromarray(values.astype(np.uint8)).save(output / f"{path.stem}.png")


def opencv(generator: nn.Module, source: Path, output: Path) -> None:
    for path in sorted(source.iterdir()):
        pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode():
            result: Tensor = generator(tensor)
        values = ((result[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        cv2.imwrite(str(output / f"{path.stem}.png"), cv2.cvtColor(values, cv2.COLOR_RGB2BGR))
