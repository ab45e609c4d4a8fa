"""What an experiment of the paper found: tables and figures in a folder, for the page of the whole paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.report.figures import Drawing, write
from bench.report.model import Table, Written
from bench.report.page.render import Page, render
from bench.report.tables import escape_markdown, markdown
from bench.store import write_atomic

FILE = "result.json"
PAPER = "paper"
"""Folder of all findings and of the page, below that of the runs."""
WORK = "experiments"
"""Folder of what experiments make on their way: their own runs, fits and banks."""


@dataclass(frozen=True)
class Finding:
    """What one experiment found on one dataset.

    Attributes:
        experiment: its name, as `experiment=` takes it.
        title: what was done.
        dataset: label of the dataset.
        method: label of the method; several are joined.
        profile: under which it ran ("mini", "paper").
        tables: in their order.
        figures: files in the folder of the finding.
        notes: what a reader must know, a sentence each.
        again: commands that measure the numbers again, where they are stored with the project; empty where they were
            measured here.
    """

    experiment: str
    title: str
    dataset: str
    method: str
    profile: str
    tables: list[Table]
    figures: list[Written] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)


@lru_cache(maxsize=1)
def _format() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Finding)


def folder_of(out: Path, experiment: str, dataset: str) -> Path:
    """Return the folder of a finding below that of the runs."""
    return out / PAPER / experiment / dataset


def drawn(drawings: Sequence[Drawing], folder: Path) -> list[Written]:
    """Write figures into the folder of a finding and return where they lie."""
    return [write(drawing, folder) for drawing in drawings]


def write_finding(folder: Path, finding: Finding) -> Path:
    """Write a finding as `index.html`, `result.md` and, last, `result.json`; its figures lie there already.

    Returns:
        The folder.
    """
    summary = [("Method", finding.method), ("Dataset", finding.dataset), ("Profile", finding.profile)]
    page = Page("Experiment", finding.title, summary=summary, tables=finding.tables, figures=finding.figures)
    text = "\n".join(f"## {escape_markdown(one.title)}\n\n{markdown(one)}" for one in finding.tables)
    write_atomic(folder / "index.html", render(page))
    write_atomic(folder / "result.md", text.encode())
    write_atomic(folder / FILE, _format().dump_json(finding, indent=1))
    return folder


def findings(out: Path) -> list[tuple[Path, Finding]]:
    """Return every finding below the folder of the runs, with its folder, by name and dataset.

    Raises:
        UserError: a file is damaged.
    """
    return [(path.parent, read_finding(path)) for path in sorted((out / PAPER).glob(f"*/*/{FILE}"))]


def read_finding(path: Path) -> Finding:
    """Return the finding in a file.

    Raises:
        UserError: it is damaged.
    """
    try:
        found: Finding = _format().validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged; delete it and run its experiment again") from error
    return found
