"""Diversity: distances between the samples of one item, averaged the two ways that a paper may mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Floats, Mask, Rows
from bench.metrics.functional.cosine import blocks
from bench.metrics.protocol import Evaluation, Number, Score
from bench.metrics.shared.eligibility import Eligibility, subjects
from bench.metrics.shared.scores import absent, item_values, mean_score
from bench.metrics.shared.thresholds import Verified

NO_PAIR = "no item with 2 valid samples"
_PAIRS = 2**20
"""Pairs whose samples are looked up at once."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Unordered pairs of samples of one item: rows `first` and `second` of `Evaluation.samples`, and their distance."""

    first: Rows
    second: Rows
    values: Floats

    def where(self, mask: NDArray[np.bool_]) -> Pairs:
        """Return the pairs for which the mask holds."""
        return Pairs(self.first[mask], self.second[mask], self.values[mask])


def pairs_within(item: Rows, valid: Mask) -> tuple[Rows, Rows]:
    """Return all unordered pairs of valid rows that have the same item.

    >>> pairs_within(np.array([7, 7, 8, 7]), np.array([True, True, True, True]))
    (array([0, 1, 0]), array([1, 3, 3]))
    """
    rows = np.flatnonzero(valid)
    rows = rows[np.argsort(item[rows], kind="stable")]
    firsts, seconds = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for lag in range(1, len(rows)):
        same = item[rows[lag:]] == item[rows[:-lag]]
        if not same.any():
            break
        firsts.append(rows[:-lag][same])
        seconds.append(rows[lag:][same])
    return np.concatenate(firsts), np.concatenate(seconds)


def listed_pairs(evaluation: Evaluation, table: pd.DataFrame, valid: Mask) -> Pairs:
    """Return the pairs of a distance table (item, i, j, value) whose samples are both valid and whose value is finite.

    A pair is taken once, whichever way round it is listed; rows that name no sample are left out.
    """
    low, high = _ends(evaluation, table)
    values = table["value"].to_numpy(dtype=np.float64)
    keep = np.flatnonzero((low >= 0) & (low < high) & np.isfinite(values))
    keep = keep[valid[low[keep]] & valid[high[keep]]]
    first = np.unique(low[keep] * len(valid) + high[keep], return_index=True)[1]
    keep = keep[np.sort(first)]
    return Pairs(low[keep], high[keep], values[keep])


def _ends(evaluation: Evaluation, table: pd.DataFrame) -> tuple[Rows, Rows]:
    """Return the rows of the two samples of each pair, the smaller first; -1 where the run has no such sample.

    With one index of all pairs, scoring a million samples peaked at 7.5 GiB; some at a time, at 6.7 GiB.
    """
    rows = pd.MultiIndex.from_frame(evaluation.samples[["item", "index"]])
    ends = np.empty((2, len(table)), np.int64)
    for part in blocks(len(table), _PAIRS):
        for place, end in enumerate(("i", "j")):
            ends[place, part] = rows.get_indexer(pd.MultiIndex.from_frame(table.iloc[part][["item", end]]))
    return ends.min(axis=0), ends.max(axis=0)


def diversity_scores(
    evaluation: Evaluation, eligibility: Eligibility, pairs: Pairs, number: Number, statistic: str = "", note: str = ""
) -> list[Score]:
    """Return `mean_items` (over an item's pairs, then over items) and `mean_pairs` (over all pairs), by subject.

    Args:
        evaluation: names and subjects.
        eligibility: who counts.
        pairs: of valid samples.
        number: metric and variant.
        statistic: prefix of the statistics' names.
        note: what the reader must know.
    """
    over_items = mean_items(evaluation, eligibility, pairs, number, statistic, note)
    number = number._replace(statistic=f"{statistic}mean_pairs")
    owners = _owners(evaluation)[eligibility.item[pairs.first]]
    common = {"empty": NO_PAIR, "note": note, **_counts(over_items)}
    return [over_items, mean_score(number, pairs.values, owners, evaluation.seed, **common)]


def mean_items(
    evaluation: Evaluation, eligibility: Eligibility, pairs: Pairs, number: Number, statistic: str, note: str = ""
) -> Score:
    """Return `mean_items` alone; arguments as `diversity_scores`."""
    item, size = eligibility.item[pairs.first], len(evaluation.references)
    sizes = np.bincount(item, minlength=size)
    rows = np.flatnonzero(sizes)
    means = np.bincount(item, pairs.values, minlength=size)[rows] / sizes[rows]
    counts = {"n": int(eligibility.valid.sum()), "n_items": len(rows), "n_pairs": len(item), **eligibility.counts()}
    number = number._replace(statistic=f"{statistic}mean_items")
    owners = _owners(evaluation)[rows]
    return mean_score(number, means, owners, evaluation.seed, empty=NO_PAIR, note=note, **counts)


def _owners(evaluation: Evaluation) -> Rows:
    """Return the number (n_items,) of each item's subject."""
    return np.asarray(pd.factorize(subjects(evaluation.references))[0], dtype=np.int64)


def _counts(score: Score) -> dict[str, Any]:
    """Return the counts of a score."""
    return {name: getattr(score, name) for name in ("n", "n_items", "n_pairs", "n_failed", "n_unavailable")}


def verified_scores(
    evaluation: Evaluation,
    eligibility: Eligibility,
    pairs: Pairs,
    number: Number,
    passed: Sequence[Verified],
    statistic: str = "",
) -> Iterator[Score]:
    """Yield `mean_items` over the pairs in which both samples verify as their person, per recogniser and level.

    Losing the person then doesn't pay.
    """
    for one in passed:
        name = number._replace(statistic=f"{statistic}mean_items", level=one.level, subset=f"verified {one.recogniser}")
        if one.samples is None:
            counts = {"n": int(eligibility.valid.sum()), **eligibility.counts()}
            yield absent(name, f"no threshold: {one.note}", **counts)
            continue
        both = pairs.where(one.samples[pairs.first] & one.samples[pairs.second])
        score = mean_items(evaluation, eligibility, both, number, statistic)
        empty = "no item with 2 verified samples" if score.value is None else score.note
        yield replace(score, number=name, note=empty)


def item_table(
    evaluation: Evaluation, eligibility: Eligibility, pairs: Pairs, number: Number, statistic: str = ""
) -> pd.DataFrame:
    """Return what `compare` pairs: the mean over an item's pairs, NaN for an eligible item without one."""
    trial = np.flatnonzero(eligibility.trial)
    item = np.concatenate([eligibility.item[pairs.first], eligibility.item[trial]])
    values = np.concatenate([pairs.values, np.full(len(trial), np.nan)])
    return item_values(evaluation, item, values, number._replace(statistic=f"{statistic}mean_items"))
