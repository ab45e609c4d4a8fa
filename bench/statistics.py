"""Intervals and tests in which subjects, not samples, are the independent units.

The samples of one person resemble each other, so an interval that takes samples as independent is too narrow. Here
everything is resampled, flipped or left out by whole clusters (subjects). Every function is deterministic: where it
draws, it draws from `numpy.random.Generator(PCG64(seed))`, and clusters are put in an order that depends on their
values alone, so neither the order of the table's rows nor the names of the subjects changes a digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

Floats = NDArray[np.float64]
Totals = tuple[Floats, Floats]
"""Sum and number of the values of each cluster."""

FEW_CLUSTERS = 20
"""Below this many subjects an interval comes with a warning."""
LINEAR_ABOVE = 2_000
"""Above this many clusters the bootstrap gives way to its limit, the normal interval of the ratio of sums."""
EXACT_FLIPS = 2**16
"""Up to this many sign patterns the permutation test enumerates all of them."""
_CHUNK = 2**22  # random numbers drawn at once: 32 MB
_TOGETHER = 256  # differences that share one pass over the draws: 20 MB of bootstrap means


@dataclass(frozen=True)
class Interval:
    """A confidence interval, or (both None) the reason in `note` why there is none."""

    low: float | None
    high: float | None
    n_clusters: int
    note: str = ""


@dataclass(frozen=True)
class Paired:
    """The difference a - b of two methods on what they have in common; None where it does not exist (see `note`)."""

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n: int
    n_clusters: int
    note: str = ""


@dataclass(frozen=True)
class Jackknife:
    """A delete-group jackknife: `low` and `high` are value -+ t(g - 1) standard errors."""

    value: float
    standard_error: float
    bias_corrected: float
    low: float
    high: float
    n_groups: int


def mean(values: ArrayLike) -> float | None:
    """Return the exactly rounded mean, independent of order; None where there are no values.

    >>> mean([1e16, 1.0, -1e16]) == 1 / 3
    True
    """
    array = np.asarray(values, dtype=np.float64)
    return math.fsum(array) / array.size if array.size else None


def cluster_totals(values: ArrayLike, clusters: Sequence[Any] | NDArray[Any]) -> Totals:
    """Return the sum and the number of the finite values of each cluster; values that are not finite are left out.

    The clusters come in ascending order of (number, sum), and each sum is taken over its sorted values, so that the
    result does not depend on the order of the rows or on the names of the clusters.

    >>> cluster_totals([1.0, 2.0, 5.0, float("nan")], ["b", "b", "a", "c"])
    (array([5., 3.]), array([1., 2.]))
    """
    array = np.asarray(values, dtype=np.float64)
    keep = np.isfinite(array)
    array, codes = array[keep], _codes(np.asarray(clusters)[keep])
    if not array.size:
        return np.empty(0), np.empty(0)
    order = np.argsort(array)
    order = order[np.argsort(_short(codes)[order], kind="stable")]
    array, codes = array[order], codes[order]
    starts = np.concatenate([[0], np.flatnonzero(codes[1:] != codes[:-1]) + 1])
    sums = np.add.reduceat(array, starts)
    counts = np.concatenate([starts[1:] - starts[:-1], [array.size - starts[-1]]]).astype(np.float64)
    order = np.lexsort((sums, counts))
    return sums[order], counts[order]


def _codes(clusters: NDArray[Any]) -> NDArray[Any]:
    """Return a number for each cluster: its own, where it is a number already."""
    return clusters if clusters.dtype.kind == "i" else pd.factorize(clusters)[0]


def _short(codes: NDArray[Any]) -> NDArray[Any]:
    """Return the same numbers in 16 bits where they fit: those are sorted in linear time."""
    fits = codes.min() >= 0 and codes.max() < 2**16
    return codes.astype(np.uint16) if fits else codes


def cluster_bootstrap_mean(
    values: ArrayLike,
    clusters: Sequence[Any] | NDArray[Any],
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Return the percentile bootstrap over clusters of the mean over all values (resampled sums over numbers).

    Clusters are drawn with replacement, as many as there are; a resample's mean is the sum of the drawn clusters'
    values over their number, so a cluster weighs as much as it has values. Above `LINEAR_ABOVE` clusters the interval
    is the limit of that bootstrap: mean -+ z sqrt(C/(C-1) sum_c (s_c - mean n_c)^2) / sum_c n_c; the note says so.

    Args:
        values: (n,) numbers; those that are not finite are left out.
        clusters: (n,) the subject of each value.
        seed: of the draws.
        resamples: number of bootstrap means.
        level: coverage, 0 to 1.

    >>> cluster_bootstrap_mean([0.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b"], seed=1, resamples=100)
    Interval(low=0.0, high=1.0, n_clusters=2, note='only 2 subjects')
    """
    return _bootstrap([cluster_totals(values, clusters)], seed, resamples, level)[0]


