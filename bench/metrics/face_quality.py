"""Face quality: how useful the faces of the samples are for recognition, next to those of the references."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.quality import level
from bench.metrics.protocol import Evaluation, Metric, Number, Recomputed, Result, Score, Statistic, Tables
from bench.metrics.shared.eligibility import Eligibility, subjects
from bench.metrics.shared.numbers import real_level, reference_numbers, sample_numbers
from bench.metrics.shared.recompute import ALL, eligibility_from, values_of
from bench.metrics.shared.sample_means import mean_over_samples
from bench.metrics.shared.scores import absent, concat, notes, with_interval
from bench.statistics import clustered_rate

NAME = "face_quality"
QUANTILES = {"q05": 0.05, "q50": 0.5}


def compute(evaluation: Evaluation) -> Result:
    """Return mean, median and lowest 5 % of the samples' quality, the references' level, and the share below it.

    >>> from dataclasses import replace
    >>> from bench.metrics.shared.example import example, numbers
    >>> given = replace(example(), roles={"inception": "quality"})
    >>> numbers(compute(given), "mean_detected", "q50", "real_level", "real_q05", "below_real_q05")
    [3.0, 3.0, 1.0, 0.0, 0.25]
    """
    scores: list[Score] = []
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for variant in evaluation.of_role("quality", evaluation.features):
        values, eligibility = sample_numbers(evaluation, variant)
        more, table = _from_values(evaluation, values, eligibility, variant)
        scores += [*more, *_against_references(evaluation, values, eligibility, variant)]
        tables.append(table)
        columns[f"{NAME}[{variant}]"] = values
    if not scores:
        return Result((absent(Number(NAME, "", "mean_detected"), "no network of face quality was run"),))
    return Result(tuple(scores), pd.DataFrame(columns, index=np.arange(len(evaluation.samples))), concat(tables))


def _from_values(
    evaluation: Evaluation, values: Floats, eligibility: Eligibility, variant: str
) -> tuple[list[Score], pd.DataFrame]:
    """Return what the quality of each sample decides: mean and quantiles."""
    mean, table = mean_over_samples(evaluation, eligibility, values, NAME, variant)
    counts = {"n": int(eligibility.valid.sum())} | eligibility.counts()
    names = [Number(NAME, variant, name) for name in QUANTILES]
    if not eligibility.valid.any():
        empty = notes("no valid sample", eligibility.note)
        return [mean, *(absent(number, empty, **counts) for number in names)], table
    found = np.quantile(values[eligibility.valid], list(QUANTILES.values()))
    pairs = zip(names, found, strict=True)
    return [mean, *(Score(number, float(one), note=eligibility.note, **counts) for number, one in pairs)], table


def _against_references(evaluation: Evaluation, values: Floats, eligibility: Eligibility, variant: str) -> list[Score]:
    """Return mean and 5 % quantile of the references, and the share of the trials below that quantile.

    A failure is below it: no face is of no use.
    """
    own, floor = Number(NAME, variant, "real_level"), Number(NAME, variant, "real_q05")
    below = Number(NAME, variant, "below_real_q05")
    references, trial = reference_numbers(evaluation, variant), eligibility.trial
    counts = {"n": int(trial.sum())} | eligibility.counts()
    if not len(references):
        return [absent(number, "no usable reference") for number in (own, floor)] + [
            absent(below, "no usable reference", **counts)
        ]
    least = level(references)
    levels = [real_level(evaluation, own), Score(floor, least, n=len(references), n_items=len(references))]
    if not trial.any():
        return [*levels, absent(below, notes("no eligible sample", eligibility.note), **counts)]
    missed = ~(values[trial] >= least)
    interval = clustered_rate(missed, subjects(evaluation.samples)[trial])
    return [*levels, with_interval(below, missed.mean(), interval, note=eligibility.note, **counts)]


def recompute(tables: Tables) -> Recomputed:
    """Compute mean and quantiles again from the quality of each sample.

    Raises:
        Contradiction: a sample that counts has no quality, or another one has.
    """
    eligibility = eligibility_from(tables, tables.variant)
    values = values_of(tables, tables.column, eligibility)
    scores, items = _from_values(tables.evaluation, values, eligibility, tables.variant)
    return Recomputed(scores, ALL, items)


METRIC = Metric(
    name=NAME,
    version=1,
    title="face quality",
    unit="the network's own",
    higher_is_better=True,
    range=(None, None),
    source="CR-FIQA (Boutros et al., CVPR 2023), eDifFIQA (Babnik et al., T-BIOM 2024), MagFace's norm (CVPR 2021)",
    needs=("quality",),
    statistics=(
        Statistic("mean_detected", "mean", headline=True),
        Statistic("q05", "5th percentile"),
        Statistic("q50", "median"),
        Statistic("real_level", "mean of the references", of_references=True),
        Statistic("real_q05", "5th percentile of the references", of_references=True),
        Statistic("below_real_q05", "share below the references' 5th percentile", range=(0.0, 1.0)),
    ),
    compute=compute,
    recompute=recompute,
)
