"""The paper's Table 1 with our numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.metrics.protocol import Number
from bench.report import published
from bench.report.cells import MARKED, caption, column_cells, counts, dataset
from bench.report.compare import Comparison
from bench.report.frames import SIMILARITY
from bench.report.model import Cell, Column, Mark, Table
from bench.report.numbers import better, relation_note, variants

PAPER = {number.metric: heading for heading, number in published.METRICS.items()}
"""Our metric -> its heading in the paper."""
Head = tuple[Comparison, Number]
"""A column of Table 1: a number on one dataset."""


def paper_table(*comparisons: Comparison) -> Table:
    """Return the paper's Table 1: methods as rows, LPIPS, Exp., Pose, FID and ID similarity over datasets as columns.

    Our generators come first, then the controls, then what the paper published on the same datasets. Published cells
    have no `value` and are never ranked. ID similarity is shown under the first recogniser of the evaluator (the
    paper's) and under the headline one, if that is another.

    Args:
        *comparisons: one per dataset; a method in several of them is one row.
    """
    heads = [head for number in published.METRICS.values() for c in comparisons for head in _heads(c, number)]
    alone = len(comparisons) == 1
    columns = [Column("method", numeric=False), *(_paper_column(*head, alone=alone) for head in heads)]
    columns += [column for comparison in comparisons for column in _count_columns(comparison, alone=alone)]
    cells = [column_cells(comparison, number) for comparison, number in heads]
    cells += [column for comparison in comparisons for column in _count_cells(comparison)]
    title = f"As in the paper's Table 1: {'; '.join(map(caption, comparisons))}"
    lines = list(dict.fromkeys(line for comparison in comparisons for line in [MARKED, *comparison.warnings]))
    parts = {
        "": _measured(comparisons, cells, controls=False),
        "Controls (not ranked)": _measured(comparisons, cells, controls=True),
        "Published (not ranked with ours)": _published(comparisons, heads, len(columns)),
    }
    return _in_parts(Table(title, columns, [], lines), parts)


def _in_parts(table: Table, parts: dict[str, list[list[Cell]]]) -> Table:
    """Return the table with rows under their headings, and with a note where a cell was read at second hand."""
    rows: list[list[Cell]] = []
    headings: dict[int, str] = {}
    for heading, part in parts.items():
        if heading and part:
            headings[len(rows)] = heading
        rows += part
    is_starred = any(cell.mark is Mark.SECOND_HAND for row in rows for cell in row)
    return Table(table.title, table.columns, rows, [*table.notes, *[published.STAR] * is_starred], headings)


def _heads(comparison: Comparison, number: Number) -> list[Head]:
    """Return the columns of a metric on one dataset."""
    found = [variant for variant in variants(comparison.scores, number.metric) if variant]
    chosen = found[:1]
    if number.metric == SIMILARITY and comparison.headline in found[1:]:
        chosen.append(str(comparison.headline))
    return [(comparison, number._replace(variant=variant)) for variant in chosen]


def _paper_column(comparison: Comparison, number: Number, *, alone: bool) -> Column:
    """Return the heading of a column: over several datasets their names, else the recogniser of ID similarity."""
    recogniser = number.variant if number.metric == SIMILARITY else ""
    heading = PAPER[number.metric]
    name = recogniser if alone else dataset(comparison)
    group = heading if alone else ", ".join(filter(None, (heading, recogniser)))
    note = relation_note(comparison.scores, number.variant, comparison.headline)
    return Column(name or heading, group if name else "", note, better(comparison.scores, number))


def _count_columns(comparison: Comparison, *, alone: bool) -> list[Column]:
    group = "samples" if alone else f"samples, {dataset(comparison)}"
    return [Column(name, group) for name in ("n", "failed")]


def _count_cells(comparison: Comparison) -> list[dict[str, Cell]]:
    """Return the cells of the two columns of counts, by run."""
    found = {name: counts(name, run) for name, run in comparison.runs.items()}
    return [{name: cells[place] for name, cells in found.items()} for place in (1, 2)]


def _measured(
    comparisons: Sequence[Comparison], cells: Sequence[dict[str, Cell]], *, controls: bool
) -> list[list[Cell]]:
    names = [name for c in comparisons for name, run in c.runs.items() if run.is_control == controls]
    return [[Cell(name), *(column.get(name, Cell("")) for column in cells)] for name in dict.fromkeys(names)]


def _published(comparisons: Iterable[Comparison], heads: Sequence[Head], size: int) -> list[list[Cell]]:
    """Return the published rows on the same datasets; ID similarity is in the first column of its dataset alone."""
    sources = {_source(comparison) for comparison in comparisons}
    frame = published.published()
    frame = frame[frame["ours_dataset"].isin(sources) & (frame["ours_metric"] != "")]
    if frame.empty:
        return []
    wanted = [_published_head(*head) for head in heads]
    first = [head if head not in wanted[:place] else None for place, head in enumerate(wanted)]
    return published.published_rows(frame, [*first, *[None] * (size - 1 - len(first))])


def _source(comparison: Comparison) -> str:
    return str(next(iter(comparison.runs.values())).record["spec"]["dataset"]["name"])


def _published_head(comparison: Comparison, number: Number) -> tuple[str, str] | None:
    names = [theirs for theirs, ours in published.DATASETS.items() if ours == _source(comparison)]
    return (PAPER[number.metric], names[0]) if names else None
