"""Components, samples and variation on data whose answer is known."""

import numpy as np
import pytest

from bench.errors import UserError
from bench.identities.pca import fit, gather, moments, reconstruction
from bench.identities.sampling import distinct, draw
from bench.identities.within import Within, covariance_root, deviations, vary

AXES = np.linalg.qr(np.random.default_rng(5).normal(size=(12, 12)))[0]


@pytest.fixture(scope="module")
def rows():
    """5,000 vectors that vary in three directions, of deviation 3, 2 and 1."""
    noise = np.random.default_rng(1).normal(size=(5000, 3)) * [3, 2, 1]
    return noise @ AXES[:3] + 4 * AXES[3]


def test_directions_are_found(rows):
    pca = fit(gather(np.array_split(rows, 9)))
    assert pca.needed(0.999) == 3
    np.testing.assert_allclose(np.sqrt(pca.variances[:3]), [3, 2, 1], rtol=0.05)
    np.testing.assert_allclose(np.abs(pca.components[:3] @ AXES[:3].T), np.eye(3), atol=0.05)
    assert reconstruction(pca, rows, 3)["min"] > 0.999999
    assert reconstruction(pca, rows, 1)["mse"] == pytest.approx(2**2 + 1, rel=0.05)
    assert pca.complete
    assert not fit(moments(rows[:100])).complete


def test_samples_have_the_moments_of_the_fit(rows):
    pca = fit(moments(rows))
    drawn = draw(pca, np.random.default_rng(2).normal(size=(20000, 12)))
    real = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(drawn.mean(0), real.mean(0), atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(real.T), atol=0.02)


def test_fewer_components(rows):
    pca = fit(moments(rows))
    drawn = draw(pca, np.ones((1, 12)), kept=1) - pca.mean / np.linalg.norm(pca.mean)
    assert np.abs(drawn @ pca.components[1:3].T).max() < 0.02


def test_greedy_keeps_what_only_a_dropped_one_resembles():
    angles = np.radians([0, 25, 50, 75])
    fan = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert distinct(fan, np.cos(np.radians(30))) == [0, 2]
    assert distinct(fan, np.cos(np.radians(30)), "literal") == [0]


def test_covariance_within_people():
    people = np.repeat(np.arange(500), 4)
    centre = np.random.default_rng(3).normal(size=(500, 6))
    spread = np.diag([2.0, 1, 0.5, 0, 0, 0])
    images = centre[people] + np.random.default_rng(4).normal(size=(2000, 6)) @ spread
    difference, degrees = deviations(images, people)
    assert degrees == 1500
    covariance = difference.T @ difference / degrees
    np.testing.assert_allclose(covariance, spread**2, atol=0.25)
    root = covariance_root(covariance)
    np.testing.assert_allclose(root.T @ root, covariance, atol=1e-12)


def test_images_of_a_person_follow_the_covariance():
    centre = np.array([1.0, 0, 0])
    root = np.diag([0.0, 0.1, 0])
    made = vary(centre, np.random.default_rng(0).normal(size=(500, 3)), Within(law="covariance", amount=1), root)
    assert np.abs(made[:, 2]).max() == 0
    assert made[:, 1].std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gather([]), "no embedding to fit on"),
        (lambda: gather([np.ones((1, 3))]), "at least two"),
        (lambda: gather([np.ones((2, 3)), np.ones((2, 4))]), "different lengths"),
        (lambda: reconstruction(fit(moments(AXES)), AXES, 13), "13 components; allowed are 1 to 12"),
        (lambda: distinct(AXES, 0.3, "fast"), "rule 'fast'; allowed are greedy, literal"),
        (lambda: vary(AXES[0], AXES, Within(law="covariance", amount=1)), "several images a subject"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()
