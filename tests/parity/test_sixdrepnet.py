"""6DRepNet and 6DRepNet360 against the official classes, on weights made by the golden formula."""

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.extractors import repvgg
from bench.extractors.sixdrepnet import SixDRepNet, euler, rotation
from bench.faces.boxes import middle, shorter_side, whole
from bench.networks import IMAGENET_MEAN, IMAGENET_STD, pixels, standardise
from bench.runtime import Runtime
from tests.parity.judges import FOLDER, case, images, state
from tests.parity.official import checks
from tests.shared import needs

pytestmark = needs(FOLDER / "sixdrepnet.npz")


@pytest.fixture(scope="module")
def golden():
    return case("sixdrepnet")


def geodesic(left, right):
    """Degrees between rotation matrices (n, 3, 3), by the arc sine, which small angles survive."""
    chord = np.linalg.norm(left.astype(float) - right.astype(float), axis=(1, 2))
    return np.degrees(2 * np.arcsin(np.clip(chord / np.sqrt(8), 0, 1)))


def test_head(golden):
    matrix = rotation(torch.from_numpy(golden["six"]))
    np.testing.assert_allclose(matrix, golden["six_R"], atol=1e-6)
    angles = euler(matrix).rad2deg().numpy()
    wrapped = (angles - golden["six_pitch_yaw_roll"] + 180) % 360 - 180
    assert np.abs(wrapped).max() < 2e-3


def test_angles_of_known_rotations(golden):
    back = euler(torch.from_numpy(golden["angles_R"]).float()).numpy()
    np.testing.assert_allclose(back, golden["angles_back"], atol=1e-5)


@pytest.fixture(scope="module")
def crops(golden):
    return np.stack([whole(image, 224, "bilinear") for image in images(golden)])


def loaded(folder, golden, net, network):
    path = folder / "6drepnet.pth"
    torch.save({"epoch": 3, "model_state_dict": state(golden, net)} if net == "train" else state(golden, net), path)
    return SixDRepNet(SixDRepNet.Options(weights=path, network=network), Runtime())


def test_input(golden, crops):
    entered = standardise(pixels(crops, "cpu"), IMAGENET_MEAN, IMAGENET_STD)
    np.testing.assert_allclose([checks(image) for image in entered], golden["input224_checks"], rtol=1e-5, atol=0.05)
    np.testing.assert_allclose(entered[:, :, 100], golden["input224_row100"], atol=1e-6)


@pytest.mark.parametrize("net", ["deploy", pytest.param("train", marks=pytest.mark.exhaustive)])
def test_repvgg(net, golden, crops, tmp_path):
    network = loaded(tmp_path, golden, net, "repvgg_b1g2")
    found = network.extract(crops)
    matrix = found["feature"].reshape(-1, 3, 3)
    np.testing.assert_allclose(matrix, golden[f"{net}_R"], atol=4e-4)
    assert geodesic(matrix, golden[f"{net}_R"]).max() < 0.03
    angles = np.column_stack([found["pitch"], found["yaw"], found["roll"]])
    np.testing.assert_allclose(angles, golden[f"{net}_pitch_yaw_roll"], atol=0.06)
    assert np.abs(network.extract(crops[..., ::-1])["feature"] - found["feature"]).max() > 0.1


@pytest.mark.parametrize("net", ["deploy", "train"])
def test_six_numbers(net, golden, crops, tmp_path):
    network = loaded(tmp_path, golden, net, "repvgg_b1g2")
    with torch.inference_mode():
        six = network._network(standardise(pixels(crops, "cpu"), IMAGENET_MEAN, IMAGENET_STD)).numpy()
    np.testing.assert_allclose(six, golden["train_converted_six" if net == "train" else "deploy_six"], atol=2e-4)


def test_branches_are_joined_as_officially(golden):
    fused = repvgg.joined(state(golden, "train"))
    assert set(fused) == set(state(golden, "deploy"))
    for key, weight, bias in zip(*(golden[f"converted_{p}"] for p in ("keys", "checks", "bias_checks")), strict=True):
        np.testing.assert_allclose(checks(fused[str(key)]), weight, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(checks(fused[str(key).replace("weight", "bias")]), bias, rtol=1e-5, atol=1e-5)


def test_resnet(golden, tmp_path):
    crops = np.stack([middle(shorter_side(image, 256, "bilinear"), 224) for image in images(golden)])
    entered = standardise(pixels(crops, "cpu"), IMAGENET_MEAN, IMAGENET_STD)
    np.testing.assert_allclose([checks(image) for image in entered], golden["input256_checks"], rtol=1e-5, atol=0.05)
    matrix = loaded(tmp_path, golden, "r360", "resnet50").extract(crops)["feature"].reshape(-1, 3, 3)
    assert geodesic(matrix, golden["r360_R"]).max() < 0.03


def test_another_size_is_refused(golden, crops, tmp_path):
    network = loaded(tmp_path, golden, "deploy", "repvgg_b1g2")
    with pytest.raises(UserError, match="224 x 224 pixels, not 223 x 224"):
        network.extract(crops[:, 1:])
