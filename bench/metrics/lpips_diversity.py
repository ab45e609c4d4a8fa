"""LPIPS diversity: perceptual distance between the samples of one item, on faces without background."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.protocol import Evaluation, Metric, Number, Result, Score, Statistic, Tolerance
from bench.metrics.shared.diversity import (
    Pairs,
    diversity_scores,
    item_table,
    listed_pairs,
    mean_items,
    verified_scores,
)
from bench.metrics.shared.eligibility import Eligibility, eligibility_of
from bench.metrics.shared.recompute import item_means
from bench.metrics.shared.scores import absent, concat, notes
from bench.metrics.shared.thresholds import verified

NAME = "lpips_diversity"


def _note(eligibility: Eligibility, pairs: Pairs) -> str:
    """Return a note on samples with a face that are in no pair: alone in their item, or without a masked crop."""
    paired = np.zeros(len(eligibility.valid), dtype=bool)
    paired[pairs.first], paired[pairs.second] = True, True
    alone = int((eligibility.valid & ~paired).sum())
    return notes(eligibility.note, f"{alone} samples with a face are in no pair" if alone else "")


def _foreground(evaluation: Evaluation, eligibility: Eligibility, table: pd.DataFrame, number: Number) -> list[Score]:
    """Return the mean share of the paired crops that the mask kept; nothing where the table does not hold it."""
    if not {"foreground_i", "foreground_j"} <= set(table):
        return []
    shares = table.assign(value=(table["foreground_i"] + table["foreground_j"]) / 2)
    pairs = listed_pairs(evaluation, shares, eligibility.valid)
    return [mean_items(evaluation, eligibility, pairs, number, "foreground_")]


def compute(evaluation: Evaluation) -> Result:
    """Return mean LPIPS over an item's pairs and then over items, and over all pairs, for every LPIPS network.

    Next to them `foreground_mean_items`, the share of the crops that is not background: pixels filled alike add 0.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_items")
    [0.3]
    """
    names = evaluation.of_role("lpips", evaluation.pairs)
    if not names:
        return Result((absent(Number(NAME, "", "mean_items"), "LPIPS was not run"),))
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    eligibility = eligibility_of(evaluation)
    passed = list(verified(evaluation))
    for variant in names:
        number = Number(NAME, variant)
        pairs = listed_pairs(evaluation, evaluation.pairs[variant], eligibility.valid)
        scores += diversity_scores(evaluation, eligibility, pairs, number, note=_note(eligibility, pairs))
        scores += verified_scores(evaluation, eligibility, pairs, number, passed)
        scores += _foreground(evaluation, eligibility, evaluation.pairs[variant], number)
        tables.append(item_table(evaluation, eligibility, pairs, number))
    return Result(tuple(scores), None, concat(tables))


METRIC = Metric(
    name=NAME,
    version=1,
    title="LPIPS diversity",
    unit="LPIPS",
    higher_is_better=True,
    range=(0.0, None),
    source="Zhang et al., CVPR 2018, v0.1; Papantoniou et al., Arc2Face, ECCV 2024, section 4.1.3",
    needs=("lpips",),
    statistics=(
        Statistic("mean_items", "mean", headline=True, tile=True),
        Statistic("mean_pairs", "mean over all pairs"),
        Statistic("foreground_mean_items", "foreground", range=(0.0, 1.0)),
    ),
    compute=compute,
    tolerance=Tolerance(relative=2e-3),
    recompute=item_means,
)
