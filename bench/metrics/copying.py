"""Copying: how close a sample is to its own reference as a picture (DINOv2 cosine)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.functional.cosine import Floats
from bench.metrics.id_similarity import similarities
from bench.metrics.protocol import Evaluation, Metric, Result, Score
from bench.metrics.shared.eligibility import Standing, subjects
from bench.metrics.shared.scores import absent, item_values, mean_score, named, together

NAME = "copying"


def mean_over_samples(
    evaluation: Evaluation, who: Standing, values: Floats, name: tuple[str, str], note: str
) -> tuple[Score, pd.DataFrame]:
    """Mean of a value over valid samples with its interval, and its mean per item."""
    full = (*name, "mean_detected")
    people, counts = subjects(evaluation.samples)[who.valid], who.counts()
    score = mean_score(full, values[who.valid], people, evaluation.seed, empty="no valid sample", note=note, **counts)
    return score, item_values(evaluation, who.item[who.eligible], values[who.eligible], full)


def compute(evaluation: Evaluation) -> Result:
    """Mean DINOv2 cosine between samples and their own references; to be read against the rows `copy` and `real`.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_detected")
    [0.8667]
    """
    scores: list[Score] = []
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for variant in named(evaluation.features, "dinov2"):
        values, who = similarities(evaluation, variant)
        score, table = mean_over_samples(evaluation, who, values, (NAME, variant), who.note)
        scores.append(score)
        tables.append(table)
        columns[f"{NAME}[{variant}]"] = values
    if not scores:
        return Result((absent((NAME, "", "mean_detected"), "no dinov2 extractor was run"),))
    return Result(tuple(scores), pd.DataFrame(columns, index=np.arange(len(evaluation.samples))), together(tables))


METRIC = Metric(
    name=NAME,
    version=1,
    unit="cosine",
    higher_is_better=None,
    range=(-1.0, 1.0),
    reference="Oquab et al., DINOv2, 2023: cosine of the class token",
    needs=("dinov2",),
    compute=compute,
)
