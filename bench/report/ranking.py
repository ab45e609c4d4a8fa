"""Which measured number is the best of its column, and which the second: only where the difference is significant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pandas as pd

from bench.metrics import declared
from bench.metrics.protocol import Number
from bench.metrics.shared.frechet_scores import RANKING_NEEDS
from bench.report.frames import Run, of_number
from bench.report.model import Mark

ALPHA = 0.05
NOT_RANKED = "control, not ranked"


class Compared(Protocol):
    """Runs that may be compared, by label, and their paired differences (`bench.report.differences`)."""

    @property
    def runs(self) -> Mapping[str, Run]: ...  # noqa: D102
    @property
    def differences(self) -> pd.DataFrame: ...  # noqa: D102


@dataclass(frozen=True)
class Ranking:
    """Marks of a column's cells and the reasons why some runs were not ranked, both by the run's label."""

    marks: dict[str, Mark] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def ranking(comparison: Compared, number: Number) -> Ranking:
    """Return the best and the second best generator of one number, where the data show a difference.

    The measured generators that have the number are ranked: no control, nothing published, and for a distance of
    distributions only methods with a face in at least 99 % of their samples. Of two, one is significantly better if the
    paired difference says so at `ALPHA` = 0.05 (p-values adjusted by Holm over all pairs of generators in this column:
    to pick the top first and test it against the rest would count the luck that brought it there) and its
    own number is the better one. Then

    - the best is significantly better than every other ranked one; there is none where the top is shared,
    - the second is significantly better than every other ranked one but the best; there is none without a best, nor
      among only two.

    Numbers without a direction, or without a test (CMMD, rates over all samples), have no marks.

    Args:
        comparison: runs and differences.
        number: the column.
    """
    rows = {name: row for name, run in comparison.runs.items() if (row := _row(run, number)) is not None}
    notes = {name: note for name, row in rows.items() if (note := _unranked(comparison.runs[name], row, number))}
    ranked = [name for name in rows if name not in notes and pd.notna(rows[name]["value"])]
    directions = {bool(rows[name]["higher_is_better"]) for name in ranked if pd.notna(rows[name]["higher_is_better"])}
    if len(ranked) < 2 or len(directions) != 1:
        return Ranking({}, notes)
    sign = 1 if directions.pop() else -1
    values = {name: sign * float(rows[name]["value"]) for name in ranked}
    return Ranking(_marks(values, _significant(comparison, number)), notes)


def _row(run: Run, number: Number) -> pd.Series | None:
    rows = of_number(run.scores, number)
    return None if rows.empty else rows.iloc[0]


def _unranked(run: Run, row: pd.Series, number: Number) -> str:
    """Return why a run takes no part in the ranking of a column; "" where it does."""
    if run.is_control:
        return NOT_RANKED
    made = int(row["n"]) + int(row["n_failed"])
    share = int(row["n"]) / made if made else 0.0
    metric = declared.metric(number.metric)
    low = metric is not None and metric.distribution and share < RANKING_NEEDS
    return f"no ranking: only {share:.1%} of the samples have a face" if low else ""


def _significant(comparison: Compared, number: Number) -> set[frozenset[str]]:
    """Return the pairs whose difference is significant after Holm's correction."""
    rows = of_number(comparison.differences, number)
    rows = rows[rows["p_holm"].astype(float) <= ALPHA]
    return {frozenset(pair) for pair in zip(rows["a"], rows["b"], strict=True)}


def _marks(values: dict[str, float], significant: set[frozenset[str]]) -> dict[str, Mark]:
    """Return marks from values (higher is better) and the pairs that differ.

    >>> found = _marks({"a": 3.0, "b": 2.0, "c": 1.0}, {frozenset("ab"), frozenset("ac"), frozenset("bc")})
    >>> [f"{name}: {mark}" for name, mark in found.items()]
    ['a: best', 'b: second']
    >>> _marks({"a": 3.0, "b": 2.0, "c": 1.0}, {frozenset("ac"), frozenset("bc")})
    {}
    """

    def beats_all(name: str, others: list[str]) -> bool:
        return all(values[name] > values[other] and frozenset((name, other)) in significant for other in others)

    order = sorted(values, key=lambda name: -values[name])
    if not beats_all(order[0], order[1:]):
        return {}
    marks: dict[str, Mark] = {order[0]: Mark.BEST}
    if len(order) > 2 and beats_all(order[1], order[2:]):
        marks[order[1]] = Mark.SECOND
    return marks
