"""Copying: how close a sample is to its own reference as an image (DINOv2 cosine)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats
from bench.metrics.protocol import Evaluation, Metric, Number, Recomputed, Result, Score, Statistic, Tables
from bench.metrics.shared.recompute import sample_means
from bench.metrics.shared.sample_means import mean_over_samples
from bench.metrics.shared.scores import absent, concat
from bench.metrics.shared.similarity import similarities

NAME = "copying"


def compute(evaluation: Evaluation) -> Result:
    """Return the mean DINOv2 cosine between samples and their own references.

    Read it against the rows `copy` and `real`.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_detected")
    [0.8667]
    """
    scores: list[Score] = []
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for variant in evaluation.of_role("dinov2", evaluation.features):
        values, eligibility = similarities(evaluation, variant)
        score, table = mean_over_samples(evaluation, eligibility, values, NAME, variant)
        scores.append(score)
        tables.append(table)
        columns[f"{NAME}[{variant}]"] = values
    if not scores:
        return Result((absent(Number(NAME, "", "mean_detected"), "no dinov2 extractor was run"),))
    return Result(tuple(scores), pd.DataFrame(columns, index=np.arange(len(evaluation.samples))), concat(tables))


def recompute(tables: Tables) -> Recomputed:
    """Compute the mean again from the cosine of each sample.

    Raises:
        Contradiction: a sample that counts has no cosine, or another one has.
    """
    return sample_means(tables, tables.variant)


METRIC = Metric(
    name=NAME,
    version=1,
    title="copying (DINOv2)",
    unit="cosine",
    higher_is_better=None,
    range=(-1.0, 1.0),
    source="Oquab et al., DINOv2, 2023: cosine of the class token",
    needs=("dinov2",),
    statistics=(Statistic("mean_detected", "mean"),),
    compute=compute,
    recompute=recompute,
)
