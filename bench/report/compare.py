"""Runs side by side: what may be compared, on which items, and which differences are real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.listing import runs as list_runs
from bench.report import figures, tables
from bench.report.frames import Run, load_run
from bench.statistics import holm, paired_difference
from bench.store import write_atomic, write_table

MUST_AGREE = ("dataset", "protocol", "detector", "extractors", "metrics")
SHOULD_AGREE = ("device", "threads")
DIFFERENCES = ["metric", "variant", "statistic", "a", "b", "difference", "low", "high", "p_value", "p_holm", "n_items",
               "n_clusters", "note"]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs that may be compared.

    Attributes:
        runs: label -> run, in the order given.
        items: items that all runs have.
        scores: every run's aggregates below one another, with the run's label in column `run`.
        differences: paired differences between every two runs: metric, variant, statistic, a, b, difference, low,
            high, p_value, p_holm, n_items, n_clusters, note.
        warnings: what a reader should know before believing the table.
    """

    runs: dict[str, Run]
    items: list[str]
    scores: pd.DataFrame
    differences: pd.DataFrame
    warnings: list[str]


def compare(folders: Sequence[Path | str]) -> Comparison:
    """Compares runs of one dataset under one protocol and evaluator.

    Raises:
        UserError: fewer than two runs, or runs that differ in what makes them comparable; the field is named.
    """
    if len(folders) < 2:
        raise UserError("compare takes two runs or more; `python -m bench ls runs` lists them")
    loaded = [load_run(folder) for folder in folders]
    for other in loaded[1:]:
        _check(loaded[0], other)
    runs = _labelled(loaded)
    common = set.intersection(*(set(run.samples["item"]) for run in loaded))
    items = [item for item in dict.fromkeys(loaded[0].samples["item"]) if item in common]
    scores = pd.concat([run.scores.assign(run=name) for name, run in runs.items()], ignore_index=True)
    return Comparison(runs, items, scores, _differences(runs, common), _warnings(loaded, items))


def _check(first: Run, other: Run) -> None:
    for field in MUST_AGREE:
        a, b = first.comparable[field], other.comparable[field]
        if a != b:
            where, left, right = _first_difference(field, a, b)
            raise UserError(
                f"{first.folder} and {other.folder} cannot be compared: they differ in {where} "
                f"({left!r} and {right!r}); score both with the same list, protocol, evaluator and version"
            )


def _first_difference(path: str, a: Any, b: Any) -> tuple[str, Any, Any]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            if a.get(key) != b.get(key):
                return _first_difference(f"{path}.{key}", a.get(key), b.get(key))
    return path, a, b


def _labelled(loaded: Sequence[Run]) -> dict[str, Run]:
    """The runs by method, with the folder's digits where a method stands twice."""
    names = [run.method for run in loaded]
    return {(run.method if names.count(run.method) == 1 else run.folder.resolve().name): run for run in loaded}


def _differences(runs: dict[str, Run], common: set[str]) -> pd.DataFrame:
    """Paired differences a - b of every number that stands per item, corrected by Holm within each number."""
    tables_ = {name: run.items[run.items["item"].isin(common)] for name, run in runs.items()}
    keys = ["metric", "variant", "statistic"]
    numbers = pd.concat(tables_.values())[keys].drop_duplicates().sort_values(keys).to_numpy().tolist()
    return pd.DataFrame([row for number in numbers for row in _of_number(tables_, tuple(number))], columns=DIFFERENCES)


def _of_number(tables_: dict[str, pd.DataFrame], number: tuple[str, ...]) -> list[dict[str, Any]]:
    metric, variant, statistic = number
    values = {
        name: t[(t["metric"] == metric) & (t["variant"] == variant) & (t["statistic"] == statistic)]
        for name, t in tables_.items()
    }
    rows = []
    for a, b in combinations(values, 2):
        both = values[a].merge(values[b], on=["item", "subject"], suffixes=("_a", "_b")).dropna()
        paired = paired_difference(*(both[c].to_numpy() for c in ("value_a", "value_b", "subject")), seed=0)
        rows.append({
            "metric": metric, "variant": variant, "statistic": statistic, "a": a, "b": b,
            "difference": paired.difference, "low": paired.low, "high": paired.high, "p_value": paired.p_value,
            "n_items": len(both), "n_clusters": paired.n_clusters, "note": paired.note,
        })  # fmt: skip
    p_values: list[float | None] = [row["p_value"] for row in rows]  # type: ignore[misc]
    for row, adjusted in zip(rows, holm(p_values), strict=True):
        row["p_holm"] = adjusted
    return rows


