"""What a table and a figure are before they are written as Markdown, LaTeX, HTML or text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import pandas as pd


class Mark(StrEnum):
    """What sets a cell apart from the others of its column."""

    NONE = ""
    BEST = "best"
    """Significantly better than every other one."""
    SECOND = "second"
    """Significantly better than every other one but the best."""
    SECOND_HAND = "second hand"
    """A published number that was read where others repeat it."""


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
    """One cell: a text, or a number with its interval. Who writes a table formats it.

    Attributes:
        text: plain text; None where the cell is a number.
        value: the number, also what the cell is sorted by; None sorts last, and is "n/a" where there is no text.
        mark: see `Mark`.
        note: footnote or tooltip; "" for none.
        low: lower end of the number's interval; None for none.
        high: upper end.
        digits: of the number, behind the point.
    """

    text: str | None = None
    value: float | None = None
    mark: Mark = Mark.NONE
    note: str = ""
    low: float | None = None
    high: float | None = None
    digits: int = 3

    @property
    def is_absent(self) -> bool:
        """Whether it is a number that there is not."""
        return self.text is None and self.value is None


def count(value: float) -> Cell:
    """Return the cell of a whole number."""
    return Cell(value=float(value), digits=0)


def measured(score: Mapping[Any, Any], *, mark: Mark = Mark.NONE, note: str = "") -> Cell:
    """Return the cell of a row of scores, by its value, low and high; what is NaN is absent.

    >>> cell = measured({"value": 0.5, "low": float("nan"), "high": None})
    >>> cell.value, cell.low, cell.high
    (0.5, None, None)
    """
    value, low, high = (None if pd.isna(score[end]) else float(score[end]) for end in ("value", "low", "high"))
    return Cell(value=value, low=low, high=high, mark=mark, note=note)


@dataclass(frozen=True)
class Table:
    """A table with its heading.

    Attributes:
        title: caption, plain text.
        columns: headings.
        rows: cells, as many in each row as there are columns; the first names the row.
        notes: lines below the table, plain text.
        headings: place of a row -> the heading above it and the rows that follow, plain text.
    """

    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
    headings: dict[int, str] = field(default_factory=dict)

    def sections(self) -> Iterator[tuple[str, list[list[Cell]]]]:
        """Yield the rows by their headings, in order; "" for rows above the first heading.

        >>> rows = [[Cell("a")], [Cell("b")], [Cell("c")]]
        >>> [(title, len(part)) for title, part in Table("", [Column("")], rows, headings={1: "more"}).sections()]
        [('', 1), ('more', 2)]
        """
        starts = sorted({0, *self.headings})
        for start, end in zip(starts, [*starts[1:], len(self.rows)], strict=True):
            if self.rows[start:end]:
                yield self.headings.get(start, ""), self.rows[start:end]


@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Attributes:
        name: first part of its files' names.
        title: what it shows.
        caption: how it is read.
        wide: whether it needs the whole width of a page.
    """

    name: str
    title: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Written:
    """A figure that lies in a report's folder.

    Attributes:
        kind: see `Kind`.
        variant: what of its kind it shows: a network, a number, two methods; "" where there is only one.
        file: name of the PNG file.
        pdf: name of the same for print; "" where there is none.
        csv: name of its data; "" where it shows images.
    """

    kind: Kind
    variant: str
    file: str
    pdf: str = ""
    csv: str = ""

    @property
    def title(self) -> str:
        """What the figure shows."""
        return f"{self.kind.title}: {self.variant}" if self.variant else self.kind.title
