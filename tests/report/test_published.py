"""The published numbers: complete, from the paper, and apart."""

import re

import pytest

from bench import registry
from bench.report.published import DATASETS, METRICS, published, published_table
from bench.report.tables import shown
from tests.shared import SHARED, needs

PAPER = SHARED / "paper.txt"


@pytest.mark.parametrize(("name", "rows"), [("arc2face_table1", 7 * 8 + 3), ("arc2face_table2", 8 * 6)])
def test_every_number_has_its_source(name, rows):
    frame = published(name)
    assert len(frame) == rows
    assert frame["source"].str.len().min() > 10
    assert not frame.duplicated(["method", "setting", "dataset", "metric"]).any()
    assert (frame["value"] > 0).all()


@needs(PAPER)
def test_table_1_is_the_papers_to_the_digit():
    lines = [line for line in PAPER.read_text().splitlines() if line.startswith("| ")]
    cells = [[c.strip() for c in line.strip("| \n").split("|")] for line in lines]
    printed = {c[0].replace(" (Ours)", "").lower(): c[1:] for c in cells if len(c) == 9 and re.match(r"\d\.", c[1])}
    frame = published()
    first = frame[frame["source"].str.endswith("Table 1")]
    assert set(first["method"].str.lower()) == set(printed)
    for method, row in first.groupby("method"):
        order = [(m, d) for m in ("LPIPS", "Exp.", "Pose", "FID") for d in ("Synth-500", "AgeDB")]
        texts = row.set_index(["metric", "dataset"])["text"]
        assert [texts[key] for key in order] == printed[method.lower()]


@needs(SHARED / "facts" / "peers.md")
def test_table_2_is_what_the_notes_say():
    lines = [line for line in (SHARED / "facts" / "peers.md").read_text().splitlines() if line.startswith("| ")]
    cells = [[c.strip(" *") for c in line.strip("| \n").split("|")] for line in lines]
    rows = {
        (c[0].replace(" real", ""), c[1].replace("x", "×")): c[2:8]
        for c in cells
        if len(c) == 9 and "K×" in c[1].replace("x", "×")
    }
    frame = published("arc2face_table2")
    found = {key: own["text"].tolist() for key, own in frame.groupby(["method", "setting"])}
    assert found == rows
    for _, own in frame.groupby(["method", "setting"]):
        *five, average = own["value"]
        assert sum(five) / 5 == pytest.approx(average, abs=0.0101)  # the papers round and cut


def test_secondary_sources_are_marked():
    assert published("arc2face_table2")["secondary"].all()
    first = published()
    assert first.loc[first["secondary"], "text"].tolist() == ["0.796"]
    assert "0.796*" in {shown(cell) for row in published_table().rows for cell in row}


def test_published_names_map_to_what_is_registered():
    assert {number.metric for number in METRICS.values()} <= set(registry.entries("metrics"))
    assert set(DATASETS.values()) <= set(registry.entries("datasets"))


def test_no_published_cell_can_be_ranked():
    for name in ("arc2face_table1", "arc2face_table2"):
        cells = [cell for row in published_table(name).rows for cell in row]
        assert all(cell.value is None and cell.mark not in ("best", "second") for cell in cells)
