"""Runs side by side: what may be compared, on which items, and which differences are real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.listing import runs as list_runs
from bench.report import figures, tables
from bench.report.frames import Run, load_run
from bench.report.model import Cell, Column, Table
from bench.report.page import write_comparison_page
from bench.statistics import Paired, holm, jackknife_difference, paired_difference
from bench.store import write_atomic, write_table

MUST_AGREE = ("dataset", "protocol", "detector", "extractors", "metrics")
SHOULD_AGREE = ("device", "threads")
KEYS = ["metric", "variant", "statistic"]
DIFFERENCES = [*KEYS, "a", "b", "difference", "low", "high", "p_value", "p_holm", "n", "n_clusters", "note"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs that may be compared.

    Attributes:
        runs: label -> run, in the order given.
        items: items that all runs have.
        scores: every run's aggregates below one another, with the run's label in column `run`.
        differences: paired differences between every two runs: metric, variant, statistic, a, b, difference, low,
            high, p_value, p_holm, n (items, or groups of a jackknife), n_clusters, note.
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
    """Differences a - b between every two runs, corrected by Holm within each number.

    Numbers that stand per item are paired on the common items; distances of distributions (FID) by the replicates of
    their jackknife, which leave out the same groups of subjects in every run.
    """
    paired = _numbers(runs, lambda items: items["item"].isin(common))
    jackknifed = _numbers(runs, lambda items: items["statistic"] == "replicate")
    rows = [row for number in paired for row in _of_number(runs, number, partial(_pair_items, common=common))]
    rows += [row for number in jackknifed for row in _of_number(runs, number, _pair_replicates)]
    return pd.DataFrame(rows, columns=DIFFERENCES)


def _numbers(runs: dict[str, Run], of: Callable[[pd.DataFrame], pd.Series]) -> list[tuple[str, str, str]]:
    """(metric, variant, statistic) of the chosen rows of any run, sorted."""
    rows = pd.concat([run.items[of(run.items)] for run in runs.values()])[KEYS].drop_duplicates()
    return sorted((str(m), str(v), str(s)) for m, v, s in rows.itertuples(index=False, name=None))


def _of_number(
    runs: dict[str, Run], number: tuple[str, str, str], pair: Callable[[Run, Run, tuple[str, str, str]], Paired]
) -> list[dict[str, Any]]:
    found = {(a, b): pair(runs[a], runs[b], number) for a, b in combinations(runs, 2)}
    adjusted = holm([one.p_value for one in found.values()])
    statistic = "distance" if number[2] == "replicate" else number[2]
    return [
        {
            "metric": number[0], "variant": number[1], "statistic": statistic, "a": a, "b": b,
            "difference": one.difference, "low": one.low, "high": one.high, "p_value": one.p_value, "p_holm": p,
            "n": one.n, "n_clusters": one.n_clusters, "note": one.note,
        }
        for ((a, b), one), p in zip(found.items(), adjusted, strict=True)
    ]  # fmt: skip


def _pair_items(first: Run, second: Run, number: tuple[str, str, str], common: set[str]) -> Paired:
    a, b = (rows[rows["item"].isin(common)] for rows in (_rows(first.items, number), _rows(second.items, number)))
    both = a.merge(b, on=["item", "subject"], suffixes=("_a", "_b")).dropna(subset=["value_a", "value_b"])
    return paired_difference(*(both[c].to_numpy() for c in ("value_a", "value_b", "subject")), seed=0)


def _pair_replicates(first: Run, second: Run, number: tuple[str, str, str]) -> Paired:
    distance = (number[0], number[1], "distance")
    values = [_rows(run.scores, distance)["value"] for run in (first, second)]
    replicates = [_rows(run.items, number).sort_values("item")["value"].to_numpy() for run in (first, second)]
    if any(v.empty or v.isna().any() for v in values) or set(first.samples["item"]) != set(second.samples["item"]):
        return Paired(None, None, None, None, 0, 0, "no distance over the same items in both")
    return jackknife_difference(float(values[0].iloc[0]), replicates[0], float(values[1].iloc[0]), replicates[1])


def _rows(frame: pd.DataFrame, number: tuple[str, str, str]) -> pd.DataFrame:
    metric, variant, statistic = number
    return frame[(frame["metric"] == metric) & (frame["variant"] == variant) & (frame["statistic"] == statistic)]


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
    write_comparison_page(comparison.runs, [_table(comparison)], comparison.warnings, out)


def _table(comparison: Comparison) -> Table:
    """The overview for the page."""
    header, rows = overview(comparison)
    cells = [[Cell(text, _value(text) if at else None) for at, text in enumerate(row)] for row in rows]
    return Table(_title(comparison), [Column(text, numeric=at > 0) for at, text in enumerate(header)], cells)


def _value(text: str) -> float | None:
    return None if text == "n/a" else float(text.split()[0])


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
    return not _rows(scores, (metric, variant, statistic)).empty


def _heading(metric: str, variant: str, statistic: str) -> str:
    return " ".join(word for word in (metric, f"({variant})" if variant else "", statistic) if word).replace("_", " ")


def _overview_row(name: str, run: Run, columns: Sequence[tuple[str, str, str]]) -> list[str]:
    counts = run.samples["status"].value_counts()
    unavailable = int(counts.get("unavailable", 0))
    asked = len(run.samples) - unavailable - int(counts.get("reference_failed", 0))
    cells = [name, str(asked), str(asked - int(counts.get("ok", 0))), str(unavailable)]
    for metric, variant, statistic in columns:
        rows = _rows(run.scores, (metric, variant, statistic))
        cells.append("n/a" if rows.empty else tables.number(*rows.iloc[0][["value", "low", "high"]]))
    return cells
