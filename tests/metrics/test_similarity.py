"""ID similarity, similarity to targets, copy-paste, retrieval and verification, by hand and against loops."""

from dataclasses import replace

import numpy as np
import pytest

from bench.metrics import (
    copy_paste,
    copying,
    failure_to_acquire,
    groups,
    id_similarity,
    retrieval,
    target_similarity,
    verification,
    within_similarity,
)
from bench.metrics.functional.thresholds import impostor_scores, threshold_at
from bench.metrics.protocol import Features
from bench.testing.world import evaluation, fail
from tests.metrics.world import by_hand, scores


def at(degrees):
    return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]


def two_people():
    """a: cosines 1, 0.5 and a failure; b: 0 and unavailable; c's reference has no face."""
    samples = [
        ("a", 0, "ok", at(0)),
        ("a", 1, "ok", [2 * x for x in at(60)]),
        ("a", 2, "no_face", None),
        ("b", 0, "ok", at(180)),
        ("b", 1, "unavailable", None),
        ("c", 0, "reference_failed", None),
        ("c", 1, "reference_failed", None),
    ]
    references = [("a", "A", "ok", at(0)), ("b", "B", "ok", at(90)), ("c", "C", "no_face", None)]
    targets = [("A", "ok", at(60)), ("A", "ok", at(120)), ("A", "no_face", None), ("B", "no_face", None)]
    return by_hand(samples, references, targets)


def test_id_similarity_by_hand():
    result = id_similarity.compute(two_people())
    found = scores(result)
    detected, zeroed = found["net", "mean_detected"], found["net", "mean_failures_as_zero"]
    assert detected.value == pytest.approx((1 + 0.5 + 0) / 3, abs=1e-7)
    assert (detected.n, detected.n_failed, detected.n_unavailable) == (3, 1, 1)
    assert zeroed.value == pytest.approx(1.5 / 4, abs=1e-7)
    assert zeroed.n == 4
    assert found["net", "q50"].value == pytest.approx(0.5, abs=1e-7)
    assert found["net", "q05"].value == pytest.approx(0.05, abs=1e-7)
    assert found["net", "detection_rate"].value == 0.75
    assert found["net", "ineligible_items"].value == 1.0
    column = result.per_sample["id_similarity[net]"]
    np.testing.assert_allclose(column, [1, 0.5, np.nan, 0, np.nan, np.nan, np.nan], atol=1e-7)
    items = result.per_item.pivot(index="item", columns="statistic", values="value")
    np.testing.assert_allclose(items.loc["a"], [0.75, 0.5], atol=1e-7)
    assert list(items.index) == ["a", "b"]


def test_an_item_of_failures_stays_in_the_table():
    given = fail(two_people(), [0, 1], "no_face")
    items = id_similarity.compute(given).per_item.pivot(index="item", columns="statistic", values="value")
    assert np.isnan(items.loc["a", "mean_detected"])
    assert items.loc["a", "mean_failures_as_zero"] == 0


def test_id_similarity_is_blind_to_length():
    given = evaluation()
    part = given.features["arcface"]
    longer = Features(part.samples * 7, part.references * 0.1, part.targets)
    one = id_similarity.compute(given).scores
    two = id_similarity.compute(replace(given, features=given.features | {"arcface": longer})).scores
    for a, b in zip(one, two, strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-6)


def test_target_similarity_by_hand():
    found = scores(target_similarity.compute(two_people()))
    mean, best, real = (found["net", name] for name in ("mean_detected", "max_detected", "real_level"))
    # A's samples stand at 0 and 60 degrees, its targets at 60 and 120: means (0.5 - 0.5) / 2 and (1 + 0.5) / 2
    assert mean.value == pytest.approx((0 + 0.75) / 2, abs=1e-6)
    assert best.value == pytest.approx((0.5 + 1) / 2, abs=1e-6)
    assert real.value == pytest.approx(0, abs=1e-6)
    assert (mean.n, mean.n_failed, mean.n_items) == (2, 1, 1)
    assert "1 items have no usable target" in mean.note
    assert found["net", "mean_failures_as_zero"].value == pytest.approx(0.75 / 3, abs=1e-6)


