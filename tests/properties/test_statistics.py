"""What holds for all numbers: intervals, p-values, thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import statistics
from bench.metrics.functional.thresholds import matches, threshold_at

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)
P_VALUES = st.lists(st.none() | st.floats(0, 1), max_size=12)
COSINES = st.lists(st.integers(-1_000_000, 1_000_000).map(lambda n: n / 1_000_000), min_size=1, max_size=60)


@st.composite
def clustered(draw):
    """Values, of which some are missing, and the cluster of each."""
    values = NUMBERS | st.just(float("nan"))
    found = draw(st.lists(st.tuples(values, st.integers(0, 5)), min_size=1, max_size=30))
    return np.array([value for value, _ in found]), np.array([cluster for _, cluster in found])


def slack(values):
    """What rounding may move a mean by."""
    return 1e-9 * max(1.0, np.nanmax(np.abs(values), initial=0.0))


@given(clustered(), st.integers(0, 2**31), st.floats(0.5, 0.99))
def test_the_interval_of_a_mean_lies_between_the_smallest_and_the_largest_value(data, seed, level):
    values, clusters = data
    found = statistics.cluster_bootstrap_mean(values, clusters, seed=seed, resamples=50, level=level)
    assert found.n_clusters == len(set(clusters[np.isfinite(values)]))
    if found.low is not None:
        assert np.nanmin(values) - slack(values) <= found.low <= found.high <= np.nanmax(values) + slack(values)


@given(clustered(), st.integers(0, 2**31))
def test_values_that_are_missing_and_names_of_clusters_change_no_interval(data, seed):
    values, clusters = data
    kept = np.isfinite(values)
    whole = statistics.cluster_bootstrap_mean(values, clusters, seed=seed, resamples=50)
    # The order in which clusters appear stays.
    named = np.array([f"subject {cluster}" for cluster in clusters[kept]])
    assert whole == statistics.cluster_bootstrap_mean(values[kept], named, seed=seed, resamples=50)


@given(clustered(), st.integers(0, 2**31))
def test_a_difference_the_other_way_round_is_as_significant(data, seed):
    values, clusters = data
    one = statistics.paired_difference(values, np.zeros(len(values)), clusters, seed=seed, resamples=50)
    other = statistics.paired_difference(np.zeros(len(values)), values, clusters, seed=seed, resamples=50)
    assert (one.n, one.n_clusters, one.note) == (other.n, other.n_clusters, other.note)
    if one.p_value is not None:
        assert 0 < one.p_value <= 1
        assert one.p_value == other.p_value
    if one.difference is not None:
        assert one.difference == -other.difference


@given(P_VALUES)
def test_holm_raises_p_values_keeps_their_order_and_their_range(values):
    adjusted = statistics.holm(values)
    assert [p is None for p in adjusted] == [p is None for p in values]
    pairs = sorted((p, q) for p, q in zip(values, adjusted, strict=True) if p is not None)
    assert all(p <= q <= 1 for p, q in pairs)
    assert [q for _, q in pairs] == sorted(q for _, q in pairs)
    if pairs:
        assert pairs[0][1] == min(1.0, pairs[0][0] * len(pairs))


@given(st.floats(0, 1), st.floats(0.5, 1e6), st.floats(0.5, 0.999))
def test_an_interval_of_a_rate_is_one_of_rates_and_holds_it(rate, n, level):
    low, high = statistics.wilson(rate, n, level)
    assert 0 <= low <= rate + 1e-12
    assert rate - 1e-12 <= high <= 1


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 5)), min_size=1, max_size=40))
def test_an_interval_of_an_error_rate_is_one_of_rates(rows):
    errors, clusters = (np.array(column) for column in zip(*rows, strict=True))
    found = statistics.clustered_rate(errors, clusters)
    if found.low is not None:
        assert 0 <= found.low <= errors.mean() + 1e-12
        assert errors.mean() - 1e-12 <= found.high <= 1


@given(COSINES, st.sampled_from([0.5, 0.1, 0.01, 0.001, 0.0]))
def test_a_threshold_is_the_smallest_that_keeps_the_false_match_rate(scores, fmr):
    scores = np.array(scores)
    threshold = threshold_at(scores, fmr)
    assert matches(scores, threshold).mean() <= fmr
    assert (scores >= np.nextafter(threshold, -np.inf)).mean() > fmr


@given(COSINES, st.floats(0, 0.9), st.floats(0, 0.9))
def test_a_lower_false_match_rate_has_no_lower_threshold(scores, one, other):
    low, high = sorted((one, other))
    assert threshold_at(np.array(scores), low) >= threshold_at(np.array(scores), high)


@given(st.lists(st.integers().map(str), min_size=1, max_size=30, unique=True), st.integers(0, 9), st.integers(2, 8))
def test_groups_of_a_jackknife_are_of_equal_size_and_of_the_names_alone(subjects, seed, groups):
    found = statistics.jackknife_groups(subjects, seed=seed, groups=groups)
    assert found == statistics.jackknife_groups(reversed(subjects * 2), seed=seed, groups=groups)
    sizes = np.bincount(list(found.values()))
    assert sizes.max() - sizes.min() <= 1
    assert len(sizes) == min(groups, len(subjects))


@given(st.floats(-1e3, 1e3), st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_a_jackknife_holds_its_value_in_the_middle(value, replicates):
    found = statistics.jackknife(value, replicates)
    if found is not None and found.low is not None:
        assert found.standard_error >= 0
        assert found.low <= value <= found.high
        assert found.low + found.high == pytest.approx(2 * value, abs=1e-6)
