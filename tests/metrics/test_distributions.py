"""Frechet and kernel distances, precision and recall: closed forms, independent references, jackknife."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import sqrtm

from bench.metrics import cmmd, fd_dinov2, fid, kid, precision_recall
from bench.metrics.functional import frechet
from bench.metrics.functional.block_sums import subject_sums, symmetric_sums
from bench.metrics.functional.frechet import ALWAYS, NEVER, frechet_distance
from bench.metrics.precision_recall import neighbourhoods
from bench.metrics.protocol import Features
from bench.statistics import jackknife, jackknife_difference, jackknife_groups
from bench.testing.world import evaluation, fail
from tests.metrics.world import by_hand, scores


def sets(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    scale = (1 + np.arange(d)) ** -0.5
    return rng.standard_normal((n, d)) * scale, rng.standard_normal((m, d)) * scale[::-1] + 0.3


def by_sqrtm(x, y):
    """The textbook formula with scipy's matrix square root, for full rank."""
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return np.square(x.mean(0) - y.mean(0)).sum() + np.trace(s + t) - 2 * np.trace(sqrtm(s @ t)).real


@pytest.mark.parametrize("form", ["cross", "covariance"])
@pytest.mark.parametrize(("n", "m", "d"), [(60, 90, 12), (90, 60, 12), (50, 50, 1)])
def test_frechet_is_the_textbook_formula(monkeypatch, form, n, m, d):
    monkeypatch.setattr(frechet, "_cross_pays", lambda *sizes: form == "cross")
    x, y = sets(n, m, d)
    expected = by_sqrtm(x, y) if d > 1 else (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-9)


def test_frechet_forms_agree_where_the_covariance_is_singular(monkeypatch):
    x, y = sets(20, 200, 40)
    exact = frechet_distance(x, y)
    monkeypatch.setattr(frechet, "_cross_pays", lambda *sizes: False)
    assert frechet_distance(x, y) == pytest.approx(exact, rel=1e-6)
    x[:, 3], y[:, 3] = 0.5, 0.5  # now neither has a Cholesky factor
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-6)


def test_frechet_of_copies():
    """Each of m references k times: tr S (1 - sqrt(k (m - 1) / (k m - 1)))^2, which is not 0 (the method `copy`)."""
    m, k = 50, 5
    x = sets(m, m, 80)[0]
    y = np.repeat(x, k, axis=0)
    trace = x.var(axis=0, ddof=1).sum()
    ratio = np.sqrt(k * (m - 1) / (k * m - 1))
    assert frechet_distance(y, x) == pytest.approx(trace * (1 - ratio) ** 2, rel=1e-9)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-12)


def test_frechet_of_constant_sets():
    ones = np.ones((4, 3))
    assert frechet_distance(ones, ones) == 0
    assert frechet_distance(ones, ones + 2) == pytest.approx(12)


def test_frechet_of_single_precision_input():
    x, y = sets(40, 60, 100)
    single = frechet_distance(x.astype(np.float32), y.astype(np.float32))
    again = frechet_distance(x.astype(np.float32).astype(float), y.astype(np.float32).astype(float))
    assert single == pytest.approx(again, rel=1e-12)


@pytest.mark.parametrize("form", ["cross", "covariance"])
def test_replicates_are_distances_of_what_is_left(monkeypatch, form):
    monkeypatch.setattr(frechet, "_cross_pays", lambda *sizes: form == "cross")
    x, y = sets(100, 150, 12)
    rng = np.random.default_rng(1)
    codes_x, codes_y = rng.integers(-2, 4, 100), rng.integers(-2, 4, 150)
    in_x, in_y = codes_x != NEVER, codes_y != NEVER
    value, replicates = frechet.frechet(x, y, codes_x, codes_y)
    assert value == pytest.approx(frechet_distance(x[in_x], y[in_y]), rel=1e-7)
    for group in range(4):
        left = frechet_distance(x[in_x & (codes_x != group)], y[in_y & (codes_y != group)])
        assert replicates[group] == pytest.approx(left, rel=1e-7)


