"""From features to the scores of a Frechet metric: who is in, what it is worth, and when it must not rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.metrics.functional.arrays import Mask, Rows
from bench.metrics.functional.frechet import ALWAYS, NEVER, frechet
from bench.metrics.protocol import (
    REPLICATE,
    Contradiction,
    Evaluation,
    Features,
    Number,
    Recomputed,
    Result,
    Score,
    Statistic,
    Tables,
)
from bench.metrics.shared.eligibility import Eligibility, eligibility_of, subjects
from bench.metrics.shared.population import Real, real_side
from bench.metrics.shared.scores import absent, concat, notes, plain
from bench.statistics import Jackknife, few, jackknife, jackknife_groups

GROUPS = 20
RANKING_NEEDS = 0.99
"""Detection rate below which a distance over detected samples must not rank methods."""


def frechet_result(evaluation: Evaluation, metric: str, role: str, groups: int = GROUPS) -> Result:
    """Return the distance of the detected samples to the references, for every extractor of a role, with its jackknife.

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
    for variant in evaluation.of_role(role, evaluation.features):
        more, table = _variant(evaluation, Number(metric, variant, "distance"), evaluation.features[variant], groups)
        scores += more
        tables.append(table)
    if not scores:
        scores = [absent(Number(metric, "", "distance"), f"no {role} extractor was run")]
    return Result(tuple(scores), None, concat(tables))


def _variant(
    evaluation: Evaluation, number: Number, features: Features, groups: int
) -> tuple[list[Score], pd.DataFrame]:
    eligibility = eligibility_of(evaluation, features)
    real = real_side(evaluation, number.variant)
    counts = {"n": int(eligibility.valid.sum()), "n_items": len(real.rows), **eligibility.counts()}
    if min(counts["n"], counts["n_items"]) < 2:
        reason = notes("needs 2 samples and 2 references", eligibility.note)
        return [absent(number, reason, **counts)], replicate_table(number)
    value, replicates = frechet(features.samples, real.rows, *_groups(evaluation, eligibility.valid, real, groups))
    warning = small_sample_warning(counts["n"], counts["n_items"], real.rows.shape[1])
    note = notes(warning, ranking(eligibility), eligibility.note, real.note)
    return _scores(number, value, jackknife(value, replicates), note, counts), replicate_table(number, replicates)


def small_sample_warning(n: int, n_references: int, dimension: int) -> str:
    """Return the warning for too few samples; empty where there are enough for a covariance of full rank.

    >>> small_sample_warning(2500, 500, 2048)
    '500 references and 2500 samples for 2048 dimensions: biased upwards, compare at equal numbers only'
    """
    if min(n, n_references) > dimension:
        return ""
    numbers = f"{n_references} references and {n} samples for {dimension} dimensions"
    return f"{numbers}: biased upwards, compare at equal numbers only"


def ranking(eligibility: Eligibility) -> str:
    """Return the warning for a distance over detected samples where too many were not detected."""
    trials = int(eligibility.trial.sum())
    share = eligibility.valid.sum() / trials if trials else 1.0
    return "" if share >= RANKING_NEEDS else f"no ranking: only {share:.1%} of the samples have a face"


def folds(evaluation: Evaluation, groups: int = GROUPS) -> dict[Any, int]:
    """Return the jackknife's group of each subject of the evaluation; a reference set's pictures are in every fold."""
    everyone = [*subjects(evaluation.references), *subjects(evaluation.samples)]
    return jackknife_groups(everyone, seed=evaluation.seed, groups=groups)


def _groups(evaluation: Evaluation, valid: Mask, real: Real, groups: int) -> tuple[Rows, Rows]:
    """Jackknife codes of samples and references, by subject."""
    number_of = folds(evaluation, groups)
    of_samples = np.array([number_of[name] for name in subjects(evaluation.samples)], dtype=np.int64)
    of_real = [number_of[name] if real.own else ALWAYS for name in real.owners]
    return np.where(valid, of_samples, NEVER), np.array(of_real, dtype=np.int64)


STATISTICS = (
    Statistic("distance", "distance", headline=True, replicated=True),
    Statistic("standard_error", "standard error"),
    Statistic("bias_corrected", "bias corrected", range=(None, None)),
)
"""What `frechet_result` answers with."""


def _scores(number: Number, value: float, result: Jackknife | None, note: str, counts: dict[str, Any]) -> list[Score]:
    if result is None:
        missing = "no jackknife: fewer than 2 groups of subjects"
        return [Score(number, plain(value), note=notes(note, missing), **counts)]
    note = notes(note, few(result.n_groups))
    return [
        Score(number, plain(value), result.low, result.high, note=note, **counts),
        Score(number._replace(statistic="standard_error"), result.standard_error, note=note, **counts),
        Score(number._replace(statistic="bias_corrected"), result.bias_corrected, note=note, **counts),
    ]


def replicate_table(number: Number, replicates: NDArray[np.float64] | None = None) -> pd.DataFrame:
    """Return the distances without each group of subjects, in the long form of `Result.per_item`."""
    values = np.empty(0) if replicates is None else replicates
    labels = [f"without group {group}" for group in range(len(values))]
    frame = pd.DataFrame({"item": labels, "subject": labels})
    return frame.assign(**number._replace(statistic=REPLICATE)._asdict(), value=values)


def recompute(tables: Tables) -> Recomputed | None:
    """Compute error, correction and interval again from the jackknife's replicates; the distance needs features.

    Raises:
        Contradiction: the distance lies where leaving out a part of the people cannot bring it.
    """
    number = Number(tables.metric, tables.variant, "distance")
    value = float(tables.scores[number]["value"])
    replicates = tables.items.loc[tables.items["statistic"] == REPLICATE, "value"].to_numpy(dtype=np.float64)
    check_place(number, value, replicates)
    result = jackknife(value, replicates)
    if result is None:
        return None
    return Recomputed(_scores(number, value, result, "", {}), ("value", "low", "high"))


def check_place(number: Number, value: float, replicates: NDArray[np.float64]) -> None:
    """Refuse a distance that does not belong to its replicates.

    Leaving out one group of g changes a distance, bias included, by about its g-th part, plus their spread.

    Raises:
        Contradiction: it does not.
    """
    if len(replicates) < 2 or not np.isfinite([value, *replicates]).all():
        return
    middle = float(replicates.mean())
    spread = float(np.ptp(replicates))
    if abs(value - middle) > 2 * abs(middle) / (len(replicates) - 1) + spread:
        raise Contradiction(f"{number}: {value:.4f} does not belong to its replicates, whose mean is {middle:.4f}")
