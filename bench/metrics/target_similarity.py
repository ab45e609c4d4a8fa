"""Similarity to targets: the cosine with photos of the subject that no method saw, beside that of the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.metrics.functional.cosine import Floats, cosines
from bench.metrics.id_similarity import aggregates, item_tables
from bench.metrics.protocol import Evaluation, Features, Metric, Result, Score
from bench.metrics.shared.eligibility import Standing, directed, standing, subjects, usable_references
from bench.metrics.shared.scores import mean_score, recognisers, together
from bench.metrics.shared.targets import beside_targets, mean_by, with_targets

NAME = "target_similarity"


def similarities(evaluation: Evaluation, features: Features) -> tuple[Floats, Floats, Standing]:
    """(n_samples,) mean and largest cosine of a sample with its subject's targets, and who counts.

    Samples whose subject has no target with a face are ineligible.
    """
    who = with_targets(evaluation, features, standing(evaluation, features, usable=directed))
    rows = np.flatnonzero(who.valid)
    position, target = beside_targets(subjects(evaluation.samples)[rows], evaluation, features)
    values = cosines(features.samples, rows[position], features.targets, target)
    mean, largest = (np.full(len(evaluation.samples), np.nan) for _ in range(2))
    mean[rows] = mean_by(position, values, len(rows))
    np.fmax.at(largest, rows[position], values)
    return mean, largest, who


def real_level(evaluation: Evaluation, recogniser: str) -> Score:
    """Mean over items of the mean cosine between the reference itself and its subject's targets."""
    features = evaluation.features[recogniser]
    rows = np.flatnonzero(usable_references(evaluation, features, directed))
    people = subjects(evaluation.references)[rows]
    position, target = beside_targets(people, evaluation, features)
    means = mean_by(position, cosines(features.references, rows[position], features.targets, target), len(rows))
    some = np.isfinite(means)
    return mean_score(
        (NAME, recogniser, "real_level"),
        means[some],
        people[some],
        evaluation.seed,
        empty="no item with targets",
        n_items=int(some.sum()),
        n_pairs=len(position),
    )


def _scores(evaluation: Evaluation, recogniser: str) -> tuple[list[Score], Floats, list[pd.DataFrame]]:
    mean, largest, who = similarities(evaluation, evaluation.features[recogniser])
    detected, zeroed = aggregates(evaluation, mean, who, NAME, recogniser)
    best = mean_score(
        (NAME, recogniser, "max_detected"),
        largest[who.valid],
        subjects(evaluation.samples)[who.valid],
        evaluation.seed,
        empty="no valid sample",
        note=who.note,
        **who.counts(),
    )
    n_items = len(set(who.item[who.eligible]))
    scores = [replace(score, n_items=n_items) for score in (detected, zeroed, best)]
    return [*scores, real_level(evaluation, recogniser)], mean, item_tables(evaluation, mean, who, NAME, recogniser)


def compute(evaluation: Evaluation) -> Result:
    """Similarity to unseen targets under every recogniser, and the level that the references themselves reach.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "mean_detected", "mean_failures_as_zero", "real_level")
    [0.8533, 0.64, 0.8]
    """
    panel, scores = recognisers(evaluation, NAME, "mean_detected")
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        more, columns[f"{NAME}[{recogniser}]"], frames = _scores(evaluation, recogniser)
        scores, tables = scores + more, tables + frames
    return Result(tuple(scores), pd.DataFrame(columns) if columns else None, together(tables))


METRIC = Metric(
    name=NAME,
    version=1,
    unit="cosine",
    higher_is_better=True,
    range=(-1.0, 1.0),
    reference="MultiID-Bench (WithAnyone, 2025): similarity to ground truth, here over all unseen photos",
    needs=("recognition",),
    compute=compute,
)
