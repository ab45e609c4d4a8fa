"""Intervals and tests by subject: hand-made values, brute force, coverage in small seeded worlds."""

import itertools

import numpy as np
import pytest

from bench import statistics as st


def world(clusters, size, effect, seed):
    """Rates or values with a random effect per cluster: (values, clusters)."""
    rng = np.random.default_rng(seed)
    return (effect * rng.standard_normal((clusters, 1)) + rng.standard_normal((clusters, size))).ravel(), np.repeat(
        np.arange(clusters), size
    )


# The bootstrap of a mean


def test_bootstrap_is_the_brute_force_one():
    values, clusters = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), np.array(["a", "a", "b", "c", "c"])
    groups = {(1, 4.0): [4.0], (2, 3.0): [1.0, 2.0], (2, 24.0): [8.0, 16.0]}  # in the order of (number, sum)
    sums, counts = st.cluster_totals(values, clusters)
    assert list(zip(counts, sums, strict=True)) == list(groups)
    rng = np.random.Generator(np.random.PCG64(3))
    drawn = rng.integers(0, 3, size=(200, 3))
    pools = list(groups.values())
    means = [np.mean(list(itertools.chain.from_iterable(pools[k] for k in row))) for row in drawn]
    interval = st.cluster_bootstrap_mean(values, clusters, seed=3, resamples=200)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), rel=1e-12)


def test_bootstrap_does_not_see_order_or_names():
    values, clusters = world(40, 5, 1.0, 0)
    values[7] = np.nan
    first = st.cluster_bootstrap_mean(values, clusters, seed=1)
    order = np.random.default_rng(5).permutation(len(values))
    names = np.random.default_rng(6).permutation(40)
    assert st.cluster_bootstrap_mean(values[order], clusters[order], seed=1) == first
    assert st.cluster_bootstrap_mean(values, names[clusters], seed=1) == first
    assert st.cluster_bootstrap_mean(values, clusters, seed=2) != first


def test_bootstrap_chunks_do_not_change_it(monkeypatch):
    values, clusters = world(30, 4, 1.0, 0)
    whole = st.cluster_bootstrap_mean(values, clusters, seed=1, resamples=500)
    monkeypatch.setattr(st, "_CHUNK", 1000)
    st._weights.cache_clear()
    again = st.cluster_bootstrap_mean(values, clusters, seed=1, resamples=500)
    assert (again.low, again.high) == pytest.approx((whole.low, whole.high), rel=1e-12)
    st._weights.cache_clear()


def test_bootstrap_of_little():
    assert st.cluster_bootstrap_mean([], [], seed=0) == st.Interval(None, None, 0, "no interval: no subjects")
    one = st.cluster_bootstrap_mean([1.0, 2.0], ["a", "a"], seed=0)
    assert (one.low, one.note) == (None, "no interval: 1 subject")
    nothing = st.cluster_bootstrap_mean([np.nan, 1.0], ["a", "b"], seed=0)
    assert (nothing.low, nothing.n_clusters) == (None, 1)
    assert st.cluster_bootstrap_mean(*world(19, 2, 1.0, 0), seed=0).note == "only 19 subjects"
    assert st.cluster_bootstrap_mean(*world(20, 2, 1.0, 0), seed=0).note == ""


def test_bootstrap_covers():
    """95 % intervals by subject cover; those that take samples as independent don't (why clusters are not optional)."""
    hits = {"clustered": 0, "independent": 0}
    for seed in range(200):
        values, clusters = world(60, 5, 1.0, seed)
        for kind, labels in (("clustered", clusters), ("independent", np.arange(len(values)))):
            interval = st.cluster_bootstrap_mean(values, labels, seed=0, resamples=500)
            hits[kind] += interval.low <= 0 <= interval.high
    assert 0.90 <= hits["clustered"] / 200 <= 0.98
    assert hits["independent"] / 200 < 0.82


