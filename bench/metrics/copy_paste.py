"""The copy-paste score: is a sample nearer to the reference it was made from than to other photos of the person?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.metrics.functional.arrays import Floats, Rows
from bench.metrics.functional.similarity import apart
from bench.metrics.protocol import Evaluation, Features, Metric, Recomputed, Result, Statistic, Tables
from bench.metrics.shared.eligibility import Eligibility, eligibility_of, nonzero, subjects
from bench.metrics.shared.recompute import eligibility_from, sample_means
from bench.metrics.shared.sample_means import mean_over_samples
from bench.metrics.shared.scores import concat, notes, recognisers
from bench.metrics.shared.targets import mean_by, target_pairs, with_targets

NAME = "copy_paste"
SAME_PHOTO = 1e-3
"""Angle in radians, or Euclidean distance, below which target and reference are one image: such a target is left out,
for the score would be the last digits of the network divided by each other."""


def copy_paste(to_target: Floats, to_reference: Floats, between: Floats) -> Floats:
    """Return (theta_gt - theta_gr) / theta_tr, from the angles (or distances) between the three images.

    1: the sample is the reference; -1: it is the target; 0: as far from the one as from the other. The triangle
    inequality keeps it in [-1, 1]; NaN where target and reference are one image.

    >>> copy_paste(np.array([1.0, 0.0, 0.7]), np.array([0.0, 1.0, 0.7]), np.array([1.0, 1.0, 1.0]))
    array([ 1., -1.,  0.])
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.clip((to_target - to_reference) / between, -1.0, 1.0)
    return np.where(between >= SAME_PHOTO, score, np.nan)


def scores_by_sample(evaluation: Evaluation, features: Features) -> tuple[Floats, Eligibility]:
    """Return the (n_samples,) mean over the subject's targets, NaN where there is none; and which samples count."""
    eligibility = with_targets(
        evaluation, features, eligibility_of(evaluation, features, against_reference=True, usable=nonzero)
    )
    rows = np.flatnonzero(eligibility.valid)
    position, target = target_pairs(subjects(evaluation.samples)[rows], evaluation, features)
    sample, reference = rows[position], eligibility.item[rows][position]
    own = apart(features.samples, rows, features.references, eligibility.item[rows], features.distance)[position]
    to_target = apart(features.samples, sample, features.targets, target, features.distance)
    score = copy_paste(to_target, own, _between(features, target, reference))
    values, usable = np.full(len(evaluation.samples), np.nan), np.isfinite(score)
    values[rows] = mean_by(position[usable], score[usable], len(rows))
    same = eligibility.valid & ~np.isfinite(values)
    note = f"{int(same.sum())} samples left out: the only target is the reference itself" if same.any() else ""
    return values, replace(
        eligibility,
        valid=eligibility.valid & ~same,
        ineligible=eligibility.ineligible | same,
        note=notes(eligibility.note, note),
    )


def _between(features: Features, target: Rows, reference: Rows) -> Floats:
    """Return how far (k,) target and reference are apart, worked out once for each pair of them."""
    size = max(len(features.references), 1)
    keys, back = np.unique(target * size + reference, return_inverse=True)
    return apart(features.targets, keys // size, features.references, keys % size, features.distance)[back]


def compute(evaluation: Evaluation) -> Result:
    """Return the mean copy-paste score over valid samples, under every recogniser."""
    panel, scores = recognisers(evaluation, NAME, "mean_detected")
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        values, eligibility = scores_by_sample(evaluation, evaluation.features[recogniser])
        score, table = mean_over_samples(evaluation, eligibility, values, NAME, recogniser)
        scores.append(score)
        tables.append(table)
        columns[f"{NAME}[{recogniser}]"] = values
    return Result(tuple(scores), pd.DataFrame(columns) if columns else None, concat(tables))


def recompute(tables: Tables) -> Recomputed | None:
    """Compute the mean again from the score of each sample; None where some sample was left out of it."""
    values = tables.samples.get(tables.column)
    counted = eligibility_from(tables, tables.variant, against_reference=True).valid
    if values is None or not np.isfinite(values[counted]).all():
        return None
    return sample_means(tables, tables.variant)


METRIC = Metric(
    name=NAME,
    version=1,
    title="copy-paste",
    unit="",
    higher_is_better=None,
    range=(-1.0, 1.0),
    source="MultiID-Bench (WithAnyone, 2025)",
    needs=("recognition",),
    statistics=(Statistic("mean_detected", "mean"),),
    compute=compute,
    recompute=recompute,
)
