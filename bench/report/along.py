"""Runs of one method along one factor: how a number follows it, with paired differences from value to value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.metrics.protocol import Number
from bench.report.compare import Comparison
from bench.report.figures import Drawing, legend, new, style
from bench.report.frames import SIMILARITY, Run, of_number
from bench.report.model import Cell, Column, Kind, Table, count, measured

ALONG = Kind("along", "ID similarity along a factor", "A point per run with its 95 % interval; a line per recogniser.")
OPTION = "method.options."
"""Begins the name of an option of the method among a run's weights."""
FACTOR_PLACE = 0
RECOGNISER_PLACE = 1
SIMILARITY_PLACE = 2
"""Columns of the table of `along`, which `drawing` reads."""


def factor_of(run: Run, factor: str) -> Any:
    """Return the value of a factor of a run.

    Args:
        run: with its record.
        factor: name of an option of its method, or `card.NAME` for what its card says.

    Raises:
        UserError: the run's method has no such option, or it has no value.
    """
    method: dict[str, Any] = run.record["spec"]["method"]
    known = {**method["options"], **{f"card.{name}": value for name, value in method["card"].items()}}
    if factor not in known:
        raise UserError(f"method {run.method} of {run.folder} has no option {factor}; it has: {', '.join(known)}")
    if known[factor] is None:
        raise UserError(
            f"{factor} of {run.folder} has no value; give it: `python -m bench run method.{factor}=VALUE ...`"
        )
    return known[factor]


def along(comparison: Comparison, factor: str) -> Table:
    """Return a row per recogniser and run, by the factor: similarity, and the paired difference to the row before.

    Args:
        comparison: of runs of one method.
        factor: see `factor_of`.

    Raises:
        UserError: the runs are of several methods, or two have one value of the factor.
    """
    values = {label: factor_of(run, factor) for label, run in comparison.runs.items()}
    methods = sorted({run.method for run in comparison.runs.values()})
    if len(methods) > 1:
        raise UserError(f"--along takes runs of one method; given: {', '.join(methods)}")
    if len({str(value) for value in values.values()}) < len(values):
        raise UserError(f"--along {factor}: two runs have the same value; give one run for each")
    order = sorted(values, key=lambda label: (isinstance(values[label], str), values[label]))
    rows = [
        _row(comparison, str(recogniser), values, order, place)
        for recogniser in next(iter(comparison.runs.values())).recognisers
        for place in range(len(order))
    ]
    columns = [Column(factor, numeric=False), Column("recogniser", numeric=False)]
    columns += [Column("ID similarity", better="higher"), Column("difference to the row before"), Column("p (Holm)")]
    columns += [Column("n", "samples"), Column("failed", "samples")]
    notes = ["Differences are paired by item, with 95 % intervals clustered by subject.", *_told(comparison, factor)]
    return Table(f"{methods[0]} along {factor}", columns, rows, notes)


def _row(comparison: Comparison, recogniser: str, values: dict[str, Any], order: list[str], place: int) -> list[Cell]:
    number, label = Number(SIMILARITY, recogniser, "mean_detected"), order[place]
    [score] = of_number(comparison.runs[label].scores, number).to_dict("records")
    row = difference(comparison, number, label, order[place - 1]) if place else None
    counts = [count(score["n"]), count(score["n_failed"])]
    return [_factor_cell(values[label]), Cell(recogniser), measured(score), *difference_cells(row), *counts]


def _factor_cell(value: Any) -> Cell:
    return Cell(str(value), float(value) if isinstance(value, (int, float)) else None)


def drawing(table: Table) -> Drawing:
    """Return the figure of a table of `along`; a factor that grows tenfold has a logarithmic axis."""
    figure, axes = new((6.0, 3.6))
    factors = {str(row[FACTOR_PLACE].text): row[FACTOR_PLACE].value for row in table.rows}
    known = {text: value for text, value in factors.items() if value is not None}
    is_scale = len(known) == len(factors)
    places = known if is_scale else {text: float(place) for place, text in enumerate(factors)}
    lines = []
    for number, name in enumerate(dict.fromkeys(row[RECOGNISER_PLACE].text for row in table.rows)):
        own = [row for row in table.rows if row[RECOGNISER_PLACE].text == name]
        colour, dash, marker = style(number)
        x = [places[str(row[FACTOR_PLACE].text)] for row in own]
        y, bars = _with_bars([row[SIMILARITY_PLACE] for row in own])
        line = axes.errorbar(x, y, yerr=bars, fmt=marker, linestyle=dash, color=colour, capsize=2.5, markersize=5)
        lines.append((line, str(name)))
    if is_scale and min(known.values()) > 0 and max(known.values()) >= 10 * min(known.values()):
        axes.set_xscale("log")
    if not is_scale:
        axes.set_xticks(list(places.values()), list(places), parse_math=False)
        axes.margins(x=0.2)
    axes.set_xlabel(table.columns[FACTOR_PLACE].title, parse_math=False)
    axes.set_ylabel("cosine similarity to the input", parse_math=False)
    legend(axes, lines)
    return Drawing(ALONG, (), "", figure)


def _with_bars(cells: list[Cell]) -> tuple[list[float], list[list[float]]]:
    """Return values, and the lengths of their intervals below and above; NaN without a value, 0 without an interval."""
    values = [np.nan if cell.value is None else cell.value for cell in cells]
    below = [0.0 if cell.low is None else value - cell.low for value, cell in zip(values, cells, strict=True)]
    above = [0.0 if cell.high is None else cell.high - value for value, cell in zip(values, cells, strict=True)]
    return values, [below, above]


def _told(comparison: Comparison, factor: str) -> Iterator[str]:
    """Yield what else the runs differ in: other options of the method, and files of weights by their content."""
    records = [run.record for run in comparison.runs.values()]
    options = [record["spec"]["method"]["options"] for record in records]
    contents = [record.get("weights", {}) for record in records]
    names = [name for name in dict.fromkeys(name for one in options for name in one) if name != factor]
    stored = [name for name in names if any(f"{OPTION}{name}" in one for one in contents)]
    others = [name for name in names if name not in stored and len({str(one.get(name)) for one in options}) > 1]
    weights = [name for name in stored if len({str(one.get(f"{OPTION}{name}")) for one in contents}) > 1]
    if others:
        yield f"The runs also differ in {', '.join(others)}: the differences are not of {factor} alone."
    if weights:
        yield f"Each run has its own weights ({', '.join(weights)}): the differences are also those of their trainings."


def difference(comparison: Comparison, number: Number, run: str, base: str) -> dict[str, Any] | None:
    """Return the row of the paired difference of a run to another one, run minus base; None where there is none."""
    for row in of_number(comparison.differences, number).to_dict("records"):
        if {row["a"], row["b"]} == {run, base}:
            found = {str(name): value for name, value in row.items()}
            return found if row["a"] == run else _turned(found)
    return None


def _turned(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "difference": -row["difference"], "low": -row["high"], "high": -row["low"]}


def difference_cells(row: dict[str, Any] | None) -> list[Cell]:
    """Return the cells of a difference and of its p-value; empty ones where there is none."""
    if row is None:
        return [Cell(""), Cell("")]
    p_value = {"value": row["p_holm"], "low": None, "high": None}
    return [measured({**row, "value": row["difference"]}), measured(p_value)]
