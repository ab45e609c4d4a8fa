"""Which differences between runs are real: every two of them paired, number by number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.frechet_scores import REPLICATE, replicated
from bench.report.frames import Number, Run, common_items, of_number
from bench.statistics import Paired, holm, jackknife_difference, paired_differences

KEYS = ["metric", "variant", "statistic"]
DIFFERENCES = [*KEYS, "a", "b", "difference", "low", "high", "p_value", "p_holm", "n", "n_clusters", "note"]
Difference = tuple[Number, str, str, Paired]
Replicates = NDArray[np.float64]
Distance = tuple[float | None, Replicates]
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
    frame = pd.concat([run.items.assign(run=name) for name, run in runs.items()], ignore_index=True)
    frame = frame[frame["item"].isin(common) & (frame["statistic"] != REPLICATE)]
    pairs = [
        ((str(metric), str(variant), str(statistic)), a, b, values)
        for (metric, variant, statistic), rows in frame.groupby(KEYS, sort=True)
        for a, b, values in _pairs_of(rows, list(runs))
    ]
    paired = paired_differences([values for *_, values in pairs], seed=0)
    return [(number, a, b, one) for (number, a, b, _), one in zip(pairs, paired, strict=True)]


def _pairs_of(rows: pd.DataFrame, names: list[str]) -> Iterator[tuple[str, str, tuple[Any, Any]]]:
    """For every two runs the differences per item, with the subject's code of each."""
    rows = rows.drop_duplicates(["item", "run"])
    wide = rows.pivot(index="item", columns="run", values="value").reindex(columns=names)
    subjects = rows.drop_duplicates("item").set_index("item")["subject"].reindex(wide.index)
    codes, values = pd.factorize(subjects)[0], wide.to_numpy(dtype=float)
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        yield a, b, (values[:, i] - values[:, j], codes)


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


def _replicates(run: Run) -> dict[Number, Replicates]:
    """Number -> the values that leave out one group of subjects each, ordered by group."""
    rows = run.items[run.items["statistic"] == REPLICATE].sort_values("item")
    return {
        (str(metric), str(variant), replicated(str(metric))): part["value"].to_numpy(dtype=float)
        for (metric, variant), part in rows.groupby(["metric", "variant"])
    }


def _distance(run: Run, number: Number, replicates: Mapping[Number, Replicates]) -> Distance:
    values = of_number(run.scores, number)["value"]
    value = None if values.empty or values.isna().any() else float(values.iloc[0])
    return value, replicates.get(number, np.empty(0))


def _pair_replicates(first: Distance, second: Distance, *, same_items: bool) -> Paired:
    if first[0] is None or second[0] is None or not same_items:
        return Paired(None, None, None, None, 0, 0, "no distance over the same items in both")
    return jackknife_difference(first[0], first[1], second[0], second[1])
