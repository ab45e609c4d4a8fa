"""LPIPS: distances of a small SqueezeNet trunk."""

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.extractors import lpips as module
from bench.extractors.lpips import Lpips, network
from bench.runtime import Runtime
from tests.weights import lpips_trunk


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    path = tmp_path_factory.mktemp("lpips") / "squeezenet1_1.pth"
    torch.save(lpips_trunk("squeeze"), path)
    return path


@pytest.fixture(scope="module")
def lpips(trunk):
    return Lpips(Lpips.Options(trunk=trunk, net="squeeze"), Runtime())


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)


def test_equals_the_packages_double_loop(lpips, trunk, crops):
    package = network("squeeze", trunk)
    images = torch.from_numpy(crops).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        naive = [[float(package(images[i : i + 1], images[j : j + 1])) for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(lpips.distances(crops), naive, rtol=0, atol=1e-6)
    assert np.min(np.array(naive)[~np.eye(4, dtype=bool)]) > 0.01


def test_equal_crops_are_at_exactly_0(lpips, crops):
    np.testing.assert_array_equal(lpips.distances(crops[[0, 0, 0]]), np.zeros((3, 3)))


def test_a_distance_does_not_depend_on_the_other_crops(lpips, crops):
    table = lpips.distances(crops)
    np.testing.assert_array_equal(lpips.distances(crops[[3, 1]])[0, 1], table[3, 1])
    np.testing.assert_array_equal(lpips.distances(crops[[2, 0, 3, 1]]), table[np.ix_([2, 0, 3, 1], [2, 0, 3, 1])])


@pytest.mark.parametrize("batch", [2, 3, 5])
def test_any_batch_gives_the_same_to_rounding(trunk, lpips, crops, batch):
    other = Lpips(Lpips.Options(trunk=trunk, net="squeeze", batch=batch), Runtime())
    np.testing.assert_allclose(other.distances(crops), lpips.distances(crops), rtol=1e-5, atol=0)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_crops_have_no_distance(lpips, crops, count):
    np.testing.assert_array_equal(lpips.distances(crops[:count]), np.zeros((count, count)))


def test_heads_of_another_version_are_refused(trunk, monkeypatch):
    monkeypatch.setitem(module.HEADS, "squeeze", "0" * 64)
    with pytest.raises(UserError, match=r"not LPIPS v0\.1"):
        Lpips(Lpips.Options(trunk=trunk, net="squeeze"), Runtime())


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_the_installed_heads_are_the_published_ones(net):
    heads = module.heads(net)
    assert sorted(heads) == [f"{k}.model.1.weight" for k in range(7 if net == "squeeze" else 5)]
    assert all(bool((weight >= 0).all()) for weight in heads.values())


def test_another_trunk_is_refused(trunk):
    with pytest.raises(UserError, match=r"features of alex.*missing"):
        Lpips(Lpips.Options(trunk=trunk, net="alex"), Runtime())
