"""CVLface's transformers against the official classes, on weights made by the golden formula."""

import numpy as np
import pytest
from safetensors.torch import save_file

from bench.extractors.cvlface_vit import CvlfaceVit
from bench.extractors.kprpe_vit import buckets
from bench.runtime import Runtime
from tests.parity.judges import FOLDER, case, cosines, images, state
from tests.shared import needs

pytestmark = needs(FOLDER / "cvlface_vit.npz")


def loaded(folder, net, **options):
    tensors = {f"model.{key}": tensor for key, tensor in state(case("cvlface_vit"), net).items()}
    save_file(tensors, folder / "model.safetensors")
    return CvlfaceVit(CvlfaceVit.Options(weights=folder / "model.safetensors", **options), Runtime())


def test_buckets():
    np.testing.assert_array_equal(buckets(), case("cvlface_vit")["buckets"])


@pytest.mark.parametrize("size", ["small", pytest.param("base", marks=pytest.mark.exhaustive)])
def test_with_key_points(size, tmp_path):
    golden = case("cvlface_vit")
    network, crops, points = loaded(tmp_path, size, network=size), np.stack(images(golden)), golden["keypoints"] * 112
    found = network.embed(crops, points)
    np.testing.assert_allclose(found["feature"], golden[f"{size}_embedding"], atol=2e-4)
    np.testing.assert_allclose(found["norm"], golden[f"{size}_norm"], rtol=1e-5)
    for mistake, given in (("pixel", points * 112), ("yx", points[..., ::-1])):
        cosine = cosines(network.embed(crops, given)["feature"], golden[f"{size}_embedding"])
        np.testing.assert_allclose(cosine, golden[f"{size}_wrong_{mistake}_keypoints_cosine"], atol=1e-4)
    template = network.extract(crops)["feature"]
    cosine = cosines(template, golden[f"{size}_embedding"])
    np.testing.assert_allclose(cosine, golden[f"{size}_wrong_template_keypoints_cosine"], atol=1e-5)


def test_without_key_points(tmp_path):
    golden = case("cvlface_vit")
    network = loaded(tmp_path, "vit_base", kprpe=False)
    found = network.extract(np.stack(images(golden)))
    np.testing.assert_allclose(found["feature"], golden["vit_base_embedding"], atol=2e-4)
    np.testing.assert_allclose(found["norm"], golden["vit_base_norm"], rtol=1e-5)
