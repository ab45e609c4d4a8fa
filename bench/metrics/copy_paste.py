"""The copy-paste score: is a sample nearer to the reference it was made from than to other photos of the person?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.metrics.copying import mean_over_samples
from bench.metrics.functional.cosine import Floats, cosines
from bench.metrics.protocol import Evaluation, Features, Metric, Result
from bench.metrics.shared.eligibility import Rows, Standing, directed, standing, subjects
from bench.metrics.shared.scores import notes, recognisers, together
from bench.metrics.shared.targets import beside_targets, mean_by, with_targets

NAME = "copy_paste"
SAME_PHOTO = 1e-3
"""Angle in radians below which target and reference are one picture: such a target is left out, for the score would be
the last digits of the network divided by each other."""


def copy_paste(to_target: Floats, to_reference: Floats, between: Floats) -> Floats:
    """(theta_gt - theta_gr) / theta_tr, from the angles sample-target, sample-reference and target-reference.

    1: the sample is the reference; -1: it is the target; 0: as far from the one as from the other. The triangle
    inequality keeps it in [-1, 1]; NaN where target and reference are one picture.

    >>> copy_paste(np.array([1.0, 0.0, 0.7]), np.array([0.0, 1.0, 0.7]), np.array([1.0, 1.0, 1.0]))
    array([ 1., -1.,  0.])
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.clip((to_target - to_reference) / between, -1.0, 1.0)
    return np.where(between >= SAME_PHOTO, score, np.nan)


def scores_by_sample(evaluation: Evaluation, features: Features) -> tuple[Floats, Standing]:
    """(n_samples,) mean over the subject's targets, NaN where it cannot be had; and who counts."""
    who = with_targets(evaluation, features, standing(evaluation, features, against_reference=True, usable=directed))
    rows = np.flatnonzero(who.valid)
    position, target = beside_targets(subjects(evaluation.samples)[rows], evaluation, features)
    sample, reference = rows[position], who.item[rows][position]
    own = np.arccos(cosines(features.samples, rows, features.references, who.item[rows]))[position]
    to_target = np.arccos(cosines(features.samples, sample, features.targets, target))
    score = copy_paste(to_target, own, _between(features, target, reference))
    values, usable = np.full(len(evaluation.samples), np.nan), np.isfinite(score)
    values[rows] = mean_by(position[usable], score[usable], len(rows))
    same = who.valid & ~np.isfinite(values)
    note = f"{int(same.sum())} samples left out: the only target is the reference itself" if same.any() else ""
    return values, replace(who, valid=who.valid & ~same, ineligible=who.ineligible | same, note=notes(who.note, note))


def _between(features: Features, target: Rows, reference: Rows) -> Floats:
    """(k,) angle between target and reference, worked out once for each pair of them."""
    size = max(len(features.references), 1)
    keys, back = np.unique(target * size + reference, return_inverse=True)
    return np.asarray(np.arccos(cosines(features.targets, keys // size, features.references, keys % size)))[back]


def compute(evaluation: Evaluation) -> Result:
    """Mean copy-paste score over valid samples, under every recogniser."""
    panel, scores = recognisers(evaluation, NAME, "mean_detected")
    columns: dict[str, Floats] = {}
    tables: list[pd.DataFrame] = []
    for recogniser in panel:
        values, who = scores_by_sample(evaluation, evaluation.features[recogniser])
        score, table = mean_over_samples(evaluation, who, values, (NAME, recogniser), who.note)
        scores.append(score)
        tables.append(table)
        columns[f"{NAME}[{recogniser}]"] = values
    return Result(tuple(scores), pd.DataFrame(columns) if columns else None, together(tables))


METRIC = Metric(
    name=NAME,
    version=1,
    unit="",
    higher_is_better=None,
    range=(-1.0, 1.0),
    reference="MultiID-Bench (WithAnyone, 2025)",
    needs=("recognition",),
    compute=compute,
)
