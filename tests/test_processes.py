"""Several processes: real ones, started as a user starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import small_recipe
from safetensors.torch import load_file

from translate.config import write_yaml

LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]


def launch(*words: object) -> subprocess.CompletedProcess[str]:
    command = [*LAUNCH, "--main_process_port", "0", "-m", *(str(word) for word in words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("objective", ["pix2pix", "cyclegan"])
def test_two_processes_on_half_batches_train_like_one(tmp_path, paired_folder, unpaired_folder, objective):
    """Largest difference of a weight after 10 optimizer steps at most 1e-5, in float64.

    In float32 Adam makes rounding visible: where a gradient is all but zero its sign is noise, its step not small.
    """
    folder = paired_folder if objective == "pix2pix" else unpaired_folder
    shared = {"steps": 10, "precision": "fp64", "image_pool": 3}
    weights = []
    for name, batch in (("one", 4), ("two", 2)):
        recipe = small_recipe(
            folder,
            objective,
            training={**shared, "batch_size": batch},
            checkpoint={"every": 10},
            validation={"every": 5},
            penalty={"kind": "r1", "every": 3},
        )
        (tmp_path / f"{name}.yaml").write_text(write_yaml(recipe))
        words = ("translate.train", tmp_path / f"{name}.yaml", "--output", tmp_path / name, "--json")
        if name == "two":
            done = launch(*words)
        else:
            done = subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["steps"] == 10
        weights.append(newest(tmp_path / name, "networks"))
    progress = json.loads((tmp_path / "two" / "checkpoints" / "step_00000010" / "state.json").read_text())["progress"]
    assert progress["processes"] == 2
    assert max((weights[0][key] - weights[1][key]).abs().max().item() for key in weights[0]) < 1e-5
    one, two = (
        json.loads((tmp_path / name / "model" / "config.json").read_text())["training"] for name in ("one", "two")
    )
    assert one["images"] == two["images"] == 40
    assert one["figures"] == pytest.approx(two["figures"], rel=1e-6)


def newest(run: Path, name: str) -> dict:
    return load_file(run / "checkpoints" / "step_00000010" / f"{name}.safetensors")


def test_processes_that_do_not_find_each_other_are_refused(tmp_path, paired_folder):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(write_yaml(small_recipe(paired_folder)))
    command = [sys.executable, "-m", "translate.train", str(recipe), "--output", str(tmp_path / "run")]
    alone = {**os.environ, "WORLD_SIZE": "2"}
    done = subprocess.run(command, capture_output=True, text=True, env=alone, timeout=120, check=False)
    assert done.returncode == 1
    assert "2 processes were started, but cannot be joined" in done.stderr
    assert "Traceback" not in done.stderr