def test_a_fold_without_rows_has_no_distance():
    x, y = sets(5, 6, 3)
    value, replicates = frechet.frechet(x, y, np.zeros(5, int), np.full(6, ALWAYS))
    assert np.isfinite(value)
    assert np.isnan(replicates).tolist() == [True]


def people_in_groups(n_people, per_person, d, seed=0):
    """Return features of references and of samples, and their groups: people are dealt to 20 groups."""
    rng, groups = np.random.default_rng(seed), np.arange(n_people) % 20
    mixed = rng.standard_normal((d, d)) * (1 + np.arange(d)) ** -0.5
    faces = np.maximum(rng.standard_normal((n_people, d)) @ mixed, 0)
    x = faces + 0.3 * rng.standard_normal((n_people, d))
    y = np.repeat(faces, per_person, axis=0) + 0.2 + 0.5 * rng.standard_normal((n_people * per_person, d)) @ mixed
    return x, y, groups, np.repeat(groups, per_person)


@pytest.mark.parametrize("owner", ["references", "another set"])
def test_large_sets_have_nearly_the_exact_replicates(monkeypatch, owner):
    x, y, of_x, of_y = people_in_groups(600, 5, 24)
    if owner == "another set":
        of_x = np.full(600, ALWAYS)
    value, exact = frechet.frechet(x, y, of_x, of_y)
    monkeypatch.setattr(frechet, "EXACT_FOLDS_UP_TO", 2000)
    again, replicates = frechet.frechet(x, y, of_x, of_y)
    assert again == value
    one, other = jackknife(value, exact), jackknife(value, replicates)
    assert other.standard_error == pytest.approx(one.standard_error, rel=0.01)
    assert other.bias_corrected == pytest.approx(one.bias_corrected, rel=0.002)
    assert 0 < np.abs(exact - replicates).max() < 0.02 * np.ptp(exact)
    assert (exact == replicates).sum() == frechet.MEASURED_FOLDS


def test_replicates_are_exact_where_a_set_is_small_or_a_group_is_large(monkeypatch):
    x, y, of_x, of_y = people_in_groups(600, 5, 24)
    monkeypatch.setattr(frechet, "EXACT_FOLDS_UP_TO", 2000)
    of_x, of_y = of_x % 5, of_y % 5  # a fifth of both sets
    halves = frechet.frechet(x, y, of_x, of_y)[1]
    monkeypatch.setattr(frechet, "EXACT_FOLDS_UP_TO", 3600)
    np.testing.assert_array_equal(halves, frechet.frechet(x, y, of_x, of_y)[1])
    monkeypatch.setattr(frechet, "EXACT_FOLDS_UP_TO", 0)
    monkeypatch.setattr(frechet, "_by_expansion", None)
    monkeypatch.setattr(frechet, "EXACT_FOLDS_BELOW", 600 / 24 + 1)
    np.testing.assert_array_equal(halves, frechet.frechet(x, y, of_x, of_y)[1])


def test_large_sets_without_groups_or_with_a_fold_of_one_row_have_their_distance(monkeypatch):
    x, y, of_x, of_y = people_in_groups(600, 5, 24)
    value = frechet.frechet(x, y, of_x, of_y)[0]
    monkeypatch.setattr(frechet, "EXACT_FOLDS_UP_TO", 2000)
    assert frechet.frechet_distance(x, y) == pytest.approx(value, rel=1e-9)
    nearly_all = np.where(np.arange(600) == 0, 1, 0)
    again, (none, some) = frechet.frechet(x, y, nearly_all, np.arange(3000) % 2)
    assert again == pytest.approx(value, rel=1e-9)
    assert np.isnan(none)
    assert np.isfinite(some)


