"""What a table is before it is written as Markdown, LaTeX or HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: its heading, plain text.
        group: heading above several columns; "" for none.
        note: what the reader must know of the column ("headline", "circular for arc2face"); "" for nothing.
        better: which direction is better; "" where there is none.
        numeric: right-aligned and sorted by value.
    """

    title: str
    group: str = ""
    note: str = ""
    better: Literal["higher", "lower", ""] = ""
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what is shown, plain text; "n/a" where there is no value.
        value: what it is sorted by; None sorts last.
        mark: "best" or "second", only where the difference is significant.
        note: footnote or tooltip; "" for none.
    """

    text: str
    value: float | None = None
    mark: Literal["best", "second", ""] = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its heading.

    Attributes:
        title: caption, plain text.
        columns: headings.
        rows: cells, as many in each row as there are columns; the first names the row.
        notes: lines below the table, plain text.
    """

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
