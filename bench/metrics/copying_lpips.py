"""Copying, by LPIPS: how close a sample is to its own reference as a picture, background removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.metrics.copying import mean_over_samples
from bench.metrics.functional.cosine import Floats
from bench.metrics.protocol import Evaluation, Metric, Result, Score
from bench.metrics.shared.eligibility import Standing, standing
from bench.metrics.shared.scores import absent, named, notes, together

NAME = "copying_lpips"


def listed_values(evaluation: Evaluation, table: pd.DataFrame) -> tuple[Floats, Standing]:
    """(n_samples,) the values of a table (item, i, value), NaN where it has none; and who counts.

    A sample with a face but without a value (no landmarks, an empty mask) has failed.
    """
    listed = {(item, i): value for item, i, value in zip(table["item"], table["i"], table["value"], strict=True)}
    keys = zip(evaluation.samples["item"], evaluation.samples["index"], strict=True)
    values = np.array([listed.get(key, np.nan) for key in keys], dtype=np.float64)
    who = standing(evaluation)
    lost = who.valid & ~np.isfinite(values)
    note = f"{int(lost.sum())} samples with a face but without this distance count as failed" if lost.any() else ""
    values = np.where(who.valid & ~lost, values, np.nan)
    return values, replace(who, valid=who.valid & ~lost, failed=who.failed | lost, note=notes(who.note, note))


def compute(evaluation: Evaluation) -> Result:
    """Mean LPIPS between samples and their own references; to be read against the rows `copy` and `real`.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_detected")
    [0.2]
    """
    scores: list[Score] = []
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for variant in named(evaluation.pairs, "lpips_reference"):
        values, who = listed_values(evaluation, evaluation.pairs[variant])
        score, table = mean_over_samples(evaluation, who, values, (NAME, variant), who.note)
        scores.append(score)
        tables.append(table)
        columns[f"{NAME}[{variant}]"] = values
    if not scores:
        return Result((absent((NAME, "", "mean_detected"), "LPIPS to the reference was not run"),))
    return Result(tuple(scores), pd.DataFrame(columns, index=np.arange(len(evaluation.samples))), together(tables))


METRIC = Metric(
    name=NAME,
    version=1,
    unit="LPIPS",
    higher_is_better=None,
    range=(0.0, None),
    reference="Zhang et al., CVPR 2018, v0.1, on masked faces",
    needs=("lpips",),
    compute=compute,
)
