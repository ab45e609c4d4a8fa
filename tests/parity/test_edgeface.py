"""EdgeFace's four networks against the official classes, on weights made by the golden formula."""

import numpy as np
import pytest
import torch

from bench.extractors.edgeface import EdgeFace
from bench.runtime import Runtime
from tests.parity.judges import FOLDER, case, cosines, images, state
from tests.parity.official import checks
from tests.shared import needs

pytestmark = needs(FOLDER / "edgeface.npz")


@pytest.mark.parametrize("name", ["xs_gamma_06", "s_gamma_05", "xxs", "base"])
def test_network(name, tmp_path):
    golden = case("edgeface")
    torch.save(state(golden, name), tmp_path / "edgeface.pt")
    network = EdgeFace(EdgeFace.Options(weights=tmp_path / "edgeface.pt", network=name), Runtime())
    stages, crops = [], np.stack(images(golden))
    for stage in network._network.stages:
        stage.register_forward_hook(lambda _module, _inputs, output: stages.append(output[0]))
    found = network.extract(crops)
    np.testing.assert_allclose(found["feature"], golden[f"{name}_embedding"], atol=1e-4)
    np.testing.assert_allclose(found["norm"], golden[f"{name}_norm"], rtol=1e-5)
    expected = [golden[f"{name}_stage{index}_checks"] for index in range(4)]
    np.testing.assert_allclose([checks(stage) for stage in stages], expected, rtol=1e-3, atol=0.02)
    swapped = network.extract(crops[..., ::-1])["feature"]
    np.testing.assert_allclose(
        cosines(swapped, golden[f"{name}_embedding"]), golden[f"{name}_wrong_bgr_cosine"], atol=1e-4
    )
