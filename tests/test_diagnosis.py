"""From records to verdicts, remedies and actions."""

import pytest
from conftest import small_recipe

from translate.config import check_recipe, read_recipe, recipe_names
from translate.health.diagnosis import diagnose, verdicts
from translate.health.policy import (
    AUGMENT_LARGEST,
    R1_LARGEST,
    RATE_LARGEST,
    RATE_SMALLEST,
    RESTORES,
    Adjustments,
    next_action,
)
from translate.health.remedies import KNOWN, remedies_for
from translate.health.rules import examine
from translate.health.verdict import (
    BALANCED,
    COLLAPSE,
    DIVERGED,
    GUESSING,
    OSCILLATING,
    OVERFITTING,
    SICK,
    WARMING_UP,
    WINNING,
)

HEALTHY = {
    "g/gan": 0.5,
    "g/l1": 3.0,
    "d/gan": 0.18,
    "health/real_accuracy": 0.7,
    "health/fake_accuracy": 0.8,
    "health/train_accuracy": 0.7,
    "health/val_accuracy": 0.68,
    "health/train_logit": 0.7,
    "health/val_logit": 0.68,
    "health/fake_logit": 0.3,
    "health/gradient_ratio": 0.6,
    "health/diversity": 0.7,
    "health/diversity_of_inputs": 0.6,
    "health/checkerboard": 1.5,
    "health/skipped/generator": 0.0,
    "health/skipped/discriminator": 0.0,
}


@pytest.fixture
def recipe(tmp_path):
    return small_recipe(tmp_path, health={"warmup": 100, "window": 3})


def records(*changes, every=50, count=8):
    """`count` healthy records, the last of which are changed."""
    found = [{"step": every * (number + 1), **HEALTHY} for number in range(count)]
    for record, change in zip(found[len(found) - len(changes) :], changes, strict=True):
        record |= change
    return found


def suffixed(record, suffix):
    return {name if name == "step" else f"{name}{suffix}": value for name, value in record.items()}


PLANTED = {
    WINNING: {
        "d/gan": 0.01,
        "health/real_accuracy": 0.99,
        "health/fake_accuracy": 1.0,
        "health/train_accuracy": 0.99,
        "health/val_accuracy": 0.98,
    },
    COLLAPSE: {"health/diversity": 0.02},
    OVERFITTING: {"health/val_accuracy": 0.1, "health/val_logit": 0.4},
    GUESSING: {
        "d/gan": 0.25,
        "health/real_accuracy": 0.52,
        "health/fake_accuracy": 0.49,
        "health/gradient_ratio": 0.001,
    },
    DIVERGED: {"d/gan": 1e6},
}


@pytest.mark.parametrize("verdict", PLANTED)
def test_a_failure_that_fills_the_window_is_named_with_its_evidence(recipe, verdict):
    found = diagnose(records(*[PLANTED[verdict]] * 4), recipe)
    assert found.verdict == verdict
    assert found.evidence
    assert found.sick
    assert found.remedies


def test_accuracies_that_change_from_record_to_record_are_an_oscillation(recipe):
    up = {"health/real_accuracy": 0.95, "health/fake_accuracy": 0.3, "d/gan": 0.4}
    down = {"health/real_accuracy": 0.3, "health/fake_accuracy": 0.95, "d/gan": 0.1}
    found = diagnose(records(up, down, up, down), recipe)
    assert found.verdict == OSCILLATING
    assert found.evidence[0] == (
        "the discriminator is right on 30% to 95% of the real and 30% to 95% of the fake patches, from record to record"
    )
    assert found.evidence[1] == "its loss goes between 0.1 and 0.4"


def test_a_healthy_run_is_balanced_since_its_warm_up(recipe):
    found = diagnose(records(), recipe)
    assert (found.verdict, found.since, found.remedies, found.hints) == (BALANCED, 200, (), ())
    assert verdicts(records(), recipe)[:4] == [(50, WARMING_UP), (100, WARMING_UP), (150, WARMING_UP), (200, BALANCED)]


def test_since_is_the_first_record_of_the_last_stretch(recipe):
    sick = [PLANTED[COLLAPSE]] * 6
    assert (
        diagnose(records(*sick, count=12), recipe).since
        == 500  # 350 is the first; 3 fill a window, a fourth repeats it
    )  # 350 is the first; the third brings the mean of 4 below


def test_networks_that_went_back_are_young_again(recipe):
    young = [{**record, "health/age": record["step"] - 350} for record in records(*[PLANTED[WINNING]] * 4)]
    assert diagnose(young, recipe).verdict == WARMING_UP  # 400 - 350 is less than 100
    assert diagnose([{**record, "health/age": record["step"] - 300} for record in young], recipe).verdict == WINNING


def test_one_bad_record_is_no_verdict(recipe):
    for change in (PLANTED[WINNING], PLANTED[GUESSING], PLANTED[COLLAPSE]):
        assert diagnose(records(change), recipe).verdict == BALANCED


