"""How aggregates become `Score`s, so that every figure has its n, its failures, its interval or its reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.protocol import Evaluation, Score
from bench.metrics.shared.eligibility import Rows
from bench.statistics import Interval, cluster_bootstrap_mean, mean

Name = tuple[str, str, str]
"""Metric, variant and statistic of a score."""


def named(mapping: Mapping[str, Any], role: str) -> list[str]:
    """Names of a role: the role itself and whatever begins with it and an underscore, in the mapping's order.

    >>> named({"flame_smirk": 0, "inception": 0, "flame": 0}, "flame")
    ['flame_smirk', 'flame']
    """
    return [name for name in mapping if name == role or name.startswith(role + "_")]


def notes(*parts: str) -> str:
    """The non-empty parts, without repetition, joined by semicolons.

    >>> notes("a", "", "b", "a")
    'a; b'
    """
    return "; ".join(dict.fromkeys(part for part in parts if part))


def number(value: Any) -> float | None:
    """A plain float, or None for what is not finite."""
    return float(value) if value is not None and np.isfinite(value) else None


def absent(name: Name, reason: str, **counts: Any) -> Score:
    """A score without a value."""
    return Score(*name, None, note=reason, **counts)


def recognisers(evaluation: Evaluation, metric: str, statistic: str) -> tuple[list[str], list[Score]]:
    """The recognisers that have features, and a score without value for each other one (or for there being none)."""
    present = [name for name in evaluation.recognisers if name in evaluation.features]
    missing = [name for name in evaluation.recognisers if name not in evaluation.features]
    scores = [absent((metric, name, statistic), "this recogniser was not run") for name in missing]
    return present, scores if present or missing else [absent((metric, "", statistic), "no recogniser was run")]


def mean_score(
    name: Name,
    values: NDArray[Any],
    clusters: NDArray[Any],
    seed: int,
    *,
    empty: str,
    note: str = "",
    **counts: Any,
) -> Score:
    """The mean of values with its interval clustered by subject; n/a with the reason `empty` where there are none.

    Args:
        name: metric, variant, statistic.
        values: (k,) finite numbers.
        clusters: (k,) the subject of each.
        seed: of the bootstrap.
        empty: the note of a score without a value.
        note: what else the reader must know.
        **counts: other fields of `Score`; `n` is k unless given.
    """
    counts = {"n": len(values)} | counts
    if not len(values):
        return absent(name, notes(empty, note), **counts)
    interval = cluster_bootstrap_mean(values, clusters, seed=seed)
    return with_interval(name, mean(values), interval, note=note, **counts)


def with_interval(name: Name, value: Any, interval: Interval, *, note: str = "", **counts: Any) -> Score:
    """A score from a value and its interval; the interval's own note is appended."""
    return Score(*name, number(value), interval.low, interval.high, note=notes(note, interval.note), **counts)


def item_values(evaluation: Evaluation, item: Rows, values: NDArray[Any], name: Name) -> pd.DataFrame:
    """The long table of an aggregate per item: the mean of the item's values, NaN where none is finite.

    Args:
        evaluation: gives the items' names and subjects.
        item: (k,) row of `Evaluation.references` of each value; only items that occur here get a row.
        values: (k,) numbers; NaN ones are left out of their item's mean.
        name: metric, variant, statistic.
    """
    rows, size, finite = np.unique(item), len(evaluation.references), np.isfinite(values)
    totals = np.bincount(item[finite], values[finite], minlength=size)
    with np.errstate(invalid="ignore"):
        means = totals / np.bincount(item[finite], minlength=size)
    frame = evaluation.references.iloc[rows][["item", "subject"]].reset_index(drop=True)
    return frame.assign(metric=name[0], variant=name[1], statistic=name[2], value=means[rows])


def together(frames: Iterable[pd.DataFrame]) -> pd.DataFrame | None:
    """The long tables one below the other; None where there is none."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else None
