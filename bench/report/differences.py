"""Which differences between runs are real: every two of them paired, number by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.shared.frechet_scores import REPLICATE, replicated
from bench.report.frames import Number, Run, common_items, of_number
from bench.statistics import Paired, holm, jackknife_difference, paired_differences

KEYS = ["metric", "variant", "statistic"]
DIFFERENCES = [*KEYS, "a", "b", "difference", "low", "high", "p_value", "p_holm", "n", "n_clusters", "note"]
Difference = tuple[Number, str, str, Paired]
Floats = NDArray[np.float64]
Distance = tuple[float | None, Floats]
"""A distance of distributions (None where there is none) and its replicates."""


def differences(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Differences a - b between every two runs, corrected by Holm within each number (`Comparison.differences`).

    Numbers that stand per item are paired on the items that all runs have; distances of distributions (FID, KID) by the
    replicates of their jackknife, which leave out the same groups of subjects in every run.

    Args:
        runs: label -> run, on one list under one protocol and evaluator.
    """
    found = [*_of_items(runs, common_items(list(runs.values()))), *_of_distances(runs)]
    rows = [
        (*number, a, b, p.difference, p.low, p.high, p.p_value, None, p.n, p.n_clusters, p.note)
        for number, a, b, p in found
    ]
    numbers = dict.fromkeys(("difference", "low", "high", "p_value"), float)
    frame = pd.DataFrame(rows, columns=DIFFERENCES).astype(numbers)
    controls = {name for name, run in runs.items() if run.is_control}
    family = frame["a"].isin(controls) | frame["b"].isin(controls)
    return frame.assign(p_holm=_adjusted(frame, family))


def _adjusted(frame: pd.DataFrame, family: pd.Series) -> pd.Series:
    """p-values adjusted by Holm within each number and family."""
    adjusted = pd.Series(None, index=frame.index, dtype=object)
    for _, rows in frame.groupby([*KEYS, family], sort=False):
        adjusted[rows.index] = holm([None if pd.isna(p) else p for p in rows["p_value"]])
    return adjusted.astype(float)


def _of_items(runs: Mapping[str, Run], common: Sequence[str]) -> list[Difference]:
    """What stands per item, every two runs paired on the items that both have a value for."""
    frame = pd.concat([run.items.assign(run=place) for place, run in enumerate(runs.values())], ignore_index=True)
    frame = frame[frame["item"].isin(common) & (frame["statistic"] != REPLICATE)]
    numbers, values, subjects = _values(frame, len(runs))
    names = [
        (number, place, i, j) for place, number in enumerate(numbers) for i, j in combinations(range(len(runs)), 2)
    ]
    pairs = [(values[place, i] - values[place, j], subjects) for _, place, i, j in names]
    labels, paired = list(runs), paired_differences(pairs, seed=0)
    return [(number, labels[i], labels[j], one) for (number, _, i, j), one in zip(names, paired, strict=True)]


def _values(frame: pd.DataFrame, runs: int) -> tuple[list[Number], Floats, NDArray[np.int64]]:
    """The numbers, their (numbers, runs, items) values (NaN where there is none), and a code of each item's subject."""
    number, numbers = pd.factorize(pd.MultiIndex.from_frame(frame[KEYS]), sort=True)
    item, items = pd.factorize(frame["item"])
    values = np.full((len(numbers), runs, len(items)), np.nan)
    back = slice(None, None, -1)  # of rows that say the same twice the first one stands
    place = (number[back], frame["run"].to_numpy()[back], item[back])
    values[place] = frame["value"].to_numpy(dtype=float)[back]
    subjects = pd.factorize(frame["subject"].to_numpy()[~frame["item"].duplicated().to_numpy()])[0]
    return [(str(m), str(v), str(s)) for m, v, s in numbers], values, subjects


def _of_distances(runs: Mapping[str, Run]) -> list[Difference]:
    """Distances of distributions, every two runs paired by their jackknife."""
    replicates = {name: _replicates(run) for name, run in runs.items()}
    numbers = sorted(set().union(*replicates.values()))
    found = {name: [_distance(run, number, replicates[name]) for number in numbers] for name, run in runs.items()}
    items = {name: frozenset(run.samples["item"]) for name, run in runs.items()}
    same = {(a, b): items[a] == items[b] for a, b in combinations(runs, 2)}
    return [
        (number, a, b, _pair_replicates(found[a][place], found[b][place], same_items=same_items))
        for place, number in enumerate(numbers)
        for (a, b), same_items in same.items()
    ]


def _replicates(run: Run) -> dict[Number, Floats]:
    """Number -> the values that leave out one group of subjects each, ordered by group."""
    rows = run.items[run.items["statistic"] == REPLICATE].sort_values("item")
    return {
        (str(metric), str(variant), replicated(str(metric))): part["value"].to_numpy(dtype=float)
        for (metric, variant), part in rows.groupby(["metric", "variant"])
    }


def _distance(run: Run, number: Number, replicates: Mapping[Number, Floats]) -> Distance:
    values = of_number(run.scores, number)["value"]
    value = None if values.empty or values.isna().any() else float(values.iloc[0])
    return value, replicates.get(number, np.empty(0))


def _pair_replicates(first: Distance, second: Distance, *, same_items: bool) -> Paired:
    if first[0] is None or second[0] is None or not same_items:
        return Paired(None, None, None, None, 0, 0, "no distance over the same items in both")
    return jackknife_difference(first[0], first[1], second[0], second[1])