def _bootstrap(totals: Sequence[Totals], seed: int, resamples: int, level: float) -> list[Interval]:
    """Return the interval of each ratio of sums; what has as many clusters is resampled together, by the same draws."""
    tail, found = (1 - level) / 2, dict[int, Interval]()
    for size, places in _by_size(totals).items():
        part = [totals[place] for place in places]
        if size < 2:
            reason = f"no interval: {size or 'no'} subject{'s' * (size != 1)}"
            intervals = [Interval(None, None, size, reason)] * len(part)
        elif size > LINEAR_ABOVE:
            note = "normal interval, clustered by subject"
            intervals = [Interval(*_linearised(*one, tail), size, note) for one in part]
        else:
            ends = np.quantile(_resampled_means(part, seed, resamples), [tail, 1 - tail], axis=0)
            intervals = [Interval(float(low), float(high), size, few(size)) for low, high in ends.T]
        found.update(zip(places, intervals, strict=True))
    return [found[place] for place in range(len(totals))]


def _by_size(totals: Sequence[Totals]) -> dict[int, list[int]]:
    """Return the places of the totals by their number of clusters."""
    found: dict[int, list[int]] = {}
    for place, (sums, _) in enumerate(totals):
        found.setdefault(len(sums), []).append(place)
    return found


def few(n_clusters: int) -> str:
    """Return the warning that goes with an interval from few subjects; empty where there are enough."""
    return f"only {n_clusters} subjects" if n_clusters < FEW_CLUSTERS else ""


