"""Copying, by LPIPS: how close a sample is to its own reference as an image, background removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats
from bench.metrics.protocol import Evaluation, Metric, Number, Recomputed, Result, Score, Statistic, Tables, Tolerance
from bench.metrics.shared.eligibility import Eligibility, eligibility_of
from bench.metrics.shared.recompute import eligibility_from, sample_means
from bench.metrics.shared.sample_means import mean_over_samples
from bench.metrics.shared.scores import absent, concat, notes

NAME = "copying_lpips"
TO_REFERENCE = "_reference"
"""Ends the name of the variant: the distance is to the reference, not between samples."""


def listed_values(evaluation: Evaluation, table: pd.DataFrame) -> tuple[Floats, Eligibility]:
    """Return the (n_samples,) values of a table (item, i, value), NaN where it has none; and which count.

    A sample with a face but without a value (no landmarks, an empty mask) has failed.
    """
    listed = {(item, i): value for item, i, value in zip(table["item"], table["i"], table["value"], strict=True)}
    keys = zip(evaluation.samples["item"], evaluation.samples["index"], strict=True)
    values = np.array([listed.get(key, np.nan) for key in keys], dtype=np.float64)
    eligibility = eligibility_of(evaluation)
    lost = eligibility.valid & ~np.isfinite(values)
    note = f"{int(lost.sum())} samples with a face but without this distance count as failed" if lost.any() else ""
    values = np.where(eligibility.valid & ~lost, values, np.nan)
    return values, replace(
        eligibility,
        valid=eligibility.valid & ~lost,
        failed=eligibility.failed | lost,
        note=notes(eligibility.note, note),
    )


def compute(evaluation: Evaluation) -> Result:
    """Return the mean LPIPS between samples and their own references.

    Read it against the rows `copy` and `real`.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_detected")
    [0.2]
    """
    scores: list[Score] = []
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for name in evaluation.of_role("lpips", evaluation.to_reference):
        variant = f"{name}{TO_REFERENCE}"
        values, eligibility = listed_values(evaluation, evaluation.to_reference[name])
        score, table = mean_over_samples(evaluation, eligibility, values, NAME, variant)
        scores.append(score)
        tables.append(table)
        columns[f"{NAME}[{variant}]"] = values
    if not scores:
        return Result((absent(Number(NAME, "", "mean_detected"), "LPIPS to the reference was not run"),))
    return Result(tuple(scores), pd.DataFrame(columns, index=np.arange(len(evaluation.samples))), concat(tables))


def recompute(tables: Tables) -> Recomputed | None:
    """Compute the mean again from the distance of each sample; None where some sample has none to its reference.

    Raises:
        Contradiction: a sample that does not count has a distance.
    """
    network = tables.variant.removesuffix(TO_REFERENCE)
    values = tables.samples.get(tables.column)
    if values is None or not np.isfinite(values[eligibility_from(tables, network).valid]).all():
        return None
    return sample_means(tables, network, against_reference=False)


METRIC = Metric(
    name=NAME,
    version=1,
    title="copying (LPIPS)",
    unit="LPIPS",
    higher_is_better=None,
    range=(0.0, None),
    source="Zhang et al., CVPR 2018, v0.1, on masked faces",
    needs=("lpips",),
    statistics=(Statistic("mean_detected", "mean"),),
    compute=compute,
    tolerance=Tolerance(relative=3e-3),
    recompute=recompute,
)
