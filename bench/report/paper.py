"""The tables of a comparison: the paper's Table 1, and the overview of all main numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from bench.metrics.shared.scores import notes
from bench.report import published
from bench.report.compare import Comparison
from bench.report.frames import Number, Run, of_number
from bench.report.model import Cell, Column, Table
from bench.report.ranking import Compared, Ranking, ranking
from bench.report.tables import number as figure

METRICS = {
    "id_similarity": "ID similarity", "target_similarity": "similarity to targets", "verification": "verification",
    "retrieval": "retrieval", "lpips_diversity": "LPIPS diversity", "expression_diversity": "expression diversity",
    "pose_diversity": "pose diversity", "fid": "FID", "kid": "KID", "fd_dinov2": "FD-DINOv2", "cmmd": "CMMD",
    "within_similarity": "similarity within an item", "copy_paste": "copy-paste", "copying": "copying (DINOv2)",
    "copying_lpips": "copying (LPIPS)", "failure_to_acquire": "failure to acquire",
    "precision_recall": "precision and recall", "groups": "groups",
}  # fmt: skip
"""metric -> how a reader calls it; others are shown under their own name."""
STATISTICS = {
    "mean_detected": "mean", "mean_failures_as_zero": "failures as 0", "detection_rate": "detected",
    "fnmr@1e-2": "FNMR at FMR 1 %", "fnmr@1e-3": "FNMR at FMR 0.1 %", "rank1": "rank 1", "mean_items": "mean",
    "foreground_mean_items": "foreground", "distance": "distance", "excluded": "without same subjects",
}  # fmt: skip
"""statistic -> how a reader calls it."""
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
CIRCULAR = {"conditioned": "circular for", "trained_against": "circular for"}
DEPENDENT = {"same_training_data": "shares training data with", "unknown": "relation unknown to"}


def title(name: str, words: dict[str, str]) -> str:
    """A name as a reader calls it.

    >>> title("lpips_diversity", METRICS), title("my_metric", METRICS)
    ('LPIPS diversity', 'my metric')
    """
    return words.get(name, name.replace("_", " "))


def overview(comparison: Comparison) -> Table:
    """A row per run: the main numbers with intervals, and how many samples stand behind them.

    Marks are those of `bench.report.ranking.ranking`.
    """
    numbers = [
        (metric, variant, statistic)
        for metric, statistics in HEADLINES.items()
        for variant in variants(comparison.scores, metric)
        for statistic in statistics
        if not of_number(comparison.scores, (metric, variant, statistic)).empty
    ]
    columns = [*COUNTS, *(_overview_column(comparison, number) for number in numbers)]
    cells = {number: column_cells(comparison, number) for number in numbers}
    rows = [[*counts(name, run), *(cells[number][name] for number in numbers)] for name, run in comparison.runs.items()]
    return Table(caption(comparison), columns, rows, _notes(comparison))


COUNTS = [Column("method", numeric=False), *(Column(word, group="samples") for word in ("n", "failed", "unavailable"))]


def variants(scores: pd.DataFrame, metric: str) -> list[str]:
    """The networks by which a metric was read, in the order of the evaluator."""
    return [str(v) for v in dict.fromkeys(scores.loc[scores["metric"] == metric, "variant"])]


def _overview_column(comparison: Comparison, number: Number) -> Column:
    metric, variant, statistic = number
    words = (variant, title(statistic, STATISTICS))
    return Column(
        ", ".join(word for word in words if word),
        group=title(metric, METRICS),
        note=relation_note(comparison, variant),
        better=_better(comparison, number),
    )


def _better(comparison: Comparison, number: Number) -> Literal["higher", "lower", ""]:
    direction = of_number(comparison.scores, number)["higher_is_better"].dropna()
    return "" if direction.empty else "higher" if bool(direction.iloc[0]) else "lower"


def relation_note(comparison: Comparison, variant: str) -> str:
    """What the reader must know of a recogniser: the headline, or for whom it is circular. "" for other networks."""
    rows = comparison.scores[(comparison.scores["variant"] == variant) & (comparison.scores["relation"] != "")]
    if rows.empty:
        return ""
    found: dict[str, list[str]] = {}
    for run, relation in rows[["run", "relation"]].drop_duplicates().itertuples(index=False, name=None):
        if word := (CIRCULAR | DEPENDENT).get(relation):
            found.setdefault(word, []).append(str(run))
    if found:
        return "; ".join(f"{word} {', '.join(names)}" for word, names in found.items())
    return "headline: independent of all methods" if variant == comparison.headline else "independent of all methods"


def counts(name: str, run: Run) -> list[Cell]:
    """The cells of `COUNTS`: a run's name, and its samples that were asked for, that failed, that cannot be had."""
    states = run.samples["status"].value_counts()
    unavailable = int(states.get("unavailable", 0))
    asked = len(run.samples) - unavailable - int(states.get("reference_failed", 0))
    numbers = (asked, asked - int(states.get("ok", 0)), unavailable)
    note = "control, not ranked" if run.is_control else ""
    return [Cell(name, note=note), *(Cell(str(n), float(n)) for n in numbers)]


def column_cells(comparison: Compared, number: Number) -> dict[str, Cell]:
    """The cells of a column, by run, with the marks of `bench.report.ranking.ranking`."""
    ranked = ranking(comparison, number)
    return {name: _cell(name, run, number, ranked) for name, run in comparison.runs.items()}


def _cell(name: str, run: Run, number: Number, ranked: Ranking) -> Cell:
    rows = of_number(run.scores, number)
    if rows.empty:
        return Cell("n/a", note="not measured")
    row = rows.iloc[0]
    value = None if pd.isna(row["value"]) else float(row["value"])
    own, given = ranked.notes.get(name, ""), str(row["note"])
    said = run.is_control or own in given  # a control's name says it already
    text = figure(value, row["low"], row["high"])
    return Cell(text, value, ranked.marks.get(name, ""), given if said else notes(own, given))


