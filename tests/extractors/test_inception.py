"""Inception: which parts of a file are needed, and that pytorch-fid is left as it was."""

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.extractors.inception import Inception
from bench.runtime import Runtime
from tests.weights import TRUNK_192, inception

CROP = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "trunk.pth"
    torch.save(inception(*TRUNK_192), path)
    return path


def loaded(path, dims):
    return Inception(Inception.Options(weights=path, dims=dims), Runtime())


@pytest.mark.parametrize("dims", [64, 192])
def test_a_trunk_alone_is_enough_for_its_blocks(trunk, dims):
    assert loaded(trunk, dims).extract(CROP)["feature"].shape == (1, dims)


def test_a_trunk_alone_is_not_enough_for_later_blocks(trunk):
    with pytest.raises(UserError, match=r"up to 2048-d.*missing.*Mixed_5b"):
        loaded(trunk, 2048)


def test_a_key_of_no_fid_inception_is_refused(tmp_path):
    torch.save(inception(*TRUNK_192) | {"Mixed_9z.conv.weight": torch.zeros(1)}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=r"unexpected \(Mixed_9z"):
        loaded(tmp_path / "odd.pth", 192)


def test_resizes_as_pytorch_fid_does(trunk):
    """Without antialiasing: single pixels of a large crop are skipped, and change nothing."""
    extractor = loaded(trunk, 64)
    large = np.repeat(np.repeat(CROP, 8, axis=1), 8, axis=2)
    dotted = large.copy()
    source = (np.arange(299) + 0.5) * large.shape[1] / 299 - 0.5
    read = set(np.floor(source).astype(int)) | set(np.floor(source).astype(int) + 1)
    skipped = [row for row in range(large.shape[1]) if row not in read]
    dotted[:, skipped] = 0
    assert len(skipped) > 50
    np.testing.assert_array_equal(extractor.extract(dotted)["feature"], extractor.extract(large)["feature"])


def test_the_package_is_left_as_it_was(trunk):
    from pytorch_fid import inception as package
    from torchvision.models import Inception3

    before = package.fid_inception_v3, package.load_state_dict_from_url, Inception3.load_state_dict
    loaded(trunk, 64)
    assert (package.fid_inception_v3, package.load_state_dict_from_url, Inception3.load_state_dict) == before
