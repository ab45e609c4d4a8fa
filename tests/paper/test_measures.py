"""What the experiments measure, on faces that are worked out by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench.conditions.vectors import path
from bench.metrics.protocol import Number
from bench.mini.world import EXPRESSION, sample_identities, sample_scenes
from bench.paper.components import by_components, table_of, to_full
from bench.paper.control import asked_of
from bench.paper.interpolation import Seen, lines_of, measured, unevenness
from bench.paper.interpolation import table_of as interpolation_table
from bench.paper.neighbours import Queries, copy_scores, distributions, shares, to_input
from bench.report.along import difference
from bench.report.compare import Comparison
from tests.metrics.world import by_hand

A, B, C = np.eye(3)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
PEOPLE = [("a", "A", "ok", A), ("b", "B", "ok", B), ("c", "C", "ok", C)]


def walked(vectors, **fields):
    """A path from a to b whose images have these vectors (None: no face), and its table of samples."""
    samples = [("a", k, "no_face" if v is None else "ok", v) for k, v in enumerate(vectors)]
    table = pd.DataFrame(
        {"item": "a", "index": range(len(vectors)), "share": SHARES, "other_item": "b", "seed_index": 0}
    )
    return by_hand(samples, PEOPLE, **fields), table


def test_images_that_follow_the_vectors_cross_in_the_middle():
    evaluation, table = walked(path(A, B, SHARES, "lerp"))
    lines = lines_of(evaluation, table, "net", "lerp")
    row = measured(evaluation, lines, "net").iloc[0]
    assert row["crossing"] == pytest.approx(0.5)
    assert row["monotonicity"] == pytest.approx(1)
    assert row["from_vectors"] == pytest.approx(0, abs=1e-7)
    assert (row["once"], row["third"], row["n_failed"]) == (1, 0, 0)


def test_images_that_jump_off_the_path_show_it():
    evaluation, table = walked([A, A, C, None, B])
    row = measured(evaluation, lines_of(evaluation, table, "net", "lerp"), "net").iloc[0]
    assert (row["third"], row["n_failed"]) == (1, 1)
    assert row["from_vectors"] > 0.1


def test_rows_in_another_order_make_the_same_path():
    evaluation, table = walked(path(A, B, SHARES, "slerp"))
    expected = lines_of(evaluation, table, "net", "slerp")[0]
    turned = lines_of(evaluation, table.iloc[::-1], "net", "slerp")[0]
    np.testing.assert_array_equal(turned.similarity, expected.similarity)


def test_a_path_to_somebody_without_a_face_is_left_out():
    evaluation, table = walked([A] * 5)
    evaluation.features["net"].references[1] = np.nan
    assert lines_of(evaluation, table, "net", "lerp") == []


def test_steps_between_neighbours():
    pairs = pd.DataFrame({"item": "a", "i": [0, 1, 2, 3, 0], "j": [1, 2, 3, 4, 4], "value": [1.0, 1.0, 1.0, 5.0, 9.0]})
    evaluation, table = walked(path(A, B, SHARES, "lerp"), pairs={"lpips": pairs})
    lines = lines_of(evaluation, table, "net", "lerp")
    assert unevenness(evaluation, lines, "lpips") == pytest.approx([2.5])


def test_a_row_per_run_and_recogniser():
    evaluation, table = walked(path(A, B, SHARES, "lerp"))
    lines = lines_of(evaluation, table, "net", "lerp")
    frame = measured(evaluation, lines, "net").assign(unevenness=np.nan)
    found = interpolation_table([Seen("lerp", "net", lines, frame, "none")], 0)
    values = [cell.text if cell.text is not None else cell.value for cell in found.rows[0]]
    assert values == ["lerp", "net", 1, 0, pytest.approx(0.5), 1, pytest.approx(1), pytest.approx(0, abs=1e-7), None, 0]


def test_similarity_and_distance_over_components():
    samples = [("a", 0, "ok", C), ("a", 1, "ok", A), ("b", 0, "no_face", None), ("b", 1, "ok", B)]
    pairs = pd.DataFrame({"item": ["a"], "i": [0], "j": [1], "value": [0.4]})
    evaluation = by_hand(samples, PEOPLE, pairs={"lpips": pairs})
    table = pd.DataFrame({"item": list("aabb"), "subject": list("AABB"), "index": [0, 1] * 2, "kept": [2, 3] * 2})
    table["seed_index"] = 0
    assert by_components(evaluation, table["kept"], "net")["similarity"].tolist() == pytest.approx(
        [0, 1, np.nan, 1], nan_ok=True
    )
    assert to_full(evaluation, table, "lpips").values.tolist() == [[2, "A", 0.4]]
    found = table_of(evaluation, table, {2: 0.7, 3: 1.0}, 0)
    assert [cell.value for cell in found.rows[0]] == [2, 0.7, 0, 0.4, 2, 1]
    assert [cell.value for cell in found.rows[1]] == [3, 1, 1, None, 2, 0]


@pytest.mark.parametrize(("a", "b", "sign"), [("mean of 3", "mean of 1", 1), ("mean of 1", "mean of 3", -1)])
def test_a_difference_is_that_of_the_run_to_one_photo(a, b, sign):
    number = Number("target_similarity", "net", "mean_detected")
    row = {**number._asdict(), "a": a, "b": b, "difference": 0.2 * sign, "low": -0.1, "high": 0.5}
    row = row if sign > 0 else {**row, "low": -0.5, "high": 0.1}
    comparison = Comparison({}, [], pd.DataFrame(), pd.DataFrame([row]), [], None)
    found = difference(comparison, number, "mean of 3", "mean of 1")
    assert [found[end] for end in ("difference", "low", "high")] == [0.2, -0.1, 0.5]
    assert difference(comparison, number, "mean of 2", "mean of 1") is None


def test_the_distribution_of_a_copy_has_its_tail():
    samples = [("a", 0, "ok", A + B), ("a", 1, "ok", A), ("b", 0, "no_face", None)]
    own = to_input(by_hand(samples, PEOPLE), "net")
    assert own.tolist() == pytest.approx([0.5**0.5, 1, np.nan], nan_ok=True)
    found = {"samples": np.array([0.3, 0.99, np.nan])}
    rows = distributions(found, own, {}).rows
    assert [row[0].text for row in rows] == ["samples to the bank", "samples to their input"]
    assert [rows[0][place].value for place in (1, 6, 7, 8)] == [pytest.approx(0.645), 0.99, 2, 1]
    queries = [Queries("samples", np.empty((3, 3), np.float32), np.array(["A", "A", "B"], object))]
    table = shares(found, queries, {0.1: 0.5, 0.001: None}, 10)
    assert [cell.value for cell in table.rows[0][1:4]] == [0.1, 0.5, 0.5]
    assert table.rows[0][4].value == pytest.approx(1 - 0.9**10)
    assert [cell.value for cell in table.rows[1][1:4]] == [0.001, None, None]


def test_the_copy_score_is_shown_where_a_network_of_copies_ran():
    samples = [("a", 0, "ok", A + B), ("b", 0, "no_face", B), ("c", 0, "undecodable", None)]
    copies = copy_scores(by_hand(samples, PEOPLE, role="sscd"))
    table = distributions({}, np.full(3, np.nan), copies)
    assert table.rows[1][0].text == "samples to their input, copy score of sscd"
    assert [table.rows[1][place].value for place in (6, 7, 8)] == [1, 2, 1]
    assert "0.75" in table.notes[-1]
    assert copy_scores(by_hand(samples, PEOPLE)) == {}


def test_what_a_rendered_face_was_asked_for():
    scene = sample_scenes(sample_identities(0, 1, "eval"), 0)
    expression, pose = np.zeros_like(scene.expression), np.zeros_like(scene.pose)
    expression[0, [EXPRESSION.index("jaw_open"), EXPRESSION.index("eye_close_left")]] = 0.5, 0.25
    expression[0, 1] = 2
    pose[0, 0] = 0.3
    found = asked_of(replace(scene, expression=expression, pose=pose), 0)
    assert found["asked_expression"] == [0, 2, *[0] * 48]
    assert found["asked_jaw"] == [pytest.approx(0.2), 0, 0]
    assert found["asked_eyelids"] == [0, 0.25]
    assert found["asked_head"] == pytest.approx([0, 0.3, 0])