def test_copy_paste_by_hand():
    samples = [("a", 0, "ok", at(0)), ("a", 1, "ok", at(60)), ("a", 2, "ok", at(30)), ("b", 0, "ok", at(0))]
    references = [("a", "A", "ok", at(0)), ("b", "B", "ok", at(0))]
    targets = [("A", "ok", at(60)), ("A", "ok", at(0)), ("B", "ok", at(0))]  # two of them are the reference itself
    result = copy_paste.compute(by_hand(samples, references, targets))
    np.testing.assert_allclose(result.per_sample["copy_paste[net]"], [1, -1, 0, np.nan], atol=1e-6)
    score = result.scores[0]
    assert score.value == pytest.approx(0, abs=1e-6)
    assert score.n == 3
    assert "1 samples left out" in score.note


def test_within_similarity_by_hand():
    found = scores(within_similarity.compute(two_people()))
    assert found["net", "mean_items"].value == pytest.approx(0.5, abs=1e-6)
    assert (found["net", "mean_items"].n_items, found["net", "mean_items"].n_pairs) == (1, 1)


def test_retrieval_by_hand():
    """At 0 degrees: a wins. At 50: b (90) is nearer. At 45: a tie, which is a miss. A failure is a miss."""
    samples = [
        ("a", 0, "ok", at(0)),
        ("a", 1, "ok", at(50)),
        ("a", 2, "ok", [1.0, 1.0]),
        ("a", 3, "no_face", None),
        ("b", 0, "ok", at(91)),
    ]
    references = [("a", "A", "ok", at(0)), ("b", "B", "ok", at(90)), ("a2", "A", "ok", at(100))]
    found = scores(retrieval.compute(by_hand(samples, references)))
    rank1, chance = found["net", "rank1"], found["net", "chance"]
    assert (rank1.value, rank1.n, rank1.n_failed) == (2 / 5, 5, 1)
    assert chance.value == pytest.approx((4 / 2 + 1 / 3) / 5)  # one stranger for A, two for B
    margins = [1 - 0, np.cos(np.radians(50)) - np.cos(np.radians(40)), 0]
    margins.append(np.cos(np.radians(1)) - np.cos(np.radians(9)))
    assert found["net", "margin"].value == pytest.approx(np.mean(margins), abs=1e-6)


def test_retrieval_is_the_loop():
    given = evaluation(items=30, per_subject=2, keep=0.3)
    part, people = given.features["arcface"], given.references["subject"].to_numpy()
    refs = part.references / np.linalg.norm(part.references, axis=1, keepdims=True)
    hits = 0
    for k, sample in enumerate(part.samples):
        cos = refs @ sample / np.linalg.norm(sample)
        hits += cos[k // 5] > max(c for c, name in zip(cos, people, strict=True) if name != people[k // 5])
    value = scores(retrieval.compute(given))["arcface", "rank1"].value
    assert 0.1 < value < 1
    assert value == pytest.approx(hits / len(part.samples))


# Verification


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 1001])
@pytest.mark.parametrize("fmr", [0.0, 1e-3, 1e-2, 0.07, 0.29, 0.5])
def test_threshold_is_the_smallest_float(size, fmr):
    rng = np.random.default_rng(size)
    scores_ = np.round(rng.uniform(-1, 1, size), 2)  # many ties
    threshold = threshold_at(scores_, fmr)
    below = np.nextafter(threshold, -np.inf)
    assert (scores_ >= threshold).mean() <= fmr
    assert (scores_ >= below).mean() > fmr


def test_threshold_counts_exactly():
    """29 of 100 at FMR 0.29, though 0.29 * 100 is a float below 29."""
    values = np.arange(100.0)
    assert (values >= threshold_at(values, 0.29)).sum() == 29


