"""Identities of the embedded world: 64 directions make a person, and sampled people differ as rendered ones do."""

import numpy as np
import pytest

from bench.cli.configured import composed
from bench.faces.align import arcface112
from bench.identities.pca import fit, moments
from bench.identities.sampling import draw
from bench.metrics.functional.cosine import unit
from bench.mini.dataset import before_a_wall
from bench.mini.world import render, sample_identities, sample_scenes
from bench.recognition.readers import reader
from bench.spec import from_mapping, plain

PEOPLE = 150


@pytest.fixture(scope="module")
def embeddings():
    """(150, 512) unit embeddings of as many people, by their true key points."""
    arcface = reader(from_mapping(plain(composed("config", []))), "arcface")
    rendered = render(before_a_wall(sample_scenes(sample_identities(3, PEOPLE, "train"), 3, frontal=1.0)), 96)
    crops = np.stack([arcface112(*one) for one in zip(rendered.images, rendered.keypoints, strict=True)])
    parts = [crops[at : at + arcface.batch] for at in range(0, PEOPLE, arcface.batch)]
    whole = [np.resize(part, (arcface.batch, *part.shape[1:])) for part in parts]
    return unit(np.concatenate([arcface.network.extract(part)["feature"] for part in whole])[:PEOPLE])


def cosines(rows):
    """Of all pairs of different rows."""
    return (rows @ rows.T)[np.triu_indices(len(rows), 1)]


def test_the_directions_of_the_world_are_found(embeddings):
    pca = fit(moments(embeddings))
    # The recogniser was trained to keep 64 numbers of a person; what it adds to them must be small.
    assert pca.needed(0.99) > 50
    assert pca.variances[64] < 1e-4 * pca.variances[63]


def test_sampled_people_are_as_different_as_rendered_ones(embeddings):
    drawn = draw(fit(moments(embeddings)), np.random.default_rng(0).normal(size=(1000, 512)))
    real, sampled = cosines(embeddings), cosines(drawn)
    assert sampled.mean() == pytest.approx(real.mean(), abs=0.01)
    # A covariance that is estimated on n unit vectors has tr(S²) larger by 1 / n than the true one.
    assert sampled.var() == pytest.approx(real.var() + 1 / PEOPLE, rel=0.15)
    assert real.std() == pytest.approx(0.16, abs=0.01)