def test_many_clusters_take_the_limit(monkeypatch):
    values, clusters = world(400, 5, 1.0, 0)
    drawn = st.cluster_bootstrap_mean(values, clusters, seed=0)
    monkeypatch.setattr(st, "LINEAR_ABOVE", 399)
    limit = st.cluster_bootstrap_mean(values, clusters, seed=0)
    assert limit.note
    assert not drawn.note
    assert limit.high - limit.low == pytest.approx(drawn.high - drawn.low, rel=0.05)
    assert limit.low == pytest.approx(drawn.low, abs=0.01)


# Paired differences


def test_sign_flip_is_the_enumeration():
    a, b, clusters = np.array([1.0, 2.0, 0.5, 3.0, -1.0, 0.2]), np.zeros(6), list("aabbcd")
    sums = np.array([3.0, 3.5, -1.0, 0.2])
    signs = np.array(list(itertools.product([-1, 1], repeat=4)))
    expected = np.mean(np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9)
    result = st.paired_difference(a, b, clusters, seed=0, resamples=100)
    assert result.p_value == pytest.approx(expected)
    assert (result.difference, result.n, result.n_clusters) == (pytest.approx(5.7 / 6), 6, 4)


def test_random_sign_flips_agree_with_all(monkeypatch):
    rng = np.random.default_rng(1)
    a, clusters = rng.standard_normal(14) + 0.4, np.arange(14)
    exact = st.paired_difference(a, np.zeros(14), clusters, seed=0).p_value
    monkeypatch.setattr(st, "EXACT_FLIPS", 1)
    drawn = st.paired_difference(a, np.zeros(14), clusters, seed=0, resamples=20_000).p_value
    assert drawn == pytest.approx(exact, abs=0.01)
    certain = st.paired_difference(a + 9, np.zeros(14), clusters, seed=0, resamples=999).p_value
    assert 1 / 1000 <= certain <= 3 / 1000  # never 0


def test_paired_difference_leaves_out_what_one_lacks():
    result = st.paired_difference([1.0, np.nan, 3.0], [0.0, 0.0, np.nan], ["a", "b", "c"], seed=0)
    assert (result.difference, result.n, result.p_value) == (1.0, 1, None)
    assert st.paired_difference([np.nan], [1.0], ["a"], seed=0).difference is None


def test_paired_difference_is_antisymmetric():
    rng = np.random.default_rng(1)
    a, b, clusters = rng.standard_normal(90), rng.standard_normal(90), np.repeat(np.arange(30), 3)
    one, two = (st.paired_difference(*pair, clusters, seed=4) for pair in ((a, b), (b, a)))
    assert (one.difference, one.p_value) == (-two.difference, two.p_value)
    order = rng.permutation(90)
    assert st.paired_difference(a[order], b[order], clusters[order], seed=4) == one


