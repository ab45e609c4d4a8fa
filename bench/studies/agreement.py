"""Measure how far numbers agree with people: correlations, pairs within a source, and the ceiling of one rater.

People compare images made from the same source, so pairs are formed within a source, and everything is resampled by
source. Every metric is given so that higher is better; a sample without a value (no face) is -inf, the lowest rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bench.metrics.functional.cosine import Floats
from bench.statistics import Paired, cluster_bootstrap_mean, holm, mean, paired_differences

RESAMPLES = 1_000
Coefficient = Callable[[Floats, Floats], Floats]
"""(n, m) metrics and (n,) human scores -> (m,) coefficients; NaN for what does not vary."""


class Estimate(NamedTuple):
    """A number with its interval over sources; None where there is none."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class Pairs(NamedTuple):
    """Pairs of images of one source whose human scores differ.

    Attributes:
        better: (p,) row of the image that people prefer.
        worse: (p,) row of the other one.
        source: (p,) the source of both.
    """

    better: NDArray[np.int64]
    worse: NDArray[np.int64]
    source: NDArray[Any]


def plcc(metrics: Floats, human: Floats) -> Floats:
    """Return Pearson's correlation of each column with the human scores.

    >>> plcc(np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]]), np.array([2.0, 4.0, 6.0]))
    array([ 1., nan])
    """
    a, b = metrics - metrics.mean(axis=0), human - human.mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (a * b[:, None]).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum())
    return np.asarray(np.clip(correlation, -1, 1), dtype=np.float64)


def srcc(metrics: Floats, human: Floats) -> Floats:
    """Return Spearman's rank correlation of each column with the human scores; ties share their mean rank.

    >>> srcc(np.array([[1.0], [10.0], [100.0]]), np.array([1.0, 2.0, 3.0]))
    array([1.])
    """
    from scipy.stats import rankdata

    return plcc(rankdata(metrics, axis=0), rankdata(human))


def krcc(metrics: Floats, human: Floats) -> Floats:
    """Return Kendall's tau-b of each column with the human scores.

    >>> krcc(np.array([[1.0], [3.0], [2.0]]), np.array([1.0, 2.0, 3.0])).round(4)
    array([0.3333])
    """
    from scipy.stats import kendalltau

    return np.array([kendalltau(column, human).statistic for column in metrics.T])


def logistic_plcc(metrics: Floats, human: Floats) -> Floats:
    """Return Pearson's correlation after a logistic with a linear term was fitted from each column to the scores.

    The usual step of papers on image quality (five parameters): it forgives a metric an S-shaped scale. The fit sees
    the very scores that it is judged on, so the number is a little too high. NaN where the fit does not converge.

    >>> x = np.linspace(-2, 2, 20)
    >>> logistic_plcc(x[:, None], 1 / (1 + np.exp(-3 * x))).round(4)
    array([1.])
    """
    return np.array([_fitted_plcc(column, human) for column in metrics.T])


def _fitted_plcc(metric: Floats, human: Floats) -> float:
    from scipy.optimize import least_squares
    from scipy.special import expit

    def curve(x: Floats, height: float, slope: float, middle: float, tilt: float, level: float) -> Floats:
        return np.asarray(height * (expit(slope * (x - middle)) - 0.5) + tilt * x + level)

    if len(metric) < 6 or not metric.std() or not human.std():
        return float("nan")
    x, y = ((values - values.mean()) / values.std() for values in (metric, human))
    fit = least_squares(lambda p: curve(x, *p) - y, (1.0, 1.0, 0.0, 0.0, 0.0), method="lm", max_nfev=5_000)
    return float(plcc(curve(x, *fit.x)[:, None], y)[0]) if fit.success else float("nan")


RANKED: Mapping[str, Coefficient] = {"srcc": srcc, "krcc": krcc}
"""Coefficients that know an order alone, in which a sample without a value has a place."""


def resampled(coefficient: Coefficient, metrics: Floats, human: Floats, sources: NDArray[Any], seed: int) -> Floats:
    """Return (`RESAMPLES`, m) coefficients over sources drawn with replacement, the same draws for every column."""
    return np.stack([coefficient(metrics[rows], human[rows]) for rows in _draws(sources, seed)])


def _draws(sources: NDArray[Any], seed: int) -> Iterator[NDArray[np.int64]]:
    codes, names = pd.factorize(sources, sort=True)
    rows = [np.flatnonzero(codes == code) for code in range(len(names))]
    rng = np.random.Generator(np.random.PCG64(seed))
    for _ in range(RESAMPLES):
        yield np.concatenate([rows[code] for code in rng.integers(0, len(rows), len(rows))])


def estimate(value: float, draws: Floats, n: int) -> Estimate:
    """Return a coefficient with the percentile interval of its resamples; no interval where half of them have none."""
    draws = draws[np.isfinite(draws)]
    if not np.isfinite(value):
        return Estimate(None, None, None, n)
    if len(draws) < RESAMPLES / 2:
        return Estimate(float(value), None, None, n)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high), n)


def difference(draws_a: Floats, draws_b: Floats, value_a: float, value_b: float) -> Paired:
    """Return the difference of two coefficients from the same resamples, with a two-sided bootstrap p-value.

    The p-value is twice the share of resamples on the rarer side of 0, those at 0 counted on both.
    """
    draws = draws_a - draws_b
    draws = draws[np.isfinite(draws)]
    if not len(draws) or not np.isfinite(value_a - value_b):
        return Paired(None, None, None, None, 0, 0, "no coefficient")
    low, high = np.quantile(draws, [0.025, 0.975])
    rarer = min((draws <= 0).sum(), (draws >= 0).sum())
    p_value = min(1.0, 2 * (1 + float(rarer)) / (1 + len(draws)))
    return Paired(float(value_a - value_b), float(low), float(high), p_value, len(draws), len(draws))


