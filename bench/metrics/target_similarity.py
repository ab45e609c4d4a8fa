"""Similarity to targets: the cosine with photos of the subject that no method saw, next to that of the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats, Mask
from bench.metrics.functional.similarity import alike
from bench.metrics.protocol import Evaluation, Features, Metric, Number, Recomputed, Result, Score, Statistic, Tables
from bench.metrics.shared.eligibility import Eligibility, eligibility_of, nonzero, subjects, usable_references
from bench.metrics.shared.recompute import ALL, eligibility_from, values_of
from bench.metrics.shared.scores import concat, mean_score, recognisers
from bench.metrics.shared.similarity import aggregates, item_tables
from bench.metrics.shared.targets import mean_by, target_pairs, with_targets

NAME = "target_similarity"


def similarities(evaluation: Evaluation, features: Features) -> tuple[Floats, Floats, Eligibility]:
    """Return the (n_samples,) mean and largest cosine of a sample with its subject's targets, and which samples count.

    Samples whose subject has no target with a face are ineligible.
    """
    eligibility = with_targets(evaluation, features, eligibility_of(evaluation, features, usable=nonzero))
    rows = np.flatnonzero(eligibility.valid)
    position, target = target_pairs(subjects(evaluation.samples)[rows], evaluation, features)
    values = alike(features.samples, rows[position], features.targets, target, features.distance)
    mean = np.full(len(evaluation.samples), np.nan)
    largest = mean.copy()
    mean[rows] = mean_by(position, values, len(rows))
    np.fmax.at(largest, rows[position], values)
    return mean, largest, eligibility


def real_level(evaluation: Evaluation, recogniser: str) -> Score:
    """Return the mean over items of the mean cosine between the reference itself and its subject's targets."""
    features = evaluation.features[recogniser]
    rows = np.flatnonzero(usable_references(evaluation, features, nonzero))
    people = subjects(evaluation.references)[rows]
    position, target = target_pairs(people, evaluation, features)
    values = alike(features.references, rows[position], features.targets, target, features.distance)
    means = mean_by(position, values, len(rows))
    some = np.isfinite(means)
    return mean_score(
        Number(NAME, recogniser, "real_level"),
        means[some],
        people[some],
        evaluation.seed,
        empty="no item with targets",
        n_items=int(some.sum()),
        n_pairs=len(position),
    )


def _scores(evaluation: Evaluation, recogniser: str) -> tuple[list[Score], Floats, list[pd.DataFrame]]:
    mean, largest, eligibility = similarities(evaluation, evaluation.features[recogniser])
    detected, zeroed = aggregates(evaluation, mean, eligibility, NAME, recogniser)
    best = mean_score(
        Number(NAME, recogniser, "max_detected"),
        largest[eligibility.valid],
        subjects(evaluation.samples)[eligibility.valid],
        evaluation.seed,
        empty="no valid sample",
        note=eligibility.note,
        **eligibility.counts(),
    )
    n_items = len(set(eligibility.item[eligibility.trial]))
    scores = [replace(score, n_items=n_items) for score in (detected, zeroed, best)]
    return (
        [*scores, real_level(evaluation, recogniser)],
        mean,
        item_tables(evaluation, mean, eligibility, NAME, recogniser),
    )


def compute(evaluation: Evaluation) -> Result:
    """Return the similarity to unseen targets under every recogniser, and the level that the references reach.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_detected", "mean_failures_as_zero", "real_level")
    [0.8533, 0.64, 0.8]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_detected")
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        more, columns[f"{NAME}[{recogniser}]"], frames = _scores(evaluation, recogniser)
        scores += more
        tables += frames
    return Result(tuple(scores), pd.DataFrame(columns) if columns else None, concat(tables))


def recompute(tables: Tables) -> Recomputed:
    """Compute both means again from the mean similarity of each sample to the targets.

    The largest similarity and the level of the references need embeddings.

    Raises:
        Contradiction: a sample that counts has no similarity, or another one has.
    """
    network = tables.variant
    eligibility = _only_with_targets(eligibility_from(tables, network), tables.targets[network] > 0)
    values = values_of(tables, tables.column, eligibility)
    scores = aggregates(tables.evaluation, values, eligibility, NAME, network)
    return Recomputed(scores, ALL, concat(item_tables(tables.evaluation, values, eligibility, NAME, network)))


def _only_with_targets(eligibility: Eligibility, known: Mask) -> Eligibility:
    """Return the eligibility with the samples of items without a target made ineligible."""
    some = np.append(known, False)[eligibility.item]
    return eligibility.among(some)


METRIC = Metric(
    name=NAME,
    version=1,
    title="similarity to targets",
    unit="cosine",
    higher_is_better=True,
    range=(-1.0, 1.0),
    source="MultiID-Bench (WithAnyone, 2025): similarity to ground truth, here over all unseen photos",
    needs=("recognition",),
    statistics=(
        Statistic("mean_detected", "mean", headline=True),
        Statistic("mean_failures_as_zero", "failures as 0"),
        Statistic("max_detected", "nearest target"),
        Statistic("real_level", "level of the references", of_references=True),
    ),
    compute=compute,
    recompute=recompute,
)
