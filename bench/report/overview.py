"""The first table of a run and of a comparison: headline numbers, those of the independent judge on top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from bench.metrics.protocol import Number
from bench.report.cells import COUNTS, MARKED, caption, column_cells, counts
from bench.report.compare import Comparison
from bench.report.frames import Run, headline, of_number
from bench.report.model import Cell, Column, Table, count, measured
from bench.report.numbers import better, headlines, label, relation_note
from bench.report.ranking import NOT_RANKED
from bench.report.tables import ARROWS

OTHERS = "Other numbers: no recogniser judges them"
INTERVALS = "Intervals: 95 %, by subject. Arrows point to the better side."


@dataclass(frozen=True)
class Overview:
    """The headline numbers.

    Attributes:
        table: a row per number.
        missing: numbers that no run has, each with the reason.
    """

    table: Table
    missing: list[tuple[str, str]]

    @property
    def unmeasured(self) -> list[str]:
        """A line for each reason why numbers are missing."""
        names: dict[str, list[str]] = {}
        for name, reason in self.missing:
            names.setdefault(reason, []).append(name)
        return [f"not measured: {'; '.join(missing)} ({reason})" for reason, missing in names.items()]

    @property
    def noted(self) -> Table:
        """The table with the missing numbers below it, for a file that folds nothing away."""
        return replace(self.table, notes=[*self.table.notes, *self.unmeasured])


def of_run(run: Run) -> Overview:
    """Return the headline numbers of a run: value with interval, samples, failures."""
    scores = run.scores.assign(run=run.label)
    sections, missing = _sections(scores, headline([run]))
    columns = [Column("number", numeric=False), Column("value"), *(Column(name, "samples") for name in ("n", "failed"))]
    rows = {number: _run_row(run, number) for numbers in sections.values() for number in numbers}
    return Overview(_table("Headline numbers", columns, sections, rows, [INTERVALS]), missing)


def _run_row(run: Run, number: Number) -> list[Cell]:
    score = of_number(run.scores, number).iloc[0]
    value = measured(score.to_dict(), note=str(score["note"]))
    return [_name(run.scores, number), value, count(score["n"]), count(score["n_failed"])]


def of_comparison(comparison: Comparison) -> Overview:
    """Return the headline numbers of several runs, with intervals, the marks of `ranking`, and the counts of samples.

    A number is a row, a run is a column.
    """
    sections, missing = _sections(comparison.scores, comparison.headline)
    columns = [Column("number", numeric=False), *map(_method_column, comparison.runs.items())]
    rows = {number: _row(comparison, number) for numbers in sections.values() for number in numbers}
    table = _table(caption(comparison), columns, sections, rows, [MARKED, *comparison.warnings])
    return Overview(_with_counts(table, comparison.runs), missing)


def _method_column(named: tuple[str, Run]) -> Column:
    name, run = named
    return Column(name, note=NOT_RANKED if run.is_control else "")


def _row(comparison: Comparison, number: Number) -> list[Cell]:
    cells = column_cells(comparison, number)
    return [_name(comparison.scores, number), *(cells[name] for name in comparison.runs)]


def _name(scores: pd.DataFrame, number: Number) -> Cell:
    arrow = ARROWS[better(scores, number)]
    own = f"({number.variant})" if number.variant and not _is_judged(scores, number.variant) else ""
    return Cell(" ".join(filter(None, (label(number), own, arrow))))


def _is_judged(scores: pd.DataFrame, variant: str) -> bool:
    return bool((scores.loc[scores["variant"] == variant, "relation"] != "").any())


def _sections(scores: pd.DataFrame, judge: str | None) -> tuple[dict[str, list[Number]], list[tuple[str, str]]]:
    """Return headings with their numbers, the judge's first and other recognisers' last, and the missing numbers."""
    found: dict[str, list[Number]] = {}
    missing: list[tuple[str, str]] = []
    shown = headlines(scores)
    networks = {number.variant for number in shown}
    places = {network: _place(scores, network, judge) for network in networks}
    named = {network: _heading(scores, network, judge) for network in networks}
    for number in sorted(shown, key=lambda one: places[one.variant]):
        rows = of_number(scores, number)
        if rows["value"].isna().all():
            missing.append((_whole(number), "; ".join(filter(None, dict.fromkeys(rows["note"]))) or "not measured"))
        else:
            found.setdefault(named[number.variant], []).append(number)
    return found, missing


def _whole(number: Number) -> str:
    return label(number) + (f" ({number.variant})" if number.variant else "")


def _place(scores: pd.DataFrame, variant: str, judge: str | None) -> int:
    if variant == judge:
        return 0
    return 2 if _is_judged(scores, variant) else 1


def _heading(scores: pd.DataFrame, variant: str, judge: str | None) -> str:
    note = relation_note(scores, variant, judge)
    return f"By {variant} ({note})" if note else OTHERS


def _table(
    title: str,
    columns: list[Column],
    sections: Mapping[str, Iterable[Number]],
    rows: Mapping[Number, list[Cell]],
    notes: list[str],
) -> Table:
    """Return the rows under their headings."""
    body: list[list[Cell]] = []
    headings: dict[int, str] = {}
    for heading, numbers in sections.items():
        headings[len(body)] = heading
        body += [rows[number] for number in numbers]
    return Table(title, columns, body, notes, headings)


def _with_counts(table: Table, runs: Mapping[str, Run]) -> Table:
    """Return the table with the numbers of samples at its end."""
    cells = [counts(name, run) for name, run in runs.items()]
    rows = [[Cell(column.title), *(own[place] for own in cells)] for place, column in enumerate(COUNTS) if place]
    headings = {**table.headings, len(table.rows): "Samples"}
    return Table(table.title, table.columns, [*table.rows, *rows], table.notes, headings)
