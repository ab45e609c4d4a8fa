"""Aesthetic score: how much people liked images of this kind, by LAION's head on CLIP."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats
from bench.metrics.protocol import Evaluation, Metric, Number, Recomputed, Result, Score, Statistic, Tables
from bench.metrics.shared.numbers import real_level, sample_numbers
from bench.metrics.shared.recompute import sample_means
from bench.metrics.shared.sample_means import MEAN_IMAGES, mean_over_samples
from bench.metrics.shared.scores import absent, concat

NAME = "aesthetic"


def compute(evaluation: Evaluation) -> Result:
    """Return the mean score of the samples, and that of the references. A sample needs no face.

    >>> from dataclasses import replace
    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(replace(example(), roles={"inception": "aesthetic"})), "mean_images", "real_level")
    [3.0, 1.0]
    """
    scores: list[Score] = []
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for variant in evaluation.of_role("aesthetic", evaluation.features):
        values, eligibility = sample_numbers(evaluation, variant, needs_face=False)
        score, table = mean_over_samples(evaluation, eligibility, values, NAME, variant, MEAN_IMAGES)
        scores += [score, real_level(evaluation, Number(NAME, variant, "real_level"))]
        tables.append(table)
        columns[f"{NAME}[{variant}]"] = values
    if not scores:
        return Result((absent(Number(NAME, "", MEAN_IMAGES), "no network gave an aesthetic score"),))
    return Result(tuple(scores), pd.DataFrame(columns, index=np.arange(len(evaluation.samples))), concat(tables))


def recompute(tables: Tables) -> Recomputed:
    """Compute the mean again from the score of each sample.

    Raises:
        Contradiction: a sample that counts has no score, or another one has.
    """
    return sample_means(tables, tables.variant, against_reference=False, needs_face=False, statistic=MEAN_IMAGES)


METRIC = Metric(
    name=NAME,
    version=1,
    title="aesthetic score",
    unit="about 1 to 10",
    higher_is_better=None,
    range=(None, None),
    source="LAION aesthetic predictor v1: sac+logos+ava1-l14-linearMSE on CLIP ViT-L/14",
    needs=("aesthetic",),
    statistics=(Statistic(MEAN_IMAGES, "mean"), Statistic("real_level", "mean of the references", of_references=True)),
    compute=compute,
    recompute=recompute,
)