@pytest.mark.parametrize("suffix", ["_a", "_b"])
@pytest.mark.parametrize("verdict", PLANTED)
def test_the_worse_one_of_two_discriminators_counts(recipe, verdict, suffix):
    other = "_b" if suffix == "_a" else "_a"
    both = [
        suffixed(record, suffix) | suffixed(HEALTHY | {"step": record["step"]}, other)
        for record in records(*[PLANTED[verdict]] * 4)
    ]
    found = diagnose(both, recipe)
    assert found.verdict == verdict
    assert any(f" of {suffix[1:]}" in text or suffix in text for text in found.evidence)


def test_a_discriminator_that_is_right_on_unseen_images_too_does_not_overfit(recipe):
    assert diagnose(records(*[PLANTED[WINNING]] * 4), recipe).verdict == WINNING
    learned = {**PLANTED[WINNING], "health/val_accuracy": 0.3, "health/val_logit": 0.4}
    assert diagnose(records(*[learned] * 4), recipe).verdict == OVERFITTING


def test_a_generator_that_is_taught_nothing_is_not_called_collapsed(recipe):
    untaught = {**PLANTED[WINNING], "health/diversity": 0.2}
    assert diagnose(records(*[untaught] * 4), recipe).verdict == WINNING
    assert diagnose(records(*[{**untaught, "health/diversity": 0.01}] * 4), recipe).verdict == COLLAPSE


def test_a_discriminator_that_is_unsure_of_unseen_images_does_not_win(recipe):
    unsure = {**PLANTED[WINNING], "health/val_accuracy": 0.7}
    assert diagnose(records(*[unsure] * 4), recipe).verdict == BALANCED


def test_a_diversity_that_comes_and_goes_is_no_collapse(recipe):
    assert diagnose(records(*[{"health/diversity": 0.02}, {"health/diversity": 0.6}] * 2), recipe).verdict == BALANCED


def test_an_undecided_discriminator_whose_term_still_counts_is_in_balance(recipe):
    equal = {**PLANTED[GUESSING], "health/gradient_ratio": 0.5}
    assert diagnose(records(*[equal] * 4), recipe).verdict == BALANCED


def test_skipped_steps_are_a_divergence_at_once_also_in_the_warm_up(recipe):
    lost = {"health/nonfinite/g/l1": 1.0, "health/skipped/generator": 1.0}
    found = diagnose(records(lost, count=2), recipe)
    assert found.verdict == DIVERGED
    assert found.evidence == (
        "g/l1 was not finite in 100% of the steps",
        "50 of the last 100 steps of the generator were skipped",
    )


def test_the_search_for_a_loss_scale_is_no_divergence(tmp_path):
    """Half precision skips its first steps, whatever a record covers, and single ones later."""
    recipe = small_recipe(tmp_path, training={"precision": "fp16"}, health={"warmup": 0, "window": 3})
    for skips in ([1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1]):
        steps = [{"step": i + 1, **HEALTHY, "health/skipped/generator": float(s)} for i, s in enumerate(skips)]
        assert DIVERGED not in {verdict for _, verdict in verdicts(steps, recipe)}


def test_a_single_skipped_step_is_not(recipe):
    found = diagnose(records({"health/nonfinite/g/l1": 0.02, "health/skipped/generator": 0.02}), recipe)
    assert found.verdict == BALANCED


def test_outputs_far_beyond_model_space_are_a_divergence(recipe):
    assert diagnose(records(*[{"health/diversity": 27.0}] * 2), recipe).verdict == DIVERGED


def test_a_critic_without_a_bound_is_not_called_diverged_or_sure(tmp_path):
    recipe = small_recipe(tmp_path, objective={"name": "pix2pix", "adversarial": "wasserstein"}, health={"warmup": 100})
    ahead = {**PLANTED[WINNING], "d/gan": -900.0}
    assert examine(records(*[ahead] * 6)[-6:], recipe).verdict == BALANCED


def test_an_objective_without_a_discriminator_has_a_verdict_too(tmp_path):
    recipe = check_recipe(
        {"generator": {"name": "unet"}, "objective": {"name": "pixel"}, "health": {"warmup": 100, "window": 3}}
    )
    plain = [{"step": r["step"], "g/l1": 3.0, "health/diversity": 0.7} for r in records()]
    assert diagnose(plain, recipe).verdict == BALANCED
    collapsed = [{**record, "health/diversity": 0.01} for record in plain]
    assert diagnose(collapsed, recipe).verdict == COLLAPSE


def test_a_run_without_signals_and_without_records(recipe):
    losses = [{"step": r["step"], "g/l1": 3.0, "d/gan": 0.2} for r in records()]
    assert diagnose(losses, recipe).verdict == BALANCED
    assert diagnose(losses, recipe).evidence == ()
    empty = diagnose([], recipe)
    assert (empty.verdict, empty.since) == (WARMING_UP, None)
    assert diagnose([{"step": 5, "val/psnr": 9.0}], recipe).since is None


