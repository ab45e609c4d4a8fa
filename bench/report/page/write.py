"""The pages of a run and of a comparison: their content gathered from tables, and written with thumbnails beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bench.report.frames import Run
from bench.report.model import Table
from bench.report.page.facts import private_notice, provenance, state_notices, warning_notices, within
from bench.report.page.render import Figure, Highlight, Notice, Page, render
from bench.report.page.samples import samples
from bench.store import write_atomic

HIGHLIGHTS = (
    ("id_similarity", "mean_detected", "ID similarity, detected"),
    ("id_similarity", "mean_failures_as_zero", "ID similarity, failures as 0"),
    ("verification", "fnmr@1e-3", "FNMR at FMR 1e-3"),
    ("lpips_diversity", "mean_items", "LPIPS diversity"),
    ("expression_diversity", "mean_items", "Expression diversity"),
    ("pose_diversity", "mean_items", "Pose diversity"),
    ("fid", "distance", "FID"),
    ("failure_to_acquire", "rate", "Failure to acquire"),
)
"""Metric, statistic and words of the numbers on top of the page of a run, as far as they are there."""


def write_run_page(run: Run, tables: Sequence[Table], out: Path) -> None:
    """Writes `index.html` and `thumbnails/` of one run beside its figures in `out`; it shows people: stays local."""
    runs = {run.method: run}
    notices = [*private_notice(runs), *warning_notices(run.warnings), *state_notices(runs)]
    write_atomic(out / "index.html", render(run_page(run, tables, notices, figures_in(out), out)))


def run_page(
    run: Run, tables: Sequence[Table], notices: Sequence[Notice], figures: Sequence[Figure], folder: Path | None
) -> Page:
    """The page of one run; thumbnails are written below `folder` (None: it shows no picture)."""
    runs = {run.method: run}
    return Page(
        kind="Report of a run",
        title=f"{run.method} on {run.record.get('dataset', 'a dataset')}",
        summary=summary(runs),
        notices=list(notices),
        highlights=highlights(run),
        tables=list(tables),
        figures=list(figures),
        samples=samples(runs, folder),
        facts=provenance(runs),
    )


def write_comparison_page(runs: Mapping[str, Run], tables: Sequence[Table], warnings: Sequence[str], out: Path) -> None:
    """Writes `index.html` and `thumbnails/` of a comparison beside its figures; shows people: stays local."""
    page = Page(
        kind="Comparison",
        title=f"{len(runs)} methods on {next(iter(runs.values())).record.get('dataset', 'a dataset')}",
        summary=summary(runs),
        notices=[*private_notice(runs), *warning_notices(warnings), *state_notices(runs)],
        tables=list(tables),
        figures=figures_in(out),
        samples=samples(runs, out),
        facts=provenance(runs),
    )
    write_atomic(out / "index.html", render(page))


def summary(runs: Mapping[str, Run]) -> list[tuple[str, str]]:
    """Protocol, evaluator and size."""
    first = next(iter(runs.values()))
    sizes = [len(run.samples) for run in runs.values()]
    found = [
        ("Protocol", within(first.comparable, "protocol", "name")),
        ("Evaluator", within(first.comparable, "evaluator")),
        ("Methods", ", ".join(runs) if len(runs) > 1 else ""),
        ("Items", str(first.samples["item"].nunique())),
        ("People", str(first.samples["subject"].nunique())),
        ("Samples", " + ".join(map(str, sizes))),
    ]
    return [(term, str(text)) for term, text in found if text]


def highlights(run: Run) -> list[Highlight]:
    """The main numbers under the first recogniser, each with its interval and counts."""
    found = []
    for metric, statistic, words in HIGHLIGHTS:
        rows = run.scores[(run.scores["metric"] == metric) & (run.scores["statistic"] == statistic)]
        if len(rows) and pd.notna(rows.iloc[0]["value"]):
            found.append(_highlight(rows.iloc[0], words))
    return found


def _highlight(row: pd.Series, words: str) -> Highlight:
    has = pd.notna(row["low"]) and pd.notna(row["high"])
    interval = f"95 % {row['low']:.3f} to {row['high']:.3f}" if has else "no interval"
    counts = f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{row['n']}, {row['n_failed']} failed"
    return Highlight(
        f"{words} ({row['variant']})" if row["variant"] else words, f"{row['value']:.3f}", f"{interval}; {counts}"
    )


KINDS = {
    "similarity": "Distribution of ID similarity",
    "tradeoff": "ID similarity against diversity",
    "differences": "Paired differences",
    "identities": "Identity by identity",
    "grid": "Best, median and worst items",
    "failures": "Failures",
}
"""First word of a figure's file name -> what it shows; in the order of the page."""
WIDE = ("grid", "failures")


def figures_in(folder: Path) -> list[Figure]:
    """The PNG files of a report's folder, each with its PDF where there is one, in the order of `KINDS`."""
    order = list(KINDS)
    found = [(path.stem.partition("-")[0], path) for path in sorted(folder.glob("*.png"))]
    found.sort(key=lambda one: order.index(one[0]) if one[0] in order else len(order))
    return [Figure(path.name, figure_title(path.stem), _beside(path, ".pdf"), kind in WIDE) for kind, path in found]


def figure_title(stem: str) -> str:
    """What a figure shows, from its file's name.

    >>> figure_title("similarity-arcface"), figure_title("grid"), figure_title("mine_too")
    ('Distribution of ID similarity: arcface', 'Best, median and worst items', 'mine too')
    """
    kind, _, rest = stem.partition("-")
    words = re.sub(r"[-_]+", " ", rest if kind in KINDS else stem)
    return ": ".join(filter(None, (KINDS.get(kind, ""), words)))


def _beside(path: Path, suffix: str) -> str:
    other = path.with_suffix(suffix)
    return other.name if other.exists() else ""
