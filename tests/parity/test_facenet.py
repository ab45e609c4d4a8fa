"""FaceNet against facenet-pytorch, on weights made by the golden formula."""

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.extractors.facenet import FaceNet
from bench.faces.boxes import facenet160
from bench.runtime import Runtime
from tests.parity.judges import FOLDER, case, cosines, image, images, state, unit
from tests.shared import needs

pytestmark = needs(FOLDER / "facenet.npz")


@pytest.fixture(scope="module")
def golden():
    return case("facenet")


@pytest.fixture(scope="module")
def network(golden, tmp_path_factory):
    path = tmp_path_factory.mktemp("facenet") / "vggface2.pt"
    torch.save(state(golden, "net") | {"logits.weight": torch.zeros(8631, 512), "logits.bias": torch.zeros(8631)}, path)
    return FaceNet(FaceNet.Options(weights=path), Runtime())


def test_embedding(golden, network):
    found = network.extract(np.stack(images(golden)))
    np.testing.assert_allclose(unit(found["feature"]), golden["embedding"], atol=2e-6)
    np.testing.assert_allclose(found["feature"], golden["before_normalisation"], atol=1e-5)
    np.testing.assert_allclose(found["norm"], golden["norm"], rtol=5e-6)


def test_usual_mistakes_are_told_apart(golden, network):
    crops = np.stack(images(golden))
    swapped = network.extract(crops[..., ::-1])["feature"]
    np.testing.assert_allclose(cosines(swapped, golden["embedding"]), golden["wrong_bgr_cosine"], atol=2e-5)
    assert np.abs(unit(network.extract(crops)["feature"][0]) - golden["wrong_div127_5_embedding0"]).max() > 5e-5


def test_crops(golden, network):
    (args,) = golden["crop_image_args"]
    whole = image(str(golden["crop_image_kinds"][0]), *(int(n) for n in args))
    rows = zip(golden["crop_boxes"], golden["crop_margins"], strict=True)
    crops = np.stack([facenet160(whole, box, int(margin)) for box, margin in rows])
    np.testing.assert_array_equal(crops[:, 80], golden["crop_row80"])
    sums = crops.reshape(3, 40, 4, 40, 4, 3).sum((2, 4))
    np.testing.assert_array_equal(sums, golden["crop_block4_sum"])
    np.testing.assert_allclose(unit(network.extract(crops)["feature"]), golden["crop_embeddings"], atol=2e-6)


def test_another_size_is_refused(network):
    with pytest.raises(UserError, match="160 x 160 pixels, not 112 x 112"):
        network.extract(np.zeros((1, 112, 112, 3), np.uint8))
