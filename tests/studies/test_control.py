"""Control errors and skill: planted truths and values by hand."""

import numpy as np
import pytest

from bench.metrics.functional.flame import EXPRESSION, l2
from bench.studies import control as module
from bench.studies.control import EXPRESSION_ERRORS, EYELID_ERRORS, POSE_ERRORS, control, head_l1, shuffled

N = 60


@pytest.fixture(scope="module")
def asked():
    """Targets of 60 samples: expressions, and heads within 30 degrees."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((N, 58))
    features[:, 50:56] *= 0.3
    return features


SUBJECTS = np.repeat(np.arange(30), 2)


def measured(achieved, asked, measure):
    chance = shuffled(measure, achieved, asked, np.arange(N), seed=0)
    return control(measure(achieved, asked), chance, SUBJECTS)


MEASURES = {**EXPRESSION_ERRORS, **POSE_ERRORS, **EYELID_ERRORS}


@pytest.mark.parametrize("name", list(MEASURES))
def test_a_controlled_run_has_skill_near_1_and_an_uncontrolled_one_near_0(asked, name):
    rng = np.random.default_rng(1)
    near = measured(asked + 0.01 * rng.standard_normal(asked.shape), asked, MEASURES[name])
    assert near.skill > 0.9
    assert near.low <= near.skill <= near.high
    unrelated = np.roll(asked, 7, axis=0) + 0.01 * rng.standard_normal(asked.shape)
    free = measured(unrelated, asked, MEASURES[name])
    assert free.low < 0.05
    assert abs(free.skill) < 0.2
    assert measured(asked, asked, MEASURES[name]).skill == pytest.approx(1)


def test_the_error_grows_with_a_planted_offset(asked):
    errors = [measured(asked + offset, asked, EXPRESSION_ERRORS["expression_l1"]).error for offset in (0.1, 0.2, 0.4)]
    assert errors == pytest.approx([0.1, 0.2, 0.4])


def test_failures_are_counted_and_shown_at_chance(asked):
    errors, chance = np.full(N, 1.0), np.full(N, 4.0)
    errors[:15] = np.nan
    found = control(errors, chance, SUBJECTS)
    assert (found.n, found.n_failed, found.error, found.skill) == (45, 15, 1.0, 0.75)
    assert found.skill_failures_at_chance == pytest.approx(0.75 * 45 / 60)
    nothing = control(np.full(N, np.nan), chance, SUBJECTS)
    assert (nothing.error, nothing.skill, nothing.n, nothing.n_failed) == (None, None, 0, N)


def test_skill_by_hand_with_its_interval():
    found = control(np.array([1.0, 2, 3, 2]), np.array([4.0, 4, 4, 4]), np.array(["a", "a", "b", "b"]))
    assert (found.error, found.shuffled, found.skill) == (2.0, 4.0, 0.5)
    # residuals 1-2, 2-2 of a and 3-2, 2-2 of b: sums -1, 1; variance 2 * 2 / 1 / 16^2
    assert found.high - found.skill == pytest.approx(1.959964 * (4 / 256) ** 0.5)
    assert found.note == "only 2 subjects"
    assert control(np.ones(2), np.ones(2) * 2, np.array(["a", "a"])).low is None


def test_a_sample_is_never_held_against_its_own_target():
    values = np.zeros((4, 56))
    values[:, 0] = [0, 0, 3, 3]
    found = shuffled(l2(EXPRESSION), values, values, np.array([0, 0, 1, 1]), seed=0)
    assert found.tolist() == [3, 3, 3, 3]
    alone = shuffled(l2(EXPRESSION), values[:2], values[:2], np.array([0, 0]), seed=0)
    assert np.isnan(alone).all()
    assert control(np.zeros(2), alone, np.array(["a", "b"])).note == "no other target to compare with"


def test_many_samples_are_held_against_a_seeded_choice(asked, monkeypatch):
    measure = EXPRESSION_ERRORS["expression_l2"]
    whole = shuffled(measure, asked, asked, np.arange(N), seed=0).mean()
    monkeypatch.setattr(module, "SHIFTS", 20)
    some = shuffled(measure, asked, asked, np.arange(N), seed=0)
    assert some.mean() == pytest.approx(whole, rel=0.02)
    assert (some == shuffled(measure, asked, asked, np.arange(N), seed=0)).all()
    assert (some != shuffled(measure, asked, asked, np.arange(N), seed=1)).any()


def test_angles_go_the_shorter_way_round():
    a, b = np.zeros((2, 1, 56))
    a[0, 52], b[0, 52] = np.radians(170), np.radians(-170)
    assert head_l1(a, b)[0] == pytest.approx(20 / 3)
