"""Face sets that the embedded Arc2Face makes of sampled people: the job, and that each image has its own vector."""

from types import SimpleNamespace

import numpy as np
import pytest

from bench.cli.configured import composed
from bench.errors import UserError
from bench.facesets.making import Generator, SetOptions, generated, make
from bench.hashing import sha256_bytes
from bench.identities.fitting import FitOptions, write
from bench.identities.people import SampleOptions, sample
from bench.identities.within import Within
from bench.spec import from_mapping, plain


def spec_of(*overrides):
    return from_mapping(plain(composed("config", ["method.steps=1", "method.batch=2", *overrides])))


def people_of(folder, width=512, recogniser="arcface"):
    rows = np.random.default_rng(0).normal(size=(60, width))
    subjects = np.repeat(np.arange(30), 2)
    write(lambda: iter([(rows, subjects)]), FitOptions(), folder / "fit", {"recogniser": recogniser})
    options = SampleOptions(groups=((2, 2),), candidates=10, threshold=0.9, within=Within(law="angular", amount=20))
    return sample(folder / "fit", options, folder / "people")


def test_each_image_is_made_from_its_own_vector(tmp_path):
    people, asked = people_of(tmp_path), []

    class Method:
        def generate(self, requests):
            asked.extend(requests)
            image = np.zeros((64, 64, 3), np.uint8)
            return [SimpleNamespace(image=image, error=None, note="", unavailable=False) for _ in requests]

    maker = Generator(Method(), 3, people, "toy", spec_of().protocol, tmp_path)
    made = list(maker([(0, 0), (0, 1), (1, 0), (1, 1)]))
    vectors = [request.condition.embedding for request in asked]
    assert len({vector.tobytes() for vector in vectors}) == 4
    assert len({request.seed for request in asked}) == 4
    for one, vector in zip(made, vectors, strict=True):
        np.testing.assert_allclose(people.vectors(one.identity, [one.index])[0], vector, atol=1e-6)
        assert one.vector == sha256_bytes(vector.tobytes())
        assert one.cosine == pytest.approx(np.cos(np.radians(20)), abs=1e-6)


def test_what_does_not_fit_is_said_before_the_first_image(tmp_path):
    people, copy = people_of(tmp_path), from_mapping(plain(composed("config", ["method=copy"])))
    with pytest.raises(UserError, match="copy does not draw a face from an embedding alone; method=arc2face does"):
        generated(copy, people, SetOptions(), tmp_path, "x")
    other = people_of(tmp_path / "judge", recogniser="judge")
    with pytest.raises(UserError, match=r"takes embeddings of arcface, .* has those of judge"):
        generated(spec_of(), other, SetOptions(), tmp_path, "x")
    narrow = people_of(tmp_path / "narrow", width=128)
    with pytest.raises(UserError, match=r"takes embeddings of 512 numbers, those of .* have 128"):
        generated(spec_of(), narrow, SetOptions(), tmp_path, "x")


def test_the_folder_is_named_by_what_changes_a_crop(tmp_path):
    people = people_of(tmp_path)

    def name(options=None, *overrides):
        return generated(spec_of(*overrides), people, options or SetOptions(), tmp_path, "x").folder.name

    assert name() == name(SetOptions(keep_images=True)) == name(None, "execution.workers=2")
    assert len({name(), name(SetOptions(quality=90)), name(None, "method.steps=2"), name(None, "protocol.seed=1")}) == 4


@pytest.mark.slow
def test_the_embedded_arc2face_makes_a_set(tmp_path):
    faces = make(generated(spec_of("method.steps=6"), people_of(tmp_path), SetOptions(spares=1), tmp_path, "mini"))
    assert faces.record["method"] == "arc2face"
    assert faces.tried()["seed"].nunique() == len(faces.tried())
    assert faces.image(0).shape == (112, 112, 3)
