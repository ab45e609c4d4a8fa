"""What samples were asked for, from the columns of a table and from the condition itself."""

import numpy as np
import pandas as pd
import pytest

from bench.conditions.asked import ASKED, with_asked
from bench.conditions.planned import Known, planned
from bench.errors import UserError

ITEMS = pd.DataFrame({"item": ["a"], "subject": ["A"]})
SAMPLES = pd.DataFrame({"item": "a", "index": [0, 1]})


def found(folder, **columns):
    """What the two samples of a table with these columns were asked for."""
    plan = planned(pd.DataFrame({"item": "a", **columns}, index=[0, 1]), Known(ITEMS, set(), ["neutral"]))
    plan.write(folder)
    return with_asked(SAMPLES, plan.table, folder)


def test_columns_may_be_lists_or_their_text(tmp_path):
    numbers = list(np.arange(50.0))
    samples = found(tmp_path, asked_expression=[numbers, numbers], asked_head=["[0.1, 0.2, 0.3]", None])
    first, second = samples[ASKED]
    np.testing.assert_array_equal(first[:50], numbers)
    np.testing.assert_array_equal(second[:50], numbers)
    np.testing.assert_array_equal(first[50:53], [0.1, 0.2, 0.3])
    assert np.isnan(first[53:]).all()
    assert np.isnan(second[50:]).all()


def test_an_expression_that_is_followed_was_asked_for(tmp_path):
    vector = np.arange(55, dtype=np.float32)
    samples = found(tmp_path, expression=[vector, None], asked_jaw=[None, [1, 2, 3]])
    first, second = samples[ASKED]
    np.testing.assert_array_equal(first, [*range(50), *[np.nan] * 3, 52, 53, 54, 50, 51])
    np.testing.assert_array_equal(second[53:56], [1, 2, 3])


def test_a_run_of_which_nothing_was_asked_has_no_such_column(tmp_path):
    assert list(found(tmp_path, share=[0.0, 1.0])) == ["item", "index"]


@pytest.mark.parametrize("cell", ["[1, 2]", "nod", [1.0, float("nan"), 2.0]])
def test_a_cell_of_another_kind_is_named(tmp_path, cell):
    with pytest.raises(UserError, match="the asked_head of sample 0 of item 'a'"):
        found(tmp_path, asked_head=[cell, None])


def test_other_numbers_that_change_no_sample_take_the_place_of_the_first(tmp_path):
    once = planned(pd.DataFrame({"item": ["a"], "asked_head": ["[0, 0, 0]"]}), Known(ITEMS, set(), ["neutral"]))
    again = planned(pd.DataFrame({"item": ["a"], "asked_head": ["[0, 0, 1]"]}), Known(ITEMS, set(), ["neutral"]))
    assert once.content == again.content
    for plan in (once, again):
        plan.write(tmp_path)
    assert pd.read_parquet(tmp_path / "conditions.parquet")["asked_head"].tolist() == ["[0, 0, 1]"]
