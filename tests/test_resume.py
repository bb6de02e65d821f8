"""Exact resume: a run that is killed and started again is bit for bit the run that was never stopped."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import small_recipe
from safetensors.torch import load_file

from translate.checkpoint import CheckpointError, list_states, load_newest_state
from translate.config import write_yaml
from translate.recipe import ConfigError
from translate.training.loop import train

STEPS = 45
KILLS = 5


def start(recipe_file: Path, output: Path) -> subprocess.Popen:
    words = [sys.executable, "-m", "translate", "train", str(recipe_file), "--output", str(output), "--json"]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()


def kill_somewhere(process: subprocess.Popen, output: Path, delay: float) -> None:
    """Kill the process and its loader workers without warning, some time after it wrote another training state."""
    before = list_states(output / "checkpoints")
    deadline = time.monotonic() + 120
    while list_states(output / "checkpoints") == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def losses(output: Path) -> list[dict]:
    records = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def assert_same_state(one: Path, two: Path) -> None:
    states = [list_states(root / "checkpoints")[-1] for root in (one, two)]
    assert states[0].name == states[1].name
    names = sorted(path.name for path in states[0].glob("*.safetensors"))
    assert "pool.safetensors" in names
    for name in names:
        a, b = (load_file(state / name) for state in states)
        assert a.keys() == b.keys()
        for key in a:
            assert torch.equal(a[key], b[key]), (name, key)
    progress = [json.loads((state / "state.json").read_text())["progress"] for state in states]
    assert progress[0] == progress[1]
    assert losses(one) == losses(two)


@pytest.mark.parametrize("objective", ["pix2pix", "cyclegan"])
def test_a_run_killed_five_times_equals_one_that_was_never_stopped(tmp_path, paired_folder, unpaired_folder, objective):
    folder = paired_folder if objective == "pix2pix" else unpaired_folder
    # Everything that has a state: dropout, image pool, average, workers, a penalty, mid-epoch, records between states.
    generator = (
        {"name": "unet", "width": 4, "depth": 5, "dropout": True}
        if objective == "pix2pix"
        else {"name": "resnet", "width": 4, "blocks": 1, "dropout": True}
    )
    recipe = small_recipe(
        folder,
        objective,
        generator=generator,
        data={"workers": 2, "zoom": 0.1},
        training={"steps": STEPS, "image_pool": 3, "accumulation": 2},
        penalty={"kind": "gradient_penalty", "every": 3},
        logging={"every": 4, "samples_every": 25},
        checkpoint={"every": 3},
        validation={"every": 20},
    )
    recipe_file = tmp_path / "recipe.yaml"
    recipe_file.write_text(write_yaml(recipe))
    finish(start(recipe_file, tmp_path / "whole"))

    killed, delays = 0, random.Random(objective)
    for _ in range(KILLS):
        process = start(recipe_file, tmp_path / "stopped")
        kill_somewhere(process, tmp_path / "stopped", delays.uniform(0, 0.3))
        killed += process.returncode == -signal.SIGKILL
    finish(start(recipe_file, tmp_path / "stopped"))
    assert killed >= KILLS - 1  # the last may have come after the end on a fast machine
    assert_same_state(tmp_path / "whole", tmp_path / "stopped")
    models = [
        load_file(tmp_path / run / "model" / path)
        for run in ("whole", "stopped")
        for path in ["generator.safetensors" if objective == "pix2pix" else "a_to_b.safetensors"]
    ]
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])


def test_a_finished_run_is_left_alone(tmp_path, paired_folder):
    recipe = small_recipe(paired_folder)
    first = train(recipe, tmp_path / "run", show_progress=False)
    before = (tmp_path / "run" / "log.jsonl").read_text()
    assert train(recipe, tmp_path / "run", show_progress=False) == first
    assert (tmp_path / "run" / "log.jsonl").read_text() == before


def test_a_run_can_go_on_for_longer(tmp_path, paired_folder):
    train(small_recipe(paired_folder), tmp_path / "run", show_progress=False)
    longer = small_recipe(paired_folder, training={"steps": 6})
    assert train(longer, tmp_path / "run", show_progress=False)["steps"] == 6
    assert [record["step"] for record in losses(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("objective", ["pix2pix", "cyclegan"])
def test_a_run_in_channels_last_goes_on_exactly(tmp_path, paired_folder, unpaired_folder, objective):
    """Optimizer moments and pooled images come back in the memory format that they had, or had none of their own."""
    folder = paired_folder if objective == "pix2pix" else unpaired_folder

    def run(steps: int, output: Path) -> None:
        training = {"steps": steps, "channels_last": True, "image_pool": 3}
        recipe = small_recipe(folder, objective, training=training, schedule={"kind": "constant"})
        train(recipe, output, show_progress=False)

    run(6, tmp_path / "whole")
    run(2, tmp_path / "stopped")
    run(6, tmp_path / "stopped")
    assert_same_state(tmp_path / "whole", tmp_path / "stopped")


def test_a_damaged_newest_state_falls_back_to_the_one_before_and_says_so(tmp_path, paired_folder, caplog):
    recipe = small_recipe(paired_folder)
    train(recipe, tmp_path / "run", show_progress=False)
    train(recipe, tmp_path / "other", show_progress=False)
    newest = list_states(tmp_path / "run" / "checkpoints")[-1]
    damaged = newest / "networks.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    train(recipe, tmp_path / "run", show_progress=False)
    assert "step_00000004 cannot be used, going back to the one before" in caplog.text
    assert_same_state(tmp_path / "run", tmp_path / "other")


def test_when_all_states_are_damaged_the_run_is_refused(tmp_path, paired_folder):
    recipe = small_recipe(paired_folder)
    train(recipe, tmp_path / "run", show_progress=False)
    for state in list_states(tmp_path / "run" / "checkpoints"):
        (state / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"all 2 training states in .* are damaged: start again"):
        train(recipe, tmp_path / "run", show_progress=False)


def test_old_states_are_pruned_and_leftovers_are_ignored(tmp_path, paired_folder):
    recipe = small_recipe(paired_folder, training={"steps": 6}, checkpoint={"every": 1, "keep": 3})
    (tmp_path / "run" / "checkpoints" / ".step_00000009.new").mkdir(parents=True)  # what a kill leaves
    train(recipe, tmp_path / "run", show_progress=False)
    states = list_states(tmp_path / "run" / "checkpoints")
    assert [state.name for state in states] == ["step_00000004", "step_00000005", "step_00000006"]
    assert load_newest_state(tmp_path / "run" / "checkpoints").progress["step"] == 6


def test_another_recipe_in_the_same_folder_is_refused(tmp_path, paired_folder):
    train(small_recipe(paired_folder), tmp_path / "run", show_progress=False)
    other = small_recipe(paired_folder, training={"seed": 7})
    with pytest.raises(ConfigError, match=r"holds a run of another recipe \(training.seed was 0 and is 7\): resume it"):
        train(other, tmp_path / "run", show_progress=False)


def test_other_training_files_are_refused(tmp_path, paired_folder):
    recipe = small_recipe(paired_folder)
    train(recipe, tmp_path / "run", show_progress=False)
    for side in ("source", "target"):
        (paired_folder / "train" / side / "00.png").unlink()
    with pytest.raises(ConfigError, match=r"the training files in .* are not those that the run in .* began with"):
        train(recipe, tmp_path / "run", show_progress=False)


def test_a_file_as_output_is_refused(tmp_path, paired_folder):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--output .*file is a file: give a folder"):
        train(small_recipe(paired_folder), tmp_path / "file", show_progress=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_stop_saves_its_last_step_and_goes_on_exactly(tmp_path, paired_folder, number):
    # No training state is due before the end, and records fall between: all of it must be in the state saved.
    settings = {
        "checkpoint": {"every": 1000},
        "logging": {"every": 7, "samples_every": 1000},
        "training": {"steps": 200},
    }
    recipe = small_recipe(paired_folder, **settings, validation={"every": 1000})
    train(recipe, tmp_path / "whole", show_progress=False)
    (tmp_path / "recipe.yaml").write_text(write_yaml(recipe))
    process = start(tmp_path / "recipe.yaml", tmp_path / "stopped")
    log, deadline = tmp_path / "stopped" / "log.jsonl", time.monotonic() + 120
    while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    # A terminal sends Ctrl-C to the loader's workers too; SIGTERM goes to the run alone.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    stopped = re.search(r"stopped after step (\d+), which is saved: the same command goes on", errors.decode())
    assert [state.name for state in list_states(tmp_path / "stopped" / "checkpoints")] == [
        f"step_{int(stopped[1]):08d}"
    ]
    finish(start(tmp_path / "recipe.yaml", tmp_path / "stopped"))
    assert_same_state(tmp_path / "whole", tmp_path / "stopped")
