"""Runs of one method along an option: their order, the signs of differences, and what cannot be put in a row."""

import pytest

from bench.errors import UserError
from bench.report.along import along, drawing
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


def test_weights_that_differ_are_those_with_another_content(tmp_path):
    """Where the files lie says nothing."""
    runs = [written(tmp_path / str(n), str(n), 0.8, people=n, model=f"at/{n}", base=f"at/{n}") for n in (1, 2)]
    for n, folder in enumerate(runs):
        weights = {"method.options.model": {"unet": f"{n}"}, "method.options.base": {"vae": "same"}}
        write_json(folder / "run.json", {**read_json(folder / "run.json"), "weights": weights})
    notes = along(compare(runs), "people").notes
    assert len(notes) == 2
    assert notes[1].startswith("Each run has its own weights (model):")


def test_what_cannot_be_put_in_a_row(tmp_path):
    runs = [written(tmp_path / name, name, 0.8, people=5) for name in "ab"]
    with pytest.raises(UserError, match="two runs have the same value"):
        along(compare(runs), "people")
    with pytest.raises(UserError, match=r"has no option speed; it has: people, card\.training_sets"):
        along(compare(runs), "speed")
    with pytest.raises(UserError, match="takes runs of one method; given: arc2face, vec2face"):
        along(compare([runs[0], written(tmp_path / "c", "c", 0.8, method="vec2face", people=6)]), "people")


def test_the_figure_has_a_line_per_recogniser_and_a_place_per_value(tmp_path):
    runs = [written(tmp_path / str(n), str(n), 0.5, people=n) for n in (10, 1000)]
    table = along(compare(runs), "people")
    [axes] = drawing(table).figure.axes
    assert axes.get_xscale() == "log"
    assert len(axes.containers) == len({row[1].text for row in table.rows})
    points, _, _ = axes.containers[0].lines
    assert points.get_xdata().tolist() == [10, 1000]
    assert points.get_ydata() == pytest.approx([row[2].value for row in table.rows[:2]])


def test_the_figure_names_values_that_are_no_numbers(tmp_path):
    runs = [written(tmp_path / name, name, 0.5, projection=name) for name in ("mlp", "clip")]
    [axes] = drawing(along(compare(runs), "projection")).figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["clip", "mlp"]


def test_a_value_that_nobody_gave_is_asked_for(tmp_path):
    runs = [written(tmp_path / str(n), str(n), 0.5, people=n) for n in (None, 5)]
    with pytest.raises(UserError, match=r"people of .* has no value; give it"):
        along(compare(runs), "people")
