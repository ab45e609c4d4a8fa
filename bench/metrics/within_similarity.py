"""Within-item similarity: do the samples of one item show one person, whoever it is?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats, Rows
from bench.metrics.functional.cosine import blocks
from bench.metrics.functional.similarity import alike
from bench.metrics.protocol import Evaluation, Features, Metric, Number, Result, Statistic
from bench.metrics.shared.diversity import Pairs, diversity_scores, item_table, pairs_within
from bench.metrics.shared.eligibility import eligibility_of, nonzero
from bench.metrics.shared.recompute import item_means
from bench.metrics.shared.scores import concat, recognisers

NAME = "within_similarity"
_PAIRS = 2**16
"""Pairs whose features are in memory together."""


def compute(evaluation: Evaluation) -> Result:
    """Return the mean cosine between the embeddings of an item's samples, under every recogniser.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_items")
    [0.6]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_items")
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        number = Number(NAME, recogniser)
        features = evaluation.features[recogniser]
        eligibility = eligibility_of(evaluation, features, usable=nonzero)
        first, second = pairs_within(eligibility.item, eligibility.valid)
        pairs = Pairs(first, second, _similarities(features, first, second))
        scores += diversity_scores(evaluation, eligibility, pairs, number, note=eligibility.note)
        tables.append(item_table(evaluation, eligibility, pairs, number))
    return Result(tuple(scores), None, concat(tables))


def _similarities(features: Features, first: Rows, second: Rows) -> Floats:
    """Return the similarity (k,) of pairs of samples; features on a disk are read some items at a time."""
    order, values = np.argsort(first, kind="stable"), np.empty(len(first))
    for part in blocks(len(order), _PAIRS):
        mine = order[part]
        rows, ends = np.unique(np.stack([first[mine], second[mine]]), return_inverse=True)
        near = features.samples[rows]
        one, other = ends.reshape(2, -1)
        values[mine] = alike(near, one, near, other, features.distance)
    return values


METRIC = Metric(
    name=NAME,
    version=1,
    title="similarity within an item",
    unit="cosine",
    higher_is_better=None,
    range=(-1.0, 1.0),
    source="mean pairwise cosine of the embeddings of one item's samples",
    needs=("recognition",),
    statistics=(
        Statistic("mean_items", "mean"),
        Statistic("mean_pairs", "mean over all pairs"),
    ),
    compute=compute,
    recompute=item_means,
)
