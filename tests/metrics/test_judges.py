"""The mathematics of the judges' numbers: values worked out by hand, and the golden ones."""

import numpy as np
import pytest

from bench.metrics.functional import descriptors, prompts, quality, rotation, shape
from bench.metrics.functional.similarity import alike, table
from tests.parity.formula import uniform
from tests.parity.judges import FOLDER, case, settings
from tests.shared import needs


@needs(FOLDER / "sixdrepnet.npz")
def test_angles_between_heads():
    golden = case("sixdrepnet")
    matrices, n = golden["angles_R"].reshape(-1, 9), len(golden["angles_R"])
    first, second = np.divmod(np.arange(n * n), n)
    found = rotation.angle_degrees(matrices[first], matrices[second]).reshape(n, n)
    np.testing.assert_allclose(found, np.degrees(golden["angles_geodesic"]), atol=2e-5)


@pytest.mark.parametrize("degrees", [1e-7, 30.0, 179.999, 180.0])
def test_small_and_large_angles_keep_their_digits(degrees):
    angle = np.radians(degrees)
    turned = np.array([[np.cos(angle), 0, np.sin(angle), 0, 1, 0, -np.sin(angle), 0, np.cos(angle)]])
    np.testing.assert_allclose(rotation.angle_degrees(turned, np.eye(3).reshape(1, 9)), degrees, rtol=1e-9)


def test_euclidean_and_cosine_may_disagree():
    """The first pair points the same way but is far apart; the second is near but at a right angle."""
    a, b = np.array([[1.0, 0.0], [0.1, 0.0]]), np.array([[9.0, 0.0], [0.0, 0.1]])
    rows = np.arange(2)
    assert alike(a, rows, b, rows, "cosine").tolist() == [1, 0]
    far, near = 8.0, np.sqrt(0.02)
    expected = [(1 - far) / (1 + far), (1 - near) / (1 + near)]
    np.testing.assert_allclose(alike(a, rows, b, rows, "euclidean"), expected)
    np.testing.assert_allclose(np.diag(table(a, b, "euclidean")), expected)


def test_a_row_without_an_embedding_is_like_nothing():
    a, rows = np.array([[np.nan, 0.0]]), np.zeros(1, int)
    assert all(np.isnan(alike(a, rows, np.ones((1, 2)), rows, kind))[0] for kind in ("cosine", "euclidean"))


def test_the_level_of_the_references():
    references = np.arange(1.0, 101.0)
    assert quality.level(references) == 6.0
    assert np.mean(references < quality.level(references)) == 0.05
    assert quality.level(np.array([np.nan, 7.0])) == 7.0
    kept = quality.above(np.array([0.1, 0.2, 0.3]), np.array([5.0, 6.0, np.nan]), 6.0)
    np.testing.assert_array_equal(kept, [np.nan, 0.2, np.nan])


def test_strangers_score_zero_once_what_all_share_is_taken_away():
    """Four descriptors that share one direction and differ in another."""
    all_four = np.array([[3, 1, 0], [3, -1, 0], [3, 0, 1], [3, 0, -1]]) / np.sqrt(10)
    plain, taken = all_four @ all_four.T, descriptors.centred(all_four, all_four)
    assert plain[0, 2] == pytest.approx(0.9)
    np.testing.assert_allclose((taken @ taken.T)[0], [1, -1, 0, 0], atol=1e-12)


@needs(FOLDER / "clip_text.npz")
def test_prompt_following():
    golden = case("clip_text")
    cosines = prompts.similarities(golden["image_embedding"], golden["text_embedding"])
    np.testing.assert_allclose(cosines, golden["similarity"], atol=5e-6)
    np.testing.assert_allclose(prompts.clip_score(cosines), golden["clip_score"], atol=5e-4)
    np.testing.assert_allclose(prompts.clip_score_hessel(cosines), golden["clip_score_hessel"], atol=2e-5)


def test_one_prompt_has_no_floor():
    own, others = prompts.own_and_others(np.array([[0.2], [0.4]]), np.zeros(2, int))
    assert own.tolist() == [0.2, 0.4]
    assert np.isnan(others).all()


@needs(FOLDER / "mica.npz")
def test_shapes_in_millimetres():
    golden = case("mica")
    count = int(golden["flame_V"])
    salt = settings()["salt"]
    basis = 0.004 * uniform(salt, "flame/shapedirs", count * 1200).reshape(count, 3, 400)
    shapes = golden["chain_shape"]
    found = shape.vertex_distances_mm(shapes[[0, 0, 1]], shapes[[1, 2, 2]], basis)
    np.testing.assert_allclose(found, golden["flame_mean_vertex_distance_mm"], rtol=1e-5)
    template = 0.1 * uniform(salt, "flame/v_template", count * 3).reshape(count, 3)
    np.testing.assert_allclose(template + basis[:, :, :300] @ shapes[0], golden["flame_vertices"][0], atol=1e-6)
