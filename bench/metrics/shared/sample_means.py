"""The mean over samples of a number that each sample has."""

from __future__ import annotations

import pandas as pd

from bench.metrics.functional.arrays import Floats
from bench.metrics.protocol import Evaluation, Number, Score
from bench.metrics.shared.eligibility import Eligibility, subjects
from bench.metrics.shared.scores import item_values, mean_score

MEAN_IMAGES = "mean_images"
"""The statistic of a mean over all samples that have an image, whether or not it shows a face."""


def mean_over_samples(
    evaluation: Evaluation,
    eligibility: Eligibility,
    values: Floats,
    metric: str,
    variant: str,
    statistic: str = "mean_detected",
) -> tuple[Score, pd.DataFrame]:
    """Return the mean of a value over valid samples with its interval, and its mean per item."""
    number = Number(metric, variant, statistic)
    people = subjects(evaluation.samples)[eligibility.valid]
    score = mean_score(
        number,
        values[eligibility.valid],
        people,
        evaluation.seed,
        empty="no valid sample",
        note=eligibility.note,
        **eligibility.counts(),
    )
    return score, item_values(evaluation, eligibility.item[eligibility.trial], values[eligibility.trial], number)
