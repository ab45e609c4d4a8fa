"""AdaFace: the files it takes and those it refuses. tests/parity holds what it computes against the official code."""

import numpy as np
import pytest

from bench.errors import UserError
from bench.extractors.adaface import AdaFace
from bench.runtime import Runtime


@pytest.fixture(scope="module")
def state():
    import torch

    from bench.extractors.iresnet import IResNet

    torch.manual_seed(0)
    return IResNet("ir_18").state_dict()


@pytest.fixture(scope="module")
def checkpoint(state, tmp_path_factory):
    """As Lightning writes it: the backbone under "model." beside the training head."""
    import torch

    path = tmp_path_factory.mktemp("adaface") / "adaface.ckpt"
    tensors = {f"model.{key}": tensor for key, tensor in state.items()}
    torch.save({"epoch": 3, "state_dict": {**tensors, "head.kernel": torch.zeros(512, 10)}}, path)
    return path


def adaface(file, **options):
    return AdaFace(AdaFace.Options(weights=file, network="ir_18", **options), Runtime())


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)


def test_lightning_checkpoint(checkpoint, crops):
    found = adaface(checkpoint).extract(crops)
    assert found["feature"].shape == (2, 512)
    np.testing.assert_allclose(found["norm"], np.linalg.norm(found["feature"], axis=1), rtol=1e-6)
    rgb = adaface(checkpoint, colour="rgb").extract(crops[..., ::-1])
    np.testing.assert_array_equal(found["feature"], rgb["feature"])


def test_cvlface_folder(state, crops, tmp_path):
    """As CVLface's folders on the Hub have it: safetensors, under the names of its wrapper, for RGB."""
    from safetensors.torch import save_file

    path = tmp_path / "adaface_ir18_vggface2.safetensors"
    save_file({f"model.net.{key}": tensor.contiguous() for key, tensor in state.items()}, path)
    bare = tmp_path / "model.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, bare)
    found = adaface(path, colour="rgb").extract(crops)["feature"]
    np.testing.assert_array_equal(found, adaface(bare, colour="rgb").extract(crops)["feature"])


def test_flip_makes_mirror_images_equal(checkpoint, crops):
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    plain = adaface(checkpoint)
    assert np.abs(plain.extract(crops)["feature"] - plain.extract(mirrored)["feature"]).max() > 1e-3
    fused = adaface(checkpoint, flip=True)
    ours, theirs = fused.extract(crops)["feature"], fused.extract(mirrored)["feature"]
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(ours).max())


def test_wrong_files_are_told(checkpoint, state, tmp_path):
    import torch

    with pytest.raises(UserError, match="as AdaFace ir_50 does not fit"):
        AdaFace(AdaFace.Options(weights=checkpoint, network="ir_50"), Runtime())
    with pytest.raises(UserError, match="no weights at"):
        adaface(tmp_path / "missing.ckpt")
    other = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, other)
    with pytest.raises(UserError, match="holds 0 tensors"):
        adaface(other)
    short = tmp_path / "short.pth"
    torch.save({key: tensor for key, tensor in state.items() if "body.7." not in key}, short)
    with pytest.raises(UserError, match="missing"):
        adaface(short)


def test_nothing_in_a_file_is_executed(tmp_path):
    import torch

    path = tmp_path / "objects.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": Runtime()}, path)
    with pytest.raises(UserError, match="Python objects"):
        adaface(path)
