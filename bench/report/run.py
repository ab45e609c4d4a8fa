"""The report of one run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bench.csvs import csv_for_people
from bench.metrics import declared
from bench.metrics.protocol import NUMBER, Number
from bench.report import figures, grids, tables
from bench.report.frames import Run, load_run
from bench.report.model import Cell, Column, Table, Written, count, measured
from bench.report.numbers import words
from bench.report.page import write_run_page
from bench.report.page.facts import licences
from bench.store import write_atomic, write_table

NO_IMAGES = "The images of the samples are not in this folder: there are no grids.\n"


def write_report(folder: Path) -> None:
    """Write `report/` of a scored run: scores as CSV, Parquet, Markdown and LaTeX, failures, figures, the page."""
    run = load_run(folder)
    out = folder / "report"
    table = score_table(run)
    write_table(out / "scores.parquet", run.scores)
    write_atomic(out / "scores.csv", csv_for_people(run.scores))
    write_atomic(out / "scores.md", _markdown(run, table).encode())
    write_atomic(out / "scores.tex", tables.latex(table).encode())
    lost = grids.failed(run)[["item", "subject", "index", "status", "reason", "path"]]
    write_atomic(out / "failures.csv", csv_for_people(lost))
    write_run_page(run, table, _write_figures(run, out), out)


def _markdown(run: Run, table: Table) -> str:
    warned = "".join(f"- {tables.escape_markdown(warning)}\n" for warning in run.warnings)
    parts = [warned, tables.markdown(table), "" if grids.has_images(run) else NO_IMAGES, _failures(run), _licences(run)]
    return "\n".join([f"# {tables.escape_markdown(table.title)}\n", *filter(None, parts)])


def _write_figures(run: Run, out: Path) -> list[Written]:
    """Write the distributions of similarity, and the grids where the images are here."""
    figures.clear(out, (figures.SIMILARITIES, grids.FAILURES))
    written = [figures.write(drawing, out) for drawing in figures.of_similarity({run.label: run})]
    images = grids.drawings(run) if grids.has_images(run) else ()
    return [*written, *(figures.write(drawing, out) for drawing in images)]


def score_table(run: Run) -> Table:
    """Return every number of a run with its interval and its counts."""
    columns = [Column(name, numeric=False) for name in ("metric", "of", "statistic")]
    columns += [Column("value"), *(Column(name, group="samples") for name in ("n", "failed", "unavailable"))]
    return Table(f"{run.label} on {run.record['dataset']}", columns, [_row(s) for _, s in run.scores.iterrows()])


def _row(score: pd.Series) -> list[Cell]:
    number = Number(*(str(score[part]) for part in NUMBER))
    return [
        Cell(declared.title(number.metric)),
        Cell(number.variant),
        Cell(words(number)),
        measured(score.to_dict(), note=str(score["note"])),
        *(count(score[name]) for name in ("n", "n_failed", "n_unavailable")),
    ]


def _failures(run: Run) -> str:
    """Return how many samples ended in which status, and why; photos likewise."""
    counts = pd.concat([_counts("sample", run.samples), _counts("photo", run.photos)])
    table = tables.simple(["what", "status", "reason", "number"], counts.to_numpy().tolist())
    return "## Status of samples and photos\n\n" + tables.markdown(table)


def _counts(what: str, frame: pd.DataFrame) -> pd.DataFrame:
    counted = frame.groupby(["status", "reason"], dropna=False, sort=True).size().reset_index(name="number")
    return counted.assign(what=what, number=counted["number"].astype(str))[["what", "status", "reason", "number"]]


def _licences(run: Run) -> str:
    """Return the licence of every part that the run used; the strictest of them binds its results."""
    return "## Licences\n\n" + tables.markdown(tables.simple(["part", "licence"], [list(row) for row in licences(run)]))
