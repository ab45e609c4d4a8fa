"""Tables as Markdown, LaTeX and data frames; every text that comes from outside is made harmless."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from bench.report.model import Cell, Column, Mark, Table

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
SUFFIX = {Mark.SECOND_HAND: "*"}
"""Mark -> what follows the text of a cell in every format."""
NAME = 60
"""Characters of a name in LaTeX, above which it is cut in the middle."""


def shown(cell: Cell) -> str:
    """Return a cell without its interval; "n/a" where there is no number.

    >>> shown(Cell(value=0.61234)), shown(Cell(value=80.0, digits=0)), shown(Cell()), shown(Cell("a"))
    ('0.612', '80', 'n/a', 'a')
    """
    if cell.is_absent:
        return "n/a"
    text = f"{cell.value:.{cell.digits}f}" if cell.text is None else cell.text
    return text + SUFFIX.get(cell.mark, "")


def interval(cell: Cell) -> str:
    """Return the interval of a cell; "" where it has none.

    >>> interval(Cell(value=0.61234, low=0.58, high=0.64))
    '[0.580, 0.640]'
    """
    if cell.is_absent or cell.low is None or cell.high is None:
        return ""
    return f"[{cell.low:.{cell.digits}f}, {cell.high:.{cell.digits}f}]"


def written(cell: Cell) -> str:
    """Return a cell with its interval, as plain text.

    >>> written(Cell(value=0.61234, low=0.58, high=0.64))
    '0.612 [0.580, 0.640]'
    """
    return " ".join(filter(None, (shown(cell), interval(cell))))


def plain(text: str) -> str:
    """Return one line of printable text: white space becomes a space, what cannot be seen (bidi overrides, too) �.

    >>> plain(" a\\n b\\u202e ")
    'a b�'
    """
    words = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(c if c.isprintable() else "�" for c in words)


def short(text: str, length: int = 18) -> str:
    """Return a name of at most `length` characters: one line, printable, cut in the middle.

    >>> short("a very long name of a method", 11)
    'a ver…ethod'
    """
    text = plain(text)
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-(length - length // 2 - 1) :]}"


def simple(header: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    """Return a table of texts."""
    return Table(
        title, [Column(name, numeric=False) for name in header], [[Cell(text) for text in row] for row in rows]
    )


def turned(table: Table) -> Table:
    """Return the table with its rows as columns, under the headings of the rows: for many columns of few numbers.

    >>> found = turned(simple(["number", "a", "b"], [["FID", "1", "2"]]))
    >>> [column.title for column in found.columns], [[shown(cell) for cell in row] for row in found.rows]
    (['', 'FID'], [['a', '1'], ['b', '2']])
    """
    groups = [heading for heading, rows in table.sections() for _ in rows]
    columns = [Column(shown(row[0]), group) for group, row in zip(groups, table.rows, strict=True)]
    rows = [
        [Cell(column.title, note=column.note), *(row[at] for row in table.rows)]
        for at, column in enumerate(table.columns)
        if at
    ]
    return Table(table.title, [Column("", numeric=False), *columns], rows, table.notes)


def grouped(table: Table) -> Table:
    """Return the table without its first column: each value of it is a heading above its rows.

    >>> found = grouped(simple(["metric", "of"], [["FID", "a"], ["KID", "a"], ["KID", "b"]]))
    >>> found.headings, [shown(row[0]) for row in found.rows]
    ({0: 'FID', 1: 'KID'}, ['a', 'a', 'b'])
    """
    names = [shown(row[0]) for row in table.rows]
    headings = {at: name for at, name in enumerate(names) if at == 0 or name != names[at - 1]}
    return Table(table.title, table.columns[1:], [row[1:] for row in table.rows], table.notes, headings)


def frame(table: Table) -> pd.DataFrame:
    """Return the table in long form: section, row, group, column, text, value, low, high, mark, note."""
    cells = [
        {
            "section": section, "row": shown(row[0]), "group": column.group, "column": column.title,
            "text": written(cell), "value": cell.value, "low": cell.low, "high": cell.high, "mark": str(cell.mark),
            "note": "; ".join(filter(None, (column.note, cell.note))),
        }
        for section, rows in table.sections()
        for row in rows
        for column, cell in zip(table.columns[1:], row[1:], strict=True)
    ]  # fmt: skip
    names = ["section", "row", "group", "column", "text", "value", "low", "high", "mark", "note"]
    return pd.DataFrame(cells, columns=names).astype(dict.fromkeys(("value", "low", "high"), float))


@dataclass(frozen=True)
class Footnotes:
    """The notes of a table, each under its letter."""

    letters: dict[str, str]

    def mark(self, note: str) -> str:
        """Return the letter of a note; "" for none."""
        return self.letters.get(note, "")

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield (letter, note), in order."""
        return ((letter, note) for note, letter in self.letters.items())


