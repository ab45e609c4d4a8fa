"""One page with every table and figure of the paper: ours, the published numbers, and what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.paper.contents import CONTENTS, Item
from bench.report.model import Cell, Column, Table, Written
from bench.report.page.render import filled
from bench.report.published import published_table
from bench.report.results import PAPER, Finding, findings
from bench.store import write_atomic

TITLE = "Arc2Face, table by table and figure by figure"


@dataclass(frozen=True)
class Part:
    """What one experiment found on one dataset, as the page shows it.

    Attributes:
        heading: method, dataset and profile.
        folder: of its figures, relative to the page.
        tables: in their order.
        figures: in their order.
        notes: a sentence each.
        again: see `Finding`.
    """

    heading: str
    folder: str
    tables: list[Table]
    figures: list[Written]
    notes: list[str]
    again: list[str]


@dataclass(frozen=True)
class Section:
    """One table or figure of the paper, as the page shows it.

    Attributes:
        id: of its place on the page.
        number: as the paper has it.
        title: see `Item`.
        shows: see `Item`.
        missing: what is missing and the command that makes it; "" where nothing is.
        parts: ours.
        published: the published numbers; None where none is known.
        said: see `Item`.
    """

    id: str
    number: str
    title: str
    shows: str
    missing: str
    parts: list[Part]
    published: Table | None
    said: str


def command(experiment: str, overrides: Sequence[str]) -> str:
    """Return the command that runs an experiment.

    >>> command("fig10", ["out=my runs"])
    "python -m bench run experiment=fig10 'out=my runs'"
    """
    return shlex.join(["python", "-m", "bench", "run", f"experiment={experiment}", *overrides])


def missing(out: Path, dataset: str) -> list[str]:
    """Return the experiments that have found nothing yet on a dataset, in the paper's order."""
    known = {found.experiment for _, found in findings(out) if found.dataset == dataset}
    return [item.experiment for item in CONTENTS if item.experiment not in known]


def write_page(out: Path, overrides: Sequence[str]) -> Path:
    """Write `paper/index.html` below the folder of the runs.

    Args:
        out: folder of all runs.
        overrides: of the command, for the commands that make what is missing.

    Returns:
        The page.
    """
    base = out / PAPER
    found = [(str(folder.relative_to(base)), finding) for folder, finding in findings(out)]
    sections = [_section(item, found, overrides) for item in CONTENTS]
    have = sum(bool(section.parts) for section in sections)
    summary = [("Tables and figures", f"{have} of {len(sections)}")]
    table = checklist(sections)
    page = filled("paper.html", title=TITLE, summary=summary, checklist=table, sections=sections)
    write_atomic(base / "index.html", page)
    return base / "index.html"


def _section(item: Item, found: Sequence[tuple[str, Finding]], overrides: Sequence[str]) -> Section:
    own = [(folder, one) for folder, one in found if one.experiment == item.experiment]
    parts = [_part(folder, one) for folder, one in own]
    published = published_table(item.published.table, item.published.metrics) if item.published else None
    lacks = "" if parts else command(item.experiment, overrides)
    return Section(item.id, item.number, item.title, item.shows, lacks, parts, published, item.said)


def _part(folder: str, one: Finding) -> Part:
    heading = f"{one.method} on {one.dataset}, profile {one.profile}"
    return Part(heading, folder, one.tables, one.figures, one.notes, one.again)


def checklist(sections: Sequence[Section]) -> Table:
    """Return a row per table and figure: whether it is there, and of which runs or by which command."""
    columns = [Column(name, numeric=False) for name in ("of the paper", "about", "state", "ours", "published")]
    rows = []
    for section in sections:
        is_stored = all(part.again for part in section.parts)
        state = "missing" if section.missing else "measured, stored" if is_stored else "there"
        ours = "; ".join(part.heading for part in section.parts)
        known = "numbers" if section.published else "no number"
        texts = (section.number, section.title, state, ours or section.missing, known)
        rows.append([Cell(text) for text in texts])
    return Table("What is there, and what is missing", columns, rows)
