"""The files of a comparison: data frames, tables as Markdown and LaTeX, figures and the page."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from bench.csvs import csv_for_people
from bench.report import figures, overview, tables
from bench.report.compare import Comparison
from bench.report.model import Table
from bench.report.page import write_comparison_page
from bench.report.paper import paper_table
from bench.report.published import published_table
from bench.store import write_atomic, write_table


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write scores, differences, overview (`table`), the paper's Table 1 (`table1`), figures and page into `out`."""
    for name, frame in (("scores", comparison.scores), ("differences", comparison.differences)):
        write_frame(out / name, frame)
    table1 = paper_table(comparison)
    write_tables(out / "table", overview.of_comparison(comparison).noted)
    write_tables(out / "table1", table1)
    write_tables(out / "published", published_table(), published_table("arc2face_table2"))
    figures.clear(out, (figures.SIMILARITIES, figures.TRADEOFF, figures.DIFFERENCES, figures.IDENTITIES))
    written = [figures.write(drawing, out) for drawing in figures.of_comparison(comparison)]
    write_comparison_page(comparison, [table1], written, out)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame as `path`.csv and `path`.parquet."""
    write_table(path.with_name(f"{path.name}.parquet"), frame)
    write_atomic(path.with_name(f"{path.name}.csv"), csv_for_people(frame))


def write_tables(path: Path, *written: Table) -> None:
    """Write tables below one another as `path`.md and .tex, and in long form as .csv and .parquet."""
    text = "\n".join(f"## {tables.escape_markdown(one.title)}\n\n{tables.markdown(one)}" for one in written)
    write_atomic(path.with_name(f"{path.name}.md"), text.encode())
    write_atomic(path.with_name(f"{path.name}.tex"), "\n".join(map(tables.latex, written)).encode())
    frames = [tables.frame(one).assign(table=one.title) for one in written]
    write_frame(path, pd.concat(frames, ignore_index=True))
