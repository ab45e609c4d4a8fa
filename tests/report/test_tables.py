"""Markdown, LaTeX and data frames of a table, whatever the names hold."""

import re

import pytest

from bench.report.model import Cell, Column, Mark, Table
from bench.report.published import published_table
from bench.report.tables import escape_latex, escape_markdown, frame, latex, markdown, short, turned

NAMES = [
    'a<script>alert("x")</script>|b', "two\nlines\r\nand a\ttab", "[bracket] *star*", "*star", "אבג דה",
    "\u202eright to left", "x" * 200, r"%~^#_$x_{1}$\input{/etc/passwd}", "中文 😀", "Łódź é ñ ı",
    "`code` & co", "--", "",
]  # fmt: skip
HARMLESS = re.compile(
    r"\\(text\w+|emph|underline|multicolumn|cmidrule|scriptsize|footnotesize|[\\&%$#_{}]|[`'^~=u.\"rHvc]\{|,|begin|end|centering"
    r"|caption|resizebox|ifdim|width|linewidth|else|fi|toprule|midrule|bottomrule|par|smallskip|raggedright|usepackage"
    r"|uparrow|downarrow|times|pm|geq|leq|cdot|circ|ldots|S|ss)"
)


@pytest.fixture(params=NAMES, ids=range(len(NAMES)))
def table(request):
    name = request.param
    columns = [Column("method", numeric=False), Column("a", name, name, "higher"), Column(name, name), Column("FID")]
    value = Cell(value=0.6, low=0.58, high=0.64, mark=Mark.BEST, note=name)
    row = [Cell(name), value, Cell(), Cell("1.0", 1.0, Mark.SECOND)]
    return Table(name, columns, [row, row], [name], {1: name or "h"})


def test_markdown_keeps_its_shape(table):
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(table.rows) + len(table.headings)
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line.replace(r"\\", ""))) == len(table.columns) + 1
    assert set(re.findall(r"<.*?>", markdown(table))) <= {"<sup>", "</sup>", "<u>", "</u>"}


def test_latex_is_balanced_and_has_no_foreign_command(table):
    text = latex(table)
    body = text.replace(r"\{", "").replace(r"\}", "")
    depth = 0
    for c in body:
        depth += {"{": 1, "}": -1}.get(c, 0)
        assert depth >= 0
    assert depth == 0
    assert text.isascii()
    assert not re.sub(HARMLESS, "", text).count("\\")
    assert text.replace(r"\$", "").count("$") % 2 == 0


def test_latex_rows_have_as_many_cells_as_columns(table):
    inside = latex(table).split(r"\begin{tabular}{lrrr}")[1].split(r"\end{tabular}")[0]
    rows = [line for line in inside.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2 + 2 * 2 + 1 - (not table.columns[1].group)
    for row in rows:
        spans = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row))
        assert len(re.findall(r"(?<!\\)&", row)) + 1 + spans == 4
        assert not row.startswith(("[", "*"))


def test_groups_have_rules():
    text = latex(published_table())
    assert r"\multicolumn{2}{c}{LPIPS}" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert text.count(r"\cmidrule") == 6


def test_marks_and_intervals():
    table = Table(
        "",
        [Column("m"), Column("x")],
        [
            [Cell("a"), Cell(value=1.0, mark=Mark.BEST, low=0.9, high=1.1, digits=1)],
            [Cell("b"), Cell(value=2, mark=Mark.SECOND, digits=0)],
        ],
    )
    assert r"| **1.0** \[0.9, 1.1\] |" in markdown(table)
    assert "<u>2</u>" in markdown(table)
    assert "a & \\textbf{1.0} \\\\\n & {\\scriptsize {[}0.9, 1.1]} \\\\\nb & \\underline{2} \\\\" in latex(table)


def test_a_repeated_note_has_one_letter():
    table = Table("", [Column("m")], [[Cell("a", note="why")], [Cell("b", note="how")], [Cell("c", note="why")]])
    text = markdown(table)
    assert text.count("<sup>a</sup>") == 3
    assert text.count("why") == 1


def test_the_long_form_keeps_everything(table):
    long = frame(table)
    assert len(long) == len(table.rows) * (len(table.columns) - 1)
    assert long["section"].tolist() == [""] * 3 + [table.headings[1]] * 3
    assert long.loc[0, ["value", "low", "high"]].tolist() == [0.6, 0.58, 0.64]
    assert long.loc[0, "text"] == "0.600 [0.580, 0.640]"
    assert long.loc[0, "mark"] == "best"


def test_turned_twice_has_the_same_cells():
    table = published_table()
    once = turned(table)
    assert [row[1].text for row in once.rows] == [cell.text for cell in table.rows[0][1:]]
    assert len(once.columns) == len(table.rows) + 1


def test_escapes():
    assert escape_latex("\u202eabc") == "U+FFFDabc"
    assert escape_latex(r"\input{x}") == r"\textbackslash{}input\{x\}"
    assert escape_markdown("a\n|b") == r"a \|b"
    assert short("x" * 300, 20) == "x" * 10 + "…" + "x" * 9
