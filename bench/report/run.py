"""The report of one run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bench.report import figures, tables
from bench.report.frames import Run, load_run
from bench.report.page import write_run_page
from bench.report.page.write import all_numbers
from bench.store import write_atomic, write_table


def write_report(folder: Path) -> None:
    """Writes `report/` of a scored run: scores as CSV, Parquet, Markdown and LaTeX, distributions and a grid."""
    run, out = load_run(folder), folder / "report"
    write_table(out / "scores.parquet", run.scores)
    write_atomic(out / "scores.csv", run.scores.to_csv(index=False, lineterminator="\n").encode())
    header, rows = score_rows(run)
    title = f"{run.method} on {run.record['dataset']}"
    write_atomic(
        out / "scores.md",
        (f"# {title}\n\n{tables.markdown(header, rows)}\n{_failures(run)}\n{_licences(run)}").encode(),
    )
    write_atomic(out / "scores.tex", tables.latex(header, rows, title).encode())
    for recogniser in run.recognisers:
        figures.save(figures.similarity({run.method: run}, recogniser), out / f"similarity-{recogniser}")
    if run.recognisers:
        recogniser = run.recognisers[0]
        figures.save(figures.grid(run, recogniser, figures.spread(run, recogniser)), out / "grid")
    write_run_page(run, [all_numbers(run)], out)


def score_rows(run: Run) -> tuple[list[str], list[list[str]]]:
    """Every number of a run with its interval and its counts."""
    header = ["metric", "of", "statistic", "value", "n", "failed", "unavailable", "note"]
    rows = [
        [
            str(s["metric"]), str(s["variant"]), str(s["statistic"]), tables.number(s["value"], s["low"], s["high"]),
            str(s["n"]), str(s["n_failed"]), str(s["n_unavailable"]), str(s["note"]),
        ]
        for _, s in run.scores.iterrows()
    ]  # fmt: skip
    return header, rows


def _failures(run: Run) -> str:
    """How many samples ended in which status, and why; photos likewise."""
    counts = pd.concat([_counts("sample", run.samples), _counts("photo", run.photos)])
    return "## Status of samples and photos\n\n" + tables.markdown(
        ["what", "status", "reason", "number"], counts.to_numpy().tolist()
    )


def _counts(what: str, frame: pd.DataFrame) -> pd.DataFrame:
    counted = frame.groupby(["status", "reason"], dropna=False, sort=True).size().reset_index(name="number")
    return counted.assign(what=what, number=counted["number"].astype(str))[["what", "status", "reason", "number"]]


def _licences(run: Run) -> str:
    """The licence of every part that the run used; its results may be used as the strictest of them allows."""
    spec = run.record["spec"]
    parts = [
        ("dataset", spec["dataset"]["options"].get("licence", "")),
        ("method", spec["method"]["card"]["licence"]),
        *(("evaluator", licence) for licence in spec["evaluator"]["licences"]),
    ]
    rows = [[part, licence or "not stated"] for part, licence in parts]
    return "## Licences\n\n" + tables.markdown(["part", "licence"], rows)
