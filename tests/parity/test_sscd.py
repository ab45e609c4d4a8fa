"""SSCD against the official class, on weights made by the golden formula."""

import hashlib

import numpy as np
import pytest
import torch

from bench.extractors.sscd import Sscd
from bench.faces.boxes import shorter_side, stretched
from bench.networks import IMAGENET_MEAN, IMAGENET_STD, pixels, standardise
from bench.runtime import Runtime
from tests.parity.judges import FOLDER, case, cosines, images, state
from tests.parity.official import checks
from tests.shared import needs

pytestmark = needs(FOLDER / "sscd.npz")


@pytest.fixture(scope="module")
def golden():
    return case("sscd")


@pytest.fixture(scope="module")
def six(golden):
    """Three images, the first one mirrored and cut, and a blend."""
    first, second, third = images(golden)
    top, bottom, left, right = golden["cut"]
    blend = ((3 * first.astype(int) + int(second.mean())) // 4).astype(np.uint8)
    return [first, second, third, np.ascontiguousarray(first[:, ::-1]), first[top:bottom, left:right].copy(), blend]


@pytest.fixture(scope="module")
def network(golden, tmp_path_factory):
    path = tmp_path_factory.mktemp("sscd") / "sscd_disc_mixup.torchvision.pt"
    torch.save(state(golden, "net"), path)
    return Sscd(Sscd.Options(weights=path), Runtime())


def test_images(golden, six):
    found = [np.frombuffer(hashlib.sha256(image.tobytes()).digest(), np.uint8) for image in six]
    np.testing.assert_array_equal(found, golden["images_sha256"])


def test_stretched(golden, six, network):
    crops = np.stack([stretched(image, 320) for image in six])
    entered = standardise(pixels(crops, "cpu"), IMAGENET_MEAN, IMAGENET_STD)
    np.testing.assert_allclose([checks(image) for image in entered], golden["skew_input_checks"], rtol=1e-5, atol=0.05)
    found = network.extract(crops)["feature"]
    np.testing.assert_allclose(found, golden["skew_embedding"], atol=2e-6)
    np.testing.assert_allclose(found @ found.T, golden["skew_similarity"], atol=2e-6)


def test_shorter_side_of_288(golden, six, network):
    crops = [shorter_side(image, 288, "bilinear") for image in six]
    np.testing.assert_array_equal([crop.transpose(2, 0, 1).shape for crop in crops], golden["small_shapes"])
    found = np.concatenate([network.extract(crop[None])["feature"] for crop in crops])
    np.testing.assert_allclose(found, golden["small_embedding"], atol=2e-6)
    np.testing.assert_allclose(found @ found.T, golden["small_similarity"], atol=2e-6)


def test_colour_order_matters(golden, six, network):
    """The control: standardised as RGB, then swapped."""
    entered = standardise(pixels(stretched(six[0], 320)[None], "cpu"), IMAGENET_MEAN, IMAGENET_STD)
    with torch.inference_mode():
        swapped = torch.nn.functional.normalize(network._network(entered.flip(1))).numpy()
    np.testing.assert_allclose(swapped[0], golden["wrong_bgr_embedding0"], atol=2e-6)
    assert (
        cosines(network.extract(stretched(six[0], 320)[None, ..., ::-1])["feature"], golden["skew_embedding"][:1]) < 0.9
    )
