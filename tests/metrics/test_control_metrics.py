"""Control of expression and pose: planted truths, and samples of which nothing was asked."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench.metrics.expression_control import METRIC as EXPRESSION
from bench.metrics.pose_control import METRIC as POSE
from bench.metrics.protocol import Features
from bench.testing.world import evaluation, fail
from tests.metrics.world import scores

CASES = [(EXPRESSION, "expression_l2"), (EXPRESSION, "jaw_l2"), (POSE, "head_degrees"), (POSE, "head_l1_degrees")]


def asked_for(achieved, asked):
    """An evaluation whose samples show one thing and were asked for another."""
    given = evaluation(items=len(asked) // 5)
    old = given.features["flame"]
    flame = Features(achieved[:, :56].astype(np.float32), old.references, old.targets)
    samples = given.samples.assign(asked=pd.Series(list(asked), dtype=object))
    return replace(given, samples=samples, features={**given.features, "flame": flame})


@pytest.fixture(scope="module")
def asked():
    found = np.random.default_rng(0).standard_normal((100, 58))
    found[:, 50:56] *= 0.3
    return found


def measured(metric, given, statistic):
    return scores(metric.compute(given))["flame", statistic]


@pytest.mark.parametrize(("metric", "error"), CASES)
def test_a_controlled_run_has_skill_near_1_and_an_uncontrolled_one_near_0(asked, metric, error):
    noise = 0.02 * np.random.default_rng(1).standard_normal(asked.shape)
    near = measured(metric, asked_for(asked + noise, asked), f"{error}_skill")
    assert near.value > 0.9
    assert near.low < near.value < near.high
    far = measured(metric, asked_for(np.roll(asked, 37, axis=0), asked), f"{error}_skill")
    assert abs(far.value) < 0.15


def test_the_error_grows_with_a_planted_offset(asked):
    found = [measured(EXPRESSION, asked_for(asked + by, asked), "expression_l1").value for by in (0.1, 0.2, 0.4)]
    assert found == pytest.approx([0.1, 0.2, 0.4], abs=1e-6)


def test_eyelids_count_where_a_regressor_reads_them(asked):
    given = asked_for(asked, asked)
    assert ("flame", "eyelids_l2") not in scores(EXPRESSION.compute(given))
    old = given.features["flame"]
    sides = {
        f"flame:{side}": Features((asked[:, [56 + k]] + by).astype(np.float32), old.references, old.targets)
        for k, (side, by) in enumerate([("eyelid_left", 0.3), ("eyelid_right", -0.4)])
    }
    given = replace(given, features={**given.features, **sides})
    assert measured(EXPRESSION, given, "eyelids_l2").value == pytest.approx(0.5, abs=1e-6)
    assert measured(EXPRESSION, given, "eyelids_l2_skill").value > 0.5
    assert measured(EXPRESSION, given, "expression_l2").value == pytest.approx(0, abs=1e-6)


def test_failures_are_in_no_error_and_at_chance_in_the_last_number(asked):
    given = fail(asked_for(asked, asked), range(25), "no_face")
    error = measured(EXPRESSION, given, "expression_l2")
    assert (error.value, error.n, error.n_failed) == (pytest.approx(0, abs=1e-6), 75, 25)
    assert measured(EXPRESSION, given, "expression_l2_skill").value == pytest.approx(1)
    assert measured(EXPRESSION, given, "expression_l2_skill_failures_as_chance").value == pytest.approx(0.75)


def test_a_sample_of_which_nothing_was_asked_does_not_count(asked):
    some = asked.copy()
    some[:40, 50:53] = np.nan
    given = fail(asked_for(asked, some), range(10), "no_face")
    found = measured(POSE, given, "head_degrees")
    assert (found.n, found.n_failed) == (60, 0)
    assert measured(EXPRESSION, given, "expression_l2").n_failed == 10


def test_each_number_has_its_direction():
    directions = {
        name: POSE.direction(name) for name in ("head_degrees", "head_degrees_shuffled", "head_degrees_skill")
    }
    assert list(directions.values()) == [False, None, True]
