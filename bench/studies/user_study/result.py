"""Write the result of a study: tables, a forest plot, and the votes themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.csvs import csv_for_people
from bench.report.model import Cell, measured
from bench.report.tables import escape_markdown, markdown, simple, written
from bench.store import write_atomic
from bench.studies.user_study import analysis
from bench.studies.user_study.design import Kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_result(study: Mapping[str, Any], votes: pd.DataFrame, out: Path) -> list[dict[str, str]]:
    """Write votes.csv, shares.csv, raters.csv, strengths.csv (three or more methods), study.md and forest.png, .pdf.

    Args:
        study: as `votes.read_study` gives it.
        votes: as `votes.read_votes` gives them.
        out: folder to write to.

    Returns:
        The rows of the main table, for the terminal.
    """
    from bench.report.figures import save

    methods = list(study["methods"])
    shares = analysis.shares(votes, methods)
    raters = votes.groupby("rater").agg(votes=("trial", "size"), median_ms=("ms", "median"), reason=("reason", "first"))
    tables = {"votes": votes, "shares": shares, "raters": raters.reset_index()}
    rows = [_row(one) for one in shares.to_dict("records")]
    parts = [f"# {escape_markdown(study['public']['title'])}\n", _table(rows), *_steadiness(votes, raters)]
    if len(methods) > 2 and len(shares):
        tables["strengths"] = analysis.bradley_terry(votes, methods)
        lines = [_strength(one) for one in tables["strengths"].to_dict("records")]
        parts.append("## Strengths (Bradley-Terry)\n\n" + _table(lines))
    parts += _metrics(analysis.metric_agreement(votes, study["items"], methods))
    for name, frame in tables.items():
        write_atomic(out / f"{name}.csv", csv_for_people(frame))
    write_atomic(out / "study.md", "\n".join(parts).encode())
    if len(shares):
        save(forest(shares), out / "forest")
    return rows


def _metrics(agreement: pd.DataFrame) -> list[str]:
    lines = [{str(key): str(value) for key, value in line.items()} for line in agreement.to_dict("records")]
    return ["## Does the metric prefer what the majority prefers?\n\n" + _table(lines)] if lines else []


def _table(rows: list[dict[str, str]]) -> str:
    return markdown(simple(list(rows[0]), [list(row.values()) for row in rows])) if rows else "No votes that count.\n"


def _row(one: Mapping[Any, Any]) -> dict[str, str]:
    return {
        "methods": f"{one['first']} against {one['second']}",
        "dataset": str(one["dataset"]),
        "share of the first": written(measured({**one, "value": one["share"]})),
        "as if independent": f"[{one['wilson_low']:.3f}, {one['wilson_high']:.3f}]",
        "votes": str(one["n"]),
        "raters": str(one["raters"]),
        "items won, tied, lost": f"{one['items_won']}, {one['items_tied']}, {one['items_lost']}",
    }


def _strength(one: Mapping[Any, Any]) -> dict[str, str]:
    return {
        "method": str(one["method"]),
        "strength": written(measured({**one, "value": one["strength"]})),
        "note": str(one["note"]),
    }


def _steadiness(votes: pd.DataFrame, raters: pd.DataFrame) -> list[str]:
    """Sentences on what was left out and how steady the raters were."""
    left, alpha = analysis.left_share(votes), analysis.agreement(votes)
    same, repeats = analysis.consistency(votes)
    dropped = raters[raters["reason"] != ""]
    chosen = Cell() if left is None else Cell(value=left.share, low=left.low, high=left.high)
    lines = [
        f"- Raters: {len(raters) - len(dropped)} kept, {len(dropped)} left out.",
        *(f"  - {escape_markdown(str(rater))}: {row['reason']}" for rater, row in dropped.iterrows()),
        f"- Left image chosen: {written(chosen)}.",
        f"- Repeats answered as before: {same} of {repeats}.",
        f"- Krippendorff's alpha: {written(Cell(value=alpha))} (1 full agreement, 0 chance).",
        f"- Checks failed by raters who are kept: {_failed_checks(votes)}.",
        '- Intervals are clustered by rater and by item; "as if independent" is Wilson\'s, far too narrow here.',
    ]
    return ["\n".join(lines) + "\n"]


def _failed_checks(votes: pd.DataFrame) -> str:
    checks = analysis.counted(votes, Kind.CHECK)
    return f"{int((checks['choice'] != checks['expected']).sum())} of {len(checks)}"


def forest(shares: pd.DataFrame) -> Figure:
    """Return a figure with a line for each pair of methods and dataset: share, interval, and the mark of 1/2."""
    from bench.report.figures import GREY, new
    from bench.report.tables import short

    figure, axes = new((6.4, 0.9 + 0.45 * len(shares)))
    places = range(len(shares))
    axes.axvline(0.5, color=GREY, linewidth=0.8, linestyle="--")
    axes.hlines(places, shares["low"], shares["high"], color="#0072B2", linewidth=1.8)
    axes.plot(shares["share"], places, "o", color="#0072B2")
    names = [
        f"{short(a, 22)} against {short(b, 22)}, {d}"
        for a, b, d in zip(*(shares[c] for c in ("first", "second", "dataset")), strict=True)
    ]
    axes.set_yticks(list(places), names, parse_math=False)
    axes.set(xlim=(0, 1), ylim=(len(shares) - 0.5, -0.5), xlabel="share of votes for the first, 95 % by rater and item")
    return figure
