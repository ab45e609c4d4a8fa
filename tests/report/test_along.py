"""Runs of one method along an option: their order, the signs of differences, and what cannot be put in a row."""

import pytest

from bench.errors import UserError
from bench.report.along import along
from bench.report.compare import compare
from bench.store import read_json, write_json
from tests.report.world import write_run


def written(folder, label, keep, method="arc2face", **options):
    write_run(folder, method, keep=keep, seed=1, items=8, pictures=False, metrics=["id_similarity"])
    record = read_json(folder / "run.json")
    spec = {**record["spec"], "method": {"options": options, "card": {"training_sets": [label]}}}
    write_json(folder / "run.json", {**record, "label": label, "spec": spec})
    return folder


def test_values_are_in_order_and_differences_go_upwards(tmp_path):
    runs = [written(tmp_path / name, name, keep, people=n) for name, keep, n in (("b", 0.9, 1000), ("a", 0.5, 90))]
    table = along(compare(runs), "people")
    rows = table.rows[:2]
    assert [row[0].text for row in rows] == ["90", "1000"]
    assert rows[0][3].text == ""
    assert rows[1][3].value == pytest.approx(rows[1][2].value - rows[0][2].value)
    assert rows[1][3].value > 0
    assert "also differ" not in " ".join(table.notes)


def test_other_options_that_differ_are_told(tmp_path):
    runs = [written(tmp_path / str(n), str(n), 0.8, people=n, steps=n) for n in (1, 2)]
    assert "The runs also differ in steps" in along(compare(runs), "people").notes[-1]


def test_what_cannot_be_put_in_a_row(tmp_path):
    runs = [written(tmp_path / name, name, 0.8, people=5) for name in "ab"]
    with pytest.raises(UserError, match="two runs have the same value"):
        along(compare(runs), "people")
    with pytest.raises(UserError, match=r"has no option speed; it has: people, card\.training_sets"):
        along(compare(runs), "speed")
    with pytest.raises(UserError, match="takes runs of one method; given: arc2face, vec2face"):
        along(compare([runs[0], written(tmp_path / "c", "c", 0.8, method="vec2face", people=6)]), "people")