def test_holm():
    assert st.holm([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert st.holm([0.6, None, 0.9]) == [1.0, None, 1.0]
    assert st.holm([]) == []


# The jackknife


def test_jackknife_of_a_mean_is_the_textbook_error():
    values = np.random.default_rng(0).standard_normal(12)
    replicates = [np.delete(values, k).mean() for k in range(12)]
    result = st.jackknife(values.mean(), replicates)
    assert result.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(12))
    assert result.bias_corrected == pytest.approx(values.mean())


def test_jackknife_removes_the_bias_of_a_variance():
    values = np.random.default_rng(0).standard_normal(10)
    replicates = [np.delete(values, k).var() for k in range(10)]
    assert st.jackknife(values.var(), replicates).bias_corrected == pytest.approx(values.var(ddof=1))


def test_jackknife_of_little():
    assert st.jackknife(1.0, [1.0]) is None
    assert st.jackknife(1.0, [1.0, np.nan]) is None


def test_jackknife_groups_are_even_and_blind_to_order():
    names = [f"s{k}" for k in range(50)]
    groups = st.jackknife_groups(names, seed=1)
    assert groups == st.jackknife_groups(names[::-1] * 2, seed=1)
    assert groups != st.jackknife_groups(names, seed=2)
    assert sorted(np.bincount(list(groups.values()))) == [2] * 10 + [3] * 10
    assert sorted(st.jackknife_groups(["b", "a"], seed=0).values()) == [0, 1]


def test_jackknife_difference():
    a, b = np.array([1.0, 1.2, 0.9, 1.1]), np.array([0.5, 0.8, 0.4, 0.5])
    result = st.jackknife_difference(1.05, a, 0.55, b)
    error = np.sqrt(3 / 4 * np.square((a - b) - (a - b).mean()).sum())
    assert result.difference == pytest.approx(0.5)
    assert result.high - result.difference == pytest.approx(3.182446 * error, rel=1e-6)  # t(3) at 97.5 %
    assert 0 < result.p_value < 0.05
    assert st.jackknife_difference(1.0, a, 0.0, b[:3]).p_value is None
    assert st.jackknife_difference(1.0, a, 1.0, a).p_value == 1.0


# Rates of dependent comparisons


def test_clustered_rate_equals_wilson_for_independent_trials():
    errors = np.array([1] * 10 + [0] * 90)
    interval = st.clustered_rate(errors, np.arange(100))
    assert (interval.low, interval.high) == pytest.approx(st.wilson(0.1, 99.0), rel=1e-9)  # C / (C - 1)


def test_clustered_rate_of_copies_counts_each_once():
    errors = np.repeat([1] * 10 + [0] * 90, 5)
    interval = st.clustered_rate(errors, np.repeat(np.arange(100), 5))
    assert (interval.low, interval.high) == pytest.approx(st.wilson(0.1, 99.0), rel=1e-9)


def test_clustered_rate_at_the_ends():
    assert st.clustered_rate([], []).low is None
    assert st.clustered_rate([1, 1], ["a", "a"]).low is None
    low, high = st.wilson(1.0, 3.0)
    assert st.clustered_rate([1] * 6, [0, 0, 1, 1, 2, 2]) == st.Interval(low, high, 3, "only 3 subjects")
    alternating = st.clustered_rate([0, 1] * 20, np.repeat(np.arange(20), 2))  # no variance between clusters at all
    assert (alternating.low, alternating.high) == pytest.approx(st.wilson(0.5, 40.0))


def dyadic_brute(probes, gallery, made_a, made_b):
    """The variance as a double loop over all pairs of comparisons that share a subject."""
    size = len(made_a)
    errors, made = np.zeros((size, size)), np.outer(made_a, made_b)
    np.add.at(errors, (probes, gallery), 1.0)
    np.fill_diagonal(made, 0)
    rate, u = errors.sum() / made.sum(), errors - errors.sum() / made.sum() * made
    total = 0.0
    cells = [(a, b) for a in range(size) for b in range(size) if a != b]
    for a, b in cells:
        for c, d in cells:
            if {a, b} & {c, d}:
                total += u[a, b] * u[c, d]
    return rate, total / made.sum() ** 2


def test_dyadic_variance_is_the_double_loop():
    rng = np.random.default_rng(0)
    made_a, made_b = np.array([3, 0, 2, 5, 1, 4]), np.array([1, 2, 0, 1, 1, 3])
    pairs = [(a, b) for a in range(6) for b in range(6) if a != b and made_a[a] and made_b[b]]
    chosen = [pairs[k] for k in rng.integers(0, len(pairs), 9)]
    probes, gallery = np.array(chosen).T
    rate, variance = dyadic_brute(probes, gallery, made_a, made_b)
    interval = st.dyadic_rate(probes, gallery, made_a, made_b)
    n_effective = rate * (1 - rate) / (variance * 6 / 5)
    assert (interval.low, interval.high) == pytest.approx(st.wilson(rate, n_effective), rel=1e-9)


def test_dyadic_rate_without_errors():
    none = np.empty(0, dtype=int)
    interval = st.dyadic_rate(none, none, np.array([2, 2, 2]), np.array([1, 1, 0]))
    assert (interval.low, interval.high) == (0.0, st.wilson(0.0, 3.0)[1])  # all three pairs of people were compared
    assert st.dyadic_rate(none, none, np.array([2]), np.array([1])).low is None


def test_fnmr_interval_covers():
    """Beta-binomial trials, 50 subjects of 5: the nominal 95 % interval covers; Wilson over samples doesn't."""
    truth, hits, naive = 0.1, 0, 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        rates = rng.beta(0.1, 0.9, 50)
        errors, subjects = rng.random((50, 5)) < rates[:, None], np.repeat(np.arange(50), 5)
        interval = st.clustered_rate(errors.ravel(), subjects)
        hits += interval.low <= truth <= interval.high
        low, high = st.wilson(errors.mean(), 250.0)
        naive += low <= truth <= high
    assert 0.92 <= hits / 400 <= 0.98
    assert naive / 400 < 0.80


def test_fmr_interval_covers():
    """Comparisons match where two random effects add up to enough: subjects who resemble everyone make clusters."""
    size, rates, found = 60, [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        effect = rng.standard_normal(size)
        match = 0.6 * (effect[:, None] + effect) + rng.standard_normal((size, size)) > 2.6
        np.fill_diagonal(match, False)
        probes, gallery = np.nonzero(match)
        rates.append(len(probes) / (size * (size - 1)))
        ones = np.ones(size)
        found.append((st.dyadic_rate(probes, gallery, ones, ones), st.wilson(rates[-1], size * (size - 1.0))))
    truth = np.mean(rates)
    ours = np.mean([interval.low <= truth <= interval.high for interval, _ in found])
    naive = np.mean([low <= truth <= high for _, (low, high) in found])
    assert 0.90 <= ours <= 0.99
    assert naive < 0.75


# Gaps between groups


def test_gap_of_groups_has_its_exact_bootstrap_distribution():
    """Two subjects, one in each group, with means 0 and 1: a resample has both (gap 1) or one alone (gap 0)."""
    interval = st.cluster_bootstrap_gap([0.0, 1.0], ["a", "b"], ["f", "m"], seed=0)
    assert (interval.low, interval.high, interval.n_clusters) == (0.0, 1.0, 2)


def test_gap_depends_on_no_order_and_on_no_name():
    rng = np.random.default_rng(3)
    values, people, group = rng.random(60), np.repeat(np.arange(20), 3), np.repeat(np.arange(20) % 3, 3)
    first = st.cluster_bootstrap_gap(values, people, group, seed=1)
    mixed = rng.permutation(60)
    renamed = np.array([f"p{(7 * p) % 20}" for p in people], dtype=object)
    assert st.cluster_bootstrap_gap(values[mixed], renamed[mixed], group[mixed], seed=1) == first
    assert st.cluster_bootstrap_gap(values, 10 * people, group, seed=1) == first


def test_gap_of_many_subjects_is_normal_and_agrees_with_the_bootstrap(monkeypatch):
    rng = np.random.default_rng(4)
    group = np.arange(400) % 2
    values = rng.random(400) + 0.5 * group
    drawn = st.cluster_bootstrap_gap(values, np.arange(400), group, seed=1)
    monkeypatch.setattr(st, "LINEAR_ABOVE", 399)
    normal = st.cluster_bootstrap_gap(values, np.arange(400), group, seed=1)
    assert normal.note.startswith("normal interval")
    np.testing.assert_allclose([normal.low, normal.high], [drawn.low, drawn.high], atol=0.01)


def test_gap_needs_two_groups():
    assert st.cluster_bootstrap_gap([1.0, 2.0], ["a", "b"], ["f", "f"], seed=0).low is None
    assert st.cluster_bootstrap_gap([], [], [], seed=0).low is None
