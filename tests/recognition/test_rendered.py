"""Rendered people: verification sets whose folds share nobody."""

import numpy as np
import pytest

from bench.faces.search import FaceOptions
from bench.facesets.making import finder
from bench.recognition.pairs import find_pairs
from bench.recognition.rendered import Cast, Rendered, most_pairs, write_crops, write_lists
from bench.runtime import Runtime
from tests.facesets.test_making import DETECTOR


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("pairs")
    find = finder(DETECTOR, FaceOptions(), Runtime())
    for block in (range(3), range(3, 8)):
        write_crops(target, find, block, seed=1)
    write_lists(target, 8, 16, seed=1, folds=2)
    return target


@pytest.mark.parametrize("name", ["frontal", "cross_pose"])
def test_pairs(folder, name):
    [pairs] = find_pairs(folder, [name])
    assert (len(pairs), pairs.same.sum()) == (16, 8)
    people = np.array([int(path.parent.name) for path in pairs.images]).reshape(-1, 2)
    np.testing.assert_array_equal(people[:, 0] == people[:, 1], pairs.same)
    folds = [set(part.ravel()) for part in np.array_split(people, 2)]
    assert sum(map(len, folds)) == len(set().union(*folds))
    assert len({(str(a), str(b)) for a, b in zip(pairs.images[::2], pairs.images[1::2], strict=True)}) == 16
    assert all(a != b for a, b in zip(pairs.images[::2], pairs.images[1::2], strict=True))
    kinds = {path.name[:5] for path in pairs.images[1::2]}
    assert kinds == ({"front"} if name == "frontal" else {"side0", "side1", "side2", "side3"} & kinds)
    assert next(pairs.crops()).shape == (112, 112, 3)


def test_as_many_pairs_as_there_are():
    from bench.recognition.table2 import World

    assert most_pairs(8, folds=2) == 4 * min(6, 24)
    assert most_pairs(150) == 20 * min(105, 90)
    assert World(test_people=150, pairs=1800).pairs == 1800
    with pytest.raises(ValueError, match="20 test_people make 20 different pairs at most"):
        World(test_people=20, pairs=40)


def test_an_image_depends_on_its_place_alone():
    one, other = (Rendered(Cast("train", n, 5, 0.3)) for n in (3, 9))
    np.testing.assert_array_equal(one.image(2, 1), other.image(2, 1))
    assert (one.image(2, 1) != one.image(2, 0)).any()
    assert (one.image(2, 1) != one.image(1, 1)).any()
