"""No value that is not finite reaches the weights: injected into every term and every network's gradients."""

import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from conftest import small_recipe
from safetensors.torch import load_file

from translate.config import check_recipe, write_yaml
from translate.objectives import OBJECTIVES
from translate.training import loop, step
from translate.training.loop import train
from translate.training.records import read_log
from translate.training.run import TrainingError

VALUES = (math.nan, math.inf, -math.inf)
SIDES = ("generator", "discriminator")


@dataclass(frozen=True)
class Fault:
    """What is not finite in one micro-step.

    place: a term, the name of a network whose gradient is hit, or a field of the batch.
    how: "added" to a term, which then has finite gradients; "multiplied" with it; into one number of the "gradient" of
        one of a network's weights; into one of the "pixels" of a batch.
    """

    place: str
    value: float
    how: str
    micro: int = 0

    @property
    def hit(self) -> set[str]:
        """The sides that must not step."""
        if self.how == "pixels":
            return set(SIDES)
        return {"discriminator" if self.place.startswith("d") else "generator"}


NOTHING = Fault("", 0.0, "added")


class Trial:
    """A training with faults, by the number of the step, and all that it has learned before it and after each step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, recipe, faults: dict[int, Fault]) -> None:
        self.recipe, self.faults = recipe, faults
        self.active: Fault | None = None
        self.calls = 0
        self.states: list[dict[str, dict[str, torch.Tensor]]] = []
        objective = OBJECTIVES[recipe.objective.name]
        originals = (loop.prepare, loop.report, loop.train_step, objective.generator_terms)
        prepare, report, train_step, generator_terms = originals

        def prepared(*arguments):
            self.trained = prepare(*arguments)
            self.states.append(self.state())
            return self.trained

        def reported(*arguments):
            self.states.append(self.state())
            report(*arguments)

        def stepped(objective, batch, *arguments):
            fault = faults.get(self.calls // recipe.training.accumulation + 1)
            self.active = fault if fault and fault.micro == self.calls % recipe.training.accumulation else None
            self.calls += 1
            hook = None
            if self.active and self.active.how == "pixels":
                batch = batch._replace(**{self.active.place: spoil(getattr(batch, self.active.place), fault.value)})
            elif self.active and self.active.how == "gradient":
                network = {**objective.generators, **objective.discriminators}[fault.place]
                weights = [p for p in network.parameters() if p.requires_grad]
                hook = weights[-1].register_hook(lambda gradient: spoil(gradient, fault.value))
            values = train_step(objective, batch, *arguments)
            if hook:
                hook.remove()
            return values

        def terms_of_generators(*arguments):
            made = generator_terms(*arguments)
            return made._replace(terms=self.spoiled(made.terms))

        monkeypatch.setattr(loop, "prepare", prepared)
        monkeypatch.setattr(loop, "report", reported)
        monkeypatch.setattr(loop, "train_step", stepped)
        monkeypatch.setattr(objective, "generator_terms", terms_of_generators)
        for name in ("discriminator_terms", "penalty_terms"):
            original = getattr(step, name)
            monkeypatch.setattr(step, name, lambda *arguments, f=original: self.spoiled(f(*arguments)))

    def spoiled(self, terms):
        if self.active is None or self.active.place not in terms:
            return terms
        value = self.active.value
        term = terms[self.active.place]
        return {**terms, self.active.place: term + value if self.active.how == "added" else term * value}

    def state(self):
        """Copies of everything that a step changes, by what it is."""
        trained = self.trained
        optimizers = trained.plain_optimizers
        parts = {
            "generator": weights(trained.networks.generators),
            "discriminator": weights(trained.networks.discriminators),
            "generator moments": moments(optimizers.generator),
            "discriminator moments": moments(optimizers.discriminator),
            "buffers": buffers(trained.networks.all()),
            "pool": trained.pool.state(),
            "ema": trained.ema.state(),
        }
        return {part: {name: tensor.clone() for name, tensor in tensors.items()} for part, tensors in parts.items()}

    def run(self, folder: Path) -> list[dict]:
        train(self.recipe, folder, show_progress=False)
        return read_log(folder / "log.jsonl")


def spoil(tensor, value):
    """One of its numbers replaced."""
    spoilt = tensor.clone()
    spoilt[(0,) * tensor.ndim] = value
    return spoilt


def weights(networks):
    return {f"{name}.{key}": p for name, network in networks.items() for key, p in network.named_parameters()}


def buffers(networks):
    return {f"{name}.{key}": b for name, network in networks.items() for key, b in network.named_buffers()}


def moments(optimizer):
    """Moments and numbers of steps; of a fresh optimizer, which has none yet, none."""
    state = optimizer.state_dict()["state"] if optimizer else {}
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def same(one, two):
    """Bit for bit. A fresh optimizer has no moments, and then zeros."""
    return all(torch.equal(one.get(name, torch.zeros_like(two[name])), two[name]) for name in two)


def check(trial: Trial, records: list[dict]) -> None:
    """Everything stays finite; a side that was hit does not change, every other side learns; the log says so."""
    steps = trial.recipe.training.steps
    assert [record["step"] for record in records] == list(range(1, steps + 1))
    judged = trial.recipe.discriminator is not None
    sides = SIDES if judged else SIDES[:1]
    for number, (before, after, record) in enumerate(
        zip(trial.states[:-1], trial.states[1:], records, strict=True), start=1
    ):
        fault = trial.faults.get(number)
        context = f"step {number}, {fault}"
        for part, tensors in after.items():
            for name, tensor in tensors.items():
                assert tensor.isfinite().all(), f"{context}: {part} {name}"
        for side in sides:
            hit = fault is not None and side in fault.hit
            assert same(before[side], after[side]) == hit, f"{context}: {side}"
            if hit:
                assert same(before[f"{side} moments"], after[f"{side} moments"]), f"{context}: moments of the {side}"
            assert record[f"health/skipped/{side}"] == hit, f"{context}: the {side} in the log"
        named = {name.removeprefix("health/nonfinite/") for name in record if name.startswith("health/nonfinite/")}
        if fault is None or fault.how == "gradient":
            assert named == set(), context
        elif fault.how == "pixels":
            assert len(named) >= len(sides), context
        else:
            assert named == {fault.place}, context
            assert record[f"health/nonfinite/{fault.place}"] == 1 / trial.recipe.training.accumulation
        assert all(math.isfinite(value) for value in record.values() if isinstance(value, float)), context


def in_a_row(groups):
    """The faults of each group one after the other from the first step on, and a healthy step behind each group."""
    steps = [fault for group in groups for fault in (*group, None)]
    return {number: fault for number, fault in enumerate(steps, start=1) if fault}


def recipe_of(folder, base, faults, /, judged=True, **sections):
    """A recipe with one step more than there are faults, and constant rates."""
    steps = max(faults) + 1
    values = {
        "training": {"steps": steps},
        "schedule": {"kind": "constant"},
        "validation": {"every": steps},
        "logging": {"every": 1, "samples_every": steps},
        "checkpoint": {"every": steps},
        "health": {"every": 1},
        "penalty": {"kind": "r1", "every": 1},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    recipe = small_recipe(folder, base, **values)
    return recipe if judged else check_recipe({**recipe.to_json(), "discriminator": None})


# Without a norm: on a CPU, autocast runs norms in half precision, and their second derivatives overflow there.
PENALISED = {"name": "patchgan", "width": 4, "layers": 1, "norm": "none"}
ROWS = {
    "pix2pix": (
        ("g/gan", "g/l1", "g/feature_matching", "d/gan", "d/r1"),
        {"objective": {"name": "pix2pix", "feature_matching_weight": 10.0}, "discriminator": PENALISED},
    ),
    "pix2pix, gradient penalty, clipped": (
        ("g/gan", "g/l1", "d/gan", "d/gradient_penalty"),
        {
            "objective": {"name": "pix2pix", "adversarial": "wasserstein"},
            "discriminator": PENALISED,
            "penalty": {"kind": "gradient_penalty", "every": 1},
            "optimizer": {"clip_norm": 1.0},
        },
    ),
    "pix2pix, batch and spectral norm, two scales": (
        ("g/gan", "d/gan"),
        {
            "objective": {"name": "pix2pix", "adversarial": "hinge"},
            "penalty": {"kind": "none"},
            "generator": {"name": "unet", "width": 4, "depth": 2, "norm": "batch", "dropout": True},
            "discriminator": {
                "name": "multiscale",
                "width": 4,
                "layers": 1,
                "scales": 2,
                "norm": "batch",
                "spectral_norm": True,
                "minibatch_std": 2,
            },
        },
    ),
    "cyclegan": (
        [f"{term}_{kind}" for term in ("g/gan", "g/cycle", "g/identity", "d/gan", "d/r1") for kind in "ab"],
        {"discriminator": PENALISED},
    ),
    "perceptual_gan": (
        ("g/gan", "g/l1", "g/feature_matching", "d/gan", "d/r1"),
        {"objective": {"name": "perceptual_gan", "feature_matching_weight": 1.0}, "discriminator": PENALISED},
    ),
    "pixel": (
        ("g/charbonnier", "g/ssim", "g/mean"),
        {
            "objective": {"name": "pixel", "distance": "charbonnier", "ssim_weight": 1.0, "mean_weight": 1.0},
            "judged": False,
            "penalty": {"kind": "none"},
        },
    ),
}


def trial_of(monkeypatch, folders, row, faults, **sections):
    """A trial of a row, with changes to its sections."""
    objective = row.split(",")[0]
    base = "cyclegan" if objective == "cyclegan" else "pix2pix"
    merged = {**ROWS[row][1], **sections}
    return Trial(monkeypatch, recipe_of(folders[base], base, faults, **merged), faults)


@pytest.fixture
def folders(paired_folder, unpaired_folder):
    return {"pix2pix": paired_folder, "cyclegan": unpaired_folder}


@pytest.fixture(params=["fp32", "fp16"])
def precision(request, monkeypatch):
    """Half precision on the CPU as Accelerate does it on a GPU: autocast, and a scaler of the losses."""
    if request.param == "fp16":
        monkeypatch.setattr(loop, "build_accelerator", half_precision)
    return request.param


def half_precision(recipe, project):
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        cpu=True,
        gradient_accumulation_steps=recipe.training.accumulation,
        mixed_precision="fp16",
        project_dir=project,
        step_scheduler_with_optimizer=False,
    )
    accelerator.native_amp = True
    # All but constant: a healthy step is not to overflow because of the faults before it.
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_factor=1.001, backoff_factor=0.999)
    return "fp16", accelerator


@pytest.mark.parametrize("row", ROWS)
def test_a_term_that_is_not_finite_changes_nothing_and_is_named(monkeypatch, tmp_path, folders, precision, row):
    values = VALUES if precision == "fp32" else (math.nan, math.inf)
    groups = [[Fault(term, value, "added") for value in values] for term in ROWS[row][0]]
    groups.append([Fault(term, math.inf, "multiplied") for term in ROWS[row][0][:2]])
    trial = trial_of(monkeypatch, folders, row, in_a_row(groups))
    check(trial, trial.run(tmp_path / "run"))


@pytest.mark.parametrize(
    ("row", "networks"),
    [
        ("pix2pix", ("generator", "discriminator")),
        ("pix2pix, gradient penalty, clipped", ("generator", "discriminator")),
        ("cyclegan", ("a_to_b", "b_to_a", "discriminator_a", "discriminator_b")),
        ("pixel", ("generator",)),
    ],
)
def test_a_gradient_that_is_not_finite_changes_nothing(monkeypatch, tmp_path, folders, precision, row, networks):
    groups = [[Fault(network, value, "gradient") for value in VALUES] for network in networks]
    trial = trial_of(monkeypatch, folders, row, in_a_row(groups))
    check(trial, trial.run(tmp_path / "run"))


@pytest.mark.parametrize(
    ("row", "places"),
    [
        ("pix2pix, batch and spectral norm, two scales", ("source", "target")),
        ("cyclegan", ("a", "b")),
        ("pixel", ("source", "target")),
    ],
)
def test_a_pixel_that_is_not_finite_changes_nothing(monkeypatch, tmp_path, folders, precision, row, places):
    groups = [[Fault(place, value, "pixels") for value in VALUES] for place in places]
    trial = trial_of(monkeypatch, folders, row, in_a_row(groups))
    records = trial.run(tmp_path / "run")
    check(trial, records)


def test_a_fault_in_one_micro_step_spoils_the_whole_step(monkeypatch, tmp_path, folders, precision):
    places = (("g/gan", "added"), ("d/gan", "added"), ("d/r1", "added"), ("generator", "gradient"))
    faults = [Fault(place, math.inf, how, micro) for place, how in places for micro in (0, 1)]
    trial = trial_of(
        monkeypatch, folders, "pix2pix", in_a_row([[fault] for fault in faults]), training={"accumulation": 2}
    )
    check(trial, trial.run(tmp_path / "run"))


def test_a_run_that_began_with_a_fault_is_saved_and_resumed(monkeypatch, tmp_path, folders, precision):
    fault, sections = Fault("source", math.nan, "pixels"), {"checkpoint": {"every": 1}}
    with monkeypatch.context() as patch:
        trial = trial_of(patch, folders, "pix2pix", {1: fault}, **sections)
        trial.run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stopped = trial_of(patch, folders, "pix2pix", {1: fault}, **sections)
        report = loop.report

        def stop(run, *arguments):
            report(run, *arguments)
            raise KeyboardInterrupt

        patch.setattr(loop, "report", stop)
        with pytest.raises(KeyboardInterrupt):
            stopped.run(tmp_path / "stopped")
    train(trial.recipe, tmp_path / "stopped", show_progress=False)
    one, two = (load_file(tmp_path / name / "model" / "generator.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_gradients_in_half_precision_are_measured_and_clipped_without_the_scale(monkeypatch, tmp_path, folders):
    moved, norms = [], []
    for name, build in (("fp32", loop.build_accelerator), ("fp16", half_precision)):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "build_accelerator", build)
            # A small enough bound makes Adam's epsilon count: a scale that was left in would show in the step.
            trial = trial_of(patch, folders, "pix2pix", {1: NOTHING}, optimizer={"clip_norm": 1e-6})
            norms.append(trial.run(tmp_path / name)[0]["health/gradient/generator"])
            before, after = (state["generator"] for state in trial.states[:2])
            moved.append(sum((after[key] - before[key]).abs().sum() for key in before).item())
    assert norms[1] == pytest.approx(norms[0], rel=0.05)
    assert moved[1] == pytest.approx(moved[0], rel=0.05)


@pytest.mark.parametrize("every", [0, 1])
def test_a_run_ends_after_as_many_steps_in_a_row_as_it_may_skip(monkeypatch, tmp_path, folders, every):
    faults = {number: Fault("g/l1", math.nan, "added") for number in range(1, 8)}
    trial = trial_of(monkeypatch, folders, "pix2pix", faults, health={"every": every, "skips": 3})
    with pytest.raises(TrainingError, match="the last 3 steps had a loss or a gradient that is not finite"):
        trial.run(tmp_path / "run")
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["step"] == 3


TWO_PROCESSES = '''
"""Train with a fault in the second process alone, and write what each process ends with."""
import math, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from translate.config import read_recipe
from translate.objectives import OBJECTIVES
from translate.training import loop, step

recipe, folder = read_recipe(sys.argv[1]), Path(sys.argv[2])
objective = OBJECTIVES[recipe.objective.name]
calls, states, trained, rank = 0, {}, None, None
generator_terms, discriminator_terms = objective.generator_terms, step.discriminator_terms
prepare, train_step, report = loop.prepare, loop.train_step, loop.report

def spoiled(terms):
    place = {2: "g/l1", 3: "d/gan"}.get(calls)
    return {**terms, place: terms[place] + math.inf} if rank == 1 and place in terms else terms

def prepared(*arguments):
    global trained, rank
    trained, rank = prepare(*arguments), arguments[2].process_index
    return trained

def stepped(objective, batch, *arguments):
    global calls
    calls += 1
    if rank == 1 and calls == 4:
        batch.source[0, 0, 0, 0] = math.nan
    return train_step(objective, batch, *arguments)

def reported(*arguments):
    for name, network in trained.networks.all().items():
        states.update({f"{calls}/{name}.{key}": value.clone() for key, value in network.state_dict().items()})
    report(*arguments)

objective.generator_terms = lambda *a: (made := generator_terms(*a))._replace(terms=spoiled(made.terms))
step.discriminator_terms = lambda *a: spoiled(discriminator_terms(*a))
loop.prepare, loop.train_step, loop.report = prepared, stepped, reported
loop.train(recipe, folder / "run", show_progress=False)
save_file({key: value.contiguous() for key, value in states.items()}, folder / f"process_{rank}.safetensors")
'''


def test_a_fault_in_one_process_is_skipped_by_both(tmp_path, paired_folder):
    recipe = small_recipe(
        paired_folder,
        generator={"name": "unet", "width": 4, "depth": 3, "upsample": "resize", "norm": "batch"},
        training={"steps": 5},
        schedule={"kind": "constant"},
        logging={"every": 1},
        health={"every": 2},
    )
    (tmp_path / "recipe.yaml").write_text(write_yaml(recipe))
    (tmp_path / "script.py").write_text(TWO_PROCESSES)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [*launch, *(str(path) for path in (tmp_path / "script.py", tmp_path / "recipe.yaml", tmp_path))]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / f"process_{rank}.safetensors") for rank in (0, 1))
    assert all(tensor.isfinite().all() for state in (one, two) for tensor in state.values())
    learned = [name for name in one if name.endswith(("weight", "bias"))]
    assert all(torch.equal(one[name], two[name]) for name in learned)
    records = read_log(tmp_path / "run" / "log.jsonl")
    for number, hit in ((2, {"generator"}), (3, {"discriminator"}), (4, set(SIDES)), (5, set())):
        for side in SIDES:
            names = [name.partition("/")[2] for name in learned if name.startswith(f"1/{side}")]
            before, after = ([one[f"{place}/{name}"] for name in names] for place in (number - 1, number))
            assert all(map(torch.equal, before, after)) == (side in hit), f"step {number}, {side}"
            assert records[number - 1][f"health/skipped/{side}"] == (side in hit)
    assert records[1]["health/nonfinite/g/l1"] == records[2]["health/nonfinite/d/gan"] == 0.5  # one of two processes
