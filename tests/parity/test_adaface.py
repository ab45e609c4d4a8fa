"""AdaFace's backbones against the official implementation, on official-size weights made by the golden formula."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench.extractors.adaface import AdaFace
from bench.runtime import Runtime
from tests.parity.formula import parameter, timg
from tests.shared import GOLDEN, needs

FILE = GOLDEN / "metrics" / "adaface_backbone.npz"

pytestmark = needs(FILE)


@pytest.fixture(scope="module")
def golden():
    return np.load(FILE)


@pytest.fixture(scope="module")
def settings():
    return json.loads((GOLDEN / "set.json").read_text())


@pytest.fixture(scope="module")
def crops(settings):
    first = timg(112, 112, 1, settings["q"])
    return np.stack([first, timg(112, 112, 4, settings["q"]), np.roll(first, 3, axis=1)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("adaface")


def load(network: str, salt: str, folder: Path, **options) -> AdaFace:
    """The network with formula weights, by way of a file."""
    path = folder / f"{network}.safetensors"
    if not path.exists():
        write(network, salt, path)
    return AdaFace(AdaFace.Options(file=path, network=network, batch=3, **options), Runtime())


def write(network: str, salt: str, path: Path) -> None:
    import torch

    from bench.extractors.iresnet import IResNet

    with torch.device("meta"):
        state = IResNet(network).state_dict()
    slopes = {key for key in state if key.endswith(("input_layer.2.weight", "res_layer.3.weight"))}
    wanted = {key: tuple(t.shape) for key, t in state.items() if not key.endswith("num_batches_tracked")}
    save_file({f"model.{key}": parameter(salt, key, shape, key in slopes) for key, shape in wanted.items()}, path)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("network", ["ir_50", "ir_se_50"])
def test_complete(network, golden, settings, crops, folder):
    name = network.upper()
    found = load(network, settings["salt"], folder).extract(crops)
    np.testing.assert_allclose(unit(found["feature"]), golden[f"{name}_embedding"], atol=5e-6)
    np.testing.assert_allclose(found["norm"], golden[f"{name}_norm"][:, 0], rtol=1e-5)
    fused = load(network, settings["salt"], folder, flip=True).extract(crops)
    np.testing.assert_allclose(unit(fused["feature"]), golden[f"{name}_flip_fused"], atol=5e-6)


@pytest.mark.parametrize("network", ["ir_18", "ir_101"])
def test_first_embedding_and_norms(network, golden, settings, crops, folder):
    found = load(network, settings["salt"], folder).extract(crops)
    np.testing.assert_allclose(unit(found["feature"][0]), golden[f"{network.upper()}_embedding0"], atol=5e-6)
    np.testing.assert_allclose(found["norm"], golden[f"{network.upper()}_norm"][:, 0], rtol=1e-5)


def test_colour_order_matters(golden, settings, crops, folder):
    found = load("ir_50", settings["salt"], folder, colour="rgb").extract(crops)
    assert np.abs(unit(found["feature"]) - golden["IR_50_embedding"]).max() > 1e-3
    swapped = load("ir_50", settings["salt"], folder, colour="rgb").extract(crops[..., ::-1])
    np.testing.assert_allclose(unit(swapped["feature"]), golden["IR_50_embedding"], atol=5e-6)
