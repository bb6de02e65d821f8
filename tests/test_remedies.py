"""Every remedy is a key that does something, keeps the run finite, and resumes exactly."""

import pytest
import torch
from conftest import small_recipe
from safetensors.torch import load_file
from test_resume import assert_same_state

from translate.checkpoint import list_states
from translate.config import check_recipe
from translate.recipe import ConfigError
from translate.training import loop
from translate.training.loop import train
from translate.training.records import read_log

PATCHGAN = {"name": "patchgan", "width": 4, "layers": 1}
EVERY_OP = ["translate", "cutout", "colour", "flip", "rotate90", "rotate", "scale"]
REMEDIES = {
    "R1": {"penalty": {"kind": "r1", "every": 2}},
    "gradient penalty": {"penalty": {"kind": "gradient_penalty", "every": 2}},
    "spectral norm": {"discriminator": {**PATCHGAN, "spectral_norm": True}},
    "minibatch standard deviation": {"discriminator": {**PATCHGAN, "minibatch_std": 2}},
    "label smoothing": {"objective": {"real_label": 0.9}},
    "instance noise": {"instance_noise": {"sigma": 0.2}},
    "TTUR": {"optimizer": {"discriminator_learning_rate": 1e-5}},
    "feature matching": {"objective": {"feature_matching_weight": 10.0}},
    "DiffAugment": {"augmentation": {"kind": "fixed"}},
    "every transformation": {"augmentation": {"kind": "fixed", "policy": EVERY_OP, "probability": 0.7}},
    "ADA": {
        "augmentation": {"kind": "adaptive", "target": -1.0, "images": 10},
        "objective": {"adversarial": "bce"},
        "training": {"steps": 12},
    },
    "image pool": {"training": {"image_pool": 2}},
}


def trained(folder, output, kind, **sections):
    sections = {name: dict(section) for name, section in sections.items()}
    if "objective" in sections:
        sections["objective"]["name"] = kind
    sections["training"] = {"steps": 6, "image_pool": 0, **sections.get("training", {})}
    train(small_recipe(folder, kind, **sections), output, show_progress=False)
    return load_file(list_states(output / "checkpoints")[-1] / "networks.safetensors")


@pytest.mark.parametrize("objective", ["pix2pix", "cyclegan"])
@pytest.mark.parametrize("remedy", REMEDIES)
def test_a_remedy_changes_what_is_learned(tmp_path, paired_folder, unpaired_folder, remedy, objective):
    folder = paired_folder if objective == "pix2pix" else unpaired_folder
    rest = {name: section for name, section in REMEDIES[remedy].items() if remedy == "ADA" and name != "augmentation"}
    plain = trained(folder, tmp_path / "plain", objective, **rest)
    helped = trained(folder, tmp_path / "helped", objective, **REMEDIES[remedy])
    assert all(torch.isfinite(weight).all() for weight in helped.values() if weight.is_floating_point())
    weights = [name for name in plain if name in helped and not name.startswith("discriminator")]
    assert any(not torch.equal(plain[name], helped[name]) for name in weights)


def test_an_average_is_what_is_validated_and_kept(tmp_path, paired_folder):
    weights = trained(paired_folder, tmp_path / "run", "pix2pix", training={"ema_half_life": 100})
    model = load_file(tmp_path / "run" / "model" / "generator.safetensors")
    name = next(iter(model))
    assert not torch.equal(model[name], weights[f"generator/{name}"])


def test_adaptive_augmentation_follows_the_discriminator(tmp_path, paired_folder):
    adaptive = {"kind": "adaptive", "target": 0.0, "images": 40}
    fast = {"discriminator_learning_rate": 2e-2}
    sections = {"augmentation": adaptive, "optimizer": fast, "objective": {"name": "pix2pix", "adversarial": "bce"}}
    recipe = small_recipe(paired_folder, training={"steps": 24}, **sections)
    train(recipe, tmp_path / "run", show_progress=False)
    records = read_log(tmp_path / "run" / "log.jsonl")
    expected = [0.0]
    for first in range(0, 24, 4):  # moved every 4 steps, by the 8 images of these in 40
        r_t = sum(record["health/r_t"] for record in records[first : first + 4]) / 4
        expected.append(min(0.8, max(0.0, expected[-1] + (0.2 if r_t > 0 else -0.2))))
    assert [records[step - 1]["health/augment"] for step in range(4, 25, 4)] == pytest.approx(expected[1:])
    assert len(set(expected)) > 1


def test_noise_and_adaptive_augmentation_resume_exactly(tmp_path, paired_folder, monkeypatch):
    def run(output, stop=None):
        recipe = small_recipe(
            paired_folder,
            training={"steps": 12, "image_pool": 3},
            instance_noise={"sigma": 0.3, "until": 0.9},
            augmentation={"kind": "adaptive", "policy": EVERY_OP, "target": -1.0, "images": 40},
        )
        report = loop.report

        def interrupted(run, *rest):
            report(run, *rest)
            if run.progress.step == stop:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(loop, "report", interrupted)
            train(recipe, output, show_progress=False)

    run(tmp_path / "whole")
    for stop in (3, 6, 9):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped", stop)
    run(tmp_path / "stopped")
    assert_same_state(tmp_path / "whole", tmp_path / "stopped")


def test_settings_of_discriminators_need_one(tmp_path, paired_folder):
    pixel = {"discriminator": None, "objective": {"name": "pixel"}}
    for section in ({"instance_noise": {"sigma": 0.1}}, {"augmentation": {"kind": "fixed"}}):
        recipe = small_recipe(paired_folder).model_dump(mode="json") | pixel | section

        with pytest.raises(ConfigError, match="has no discriminator that could be shown noise"):
            train(check_recipe(recipe), tmp_path / "run", show_progress=False)


def test_groups_of_minibatch_statistics_must_fill_the_batch(tmp_path, paired_folder):
    recipe = small_recipe(paired_folder, discriminator={**PATCHGAN, "minibatch_std": 4})
    with pytest.raises(ConfigError, match=r"minibatch_std 4 needs groups of as many images, got training"):
        train(recipe, tmp_path / "run", show_progress=False)