def _warnings(loaded: Sequence[Run], items: Sequence[str]) -> list[str]:
    warnings = []
    for run in loaded:
        lost = len(set(run.samples["item"])) - len(items)
        if lost:
            warnings.append(f"{run.method}: {lost} items are left out because another run lacks them")
    for field in SHOULD_AGREE:
        seen = {str(run.record["spec"]["execution"][field]) for run in loaded}
        if len(seen) > 1:
            warnings.append(f"the runs were made with different execution.{field}: {', '.join(sorted(seen))}")
    if not headline(loaded):
        warnings.append("no recogniser of the panel is independent of all these methods: there is no headline number")
    return warnings


def headline(loaded: Sequence[Run]) -> str | None:
    """The first recogniser whose relation to every run's method is "none" (controls count as such)."""
    for recogniser in loaded[0].recognisers:
        rows = [run.scores[run.scores["variant"] == recogniser]["relation"] for run in loaded]
        if all((row == "none").all() for row in rows):
            return recogniser
    return None


def newest(out: Path) -> dict[str, list[Path]]:
    """The newest complete run of each method on each dataset (told apart by content, too)."""
    found: dict[str, dict[str, Path]] = {}
    for row in list_runs(out):
        if row["state"] == "complete":
            found.setdefault(row["list"], {})[row["method"]] = Path(row["folder"])
    return {name: list(methods.values()) for name, methods in found.items()}


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Writes tables (CSV, Parquet, Markdown, LaTeX) and similarity distributions into `out`."""
    header, rows = overview(comparison)
    for name, frame in (("scores", comparison.scores), ("differences", comparison.differences)):
        write_table(out / f"{name}.parquet", frame)
        write_atomic(out / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n").encode())
    write_atomic(out / "table.md", (tables.markdown(header, rows) + _notes(comparison)).encode())
    write_atomic(out / "table.tex", tables.latex(header, rows, _title(comparison)).encode())
    for recogniser in next(iter(comparison.runs.values())).recognisers:
        figures.save(figures.similarity(comparison.runs, recogniser), out / f"similarity-{recogniser}")


def _title(comparison: Comparison) -> str:
    run = next(iter(comparison.runs.values()))
    return f"{run.record['dataset']}, {len(comparison.items)} items, {run.comparable['protocol']['name']}"


def _notes(comparison: Comparison) -> str:
    return "".join(f"\n- {warning}" for warning in comparison.warnings) + "\n"


HEADLINES = {
    "id_similarity": ("mean_detected", "mean_failures_as_zero", "detection_rate"),
    "target_similarity": ("mean_detected",),
    "verification": ("fnmr@1e-2", "fnmr@1e-3"),
    "retrieval": ("rank1",),
    "lpips_diversity": ("mean_items",),
    "expression_diversity": ("mean_items",),
    "pose_diversity": ("mean_items",),
    "fid": ("distance",),
    "kid": ("excluded",),
    "fd_dinov2": ("distance",),
}
"""metric -> statistics that the overview shows, in this order."""


def overview(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """A row per run: the main numbers with intervals, and how many samples stand behind them."""
    columns = [
        (metric, variant, statistic)
        for metric, statistics in HEADLINES.items()
        for variant in _variants(comparison.scores, metric)
        for statistic in statistics
        if _has(comparison.scores, metric, variant, statistic)
    ]
    header = ["method", "n", "failed", "unavailable", *(_heading(*column) for column in columns)]
    return header, [_overview_row(name, run, columns) for name, run in comparison.runs.items()]


def _variants(scores: pd.DataFrame, metric: str) -> list[str]:
    return list(dict.fromkeys(scores.loc[scores["metric"] == metric, "variant"]))


def _has(scores: pd.DataFrame, metric: str, variant: str, statistic: str) -> bool:
    rows = (scores["metric"] == metric) & (scores["variant"] == variant) & (scores["statistic"] == statistic)
    return bool(rows.any())


def _heading(metric: str, variant: str, statistic: str) -> str:
    return " ".join(word for word in (metric, f"({variant})" if variant else "", statistic) if word).replace("_", " ")


def _overview_row(name: str, run: Run, columns: Sequence[tuple[str, str, str]]) -> list[str]:
    counts = run.samples["status"].value_counts()
    unavailable = int(counts.get("unavailable", 0))
    asked = len(run.samples) - unavailable - int(counts.get("reference_failed", 0))
    cells = [name, str(asked), str(asked - int(counts.get("ok", 0))), str(unavailable)]
    for metric, variant, statistic in columns:
        s = run.scores
        rows = s[(s["metric"] == metric) & (s["variant"] == variant) & (s["statistic"] == statistic)]
        cells.append("n/a" if rows.empty else tables.number(*rows.iloc[0][["value", "low", "high"]]))
    return cells
