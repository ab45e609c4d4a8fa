"""ID similarity: the cosine between the embeddings of a sample and of its own reference (the paper's Fig. 5)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats
from bench.metrics.protocol import Evaluation, Metric, Number, Recomputed, Result, Score, Statistic, Tables
from bench.metrics.shared.eligibility import Eligibility
from bench.metrics.shared.recompute import ALL, eligibility_from, values_of
from bench.metrics.shared.scores import absent, concat, notes, recognisers
from bench.metrics.shared.similarity import aggregates, detection_rate, item_tables, similarities

NAME = "id_similarity"
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}


def _distribution(values: Floats, eligibility: Eligibility, recogniser: str) -> list[Score]:
    """Return the quantiles of the samples that have a value."""
    counts = {"n": int(eligibility.valid.sum())} | eligibility.counts()
    if not eligibility.valid.any():
        return [
            absent(Number(NAME, recogniser, name), notes("no valid sample", eligibility.note), **counts)
            for name in QUANTILES
        ]
    levels = np.quantile(values[eligibility.valid], list(QUANTILES.values()))
    return [
        Score(Number(NAME, recogniser, name), float(level), note=eligibility.note, **counts)
        for name, level in zip(QUANTILES, levels, strict=True)
    ]


def _ineligible(evaluation: Evaluation, eligibility: Eligibility, recogniser: str) -> Score:
    size = len(evaluation.references)
    return Score(
        Number(NAME, recogniser, "ineligible_items"), float(eligibility.ineligible_items), n=size, n_items=size
    )


def scores_of(evaluation: Evaluation, values: Floats, eligibility: Eligibility, recogniser: str) -> list[Score]:
    """Return all aggregates under one recogniser, from the similarity of each sample alone."""
    return [
        *aggregates(evaluation, values, eligibility, NAME, recogniser),
        *_distribution(values, eligibility, recogniser),
        detection_rate(evaluation, eligibility, NAME, recogniser),
        _ineligible(evaluation, eligibility, recogniser),
    ]


def compute(evaluation: Evaluation) -> Result:
    """Return ID similarity under every recogniser of the panel: means, quantiles, detection rate.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_detected", "mean_failures_as_zero", "detection_rate")
    [0.8667, 0.65, 0.75]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_detected")
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        values, eligibility = similarities(evaluation, recogniser)
        scores += scores_of(evaluation, values, eligibility, recogniser)
        columns[f"{NAME}[{recogniser}]"] = values
        tables += item_tables(evaluation, values, eligibility, NAME, recogniser)
    return Result(tuple(scores), pd.DataFrame(columns) if columns else None, concat(tables))


def recompute(tables: Tables) -> Recomputed:
    """Compute every aggregate again from the similarity of each sample.

    Raises:
        Contradiction: a sample that counts has no similarity, or another one has.
    """
    eligibility = eligibility_from(tables, tables.variant, against_reference=True)
    values = values_of(tables, tables.column, eligibility)
    scores = scores_of(tables.evaluation, values, eligibility, tables.variant)
    items = concat(item_tables(tables.evaluation, values, eligibility, NAME, tables.variant))
    return Recomputed(scores, ALL, items)


METRIC = Metric(
    name=NAME,
    version=1,
    title="ID similarity",
    unit="cosine",
    higher_is_better=True,
    range=(-1.0, 1.0),
    source="Papantoniou et al., Arc2Face, ECCV 2024, section 4.1.3; ArcFace cosine",
    needs=("recognition",),
    statistics=(
        Statistic("mean_detected", "mean", headline=True, tile=True),
        Statistic("mean_failures_as_zero", "failures as 0", headline=True, tile=True),
        Statistic("q05", "5th percentile"),
        Statistic("q25", "25th percentile"),
        Statistic("q50", "median"),
        Statistic("q75", "75th percentile"),
        Statistic("q95", "95th percentile"),
        Statistic("detection_rate", "detected", headline=True, range=(0.0, 1.0)),
        Statistic("ineligible_items", "references without a face", range=(0.0, None), of_references=True),
    ),
    compute=compute,
    recompute=recompute,
)
