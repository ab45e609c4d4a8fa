"""Scores of how well samples hit the FLAME parameters that they were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bench.conditions.asked import ASKED, LENGTH
from bench.metrics.functional.arrays import Floats
from bench.metrics.functional.flame import DIMENSION
from bench.metrics.protocol import Evaluation, Features, Number, Result, Score, Statistic
from bench.metrics.shared.eligibility import Eligibility, eligibility_of, finite, subjects
from bench.metrics.shared.scores import absent, concat, item_values, mean_score, notes, plain
from bench.studies.control import EYELID_COLUMNS, Control, Measure, control, shuffled

LEVELS = {"": "", "shuffled": "at chance", "skill": "skill", "skill_failures_as_chance": "skill, failures at chance"}
"""Ending of a statistic's name -> how a reader calls it."""


def named(error: str, level: str) -> str:
    """Return the name of a statistic.

    >>> named("jaw_l2", ""), named("jaw_l2", "skill")
    ('jaw_l2', 'jaw_l2_skill')
    """
    return f"{error}_{level}" if level else error


def statistics_of(errors: Mapping[str, str], headline: str) -> tuple[Statistic, ...]:
    """Return the statistics of a metric of control.

    Args:
        errors: name of an error -> how a reader calls it.
        headline: the error whose skill the overview shows.
    """
    directions = {"": False, "shuffled": None, "skill": True, "skill_failures_as_chance": True}
    return tuple(
        Statistic(
            named(error, level),
            f"{title}, {words}".removesuffix(", "),
            headline=level == "skill" and error == headline,
            range=(None, 1.0) if level.startswith("skill") else None,
            higher_is_better=directions[level],
        )
        for error, title in errors.items()
        for level, words in LEVELS.items()
    )


def control_scores(evaluation: Evaluation, metric: str, errors: Mapping[str, tuple[Measure, slice]]) -> Result:
    """Return error, level at chance and skill for every FLAME extractor and each error.

    Args:
        evaluation: with features of the role "flame" and the column `ASKED`.
        metric: its name.
        errors: name -> the error, and the part of what was asked that it reads.
    """
    first = next(iter(errors))
    variants = evaluation.of_role("flame", evaluation.features)
    if ASKED not in evaluation.samples or not variants:
        reason = "nothing was asked of the samples" if variants else "no FLAME extractor was run"
        return Result((absent(Number(metric, variants[0] if variants else "", first), reason),))
    cells = [np.asarray(cell, np.float64) for cell in evaluation.samples[ASKED]]
    wanted = np.stack(cells) if cells else np.empty((0, LENGTH))
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    for variant in variants:
        features = _flame(evaluation, variant)
        readable = {name: error for name, error in errors.items() if error[1].stop <= features.samples.shape[1]}
        for name, (measure, part) in readable.items():
            found, table = _error(evaluation, features, Number(metric, variant, name), wanted, measure, part)
            scores += found
            tables.append(table)
    return Result(tuple(scores), None, concat(tables))


def _error(
    evaluation: Evaluation, features: Features, number: Number, wanted: Floats, measure: Measure, part: slice
) -> tuple[list[Score], pd.DataFrame]:
    """Return the scores of one error by one extractor, and its mean per item."""
    is_asked = finite(wanted[:, part])
    eligibility = eligibility_of(evaluation, features).among(is_asked)
    valid = np.flatnonzero(eligibility.valid)
    achieved, target = features.samples[valid].astype(np.float64), wanted[valid]
    targets = np.unique(target[:, part], axis=0, return_inverse=True)[1].ravel()
    errors = measure(achieved, target)
    chance = shuffled(measure, achieved, target, targets, seed=evaluation.seed)
    people = subjects(evaluation.samples)
    lost = np.full(int(eligibility.failed.sum()), np.nan)
    owners = np.concatenate([people[valid], people[eligibility.failed]])
    found = control(np.concatenate([errors, lost]), np.concatenate([chance, lost]), owners)
    scores = list(_scores(evaluation, number, errors, chance, people[valid], found, eligibility))
    return scores, item_values(evaluation, eligibility.item[valid], errors, number)


def _flame(evaluation: Evaluation, variant: str) -> Features:
    """Return an extractor's features, with the two eyelids behind them where it reads eyelids.

    They are NaN where their length is not that of FLAME's parameters.
    """
    features = evaluation.features[variant]
    if features.samples.shape[1] != DIMENSION:
        return replace(features, samples=np.full((len(features.samples), DIMENSION), np.nan, np.float32))
    names = [f"{variant}:{side}" for side in EYELID_COLUMNS]
    if not all(name in evaluation.features for name in names):
        return features
    lids = [evaluation.features[name].samples for name in names]
    return replace(features, samples=np.concatenate([features.samples, *lids], axis=1))


def _scores(
    evaluation: Evaluation,
    number: Number,
    errors: Floats,
    chance: Floats,
    people: Any,
    found: Control,
    eligibility: Eligibility,
) -> list[Score]:
    fields: dict[str, Any] = {**eligibility.counts(), "note": eligibility.note}
    known = np.isfinite(chance)
    error = mean_score(number, errors, people, evaluation.seed, empty="nothing was read", **fields)
    at_chance = mean_score(
        number._replace(statistic=named(number.statistic, "shuffled")), chance[known], people[known], evaluation.seed,
        empty=found.note or "nothing was read", **fields,
    )  # fmt: skip
    fields["note"] = notes(eligibility.note, found.note)
    skill = Score(
        number._replace(statistic=named(number.statistic, "skill")), found.skill, plain(found.low), plain(found.high),
        n=found.n, **fields,
    )  # fmt: skip
    worst = number._replace(statistic=named(number.statistic, "skill_failures_as_chance"))
    return [error, at_chance, skill, Score(worst, found.skill_failures_at_chance, n=found.n, **fields)]
