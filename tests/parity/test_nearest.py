"""Nearest neighbours against the golden brute force in float64, ties and people left out included."""

import numpy as np
import pytest

from bench.metrics.functional.cosine import blocks
from bench.studies.nearest import Block, nearest, nothing
from tests.parity.study_formula import STUDIES, bell, study
from tests.shared import needs

pytestmark = needs(STUDIES / "nearest.npz")


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def case():
    golden = study("nearest")
    n, q, d, _ = golden["shape"]
    references = unit(bell("nn/ref", (n, d)))
    queries = unit(references[:q].astype(np.float64) + 0.75 * bell("nn/q", (q, d)) / np.sqrt(d))
    for i, j in golden["ties"]:
        references[i] = references[j]
    np.testing.assert_allclose(np.abs(references).sum(dtype=np.float64), golden["references_abs_sum"], rtol=1e-6)
    np.testing.assert_allclose(np.abs(queries).sum(dtype=np.float64), golden["queries_abs_sum"], rtol=1e-6)
    return golden, references, queries


def found(case, step, own=None, order=1):
    golden, references, queries = case
    people = np.arange(len(references)) // 3
    parts = [Block(p.start, references[p], people[p]) for p in blocks(len(references), step)]
    return nearest(queries, parts[::order], nothing(len(queries), int(golden["shape"][3])), subjects=own)


@pytest.mark.parametrize("step", [7, 1024, 5000])
@pytest.mark.parametrize("order", [1, -1])
def test_all_references(case, step, order):
    best = found(case, step, order=order)
    np.testing.assert_array_equal(best.position, case[0]["index"])
    np.testing.assert_allclose(best.cosine, case[0]["cosine"], atol=1e-6)
    shares = [(best.cosine[:, 0] >= t).mean() for t in case[0]["thresholds"]]
    np.testing.assert_array_equal(shares, case[0]["share_above"])


@pytest.mark.parametrize("step", [7, 5000])
def test_the_same_subject_left_out(case, step):
    best = found(case, step, np.arange(len(case[2])) // 3)
    np.testing.assert_array_equal(best.position, case[0]["index_other_subjects"])
    np.testing.assert_allclose(best.cosine, case[0]["cosine_other_subjects"], atol=1e-6)
    shares = [(best.cosine[:, 0] >= t).mean() for t in case[0]["thresholds"]]
    np.testing.assert_array_equal(shares, case[0]["share_above_other"])
