"""The diagnosis while it trains: what is logged and said, what `health.action` does, and that it resumes exactly."""

import json
import logging
from dataclasses import asdict

import pytest
import torch
from conftest import small_recipe
from safetensors.torch import load_file
from test_resume import assert_same_state

from translate.checkpoint import list_states
from translate.health.diagnosis import diagnose, verdicts
from translate.health.policy import Adjustments
from translate.health.rules import Finding
from translate.health.verdict import BALANCED, COLLAPSE, DIVERGED, WARMING_UP
from translate.recipe import PenaltyConfig
from translate.training import watching
from translate.training.loop import train
from translate.training.records import read_log
from translate.training.run import TrainingError

EARLY = {"every": 2, "warmup": 4, "window": 3, "patience": 2}


def records_of(run):
    return read_log(run / "log.jsonl")


def test_every_signal_is_logged(tmp_path, paired_folder):
    recipe = small_recipe(
        paired_folder,
        generator={"name": "unet", "width": 4, "depth": 3},
        objective={"name": "pix2pix", "feature_matching_weight": 1.0},
        training={"steps": 4},
        health={"every": 2},
    )
    train(recipe, tmp_path / "run", show_progress=False)
    last = records_of(tmp_path / "run")[-1]
    assert {name for name in last if name.startswith("health/") and "swing" not in name} == {
        "health/real_accuracy",
        "health/fake_accuracy",
        "health/train_accuracy",
        "health/val_accuracy",
        "health/train_logit",
        "health/val_logit",
        "health/fake_logit",
        "health/gan_gradient",
        "health/other_gradient",
        "health/gradient_ratio",
        "health/gradient/generator",
        "health/gradient/discriminator",
        "health/update/generator",
        "health/update/discriminator",
        "health/skipped/generator",
        "health/skipped/discriminator",
        "health/diversity",
        "health/diversity_of_inputs",
        "health/checkerboard",
        "health/overfitting",
        "health/r_t",
    } - ({"health/overfitting"} - last.keys())
    assert {name for name in last if "swing" in name} == {
        f"health/swing/{term}" for term in ("g/gan", "g/l1", "g/feature_matching", "d/gan")
    }
    assert last["verdict"] == WARMING_UP


def test_no_signals_where_none_are_wanted(tmp_path, paired_folder):
    train(small_recipe(paired_folder, health={"every": 0}), tmp_path / "run", show_progress=False)
    names = {name for record in records_of(tmp_path / "run") for name in record}
    assert {name.split("/")[1] for name in names if name.startswith("health/")} == {"gradient", "skipped", "swing"}
    assert "verdict" not in names


