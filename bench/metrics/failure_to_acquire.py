"""Failure to acquire: the share of samples in which there is no face to compare (ISO/IEC 19795-1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.metrics.protocol import Evaluation, Metric, Result, Score
from bench.metrics.shared.eligibility import standing, subjects
from bench.metrics.shared.scores import absent, item_values, with_interval
from bench.statistics import clustered_rate

NAME = "failure_to_acquire"
REASONS = ("generation_error", "undecodable", "no_face")


def compute(evaluation: Evaluation) -> Result:
    """Rate of failed samples among those whose reference has a face, and the part of each reason in it.

    >>> from bench.metrics.shared.example import example, numbers
    >>> numbers(compute(example()), "rate", "rate_no_face")
    [0.25, 0.25]
    """
    who = standing(evaluation)
    trial, people = who.eligible, subjects(evaluation.samples)[who.eligible]
    counts = {"n": int(trial.sum()), **who.counts()}
    if not trial.any():
        return Result((absent((NAME, "", "rate"), "no eligible sample", **counts),))
    failed, status = who.failed[trial], evaluation.samples["status"].to_numpy(dtype=object)[trial]
    cases = {"rate": failed} | {f"rate_{reason}": failed & (status == reason) for reason in REASONS}
    scores = [_score(name, case, people, counts) for name, case in cases.items()]
    table = item_values(evaluation, who.item[trial], failed.astype(np.float64), (NAME, "", "rate"))
    return Result(tuple(scores), None, table)


def _score(statistic: str, case: NDArray[np.bool_], people: NDArray[Any], counts: dict[str, Any]) -> Score:
    return with_interval((NAME, "", statistic), case.mean(), clustered_rate(case, people), **counts)


METRIC = Metric(
    name=NAME,
    version=1,
    unit="rate",
    higher_is_better=False,
    range=(0.0, 1.0),
    reference="ISO/IEC 19795-1: failure to acquire",
    needs=(),
    compute=compute,
)