def test_pieces_change_no_digit_that_matters(monkeypatch):
    x, y, of_x, of_y = people_in_groups(600, 5, 24)
    value, replicates = frechet.frechet(x, y, of_x, of_y)
    monkeypatch.setattr(frechet, "_PIECE", 7)
    again, others = frechet.frechet(x, y, of_x, of_y)
    assert again == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(others, replicates, rtol=1e-7)


def test_fid_score():
    given = fail(evaluation(items=40), [0, 1], "no_face")
    result = fid.compute(given)
    found, part = scores(result), given.features["inception"]
    good = np.isfinite(part.samples[:, 0])
    distance = found["inception", "distance"]
    assert distance.value == pytest.approx(by_sqrtm(part.samples[good], part.references), rel=1e-6)
    assert (distance.n, distance.n_failed, distance.n_items) == (198, 2, 40)
    assert "no ranking" not in distance.note  # 99 %
    groups = jackknife_groups(given.references["subject"], seed=given.seed)
    codes = np.array([groups[name] for name in given.samples["subject"]])
    own = np.array([groups[name] for name in given.references["subject"]])
    left = [by_sqrtm(part.samples[good & (codes != g)], part.references[own != g]) for g in range(20)]
    np.testing.assert_allclose(result.per_item["value"], left, rtol=1e-6)
    expected = jackknife(distance.value, left)
    assert found["inception", "standard_error"].value == pytest.approx(expected.standard_error, rel=1e-4)
    assert found["inception", "bias_corrected"].value == pytest.approx(expected.bias_corrected, rel=1e-4)
    assert (distance.low, distance.high) == pytest.approx((expected.low, expected.high), rel=1e-4)


def test_fid_warns():
    few = scores(fid.compute(evaluation(items=8, dims={"inception": 40})))["inception", "distance"]
    assert "8 references and 40 samples for 40 dimensions: biased upwards" in few.note
    lost = scores(fd_dinov2.compute(fail(evaluation(items=40), [0, 1, 2], "no_face")))["dinov2", "distance"]
    assert "no ranking: only 98.5% of the samples have a face" in lost.note


def test_fid_against_another_set():
    given = evaluation(items=40)
    other = np.random.default_rng(9).standard_normal((70, 10))
    other[3, 3] = np.nan
    result = fid.compute(replace(given, population={"inception": other}))
    found = scores(result)["inception", "distance"]
    assert found.value == pytest.approx(by_sqrtm(given.features["inception"].samples, np.delete(other, 3, 0)), rel=1e-6)
    assert found.n_items == 69
    assert "against a reference set of 69 pictures" in found.note
    groups = jackknife_groups(given.references["subject"], seed=given.seed)
    without = np.array([groups[name] != 0 for name in given.samples["subject"]])
    left = by_sqrtm(given.features["inception"].samples[without], np.delete(other, 3, 0))
    assert result.per_item["value"][0] == pytest.approx(left, rel=1e-6)  # their rows are in every fold


def test_kernel_distances_and_neighbourhoods_against_another_set():
    given, rng = evaluation(items=12), np.random.default_rng(9)
    other = {name: rng.standard_normal((30, part.samples.shape[1])) for name, part in given.features.items()}
    moved = replace(given, population=other)
    x, y = other["inception"], given.features["inception"].samples
    assert scores(kid.compute(moved))["inception", "plain"].value == pytest.approx(
        kid.kid_terms(x, y, np.arange(30), np.arange(len(y))).plain(), rel=1e-9
    )
    for metric in (kid, cmmd, precision_recall):
        own, elsewhere = (scores(metric.compute(e)) for e in (given, moved))
        assert set(own) == set(elsewhere)
        for score in elsewhere.values():
            assert score.n_items == 30
            assert "against a reference set of 30 pictures" in score.note
        assert any(score.value != own[name].value for name, score in elsewhere.items())


def test_frechet_of_few_rows_never_takes_a_root_of_the_covariances(monkeypatch):
    """500 against 2,500 rows of 2,048: a root of 2,048 x 2,048 takes 30 times as long."""
    monkeypatch.setattr(frechet, "_by_covariance", None)
    assert frechet_distance(*sets(500, 2500, 2048)) > 0


