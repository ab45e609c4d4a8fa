"""MICA against the official classes, on weights made by the golden formula."""

import numpy as np
import pytest
import torch

from bench.extractors.mica import Mica, mapping
from bench.runtime import Runtime
from tests.parity.judges import FOLDER, case, images, state
from tests.shared import needs

pytestmark = needs(FOLDER / "mica.npz")


@pytest.fixture(scope="module")
def golden():
    return case("mica")


def test_chain(golden, tmp_path):
    regressor = state(golden, "mapping", "flameModel.")
    content = {
        "arcface": state(golden, "arcface", "arcface."),
        "flameModel": regressor | {"generator.eye_pose": torch.zeros(1, 6)},
    }
    torch.save(content, tmp_path / "mica.tar")
    network = Mica(Mica.Options(weights=tmp_path / "mica.tar"), Runtime())
    crops = np.stack(images(golden))
    found = network.extract(crops)["feature"]
    np.testing.assert_allclose(found, golden["chain_shape"], atol=5e-6)
    swapped = network.extract(crops[..., ::-1])["feature"]
    np.testing.assert_allclose(swapped, golden["chain_wrong_bgr_shape"], atol=5e-6)
    pairs = [(0, 1), (0, 2), (1, 2)]
    lengths = [np.linalg.norm(found[i] - found[j]) for i, j in pairs]
    np.testing.assert_allclose(lengths, golden["shape_l2"], rtol=1e-5)


@pytest.mark.parametrize(("net", "prefix", "given", "expected"), [
    ("mapping", "flameModel.regressor.", "z", "shape"),
    ("deep", "deep.", "deep_z", "deep_shape"),
])  # fmt: skip
def test_mapping(golden, net, prefix, given, expected):
    network = mapping(state(golden, net, prefix), "formula", "cpu")
    np.testing.assert_allclose(network(torch.from_numpy(golden[given])).numpy(), golden[expected], atol=5e-6)
