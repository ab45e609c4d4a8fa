"""Tables as Markdown, LaTeX and data frames; every text that comes from outside is made harmless."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from bench.report.model import Cell, Column, Table

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "×": r"$\times$", "±": r"$\pm$", "−": "$-$", "–": "--", "—": "---", "…": r"\ldots{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "≥": r"$\geq$", "≤": r"$\leq$", "’": "'", "‘": "`", "“": "``", "”": "''",
    "·": r"$\cdot$", "°": r"$^\circ$", "§": r"\S{}", "ß": r"\ss{}",
}  # fmt: skip
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip
"""Combining accent -> the LaTeX command that every font encoding has."""
ARROWS = {"higher": "↑", "lower": "↓", "": ""}
INTERVAL = re.compile(r"(.+?) (\[.+\])")
NAME = 60
"""Characters of a name in LaTeX, above which it is cut in the middle."""


def number(value: float | None, low: float | None = None, high: float | None = None, digits: int = 3) -> str:
    """A value with its interval, "n/a" where there is none.

    >>> number(0.61234, 0.58, 0.64)
    '0.612 [0.580, 0.640]'
    >>> number(None)
    'n/a'
    """
    if value is None or pd.isna(value):
        return "n/a"
    text = f"{value:.{digits}f}"
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return text
    return f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def plain(text: str) -> str:
    """One line of printable text: white space becomes a space; what cannot be seen (bidi overrides, too) becomes �.

    >>> plain(" a\\n b\\u202e ")
    'a b�'
    """
    words = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(c if c.isprintable() else "�" for c in words)


def short(text: str, length: int = 18) -> str:
    """A name of at most `length` characters: one line, printable, cut in the middle.

    >>> short("a very long name of a method", 11)
    'a ver…ethod'
    """
    text = plain(text)
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-(length - length // 2 - 1) :]}"


def simple(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    """A table of texts."""
    return Table(
        title, [Column(name, numeric=False) for name in header], [[Cell(text) for text in row] for row in rows]
    )


def turned(table: Table) -> Table:
    """The table with its rows as columns: for few rows of many numbers. Groups and directions join the names."""
    heads = [" ".join(filter(None, (c.group, c.title, ARROWS[c.better]))) for c in table.columns]
    columns = [Column("", numeric=False), *(Column(row[0].text, note=row[0].note) for row in table.rows)]
    rows = [
        [Cell(heads[at], note=table.columns[at].note), *(row[at] for row in table.rows)]
        for at in range(1, len(table.columns))
    ]
    return Table(table.title, columns, rows, table.notes)


def is_heading(row: Sequence[Cell]) -> bool:
    """Whether a row only names the rows below it."""
    return len(row) > 1 and not any(cell.text for cell in row[1:])


def frame(table: Table) -> pd.DataFrame:
    """The table in long form, for CSV and Parquet: section, row, group, column, text, value, mark, note."""
    cells, section = [], ""
    for row in table.rows:
        if is_heading(row):
            section = row[0].text
            continue
        for column, cell in zip(table.columns[1:], row[1:], strict=True):
            head = (section, row[0].text, column.group, column.title)
            cells.append((*head, cell.text, cell.value, cell.mark, "; ".join(filter(None, (column.note, cell.note)))))
    names = ["section", "row", "group", "column", "text", "value", "mark", "note"]
    return pd.DataFrame(cells, columns=names).astype({"value": float})


@dataclass(frozen=True)
class Footnotes:
    """The notes of a table, each under its letter."""

    letters: dict[str, str]

    def mark(self, note: str) -> str:
        """The letter of a note; "" for none."""
        return self.letters.get(note, "")

    def lines(self) -> Iterator[tuple[str, str]]:
        """(letter, note), in order."""
        return ((letter, note) for note, letter in self.letters.items())


def footnotes(table: Table) -> Footnotes:
    """Letters for the different notes of columns and cells, in reading order."""
    found = [*(column.note for column in table.columns), *(cell.note for row in table.rows for cell in row)]
    return Footnotes({note: _letter(place) for place, note in enumerate(dict.fromkeys(filter(None, found)))})


def _letter(place: int) -> str:
    """Letter of a place: a to z, then aa.

    >>> _letter(0), _letter(25), _letter(26)
    ('a', 'z', 'aa')
    """
    return (_letter(place // 26 - 1) if place >= 26 else "") + chr(ord("a") + place % 26)


def markdown(table: Table) -> str:
    """A Markdown table with its notes; pipes, line breaks and HTML in cells do no harm.

    The title is left to the caller. The best of a column is bold, the second best underlined.
    """
    notes = footnotes(table)
    head = [_markdown_head(column) + _sup(notes.mark(column.note)) for column in table.columns]
    rules = ["---:" if column.numeric else "---" for column in table.columns]
    rows = [head, rules, *([_markdown_cell(cell, notes) for cell in row] for row in table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    below = [f"- {_sup(letter)} {escape_markdown(note)}" for letter, note in notes.lines()]
    below += [f"- {escape_markdown(note)}" for note in table.notes]
    return "\n".join([*lines, *([""] if below else []), *below]) + "\n"


def _sup(letter: str) -> str:
    return f"<sup>{letter}</sup>" if letter else ""


def _markdown_head(column: Column) -> str:
    words = (column.group, column.title if column.title != column.group else "", ARROWS[column.better])
    return " ".join(escape_markdown(word) for word in words if word)


def _markdown_cell(cell: Cell, notes: Footnotes) -> str:
    text = escape_markdown(cell.text)
    value, *interval = text.split(r" \[", 1)
    marked = {"best": f"**{value}**", "second": f"<u>{value}</u>", "": value}[cell.mark]
    return marked + "".join(rf" \[{part}" for part in interval) + _sup(notes.mark(cell.note))


def escape_markdown(text: str) -> str:
    """Text in which Markdown finds no markup, no HTML and no second cell.

    >>> escape_markdown("<b>|a_b")
    '&lt;b&gt;\\\\|a\\\\_b'
    """
    text = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*_\[\]~$#])", r"\\\1", text)


def latex(table: Table) -> str:
    """A booktabs table that is no wider than its line; intervals stand in small type below their values.

    The best of a column is bold, the second best underlined. It needs the packages booktabs and graphicx, and
    compiles with pdfTeX whatever the names hold: characters that its fonts lack are shown by their number.
    """
    notes, size = footnotes(table), len(table.columns)
    layout = "".join("r" if column.numeric else "l" for column in table.columns)
    body = "\n".join(line for row in table.rows for line in _latex_row(row, notes, size))
    below = [rf"\textsuperscript{{{letter}}}\,{escape_latex(note)}" for letter, note in notes.lines()]
    below += [escape_latex(note) for note in table.notes]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs,graphicx}",
            r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(table.title)}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{layout}}}", r"\toprule",
            *_latex_groups(table.columns),
            " & ".join(_latex_head(column, notes) for column in table.columns) + r" \\",
            r"\midrule", body, r"\bottomrule", r"\end{tabular}}",
            *([r"\par\smallskip\raggedright\footnotesize", " \\\\\n".join(below)] if below else []),
            r"\end{table}", "",
        ]
    )  # fmt: skip


def _latex_groups(columns: Sequence[Column]) -> list[str]:
    """The line of group headings with its rules; nothing where there is no group."""
    cells, rules, at = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        width = len(list(members))
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(group)}}}" if group else " &" * (width - 1))
        rules += [rf"\cmidrule(lr){{{at}-{at + width - 1}}}"] if group else []
        at += width
    return [" & ".join(cells) + r" \\", " ".join(rules)] if rules else []


def _latex_head(column: Column, notes: Footnotes) -> str:
    text = escape_latex(" ".join(filter(None, (column.title, ARROWS[column.better]))))
    return text + _latex_sup(notes.mark(column.note))


def _latex_sup(letter: str) -> str:
    return rf"\textsuperscript{{{letter}}}" if letter else ""


def _latex_row(row: Sequence[Cell], notes: Footnotes, size: int) -> list[str]:
    """One line, a second one for the intervals where there are any; a heading row spans the table."""
    if is_heading(row):
        return [r"\midrule", rf"\multicolumn{{{size}}}{{l}}{{\emph{{{escape_latex(row[0].text)}}}}} \\"]
    parts = [INTERVAL.fullmatch(cell.text) for cell in row]
    values = [part[1] if part else short(cell.text, NAME) for cell, part in zip(row, parts, strict=True)]
    first = [_latex_cell(cell, value, notes) for cell, value in zip(row, values, strict=True)]
    lines = [" & ".join(first) + r" \\"]
    if any(parts):
        intervals = [rf"{{\scriptsize {escape_latex(part[2])}}}" if part else "" for part in parts]
        lines.append(" & ".join(intervals) + r" \\")
    return lines


def _latex_cell(cell: Cell, value: str, notes: Footnotes) -> str:
    text = escape_latex(value)
    marked = {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}[cell.mark]
    return marked + _latex_sup(notes.mark(cell.note))


def escape_latex(text: str) -> str:
    r"""Text in which LaTeX finds no command, and no character that pdfTeX's standard fonts lack.

    A bracket or star at its start is put in braces: after a row's end it would be an option of that.

    >>> escape_latex("50 % of a_b")
    '50 \\% of a\\_b'
    >>> escape_latex("[é] א")
    "{[}\\'{e}] U+05D0"
    """
    text = plain(text)
    head = f"{{{text[0]}}}" if text[:1] in ("[", "*") else ""
    return head + "".join(_latex_character(c) for c in (text[1:] if head else text))


def _latex_character(c: str) -> str:
    if c in SPECIAL or c.isascii():
        return SPECIAL.get(c, c)
    apart = unicodedata.normalize("NFD", c)
    if len(apart) == 2 and apart[0].isascii() and apart[1] in ACCENTS:
        return rf"\{ACCENTS[apart[1]]}{{{apart[0]}}}"
    return f"U+{ord(c):04X}"
