"""Scores of the distances between the FLAME parameters of the samples of one item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.metrics.functional.flame import DIMENSION, Distance, distances
from bench.metrics.protocol import Evaluation, Features, Number, Result, Score
from bench.metrics.shared.diversity import Pairs, diversity_scores, item_table, pairs_within, verified_scores
from bench.metrics.shared.eligibility import eligibility_of, finite
from bench.metrics.shared.scores import absent, concat
from bench.metrics.shared.thresholds import Verified, verified


def flame_diversity(evaluation: Evaluation, metric: str, kinds: Mapping[str, Distance]) -> Result:
    """Return means over items and pairs, and over verified pairs, for every FLAME extractor and each distance.

    Args:
        evaluation: with features of the role "flame".
        metric: its name.
        kinds: prefix of the statistics' names -> distance.
    """
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    passed = list(verified(evaluation))
    for variant in evaluation.of_role("flame", evaluation.features):
        features = evaluation.features[variant]
        if features.samples.shape[1] != DIMENSION and finite(features.samples).any():
            reason = f"{features.samples.shape[1]} numbers per face; a FLAME feature has {DIMENSION}"
            scores.append(absent(Number(metric, variant, "mean_items"), reason))
            continue
        more, frames = _variant(evaluation, features, Number(metric, variant), kinds, passed)
        scores += more
        tables += frames
    if not scores:
        scores = [absent(Number(metric, "", "mean_items"), "no FLAME extractor was run")]
    return Result(tuple(scores), None, concat(tables))


def _variant(
    evaluation: Evaluation,
    features: Features,
    number: Number,
    kinds: Mapping[str, Distance],
    passed: Sequence[Verified],
) -> tuple[list[Score], list[pd.DataFrame]]:
    eligibility = eligibility_of(evaluation, features)
    first, second = pairs_within(eligibility.item, eligibility.valid)
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    for prefix, distance in kinds.items():
        pairs = Pairs(first, second, distances(features.samples, first, second, distance))
        scores += diversity_scores(evaluation, eligibility, pairs, number, prefix, eligibility.note)
        scores += verified_scores(evaluation, eligibility, pairs, number, passed, prefix)
        tables.append(item_table(evaluation, eligibility, pairs, number, prefix))
    return scores, tables
