"""Runs side by side: what may be compared, on which items, and which differences are real."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.listing import runs as list_runs
from bench.report import figures, tables
from bench.report.frames import Number, Run, load_run, of_number
from bench.report.model import Table
from bench.report.page import write_comparison_page
from bench.report.paper import overview, paper_table
from bench.report.published import published_table
from bench.statistics import Paired, holm, jackknife_difference, paired_differences
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
            high, p_value, p_holm (adjusted within the number, for pairs of generators and for pairs with a control
            apart), n (items, or groups of a jackknife), n_clusters, note.
        warnings: what a reader should know before believing the table.
        headline: the recogniser that is independent of all methods; None where there is none.
    """

    runs: dict[str, Run]
    items: list[str]
    scores: pd.DataFrame
    differences: pd.DataFrame
    warnings: list[str]
    headline: str | None


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
    return Comparison(runs, items, scores, _differences(runs, common), _warnings(loaded, items), headline(loaded))


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
    """The runs by method, with the folder's digits where a method stands twice.

    Raises:
        UserError: one run is given twice.
    """
    names = [run.method for run in loaded]
    runs = {(run.method if names.count(run.method) == 1 else run.folder.resolve().name): run for run in loaded}
    if len(runs) < len(loaded):
        raise UserError("compare was given the same run twice, or two folders of one name; give each run once")
    return runs


Difference = tuple[Number, str, str, Paired]


def _differences(runs: dict[str, Run], common: set[str]) -> pd.DataFrame:
    """Differences a - b between every two runs, corrected by Holm within each number.

    Numbers that stand per item are paired on the common items; distances of distributions (FID) by the replicates of
    their jackknife, which leave out the same groups of subjects in every run.
    """
    found = [*_of_items(runs, common), *_of_distances(runs)]
    rows = [
        (*number, a, b, p.difference, p.low, p.high, p.p_value, None, p.n, p.n_clusters, p.note)
        for number, a, b, p in found
    ]
    numbers = dict.fromkeys(("difference", "low", "high", "p_value"), float)
    frame = pd.DataFrame(rows, columns=DIFFERENCES).astype(numbers)
    controls = {name for name, run in runs.items() if run.is_control}
    family = frame["a"].isin(controls) | frame["b"].isin(controls)
    return frame.assign(p_holm=_adjusted(frame, family))


def _adjusted(frame: pd.DataFrame, family: pd.Series) -> pd.Series:
    """p-values adjusted by Holm within each number and family."""
    adjusted = pd.Series(None, index=frame.index, dtype=object)
    for _, rows in frame.groupby([*KEYS, family], sort=False):
        adjusted[rows.index] = holm([None if pd.isna(p) else p for p in rows["p_value"]])
    return adjusted.astype(float)


def _of_items(runs: dict[str, Run], common: set[str]) -> list[Difference]:
    """What stands per item, every two runs paired on the items that both have a value for."""
    frame = pd.concat([run.items.assign(run=name) for name, run in runs.items()], ignore_index=True)
    frame = frame[frame["item"].isin(common) & (frame["statistic"] != "replicate")]
    pairs = [
        ((str(metric), str(variant), str(statistic)), a, b, values)
        for (metric, variant, statistic), rows in frame.groupby(KEYS, sort=True)
        for a, b, values in _pairs_of(rows, list(runs))
    ]
    paired = paired_differences([values for *_, values in pairs], seed=0)
    return [(number, a, b, one) for (number, a, b, _), one in zip(pairs, paired, strict=True)]


def _pairs_of(rows: pd.DataFrame, names: list[str]) -> Iterator[tuple[str, str, tuple[Any, Any]]]:
    """For every two runs the differences per item, with the subject's code of each."""
    rows = rows.drop_duplicates(["item", "run"])
    wide = rows.pivot(index="item", columns="run", values="value").reindex(columns=names)
    subjects = rows.drop_duplicates("item").set_index("item")["subject"].reindex(wide.index)
    codes, values = pd.factorize(subjects)[0], wide.to_numpy(dtype=float)
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        yield a, b, (values[:, i] - values[:, j], codes)


def _of_distances(runs: dict[str, Run]) -> list[Difference]:
    """Distances of distributions, every two runs paired by their jackknife."""
    frame = pd.concat([run.items[run.items["statistic"] == "replicate"] for run in runs.values()])
    numbers = sorted((str(m), str(v)) for m, v in set(zip(frame["metric"], frame["variant"], strict=True)))
    return [
        ((metric, variant, "distance"), a, b, _pair_replicates(runs[a], runs[b], metric, variant))
        for metric, variant in numbers
        for a, b in combinations(runs, 2)
    ]


def _pair_replicates(first: Run, second: Run, metric: str, variant: str) -> Paired:
    values = [of_number(run.scores, (metric, variant, "distance"))["value"] for run in (first, second)]
    if any(v.empty or v.isna().any() for v in values) or set(first.samples["item"]) != set(second.samples["item"]):
        return Paired(None, None, None, None, 0, 0, "no distance over the same items in both")
    frames = [of_number(run.items, (metric, variant, "replicate")).sort_values("item") for run in (first, second)]
    replicates = [frame["value"].to_numpy() for frame in frames]
    return jackknife_difference(float(values[0].iloc[0]), replicates[0], float(values[1].iloc[0]), replicates[1])


def _warnings(loaded: Sequence[Run], items: Sequence[str]) -> list[str]:
    warnings = list(dict.fromkeys(warning for run in loaded for warning in run.warnings))
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
    """Writes scores, differences, the overview (`table`), the paper's Table 1 (`table1`) and figures into `out`."""
    for name, frame in (("scores", comparison.scores), ("differences", comparison.differences)):
        write_frame(out / name, frame)
    main, table1 = overview(comparison), paper_table(comparison)
    write_tables(out / "table", tables.turned(main))
    write_tables(out / "table1", table1)
    write_tables(out / "published", published_table(), published_table("arc2face_table2"))
    for name, figure in figures.of_comparison(comparison):
        figures.save(figure, out / name)
    write_comparison_page(comparison.runs, [main, table1], comparison.warnings, out)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Writes a data frame as `path`.csv and `path`.parquet."""
    write_table(path.with_name(f"{path.name}.parquet"), frame)
    text = frame.to_csv(index=False, lineterminator="\n")
    write_atomic(path.with_name(f"{path.name}.csv"), text.encode())


def write_tables(path: Path, *written: Table) -> None:
    """Writes tables below one another as `path`.md and .tex, and in long form as .csv and .parquet."""
    text = "\n".join(f"## {tables.escape_markdown(one.title)}\n\n{tables.markdown(one)}" for one in written)
    write_atomic(path.with_name(f"{path.name}.md"), text.encode())
    write_atomic(path.with_name(f"{path.name}.tex"), "\n".join(map(tables.latex, written)).encode())
    frames = [tables.frame(one).assign(table=one.title) for one in written]
    write_frame(path, pd.concat(frames, ignore_index=True))
