"""What all tests share: one thread a process, and small data sets of real pictures."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data as skimage_data

from translate.config import check_recipe
from translate.data.images import from_array, write_picture
from translate.model_folder import ModelConfig, build_network, save_model
from translate.networks import DISCRIMINATORS, GENERATORS
from translate.recipe import Recipe

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def photographs() -> list[np.ndarray]:
    """Crops of 48 x 40 pixels (H x W) of real photographs, RGB 8-bit."""
    crops = []
    for photograph in (skimage_data.astronaut(), skimage_data.coffee(), skimage_data.chelsea()):
        crops += [photograph[top : top + 48, left : left + 40] for top in (60, 140) for left in (100, 180)]
    return [np.ascontiguousarray(crop) for crop in crops]


@pytest.fixture
def paired_folder(tmp_path: Path, photographs: list[np.ndarray]) -> Path:
    """train/ with 8 and val/ with 4 pairs: a grey photograph, and the same in colour."""
    for index, photograph in enumerate(photographs):
        split = "train" if index < 8 else "val"
        grey = photograph.mean(axis=2).round().astype(np.uint8)
        for side, array in (("source", grey), ("target", photograph)):
            folder = tmp_path / "pairs" / split / side
            folder.mkdir(parents=True, exist_ok=True)
            write_picture(from_array(array), folder / f"{index:02d}.png")
    return tmp_path / "pairs"


@pytest.fixture
def unpaired_folder(tmp_path: Path, photographs: list[np.ndarray]) -> Path:
    """train/ with 6 and 4, val/ with 2 and 2 images: photographs, and other photographs as negatives."""
    for index, photograph in enumerate([*photographs, *photographs[:2]]):
        side, split = ("a" if index % 2 else "b"), ("train" if index < 10 else "val")
        folder = tmp_path / "unpaired" / split / side
        folder.mkdir(parents=True, exist_ok=True)
        write_picture(from_array(255 - photograph if side == "b" else photograph), folder / f"{index:02d}.png")
    return tmp_path / "unpaired"


def small_recipe(folder: Path, objective: str = "pix2pix", /, **sections: dict) -> Recipe:
    """A recipe that trains in a second or two; `sections` are merged over it."""
    paired = objective == "pix2pix"
    values: dict = {
        "data": {"folder": str(folder), "kind": "paired" if paired else "unpaired", "crop": 32, "workers": 0},
        "generator": {"name": "unet", "width": 4, "depth": 3, "upsample": "resize"},
        "discriminator": {"name": "patchgan", "width": 4, "layers": 1},
        "objective": {"name": objective},
        "training": {"steps": 4, "batch_size": 2, "image_pool": 0 if paired else 3, "ema_half_life": 8},
        "validation": {"every": 2},
        "logging": {"every": 1, "samples_every": 4, "samples": 2},
        "checkpoint": {"every": 2},
    }
    values["training"]["precision"] = "fp32"  # whatever auto chooses on this machine
    if not paired:
        values["data"] |= {"source": "a", "target": "b"}
        values["generator"] = {"name": "resnet", "width": 4, "blocks": 1, "upsample": "resize"}
    for name, section in sections.items():
        values[name] = section if "name" in section else {**values.get(name, {}), **section}
    return check_recipe(values)


@pytest.fixture
def small_model(tmp_path: Path) -> Path:
    """A model folder as CycleGAN leaves it, untrained: generators a_to_b and b_to_a, and a discriminator."""
    torch.manual_seed(0)
    arguments = {"in_channels": 3, "out_channels": 3, "width": 4, "blocks": 1, "upsample": "resize"}
    side = {"channels": 3}
    generator = {"name": "resnet", "arguments": arguments, "input": side, "output": side}
    judge = {"name": "patchgan", "arguments": {"in_channels": 3, "width": 4, "layers": 1}}
    config = ModelConfig.model_validate(
        {"generators": {"a_to_b": generator, "b_to_a": generator}, "discriminators": {"discriminator_b": judge}}
    )
    networks = {name: build_network(entry, GENERATORS) for name, entry in config.generators.items()}
    networks |= {name: build_network(entry, DISCRIMINATORS) for name, entry in config.discriminators.items()}
    save_model(tmp_path / "small_model", config, networks)
    return tmp_path / "small_model"


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m translate ...` in a process of its own, as a user does."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "translate", *(str(argument) for argument in arguments)]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, **options)  # type: ignore[call-overload, no-any-return]

    return run
