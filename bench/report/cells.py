"""What tables of several runs have in common: the cells of a number with its marks, counts of samples, caption."""

from __future__ import annotations

from bench.metrics.protocol import Number
from bench.metrics.shared.scores import notes
from bench.report.compare import Comparison
from bench.report.frames import Run, of_number
from bench.report.model import Cell, Column, Mark, count, measured
from bench.report.ranking import NOT_RANKED, Compared, Ranking, ranking
from bench.status import SampleStatus

COUNTS = [Column("method", numeric=False), *(Column(word, group="samples") for word in ("n", "failed", "unavailable"))]


def counts(name: str, run: Run) -> list[Cell]:
    """Return the cells of `COUNTS`: a run's name, and how many samples are trials, failed, are unavailable."""
    states = [SampleStatus(status) for status in run.samples["status"]]
    trials = sum(status.is_trial for status in states)
    failed = sum(status.is_failure for status in states)
    unavailable = states.count(SampleStatus.UNAVAILABLE)
    note = NOT_RANKED if run.is_control else ""
    return [Cell(name, note=note), count(trials), count(failed), count(unavailable)]


def column_cells(comparison: Compared, number: Number) -> dict[str, Cell]:
    """Return the cells of a column, by run, with the marks of `bench.report.ranking.ranking`."""
    ranked = ranking(comparison, number)
    return {name: _cell(name, run, number, ranked) for name, run in comparison.runs.items()}


def _cell(name: str, run: Run, number: Number, ranked: Ranking) -> Cell:
    rows = of_number(run.scores, number)
    if rows.empty:
        return Cell(note="not measured")
    row = rows.iloc[0]
    # The name of a control carries its note already.
    own = "" if run.is_control else ranked.notes.get(name, "")
    given = str(row["note"])
    note = given if own in given else notes(own, given)
    return measured(row.to_dict(), mark=ranked.marks.get(name, Mark.NONE), note=note)


def caption(comparison: Comparison) -> str:
    """Return dataset, number of items and protocol."""
    run = next(iter(comparison.runs.values()))
    size = len(comparison.items)
    return f"{dataset(comparison)}, {size} item{'s' * (size != 1)}, {run.comparable['protocol']['name']}"


MARKED = (
    "Best and second best generator of a number: significantly better than every other one (paired by subject, Holm, "
    "5 %). No mark: the data do not show a difference. Intervals: 95 %, by subject."
)


def dataset(comparison: Comparison) -> str:
    """Return the name of the dataset of all runs."""
    return str(next(iter(comparison.runs.values())).record["dataset"])
