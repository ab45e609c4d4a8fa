"""The table of samples: what a source may leave out, what is refused, and what comes back from the disk."""

import numpy as np
import pandas as pd
import pytest

from bench.conditions.cells import ConditionFiles
from bench.conditions.kinds import NOTHING, Condition, ConditionKind
from bench.conditions.planned import FIXED, Known, content_of, planned, read_planned
from bench.errors import UserError
from bench.images import write_png

ITEMS = pd.DataFrame({"item": ["b", "a"], "subject": ["B", "A"]})
KNOWN = Known(ITEMS, {"b.png", "a.png", "a2.png"}, ["neutral"])
TWO_PROMPTS = Known(ITEMS, KNOWN.photos, ["neutral", "smile"])


def table(**columns):
    return planned(pd.DataFrame(columns), KNOWN).table


def test_what_is_left_out_is_the_default():
    found = table(item=["a", "b", "a"])
    assert tuple(found) == FIXED
    assert found.to_dict("list") == {
        "row": [0, 1, 2],
        "item": ["b", "a", "a"],
        "subject": ["B", "A", "A"],
        "index": [0, 0, 1],
        "prompt_id": ["neutral"] * 3,
        "seed_key": ["b", "a", "a"],
        "seed_index": [0, 0, 1],
    }


def test_rows_come_in_the_order_of_the_list_and_of_their_numbers():
    found = table(item=["a", "a", "b"], index=[1, 0, 0], share=[0.1, 0.2, 0.3])
    assert found["share"].tolist() == [0.3, 0.2, 0.1]
    assert found["index"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"itm": ["a"]}, "no column item"),
        ({"item": ["a", "x"]}, "item 'x', which this run does not have"),
        ({"item": ["a"]}, "no sample of item 'b'"),
        ({"item": ["a", "b"], "prompt_id": ["neutral", "smile"]}, "prompt_id 'smile'"),
        ({"item": ["a", "b", "a"], "index": [0, 0, 2]}, "item 'a' must be numbered 0 to n - 1"),
        ({"item": ["a", "b", "a"], "index": [0, 0, 0]}, "item 'a' must be numbered 0 to n - 1"),
        ({"item": ["a", "b"], "index": [0, 0.5]}, "index must hold whole numbers"),
        ({"item": ["a", "b"], "seed_index": [0, -1]}, "seed_index must hold whole numbers"),
        ({"item": ["a", "b"], "seed_key": ["k", None]}, "no text as its seed_key"),
        ({"item": ["a", "b"], "embeding": [[1.0], [2.0]]}, "did you mean embedding"),
        ({"item": ["a", "b"], "prompt": ["x", "y"]}, "did you mean prompt_id"),
        (
            {"item": ["a", "b"], "embedding": [[1.0], [1.0, 2.0]]},
            "item 'a' has 1 numbers, another one of the run has 2",
        ),
        ({"item": ["a", "b"], "embedding": [[1.0], [np.nan]]}, "item 'b' is not a vector of finite numbers"),
        ({"item": ["a", "b"], "embedding": ["x", None]}, "item 'a' is not a vector of numbers"),
        ({"item": ["a", "b"], "components": [1, 0]}, "item 'b' must be a whole number from 1"),
        ({"item": ["a", "b"], "references": [("a.png", "t.png"), None]}, "name the photo 't.png'"),
        ({"item": ["a", "b"], "references": ["a.png", None]}, "must be a list of photos"),
        ({"item": ["a", "b"], "control": ["/no/such.png", None]}, "control of sample 0 of item 'a'"),
    ],
)
def test_what_is_refused_is_named(columns, message):
    with pytest.raises(UserError, match=message):
        table(**columns)


def test_several_prompts_must_be_told_apart():
    with pytest.raises(UserError, match="needs a column prompt_id: one of neutral, smile"):
        planned(pd.DataFrame({"item": ["a", "b"]}), TWO_PROMPTS)


@pytest.fixture
def everything(tmp_path):
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    write_png(image, tmp_path / "source" / "normals.png", {})
    rows = pd.DataFrame(
        {
            "item": ["a", "a", "b"],
            "embedding": [np.float32([1, 2]), np.float32([1, 2]), None],
            "references": [("a.png", "a2.png"), None, None],
            "control": [None, tmp_path / "source" / "normals.png", None],
            "expression": [[0.5, 0.25, 0], None, [1, 2, 3]],
            "components": [None, 7, None],
            "share": [0.0, 0.5, 1.0],
        }
    )
    return rows, image


def test_conditions_come_back_as_they_were(everything, tmp_path):
    rows, image = everything
    found = planned(rows, KNOWN)
    found.write(tmp_path / "run")
    again = read_planned(tmp_path / "run")
    assert content_of(again) == found.content
    b, first, second = [ConditionFiles(tmp_path / "run").condition(row) for row in again.to_dict("records")]
    np.testing.assert_array_equal(first.embedding, np.float32([1, 2]))
    np.testing.assert_array_equal(second.embedding, first.embedding)
    assert (b.embedding, b.references, b.control, b.components) == (None, None, None, None)
    assert first.references == ("a.png", "a2.png")
    np.testing.assert_array_equal(second.control, image)
    assert second.control_path.parent == tmp_path / "run" / "conditions"
    np.testing.assert_array_equal(b.expression, np.float32([1, 2, 3]))
    assert first.expression.tolist() == [0.5, 0.25, 0]
    assert (first.components, second.components) == (None, 7)


def test_a_vector_is_kept_once_however_many_samples_it_has(everything):
    cells = planned(everything[0], KNOWN).table["embedding"].tolist()
    assert cells[0] is None
    assert cells[1] == cells[2]
    assert cells[1].endswith(".npy[0]")


def test_the_content_is_of_what_decides_the_samples(everything, tmp_path):
    rows, _ = everything
    content = planned(rows, KNOWN).content
    (tmp_path / "copy.png").write_bytes((tmp_path / "source" / "normals.png").read_bytes())
    assert planned(rows.assign(control=[None, tmp_path / "copy.png", None]), KNOWN).content == content
    assert planned(rows.drop(columns="share"), KNOWN).content == content
    assert planned(rows.assign(components=[None, 8, None]), KNOWN).content != content
    assert planned(rows.assign(expression=[[0.5, 0.25, 0], None, [1, 2, 4]]), KNOWN).content != content
    assert planned(rows.assign(seed_index=[0, 0, 0]), KNOWN).content != content


def test_a_damaged_file_is_named(everything, tmp_path):
    found = planned(everything[0], KNOWN)
    found.write(tmp_path)
    for path in (tmp_path / "conditions").glob("*.npy"):
        path.unlink()
    with pytest.raises(UserError, match="run the same command again"):
        ConditionFiles(tmp_path).condition(found.table.iloc[1].to_dict())


def test_a_condition_has_a_field_for_every_kind():
    assert set(ConditionKind) <= set(Condition.__dataclass_fields__)
    assert {field for field in Condition.__dataclass_fields__ if getattr(NOTHING, field) is not None} == set()
