"""ID similarity: the cosine between the embeddings of a sample and of its own reference (the paper's Fig. 5)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.functional.cosine import Floats, cosines
from bench.metrics.protocol import Evaluation, Metric, Result, Score
from bench.metrics.shared.cache import once
from bench.metrics.shared.eligibility import Standing, directed, standing, subjects
from bench.metrics.shared.scores import absent, item_values, mean_score, notes, recognisers, together, with_interval
from bench.statistics import clustered_rate

NAME = "id_similarity"
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}


@once
def similarities(evaluation: Evaluation, recogniser: str) -> tuple[Floats, Standing]:
    """(n_samples,) cosine of each valid sample with its own reference, NaN for all others; and who counts."""
    features = evaluation.features[recogniser]
    who = standing(evaluation, features, against_reference=True, usable=directed)
    values = np.full(len(evaluation.samples), np.nan)
    rows = np.flatnonzero(who.valid)
    values[rows] = cosines(features.samples, rows, features.references, who.item[rows])
    values.setflags(write=False)
    return values, who


def aggregates(
    evaluation: Evaluation, values: Floats, who: Standing, metric: str, recogniser: str
) -> tuple[Score, Score]:
    """The two means: over samples that have a value, and over all trials with a failure as 0."""
    people, counts = subjects(evaluation.samples), who.counts()
    detected = mean_score(
        (metric, recogniser, "mean_detected"),
        values[who.valid],
        people[who.valid],
        evaluation.seed,
        empty="no valid sample",
        note=who.note,
        **counts,
    )
    zeroed = mean_score(
        (metric, recogniser, "mean_failures_as_zero"),
        np.where(who.valid, values, 0.0)[who.eligible],
        people[who.eligible],
        evaluation.seed,
        empty="no eligible sample",
        note=who.note,
        **counts,
    )
    return detected, zeroed


def _distribution(values: Floats, who: Standing, recogniser: str) -> list[Score]:
    """The quantiles of the samples that have a value."""
    counts = {"n": int(who.valid.sum())} | who.counts()
    if not who.valid.any():
        return [absent((NAME, recogniser, name), notes("no valid sample", who.note), **counts) for name in QUANTILES]
    levels = np.quantile(values[who.valid], list(QUANTILES.values()))
    return [
        Score(NAME, recogniser, name, float(level), note=who.note, **counts)
        for name, level in zip(QUANTILES, levels, strict=True)
    ]


def detection_rate(evaluation: Evaluation, who: Standing, metric: str, variant: str) -> Score:
    """Share of the trials in which the sample has a face (and an embedding), with its clustered score interval."""
    name, counts = (metric, variant, "detection_rate"), {"n": int(who.eligible.sum())} | who.counts()
    if not who.eligible.any():
        return absent(name, notes("no eligible sample", who.note), **counts)
    valid = who.valid[who.eligible]
    interval = clustered_rate(valid, subjects(evaluation.samples)[who.eligible])
    return with_interval(name, valid.mean(), interval, note=who.note, **counts)


def _ineligible(evaluation: Evaluation, who: Standing, recogniser: str) -> Score:
    size = len(evaluation.references)
    return Score(NAME, recogniser, "ineligible_items", float(who.ineligible_items), n=size, n_items=size)


def scores_of(evaluation: Evaluation, values: Floats, who: Standing, recogniser: str) -> list[Score]:
    """All aggregates under one recogniser, from the similarity of each sample alone."""
    return [
        *aggregates(evaluation, values, who, NAME, recogniser),
        *_distribution(values, who, recogniser),
        detection_rate(evaluation, who, NAME, recogniser),
        _ineligible(evaluation, who, recogniser),
    ]


def compute(evaluation: Evaluation) -> Result:
    """ID similarity under every recogniser of the panel: means, quantiles, detection rate.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_detected", "mean_failures_as_zero", "detection_rate")
    [0.8667, 0.65, 0.75]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_detected")
    columns, tables = {}, []
    for recogniser in panel:
        values, who = similarities(evaluation, recogniser)
        scores += scores_of(evaluation, values, who, recogniser)
        columns[f"{NAME}[{recogniser}]"] = values
        tables += item_tables(evaluation, values, who, NAME, recogniser)
    return Result(tuple(scores), pd.DataFrame(columns) if columns else None, together(tables))


def item_tables(
    evaluation: Evaluation, values: Floats, who: Standing, metric: str, recogniser: str
) -> list[pd.DataFrame]:
    """What `compare` pairs: both means per item."""
    trial = who.eligible
    zeroed = np.where(who.valid, values, 0.0)
    return [
        item_values(evaluation, who.item[trial], values[trial], (metric, recogniser, "mean_detected")),
        item_values(evaluation, who.item[trial], zeroed[trial], (metric, recogniser, "mean_failures_as_zero")),
    ]


METRIC = Metric(
    name=NAME,
    version=1,
    unit="cosine",
    higher_is_better=True,
    range=(-1.0, 1.0),
    reference="Papantoniou et al., Arc2Face, ECCV 2024, section 4.1.3; ArcFace cosine",
    needs=("recognition",),
    compute=compute,
)
