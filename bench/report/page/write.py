"""The pages of a run and of a comparison: their content from tables, written together with thumbnails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.metrics.protocol import Number
from bench.report import overview
from bench.report.compare import Comparison
from bench.report.frames import Run, headline, of_number
from bench.report.model import Table, Written, measured
from bench.report.numbers import label, relation_note, tiles
from bench.report.page import lead
from bench.report.page.facts import private_notice, provenance, state_notices, warning_notices, within
from bench.report.page.render import Notice, Page, Tile, render
from bench.report.page.samples import samples
from bench.report.page.strip import chosen, items, strip
from bench.report.tables import grouped, shown, turned
from bench.store import write_atomic


def write_run_page(run: Run, every: Table, figures: Sequence[Written], out: Path) -> None:
    """Write `index.html` and `thumbnails/` of one run next to its figures in `out`; it shows people: stays local.

    Args:
        run: to show.
        every: the table of all its numbers, metric by metric; the page folds it away.
        figures: files in `out`.
        out: folder of the page.
    """
    runs = {run.label: run}
    told = [*run.warnings, *run.record.get("unused", ())]
    notices = [*private_notice(runs), *warning_notices(told), *state_notices(runs)]
    write_atomic(out / "index.html", render(run_page(run, every, notices, figures, out)))


def run_page(
    run: Run, every: Table, notices: Sequence[Notice], figures: Sequence[Written], folder: Path | None
) -> Page:
    """Return the page of one run; thumbnails are written below `folder` (None: it shows no image)."""
    runs = {run.label: run}
    first = overview.of_run(run)
    places = chosen(run)
    data = samples(runs, folder, items(run, places))
    return Page(
        kind="Report of a run",
        title=f"{run.label} on {run.record.get('dataset', 'a dataset')}",
        lead=lead.of_run(run),
        summary=summary(runs),
        notices=list(notices),
        tiles=_tiles(run),
        strip=strip(run, places, data) if folder else [],
        figures=list(figures),
        tables=[first.table] if first.table.rows else [],
        missing=first.missing,
        every=[grouped(every)],
        samples=data,
        facts=provenance(runs),
    )


def write_comparison_page(
    comparison: Comparison, tables: Sequence[Table], figures: Sequence[Written], out: Path
) -> None:
    """Write `index.html` and `thumbnails/` of a comparison next to its figures; it shows people: stays local.

    Args:
        comparison: to show; its overview comes first, with methods as rows where there are more methods than numbers.
        tables: further ones, after the figures.
        figures: files in `out`.
        out: folder of the page.
    """
    runs = comparison.runs
    first = overview.of_comparison(comparison)
    page = Page(
        kind="Comparison",
        title=f"{len(runs)} methods on {next(iter(runs.values())).record.get('dataset', 'a dataset')}",
        lead=lead.of_comparison(comparison),
        summary=summary(runs),
        notices=[*private_notice(runs), *warning_notices(comparison.warnings), *state_notices(runs)],
        overview=[first.table if len(first.table.rows) > len(runs) else turned(first.table)],
        missing=first.missing,
        figures=list(figures),
        tables=list(tables),
        samples=samples(runs, out),
        facts=provenance(runs),
    )
    write_atomic(out / "index.html", render(page))


def summary(runs: Mapping[str, Run]) -> list[tuple[str, str]]:
    """Return protocol, evaluator and size."""
    first = next(iter(runs.values()))
    sizes = [str(len(run.samples)) for run in runs.values()]
    each = " each" if len(sizes) > 1 else ""
    found = [
        ("Protocol", within(first.comparable, "protocol", "name")),
        ("Evaluator", within(first.comparable, "evaluator")),
        ("Methods", ", ".join(runs) if len(runs) > 1 else ""),
        ("Items", str(first.samples["item"].nunique())),
        ("People", str(first.samples["subject"].nunique())),
        ("Samples", sizes[0] + each if len(set(sizes)) == 1 else " + ".join(sizes)),
    ]
    return [(term, str(text)) for term, text in found if text]


def _tiles(run: Run) -> list[Tile]:
    """Return the numbers for the top of the page; ID similarity under the evaluator's first recogniser is the last."""
    judge = headline([run])
    shown = tiles(run.scores, judge)
    others = [number for number in tiles(run.scores) if number not in shown]
    return [_tile(run, number, judge) for number in (*shown, *others[:1])]


def _tile(run: Run, number: Number, judge: str | None) -> Tile:
    """Return a number for the top of the page, with its interval and its counts."""
    row = of_number(run.scores, number).iloc[0].to_dict()
    cell = measured(row)
    has_interval = cell.low is not None and cell.high is not None
    interval = f"95 % {cell.low:.3f} to {cell.high:.3f}" if has_interval else "no interval"
    counts = f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{row['n']}, {row['n_failed']} failed"
    title = f"{label(number)} ({number.variant})" if number.variant else label(number)
    note = relation_note(run.scores.assign(run=run.label), number.variant, judge)
    return Tile(title, shown(cell), f"{interval}; {counts}", note)
