"""Fig. 7: which regressor reads the samples, and whether it also made the conditions."""

from types import SimpleNamespace

import pandas as pd
import pytest

from bench.errors import UserError
from bench.metrics.shared.control_scores import named
from bench.paper.control import ALONE, LEVELS, check_reader, table_of


def run_read_by(*extractors):
    rows = [
        {"variant": name, "statistic": named("jaw_l2", level), "value": 0.1, "low": 0.0, "high": 0.2}
        for name in extractors
        for level in LEVELS
    ]
    frame = pd.DataFrame(rows).assign(metric="expression_control", group="", n=5, n_failed=1)
    return {"controlled": SimpleNamespace(scores=frame)}


def test_the_regressor_that_made_the_condition_is_marked_next_to_another_one():
    table = table_of(run_read_by("emoca", "smirk"), "smirk")
    assert [row[1].text for row in table.rows] == ["emoca", "smirk (made the condition)"]
    assert ALONE not in table.notes
    assert ALONE in table_of(run_read_by("smirk"), "smirk").notes
    assert ALONE not in table_of(run_read_by("smirk"), "").notes


def test_a_regressor_that_the_evaluator_lacks_is_refused():
    spec = SimpleNamespace(evaluator=SimpleNamespace(name="mini", extractors={"flame": None}))
    check_reader(spec, "flame")
    check_reader(spec, "")
    with pytest.raises(UserError, match=r"fig7\.made_by=emoca: evaluator mini has the extractors flame"):
        check_reader(spec, "emoca")
