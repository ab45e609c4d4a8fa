"""Within-item similarity: do the samples of one item show one person, whoever it is?"""

from __future__ import annotations

import pandas as pd

from bench.metrics.functional.cosine import cosines
from bench.metrics.protocol import Evaluation, Metric, Result
from bench.metrics.shared.diversity import Pairs, diversity_scores, item_table, pairs_within
from bench.metrics.shared.eligibility import directed, standing
from bench.metrics.shared.scores import recognisers, together

NAME = "within_similarity"


def compute(evaluation: Evaluation) -> Result:
    """Mean cosine between the embeddings of an item's samples, under every recogniser.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_items")
    [0.6]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_items")
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        features = evaluation.features[recogniser]
        who = standing(evaluation, features, usable=directed)
        first, second = pairs_within(who.item, who.valid)
        pairs = Pairs(first, second, cosines(features.samples, first, features.samples, second))
        scores += diversity_scores(evaluation, who, pairs, (NAME, recogniser), note=who.note)
        tables.append(item_table(evaluation, who, pairs, (NAME, recogniser)))
    return Result(tuple(scores), None, together(tables))


METRIC = Metric(
    name=NAME,
    version=1,
    unit="cosine",
    higher_is_better=None,
    range=(-1.0, 1.0),
    reference="mean pairwise cosine of the embeddings of one item's samples",
    needs=("recognition",),
    compute=compute,
)
