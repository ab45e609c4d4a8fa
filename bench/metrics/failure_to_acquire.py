"""Failure to acquire: the share of samples in which there is no face to compare (ISO/IEC 19795-1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.protocol import Evaluation, Metric, Number, Recomputed, Result, Score, Statistic, Tables
from bench.metrics.shared.eligibility import eligibility_of, subjects
from bench.metrics.shared.recompute import ALL
from bench.metrics.shared.scores import absent, item_values, with_interval
from bench.statistics import clustered_rate
from bench.status import SampleStatus

NAME = "failure_to_acquire"
REASONS = tuple(status.value for status in SampleStatus if status.is_failure)


def compute(evaluation: Evaluation) -> Result:
    """Return the rate of failed samples among those whose reference has a face, and the part of each reason in it.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "rate", "rate_no_face")
    [0.25, 0.25]
    """
    eligibility = eligibility_of(evaluation)
    trial = eligibility.trial
    people = subjects(evaluation.samples)[trial]
    counts = {"n": int(trial.sum()), **eligibility.counts()}
    if not trial.any():
        return Result((absent(Number(NAME, "", "rate"), "no eligible sample", **counts),))
    failed = eligibility.failed[trial]
    status = evaluation.samples["status"].to_numpy(dtype=object)[trial]
    cases = {"rate": failed} | {f"rate_{reason}": failed & (status == reason) for reason in REASONS}
    scores = [_score(name, case, people, counts) for name, case in cases.items()]
    table = item_values(evaluation, eligibility.item[trial], failed.astype(np.float64), Number(NAME, "", "rate"))
    return Result(tuple(scores), None, table)


def _score(statistic: str, case: NDArray[np.bool_], people: NDArray[Any], counts: dict[str, Any]) -> Score:
    return with_interval(Number(NAME, "", statistic), case.mean(), clustered_rate(case, people), **counts)


def recompute(tables: Tables) -> Recomputed:
    """Compute every rate again: statuses are all that it needs."""
    result = compute(tables.evaluation)
    return Recomputed(result.scores, ALL, result.per_item)


METRIC = Metric(
    name=NAME,
    version=1,
    title="failure to acquire",
    unit="rate",
    higher_is_better=False,
    range=(0.0, 1.0),
    source="ISO/IEC 19795-1: failure to acquire",
    needs=(),
    statistics=(
        Statistic("rate", tile=True),
        *(Statistic(f"rate_{reason}", reason.replace("_", " ")) for reason in REASONS),
    ),
    compute=compute,
    recompute=recompute,
)