# Kernel distances


def loops(x, y, a, b, kernel):
    """The three terms by triple nested patience: (biased, plain, excluded)."""

    def term(p, q, names_p, names_q, own):
        cells = [(i, j) for i in range(len(p)) for j in range(len(q))]
        k = {(i, j): kernel(p[i], q[j]) for i, j in cells}
        plain = [k[c] for c in cells if not own or c[0] != c[1]]
        strangers = [k[i, j] for i, j in cells if names_p[i] != names_q[j]]
        return np.array([np.mean(list(k.values())), np.mean(plain), np.mean(strangers)])

    return term(x, x, a, a, True) + term(y, y, b, b, True) - 2 * term(x, y, a, b, False)


def named_sets():
    x, y = sets(12, 25, 6)
    rng = np.random.default_rng(2)
    return x, y, rng.integers(0, 8, 12), rng.integers(2, 10, 25)  # some people are in one set only


def test_kid_is_the_loop():
    x, y, a, b = named_sets()
    expected = loops(x, y, a, b, lambda p, q: (p @ q / 6 + 1) ** 3)
    sums = kid.kid_terms(x, y, a, b)
    np.testing.assert_allclose([sums.biased(), sums.plain(), sums.excluded()], expected, atol=1e-13)


def test_cmmd_is_the_loop():
    x, y, a, b = named_sets()

    def unit(v):
        return v / np.linalg.norm(v)

    expected = loops(x, y, a, b, lambda p, q: np.exp(-np.square(unit(p) - unit(q)).sum() / 200))
    sums = cmmd.cmmd_terms(x, y, a, b)
    np.testing.assert_allclose([sums.biased(), sums.plain(), sums.excluded()], expected, atol=1e-13)


def test_kernel_jackknife_leaves_out_one_subject():
    x, y, a, b = named_sets()
    left = [kid.kid_terms(x[a != s], y[b != s], a[a != s], b[b != s]).excluded() for s in np.union1d(a, b)]
    sums = kid.kid_terms(x, y, a, b)
    expected = jackknife(sums.excluded(), left)
    assert sums.jackknife().standard_error == pytest.approx(expected.standard_error, rel=1e-9)


@pytest.mark.parametrize("groups", [{s: s % 3 for s in range(8)}, {0: 0, 9: 1}, {s: s for s in range(10)}])
def test_kernel_replicates_are_distances_of_what_is_left(groups):
    """Whoever has no group is in every fold."""
    x, y, a, b = named_sets()
    left = []
    for group in range(1 + max(groups.values())):
        in_x, in_y = (np.array([groups.get(name) != group for name in names]) for names in (a, b))
        left.append(kid.kid_terms(x[in_x], y[in_y], a[in_x], b[in_y]).excluded())
    np.testing.assert_allclose(kid.kid_terms(x, y, a, b, groups).without_groups(), left, rtol=1e-9)


def test_a_fold_without_strangers_has_no_kernel_distance():
    x, y, _, _ = named_sets()
    sums = kid.kid_terms(x[:4], y[:4], np.arange(4), np.arange(4), {0: 0, 1: 0, 2: 0, 3: 1})
    assert np.isnan(sums.without_groups()).tolist() == [True, False]


