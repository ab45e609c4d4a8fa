"""The paper's Table 1 with our numbers, and what may be called best in it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench.metrics.protocol import Number
from bench.report.compare import compare
from bench.report.frames import of_number
from bench.report.paper import paper_table
from bench.report.ranking import ranking
from bench.report.tables import shown, written
from bench.statistics import jackknife_difference, paired_difference

ID = Number("id_similarity", "adaface", "mean_detected")


def column(table, title, group=""):
    [place] = [k for k, c in enumerate(table.columns) if (c.title, c.group) == (title, group)]
    return {row[0].text: row[place] for row in table.rows}


def test_it_has_the_papers_columns(four):
    heads = [(c.group, c.title) for c in paper_table(four).columns]
    assert heads == [
        ("", "method"), ("", "LPIPS"), ("", "Exp."), ("", "Pose"), ("", "FID"), ("ID similarity", "arcface"),
        ("ID similarity", "adaface"), ("samples", "n"), ("samples", "failed"),
    ]  # fmt: skip


def test_every_number_is_the_scores_table_s(four):
    table = paper_table(four)
    for title, number in {
        "LPIPS": Number("lpips_diversity", "lpips", "mean_items"),
        "FID": Number("fid", "inception", "distance"),
    }.items():
        for name, run in four.runs.items():
            [value] = of_number(run.scores, number)["value"]
            cell = column(table, title)[name]
            assert cell.value == value
            assert written(cell).startswith(f"{value:.3f} [")


def test_sections_come_in_order_generators_controls_published(four):
    sections = [(heading, [row[0].text for row in rows]) for heading, rows in paper_table(four).sections()]
    assert sections[:2] == [("", ["arc2face", "instantid", "photomaker"]), ("Controls (not ranked)", ["copy"])]
    [(heading, names)] = sections[2:]
    assert heading == "Published (not ranked with ours)"
    assert names[-1] == "Arc2Face"


def test_published_numbers_are_the_datasets_own_and_never_ranked(four):
    table = paper_table(four)
    assert column(table, "LPIPS")["Arc2Face"].text == "0.508"  # AgeDB
    assert shown(column(table, "arcface", "ID similarity")["Arc2Face"]) == "0.796*"
    published = table.rows[4:]
    assert all(cell.value is None and cell.mark not in ("best", "second") for row in published for cell in row)
    assert any(line.startswith("*") for line in table.notes)


def test_without_a_published_dataset_there_is_no_published_row(four):
    name, run = next(iter(four.runs.items()))
    spec = run.record["spec"] | {"dataset": {"name": "mini", "options": {}}}
    first = replace(run, record=run.record | {"spec": spec})
    table = paper_table(replace(four, runs={name: first} | {k: r for k, r in four.runs.items() if k != name}))
    assert "Arc2Face" not in column(table, "LPIPS")


def test_clear_differences_are_marked_and_controls_are_not(four):
    marks = {name: cell.mark for name, cell in column(paper_table(four), "adaface", "ID similarity").items()}
    assert (marks["arc2face"], marks["instantid"], marks["photomaker"], marks["copy"]) == ("best", "second", "", "")


def test_marks_follow_from_the_definition(four):
    """Every mark of every column, worked out anew from the items' table."""
    generators = [name for name, run in four.runs.items() if not run.is_control]
    values = {name: of_number(four.runs[name].scores, ID)["value"].item() for name in generators}
    frames = {name: of_number(four.runs[name].items, ID).set_index("item") for name in generators}
    pairs = [(a, b) for i, a in enumerate(generators) for b in generators[i + 1 :]]
    p = sorted(
        (
            paired_difference(frames[a]["value"], frames[b]["value"], frames[a]["subject"].to_numpy(), seed=0).p_value,
            a,
            b,
        )
        for a, b in pairs
    )
    adjusted = np.maximum.accumulate([min(1, q * (len(p) - k)) for k, (q, _, _) in enumerate(p)])
    differ = {frozenset((a, b)) for (_, a, b), q in zip(p, adjusted, strict=True) if q <= 0.05}
    order = sorted(generators, key=lambda name: -values[name])
    assert all(frozenset((order[0], other)) in differ for other in order[1:])
    assert ranking(four, ID).marks == {order[0]: "best", order[1]: "second"}


def test_a_method_beside_its_twin_is_not_best(folders, tmp_path):
    import shutil

    twin = shutil.copytree(folders[0], tmp_path / "twin")
    table = paper_table(compare([*folders[:3], twin]))
    assert {cell.mark for cell in column(table, "adaface", "ID similarity").values()} == {""}


def test_of_two_methods_there_is_no_second(folders):
    marks = ranking(compare(folders[1:3]), ID).marks
    assert marks == {"instantid": "best"}


def test_holm_counts_pairs_of_generators_and_pairs_with_a_control_apart(four):
    rows = of_number(four.differences, ID)
    family = (rows["a"] == "copy") | (rows["b"] == "copy")
    for _, part in rows.groupby(family):
        lowest = part["p_value"].min()
        assert part["p_holm"].min() == pytest.approx(min(1, lowest * len(part)))
    assert len(rows) == 6


def test_no_distance_ranks_a_method_without_faces(folders, half):
    comparison = compare([*folders[:3], half])
    found = ranking(comparison, Number("fid", "inception", "distance"))
    assert "half" not in found.marks
    assert "no ranking" in found.notes["half"]
    cell = column(paper_table(comparison), "FID")["half"]
    assert cell.note.count("no ranking") == 1
    assert not ranking(comparison, ID).notes


def test_numbers_without_a_direction_or_a_test_are_not_marked(four):
    assert ranking(four, Number("within_similarity", "arcface", "mean_items")).marks == {}
    assert ranking(four, Number("cmmd", "clip", "distance")).marks == {}


def test_kid_is_tested_by_its_jackknife(four):
    number = Number("kid", "inception", "excluded")
    rows = of_number(four.differences, number)
    assert set(rows["n"]) == {20}
    for row in rows.itertuples():
        pair = [
            of_number(four.runs[name].items, number._replace(statistic="replicate"))["value"] for name in (row.a, row.b)
        ]
        scores = [of_number(four.runs[name].scores, number)["value"].item() for name in (row.a, row.b)]
        assert row.p_value == jackknife_difference(scores[0], pair[0], scores[1], pair[1]).p_value


def test_headline_and_circular_recognisers_are_told(four):
    notes = {(c.group, c.title): c.note for c in paper_table(four).columns}
    assert notes["ID similarity", "arcface"] == "circular for arc2face"
    assert notes["ID similarity", "adaface"].startswith("headline")


def test_two_datasets_stand_side_by_side(four):
    table = paper_table(four, four)
    groups = [c.group for c in table.columns]
    assert groups.count("LPIPS") == groups.count("FID") == 2
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert pd.Series([row[0].text for row in table.rows]).is_unique
