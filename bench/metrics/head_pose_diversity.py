"""Head pose diversity: the angle between the heads of the samples of one item, without any face model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.metrics.functional.rotation import angle_degrees
from bench.metrics.protocol import Evaluation, Metric, Number, Result, Score, Statistic, Tolerance
from bench.metrics.shared.diversity import Pairs, diversity_scores, item_table, pairs_within, verified_scores
from bench.metrics.shared.eligibility import eligibility_of
from bench.metrics.shared.heads import NONE, heads
from bench.metrics.shared.recompute import item_means
from bench.metrics.shared.scores import absent, concat
from bench.metrics.shared.thresholds import Verified, verified

NAME = "head_pose_diversity"


def compute(evaluation: Evaluation) -> Result:
    """Return the mean angle in degrees between the heads of an item's samples, and over verified pairs.

    >>> import numpy as np
    >>> from dataclasses import replace
    >>> from bench.metrics.protocol import Features
    >>> from bench.metrics.shared.example import example, numbers
    >>> front, quarter = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 1, 0, -1, 0, 0]
    >>> heads = Features(*(np.array(rows, float) for rows in ([front, quarter] * 2, [front] * 2, [front] * 2)))
    >>> given = example()
    >>> given = replace(given, features={**given.features, "flame": heads}, roles={"flame": "head_pose"})
    >>> numbers(compute(given), "mean_items")  # only Ann has two samples with a face
    [90.0]
    """
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    passed = list(verified(evaluation))
    for variant in heads(evaluation):
        more, table = _variant(evaluation, variant, passed)
        scores += more
        tables.append(table)
    if not scores:
        scores = [absent(Number(NAME, "", "mean_items"), NONE)]
    return Result(tuple(scores), None, concat(tables))


def _variant(evaluation: Evaluation, variant: str, passed: Sequence[Verified]) -> tuple[list[Score], pd.DataFrame]:
    number, features = Number(NAME, variant), evaluation.features[variant]
    eligibility = eligibility_of(evaluation, features)
    first, second = pairs_within(eligibility.item, eligibility.valid)
    pairs = Pairs(first, second, angle_degrees(features.samples[first], features.samples[second]))
    scores = diversity_scores(evaluation, eligibility, pairs, number, note=eligibility.note)
    scores += verified_scores(evaluation, eligibility, pairs, number, passed)
    return scores, item_table(evaluation, eligibility, pairs, number)


METRIC = Metric(
    name=NAME,
    version=1,
    title="head pose diversity",
    unit="degrees",
    higher_is_better=True,
    range=(0.0, 180.0),
    source="Hempel et al., 6DRepNet, ICIP 2022: the angle of the rotation between two heads",
    needs=("head_pose",),
    statistics=(Statistic("mean_items", "mean", headline=True), Statistic("mean_pairs", "mean over all pairs")),
    compute=compute,
    tolerance=Tolerance(relative=4e-2),
    recompute=item_means,
)
