"""FLAME encoders: what the parts of a code are, and which files give them."""

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.extractors.flame import Emoca, FlameOptions, Smirk, SmirkOptions
from bench.metrics.functional.flame import EXPRESSION, GLOBAL, JAW
from bench.runtime import Runtime
from tests.weights import deca, smirk

CROP = np.full((1, 224, 224, 3), 99, dtype=np.uint8)


def constant_smirk(pose, expression):
    """SMIRK weights that answer the same raw numbers for every image."""
    state = smirk("small", "small")
    for name, head, raw in (
        ("pose_encoder", "pose_cam_layers", pose),
        ("expression_encoder", "expression_layers", expression),
    ):
        state[f"{name}.{head}.0.weight"].zero_()
        state[f"{name}.{head}.0.bias"] = torch.tensor(raw, dtype=torch.float32)
    return state


def extracted(state, path):
    torch.save(state, path)
    return Smirk(SmirkOptions(weights=path), Runtime()).extract(CROP)


@pytest.mark.parametrize(
    ("raw", "eyelids", "jaw"),
    [
        ([2.0, -1.0, -3.0, 0.5, -0.5], [1.0, 0.0], [0.0, 0.2, -0.2]),
        ([0.25, 0.75, 0.4, -0.1, 0.1], [0.25, 0.75], [0.4, -0.1, 0.1]),
    ],
)
def test_smirk_bounds(tmp_path, raw, eyelids, jaw):
    expression = [k / 10 for k in range(50)]
    columns = extracted(constant_smirk([0.1, 0.2, 0.3, 7.0, 8.0, 9.0], expression + raw), tmp_path / "smirk.pt")
    feature = columns["feature"]
    assert feature.shape == (1, 56)
    assert feature.dtype == np.float32
    np.testing.assert_allclose(feature[0, EXPRESSION], expression, rtol=1e-6)
    np.testing.assert_allclose(feature[0, GLOBAL], [0.1, 0.2, 0.3], rtol=1e-6)
    np.testing.assert_allclose(feature[0, JAW], jaw, rtol=1e-6)
    found = [columns[name].item() for name in ("cam_scale", "cam_x", "cam_y", "eyelid_left", "eyelid_right")]
    np.testing.assert_allclose(found, [7, 8, 9, *eyelids], rtol=1e-6)


@pytest.mark.parametrize("sizes", [("small", "large"), ("large", "small")])
def test_smirk_trunks_of_either_size(tmp_path, sizes):
    assert extracted(smirk(*sizes), tmp_path / "smirk.pt")["feature"].shape == (1, 56)


def test_smirk_ignores_what_no_metric_reads(tmp_path):
    state = smirk("small", "small")
    others = {"shape_encoder.shape_layers.0.bias": torch.zeros(300), "smirk_generator.x": torch.zeros(1)}
    wrapped = {f"smirk_encoder.{key}": value for key, value in state.items()} | {
        key if "generator" in key else f"smirk_encoder.{key}": value for key, value in others.items()
    }
    ours, plain = extracted(wrapped, tmp_path / "a.pt"), extracted(state, tmp_path / "b.pt")
    np.testing.assert_array_equal(ours["feature"], plain["feature"])


def test_smirk_with_another_head(tmp_path):
    state = smirk("small", "small")
    state["expression_encoder.expression_layers.0.weight"] = torch.zeros(55, 1280)
    with pytest.raises(UserError, match="reads 1280 channels"):
        extracted(state, tmp_path / "smirk.pt")


def test_emoca_needs_both_encoders(tmp_path):
    torch.save({"E_flame": deca("E_flame")}, tmp_path / "deca.tar")
    with pytest.raises(UserError, match=r"E_expression does not fit.*missing"):
        Emoca(FlameOptions(weights=tmp_path / "deca.tar"), Runtime())


def test_emoca_with_jaw_in_its_expression_is_another_model(tmp_path):
    expression = dict(deca("E_expression"))
    expression["layers.2.weight"], expression["layers.2.bias"] = torch.zeros(53, 1024), torch.zeros(53)
    torch.save({"E_flame": deca("E_flame"), "E_expression": expression}, tmp_path / "emoca.pth")
    with pytest.raises(UserError, match=r"layers\.2\.weight \(53, 1024\), expected \(50, 1024\)"):
        Emoca(FlameOptions(weights=tmp_path / "emoca.pth"), Runtime())


def test_smirk_of_another_size_sees_the_crop_scaled(tmp_path):
    path = tmp_path / "smirk.pt"
    torch.save(smirk("small", "small"), path)
    crop = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3)).astype(np.uint8)
    small, whole = (Smirk(SmirkOptions(weights=path, size=size), Runtime()) for size in (64, 224))
    values = torch.from_numpy(crop.transpose(0, 3, 1, 2) / np.float32(255))
    scaled = torch.nn.functional.interpolate(values, (64, 64), mode="bilinear", antialias=True)
    with torch.inference_mode():
        expected = small.encode(scaled).rotation.numpy()
    np.testing.assert_allclose(small.extract(crop)["feature"][:, GLOBAL], expected, atol=2e-5)
    assert np.abs(whole.extract(crop)["feature"][:, GLOBAL] - expected).max() > 1e-3
