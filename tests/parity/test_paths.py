"""Paths between identities and averages of them against the golden set."""

import numpy as np
import pytest

from bench.studies.paths import average, cosines, lerp, slerp
from tests.parity.study_formula import STUDIES, study
from tests.shared import needs

pytestmark = needs(STUDIES / "id_pca.npz")


@pytest.fixture(scope="module")
def golden():
    return study("id_pca")


def test_lerp(golden):
    a, b = golden["sampled"][:2]
    points = lerp(a, b, golden["blend"])
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), golden["lerp_norm"], atol=1e-9)
    np.testing.assert_allclose(cosines(points, a, b), golden["lerp_cosine"], atol=1e-9)


def test_slerp(golden):
    a, b = golden["sampled"][:2]
    points = slerp(a, b, golden["blend"])
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(cosines(points, a, b), golden["slerp_cosine"], atol=1e-9)


def test_averages(golden):
    vectors = golden["sampled"][:4] * np.array([[3.0], [1.0], [1.0], [1.0]])
    np.testing.assert_allclose(average(vectors, "raw"), golden["average_raw"], atol=1e-9)
    np.testing.assert_allclose(average(vectors, "unit"), golden["average_unit"], atol=1e-9)
