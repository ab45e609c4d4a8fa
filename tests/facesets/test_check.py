"""Quality of a set on features whose answer is known, and its overlap with another one."""

import numpy as np
import pytest

from bench.errors import UserError
from bench.facesets import quality
from bench.facesets.check import check, chosen, embed, overlap, write_scores
from bench.facesets.store import FaceSet
from tests.facesets.crops import write


class Brightness:
    """Reads an embedding off a crop's lower right pixel, which is its identity's."""

    def extract(self, crops):
        angle = (crops[:, -1, -1, 0].astype(float) - 40) / 5
        return {
            "feature": np.stack([np.cos(angle), np.sin(angle), 0.01 * crops[:, 15, 5, 0] / 255], 1).astype(np.float32)
        }


@pytest.fixture
def faces(tmp_path):
    return FaceSet(write(tmp_path / "set", ((0, 1), (2, 3)), images=4))


def test_a_set_of_distinct_people(faces):
    rows = chosen(faces, 500, 0)
    found = check(faces, rows, embed(faces, rows, Brightness(), 5), 0)
    assert (found["identities"], found["images"]) == (4, 16)
    assert (found["eer"], found["consistency"], found["mated"]) == (0, 1, pytest.approx(1, abs=1e-3))
    assert found["unique_greedy"] == 0.5  # angles 0, 1, 2, 3: cosine of one radian is 0.54
    assert found["unique_literal"] == 0.25


def test_batches_change_nothing(faces):
    rows = chosen(faces, 500, 0)
    np.testing.assert_array_equal(embed(faces, rows, Brightness(), 3), embed(faces, rows, Brightness(), 64))


def test_some_identities_are_drawn_by_seed(faces):
    some = chosen(faces, 2, 1)
    assert len(some) == 8
    assert len(np.unique(faces.labels[some])) == 2
    np.testing.assert_array_equal(some, chosen(faces, 2, 1))


def test_overlap_with_another_set(faces):
    rows = chosen(faces, 500, 0)
    features = embed(faces, rows, Brightness(), 8)
    assert overlap(features, features, 0.9)["above"] == 1.0
    found = overlap(np.eye(3)[:1], np.array([[0.0, 1, 0], [0.6, 0.8, 0]]), 0.7)
    assert (found["max"], found["above"]) == (pytest.approx(0.6), 0.0)


def test_pairs_of_both_kinds():
    rows = np.eye(4)[[0, 0, 1, 1, 2, 3]]
    scores = quality.pair_scores(rows, np.array([0, 0, 1, 1, 2, 3]), 100, 0)
    assert (scores.mated.tolist(), len(scores.nonmated)) == ([1.0, 1.0], 13)
    assert scores.nonmated.max() == 0
    many = quality.pair_scores(np.random.default_rng(0).normal(size=(400, 8)), np.arange(400) // 4, 50, 0)
    assert (len(many.mated), len(many.nonmated)) == (50, 50)


def test_the_figure(tmp_path):
    scores = quality.PairScores(np.linspace(0.4, 0.9, 50), np.linspace(-0.2, 0.3, 50))
    write_scores([("judge", scores)], tmp_path / "scores")
    assert (tmp_path / "scores.png").stat().st_size > 1000


def test_nothing_to_compare(tmp_path):
    single = FaceSet(write(tmp_path / "single", ((0,),), images=3))
    rows = chosen(single, 5, 0)
    with pytest.raises(UserError, match="nothing to compare"):
        check(single, rows, embed(single, rows, Brightness(), 4), 0)
