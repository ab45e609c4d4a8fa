"""Tables of scores as Markdown and LaTeX; every text that comes from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
}  # fmt: skip


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


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; pipes, line breaks and HTML in cells do no harm."""
    lines = [_markdown_row(header), "|" + "---|" * len(header), *(_markdown_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_markdown_cell(cell) for cell in cells) + " |"


def _markdown_cell(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", " ".join(text.split()))


def latex(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A booktabs table; the first column is text, the others are numbers."""
    columns = "l" + "r" * (len(header) - 1)
    body = "\n".join(" & ".join(escape_latex(cell) for cell in row) + r" \\" for row in rows)
    return (
        "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n"
        f"\\caption{{{escape_latex(caption)}}}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        + " & ".join(escape_latex(cell) for cell in header)
        + f" \\\\\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def escape_latex(text: str) -> str:
    """Text in which LaTeX finds no command.

    >>> escape_latex("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    return "".join(SPECIAL.get(c, c) for c in " ".join(text.split()))
