"""Runs next to each other: what may be compared, on which items, and which differences are real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.report.differences import differences
from bench.report.frames import MUST_AGREE, Run, common_items, headline, load_run
from bench.report.runs import runs as list_runs
from bench.store import read_json

SHOULD_AGREE = ("device", "threads")
PARTLY = ("extractors", "metrics")
"""Fields in which runs may have different entries: what both have must agree, and is compared."""


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        """Return what is compared, by whom, and how many warnings there are."""
        judge = f"judge {self.headline}" if self.headline else "no independent judge"
        return (
            f"<Comparison of {', '.join(self.runs)}: {len(self.items)} items, {judge}, {len(self.warnings)} warnings>"
        )


def compare(folders: Sequence[Path | str]) -> Comparison:
    """Compare runs of one dataset under one protocol and evaluator.

    Raises:
        UserError: fewer than two runs, or runs that differ in what makes them comparable; the field is named.
    """
    if len(folders) < 2:
        raise UserError("compare takes two runs or more; `python -m bench ls runs` lists them")
    loaded, odd = _comparable(folders)
    runs = _labelled(loaded)
    items = common_items(loaded)
    scores = pd.concat([run.scores.assign(run=name) for name, run in runs.items()], ignore_index=True)
    warnings = [*odd, *_warnings(runs, items)]
    return Comparison(runs, items, scores, differences(runs), warnings, headline(loaded))


def _comparable(folders: Sequence[Path | str]) -> tuple[list[Run], list[str]]:
    """Return the runs that may be compared, as many as possible, and why each other one is left out.

    Raises:
        UserError: fewer than two are left.
    """
    loaded: list[Run] = []
    odd: list[str] = []
    for folder in folders:
        try:
            loaded.append(load_run(folder))
        except UserError as error:
            odd.append(str(error))
    groups = [[other for other in loaded if not _disagreement(run, other)] for run in loaded]
    kept = max(groups, key=len, default=[])
    odd += [reason for run in loaded if run not in kept and (reason := _disagreement(kept[0], run))]
    if len(kept) < 2:
        raise UserError(odd[0])
    return kept, [f"a run is left out: {reason}" for reason in odd]


def _disagreement(first: Run, other: Run) -> str:
    """Return why two runs cannot be compared; "" where they can."""
    for field in MUST_AGREE:
        a, b = (_of_shared(run.comparable, field) for run in (first, other))
        if field in PARTLY:
            a, b = ({key: one[key] for key in one if key in two} for one, two in ((a, b), (b, a)))
        if a != b:
            where, left, right = _first_difference(field, a, b)
            return (
                f"{first.folder} and {other.folder} cannot be compared: they differ in {where} "
                f"({left!r} and {right!r}); score both with the same list, protocol, evaluator and version"
            )
    return ""


def _of_shared(comparable: Mapping[str, Any], field: str) -> Any:
    """Return a field without what may differ: which metrics were asked for."""
    value = comparable[field]
    return {key: value[key] for key in value if key != "metrics"} if field == "protocol" else value


def _first_difference(path: str, a: Any, b: Any) -> tuple[str, Any, Any]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            if a.get(key) != b.get(key):
                return _first_difference(f"{path}.{key}", a.get(key), b.get(key))
    return path, a, b


def _labelled(loaded: Sequence[Run]) -> dict[str, Run]:
    """Return the runs by label, with the folder's digits where a label occurs twice.

    Raises:
        UserError: one run is given twice.
    """
    names = [run.label for run in loaded]
    runs = {(run.label if names.count(run.label) == 1 else run.folder.resolve().name): run for run in loaded}
    if len(runs) < len(loaded):
        raise UserError("compare was given the same run twice, or two folders of one name; give each run once")
    return runs


def _warnings(runs: Mapping[str, Run], items: Sequence[str]) -> list[str]:
    warnings = list(dict.fromkeys(warning for run in runs.values() for warning in run.warnings))
    for label, run in runs.items():
        lost = run.samples["item"].nunique() - len(items)
        if lost:
            warnings.append(f"{label}: {lost} items are left out because another run lacks them")
    for field in SHOULD_AGREE:
        seen = {value for run in runs.values() for value in _made_with(run, field)}
        if len(seen) > 1:
            warnings.append(f"the runs were made with different execution.{field}: {', '.join(sorted(seen))}")
    warnings += _conditions(runs)
    if not headline(list(runs.values())):
        warnings.append("no recogniser of the panel is independent of all these methods: there is no headline number")
    return warnings


def _conditions(runs: Mapping[str, Run]) -> list[str]:
    """Return a line where the samples of some runs were made from other conditions than those of others."""
    made: dict[str, list[str]] = {}
    for label, run in runs.items():
        facts = run.comparable.get("conditions")
        name = f"{facts['name']} {facts['content'][:8]}" if facts else "default"
        made.setdefault(name, []).append(label)
    if len(made) < 2:
        return []
    which = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in made.items())
    return [f"the runs were made under different conditions, so that more than the method differs ({which})"]


def _made_with(run: Run, field: str) -> set[str]:
    """Return the values of a setting of execution under which the samples of a run were made and measured."""
    entries = [entry for entry in run.record.get("stages", ()) if entry["stage"] in ("generate", "extract")]
    values = [entry["device"]["device"] if field == "device" else entry[field] for entry in entries]
    return {str(value) for value in values or [run.record["spec"]["execution"][field]]}


def newest(out: Path) -> dict[str, list[Path]]:
    """Return the complete runs on each list of a dataset, oldest first.

    Of runs with one label those count that were scored as the newest of them: the values of a sweep stay apart, and
    runs under an earlier protocol do not come back.
    """
    found: dict[tuple[str, str], list[Path]] = {}
    for row in list_runs(out):
        if row["state"] == "complete":
            found.setdefault((row["list"], row["label"]), []).append(Path(row["folder"]))
    lists: dict[str, list[Path]] = {}
    for (name, _), folders in found.items():
        lists.setdefault(name, []).extend(_like_the_newest(folders))
    return lists


def _like_the_newest(folders: Sequence[Path]) -> list[Path]:
    """Return the folders whose scores are of the same kind as the last one's."""
    kinds = [read_json(folder / "scores" / "scores.json") for folder in folders]
    wanted = [kinds[-1][field] for field in MUST_AGREE]
    return [
        folder for folder, kind in zip(folders, kinds, strict=True) if [kind[field] for field in MUST_AGREE] == wanted
    ]
