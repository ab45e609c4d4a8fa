"""Diversity: distances between the samples of one item, averaged the two ways that a paper may mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.cosine import Floats
from bench.metrics.protocol import Evaluation, Score
from bench.metrics.shared.eligibility import Mask, Rows, Standing, subjects
from bench.metrics.shared.scores import absent, item_values, mean_score


@dataclass(frozen=True, eq=False)
class Pairs:
    """Unordered pairs of samples of one item: rows `first` and `second` of `Evaluation.samples`, and their distance."""

    first: Rows
    second: Rows
    values: Floats

    def where(self, mask: NDArray[np.bool_]) -> Pairs:
        """The pairs for which the mask holds."""
        return Pairs(self.first[mask], self.second[mask], self.values[mask])


def pairs_within(item: Rows, valid: Mask) -> tuple[Rows, Rows]:
    """All unordered pairs of valid rows that have the same item.

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
    """The pairs of a distance table (item, i, j, value) whose samples are both valid and whose value is finite.

    A pair is taken once, whichever way round it is listed; rows that name no sample are left out.
    """
    keys = zip(evaluation.samples["item"], evaluation.samples["index"], strict=True)
    rows = {key: row for row, key in enumerate(keys)}
    ends = [
        np.array([rows.get(key, -1) for key in zip(table["item"], table[end], strict=True)], dtype=np.int64)
        for end in ("i", "j")
    ]
    low, high, values = np.minimum(*ends), np.maximum(*ends), table["value"].to_numpy(dtype=np.float64)
    keep = (low >= 0) & (low < high) & np.isfinite(values)
    keep[keep] &= valid[low[keep]] & valid[high[keep]]
    keep &= ~pd.DataFrame({"low": low, "high": high, "out": ~keep}).duplicated().to_numpy()
    return Pairs(low[keep], high[keep], values[keep])


def diversity_scores(
    evaluation: Evaluation, who: Standing, pairs: Pairs, name: tuple[str, str], statistic: str = "", note: str = ""
) -> list[Score]:
    """`mean_items`: over an item's pairs, then over items; `mean_pairs`: over all pairs. Both clustered by subject.

    Args:
        evaluation: names and subjects.
        who: who counts.
        pairs: of valid samples.
        name: metric and variant.
        statistic: prefix of the statistics' names.
        note: what the reader must know.
    """
    size = len(evaluation.references)
    item, people = who.item[pairs.first], pd.factorize(subjects(evaluation.references))[0]
    number = np.bincount(item, minlength=size)
    rows = np.flatnonzero(number)
    means = np.bincount(item, pairs.values, minlength=size)[rows] / number[rows]
    counts = {"n": int(who.valid.sum()), "n_items": len(rows), "n_pairs": len(item), **who.counts()}
    reason, seed = "no item with 2 valid samples", evaluation.seed
    per_pair = (*name, f"{statistic}mean_pairs")
    return [
        mean_score((*name, f"{statistic}mean_items"), means, people[rows], seed, empty=reason, note=note, **counts),
        mean_score(per_pair, pairs.values, people[item], seed, empty=reason, note=note, **counts),
    ]


def verified_scores(
    evaluation: Evaluation,
    who: Standing,
    pairs: Pairs,
    name: tuple[str, str],
    passed: list[tuple[str, Mask | None, str]],
    statistic: str = "",
) -> Iterator[Score]:
    """`mean_items[verified <recogniser>@<level>]`: over the pairs in which both samples verify as their person.

    Losing the person then doesn't pay.
    """
    for label, mask, reason in passed:
        suffix = f"[verified {label}]"
        if mask is None:
            counts = {"n": int(who.valid.sum()), **who.counts()}
            yield absent((*name, f"{statistic}mean_items{suffix}"), f"no threshold: {reason}", **counts)
            continue
        both = pairs.where(mask[pairs.first] & mask[pairs.second])
        score = diversity_scores(evaluation, who, both, name, statistic)[0]
        empty = "no item with 2 verified samples" if score.value is None else score.note
        yield replace(score, statistic=f"{score.statistic}{suffix}", note=empty)


def item_table(
    evaluation: Evaluation, who: Standing, pairs: Pairs, name: tuple[str, str], statistic: str = ""
) -> pd.DataFrame:
    """What `compare` pairs: the mean over an item's pairs, NaN for an eligible item without one."""
    trial = np.flatnonzero(who.eligible)
    item = np.concatenate([who.item[pairs.first], who.item[trial]])
    values = np.concatenate([pairs.values, np.full(len(trial), np.nan)])
    return item_values(evaluation, item, values, (*name, f"{statistic}mean_items"))
