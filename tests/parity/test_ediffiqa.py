"""eDifFIQA(T) against the official class, on weights made by the golden formula, by way of an ONNX file."""

import numpy as np
import pytest

from bench.errors import UserError
from bench.extractors.ediffiqa import EDifFiqa
from bench.faces.boxes import resize
from bench.runtime import Runtime
from tests.faces import toys
from tests.parity.ediffiqa_onnx import write
from tests.parity.judges import FOLDER, case, images, state
from tests.shared import needs


@needs(FOLDER / "ediffiqa.npz")
def test_quality(tmp_path):
    golden = case("ediffiqa")
    path = write(state(golden, "net"), tmp_path / "ediffiqa_tiny_jun2024.onnx")
    network = EDifFiqa(EDifFiqa.Options(weights=path), Runtime())
    crops = np.stack([resize(image, (112, 112), "bilinear") for image in images(golden)])
    np.testing.assert_allclose(network.extract(crops)["quality"], golden["quality"], atol=2e-6)
    swapped = network.extract(crops[..., ::-1])["quality"]
    np.testing.assert_allclose(swapped, golden["wrong_bgr_quality"], atol=2e-6)
    large = network.extract(images(golden)[2][None])["quality"]
    np.testing.assert_allclose(large, golden["zoo_quality"][2:], atol=5e-5)


def test_a_recogniser_is_no_judge_of_quality(tmp_path):
    path = toys.regressor(tmp_path / "recogniser.onnx", 112, 8)
    with pytest.raises(UserError, match=r"answers with shape \(8,\), not dim=1"):
        EDifFiqa(EDifFiqa.Options(weights=path), Runtime())
