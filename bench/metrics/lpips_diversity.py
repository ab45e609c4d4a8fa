"""LPIPS diversity: perceptual distance between the samples of one item, on faces without background."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.protocol import Evaluation, Metric, Result, Score
from bench.metrics.shared.diversity import Pairs, diversity_scores, item_table, listed_pairs, verified_scores
from bench.metrics.shared.eligibility import Standing, standing
from bench.metrics.shared.scores import absent, named, notes, together
from bench.metrics.verification import verified

NAME = "lpips_diversity"


def _note(who: Standing, pairs: Pairs) -> str:
    """Samples with a face that are in no pair: alone in their item, or without a masked crop."""
    paired = np.zeros(len(who.valid), dtype=bool)
    paired[pairs.first], paired[pairs.second] = True, True
    alone = int((who.valid & ~paired).sum())
    return notes(who.note, f"{alone} samples with a face are in no pair" if alone else "")


def _foreground(evaluation: Evaluation, who: Standing, table: pd.DataFrame, variant: str) -> list[Score]:
    """Mean share of the paired crops that was left by the mask; nothing where the table does not tell it."""
    if not {"foreground_i", "foreground_j"} <= set(table):
        return []
    shares = table.assign(value=(table["foreground_i"] + table["foreground_j"]) / 2)
    pairs = listed_pairs(evaluation, shares, who.valid)
    return diversity_scores(evaluation, who, pairs, (NAME, variant), "foreground_")[:1]


def compute(evaluation: Evaluation) -> Result:
    """Mean LPIPS over an item's pairs and then over items, and over all pairs, for every LPIPS network that was run.

    Beside them `foreground_mean_items`, the share of the crops that is no background: pixels filled alike add 0.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_items")
    [0.3]
    """
    names = [name for name in named(evaluation.pairs, "lpips") if "j" in evaluation.pairs[name].columns]
    if not names:
        return Result((absent((NAME, "", "mean_items"), "LPIPS was not run"),))
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    who, passed = standing(evaluation), list(verified(evaluation))
    for variant in names:
        pairs = listed_pairs(evaluation, evaluation.pairs[variant], who.valid)
        scores += diversity_scores(evaluation, who, pairs, (NAME, variant), note=_note(who, pairs))
        scores += verified_scores(evaluation, who, pairs, (NAME, variant), passed)
        scores += _foreground(evaluation, who, evaluation.pairs[variant], variant)
        tables.append(item_table(evaluation, who, pairs, (NAME, variant)))
    return Result(tuple(scores), None, together(tables))


METRIC = Metric(
    name=NAME,
    version=1,
    unit="LPIPS",
    higher_is_better=True,
    range=(0.0, None),
    reference="Zhang et al., CVPR 2018, v0.1; Papantoniou et al., Arc2Face, ECCV 2024, section 4.1.3",
    needs=("lpips",),
    compute=compute,
)
