"""ID similarity by the turn of the head: does the person survive in profile?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Mask
from bench.metrics.protocol import Evaluation, Metric, Number, Result, Score, Statistic
from bench.metrics.shared.eligibility import subjects
from bench.metrics.shared.heads import NONE, heads, yaw_bins
from bench.metrics.shared.scores import absent, concat, item_values, mean_score, recognisers
from bench.metrics.shared.similarity import similarities

NAME = "yaw_similarity"
EDGES = (15.0, 45.0)
"""Degrees to either side: below the first a head looks into the camera, from the last on it is in profile."""
BINS = ("yaw below 15", "yaw 15 to 45", "yaw from 45")


def compute(evaluation: Evaluation) -> Result:
    """Return the mean similarity of the samples in each bin of yaw, by recogniser and network of head pose.

    >>> import numpy as np
    >>> from dataclasses import replace
    >>> from bench.metrics.protocol import Features
    >>> from bench.metrics.shared.example import example
    >>> front, side = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 1, 0, 1, 0, -1, 0, 0]
    >>> heads = Features(*(np.array(rows, float) for rows in ([front, side] * 2, [front] * 2, [front] * 2)))
    >>> given = replace(example(), roles={"arcface": "recognition", "flame": "head_pose"})
    >>> given = replace(given, features={**given.features, "flame": heads})
    >>> [score.value and round(score.value, 4) for score in compute(given).scores]  # Ann's second looks aside
    [1.0, None, 0.6]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_detected")
    judges = heads(evaluation)
    if panel and not judges:
        scores.append(absent(Number(NAME, "", "mean_detected"), NONE))
    tables: list[pd.DataFrame] = []
    for judge in judges:
        bins = yaw_bins(evaluation.features[judge], EDGES)
        for recogniser in panel:
            for number, name in enumerate(BINS):
                score, table = _bin(evaluation, recogniser, bins == number, f"{name}, {judge}")
                scores.append(score)
                tables.append(table)
    return Result(tuple(scores), None, concat(tables))


def _bin(evaluation: Evaluation, recogniser: str, inside: Mask, subset: str) -> tuple[Score, pd.DataFrame]:
    """Return the mean similarity of the valid samples in a bin, and its mean per item that has one there."""
    values, eligibility = similarities(evaluation, recogniser)
    number = Number(NAME, recogniser, "mean_detected", subset=subset)
    rows = np.flatnonzero(eligibility.valid & inside)
    people = subjects(evaluation.samples)[rows]
    score = mean_score(
        number, values[rows], people, evaluation.seed,
        empty="no sample in this bin", note=eligibility.note, **eligibility.counts(),
    )  # fmt: skip
    return score, item_values(evaluation, eligibility.item[rows], values[rows], number)


METRIC = Metric(
    name=NAME,
    version=1,
    title="ID similarity by yaw",
    unit="cosine",
    higher_is_better=True,
    range=(-1.0, 1.0),
    source="ID similarity over the samples in a bin of yaw by 6DRepNet (Hempel et al., ICIP 2022)",
    needs=("recognition", "head_pose"),
    statistics=(Statistic("mean_detected", "mean"),),
    compute=compute,
)
