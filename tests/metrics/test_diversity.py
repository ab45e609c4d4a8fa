"""LPIPS, expression and pose diversity and copying, by hand and against loops."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from bench.metrics import copying, copying_lpips, expression_diversity, lpips_diversity, pose_diversity
from bench.metrics.functional.flame import geodesic, quaternions
from bench.metrics.shared.diversity import listed_pairs, pairs_within
from bench.metrics.shared.thresholds import verified
from bench.testing.world import evaluation, fail
from tests.metrics.world import by_hand, scores

NEEDS_LEVEL = 1e-2


def samples_of(counts, status="ok"):
    return [(item, k, status, [1.0, 0.0]) for item, number in counts.items() for k in range(number)]


def lpips_world():
    """a: three samples, distances 0.1, 0.2, 0.6; b: two, 0.5; c: one is left; subjects A, A, C."""
    references = [("a", "A", "ok", [1, 0]), ("b", "A", "ok", [1, 0]), ("c", "C", "ok", [1, 0])]
    samples = [*samples_of({"a": 3, "b": 2, "c": 1}), ("c", 1, "no_face", None)]
    table = pd.DataFrame(
        [("a", 0, 1, 0.1), ("a", 2, 0, 0.2), ("a", 1, 2, 0.6), ("b", 0, 1, 0.5)], columns=["item", "i", "j", "value"]
    )
    return by_hand(samples, references, pairs={"lpips": table})


def test_lpips_by_hand():
    result = lpips_diversity.compute(lpips_world())
    found = scores(result)
    items, pairs = found["lpips", "mean_items"], found["lpips", "mean_pairs"]
    assert items.value == pytest.approx((0.3 + 0.5) / 2)
    assert pairs.value == pytest.approx(1.4 / 4)
    assert (items.n, items.n_failed, items.n_items, items.n_pairs) == (6, 1, 2, 4)
    assert "1 samples with a face are in no pair" in items.note
    assert items.low is None
    assert "1 subject" in items.note
    values = result.per_item.set_index("item")["value"]
    assert values["a"] == pytest.approx(0.3)
    assert np.isnan(values["c"])


def test_a_pair_counts_once_and_only_between_valid_samples():
    given = lpips_world()
    table = given.pairs["lpips"]
    twice = pd.concat([table, table.assign(i=table["j"], j=table["i"]), table.assign(j=table["i"])])
    odd = pd.DataFrame([("a", 0, 9, 0.9), ("z", 0, 1, 0.9), ("c", 0, 1, 0.9)], columns=table.columns)
    again = replace(given, pairs={"lpips": pd.concat([twice, odd], ignore_index=True)})
    one, two = (scores(lpips_diversity.compute(g))["lpips", "mean_pairs"] for g in (given, again))
    assert (one.value, one.n_pairs) == (two.value, two.n_pairs)


def test_failed_pair_is_left_out():
    given = lpips_world()
    table = given.pairs["lpips"].assign(value=[0.1, 0.2, np.nan, 0.5])
    found = scores(lpips_diversity.compute(replace(given, pairs={"lpips": table})))
    assert found["lpips", "mean_items"].value == pytest.approx((0.15 + 0.5) / 2)
    assert found["lpips", "mean_items"].n_pairs == 3


def test_foreground_of_the_paired_crops():
    """Of item a the crops keep 0.2, 0.4 and 0.6, of b 0.5 and 1; what is in no pair has no part in it."""
    given = lpips_world()
    kept = {"foreground_i": [0.2, 0.6, 0.4, 0.5], "foreground_j": [0.4, 0.2, 0.6, 1.0]}
    found = scores(lpips_diversity.compute(replace(given, pairs={"lpips": given.pairs["lpips"].assign(**kept)})))
    share = found["lpips", "foreground_mean_items"]
    assert share.value == pytest.approx((0.4 + 0.75) / 2)
    assert (share.n, share.n_failed, share.n_items, share.n_pairs) == (6, 1, 2, 4)
    assert ("lpips", "foreground_mean_items") not in scores(lpips_diversity.compute(given))


def test_every_lpips_network_is_a_variant():
    given = lpips_world()
    table = given.pairs["lpips"]
    reference = table[["item", "i", "value"]]
    given = replace(
        given,
        pairs={"alex": table, "vgg": table},
        to_reference={"alex": reference},
        roles={"alex": "lpips", "vgg": "lpips"},
    )
    assert {variant for variant, _ in scores(lpips_diversity.compute(given))} == {"alex", "vgg"}


def test_pairs_within_are_all_combinations():
    rng = np.random.default_rng(0)
    item, valid = rng.integers(0, 9, 60), rng.random(60) < 0.7
    expected = {(i, j) for i, j in combinations(range(60), 2) if item[i] == item[j] and valid[i] and valid[j]}
    first, second = pairs_within(item, valid)
    assert len(first) == len(expected)
    assert {tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)} == expected


def test_verified_pairs_are_those_of_two_verified_samples():
    given = evaluation(items=60, keep=0.5)
    mask = next(one.samples for one in verified(given) if (one.recogniser, one.level) == ("arcface", "1e-2"))
    assert 0.05 < mask.mean() < 0.95
    table, samples = given.pairs["lpips"], given.samples
    row = {key: k for k, key in enumerate(zip(samples["item"], samples["index"], strict=True))}
    by_item = {}
    for item, i, j, value in table[["item", "i", "j", "value"]].itertuples(index=False):
        if mask[row[item, i]] and mask[row[item, j]]:
            by_item.setdefault(item, []).append(value)
    score = scores(lpips_diversity.compute(given))["lpips", "mean_items[verified arcface@1e-2]"]
    assert score.value == pytest.approx(np.mean([np.mean(v) for v in by_item.values()]))
    assert (score.n_items, score.n_pairs) == (len(by_item), sum(map(len, by_item.values())))


def test_without_threshold_no_verified_pairs():
    score = scores(lpips_diversity.compute(lpips_world()))["lpips", "mean_items[verified net@1e-3]"]
    assert score.value is None
    assert "pairs of references" in score.note


# FLAME


def flame(expression=0.0, head=(0, 0, 0), jaw=(0, 0, 0)):
    return np.concatenate([np.full(50, expression), head, jaw])


def test_flame_by_hand():
    right, up = (0, np.pi / 2, 0), (np.pi / 2, 0, 0)
    samples = [
        ("a", 0, "ok", flame()),
        ("a", 1, "ok", flame(1.0, right, (0.3, 0, 0))),
        ("a", 2, "ok", flame(0.0, up, (0, 0.4, 0))),
    ]
    given = by_hand(samples, [("a", "A", "ok", flame())], role="flame")
    expression = scores(expression_diversity.compute(given))["flame", "mean_items"]
    assert expression.value == pytest.approx(2 * np.sqrt(50) / 3, rel=1e-6)
    pose = scores(pose_diversity.compute(given))
    quarter = np.pi / 2
    head = [quarter, quarter, quarter * np.sqrt(2)]
    jaw = [0.3, 0.4, 0.5]
    assert pose["flame", "global3_mean_items"].value == pytest.approx(np.mean(head), rel=1e-6)
    assert pose["flame", "jaw3_mean_items"].value == pytest.approx(np.mean(jaw), rel=1e-6)
    assert pose["flame", "mean_items"].value == pytest.approx(np.mean(np.hypot(head, jaw)), rel=1e-6)
    # between "right" and "up" lies a third of a turn, which the difference of the vectors does not show
    assert pose["flame", "geodesic_degrees_mean_items"].value == pytest.approx((90 + 90 + 120) / 3, rel=1e-6)


def matrix(turn):
    angle = np.linalg.norm(turn)
    x, y, z = turn / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def test_geodesic_is_the_angle_of_the_matrices():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-3, 3, (2, 200, 3))
    traces = [np.trace(matrix(p).T @ matrix(q)) for p, q in zip(a, b, strict=True)]
    expected = np.arccos(np.clip((np.array(traces) - 1) / 2, -1, 1))
    np.testing.assert_allclose(geodesic(a, b), expected, atol=1e-7)


def test_geodesic_at_the_ends():
    turn = np.array([[0.3, -0.2, 0.1]])
    assert geodesic(turn, turn) == 0
    assert geodesic(turn, turn * (1 + 1e-12)) == pytest.approx(np.linalg.norm(turn) * 1e-12, rel=1e-3)
    half = np.array([[np.pi, 0, 0]])
    np.testing.assert_allclose(geodesic(half, np.zeros((1, 3))), np.pi, rtol=1e-15)
    np.testing.assert_allclose(geodesic(half, -half), 0, atol=1e-15)  # the same rotation
    np.testing.assert_allclose(np.linalg.norm(quaternions(turn)), 1, rtol=1e-15)


def test_flame_feature_of_another_size_is_refused():
    given = by_hand([("a", 0, "ok", [1.0, 2.0])], [("a", "A", "ok", [1, 2])], role="flame")
    score = expression_diversity.compute(given).scores[0]
    assert (score.value, score.note) == (None, "2 numbers per face; a FLAME feature has 56")


@pytest.mark.parametrize("metric", [expression_diversity, pose_diversity])
def test_failures_are_no_feature_of_another_size(metric):
    given = by_hand([("a", k, "no_face", None) for k in range(3)], [("a", "A", "ok", [0.0])], role="flame")
    found = scores(metric.compute(given))["flame", "mean_items"]
    assert (found.value, found.n, found.n_failed) == (None, 0, 3)
    assert found.note == "no item with 2 valid samples"


def test_neutral_face_is_a_feature():
    """All zeros is a face at rest, not a missing one."""
    samples = [("a", 0, "ok", flame()), ("a", 1, "ok", flame())]
    score = scores(pose_diversity.compute(by_hand(samples, [("a", "A", "ok", flame())], role="flame")))
    assert (score["flame", "mean_items"].value, score["flame", "mean_items"].n) == (0.0, 2)


# Copying


def test_copying_by_hand():
    samples = [("a", 0, "ok", [1, 0]), ("a", 1, "ok", [0, 2]), ("a", 2, "no_face", None)]
    result = copying.compute(by_hand(samples, [("a", "A", "ok", [3, 0])], role="dinov2"))
    assert result.scores[0].value == 0.5
    assert (result.scores[0].n, result.scores[0].n_failed) == (2, 1)
    np.testing.assert_array_equal(result.per_sample["copying[dinov2]"], [1, 0, np.nan])


def test_copying_lpips_by_hand():
    given = lpips_world()
    table = pd.DataFrame([("a", 0, 0.25), ("b", 1, 0.75), ("c", 1, 0.9), ("q", 0, 0.1)], columns=["item", "i", "value"])
    result = copying_lpips.compute(replace(given, pairs={}, to_reference={"lpips": table}, roles={"lpips": "lpips"}))
    score = result.scores[0]
    assert (score.value, score.n, score.n_failed) == (0.5, 2, 5)  # c1 has no face; four have no distance
    assert "4 samples with a face but without this distance" in score.note


def test_failed_samples_are_in_no_pair():
    given = evaluation(items=4)
    failed = fail(given, [0], "no_face")
    unremoved = replace(failed, pairs=given.pairs)  # a distance listed for a failed sample is not believed
    assert (
        len(listed_pairs(unremoved, unremoved.pairs["lpips"], (failed.samples["status"] == "ok").to_numpy()).values)
        == 36
    )
