"""CR-FIQA, MagFace and the original CurricularFace against their official classes, on weights made by the formula."""

import numpy as np
import pytest
import torch

from bench.extractors.adaface import AdaFace
from bench.extractors.crfiqa import CrFiqa
from bench.extractors.magface import MagFace
from bench.networks import pixels
from bench.runtime import Runtime
from tests.parity.judges import FOLDER, case, cosines, images, state, unit
from tests.parity.official import checks
from tests.shared import needs


def saved(folder, name, content):
    torch.save(content, folder / name)
    return folder / name


@pytest.fixture(scope="module", params=["iresnet50", pytest.param("iresnet100", marks=pytest.mark.exhaustive)])
def crfiqa(request, tmp_path_factory):
    golden, name = case("crfiqa"), request.param
    path = saved(tmp_path_factory.mktemp("crfiqa"), "backbone.pth", state(golden, name))
    return name, CrFiqa(CrFiqa.Options(weights=path, network=name, batch=3), Runtime())


@needs(FOLDER / "crfiqa.npz")
def test_crfiqa(crfiqa):
    name, network = crfiqa
    golden = case("crfiqa")
    crops = np.stack(images(golden))
    quality = network.extract(crops)["quality"]
    np.testing.assert_allclose(quality, golden[f"{name}_quality"], rtol=1e-5, atol=5e-4)
    with torch.inference_mode():
        features = network.features(pixels(crops, "cpu")).numpy()
    expected = golden[f"{name}_feature"]
    np.testing.assert_allclose(features[: len(expected)], expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), golden[f"{name}_feature_norm"], rtol=5e-6)
    swapped = network.extract(crops[..., ::-1])["quality"]
    np.testing.assert_allclose(swapped, golden[f"{name}_wrong_bgr_quality"], rtol=1e-5, atol=1e-3)


@needs(FOLDER / "magface.npz")
@pytest.mark.parametrize(
    "prefix",
    ["state_dict.features.module.", pytest.param("state_dict.module.features.", marks=pytest.mark.exhaustive)],
)
def test_magface(prefix, tmp_path):
    golden = case("magface")
    tensors = {f"{prefix}{key}": tensor for key, tensor in state(golden, "net", "features.module.").items()}
    path = saved(tmp_path, "magface.pth", {"epoch": 25, **tensors, "state_dict.fc.weight": torch.zeros(512, 10)})
    network = MagFace(MagFace.Options(weights=path, batch=3), Runtime())
    crops = np.stack(images(golden))
    found = network.extract(crops)
    atol = 1e-5 * np.abs(golden["embedding"]).max()
    np.testing.assert_allclose(found["feature"], golden["embedding"], atol=atol)
    np.testing.assert_allclose(found["norm"], golden["norm"], rtol=5e-6)
    assert np.abs(found["feature"][0] - golden["wrong_eps_1e-5_embedding0"]).max() > 3 * atol
    swapped = network.extract(crops[..., ::-1])
    np.testing.assert_allclose(swapped["norm"], golden["wrong_rgb_norm"], rtol=5e-6)


@needs(FOLDER / "curricularface.npz")
def test_curricularface(tmp_path):
    golden = case("curricularface")
    path = saved(tmp_path, "curricular.pth", state(golden, "net"))
    options = {"weights": path, "network": "curricular_101", "colour": "rgb", "batch": 3}
    crops = np.stack(images(golden))
    network = AdaFace(AdaFace.Options(**options), Runtime())
    found = network.extract(crops)
    np.testing.assert_allclose(found["feature"], golden["embedding"], atol=1e-5 * np.abs(golden["embedding"]).max())
    np.testing.assert_allclose(found["norm"], golden["norm"], rtol=5e-6)
    fused = AdaFace(AdaFace.Options(**options, flip=True), Runtime()).extract(crops)["feature"]
    np.testing.assert_allclose(unit(fused), golden["flip_fused"], atol=5e-6)
    bgr = AdaFace(AdaFace.Options(**options | {"colour": "bgr"}), Runtime()).extract(crops)["feature"]
    np.testing.assert_allclose(cosines(bgr, golden["embedding"]), golden["wrong_bgr_cosine"], atol=1e-4)
    with torch.inference_mode():
        maps = network._network.body(network._network.input_layer(pixels(crops, "cpu") * 2 - 1))
    np.testing.assert_allclose([checks(one) for one in maps], golden["conv_out_checks"], rtol=1e-4)