def _resampled_means(totals: Sequence[Totals], seed: int, resamples: int) -> Floats:
    """Return (resamples, k) bootstrap means of k ratios over as many clusters, taken in chunks of bounded memory."""
    weights = _weights(len(totals[0][0]), seed, resamples)
    sums = np.stack([sums for sums, _ in totals], axis=1)
    distinct = {counts.tobytes(): counts for _, counts in totals}  # mostly one: as many values in each subject
    order = {key: place for place, key in enumerate(distinct)}
    of = [order[counts.tobytes()] for _, counts in totals]
    columns = np.concatenate([sums, np.stack(list(distinct.values()), axis=1)], axis=1)
    step, means = max(1, _CHUNK // max(len(sums), columns.shape[1])), np.empty((resamples, len(totals)))
    for at in range(0, resamples, step):
        drawn = weights[at : at + step].astype(np.float64) @ columns
        means[at : at + step] = drawn[:, : len(totals)] / drawn[:, len(totals) :][:, of]
    return means


@lru_cache(maxsize=2)
def _weights(size: int, seed: int, resamples: int) -> NDArray[np.uint16]:
    """Return how often (resamples, size) each of `size` <= `LINEAR_ABOVE` clusters is drawn, for every statistic."""
    rng, step = np.random.Generator(np.random.PCG64(seed)), max(1, _CHUNK // size)
    weights = np.empty((resamples, size), dtype=np.uint16)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, size, size=(rows, size)) + size * np.arange(rows)[:, None]
        weights[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
    weights.setflags(write=False)
    return weights


def _linearised(sums: Floats, counts: Floats, tail: float) -> tuple[float, float]:
    centre, total = sums.sum() / counts.sum(), counts.sum()
    half = float(ndtri(1 - tail) * np.sqrt(_clustered_variance(sums - centre * counts, total)))
    return float(centre - half), float(centre + half)


def _clustered_variance(residuals: Floats, total: float) -> float:
    """Return the variance of a ratio of sums from its clusters' residuals s_c - ratio n_c."""
    return float(np.square(residuals).sum() * len(residuals) / (len(residuals) - 1) / total**2)


# Differences between groups


def cluster_bootstrap_gap(
    values: ArrayLike,
    clusters: Sequence[Any] | NDArray[Any],
    groups: Sequence[Any] | NDArray[Any],
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Return the interval of the largest difference between the means of groups, by resampling clusters.

    Clusters are drawn as in `cluster_bootstrap_mean`, over all groups together; each resample has a largest and a
    smallest mean of its own groups. Above `LINEAR_ABOVE` clusters the interval is the normal one of the difference
    between the two groups that are farthest apart, not below 0.

    Args:
        values: (n,) numbers; those that are not finite are left out.
        clusters: (n,) the subject of each value.
        groups: (n,) the group of each value; a subject may be in several.
        seed: of the draws.
        resamples: number of draws.
        level: coverage, 0 to 1.

    >>> names = ["a", "b", "c", "d"]
    >>> cluster_bootstrap_gap([0.0, 0.0, 1.0, 1.0], names, ["f", "f", "m", "m"], seed=1, resamples=200).high
    1.0
    """
    array = np.asarray(values, dtype=np.float64)
    keep = np.isfinite(array)
    sums, counts = _group_totals(array[keep], np.asarray(clusters)[keep], np.asarray(groups)[keep])
    size = len(sums)
    if size < 2 or sums.shape[1] < 2:
        return Interval(None, None, size, "no interval: fewer than 2 subjects or groups")
    tail = (1 - level) / 2
    if size > LINEAR_ABOVE:
        return Interval(*_linearised_gap(sums, counts, tail), size, "normal interval, clustered by subject")
    drawn = _weights(size, seed, resamples).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (drawn @ sums) / (drawn @ counts)
    some = means[np.isfinite(means).any(axis=1)]
    low, high = np.quantile(np.nanmax(some, axis=1) - np.nanmin(some, axis=1), [tail, 1 - tail])
    return Interval(float(low), float(high), size, few(size))


def _group_totals(values: Floats, clusters: NDArray[Any], groups: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the sums and the numbers (clusters, groups) of values, in an order that no name decides."""
    codes, group = pd.factorize(clusters)[0], pd.factorize(groups, sort=True)[0]
    order = np.lexsort((values, codes, group))
    values, codes, group = values[order], codes[order], group[order]
    shape = (int(codes.max(initial=-1)) + 1, int(group.max(initial=-1)) + 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (codes, group), values)
    np.add.at(counts, (codes, group), 1)
    rows = np.lexsort((*sums.T, *counts.T)) if shape[1] else np.arange(shape[0])
    return sums[rows], counts[rows]


def _linearised_gap(sums: Floats, counts: Floats, tail: float) -> tuple[float, float]:
    totals = counts.sum(axis=0)
    means = sums.sum(axis=0) / totals
    residuals = (sums - means * counts) / totals
    high, low = int(means.argmax()), int(means.argmin())
    variance = _clustered_variance(residuals[:, high] - residuals[:, low], 1.0)
    gap, half = means[high] - means[low], float(ndtri(1 - tail)) * math.sqrt(variance)
    return max(0.0, float(gap - half)), float(gap + half)


# Differences between two methods


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Any] | NDArray[Any],
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Paired:
    """Return the mean of a - b over common items, its cluster-bootstrap interval and a sign-flip permutation p-value.

    Items at which one of the two has no finite value are left out (`n` says how many remain). Under the null
    hypothesis a cluster's difference is as likely as its negative: the p-value is the share of sign patterns whose
    mean is at least as far from 0 as the one observed, over all 2^C patterns where these are at most `EXACT_FLIPS`,
    else (1 + hits) / (1 + resamples) over seeded random ones.

    >>> paired_difference([3.0, 2.0, 1.0], [0.0, 0.0, 0.0], ["a", "b", "c"], seed=0).p_value
    0.25
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return paired_differences([(difference, clusters)], seed=seed, resamples=resamples, level=level)[0]


def paired_differences(
    differences: Sequence[tuple[ArrayLike, Sequence[Any] | NDArray[Any]]],
    *,
    seed: int,
    resamples: int = 10_000,
    level: float = 0.95,
) -> list[Paired]:
    """Return `paired_difference` of many pairs at once, from (values of a - b, clusters) each: the draws are made once.

    Two threads share the work; what is computed together is fixed, so they change no digit.

    >>> paired_differences([([3.0, 2.0], ["a", "b"]), ([], [])], seed=0)[1].note
    'no item in common'
    """
    parts = [differences[at : at + _TOGETHER] for at in range(0, len(differences), _TOGETHER)]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda part: _paired(part, seed, resamples, level), parts)
        return [paired for part in found for paired in part]


def _paired(
    differences: Sequence[tuple[ArrayLike, Sequence[Any] | NDArray[Any]]], seed: int, resamples: int, level: float
) -> list[Paired]:
    values = [np.asarray(difference, dtype=np.float64) for difference, _ in differences]
    totals = [cluster_totals(one, clusters) for one, (_, clusters) in zip(values, differences, strict=True)]
    intervals, p_values = _bootstrap(totals, seed, resamples, level), _sign_flips(totals, seed, resamples)
    return [
        Paired(mean(one[np.isfinite(one)]), i.low, i.high, p, int(counts.sum()), len(sums), i.note)
        if len(sums)
        else Paired(None, None, None, None, 0, 0, "no item in common")
        for one, (sums, counts), i, p in zip(values, totals, intervals, p_values, strict=True)
    ]


def _sign_flips(totals: Sequence[Totals], seed: int, resamples: int) -> list[float | None]:
    """Return for each pair the share of sign patterns whose sum is at least as far from 0; None below 2 clusters."""
    found: dict[int, float | None] = {}
    for size, places in _by_size(totals).items():
        if size < 2:
            shares: Sequence[float | None] = [None] * len(places)
        elif 2**size <= EXACT_FLIPS:
            shares = [_exact_share(totals[place][0]) for place in places]
        else:
            shares = _random_shares(np.stack([totals[place][0] for place in places], axis=1), seed, resamples)
        found.update(zip(places, shares, strict=True))
    return [found[place] for place in range(len(totals))]


def _bound(sums: Floats) -> Floats:
    """Return how far from 0 a pattern's sum must be to count: ties up to rounding do. Along axis 0."""
    return np.asarray(np.abs(sums.sum(axis=0)) - 1e-12 * np.abs(sums).sum(axis=0))


def _exact_share(sums: Floats) -> float:
    patterns = np.zeros(1)
    for size in np.sort(np.abs(sums)):
        patterns = np.concatenate([patterns + size, patterns - size])
    return float(np.mean(np.abs(patterns) >= _bound(sums)))


def _random_shares(sums: Floats, seed: int, resamples: int) -> list[float]:
    """Return (1 + hits) / (1 + resamples) for each column of (clusters, k) sums, over the same random patterns."""
    sizes, hits = np.sort(np.abs(sums), axis=0), np.zeros(sums.shape[1], dtype=np.int64)
    for signs in _signs(len(sums), seed, resamples):
        hits += (np.abs(signs @ sizes) >= _bound(sums)).sum(axis=0)
    return [float(share) for share in (1 + hits) / (1 + resamples)]


def _signs(size: int, seed: int, resamples: int) -> Iterator[Floats]:
    """Yield chunks of (rows, size) matrices of -1 and 1, `resamples` rows in all."""
    rng, step = np.random.Generator(np.random.PCG64(seed)), max(1, _CHUNK // size)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        bits = np.unpackbits(np.frombuffer(rng.bytes(rows * (-(-size // 8))), np.uint8).reshape(rows, -1), axis=1)
        yield bits[:, :size].astype(np.float64) * 2 - 1


def holm(p_values: Iterable[float | None]) -> list[float | None]:
    """Return Holm's step-down adjustment; entries without a p-value stay None and are not counted.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    given = list(p_values)
    order = sorted((p, i) for i, p in enumerate(given) if p is not None)
    adjusted, running = list(given), 0.0
    for rank, (p, i) in enumerate(order):
        running = max(running, min(1.0, p * (len(order) - rank)))
        adjusted[i] = running
    return adjusted


# The delete-group jackknife, for what a bootstrap gets wrong (Frechet distances)


def jackknife_groups(subjects: Iterable[Any], *, seed: int, groups: int = 20) -> dict[Any, int]:
    """Return a group number 0..groups-1 for each distinct subject: sorted names are shuffled by seed and dealt in turn.

    Two methods on one dataset get the same groups, which a paired comparison needs. With fewer subjects than groups
    every subject is a group of its own.

    >>> sorted(jackknife_groups(["b", "a", "b", "c"], seed=0, groups=2).values())
    [0, 0, 1]
    """
    names = sorted(set(subjects), key=str)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(names))
    return {names[place]: rank % groups for rank, place in enumerate(order)}


def jackknife(value: float, replicates: ArrayLike, level: float = 0.95) -> Jackknife | None:
    """Return standard error and bias-corrected value from the values without one group each; None below 2 groups.

    With g groups and replicates r: se^2 = (g-1)/g sum (r - mean r)^2 and corrected = g value - (g-1) mean r.

    >>> result = jackknife(2.0, [2.5, 2.0, 1.5])  # the mean of 1, 2, 3
    >>> round(result.standard_error, 6), round(result.bias_corrected, 6)
    (0.57735, 2.0)
    """
    left_out = np.asarray(replicates, dtype=np.float64)
    size = len(left_out)
    if size < 2 or not np.isfinite(left_out).all():
        return None
    middle = math.fsum(left_out) / size
    error = math.sqrt((size - 1) / size * math.fsum((left_out - middle) ** 2))
    half = float(stdtrit(size - 1, 0.5 + level / 2)) * error
    return Jackknife(value, error, size * value - (size - 1) * middle, value - half, value + half, size)


def jackknife_difference(
    a: float, replicates_a: ArrayLike, b: float, replicates_b: ArrayLike, level: float = 0.95
) -> Paired:
    """Return the difference a - b of two methods' values, from replicates that left out the same groups of subjects.

    The standard error is that of the difference per left-out group; p-value and interval by Student's t with g - 1
    degrees of freedom. `n` and `n_clusters` are the number of groups.
    """
    first, second = np.asarray(replicates_a, dtype=np.float64), np.asarray(replicates_b, dtype=np.float64)
    if first.shape != second.shape:
        return Paired(a - b, None, None, None, 0, 0, "the two have different jackknife groups")
    result = jackknife(a - b, first - second, level)
    if result is None:
        return Paired(a - b, None, None, None, 0, 0, "no jackknife: fewer than 2 groups of subjects")
    error, size = result.standard_error, result.n_groups
    p_value = (2 * float(stdtr(size - 1, -abs(a - b) / error))) if error > 0 else float(a == b)
    return Paired(a - b, result.low, result.high, p_value, size, size, few(size))


# Rates of dependent comparisons


def wilson(rate: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a rate over `n` (effective, not necessarily whole) trials.

    >>> low, high = wilson(0.5, 10)
    >>> round(low, 4), round(high, 4)
    (0.2366, 0.7634)
    >>> wilson(0.0, 96.0)[0]
    0.0
    """
    z2 = float(ndtri(0.5 + level / 2)) ** 2
    centre, half = rate + z2 / (2 * n), math.sqrt(z2 * rate * (1 - rate) / n + (z2 / (2 * n)) ** 2)
    low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    return (0.0 if rate == 0 else max(low, 0.0)), (1.0 if rate == 1 else min(high, 1.0))


def clustered_rate(errors: ArrayLike, clusters: Sequence[Any] | NDArray[Any], level: float = 0.95) -> Interval:
    """Return the score interval of a rate whose trials depend on each other within a subject, as FNMR's do.

    Wilson's interval at the effective number of trials p (1 - p) / V (Fogliato, Patil, Perona, IJCV 2024), with V
    the cluster variance C/(C-1) sum_c (e_c - p n_c)^2 / N^2. The effective number is never taken above N; where no
    trial or every trial failed, V says nothing, and it is the number of subjects (all trials of one then count once).

    Args:
        errors: (N,) 0 or 1 (or True, False).
        clusters: (N,) the subject of each trial.
        level: coverage.

    >>> clustered_rate([0, 0, 0, 0], ["a", "a", "b", "b"]).high == wilson(0.0, 2.0)[1]
    True
    """
    sums, counts = cluster_totals(np.asarray(errors, dtype=np.float64), clusters)
    size, total = len(sums), float(counts.sum())
    if size < 2:
        return Interval(None, None, size, f"no interval: {size or 'no'} subject{'s' * (size != 1)}")
    rate = float(sums.sum()) / total
    variance = _clustered_variance(sums - rate * counts, total)
    return Interval(*wilson(rate, _effective(rate, variance, total, size), level), size, few(size))


def dyadic_rate(
    probes: NDArray[Any], gallery: NDArray[Any], made_a: NDArray[Any], made_b: NDArray[Any], level: float = 0.95
) -> Interval:
    """Return the score interval of a rate over comparisons of different subjects (FMR).

    Comparisons depend on each other where they share a subject. With u_ab the errors minus the expected errors
    p n_ab between the subjects a and b (both directions together) and r_a = sum_b u_ab, the variance is
    V = C/(C-1) (sum_a r_a^2 - sum_{a<b} u_ab^2) / N^2, the sum over all products of two comparisons that have a
    subject in common (Fogliato, Patil, Perona, IJCV 2024). Then as in `clustered_rate`, except that without any error
    the effective number is that of the pairs of subjects that were compared. Memory is linear in errors and subjects.

    Args:
        probes: (e,) for each error the subject of the sample, 0..C-1; never equal to that of the reference.
        gallery: (e,) the subject of the reference.
        made_a: (C,) number of samples of each subject.
        made_b: (C,) number of references of each; every sample was compared with all references of other subjects.
        level: coverage.

    >>> ones = np.ones(40)
    >>> interval = dyadic_rate(np.array([0, 1, 2]), np.array([1, 0, 3]), ones, ones)  # 3 of 1560
    >>> round(interval.low, 5), round(interval.high, 5)
    (0.00055, 0.00674)
    """
    a, b = np.asarray(made_a, dtype=np.float64), np.asarray(made_b, dtype=np.float64)
    degree = a * (b.sum() - b) + b * (a.sum() - a)  # comparisons in which a subject takes part
    total, size = float(degree.sum()) / 2, int((degree > 0).sum())
    if size < 2:
        return Interval(None, None, size, "no interval: no comparison of different subjects")
    rate = len(probes) / total
    r = np.bincount(probes, minlength=len(a)) + np.bincount(gallery, minlength=len(a)) - rate * degree
    squares, pairs = _dyad_squares(probes, gallery, a, b, rate)
    variance = (float(np.square(r).sum()) - squares) * size / (size - 1) / total**2
    return Interval(*wilson(rate, _effective(rate, variance, total, pairs), level), size, few(size))


def _dyad_squares(
    probes: NDArray[Any], gallery: NDArray[Any], a: Floats, b: Floats, rate: float
) -> tuple[float, float]:
    """Return sum_{a<b} (e_ab - rate n_ab)^2 from the few pairs with errors, and the number of compared pairs."""
    low, high = np.minimum(probes, gallery), np.maximum(probes, gallery)
    keys, errors = np.unique(low.astype(np.int64) * len(a) + high, return_counts=True)
    low, high = np.divmod(keys, len(a))
    compared = a[low] * b[high] + a[high] * b[low]
    both, each = a * b, np.square(a)
    expected = each.sum() * np.square(b).sum() + both.sum() ** 2 - 2 * np.square(both).sum()
    has_a, has_b = float((a > 0).sum()), float((b > 0).sum())
    two, only = float((both > 0).sum()), float(((a > 0) ^ (b > 0)).sum())
    pairs = two * (two - 1) / 2 + two * only + (has_a - two) * (has_b - two)
    return float((errors**2 - 2 * rate * errors * compared).sum() + rate**2 * expected), pairs


def _effective(rate: float, variance: float, trials: float, units: float) -> float:
    """Return the effective number of trials: `units` where the rate is 0 or 1, else p (1 - p) / V, at most `trials`."""
    if rate in (0.0, 1.0):
        return float(units)
    return min(trials, rate * (1 - rate) / variance) if variance > 0 else trials
