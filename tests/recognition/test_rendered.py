"""Rendered people: verification sets whose folds share nobody."""

import numpy as np
import pytest

from bench.faces.search import FaceOptions
from bench.facesets.making import finder
from bench.recognition.pairs import find_pairs
from bench.recognition.rendered import Cast, Rendered, write_pairs
from bench.runtime import Runtime
from tests.facesets.test_making import DETECTOR


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("pairs")
    write_pairs(target, finder(DETECTOR, FaceOptions(), Runtime()), 20, 40, seed=1)
    return target


@pytest.mark.parametrize("name", ["frontal", "cross_pose"])
def test_pairs(folder, name):
    [pairs] = find_pairs(folder, [name])
    assert (len(pairs), pairs.same.sum()) == (40, 20)
    people = np.array([int(path.parent.name) for path in pairs.images]).reshape(-1, 2)
    np.testing.assert_array_equal(people[:, 0] == people[:, 1], pairs.same)
    folds = [set(part.ravel()) for part in np.array_split(people, 10)]
    assert sum(map(len, folds)) == len(set().union(*folds))
    assert len({(str(a), str(b)) for a, b in zip(pairs.images[::2], pairs.images[1::2], strict=True)}) == 40
    assert all(a != b for a, b in zip(pairs.images[::2], pairs.images[1::2], strict=True))
    kinds = {path.name[:5] for path in pairs.images[1::2]}
    assert kinds == ({"front"} if name == "frontal" else {"side0", "side1", "side2", "side3"} & kinds)
    assert next(pairs.crops()).shape == (112, 112, 3)


def test_an_image_depends_on_its_place_alone():
    one, other = (Rendered(Cast("train", n, 5, 0.3)) for n in (3, 9))
    np.testing.assert_array_equal(one.image(2, 1), other.image(2, 1))
    assert (one.image(2, 1) != one.image(2, 0)).any()
    assert (one.image(2, 1) != one.image(1, 1)).any()