def test_the_window_begins_anew_after_an_action(recipe):
    found = verdicts(records({"actions": ["something"]}, {}, {}, {}, {}), recipe)  # a window of 3, twice: 4 records
    assert [verdict for _, verdict in found[-5:]] == [BALANCED, WARMING_UP, WARMING_UP, WARMING_UP, BALANCED]


def test_a_checkerboard_is_a_hint(recipe):
    found = diagnose(records(*[{"health/checkerboard": 30.0}] * 4), recipe)
    assert found.verdict == BALANCED
    assert found.hints[0].endswith(": generator.upsample resize avoids it") == (recipe.generator.upsample != "resize")
    assert "30 times the energy of real images at the frequencies of a checkerboard" in found.hints[0]


@pytest.mark.parametrize("verdict", SICK)
@pytest.mark.parametrize("name", [name for name in recipe_names() if read_recipe(name).discriminator])
def test_every_remedy_is_a_key_that_the_recipe_takes(verdict, name):
    recipe = read_recipe(name)
    for remedy in remedies_for(verdict, recipe):
        overrides = {remedy.key: remedy.value}
        if remedy.key == "discriminator.minibatch_std":
            overrides["training.batch_size"] = "4"
        changed = read_recipe(name, overrides).to_json()
        assert changed != recipe.to_json(), remedy
        assert remedy.why


def test_what_a_recipe_has_is_not_advised(tmp_path):
    plain = {remedy.key for remedy in remedies_for(WINNING, small_recipe(tmp_path))}
    assert {"penalty.kind", "discriminator.spectral_norm", "instance_noise.sigma"} <= plain
    equipped = small_recipe(
        tmp_path,
        discriminator={"name": "patchgan", "width": 4, "layers": 1, "spectral_norm": True},
        penalty={"kind": "r1"},
        instance_noise={"sigma": 0.2},
    )
    left = {remedy.key for remedy in remedies_for(WINNING, equipped)}
    assert not left & {"penalty.kind", "discriminator.spectral_norm", "instance_noise.sigma"}
    assert "penalty.weight" in left


def test_every_failure_has_remedies():
    assert set(KNOWN) == set(SICK)


def exhaust(verdict, weight=0.0):
    """All states that the policy goes through."""
    states = [Adjustments()]
    while (action := next_action(verdict, states[-1], weight, paired=True)) is not None:
        states.append(action.adjustments)
        assert len(states) < 20
    return states


@pytest.mark.parametrize("verdict", SICK)
def test_the_policy_ends_and_stays_within_its_bounds(verdict):
    states = exhaust(verdict)
    assert len(states) > 1
    for state in states:
        assert RATE_SMALLEST <= state.generator_rate <= RATE_LARGEST
        assert RATE_SMALLEST <= state.discriminator_rate <= RATE_LARGEST
        assert state.r1 <= R1_LARGEST
        assert state.augment <= AUGMENT_LARGEST
        assert state.restores <= RESTORES


def test_what_the_policy_does_first():
    assert exhaust(WINNING)[:4] == [Adjustments(r1=weight) for weight in (0.0, 10.0, 40.0, 160.0)]
    assert exhaust(WINNING)[4] == Adjustments(r1=160.0, discriminator_rate=0.5)
    assert exhaust(OVERFITTING)[1] == Adjustments(augment=0.4, r1=10.0)
    assert exhaust(GUESSING)[1:] == [Adjustments(discriminator_rate=2.0), Adjustments(discriminator_rate=4.0)]
    assert exhaust(OSCILLATING)[1] == Adjustments(r1=10.0, generator_rate=0.25, discriminator_rate=0.25)
    assert exhaust(COLLAPSE)[1] == Adjustments(matching=10.0, restores=1)
    assert exhaust(COLLAPSE)[2] == Adjustments(matching=10.0, generator_rate=0.5, restores=2)
    assert exhaust(DIVERGED)[1] == Adjustments(generator_rate=0.1, discriminator_rate=0.1, restores=1)
    actions = [next_action(verdict, Adjustments(), 0.0, paired=True) for verdict in (WINNING, COLLAPSE, DIVERGED)]
    assert [action.restore for action in actions] == [False, True, True]


def test_r1_starts_above_the_recipes_own_and_never_falls_below_it():
    assert exhaust(WINNING, weight=10.0)[1].r1 == 40.0
    assert exhaust(WINNING, weight=100.0)[1].r1 == 160.0
    assert exhaust(WINNING, weight=200.0)[1].r1 == 200.0


def test_features_of_pictures_that_do_not_belong_together_are_not_matched():
    action = next_action(COLLAPSE, Adjustments(), 0.0, paired=False)
    assert action.adjustments == Adjustments(generator_rate=0.5, restores=1)
    advised = {remedy.key for remedy in remedies_for(COLLAPSE, read_recipe("cyclegan"))}
    assert "objective.feature_matching_weight" not in advised
    assert "objective.cycle_weight" in advised


def test_a_balanced_run_is_left_alone():
    assert next_action(BALANCED, Adjustments(), 0.0, paired=True) is None
    assert next_action(WARMING_UP, Adjustments(), 0.0, paired=True) is None
