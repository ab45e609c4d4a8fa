"""Paths between identities and averages: values by hand and planted truths."""

import numpy as np
import pytest

from bench.studies.paths import average, cosines, describe, lerp, nearest_is_third, path, slerp, unevenness

A, B = np.array([1.0, 0.0, 0.0]), np.array([0.0, 2.0, 0.0])
AT = np.linspace(0, 1, 11)


def test_the_cosines_of_the_facts():
    """Orthogonal ends at a quarter: .949 and .316 on the line, .924 and .383 on the circle."""
    assert cosines(path(A, B, [0.25], "lerp"), A, B)[0] == pytest.approx([0.949, 0.316], abs=5e-4)
    assert cosines(path(A, B, [0.25], "slerp"), A, B)[0] == pytest.approx([0.924, 0.383], abs=5e-4)


@pytest.mark.parametrize("kind", ["lerp", "slerp"])
def test_a_path_begins_and_ends_at_its_ends_and_has_length_1(kind):
    points = path(A, B, AT, kind)
    np.testing.assert_allclose(points[[0, -1]], [[1, 0, 0], [0, 1, 0]], atol=1e-15)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)


def test_slerp_has_even_steps_and_lerp_has_not():
    even, uneven = (path(A, B, AT, kind) for kind in ("slerp", "lerp"))
    assert unevenness(np.linalg.norm(np.diff(even, axis=0), axis=1)) == pytest.approx(1)
    assert unevenness(np.linalg.norm(np.diff(uneven, axis=0), axis=1)) > 1.2


def test_slerp_between_almost_equal_vectors_is_smooth():
    near = A + np.array([0, 1e-9, 0])
    np.testing.assert_allclose(slerp(A, near, [0.5])[0], [1, 5e-10, 0], atol=1e-16)
    np.testing.assert_allclose(slerp(A, A, AT), np.tile(A, (11, 1)))


def test_a_blended_path_crosses_at_half():
    for kind in ("lerp", "slerp"):
        curve = cosines(path(A, B, AT, kind), A, B)
        found = describe(AT, curve, curve)
        assert (found.crossing, found.crossings) == (pytest.approx(0.5), 1)
        assert (found.monotonicity, found.from_vectors) == (pytest.approx(1), 0)


def test_crossings_by_hand():
    def lean(values):
        """Similarities whose difference is given."""
        return np.stack([np.zeros(len(values)), np.array(values, dtype=float)], axis=1)

    late = describe([0, 0.5, 1], lean([-3, -1, 1]), lean([-3, -1, 1]))
    assert (late.crossing, late.crossings) == (0.75, 1)
    thrice = describe([0, 1 / 3, 2 / 3, 1], lean([-1, 1, -1, 1]), lean([-1, 1, -1, 1]))
    assert (thrice.crossing, thrice.crossings) == (pytest.approx(1 / 6), 3)
    assert thrice.monotonicity < 0.5
    at_a_point = describe([0, 0.5, 1], lean([-1, 0, 1]), lean([-1, 0, 1]))
    assert (at_a_point.crossing, at_a_point.crossings) == (0.5, 1)
    never = describe([0, 1], lean([-1, -0.5]), lean([-1, -0.5]))
    assert np.isnan(never.crossing)
    assert never.crossings == 0


def test_a_point_without_a_face_is_left_out():
    curve = cosines(path(A, B, AT, "lerp"), A, B)
    seen = curve.copy()
    seen[5] = np.nan
    found = describe(AT, seen, curve)
    assert (found.crossing, found.crossings) == (pytest.approx(0.5), 1)
    nothing = describe(AT, np.full((11, 2), np.nan), curve)
    assert np.isnan(nothing.crossing)
    assert np.isnan(nothing.from_vectors)


def test_averaging_noisy_embeddings_raises_similarity_to_the_person():
    rng = np.random.default_rng(0)
    person = rng.standard_normal(64)
    shots = person + rng.standard_normal((16, 64))
    similarity = [cosines(average(shots[:k], "unit")[None], person, person)[0, 0] for k in (1, 4, 16)]
    assert similarity == sorted(similarity)
    assert similarity[2] - similarity[0] > 0.2


def test_a_raw_mean_leans_towards_the_longer_vector():
    vectors = np.array([[3.0, 0.0], [0.0, 1.0]])
    assert average(vectors, "raw") == pytest.approx(np.array([3, 1]) / 10**0.5)
    assert average(vectors, "unit") == pytest.approx(np.array([1, 1]) / 2**0.5)


def test_third_person():
    gallery = np.array([A, B, A + B])
    assert nearest_is_third(A + B, gallery, (0, 1))
    assert not nearest_is_third(A + 0.1 * B, gallery, (0, 1))


def test_lerp_takes_vectors_as_they_are():
    assert lerp(A, B, [0.5]).tolist() == [[0.5, 1.0, 0.0]]


def test_unevenness():
    assert unevenness([2, 2, np.nan, 2]) == 1
    assert np.isnan(unevenness([]))
