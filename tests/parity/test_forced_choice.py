"""Forced choice against choix, evalica, statsmodels and scipy in the golden set."""

import numpy as np
import pandas as pd
import pytest

from bench.studies.user_study import analysis
from tests.parity.study_formula import STUDIES, study
from tests.shared import needs

pytestmark = needs(STUDIES / "forced_choice.npz")
METHODS = ["0", "1", "2", "3"]


@pytest.fixture(scope="module")
def golden():
    return study("forced_choice")


@pytest.fixture(scope="module")
def votes(golden):
    """The golden columns as a table of votes; who fails a check is left out by the rule under test."""
    frame = pd.DataFrame({name: golden[name] for name in ("rater", "item")})
    for side in ("left", "right"):
        frame[side] = golden[side].astype(str)
    frame["choice"] = np.where(golden["choice"] == 0, "left", "right")
    frame["kind"] = np.where(golden["check"] == 1, "check", "main")
    checks = frame[frame["kind"] == "check"]
    failed = checks[checks["choice"] != "left"]["rater"]
    return frame.assign(dataset="golden", excluded=frame["rater"].isin(failed))


def test_raters_and_votes(golden, votes):
    assert sorted(set(votes[~votes["excluded"]]["rater"])) == golden["raters_passed"].tolist()
    assert len(analysis.counted(votes)) == golden["n_votes"]


def test_share(golden, votes):
    (row,) = analysis.shares(votes, ["0", "1"]).to_dict("records")
    won, n, share = golden["share"]
    assert (row["share"] * row["n"], row["n"]) == (pytest.approx(won), n)
    assert row["share"] == pytest.approx(share, abs=1e-12)
    np.testing.assert_allclose([row["wilson_low"], row["wilson_high"]], golden["share_wilson95"], atol=1e-9)
    majority = golden["item_majority"]
    expected = [(majority == value).sum() for value in (1, 0.5, 0)]
    assert [row["items_won"], row["items_tied"], row["items_lost"]] == expected


def test_clustered_errors(golden, votes):
    faced = analysis.wins(analysis.counted(votes), "0", "1")
    residuals = faced["value"].to_numpy() - faced["value"].mean()
    for name in ("rater", "item"):
        error = np.sqrt(analysis.cluster_variance(residuals, faced[name].to_numpy()))
        assert error == pytest.approx(float(golden[f"share_cluster_se_{name}"]), abs=1e-9)


def test_left_preference(golden, votes):
    faced = analysis.wins(votes, "0", "1")
    found = analysis.left_share(faced)
    left, n = golden["left_share"]
    assert (found.share, found.n) == (pytest.approx(left / n), n)


def test_bradley_terry(golden, votes):
    found = analysis.bradley_terry(votes, METHODS)
    np.testing.assert_allclose(found["strength"], golden["bt_choix_opt"], atol=1e-6)
    assert set(found["note"]) == {""}
    assert ((found["low"] <= found["strength"]) & (found["strength"] <= found["high"])).all()
