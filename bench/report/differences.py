"""Which differences between runs are real: every two of them paired, number by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics import declared
from bench.metrics.protocol import NUMBER, REPLICATE, Number, Pairing
from bench.report.frames import Run, common_items, of_number
from bench.report.numbers import numbers
from bench.statistics import Paired, holm, jackknife_difference, paired_differences

DIFFERENCES = [*NUMBER, "a", "b", "difference", "low", "high", "p_value", "p_holm", "n", "n_clusters", "note"]
Difference = tuple[Number, str, str, Paired]
Floats = NDArray[np.float64]
Distance = tuple[float | None, Floats]
"""A distance of distributions (None where there is none) and its replicates."""


def differences(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Return the differences a - b between every two runs, corrected by Holm within each number.

    How a metric is paired is its declaration (`bench.metrics.protocol.Pairing`): by the items that all runs have, or by
    the replicates of a jackknife, which leave out the same groups of subjects in every run. The columns are those of
    `Comparison.differences`.

    Args:
        runs: label -> run, on one list under one protocol and evaluator.
    """
    found = [*_of_items(runs, common_items(list(runs.values()))), *_of_distances(runs)]
    rows = [
        (*number, a, b, p.difference, p.low, p.high, p.p_value, None, p.n, p.n_clusters, p.note)
        for number, a, b, p in found
    ]
    as_floats = dict.fromkeys(("difference", "low", "high", "p_value"), float)
    frame = pd.DataFrame(rows, columns=DIFFERENCES).astype(as_floats)
    controls = {name for name, run in runs.items() if run.is_control}
    family = frame["a"].isin(controls) | frame["b"].isin(controls)
    return frame.assign(p_holm=_adjusted(frame, family))


def _adjusted(frame: pd.DataFrame, family: pd.Series) -> pd.Series:
    """Return the p-values adjusted by Holm within each number and family."""
    adjusted = pd.Series(None, index=frame.index, dtype=object)
    for _, rows in frame.groupby([*NUMBER, family], sort=False):
        adjusted[rows.index] = holm([None if pd.isna(p) else p for p in rows["p_value"]])
    return adjusted.astype(float)


def _pairing(metric: str) -> Pairing:
    """Return how methods are compared on a metric; by items where the metric is not installed here."""
    found = declared.metric(metric)
    return found.pairing if found else Pairing.ITEMS


def _paired_by(frame: pd.DataFrame, pairing: Pairing) -> pd.DataFrame:
    """Return the rows of the metrics that are compared in a way."""
    names = [name for name in frame["metric"].unique() if _pairing(name) is pairing]
    return frame[frame["metric"].isin(names)]


def _of_items(runs: Mapping[str, Run], common: Sequence[str]) -> list[Difference]:
    """Return the numbers per item, every two runs paired on the items that both have a value for."""
    frame = pd.concat([run.items.assign(run=place) for place, run in enumerate(runs.values())], ignore_index=True)
    frame = _paired_by(frame[frame["item"].isin(common) & (frame["statistic"] != REPLICATE)], Pairing.ITEMS)
    names, values, subjects = _values(frame, len(runs))
    places = [(number, place, i, j) for place, number in enumerate(names) for i, j in combinations(range(len(runs)), 2)]
    pairs = [(values[place, i] - values[place, j], subjects) for _, place, i, j in places]
    labels = list(runs)
    paired = paired_differences(pairs, seed=0)
    return [(number, labels[i], labels[j], one) for (number, _, i, j), one in zip(places, paired, strict=True)]


def _values(frame: pd.DataFrame, runs: int) -> tuple[list[Number], Floats, NDArray[np.int64]]:
    """Return the numbers, their (numbers, runs, items) values (NaN where there is none), and codes of subjects.

    A subject's code is that of each item, (items,).
    """
    number = frame.groupby(NUMBER, sort=True).ngroup().to_numpy()
    names = numbers(frame.iloc[np.unique(number, return_index=True)[1]])
    item, items = pd.factorize(frame["item"])
    values = np.full((len(names), runs, len(items)), np.nan)
    # Of rows that say the same twice the first one counts: it is written last.
    back = slice(None, None, -1)
    place = (number[back], frame["run"].to_numpy()[back], item[back])
    values[place] = frame["value"].to_numpy(dtype=float)[back]
    subjects = pd.factorize(frame["subject"].to_numpy()[~frame["item"].duplicated().to_numpy()])[0]
    return names, values, subjects


def _of_distances(runs: Mapping[str, Run]) -> list[Difference]:
    """Return the distances of distributions, every two runs paired by their jackknife."""
    replicates = {name: _replicates(run) for name, run in runs.items()}
    names = sorted(set().union(*replicates.values()))
    found = {name: [_distance(run, number, replicates[name]) for number in names] for name, run in runs.items()}
    items = {name: frozenset(run.samples["item"]) for name, run in runs.items()}
    same = {(a, b): items[a] == items[b] for a, b in combinations(runs, 2)}
    return [
        (number, a, b, _pair_replicates(found[a][place], found[b][place], same_items=same_items))
        for place, number in enumerate(names)
        for (a, b), same_items in same.items()
    ]


def _replicates(run: Run) -> dict[Number, Floats]:
    """Return each number's values that leave out one group of subjects each, ordered by group."""
    rows = _paired_by(run.items[run.items["statistic"] == REPLICATE], Pairing.JACKKNIFE).sort_values("item")
    return {
        Number(*map(str, name))._replace(statistic=_replicated(str(name[0]))): part["value"].to_numpy(dtype=float)
        for name, part in rows.groupby(NUMBER)
    }


def _replicated(metric: str) -> str:
    """Return the statistic of which the replicates of a metric are values.

    >>> _replicated("fid"), _replicated("kid")
    ('distance', 'excluded')
    """
    found = declared.metric(metric)
    assert found is not None, "only installed metrics are paired by their jackknife"
    return next(one.name for one in found.statistics if one.replicated)


def _distance(run: Run, number: Number, replicates: Mapping[Number, Floats]) -> Distance:
    values = of_number(run.scores, number)["value"]
    value = None if values.empty or values.isna().any() else float(values.iloc[0])
    return value, replicates.get(number, np.empty(0))


def _pair_replicates(first: Distance, second: Distance, *, same_items: bool) -> Paired:
    if first[0] is None or second[0] is None or not same_items:
        return Paired(None, None, None, None, 0, 0, "no distance over the same items in both")
    return jackknife_difference(first[0], first[1], second[0], second[1])
