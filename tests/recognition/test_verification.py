"""Verification accuracy, rates and comparisons on pairs worked out by hand."""

import numpy as np
import pytest

from bench.errors import UserError
from bench.recognition.verification import distances, mcnemar, pair_bootstrap, tar_at_far, verify

SAME = np.array([True, False] * 10)


def test_a_perfect_recogniser():
    found = verify(np.where(SAME, 0.5, 1.5), SAME)
    assert found.accuracy == 1.0
    assert found.error == 0.0
    assert found.right.all()


def test_each_fold_is_judged_at_the_threshold_of_the_others():
    distance = np.where(SAME, 0.5, 1.5)
    distance[:2] = [1.9, 2.1]  # the first fold alone would be right at 2.0
    found = verify(distance, SAME)
    assert found.folds.tolist() == [0.5] + [1.0] * 9
    assert not found.right[0]


def test_folds_are_positions():
    distance = np.linspace(0, 3.9, 20)
    shuffled = np.random.default_rng(0).permutation(20)
    same = np.arange(20) < 10
    assert verify(distance, same).folds.tolist() != verify(distance[shuffled], same[shuffled]).folds.tolist()


def test_pairs_are_neighbours():
    rows = np.array([[1.0, 0], [2, 0], [1, 0], [0, 3]])
    np.testing.assert_allclose(distances(rows), [0, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distances(np.ones((3, 2))), "3 embeddings do not form pairs"),
        (lambda: distances(np.array([[1.0, 0], [0, 0]])), "embedding 1 is zero"),
        (lambda: verify(np.ones(9), np.ones(9, bool)), "9 pairs cannot be split into 10 folds"),
        (lambda: tar_at_far(np.ones(9), np.ones(9, bool), 0.1), "both kinds are needed"),
        (lambda: mcnemar(np.ones(3, bool), np.ones(4, bool)), "not the same pairs"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_rates_at_a_threshold():
    distance = np.concatenate([np.full(10, 0.2), np.linspace(1, 1.9, 10)])
    same = np.arange(20) < 10
    found = tar_at_far(distance, same, 0.2)
    assert (found.tar, found.achieved) == (1.0, 0.2)
    assert found.threshold == pytest.approx(1 - 1.2 / 2)
    assert not found.honest
    assert tar_at_far(np.tile(distance, 5), np.tile(same, 5), 0.2).honest


def test_equal_impostor_scores_are_rejected():
    distance = np.array([0.1, 1.0, 1.0, 1.0, 1.0])
    assert tar_at_far(distance, np.arange(5) < 1, 0.5).achieved == 0.0


def test_the_interval_covers_the_share():
    right = np.arange(1000) % 10 != 0
    low, high = pair_bootstrap(right, seed=1)
    assert low < 0.9 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.9 * 0.1 / 1000), rel=0.1)
    assert pair_bootstrap(right, seed=1) == (low, high)


def test_recognisers_that_never_differ():
    assert mcnemar(SAME, SAME).p_value == 1.0