# Pairs within a source


def pairs_of(human: ArrayLike, sources: NDArray[Any], width: float = 0.0) -> Pairs:
    """Return all pairs of one source whose human scores differ by more than `width`.

    >>> pairs_of([1.0, 3.0, 1.0, 9.0], np.array(["a", "a", "a", "b"]))[:2]
    (array([1, 1]), array([0, 2]))
    """
    scores, codes = np.asarray(human, dtype=np.float64), pd.factorize(sources)[0]
    first, second = [], []
    for code in range(codes.max(initial=-1) + 1):
        rows = np.flatnonzero(codes == code)
        i, j = np.triu_indices(len(rows), 1)
        first.append(rows[i])
        second.append(rows[j])
    a = np.concatenate([np.empty(0, np.int64), *first])
    b = np.concatenate([np.empty(0, np.int64), *second])
    apart = np.abs(scores[a] - scores[b]) > width
    a, b = a[apart], b[apart]
    up = scores[a] > scores[b]
    return Pairs(np.where(up, a, b), np.where(up, b, a), np.asarray(sources)[a])


def outcomes(metric: Floats, pairs: Pairs) -> Floats:
    """Return (p,) 1 where the metric prefers what people prefer, 0 where it prefers the other, 0.5 where it ties."""
    better, worse = metric[pairs.better], metric[pairs.worse]
    return np.asarray(np.where(better == worse, 0.5, better > worse), dtype=np.float64)


def accuracy(metric: Floats, pairs: Pairs, seed: int) -> Estimate:
    """Return the share of pairs on which a metric agrees with people, a tie of the metric as half a pair."""
    right = outcomes(metric, pairs)
    interval = cluster_bootstrap_mean(right, pairs.source, seed=seed)
    return Estimate(mean(right), interval.low, interval.high, len(right))


def within_source(metric: Floats, human: Floats, sources: NDArray[Any]) -> pd.Series:
    """Return Spearman's correlation inside each source; sources in which either does not vary are left out."""
    frame = pd.DataFrame({"metric": metric, "human": human, "source": sources})
    by_source = {
        name: float(srcc(part[["metric"]].to_numpy(), part["human"].to_numpy())[0])
        for name, part in frame.groupby("source", sort=True)
    }
    return pd.Series(by_source, dtype=np.float64).dropna()


def mean_within_source(metric: Floats, human: Floats, sources: NDArray[Any], seed: int) -> Estimate:
    """Return the mean over sources of Spearman's correlation inside each."""
    by_source = within_source(metric, human, sources)
    interval = cluster_bootstrap_mean(by_source.to_numpy(), by_source.index.to_numpy(), seed=seed)
    return Estimate(mean(by_source), interval.low, interval.high, len(by_source))


def system_level(metric: Floats, human: Floats, methods: NDArray[Any]) -> dict[str, Estimate]:
    """Return SRCC and KRCC between the methods' mean values and mean scores; few methods allow no interval."""
    known = np.isfinite(metric)
    frame = pd.DataFrame({"metric": metric[known], "human": human[known], "method": methods[known]})
    means = frame.groupby("method", sort=True)[["metric", "human"]].mean()
    columns, scores = means[["metric"]].to_numpy(), means["human"].to_numpy()
    return {
        name: estimate(coefficient(columns, scores)[0] if len(means) > 1 else np.nan, np.empty(0), len(means))
        for name, coefficient in RANKED.items()
    }


# Votes


def others_majority(votes: pd.DataFrame) -> NDArray[np.float64]:
    """Return, for each vote, what the other raters of its pair prefer: 1 for image a, 0 for b, NaN without a majority.

    Args:
        votes: columns pair (equal for the same two images in the same order) and value (1 for a, 0 for b, 0.5 a tie).

    >>> others_majority(pd.DataFrame({"pair": [0, 0, 0], "value": [1.0, 1.0, 0.0]}))
    array([nan, nan,  1.])
    """
    groups = votes.groupby("pair", sort=False)["value"]
    others = groups.transform("size").to_numpy() - 1
    rest = groups.transform("sum").to_numpy() - votes["value"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        share = rest / others
    return np.where((others < 1) | (share == 0.5), np.nan, (share > 0.5).astype(np.float64))


def vote_accuracy(preferred: Floats, majority: Floats, sources: NDArray[Any], seed: int) -> Estimate:
    """Return how often a preference (1, 0, or 0.5 for none) meets the others' majority, half for none.

    Put one rater's votes in for the ceiling: no metric can be asked to agree with people more than a person does.
    """
    known = np.isfinite(majority)
    right = 1 - np.abs(preferred[known] - majority[known])
    interval = cluster_bootstrap_mean(right, sources[known], seed=seed)
    return Estimate(mean(right), interval.low, interval.high, int(known.sum()))


def pair_differences(metrics: Mapping[str, Floats], pairs: Pairs, seed: int) -> dict[tuple[str, str], Paired]:
    """Return the differences of pairwise accuracy between all metrics, on the same pairs, clustered by source."""
    right = {name: outcomes(values, pairs) for name, values in metrics.items()}
    names = [(a, b) for place, a in enumerate(metrics) for b in list(metrics)[place + 1 :]]
    differences = paired_differences([(right[a] - right[b], pairs.source) for a, b in names], seed=seed)
    return dict(zip(names, differences, strict=True))


def adjusted(differences: Mapping[tuple[str, str], Paired]) -> list[float | None]:
    """Return Holm's p-values of a family of differences, in their order."""
    return holm(one.p_value for one in differences.values())
