"""How aggregates become `Score`s, so that every figure has its n, its failures, its interval or its reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Rows
from bench.metrics.protocol import Evaluation, Number, Score
from bench.statistics import Interval, cluster_bootstrap_mean, mean


def notes(*parts: str) -> str:
    """Return the non-empty parts, without repetition, joined by semicolons.

    >>> notes("a", "", "b", "a")
    'a; b'
    """
    return "; ".join(dict.fromkeys(part for part in parts if part))


def plain(value: Any) -> float | None:
    """Return a float, or None for what is not finite."""
    return float(value) if value is not None and np.isfinite(value) else None


def absent(number: Number, reason: str, **counts: Any) -> Score:
    """Return a score without a value, with the reason."""
    return Score(number, None, note=reason, **counts)


def recognisers(evaluation: Evaluation, metric: str, statistic: str) -> tuple[list[str], list[Score]]:
    """Return the recognisers that have features, and a score without value for each other one.

    Where the panel is empty, there is one score that says so.
    """
    present = [name for name in evaluation.recognisers if name in evaluation.features]
    missing = [name for name in evaluation.recognisers if name not in evaluation.features]
    scores = [absent(Number(metric, name, statistic), "this recogniser was not run") for name in missing]
    return present, scores if present or missing else [absent(Number(metric, "", statistic), "no recogniser was run")]


def mean_score(
    number: Number,
    values: NDArray[Any],
    clusters: NDArray[Any],
    seed: int,
    *,
    empty: str,
    note: str = "",
    drawn: bool = False,
    **counts: Any,
) -> Score:
    """Return the mean of values with its interval clustered by subject; n/a with the reason `empty` without values.

    Args:
        number: its name.
        values: (k,) finite numbers.
        clusters: (k,) the subject of each.
        seed: of the bootstrap.
        empty: the note of a score without a value.
        note: what else the reader must know.
        drawn: whether the values are of a seeded part of the subjects.
        **counts: other fields of `Score`; `n` is k unless given.
    """
    counts = {"n": len(values)} | counts
    if not len(values):
        return absent(number, notes(empty, note), drawn=drawn, **counts)
    interval = cluster_bootstrap_mean(values, clusters, seed=seed)
    return with_interval(number, mean(values), interval, note=note, drawn=drawn, **counts)


def with_interval(number: Number, value: Any, interval: Interval, *, note: str = "", **counts: Any) -> Score:
    """Return a score from a value and its interval; the interval's own note is appended."""
    return Score(number, plain(value), interval.low, interval.high, note=notes(note, interval.note), **counts)


def item_values(evaluation: Evaluation, item: Rows, values: NDArray[Any], number: Number) -> pd.DataFrame:
    """Return the long table of an aggregate per item: the mean of the item's values, NaN where none is finite.

    Args:
        evaluation: gives the items' names and subjects.
        item: (k,) row of `Evaluation.references` of each value; only items that occur here get a row.
        values: (k,) numbers; NaN ones are left out of their item's mean.
        number: its name.
    """
    rows, size, finite = np.unique(item), len(evaluation.references), np.isfinite(values)
    totals = np.bincount(item[finite], values[finite], minlength=size)
    with np.errstate(invalid="ignore"):
        means = totals / np.bincount(item[finite], minlength=size)
    index = pd.RangeIndex(len(rows))
    names = {name: evaluation.references[name].take(rows).set_axis(index) for name in ("item", "subject")}
    return pd.DataFrame({**names, **number._asdict(), "value": means[rows]}, index)


def concat(frames: Iterable[pd.DataFrame]) -> pd.DataFrame | None:
    """Return the long tables one below the other; None where there is none."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else None