def test_impostor_scores_are_all_pairs_of_strangers():
    given = evaluation(items=9, per_subject=3)
    references, people = given.features["arcface"].references, given.references["subject"].to_numpy(dtype=object)
    unit = references / np.linalg.norm(references.astype(float), axis=1, keepdims=True)
    expected = [unit[i] @ unit[j] for i in range(9) for j in range(i) if people[i] != people[j]]
    found = impostor_scores(references, people)
    np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-6)
    assert len(found) == 27


def test_threshold_needs_enough_pairs():
    cuts = verification.thresholds(evaluation(items=45), "arcface")  # 990 pairs
    assert cuts["1e-2"].value is None
    assert cuts["1e-2"].note == "990 pairs of references of different subjects; 1000 are needed at FMR 0.01"
    assert verification.thresholds(evaluation(items=46), "arcface")["1e-2"].value is not None  # 1035 pairs


def test_verification_at_a_given_threshold():
    result = verification.compute(two_people(), given={"net": {"1e-3": 0.5}})
    found = scores(result)
    missed = found["net", "fnmr@1e-3"]
    assert (missed.value, missed.n, missed.n_failed, missed.n_unavailable) == (2 / 4, 4, 1, 1)  # 1 and 0.5 match
    assert found["net", "threshold@1e-3"].value == 0.5
    achieved = found["net", "achieved_fmr@1e-3"]
    # A's samples at 0 and 60 against B at 90: 0 and 0.87; B's sample at 180 against A at 0: -1
    assert (achieved.value, achieved.n_pairs) == (1 / 3, 3)


