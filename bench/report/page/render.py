"""From a page's content to one HTML file: no script, style or image from anywhere but the folder it lies in."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report.model import Mark, Table, Written
from bench.report.tables import footnotes, interval, shown
from bench.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

    from bench.report.page.strip import Shot

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Notice:
    """A sentence above everything else; `alarm` where the reader must not go on without it."""

    title: str
    text: str
    alarm: bool = False


@dataclass(frozen=True)
class Tile:
    """One of the few numbers at the top: what it is, its value, its interval and counts, what its judge is."""

    label: str
    value: str
    detail: str
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """A titled list of terms and texts, folded away unless `open`."""

    title: str
    rows: list[tuple[str, str]]
    open: bool = False


@dataclass(frozen=True)
class Page:
    """Everything that a page shows; all texts are plain and are escaped where they are written.

    Attributes:
        kind: what sort of page ("Report of a run").
        title: its heading.
        lead: how good and how sure, in a sentence; "" for none.
        summary: terms and texts under the heading.
        notices: see `Notice`; alarms come before everything else.
        tiles: see `Tile`.
        strip: heading -> samples below it (`bench.report.page.strip`).
        overview: tables before the figures.
        missing: numbers that the overview leaves out because no run has them, with the reason.
        figures: files in the folder of the page.
        tables: after the figures, in their order.
        every: tables that are folded away: all numbers.
        samples: what `bench.report.page.samples` makes; None for a page without samples.
        facts: the provenance.
    """

    kind: str
    title: str
    lead: str = ""
    summary: list[tuple[str, str]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    tiles: list[Tile] = field(default_factory=list)
    strip: list[tuple[str, list[Shot]]] = field(default_factory=list)
    overview: list[Table] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    figures: list[Written] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    every: list[Table] = field(default_factory=list)
    samples: dict[str, Any] | None = None
    facts: list[Facts] = field(default_factory=list)


def render(page: Page) -> bytes:
    """Return the page as UTF-8 HTML."""
    return filled("page.html", title=page.title, page=page, parts=_parts(page))


def filled(template: str, **values: Any) -> bytes:
    """Return a template of this folder with its values, as UTF-8 HTML; every text is escaped.

    Its content security policy allows this script and this style by their sha256, images of its own folder, and
    nothing else: a name that brings a script along could not run it even if it were not escaped.

    Args:
        template: name of the file.
        **values: what it names besides `version`, `one_table`, `policy`, `style` and `script`.
    """
    from markupsafe import Markup

    style, script = _source("page.css"), _source("page.js")
    policy = (
        f"default-src 'none'; img-src 'self' file: data:; style-src {_allowed(style)}; script-src {_allowed(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    html = (
        _environment()
        .get_template(template)
        .render(
            version=__version__, one_table=_table, policy=policy, style=Markup(style), script=Markup(script), **values
        )
    )
    return html.encode("utf-8", "replace")


def _source(name: str) -> str:
    """Return one of our own files as it lies there, so that the hash in the policy is that of the bytes in the page."""
    return (HERE / name).read_text(encoding="utf-8")


def _allowed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(autoescape=True, loader=FileSystemLoader(HERE), undefined=StrictUndefined)
    environment.filters |= {"shown": shown, "interval": interval}
    environment.filters["line"] = lambda text: " ".join(str(text).split())
    environment.filters["breakable"] = _breakable
    environment.filters["hash"] = lambda text: re.fullmatch(r"[0-9a-f]{32,}", text) is not None
    return environment


def _breakable(text: str) -> str:
    """Return a text as HTML whose lines may end after an underscore.

    >>> _breakable("mean_<b>")
    Markup('mean_<wbr>&lt;b&gt;')
    """
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in text.split("_"))


def _parts(page: Page) -> list[tuple[str, str]]:
    """Return the sections that the page has: id and heading."""
    has = [
        ("overview", "Overview", page.notices or page.tiles or page.overview),
        ("figures", "Figures", page.figures),
        ("numbers", "Numbers", page.tables or page.every),
        ("item", "By item", page.samples and len(page.samples["runs"]) > 1),
        ("images", "Samples", page.samples),
        ("provenance", "Provenance", page.facts),
    ]
    return [(id_, text) for id_, text, content in has if content]


def _table(table: Table, number: int | str) -> str:
    """Return a table as HTML (already escaped); equal notes of cells share one letter."""
    from markupsafe import Markup

    groups = _groups([column.group for column in table.columns])
    notes = footnotes(table, of_columns=False)
    template = _environment().get_template("table.html")
    return Markup(template.render(table=table, number=number, notes=notes, groups=groups, words=MARKS))


MARKS = {Mark.BEST: "best", Mark.SECOND: "second best"}
"""Mark -> what a screen reader is given after the number."""


def _groups(names: Sequence[str]) -> list[tuple[str, int]]:
    """Return the headings above several columns with their widths; none where no column has one.

    >>> _groups(["", "ID", "ID", ""])
    [('', 1), ('ID', 2), ('', 1)]
    """
    return [(name, len(list(run))) for name, run in groupby(names)] if any(names) else []