def test_measuring_changes_no_weight(tmp_path, paired_folder):
    """Batch norm and spectral norm too: the discriminators are shown validation images in evaluation mode."""
    for every in (0, 1):
        recipe = small_recipe(
            paired_folder,
            discriminator={"name": "patchgan", "width": 4, "layers": 1, "norm": "batch", "spectral_norm": True},
            health={"every": every},
        )
        train(recipe, tmp_path / str(every), show_progress=False)
    states = [load_file(list_states(tmp_path / run / "checkpoints")[-1] / "networks.safetensors") for run in ("0", "1")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_the_training_said_is_what_the_log_gives(tmp_path, paired_folder):
    recipe = small_recipe(paired_folder, training={"steps": 12}, health=EARLY)
    train(recipe, tmp_path / "run", show_progress=False)
    logged = [(record["step"], record["verdict"]) for record in records_of(tmp_path / "run")]
    assert verdicts(records_of(tmp_path / "run"), recipe) == logged
    assert diagnose(records_of(tmp_path / "run"), recipe).verdict == logged[-1][1]


def always(monkeypatch, verdict, start=1):
    """Let every window from a step on have a verdict, and be balanced before."""

    def examine(records, recipe):
        return Finding(verdict if records[-1]["step"] >= start else BALANCED, ("planted",))

    monkeypatch.setattr(watching, "examine", examine)


def test_a_verdict_is_said_once(tmp_path, paired_folder, monkeypatch, caplog):
    always(monkeypatch, COLLAPSE, start=5)
    with caplog.at_level(logging.INFO):
        train(small_recipe(paired_folder, training={"steps": 9}, health=EARLY), tmp_path / "run", show_progress=False)
    said = [r.getMessage() for r in caplog.records if COLLAPSE in r.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("step 5: mode collapse: planted. To try: objective.feature_matching_weight 10, ")


def test_stop_ends_a_hopeless_run_with_its_reason_and_keeps_its_state(tmp_path, paired_folder, monkeypatch, command):
    always(monkeypatch, COLLAPSE, start=4)
    recipe = small_recipe(paired_folder, training={"steps": 20}, health={**EARLY, "action": "stop"})
    with pytest.raises(
        TrainingError, match=r"mode collapse since step 4, and health\.action is stop: planted\. To try"
    ):
        train(recipe, tmp_path / "run", show_progress=False)
    last = records_of(tmp_path / "run")[-1]
    assert (last["step"], last["verdict"]) == (5, COLLAPSE)
    assert list_states(tmp_path / "run" / "checkpoints")[-1].name == "step_00000005"


def test_a_run_that_is_not_finite_ends_with_a_code_of_failure(tmp_path, paired_folder, command):
    done = command(
        "train", "pix2pix_small", "--data", paired_folder, "--output", tmp_path / "run", "--data.crop", 32,
        "--data.resize", "null", "--data.workers", 0, "--generator.width", 4, "--generator.depth", 3,
        "--discriminator.width", 4, "--discriminator.layers", 1, "--data.source_channels", 1,
        "--optimizer.learning_rate", "1e30", "--logging.every", 2, "--health.skips", 4, "--training.steps", 30,
    )  # fmt: skip
    assert done.returncode == 1
    assert "steps had a loss or a gradient that is not finite, and were skipped" in done.stderr
    assert "optimizer.learning_rate" in done.stderr
    assert "Traceback" not in done.stderr


def test_adjusting_is_written_down_and_applied(tmp_path, paired_folder, monkeypatch):
    seen = []
    plan = watching.next_action
    monkeypatch.setattr(watching, "next_action", lambda *given: seen.append(given) or plan(*given))
    always(monkeypatch, "discriminator overfitting", start=4)
    recipe = small_recipe(paired_folder, training={"steps": 10}, health={**EARLY, "action": "adjust", "patience": 3})
    train(recipe, tmp_path / "run", show_progress=False)
    penalty = "penalty of the discriminators, R1 if the recipe has none (penalty.weight)"
    acted = {r["step"]: r["actions"] for r in records_of(tmp_path / "run") if "actions" in r}
    assert acted == {
        6: [f"{penalty}: 0 to 10; probability of augmentation (augmentation.probability): 0 to 0.4"],
        9: [f"{penalty}: 10 to 40; probability of augmentation (augmentation.probability): 0.4 to 0.8"],
    }
    state = json.loads((list_states(tmp_path / "run" / "checkpoints")[-1] / "state.json").read_text())
    assert state["progress"]["watch"]["adjustments"] == asdict(Adjustments(r1=40.0, augment=0.8))


def test_a_divergence_goes_back_to_the_last_healthy_state_at_lower_rates(tmp_path, paired_folder, monkeypatch):
    always(monkeypatch, DIVERGED, start=9)
    recipe = small_recipe(
        paired_folder, training={"steps": 9}, health={**EARLY, "action": "adjust"}, schedule={"kind": "constant"}
    )
    train(recipe, tmp_path / "run", show_progress=False)
    states = {path.name: load_file(path / "networks.safetensors") for path in list_states(tmp_path / "run/checkpoints")}
    healthy, last = states["step_00000004"], states["step_00000009"]  # later ones were not proven yet
    assert all(torch.equal(healthy[name], last[name]) for name in healthy)
    record = records_of(tmp_path / "run")[-1]
    assert record["actions"][0].startswith("weights of step 4; rate of the generators")
    state = json.loads((list_states(tmp_path / "run" / "checkpoints")[-1] / "state.json").read_text())
    assert (state["progress"]["watch"]["healthy"], state["progress"]["watch"]["lost"]) == (4, 5)


@pytest.mark.parametrize("verdict", [DIVERGED, "oscillating", "discriminator overfitting"])
def test_a_run_that_adjusts_resumes_exactly(tmp_path, paired_folder, monkeypatch, verdict):
    always(monkeypatch, verdict, start=5)

    def run(steps, output):
        recipe = small_recipe(
            paired_folder,
            training={"steps": steps, "image_pool": 3},
            health={**EARLY, "action": "adjust"},
            schedule={"kind": "constant"},
        )
        train(recipe, output, show_progress=False)

    run(14, tmp_path / "whole")
    for steps in (4, 8, 10, 14):
        run(steps, tmp_path / "stopped")
    assert any("actions" in record for record in records_of(tmp_path / "whole"))
    assert_same_state(tmp_path / "whole", tmp_path / "stopped")


def test_only_a_sick_run_is_adjusted(tmp_path, paired_folder, monkeypatch):
    always(monkeypatch, BALANCED, start=1)
    recipe = small_recipe(paired_folder, training={"steps": 10}, health={**EARLY, "action": "adjust"})
    train(recipe, tmp_path / "run", show_progress=False)
    assert not any("actions" in record for record in records_of(tmp_path / "run"))


def test_r1_of_the_policy_is_the_penalty_of_the_coming_steps(tmp_path, paired_folder, monkeypatch):
    always(monkeypatch, "oscillating", start=2)
    recipe = small_recipe(
        paired_folder, training={"steps": 8}, health={**EARLY, "action": "adjust"}, penalty={"every": 2}
    )
    assert recipe.penalty == PenaltyConfig(every=2)
    train(recipe, tmp_path / "run", show_progress=False)
    with_penalty = [r["step"] for r in records_of(tmp_path / "run") if "d/r1" in r]
    first = next(r["step"] for r in records_of(tmp_path / "run") if "actions" in r)
    assert with_penalty
    assert min(with_penalty) > first


def test_a_run_that_began_without_adjust_may_go_on_with_it(tmp_path, paired_folder, monkeypatch):
    train(small_recipe(paired_folder, training={"steps": 4}, health=EARLY), tmp_path / "run", show_progress=False)
    always(monkeypatch, DIVERGED, start=5)
    recipe = small_recipe(paired_folder, training={"steps": 5}, health={**EARLY, "action": "adjust"})
    train(recipe, tmp_path / "run", show_progress=False)
    assert records_of(tmp_path / "run")[-1]["actions"][0].startswith("there is no healthy state to go back to; rate of")


def test_a_second_divergence_goes_back_to_the_start(tmp_path, paired_folder, monkeypatch):
    always(monkeypatch, DIVERGED, start=7)
    recipe = small_recipe(
        paired_folder, training={"steps": 8}, health={**EARLY, "action": "adjust"}, schedule={"kind": "constant"}
    )
    train(recipe, tmp_path / "run", show_progress=False)
    states = {path.name: load_file(path / "networks.safetensors") for path in list_states(tmp_path / "run/checkpoints")}
    first, last = states["step_00000000"], states["step_00000008"]
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert records_of(tmp_path / "run")[-1]["actions"][0].startswith("weights of step 0; rate of the generators")
