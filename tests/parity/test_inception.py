"""Inception against the golden features (README: 1e-4 relative to the maximum), and against pytorch-fid's own class."""

import numpy as np
import pytest
import torch

from bench.extractors.inception import Inception
from bench.runtime import Runtime
from tests.parity.formula import timg
from tests.parity.official import PROBE, case, checks, constant, formula_state
from tests.shared import needs

pytestmark = needs(PROBE)
UNUSED = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}


@pytest.fixture(scope="module")
def state():
    return formula_state("inception")


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "pt_inception.pth"
    torch.save(state | UNUSED | {"Mixed_5b.branch1x1.bn.num_batches_tracked": torch.tensor(0)}, path)
    return path


@pytest.fixture(scope="module")
def golden():
    return case("fid_inception")


@pytest.fixture(scope="module")
def images(golden):
    return [timg(h, w, k, constant()) for k, (h, w) in enumerate(golden["sizes"].tolist())]


@pytest.mark.parametrize("dims", [64, 192, 768, 2048])
def test_golden_features(weights, golden, images, dims):
    extractor = Inception(Inception.Options(weights=weights, dims=dims), Runtime())
    features = np.concatenate([extractor.extract(image[None])["feature"] for image in images])
    expected = golden[f"features_{dims}"]
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    if dims == 2048:
        np.testing.assert_allclose(
            checks(features.astype(float).mean(axis=0)), golden["mu_checks"], rtol=1e-5, atol=1e-6
        )


def test_pytorch_fid_gives_the_same(weights, state, images, monkeypatch):
    from pytorch_fid import inception as package

    zeros = {
        key.replace("running_mean", "num_batches_tracked"): torch.tensor(0) for key in state if "running_mean" in key
    }
    monkeypatch.setattr(package, "load_state_dict_from_url", lambda *_, **__: state | UNUSED | zeros)
    official = package.InceptionV3([3]).eval()
    ours = Inception(Inception.Options(weights=weights), Runtime()).extract(images[0][None])["feature"]
    with torch.inference_mode():
        theirs = official(torch.from_numpy(images[0]).permute(2, 0, 1)[None] / 255)[0][..., 0, 0].numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())