@pytest.mark.parametrize("seed", range(5))
def test_what_rounding_leaves_of_no_pairs_is_no_distance(seed):
    """Without group 0, or without one of two subjects, no pair of strangers is left: NaN, not a rest divided by 0."""
    rng = np.random.default_rng(seed)
    x, y, people = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), np.arange(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = kid.kid_terms(x, y, people, people, {0: 0, 1: 0, 2: 1})
        assert np.isnan(folds.xy.without_groups()).tolist() == [True, False]
        assert np.isnan(folds.without_groups()).tolist() == [True, False]
        two = kid.kid_terms(x[:2], y[:2], people[:2], people[:2])
        assert np.isnan(two.xx.without_each()).all()
        assert two.jackknife() is None


def test_kid_keeps_its_replicates():
    given = fail(evaluation(items=40), [0, 1], "no_face")
    result, part = kid.compute(given), given.features["inception"]
    groups = jackknife_groups(given.references["subject"], seed=given.seed)
    names, owners = (frame["subject"].to_numpy() for frame in (given.samples, given.references))
    good = np.isfinite(part.samples[:, 0])
    left = []
    for group in range(20):
        in_x = np.array([groups[name] != group for name in owners])
        in_y = good & np.array([groups[name] != group for name in names])
        left.append(kid.kid_terms(part.references[in_x], part.samples[in_y], owners[in_x], names[in_y]).excluded())
    np.testing.assert_allclose(result.per_item["value"], left, rtol=1e-9)
    assert list(result.per_item["item"]) == list(fid.compute(given).per_item["item"])
    assert set(result.per_item["statistic"]) == {"replicate"}


@pytest.mark.parametrize(("near", "worse", "least", "most"), [(1.0, 0, 0, 4), (0.5, 0, 0, 8), (0.5, 0.3, 57, 60)])
def test_methods_alike_rarely_differ_in_kid_and_others_do(near, worse, least, most):
    """60 pairs of methods at 5 %, near the references' distribution and far from it; docs/metrics/kid.md has more."""
    names, people = np.arange(40), np.repeat(np.arange(40), 2)
    groups, hits = jackknife_groups(names, seed=0), 0
    for seed in range(60):
        rng, found = np.random.default_rng(seed), []
        faces = rng.standard_normal((40, 8))
        x = faces + 0.5 * rng.standard_normal((40, 8))
        for shift in (1 - near, 1 - near + worse):
            noise = np.sqrt(1.25 - near**2) * rng.standard_normal((80, 8))
            sums = kid.kid_terms(x, near * faces[people] + noise + shift, names, people, groups)
            found += [sums.excluded(), sums.without_groups()]
        hits += jackknife_difference(*found).p_value <= 0.05
    assert least <= hits <= most


def test_kernel_sums_do_not_depend_on_blocks(monkeypatch):
    from bench.metrics.functional import block_sums

    x, y, a, b = named_sets()
    kernel = np.exp
    members = np.eye(3)[np.arange(10) % 3]
    whole, own = subject_sums(x, y, a, b, members, kernel), symmetric_sums(y, b, members, kernel)
    monkeypatch.setattr(block_sums, "_ROWS", 4)
    for one, two in ((whole, subject_sums(x, y, a, b, members, kernel)), (own, symmetric_sums(y, b, members, kernel))):
        for key in ("by_x", "by_y", "same", "together"):
            np.testing.assert_allclose(getattr(one, key), getattr(two, key), rtol=1e-12)
    both = subject_sums(y, y, b, b, members, kernel)
    np.testing.assert_allclose(own.by_x, both.by_x, rtol=1e-12)
    np.testing.assert_allclose(own.same, both.same, rtol=1e-12)
    np.testing.assert_allclose(own.together, both.together, rtol=1e-12)


def test_excluding_same_subjects_removes_the_bias():
    """Samples drawn from the references' own distribution, around the same people: plain KID is negative, ours 0."""
    plain, excluded = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        people = rng.standard_normal((40, 8))
        x = people + 0.5 * rng.standard_normal((40, 8))
        y = np.repeat(people, 5, axis=0) + 0.5 * rng.standard_normal((200, 8))
        sums = kid.kid_terms(x, y, np.arange(40), np.repeat(np.arange(40), 5))
        plain.append(sums.plain())
        excluded.append(sums.excluded())
    error = [np.std(values) / np.sqrt(60) for values in (plain, excluded)]
    assert np.mean(plain) < -5 * error[0]
    assert abs(np.mean(excluded)) < 2.5 * error[1]


def test_kid_of_two_people_has_no_interval():
    found = scores(kid.compute(evaluation(items=2)))
    assert found["inception", "excluded"].value is not None
    assert found["inception", "excluded"].low is None
    assert "no interval" in found["inception", "excluded"].note
    one = scores(kid.compute(evaluation(items=4, per_subject=4)))["inception", "excluded"]
    assert one.value is None


def test_large_runs_take_a_recorded_subset(monkeypatch):
    from bench.metrics.shared import subset

    given = evaluation(items=60)
    whole = scores(kid.compute(given))["inception", "excluded"]
    monkeypatch.setattr(subset.subset, "__defaults__", (100,))
    part = scores(kid.compute(given))["inception", "excluded"]
    assert part.n == 100
    assert whole.n == 300
    assert "on 100 samples of 20 subjects, drawn by seed 7 from 300 samples" in part.note
    assert part == scores(kid.compute(given))["inception", "excluded"]
    assert part != scores(kid.compute(replace(given, seed=8)))["inception", "excluded"]


# Precision and recall


def neighbourhood_loops(x, y):
    def radius(rows, k):
        return [sorted(np.linalg.norm(rows - row, axis=1))[k] for row in rows]

    between = np.linalg.norm(y[:, None] - x[None], axis=2)
    x3, x5, y3 = radius(x, 3), radius(x, 5), radius(y, 3)
    return {
        "precision": np.mean((between <= x3).any(1)),
        "recall": np.mean((y3 >= between.T).any(1)),
        "density": (between <= x5).sum(1).mean() / 5,
        "coverage": np.mean((between <= x5).any(0)),
    }


def test_neighbourhoods_are_the_loop():
    x, y = sets(40, 70, 5)
    found = neighbourhoods(x, y)
    assert found == pytest.approx(neighbourhood_loops(x, y))
    assert 0 < found["precision"] < 1
    assert 0 < found["recall"] < 1


def test_neighbourhoods_of_copies_and_strangers():
    x, y = sets(40, 70, 5)
    assert neighbourhoods(x, np.repeat(x, 5, axis=0))["coverage"] == 1.0
    assert neighbourhoods(x, y + 100) == {"precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0}
    shifted = neighbourhoods(x + 1e6, y + 1e6)  # far from the origin the products lose no digits that matter
    assert shifted == pytest.approx(neighbourhoods(x, y))


def test_features_far_from_float64_range_are_fine():
    given = evaluation(items=10)
    part = given.features["inception"]
    large = Features(part.samples * 1e15, part.references * 1e15, part.targets)
    score = scores(fid.compute(replace(given, features={"inception": large})))["inception", "distance"]
    small = scores(fid.compute(given))["inception", "distance"]
    assert score.value == pytest.approx(small.value * 1e30, rel=1e-5)


def test_a_row_without_a_direction_is_no_row_of_cmmd():
    samples = [("a", 0, "ok", [2.0, 0.0]), ("a", 1, "ok", [0.0, 0.0]), ("b", 0, "ok", [1.0, 0.0])]
    references = [("a", "A", "ok", [0.0, 1.0]), ("b", "B", "ok", [0.0, 3.0]), ("c", "C", "ok", [0.0, 0.0])]
    distance = scores(cmmd.compute(by_hand(samples, references, role="clip")))["clip", "distance"]
    assert (distance.n, distance.n_items) == (2, 2)
    assert distance.value == pytest.approx(2000 * (1 - np.exp(-0.01)))


def test_cmmd_counts_the_pairs_of_a_row_with_itself():
    """Kernel 1 between equal directions and e = exp(-0.01) between upright ones: (1 + e) / 2 + 1 - 2 (1 + e) / 2."""
    samples = [("a", 0, "ok", [2.0, 0.0]), ("b", 0, "ok", [1.0, 0.0])]
    references = [("a", "A", "ok", [3.0, 0.0]), ("b", "B", "ok", [0.0, 1.0])]
    distance = scores(cmmd.compute(by_hand(samples, references, role="clip")))["clip", "distance"]
    assert distance.value == pytest.approx(500 * (1 - np.exp(-0.01)))
