"""The report of one run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bench.report import figures, grids, tables
from bench.report.frames import Run, load_run
from bench.report.model import Cell, Column, Table
from bench.report.page import write_run_page
from bench.report.page.facts import licences
from bench.store import write_atomic, write_table

NO_PICTURES = "The pictures of the samples are not in this folder: there are no grids."


def write_report(folder: Path) -> None:
    """Writes `report/` of a scored run: scores as CSV, Parquet, Markdown and LaTeX, failures, distributions, grids."""
    run, out = load_run(folder), folder / "report"
    table, pictures = score_table(run), grids.has_pictures(run)
    write_table(out / "scores.parquet", run.scores)
    write_atomic(out / "scores.csv", run.scores.to_csv(index=False, lineterminator="\n").encode())
    told = "".join(f"- {tables.escape_markdown(warning)}\n" for warning in run.warnings)
    parts = [told, tables.markdown(table), "" if pictures else NO_PICTURES + "\n", _failures(run), _licences(run)]
    text = "\n".join([f"# {tables.escape_markdown(table.title)}\n", *filter(None, parts)])
    write_atomic(out / "scores.md", text.encode())
    write_atomic(out / "scores.tex", tables.latex(table).encode())
    lost = grids.failed(run)[["item", "subject", "index", "status", "reason", "path"]]
    write_atomic(out / "failures.csv", lost.to_csv(index=False, lineterminator="\n").encode())
    figures.clear(out, ("similarity", "failures"))
    for recogniser in run.recognisers:
        figure = figures.similarity({run.method: run}, recogniser)
        figures.save(figure, out / f"similarity-{figures.file_name(recogniser)}")
    if pictures:
        _write_grids(run, out)
    write_run_page(run, [table], out)


def _write_grids(run: Run, out: Path) -> None:
    """The best, median and worst items, and every failure."""
    for recogniser in run.recognisers[:1]:
        figures.save(grids.grid(run, recogniser, grids.spread(run, recogniser)), out / "grid", fonts=3)
    for page, figure in enumerate(grids.failures(run), 1):
        figures.save(figure, out / f"failures-{page:03d}", fonts=3)


def score_table(run: Run) -> Table:
    """Every number of a run with its interval and its counts."""
    columns = [Column(name, numeric=False) for name in ("metric", "of", "statistic")]
    columns += [Column("value"), *(Column(name, group="samples") for name in ("n", "failed", "unavailable"))]
    rows = [
        [
            Cell(str(s["metric"])), Cell(str(s["variant"])), Cell(str(s["statistic"])),
            Cell(tables.number(s["value"], s["low"], s["high"]), _number(s["value"]), note=str(s["note"])),
            *(Cell(str(s[name]), float(s[name])) for name in ("n", "n_failed", "n_unavailable")),
        ]
        for _, s in run.scores.iterrows()
    ]  # fmt: skip
    return Table(f"{run.method} on {run.record['dataset']}", columns, rows)


def _number(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _failures(run: Run) -> str:
    """How many samples ended in which status, and why; photos likewise."""
    counts = pd.concat([_counts("sample", run.samples), _counts("photo", run.photos)])
    table = tables.simple(["what", "status", "reason", "number"], counts.to_numpy().tolist())
    return "## Status of samples and photos\n\n" + tables.markdown(table)


def _counts(what: str, frame: pd.DataFrame) -> pd.DataFrame:
    counted = frame.groupby(["status", "reason"], dropna=False, sort=True).size().reset_index(name="number")
    return counted.assign(what=what, number=counted["number"].astype(str))[["what", "status", "reason", "number"]]


def _licences(run: Run) -> str:
    """The licence of every part that the run used; its results may be used as the strictest of them allows."""
    return "## Licences\n\n" + tables.markdown(tables.simple(["part", "licence"], [list(row) for row in licences(run)]))
