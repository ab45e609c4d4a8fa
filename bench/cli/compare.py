"""The verb `compare`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.console import Parser, say, show, table
from bench.errors import UserError
from bench.report import along as factors
from bench.report import figures, overview
from bench.report.compare import Comparison, newest
from bench.report.compare import compare as compare_runs
from bench.report.model import Cell, Mark, Table
from bench.report.paper import paper_table
from bench.report.tables import written
from bench.report.writers import write_comparison, write_tables

STARS = {Mark.BEST: " **", Mark.SECOND: " *"}
"""Mark -> what follows a number on the terminal."""


def main(argv: Sequence[str]) -> int:
    """Compare the given runs; without any, the newest complete run of each method on each dataset."""
    arguments = _parser().parse_args(argv)
    groups = [arguments.runs] if arguments.runs else _several(arguments.out)
    comparisons = [compare_runs(folders) for folders in groups]
    base = arguments.to or arguments.out / "compare"
    places = [base] if arguments.to and len(comparisons) == 1 else [base / name for name in names(comparisons)]
    results = []
    for comparison, place in zip(comparisons, places, strict=True):
        write_comparison(comparison, place)
        if arguments.along:
            _along(comparison, arguments.along, place)
        results.append(_plain(comparison, place))
        if not arguments.json:
            _show(comparison, place)
    # The paper's layout: datasets next to each other.
    if len(comparisons) > 1:
        write_tables(base / "table1", paper_table(*comparisons))
        figures.clear(base, (figures.SIMILARITIES,))
        if drawing := figures.over_datasets(dict(zip(names(comparisons), comparisons, strict=True))):
            figures.write(drawing, base)
    if arguments.json:
        show(json.dumps(results, indent=2, ensure_ascii=False))
    return 0


def _along(comparison: Comparison, factor: str, folder: Path) -> None:
    found = factors.along(comparison, factor)
    write_tables(folder / factors.ALONG.name, found)
    figures.write(factors.drawing(found), folder)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m bench compare", description=main.__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    parser.add_argument("--to", type=Path, help="folder to write to (default: OUT/compare/DATASET)")
    parser.add_argument(
        "--along",
        metavar="OPTION",
        help="also a table and a figure of runs of one method by an option of it, or by card.NAME",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _several(out: Path) -> list[list[Path]]:
    """Return the runs of each list that has two or more of them."""
    groups = [folders for folders in newest(out).values() if len(folders) > 1]
    if not groups:
        raise UserError(
            f"{out} has no two complete runs of different methods on one dataset; `python -m bench ls runs`"
        )
    return groups


def names(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a folder's name for each comparison: its dataset, with the list's digits where two lists share it."""
    records = [next(iter(comparison.runs.values())).record for comparison in comparisons]
    labels = [str(record["dataset"]) for record in records]
    return [
        label if labels.count(label) == 1 else f"{label}-{record['content'][:8]}"
        for label, record in zip(labels, records, strict=True)
    ]


def _show(comparison: Comparison, out: Path) -> None:
    """Print the overview, and the numbers that no run has."""
    found = overview.of_comparison(comparison)
    show(f"{out.name}: {len(comparison.items)} items\n{table(_lines(found.table))}\n")
    for line in found.unmeasured:
        say(line)
    for warning in comparison.warnings:
        say(f"warning: {warning}")
    say(f"written to {out}")


def _lines(found: Table) -> list[dict[str, str]]:
    """Return the rows of a table by the titles of its columns; a heading is a row of its own."""
    titles = [column.title for column in found.columns]
    lines: list[dict[str, str]] = []
    for heading, rows in found.sections():
        lines.append(dict.fromkeys(titles, "") | {titles[0]: heading})
        lines += [dict(zip(titles, map(_starred, row), strict=True)) for row in rows]
    return lines


def _starred(cell: Cell) -> str:
    """Return the best of a line with two stars, the second best with one."""
    return written(cell) + STARS.get(cell.mark, "")


def _plain(comparison: Comparison, out: Path) -> dict[str, Any]:
    return {
        "folder": str(out),
        "runs": {name: str(run.folder) for name, run in comparison.runs.items()},
        "items": len(comparison.items),
        "scores": _records(comparison.scores.to_dict("records")),
        "differences": _records(comparison.differences.to_dict("records")),
        "warnings": comparison.warnings,
    }


def _records(rows: list[dict[Any, Any]]) -> list[dict[str, Any]]:
    return [{str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]