def footnotes(table: Table, *, of_columns: bool = True) -> Footnotes:
    """Return letters for the different notes of cells, and of columns where asked for, in reading order."""
    heads = [column.note for column in table.columns] if of_columns else []
    found = [*heads, *(cell.note for row in table.rows for cell in row)]
    return Footnotes({note: _letter(place) for place, note in enumerate(dict.fromkeys(filter(None, found)))})


def _letter(place: int) -> str:
    """Return the letter of a place: a to z, then aa.

    >>> _letter(0), _letter(25), _letter(26)
    ('a', 'z', 'aa')
    """
    return (_letter(place // 26 - 1) if place >= 26 else "") + chr(ord("a") + place % 26)


def markdown(table: Table) -> str:
    """Return a Markdown table with its notes; pipes, line breaks and HTML in cells do no harm.

    The title is left to the caller. The best of a column is bold, the second best underlined.
    """
    notes = footnotes(table)
    head = [_markdown_head(column) + _sup(notes.mark(column.note)) for column in table.columns]
    rules = ["---:" if column.numeric else "---" for column in table.columns]
    rows = [head, rules]
    for section, cells in table.sections():
        rows += [[escape_markdown(section), *[""] * (len(head) - 1)]] if section else []
        rows += [[_markdown_cell(cell, notes) for cell in row] for row in cells]
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
    text = escape_markdown(shown(cell))
    marked = {Mark.BEST: f"**{text}**", Mark.SECOND: f"<u>{text}</u>"}.get(cell.mark, text)
    return " ".join(filter(None, (marked, escape_markdown(interval(cell))))) + _sup(notes.mark(cell.note))


def escape_markdown(text: str) -> str:
    """Return text in which Markdown finds no markup, no HTML and no second cell.

    >>> escape_markdown("<b>|a_b")
    '&lt;b&gt;\\\\|a\\\\_b'
    """
    text = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*_\[\]~$#])", r"\\\1", text)


def latex(table: Table) -> str:
    """Return a booktabs table that is no wider than its line; intervals are in small type below their values.

    The best of a column is bold, the second best underlined. It needs the packages booktabs and graphicx, and
    compiles with pdfTeX whatever the names hold: characters that its fonts lack are shown by their number.
    """
    notes = footnotes(table)
    layout = "".join("r" if column.numeric else "l" for column in table.columns)
    body = "\n".join(_latex_body(table, notes))
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
    """Return the line of group headings with its rules; empty where there is no group."""
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


def _latex_body(table: Table, notes: Footnotes) -> Iterator[str]:
    """Yield the lines of all rows; a heading spans the table."""
    for section, rows in table.sections():
        if section:
            yield r"\midrule"
            yield rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\emph{{{escape_latex(section)}}}}} \\"
        for row in rows:
            yield from _latex_row(row, notes)


def _latex_row(row: Sequence[Cell], notes: Footnotes) -> Iterator[str]:
    """Yield one line, and a second one for the intervals where there are any."""
    yield " & ".join(_latex_cell(cell, notes) for cell in row) + r" \\"
    intervals = [interval(cell) for cell in row]
    if any(intervals):
        yield " & ".join(rf"{{\scriptsize {escape_latex(text)}}}" if text else "" for text in intervals) + r" \\"


def _latex_cell(cell: Cell, notes: Footnotes) -> str:
    text = escape_latex(short(shown(cell), NAME))
    marked = {Mark.BEST: rf"\textbf{{{text}}}", Mark.SECOND: rf"\underline{{{text}}}"}.get(cell.mark, text)
    return marked + _latex_sup(notes.mark(cell.note))


def escape_latex(text: str) -> str:
    r"""Return text in which LaTeX finds no command, and no character that pdfTeX's standard fonts lack.

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
