"""Components, samples and variation on data whose answer is known."""

import numpy as np
import pytest

from bench.errors import UserError
from bench.identities.fitting import FitOptions, fit_blocks, from_files, load, write
from bench.identities.pca import fit, gather, moments, reconstruction
from bench.identities.people import SampleOptions, sample
from bench.identities.sampling import distinct, draw
from bench.identities.within import Within, covariance_root, deviations, vary
from bench.store import read_table

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


# Fits and people on the disk


def blocks_of(rows, subjects, size):
    return lambda: ((rows[at : at + size], subjects[at : at + size]) for at in range(0, len(rows), size))


@pytest.fixture(scope="module")
def world():
    """300 people with 4 images each: people differ in five directions, images in three others."""
    rng = np.random.default_rng(8)
    people = np.repeat(np.arange(300), 4)
    rows = (rng.normal(size=(300, 5)) @ AXES[:5])[people] + 0.2 * rng.normal(size=(1200, 3)) @ AXES[5:8]
    return rows, people


@pytest.mark.parametrize("size", [1, 7, 1200])
def test_blocks_change_nothing(world, size):
    rows, people = world
    options = FitOptions(per="subject", length="raw")
    pca, root = fit_blocks(blocks_of(rows, people, size), options)
    whole, same = fit_blocks(blocks_of(rows, people, 400), options)
    assert pca.n == 300
    np.testing.assert_allclose(pca.variances, whole.variances, atol=1e-12)
    np.testing.assert_allclose(root.T @ root, same.T @ same, atol=1e-12)


def test_the_covariance_within_people_is_found(world):
    _, root = fit_blocks(blocks_of(*world, 100), FitOptions(length="raw"))
    np.testing.assert_allclose(root.T @ root, 0.04 * AXES[5:8].T @ AXES[5:8], atol=0.01)


def test_one_image_a_subject_has_no_covariance(world):
    rows, _ = world
    assert fit_blocks(blocks_of(rows, np.arange(1200), 100), FitOptions())[1] is None


@pytest.fixture(scope="module")
def fitted(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    write(blocks_of(*world, 100), FitOptions(), folder, {"dataset": "toy", "recogniser": "arcface"})
    return folder


def test_a_fit_is_read_as_it_was_written(world, fitted):
    pca, root, record = load(fitted)
    again, _ = fit_blocks(blocks_of(*world, 100), FitOptions())
    np.testing.assert_array_equal(pca.components, again.components)
    assert root.shape == (12, 12)
    assert record["components"]["0.99"] <= 8
    assert record["n"] == 1200
    assert (fitted / "variance.png").stat().st_size > 1000
    rebuilt = read_table(fitted / "reconstruction.parquet")
    assert rebuilt["kept"].tolist() == [1, 2, 4, 8, 12]
    assert rebuilt["mean"].is_monotonic_increasing


def drawn(fitted, folder, **options):
    defaults = {"groups": ((20, 3), (10, 2)), "threshold": 0.8, "candidates": 200}
    return sample(fitted, SampleOptions(**(defaults | options)), folder)


def test_people_are_distinct_and_repeat(fitted, tmp_path):
    people, again = (drawn(fitted, tmp_path / name) for name in "ab")
    assert (len(people), people.images.sum()) == (30, 80)
    centres = np.stack([people.centre(k) for k in range(30)])
    assert (centres @ centres.T)[np.triu_indices(30, 1)].max() <= 0.8 + 1e-6
    assert people.content == again.content
    assert people.content != drawn(fitted, tmp_path / "c", seed=1).content
    assert people.record["recogniser"] == "arcface"


def test_each_image_has_its_own_seed(fitted, tmp_path):
    people = drawn(fitted, tmp_path, within=Within(law="covariance", amount=1.0))
    together = people.vectors(4, [0, 1, 2])
    np.testing.assert_array_equal(together[1:], people.vectors(4, [1, 2]))
    assert (together @ together.T)[np.triu_indices(3, 1)].max() < 1
    assert np.abs(people.vectors(5, [0]) - together[0]).max() > 0.01


def test_without_variation_all_images_are_the_person(fitted, tmp_path):
    people = drawn(fitted, tmp_path)
    np.testing.assert_array_equal(people.vectors(3, [0, 1]), np.tile(people.centre(3), (2, 1)))


def test_too_few_distinct_people(fitted, tmp_path):
    with pytest.raises(UserError, match=r"of 40 candidates are distinct at 0\.1 .* raise sample\.candidates"):
        drawn(fitted, tmp_path, threshold=0.1, candidates=40)
    assert not (tmp_path / "identities.json").exists()


def test_embeddings_in_files(world, tmp_path):
    rows, people = world
    for name, part in (("a", slice(0, 600)), ("b", slice(600, 1200))):
        np.save(tmp_path / f"{name}.npy", rows[part].astype(np.float32))
        np.save(tmp_path / f"{name}.subjects.npy", people[part])
    pca, root = fit_blocks(from_files(tmp_path), FitOptions(per="subject"))
    assert (pca.n, root is None) == (300, False)
    with pytest.raises(UserError, match=r"no \.npy file"):
        from_files(tmp_path / "none")
