"""Checkpoints and pixels."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bench.errors import UserError
from bench.networks import bicubic, fill, load_state, pixels, select, standardise


def test_nested_dictionaries_become_dotted_keys(tmp_path):
    torch.save({"E_flame": {"a.b": torch.ones(2)}, "step": 3, "opt": {0: {"x": torch.zeros(1)}}}, tmp_path / "a.tar")
    state = load_state(tmp_path / "a.tar")
    assert sorted(state) == ["E_flame.a.b", "opt.0.x"]
    assert sorted(select(state, "nothing.", "E_flame.")) == ["a.b"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_floats_come_back_in_float32_and_integers_as_they_are(tmp_path, dtype, name):
    state = {"x": torch.tensor([1.5, -2.25], dtype=dtype), "n": torch.tensor([3])}
    (save_file if name.endswith("safetensors") else torch.save)(state, tmp_path / name)
    loaded = load_state(tmp_path / name)
    assert loaded["x"].dtype == torch.float32
    assert loaded["x"].tolist() == [1.5, -2.25]
    assert loaded["n"].dtype == torch.int64


def test_files_of_before_torch_1_6(tmp_path):
    torch.save({"x": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_state(tmp_path / "old.pth")["x"].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.tar"])
@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"version https://git-lfs\n", b"PK\x03\x04 cut off"])
def test_files_that_are_no_checkpoints(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        load_state(tmp_path / name)


def test_everything_comes_from_the_file():
    """A network that lies nowhere (device meta) computes after filling: no parameter was left to chance."""
    with torch.device("meta"):
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2))
    state = {key: torch.ones(value.shape) for key, value in network.state_dict().items() if "tracked" not in key}
    fill(network, state, "test")
    assert not network.training
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in network.parameters())
    torch.testing.assert_close(network(torch.ones(1, 3, 1, 1)).flatten(), torch.full((2,), 1 + 3 / (1 + 1e-5) ** 0.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, r"f\.pth does not fit the network: 1 keys missing \(bias \(2,\)\)"),
        ({"weight": torch.zeros(2, 5)}, r"1 keys of another shape \(weight \(2, 5\), expected \(2, 4\)\)"),
        ({"other": torch.zeros(1)}, r"1 keys unexpected \(other\)"),
        ({f"extra.{k}": torch.zeros(1) for k in range(5)}, r"5 keys unexpected \(.*, \.\.\.\)"),
    ],
)
def test_faults_are_told(change, message):
    state = {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)} | change
    with pytest.raises(UserError, match=message):
        fill(torch.nn.Linear(4, 2), {key: value for key, value in state.items() if value is not None}, "f.pth")


def test_documented_extras_are_passed_over():
    state = {"weight": torch.zeros(2, 4), "bias": torch.zeros(2), "fc.weight": torch.zeros(1)}
    fill(torch.nn.Linear(4, 2), state, "f.pth", unused=("fc.",))


def test_pixels_are_rgb_in_0_to_1():
    crops = np.array([[[[0, 51, 255], [255, 0, 102]]]], dtype=np.uint8)
    expected = torch.tensor([[[[0, 1]], [[0.2, 0]], [[1, 0.4]]]])
    assert torch.equal(pixels(crops, "cpu"), expected)
    assert torch.equal(pixels(crops[:, :, ::-1], "cpu"), expected.flip(3))


@pytest.mark.parametrize(
    "crops", [np.zeros((1, 2, 2, 3)), np.zeros((2, 2, 3), np.uint8), np.zeros((1, 2, 2, 4), np.uint8)]
)
def test_other_pixels_are_refused(crops):
    with pytest.raises(TypeError, match=r"expected \(b, H, W, 3\) uint8"):
        pixels(crops, "cpu")


def test_standardise():
    found = standardise(torch.ones(1, 3, 1, 1), (0.5, 0, 1), (0.5, 2, 1))
    assert found.flatten().tolist() == [1, 0.5, 0]


def test_bicubic_is_pillows():
    crops = np.random.default_rng(0).integers(0, 256, (2, 50, 50, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(crops[1]).resize((17, 17), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(bicubic(crops, 17)[1], expected)
