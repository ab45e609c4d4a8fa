"""The sentence under a page's heading: how good, how sure, in words."""

from __future__ import annotations

from collections.abc import Mapping

from bench.metrics.protocol import Number
from bench.report.compare import Comparison
from bench.report.frames import SIMILARITY, Run, headline, of_number
from bench.report.model import Mark
from bench.report.ranking import ranking
from bench.status import SampleStatus

MEAN = "mean_detected"
"""The statistic of ID similarity that the sentence names."""


def of_run(run: Run) -> str:
    """Return how well a run keeps the person and how many samples have no face, in a sentence."""
    failed, tried = _tried(run)
    if not tried:
        return f"No sample of {run.label} could be tried, so that there is nothing to measure."
    judge = headline([run])
    recogniser = judge or next(iter(run.recognisers), None)
    said = None if recogniser is None else _similarity(run, Number(SIMILARITY, recogniser, MEAN))
    if said is None:
        return (
            f"{failed} of {tried} samples of {run.label} have no face to measure, so that ID similarity has no value."
        )
    whose = f"{recogniser}, which is independent of the method" if judge else f"{recogniser}; no judge is independent"
    return f"ID similarity is {said} under {whose}. {failed} of {tried} samples have no face to measure."


def of_comparison(comparison: Comparison) -> str:
    """Return which method keeps the person best under the headline judge, or that none does, in a sentence."""
    if comparison.headline is None:
        return "No judge is independent of all these methods, so that none of them is called the best."
    number = Number(SIMILARITY, comparison.headline, MEAN)
    said = {name: _similarity(run, number) for name, run in _generators(comparison).items()}
    measured = {name: text for name, text in said.items() if text is not None}
    if not measured:
        return "No generator has an ID similarity."
    if len(measured) == 1:
        [(name, text)] = measured.items()
        return f"ID similarity of {name} is {text} under {comparison.headline}, which is independent of it."
    best = [name for name, mark in ranking(comparison, number).marks.items() if mark is Mark.BEST]
    if not best:
        return f"Under {comparison.headline}, which is independent of all methods, no method keeps the person best."
    return (
        f"{best[0]} keeps the person best: ID similarity {measured[best[0]]} under {comparison.headline}, which is "
        f"independent of all methods. It is significantly above every other one (paired by subject, Holm, 5 %)."
    )


def _generators(comparison: Comparison) -> Mapping[str, Run]:
    return {name: run for name, run in comparison.runs.items() if not run.is_control}


def _tried(run: Run) -> tuple[int, int]:
    statuses = [SampleStatus(status) for status in run.samples["status"]]
    return sum(one.is_failure for one in statuses), sum(one.is_trial for one in statuses)


def _similarity(run: Run, number: Number) -> str | None:
    """Return a number with its interval in words; None where the run has no value."""
    rows = of_number(run.scores, number).dropna(subset=["value"])
    if rows.empty:
        return None
    value, low, high = rows.iloc[0][["value", "low", "high"]].astype(float)
    sure = f" (95 %: {low:.3f} to {high:.3f})" if low == low and high == high else " (no interval)"
    return f"{value:.3f}{sure}"
