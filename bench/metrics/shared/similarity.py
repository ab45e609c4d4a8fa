"""The similarity of samples with their references: values, aggregates and the table per item."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.similarity import alike
from bench.metrics.protocol import Evaluation, Number, Score
from bench.metrics.shared.cache import cached
from bench.metrics.shared.eligibility import Eligibility, eligibility_of, nonzero, people
from bench.metrics.shared.scores import absent, item_values, mean_score, notes, with_interval
from bench.statistics import clustered_rate

NOTES = {"cosine": "", "euclidean": "similarity (1 - d) / (1 + d) of the Euclidean distance d"}
"""What a reader must know of a recogniser's similarities, by its distance."""


@cached
def similarities(evaluation: Evaluation, recogniser: str, needs_face: bool = True) -> tuple[Floats, Eligibility]:
    """Return the (n_samples,) similarity of each valid sample to its own reference (else NaN), and which count.

    Args:
        evaluation: tables and features.
        recogniser: name of the network; also of one that compares whole images.
        needs_face: whether a sample without a face has failed.
    """
    features = evaluation.features[recogniser]
    eligibility = eligibility_of(evaluation, features, against_reference=True, usable=nonzero, needs_face=needs_face)
    values = np.full(len(evaluation.samples), np.nan)
    rows = np.flatnonzero(eligibility.valid)
    own = eligibility.item[rows]
    values[rows] = alike(features.samples, rows, features.references, own, features.distance)
    values.setflags(write=False)
    return values, replace(eligibility, note=notes(eligibility.note, NOTES[features.distance]))


def aggregates(
    evaluation: Evaluation, values: Floats, eligibility: Eligibility, metric: str, recogniser: str
) -> tuple[Score, Score]:
    """Return the two means: over samples that have a value, and over all trials with a failure as 0."""
    clusters = people(evaluation)
    counts = eligibility.counts()
    detected = mean_score(
        Number(metric, recogniser, "mean_detected"),
        values[eligibility.valid],
        clusters[eligibility.valid],
        evaluation.seed,
        empty="no valid sample",
        note=eligibility.note,
        **counts,
    )
    zeroed = mean_score(
        Number(metric, recogniser, "mean_failures_as_zero"),
        np.where(eligibility.valid, values, 0.0)[eligibility.trial],
        clusters[eligibility.trial],
        evaluation.seed,
        empty="no eligible sample",
        note=eligibility.note,
        **counts,
    )
    return detected, zeroed


def detection_rate(evaluation: Evaluation, eligibility: Eligibility, metric: str, variant: str) -> Score:
    """Return the share of the trials in which the sample has a face and an embedding, with its interval."""
    number = Number(metric, variant, "detection_rate")
    counts = {"n": int(eligibility.trial.sum())} | eligibility.counts()
    if not eligibility.trial.any():
        return absent(number, notes("no eligible sample", eligibility.note), **counts)
    valid = eligibility.valid[eligibility.trial]
    interval = clustered_rate(valid, people(evaluation)[eligibility.trial])
    return with_interval(number, valid.mean(), interval, note=eligibility.note, **counts)


def item_tables(
    evaluation: Evaluation, values: Floats, eligibility: Eligibility, metric: str, recogniser: str
) -> list[pd.DataFrame]:
    """Return what `compare` pairs: both means per item."""
    trial = eligibility.trial
    zeroed = np.where(eligibility.valid, values, 0.0)
    return [
        item_values(evaluation, eligibility.item[trial], values[trial], Number(metric, recogniser, "mean_detected")),
        item_values(
            evaluation, eligibility.item[trial], zeroed[trial], Number(metric, recogniser, "mean_failures_as_zero")
        ),
    ]
