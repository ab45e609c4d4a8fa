"""The verb `compare`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.console import say, show, table
from bench.errors import UserError
from bench.report.compare import Comparison, newest
from bench.report.compare import compare as compare_runs
from bench.report.model import Cell
from bench.report.paper import overview, paper_table
from bench.report.tables import turned
from bench.report.writers import write_comparison, write_tables


def main(argv: Sequence[str]) -> int:
    """Compares the given runs; without any, the newest complete run of each method on each dataset."""
    parser = argparse.ArgumentParser(prog="python -m bench compare", description=main.__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    parser.add_argument("--to", type=Path, help="folder to write to (default: OUT/compare/DATASET)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    groups = {"": arguments.runs} if arguments.runs else _several(arguments.out)
    results, comparisons = [], []
    base = arguments.to or arguments.out / "compare"
    for name, folders in groups.items():
        comparison = compare_runs(folders)
        label = name or str(next(iter(comparison.runs.values())).record["dataset"])
        out = base if arguments.to and len(groups) == 1 else base / label
        write_comparison(comparison, out)
        comparisons.append(comparison)
        results.append(_plain(comparison, out))
        if not arguments.json:
            _show(comparison, out)
    if len(comparisons) > 1:  # the paper's layout: datasets side by side
        write_tables(base / "table1", paper_table(*comparisons))
    if arguments.json:
        show(json.dumps(results, indent=2, ensure_ascii=False))
    return 0


def _several(out: Path) -> dict[str, list[Path]]:
    groups = {name: folders for name, folders in newest(out).items() if len(folders) > 1}
    if not groups:
        raise UserError(
            f"{out} has no two complete runs of different methods on one dataset; `python -m bench ls runs`"
        )
    return groups


def _show(comparison: Comparison, out: Path) -> None:
    """The overview turned: a line per number, a column per run."""
    found = turned(overview(comparison))
    lines = [{c.title: _marked(cell) for c, cell in zip(found.columns, row, strict=True)} for row in found.rows]
    show(f"{out.name}: {len(comparison.items)} items\n{table(lines)}\n")
    for warning in comparison.warnings:
        say(f"warning: {warning}")
    say(f"written to {out}")


def _marked(cell: Cell) -> str:
    """The best of a line with two stars, the second best with one."""
    return cell.text + {"best": " **", "second": " *", "": ""}[cell.mark]


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