def test_verification_is_the_loop():
    given = fail(evaluation(items=60, per_subject=2, keep=0.4), [4, 50], "no_face")
    found = scores(verification.compute(given))
    part, people = given.features["adaface"], given.references["subject"].to_numpy()
    refs = part.references / np.linalg.norm(part.references.astype(float), axis=1, keepdims=True)
    sams = part.samples / np.linalg.norm(part.samples.astype(float), axis=1, keepdims=True)
    impostors = sorted(refs[i] @ refs[j] for i in range(60) for j in range(i) if people[i] != people[j])
    cut = impostors[-1 - int(0.01 * len(impostors))]
    misses = [not refs[k // 5] @ s > cut for k, s in enumerate(sams)]  # NaN, a failure, is a miss
    false = [
        refs[j] @ s > cut
        for k, s in enumerate(sams)
        for j in range(60)
        if people[j] != people[k // 5] and np.isfinite(s).all()
    ]
    assert 0 < np.mean(misses) < 1
    assert found["adaface", "fnmr@1e-2"].value == pytest.approx(np.mean(misses))
    assert found["adaface", "achieved_fmr@1e-2"].value == pytest.approx(np.mean(false))
    assert found["adaface", "achieved_fmr@1e-2"].n_pairs == len(false)
    assert found["adaface", "threshold@1e-2"].n_pairs == len(impostors)


def test_shuffled_references_match_at_the_false_match_rate():
    """A sample that is another's reference ties with a pair that set the threshold: it must fall on the same side."""
    given = evaluation(items=150)
    turn = np.roll(np.arange(150), 1)
    features = {
        name: Features(part.references[np.repeat(turn, 5)], part.references, part.targets)
        for name, part in given.features.items()
    }
    shuffled = scores(verification.compute(replace(given, features=features)))
    references = given.features["arcface"].references
    unit = references / np.linalg.norm(references.astype(float), axis=1, keepdims=True)
    cosine = np.round((unit * unit[turn]).sum(axis=1), 9)
    cut = shuffled["arcface", "threshold@1e-2"].value
    assert shuffled["arcface", "fnmr@1e-2"].value == pytest.approx(np.mean(cosine < cut), abs=1e-12)


def test_threshold_does_not_depend_on_the_method():
    good, bad = evaluation(items=60), evaluation(items=60, keep=0.2)
    assert verification.thresholds(good, "arcface") != {}
    same = replace(
        bad, features={n: Features(bad.features[n].samples, p.references, p.targets) for n, p in good.features.items()}
    )
    assert verification.thresholds(fail(same, np.arange(200), "no_face"), "arcface") == verification.thresholds(
        good, "arcface"
    )


# Detection and groups


def test_failure_to_acquire_by_hand():
    given = fail(fail(two_people(), [0], "undecodable"), [3], "generation_error")
    found = scores(failure_to_acquire.compute(given))
    assert found["", "rate"].value == 3 / 4
    assert [found["", f"rate_{reason}"].value for reason in failure_to_acquire.REASONS] == [1 / 4] * 3
    assert (found["", "rate"].n, found["", "rate"].n_unavailable) == (4, 1)


def test_groups_are_the_metrics_of_their_samples():
    given = fail(evaluation(items=60), [2, 8, 9], "no_face")
    found, whole = scores(groups.compute(given)), scores(verification.compute(given))
    women = np.flatnonzero(given.samples["gender"] == "f")
    values, eligibility = id_similarity.similarities(given, "arcface")
    detected = found["arcface", "mean_detected[gender=f]"]
    assert detected.value == pytest.approx(np.nanmean(values[women]))
    assert detected.n == eligibility.valid[women].sum()
    assert "small group: 150 samples, fewer than 300" in detected.note
    parts = [found["arcface", f"fnmr@1e-2[gender={g}]"].value for g in "fm"]
    assert np.mean(parts) == pytest.approx(whole["arcface", "fnmr@1e-2"].value)  # two groups of one size, one threshold


def test_gap_and_worst_group():
    """Group f fails to verify 1 of 4 times, group m 3 of 4 times; the mean of m's similarities is the worst."""
    similarity = {"a": [1, 1], "b": [1, 0], "c": [0, 0], "d": [1, 0]}
    given = by_hand(
        [(name, k, "ok", [[0, 1], [1, 0]][value]) for name, row in similarity.items() for k, value in enumerate(row)],
        [(name, name, "ok", [1, 0]) for name in similarity],
        groups=("gender",),
    )
    given = replace(given, samples=given.samples.assign(gender=["f"] * 4 + ["m"] * 4))
    found = scores(groups.compute(given))
    gap = found["net", "mean_detected_gap[gender=]"]
    assert gap.value == pytest.approx(0.5)
    assert gap.low <= 0.5 <= gap.high
    assert gap.low >= 0
    assert gap.high <= 1
    assert "small groups: f, m" in gap.note
    assert found["net", "mean_detected_worst[gender=m]"].value == pytest.approx(0.25)
    assert ("net", "mean_detected_worst[gender=f]") not in found
    assert found["net", "detection_rate_gap[gender=]"].value == 0
    assert found["net", "fnmr_gap@1e-3[gender=]"].value is None


def test_one_group_has_no_gap():
    given = evaluation()
    alone = replace(given, samples=given.samples.assign(gender="f"))
    assert scores(groups.compute(alone))["arcface", "mean_detected_gap[gender=]"].value is None


def test_groups_with_empty_cells():
    given = evaluation(items=10)
    given.samples.loc[:9, "gender"] = None
    found = scores(groups.compute(given))
    assert found["arcface", "detection_rate[gender=not given]"].n == 10
    assert groups.compute(replace(given, groups=())).scores[0].value is None


def test_an_item_without_a_valid_sample_stays_in_the_table_of_copying():
    samples = [("a", 0, "ok", at(60)), ("b", 0, "no_face", None)]
    references = [("a", "A", "ok", at(0)), ("b", "B", "ok", at(90))]
    items = copying.compute(by_hand(samples, references, role="dinov2")).per_item
    assert list(items["item"]) == ["a", "b"]
    assert items["value"].to_numpy() == pytest.approx([0.5, np.nan], nan_ok=True)
