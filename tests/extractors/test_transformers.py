"""DINOv2 and CLIP: folders in Hugging Face layout, sizes, and the position table."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from bench.errors import UserError
from bench.extractors.clip import Clip
from bench.extractors.dinov2 import Dinov2, resampled
from bench.runtime import Runtime
from tests import weights

CROPS = np.random.default_rng(0).integers(0, 256, (2, 512, 512, 3), dtype=np.uint8)
MAKERS = {"dinov2": (weights.dinov2, Dinov2), "clip": (weights.clip, Clip)}


@pytest.fixture
def folder(request, tmp_path):
    weights_of, _ = MAKERS[request.param]
    weights_of(tmp_path / "model")
    return request.param, tmp_path / "model"


each = pytest.mark.parametrize("folder", MAKERS, indirect=True)


def loaded(kind, folder):
    network = MAKERS[kind][1]
    return network(network.Options(weights=folder), Runtime())


def resave(folder, change):
    state = load_file(folder / "model.safetensors")
    save_file(change(state), folder / "model.safetensors", metadata={"format": "pt"})


@each
def test_half_precision_folders_run_in_float32(folder):
    resave(folder[1], lambda state: {key: value.half() for key, value in state.items()})
    half = loaded(*folder)
    assert {parameter.dtype for parameter in half.network.parameters()} == {torch.float32}
    resave(folder[1], lambda state: {key: value.float() for key, value in state.items()})
    feature = half.extract(CROPS)["feature"]
    assert feature.dtype == np.float32
    np.testing.assert_array_equal(feature, loaded(*folder).extract(CROPS)["feature"])


@each
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if "layer.1." not in k and "layers.1." not in k}, "keys missing"),
        (lambda s: s | {"decoder.weight": torch.zeros(1)}, r"1 keys unexpected \(decoder\.weight"),
        (lambda s: {k: v[..., :-1] if "patch_embedding" in k and v.ndim == 4 else v for k, v in s.items()}, "shape"),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_a_wrong_folder_is_named(folder, change, message):
    resave(folder[1], lambda state: {key: value.contiguous() for key, value in change(state).items()})
    with pytest.raises(UserError, match=message) as caught:
        loaded(*folder)
    assert str(folder[1]) in str(caught.value)


@each
@pytest.mark.parametrize("content", [None, b"not safetensors"], ids=["absent", "broken"])
def test_no_weights(folder, content):
    path = folder[1] / "model.safetensors"
    path.unlink()
    if content:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"holds no weights|does not load as"):
        loaded(*folder)


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return eval, (f"open({str(self.marker)!r}, 'w').close()",)


@each
def test_pickled_weights_are_never_run(folder, tmp_path):
    (folder[1] / "model.safetensors").unlink()
    marker = tmp_path / "it ran"
    torch.save({"layernorm.weight": Attack(marker)}, folder[1] / "pytorch_model.bin")
    with pytest.raises(UserError):
        loaded(*folder)
    (folder[1] / "pytorch_model.bin").write_bytes(pickle.dumps(Attack(marker), protocol=2))
    with pytest.raises(UserError):
        loaded(*folder)
    assert not marker.exists()


@each
def test_crops_are_shrunk_by_pillows_bicubic_filter(folder):
    network = loaded(*folder)
    size = 224 if folder[0] == "dinov2" else network.size
    small = np.stack([np.asarray(Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC)) for c in CROPS])
    np.testing.assert_array_equal(network.extract(CROPS)["feature"], network.extract(small)["feature"])


def test_clip_answers_the_projection_at_its_own_size(tmp_path):
    weights.clip(tmp_path / "clip")
    network = loaded("clip", tmp_path / "clip")
    assert network.size == 56
    assert network.extract(CROPS)["feature"].shape == (2, 16)


def test_dinov2_answers_the_normalised_class_token(tmp_path):
    from transformers import Dinov2Model

    weights.dinov2(tmp_path / "dinov2", image_size=224)
    model = Dinov2Model.from_pretrained(tmp_path / "dinov2").eval()
    small = np.stack([np.asarray(Image.fromarray(c).resize((224, 224), Image.Resampling.BICUBIC)) for c in CROPS])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = ((torch.from_numpy(small) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = model(images).last_hidden_state[:, 0].numpy()
    found = loaded("dinov2", tmp_path / "dinov2").extract(CROPS)["feature"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_position_table_follows_the_official_rule():
    """Sampled at (k + 0.5) * 37 / 16.1 - 0.5, and not at (k + 0.5) * 37 / 16 - 0.5 as transformers has it."""
    ramp = torch.arange(37.0).expand(37, 37)
    table = torch.cat([torch.full((1, 1, 1), 99.0), ramp.reshape(1, -1, 1)], dim=1)
    found = resampled(table, 16)
    assert found.shape == (1, 257, 1)
    assert found[0, 0, 0] == 99
    far = found[0, 1:, 0].reshape(16, 16)[:, 10:15]
    places = torch.arange(10, 15) + 0.5
    kernel = 0.05  # torch's cubic kernel (a = -0.75) does not reproduce a ramp exactly
    torch.testing.assert_close(far, (places * 37 / 16.1 - 0.5).expand(16, 5), rtol=0, atol=kernel)
    assert (far - (places * 37 / 16 - 0.5)).abs().min() > 2 * kernel


def test_a_table_of_the_right_size_is_left_alone():
    table = torch.rand(1, 257, 4)
    assert torch.equal(resampled(table, 16), table)
