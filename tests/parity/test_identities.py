"""Principal components, sampled identities and quality of a face set against the golden data."""

import numpy as np
import pytest

from bench.facesets.quality import centres, consistency, diversity, to_centre, uniqueness
from bench.identities.pca import fit, gather, moments, reconstruction
from bench.identities.sampling import distinct, draw, raw
from bench.identities.within import Within, vary
from tests.shared import GOLDEN, needs

FOLDER = GOLDEN / "studies"
pytestmark = needs(FOLDER)


@pytest.fixture(scope="module")
def golden():
    return np.load(FOLDER / "id_pca.npz")


@pytest.fixture(scope="module")
def pca(golden):
    return fit(gather(np.array_split(golden["embeddings"], 7)))


def test_components(golden, pca):
    np.testing.assert_allclose(pca.mean, golden["mean"], atol=1e-9)
    np.testing.assert_allclose(pca.variances, golden["explained_variance"], atol=1e-9)
    np.testing.assert_allclose(pca.cumulative, golden["cumulative"], atol=1e-9)
    np.testing.assert_allclose(pca.components, golden["components"], atol=1e-6)


def test_the_order_of_merging_changes_nothing_that_matters(golden, pca):
    shards = [moments(part) for part in np.array_split(golden["embeddings"], 5)]
    merged = fit(shards[3] + (shards[0] + shards[4]) + (shards[1] + shards[2]))
    np.testing.assert_allclose(merged.components, pca.components, atol=1e-9)


def test_reconstruction(golden, pca):
    names = ["mean", "median", "q05", "min", "mse"]
    for kept, expected in zip(golden["kept_components"], golden["reconstruction"], strict=True):
        found = reconstruction(pca, golden["embeddings"], int(kept))
        np.testing.assert_allclose([found[name] for name in names], expected, atol=1e-9)


def test_samples(golden, pca):
    np.testing.assert_allclose(np.linalg.norm(raw(pca, golden["z"]), axis=1), golden["sampled_norm"], atol=1e-9)
    np.testing.assert_allclose(draw(pca, golden["z"]), golden["sampled"], atol=1e-9)


@pytest.mark.parametrize("threshold", ["0.3", "0.5"])
@pytest.mark.parametrize("rule", ["greedy", "literal"])
def test_distinct(golden, threshold, rule, monkeypatch):
    expected = golden[f"kept_{rule}_{threshold}"].tolist()
    assert distinct(golden["sampled"], float(threshold), rule) == expected
    monkeypatch.setattr("bench.identities.sampling._BLOCK", 7)
    assert distinct(golden["sampled"], float(threshold), rule) == expected
    assert distinct(golden["sampled"], float(threshold), rule, limit=2) == expected[:2]


@pytest.mark.parametrize("amount", ["0.01", "0.3", "1.0"])
def test_noise_within_an_identity(golden, amount):
    for centre, noise, expected in rows_within(golden, f"intra_raw_{amount}"):
        found = vary(centre, noise, Within(law="gaussian", amount=float(amount)))
        np.testing.assert_allclose(found @ centre, expected, atol=1e-9)


def test_turns_within_an_identity(golden):
    for centre, noise, expected in rows_within(golden, "intra_angular_40"):
        found = vary(centre, noise, Within(law="angular", amount=40))
        np.testing.assert_allclose(found, expected, atol=1e-9)
        np.testing.assert_allclose(found @ centre, golden["within_covariance_cosine"][0], atol=1e-8)


def rows_within(golden, name):
    kept = golden["sampled"][golden["kept_greedy_0.3"][:5]]
    return zip(kept, golden["noise"], golden[name], strict=True)


def test_quality_of_a_face_set():
    data = np.load(FOLDER / "fr_dataset_quality.npz")
    classes, images, width = data["features"].shape
    rows, labels = data["features"].reshape(-1, width), np.repeat(np.arange(classes), images)
    middle, cut = centres(rows, labels), float(data["threshold"])
    np.testing.assert_allclose(middle @ middle.T, data["centre_cosines"], atol=1e-12)
    for rule in ("greedy", "literal"):
        assert distinct(middle, cut, rule) == data[f"unique_{rule}"].tolist()
        assert uniqueness(middle, rule, cut) == pytest.approx(float(data[f"u_class_{rule}"]), abs=1e-12)
    cosine = to_centre(rows, labels)
    np.testing.assert_allclose(cosine.reshape(classes, images), data["cosine_to_centre"], atol=1e-12)
    assert consistency(cosine, cut) == pytest.approx(float(data["c_intra"]), abs=1e-12)
    for real, made, expected in zip(
        data["style_real"], data["style_generated"], data["d_intra_per_class"], strict=True
    ):
        assert diversity(real, made) == pytest.approx(float(expected), abs=1e-12)
