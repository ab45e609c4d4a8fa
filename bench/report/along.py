"""Runs of one method along one factor: how a number follows it, with paired differences from value to value."""

from __future__ import annotations

from typing import Any

from bench.errors import UserError
from bench.metrics.protocol import Number
from bench.report.compare import Comparison
from bench.report.frames import SIMILARITY, Run, of_number
from bench.report.model import Cell, Column, Table, count, measured


def factor_of(run: Run, factor: str) -> Any:
    """Return the value of a factor of a run.

    Args:
        run: with its record.
        factor: name of an option of its method, or `card.NAME` for what its card says.

    Raises:
        UserError: the run's method has no such option.
    """
    method: dict[str, Any] = run.record["spec"]["method"]
    known = {**method["options"], **{f"card.{name}": value for name, value in method["card"].items()}}
    if factor not in known:
        raise UserError(f"method {run.method} of {run.folder} has no option {factor}; it has: {', '.join(known)}")
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
    others = _others(comparison, factor)
    notes = ["Differences are paired by item, with 95 % intervals clustered by subject."]
    notes += (
        [f"The runs also differ in {', '.join(others)}: the differences are not of {factor} alone."] if others else []
    )
    return Table(f"{methods[0]} along {factor}", columns, rows, notes)


def _row(comparison: Comparison, recogniser: str, values: dict[str, Any], order: list[str], place: int) -> list[Cell]:
    number, label = Number(SIMILARITY, recogniser, "mean_detected"), order[place]
    [score] = of_number(comparison.runs[label].scores, number).to_dict("records")
    row = difference(comparison, number, label, order[place - 1]) if place else None
    counts = [count(score["n"]), count(score["n_failed"])]
    return [Cell(str(values[label])), Cell(recogniser), measured(score), *difference_cells(row), *counts]


def _others(comparison: Comparison, factor: str) -> list[str]:
    """Return the other options of the method in which the runs differ."""
    options = [run.record["spec"]["method"]["options"] for run in comparison.runs.values()]
    names = dict.fromkeys(name for one in options for name in one)
    return [name for name in names if name != factor and len({str(one.get(name)) for one in options}) > 1]


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
