"""The pages of a run and of a comparison: their content from tables, written together with thumbnails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.metrics.protocol import Number
from bench.report.frames import Run, of_number
from bench.report.model import Table, Written, measured
from bench.report.numbers import label, tiles
from bench.report.page.facts import private_notice, provenance, state_notices, warning_notices, within
from bench.report.page.render import Notice, Page, Tile, render
from bench.report.page.samples import samples
from bench.report.tables import shown
from bench.store import write_atomic


def write_run_page(run: Run, tables: Sequence[Table], figures: Sequence[Written], out: Path) -> None:
    """Write `index.html` and `thumbnails/` of one run next to its figures in `out`; it shows people: stays local."""
    runs = {run.label: run}
    told = [*run.warnings, *run.record.get("unused", ())]
    notices = [*private_notice(runs), *warning_notices(told), *state_notices(runs)]
    write_atomic(out / "index.html", render(run_page(run, tables, notices, figures, out)))


def run_page(
    run: Run, tables: Sequence[Table], notices: Sequence[Notice], figures: Sequence[Written], folder: Path | None
) -> Page:
    """Return the page of one run; thumbnails are written below `folder` (None: it shows no image)."""
    runs = {run.label: run}
    return Page(
        kind="Report of a run",
        title=f"{run.label} on {run.record.get('dataset', 'a dataset')}",
        summary=summary(runs),
        notices=list(notices),
        tiles=[_tile(run, number) for number in tiles(run.scores)],
        tables=list(tables),
        figures=list(figures),
        samples=samples(runs, folder),
        facts=provenance(runs),
    )


def write_comparison_page(
    runs: Mapping[str, Run], tables: Sequence[Table], warnings: Sequence[str], figures: Sequence[Written], out: Path
) -> None:
    """Write `index.html` and `thumbnails/` of a comparison next to its figures; it shows people: stays local."""
    page = Page(
        kind="Comparison",
        title=f"{len(runs)} methods on {next(iter(runs.values())).record.get('dataset', 'a dataset')}",
        summary=summary(runs),
        notices=[*private_notice(runs), *warning_notices(warnings), *state_notices(runs)],
        tables=list(tables),
        figures=list(figures),
        samples=samples(runs, out),
        facts=provenance(runs),
    )
    write_atomic(out / "index.html", render(page))


def summary(runs: Mapping[str, Run]) -> list[tuple[str, str]]:
    """Return protocol, evaluator and size."""
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


def _tile(run: Run, number: Number) -> Tile:
    """Return a number for the top of the page, with its interval and its counts."""
    row = of_number(run.scores, number).iloc[0].to_dict()
    cell = measured(row)
    has_interval = cell.low is not None and cell.high is not None
    interval = f"95 % {cell.low:.3f} to {cell.high:.3f}" if has_interval else "no interval"
    counts = f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{row['n']}, {row['n_failed']} failed"
    title = f"{label(number)} ({number.variant})" if number.variant else label(number)
    return Tile(title, shown(cell), f"{interval}; {counts}")
