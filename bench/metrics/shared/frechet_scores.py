"""From features to the scores of a Frechet metric: who is in, what it is worth, and when it must not rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.frechet import ALWAYS, NEVER, frechet
from bench.metrics.protocol import Evaluation, Features, Result, Score
from bench.metrics.shared.eligibility import Mask, Rows, Standing, standing, subjects
from bench.metrics.shared.population import Real, real_side
from bench.metrics.shared.scores import absent, named, notes, number, together
from bench.statistics import Jackknife, few, jackknife, jackknife_groups

GROUPS = 20
RANKING_NEEDS = 0.99
"""Detection rate below which a distance over detected samples must not rank methods."""
REPLICATE = "replicate"
"""In `Result.per_item` the statistic of rows that are no items: the distance without one group of subjects."""


def frechet_result(evaluation: Evaluation, metric: str, role: str, groups: int = GROUPS) -> Result:
    """Distance of the detected samples to the references, for every extractor of a role, with its jackknife.

    Args:
        evaluation: tables and features.
        metric: name of the metric.
        role: of the extractors.
        groups: of subjects, for the jackknife; the same for every method on one dataset.

    Returns:
        Per variant `distance` (its interval is -+ t times the jackknife's standard error), `standard_error`,
        `bias_corrected`; and, as `per_item`, one row per group with the distance without it ("replicate").
    """
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    for variant in named(evaluation.features, role):
        more, table = _variant(evaluation, (metric, variant), evaluation.features[variant], groups)
        scores += more
        tables.append(table)
    if not scores:
        scores = [absent((metric, "", "distance"), f"no {role} extractor was run")]
    return Result(tuple(scores), None, together(tables))


def _variant(
    evaluation: Evaluation, name: tuple[str, str], features: Features, groups: int
) -> tuple[list[Score], pd.DataFrame]:
    who, real = standing(evaluation, features), real_side(evaluation, name[1])
    counts = {"n": int(who.valid.sum()), "n_items": len(real.rows), **who.counts()}
    if min(counts["n"], counts["n_items"]) < 2:
        return [
            absent((*name, "distance"), notes("needs 2 samples and 2 references", who.note), **counts)
        ], replicate_table()
    value, replicates = frechet(features.samples, real.rows, *_groups(evaluation, who.valid, real, groups))
    note = notes(trap(counts["n"], counts["n_items"], real.rows.shape[1]), ranking(who), who.note, real.note)
    return _scores(name, value, jackknife(value, replicates), note, counts), replicate_table(name, replicates)


def trap(n: int, n_references: int, dimension: int) -> str:
    """The warning for too few samples; empty where there are enough for a covariance of full rank.

    >>> trap(2500, 500, 2048)
    '500 references and 2500 samples for 2048 dimensions: biased upwards, compare at equal numbers only'
    """
    if min(n, n_references) > dimension:
        return ""
    numbers = f"{n_references} references and {n} samples for {dimension} dimensions"
    return f"{numbers}: biased upwards, compare at equal numbers only"


def ranking(who: Standing) -> str:
    """The warning for a distance over detected samples where too many were not detected."""
    trials = int(who.eligible.sum())
    share = who.valid.sum() / trials if trials else 1.0
    return "" if share >= RANKING_NEEDS else f"no ranking: only {share:.1%} of the samples have a face"


def folds(evaluation: Evaluation, groups: int = GROUPS) -> dict[Any, int]:
    """The jackknife's group of each subject of the evaluation; a reference set's pictures are in every fold."""
    everyone = [*subjects(evaluation.references), *subjects(evaluation.samples)]
    return jackknife_groups(everyone, seed=evaluation.seed, groups=groups)


def _groups(evaluation: Evaluation, valid: Mask, real: Real, groups: int) -> tuple[Rows, Rows]:
    """Jackknife codes of samples and references, by subject."""
    number_of = folds(evaluation, groups)
    of_samples = np.array([number_of[name] for name in subjects(evaluation.samples)], dtype=np.int64)
    of_real = [number_of[name] if real.own else ALWAYS for name in real.owners]
    return np.where(valid, of_samples, NEVER), np.array(of_real, dtype=np.int64)


def _scores(
    name: tuple[str, str], value: float, result: Jackknife | None, note: str, counts: dict[str, Any]
) -> list[Score]:
    if result is None:
        missing = "no jackknife: fewer than 2 groups of subjects"
        return [Score(*name, "distance", number(value), note=notes(note, missing), **counts)]
    note = notes(note, few(result.n_groups))
    return [
        Score(*name, "distance", number(value), result.low, result.high, note=note, **counts),
        Score(*name, "standard_error", result.standard_error, note=note, **counts),
        Score(*name, "bias_corrected", result.bias_corrected, note=note, **counts),
    ]


def replicated(metric: str) -> str:
    """The statistic of a metric that its replicates are of.

    >>> replicated("fid"), replicated("kid")
    ('distance', 'excluded')
    """
    return "excluded" if metric == "kid" else "distance"


def replicate_table(name: tuple[str, str] = ("", ""), replicates: NDArray[np.float64] | None = None) -> pd.DataFrame:
    """The distances without each group of subjects, in the long form of `Result.per_item`."""
    values = np.empty(0) if replicates is None else replicates
    labels = [f"without group {group}" for group in range(len(values))]
    frame = pd.DataFrame({"item": labels, "subject": labels})
    return frame.assign(metric=name[0], variant=name[1], statistic=REPLICATE, value=values)