def caption(comparison: Comparison) -> str:
    """Dataset, number of items and protocol."""
    run, size = next(iter(comparison.runs.values())), len(comparison.items)
    return f"{_dataset(comparison)}, {size} item{'s' * (size != 1)}, {run.comparable['protocol']['name']}"


MARKED = (
    "Best and second best generator of a column: significantly better than every other one (paired by subject, Holm, "
    "5 %). No mark: the data do not tell. Intervals: 95 %, by subject."
)


def _notes(comparison: Comparison) -> list[str]:
    return [MARKED, *comparison.warnings]


# The paper's Table 1


def paper_table(*comparisons: Comparison) -> Table:
    """The paper's Table 1: methods as rows, LPIPS, Exp., Pose, FID and ID similarity over datasets as columns.

    First our generators, then the controls, then what the paper published on the same datasets; each part has a
    heading row whose other cells are empty. Published cells have no `value` and no mark. ID similarity is shown under
    the first recogniser of the evaluator (the paper's) and under the headline one, if that is another.

    Args:
        *comparisons: one per dataset; a method in several of them is one row.
    """
    heads = [head for metric in PAPER for comparison in comparisons for head in _heads(comparison, metric)]
    alone = len(comparisons) == 1
    columns = [Column("method", numeric=False), *(_paper_column(*head, alone=alone) for head in heads)]
    columns += [column for comparison in comparisons for column in _count_columns(comparison, alone=alone)]
    cells = [column_cells(comparison, number) for comparison, number in heads]
    cells += [column for comparison in comparisons for column in _count_cells(comparison)]
    parts = {
        "": _measured(comparisons, cells, controls=False),
        "Controls (not ranked)": _measured(comparisons, cells, controls=True),
        "Published (not ranked with ours)": _published(comparisons, heads, len(columns)),
    }
    rows = [row for heading, part in parts.items() if part for row in (*_heading(heading, columns), *part)]
    lines = list(dict.fromkeys(line for comparison in comparisons for line in _notes(comparison)))
    star = [published.STAR] if any(cell.text.endswith("*") for row in rows for cell in row) else []
    return Table(f"As in the paper's Table 1: {'; '.join(map(caption, comparisons))}", columns, rows, [*lines, *star])


PAPER = {
    "lpips_diversity": "LPIPS",
    "expression_diversity": "Exp.",
    "pose_diversity": "Pose",
    "fid": "FID",
    "id_similarity": "ID similarity",
}
"""Our metric -> its heading in the paper."""


def _heads(comparison: Comparison, metric: str) -> list[tuple[Comparison, Number]]:
    """The columns of a metric on one dataset."""
    found = variants(comparison.scores, metric)
    chosen = found[:1]
    if metric == "id_similarity" and comparison.headline in found[1:]:
        chosen.append(str(comparison.headline))
    statistic = published.METRICS[PAPER[metric]][1]
    return [(comparison, (metric, variant, statistic)) for variant in chosen if variant]


def _paper_column(comparison: Comparison, number: Number, *, alone: bool) -> Column:
    metric, variant, _ = number
    name = {"id_similarity": variant}.get(metric, "") if alone else _dataset(comparison)
    group = PAPER[metric] + (f", {variant}" if metric == "id_similarity" and not alone else "")
    note, better = relation_note(comparison, variant), _better(comparison, number)
    return Column(name or PAPER[metric], group if name else "", note, better)


def _count_columns(comparison: Comparison, *, alone: bool) -> list[Column]:
    group = "samples" if alone else f"samples, {_dataset(comparison)}"
    return [Column(name, group) for name in ("n", "failed")]


def _count_cells(comparison: Comparison) -> list[dict[str, Cell]]:
    """The cells of the two columns of counts, by run."""
    found = {name: counts(name, run) for name, run in comparison.runs.items()}
    return [{name: cells[place] for name, cells in found.items()} for place in (1, 2)]


def _dataset(comparison: Comparison) -> str:
    return str(next(iter(comparison.runs.values())).record["dataset"])


def _measured(
    comparisons: Sequence[Comparison], cells: Sequence[dict[str, Cell]], *, controls: bool
) -> list[list[Cell]]:
    names = [name for c in comparisons for name, run in c.runs.items() if run.is_control == controls]
    return [[Cell(name), *(column.get(name, Cell("")) for column in cells)] for name in dict.fromkeys(names)]


def _published(
    comparisons: Iterable[Comparison], heads: Sequence[tuple[Comparison, Number]], size: int
) -> list[list[Cell]]:
    """The published rows on the same datasets; ID similarity stands in the first column of its dataset alone."""
    sources = {_source(comparison) for comparison in comparisons}
    frame = published.published()
    frame = frame[frame["ours_dataset"].isin(sources) & (frame["ours_metric"] != "")]
    if frame.empty:
        return []
    wanted = [_published_head(*head) for head in heads]
    once = [head if head not in wanted[:place] else None for place, head in enumerate(wanted)]
    return published.published_rows(frame, [*once, *[None] * (size - 1 - len(once))])


def _source(comparison: Comparison) -> str:
    return str(next(iter(comparison.runs.values())).record["spec"]["dataset"]["name"])


def _published_head(comparison: Comparison, number: Number) -> tuple[str, str] | None:
    names = [theirs for theirs, ours in published.DATASETS.items() if ours == _source(comparison)]
    return (PAPER[number[0]], names[0]) if names else None


def _heading(text: str, columns: Sequence[Column]) -> list[list[Cell]]:
    return [[Cell(text), *(Cell("") for _ in columns[1:])]] if text else []
