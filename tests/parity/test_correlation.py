"""Correlations and pairs against scipy's numbers in the golden set."""

import numpy as np
import pytest

from bench.studies import agreement
from tests.parity.study_formula import STUDIES, study
from tests.shared import needs

pytestmark = needs(STUDIES / "correlation.npz")


@pytest.fixture(scope="module")
def case():
    golden = study("correlation")
    metric, human = golden["metric"], golden["human"]
    sources, methods = np.indices(metric.shape)
    known = np.isfinite(metric)
    assert known.sum() == golden["n"]
    return golden, metric[known], human[known], sources[known], methods[known]


@pytest.mark.parametrize("name", ["srcc", "krcc", "plcc"])
def test_coefficients(case, name):
    golden, metric, human, *_ = case
    found = getattr(agreement, name)(metric[:, None], human)[0]
    assert found == pytest.approx(float(golden[name]), abs=1e-12)


def test_within_a_source(case):
    golden, metric, human, sources, _ = case
    found = agreement.within_source(metric, human, sources)
    np.testing.assert_allclose(found, golden["srcc_within_source"], atol=1e-12)
    mean = agreement.mean_within_source(metric, human, sources, seed=0)
    assert mean.value == pytest.approx(float(golden["srcc_within_source_mean"]), abs=1e-12)
    assert mean.low < mean.value < mean.high


def test_pairs(case):
    golden, metric, human, sources, _ = case
    for width, expected in zip(golden["pairwise_tie_width"], golden["pairwise_accuracy"], strict=True):
        pairs = agreement.pairs_of(human, sources, float(width))
        right = agreement.outcomes(metric, pairs)
        share = agreement.accuracy(metric, pairs, seed=0)
        found = [share.value, (right == 1).sum(), (right == 0.5).sum(), share.n]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_system_level(case):
    golden, metric, human, _, methods = case
    found = agreement.system_level(metric, human, methods)
    assert found["srcc"].value == pytest.approx(float(golden["system_srcc"]), abs=1e-12)
    assert found["krcc"].value == pytest.approx(float(golden["system_krcc"]), abs=1e-12)
