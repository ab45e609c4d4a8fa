"""Detection agreement: shares and notes counted by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bench.metrics.detection_agreement import METRIC, compute
from bench.metrics.protocol import Evaluation
from bench.metrics.shared.example import example
from bench.testing.world import BEYOND_DOUBT


def faces(subject, **columns):
    """A table of found faces, all of them beyond doubt unless a column says otherwise."""
    item = [f"item {name}" for name in subject]
    frame = pd.DataFrame({"item": item, "subject": subject, "status": "ok"})
    return frame.assign(index=0, **{**BEYOND_DOUBT, **columns})


def evaluation(samples, references=None):
    people = faces(sorted(set(samples["subject"])))
    return Evaluation(samples, people if references is None else references, people.iloc[:0], {}, {})


def by_name(found):
    return {score.number.statistic: score for score in found.scores}


def test_shares_are_those_of_the_columns():
    people = list("abcd")
    samples = faces(
        people,
        n_faces=[1, 3, 2, 1],
        roll=[-44.0, 90.0, 179.0, -135.0],
        det_configured=[True, False, True, True],
        scales_agree=[2, 2, 1, 3],
        disagreement=[0.1, 0.11, np.nan, 0.0],
    )
    found = by_name(compute(evaluation(samples)))
    values = {name: found[name].value for name in ("rate", "other_scale", "several_faces", "tilted")}
    assert values == {"rate": 0.5, "other_scale": 0.25, "several_faces": 0.5, "tilted": 0.75}
    assert found["disagreement"].value == pytest.approx(0.07)
    assert (found["rate"].n, found["disagreement"].n) == (4, 3)
    assert "2 of 4 have scales that disagree" in found["rate"].note
    assert "2 of 4 show several faces" in found["several_faces"].note
    assert "3 of 4 have a face turned by more than 45 degrees" in found["tilted"].note


def test_references_have_numbers_of_their_own():
    references = faces(["a", "b"], n_faces=[2, 1], disagreement=[0.02, 0.3], scales_agree=[3, 1], roll=[0.0, 180.0])
    found = by_name(compute(evaluation(faces(["a", "b"]), references)))
    assert [found[f"references_{name}"].value for name in ("rate", "several_faces", "tilted")] == [0.5, 0.5, 0.5]
    assert "1 of 2 show several faces" in found["references_several_faces"].note
    assert found["rate"].value == 1
    assert "disagree" not in found["rate"].note


def test_a_single_scale_has_nothing_to_compare():
    samples = faces(["a", "b"], scales_read=1, scales_agree=1, disagreement=np.nan, n_faces=2)
    found = by_name(compute(evaluation(samples)))
    assert "rate" not in found
    assert found["disagreement"].value is None
    assert found["several_faces"].value == 1


def test_only_detected_samples_of_good_references_count():
    samples = faces(["a", "b", "c"], disagreement=[0.02, 0.5, 0.5]).assign(status=["ok", "no_face", "ok"])
    references = faces(["a", "b", "c"]).assign(status=["ok", "ok", "no_face"])
    found = by_name(compute(evaluation(samples, references)))
    assert (found["rate"].value, found["rate"].n, found["rate"].n_failed) == (1, 1, 1)
    assert found["references_rate"].n == 2


def test_tables_without_the_columns_have_a_reason():
    whole = example()
    bare = replace(whole, samples=whole.samples.drop(columns="roll"))
    (score,) = compute(bare).scores
    assert score.value is None
    assert "does not say how its faces were found" in score.note


def test_no_face_at_all():
    found = by_name(compute(evaluation(faces(["a"]).assign(status="no_face"))))
    assert found["rate"].value is None
    assert found["rate"].note == "no face was found"


def test_every_statistic_is_declared():
    declared = {statistic.name for statistic in METRIC.statistics}
    assert {score.number.statistic for score in compute(example()).scores} == declared
