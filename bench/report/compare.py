"""Runs next to each other: what may be compared, on which items, and which differences are real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.report.differences import differences
from bench.report.frames import MUST_AGREE, Run, common_items, headline, load_run
from bench.report.runs import runs as list_runs

SHOULD_AGREE = ("device", "threads")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs that may be compared.

    Attributes:
        runs: label -> run, in the order given.
        items: items that all runs have.
        scores: every run's aggregates below one another, with the run's label in column `run`.
        differences: paired differences between every two runs: the columns of `bench.metrics.protocol.NUMBER`, a, b,
            difference, low, high, p_value, p_holm (adjusted within the number, for pairs of generators and for pairs
            with a control apart), n (items, or groups of a jackknife), n_clusters, note.
        warnings: what a reader should know before believing the table.
        headline: the recogniser that is independent of all generators; None where there is none.
    """

    runs: dict[str, Run]
    items: list[str]
    scores: pd.DataFrame
    differences: pd.DataFrame
    warnings: list[str]
    headline: str | None


def compare(folders: Sequence[Path | str]) -> Comparison:
    """Compare runs of one dataset under one protocol and evaluator.

    Raises:
        UserError: fewer than two runs, or runs that differ in what makes them comparable; the field is named.
    """
    if len(folders) < 2:
        raise UserError("compare takes two runs or more; `python -m bench ls runs` lists them")
    loaded = [load_run(folder) for folder in folders]
    for other in loaded[1:]:
        _check(loaded[0], other)
    runs = _labelled(loaded)
    items = common_items(loaded)
    scores = pd.concat([run.scores.assign(run=name) for name, run in runs.items()], ignore_index=True)
    return Comparison(runs, items, scores, differences(runs), _warnings(loaded, items), headline(loaded))


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
    """Return the runs by method, with the folder's digits where a method occurs twice.

    Raises:
        UserError: one run is given twice.
    """
    names = [run.method for run in loaded]
    runs = {(run.method if names.count(run.method) == 1 else run.folder.resolve().name): run for run in loaded}
    if len(runs) < len(loaded):
        raise UserError("compare was given the same run twice, or two folders of one name; give each run once")
    return runs


def _warnings(loaded: Sequence[Run], items: Sequence[str]) -> list[str]:
    warnings = list(dict.fromkeys(warning for run in loaded for warning in run.warnings))
    for run in loaded:
        lost = run.samples["item"].nunique() - len(items)
        if lost:
            warnings.append(f"{run.method}: {lost} items are left out because another run lacks them")
    for field in SHOULD_AGREE:
        seen = {str(run.record["spec"]["execution"][field]) for run in loaded}
        if len(seen) > 1:
            warnings.append(f"the runs were made with different execution.{field}: {', '.join(sorted(seen))}")
    if not headline(loaded):
        warnings.append("no recogniser of the panel is independent of all these methods: there is no headline number")
    return warnings


def newest(out: Path) -> dict[str, list[Path]]:
    """Return the newest complete run of each method on each list of a dataset."""
    found: dict[str, dict[str, Path]] = {}
    for row in list_runs(out):
        if row["state"] == "complete":
            found.setdefault(row["list"], {})[row["method"]] = Path(row["folder"])
    return {name: list(methods.values()) for name, methods in found.items()}
