"""DECA, EMOCA and SMIRK encoders against the golden outputs (README: 2e-4)."""

import hashlib
from itertools import combinations

import numpy as np
import pytest
import torch

from bench.extractors.flame import E_FLAME, Deca, Emoca, FlameOptions, Smirk, SmirkOptions
from bench.metrics.functional.flame import EXPRESSION, GLOBAL, JAW
from bench.runtime import Runtime
from tests.parity.formula import simg, timg
from tests.parity.official import PROBE, case, checks, constant, formula_state
from tests.shared import needs

pytestmark = needs(PROBE)
TOLERANCE = {"rtol": 0, "atol": 2e-4}


@pytest.fixture(scope="module")
def deca(tmp_path_factory):
    path = tmp_path_factory.mktemp("deca") / "deca_model.tar"
    torch.save({"E_flame": without(formula_state("E_flame"), "E_flame."), "E_detail": {"x": torch.zeros(1)}}, path)
    return Deca(FlameOptions(weights=path), Runtime())


@pytest.fixture(scope="module")
def emoca(tmp_path_factory):
    path = tmp_path_factory.mktemp("emoca") / "emoca.ckpt"
    both = formula_state("E_flame") | formula_state("E_expression")
    state = {f"deca.{key}": value for key, value in both.items()} | {"deca.flame.v_template": torch.zeros(5, 3)}
    torch.save({"state_dict": state, "epoch": 10}, path)
    return Emoca(FlameOptions(weights=path), Runtime())


@pytest.fixture(scope="module")
def smirk(tmp_path_factory):
    path = tmp_path_factory.mktemp("smirk") / "SMIRK_em1.pt"
    torch.save({f"smirk_encoder.{key}": value for key, value in formula_state("smirk").items()}, path)
    return Smirk(SmirkOptions(weights=path), Runtime())


@pytest.fixture(scope="module")
def golden():
    return case("deca_encoders")


@pytest.fixture(scope="module")
def formula_images(golden):
    q = constant()
    pair = np.stack([timg(224, 224, 0, q), (timg(224, 224, 3, q).astype(int) * 3 // 4 + 30).astype(np.uint8)])
    assert hashlib.sha256(pair.tobytes()).digest() == golden["images_sha256"].tobytes()
    return pair


@pytest.fixture(scope="module")
def float_crops():
    """The three official crops, which are float and not rounded to bytes."""
    crops = case("deca_crop")
    stacked = np.stack([warped(crops, name) for name in ("astro_plain", "synth_center", "synth_corner")])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float()


def warped(crops, name):
    from skimage.transform import warp

    image = source(crops[f"crop_{name}_image_args"].tolist(), bool(crops[f"crop_{name}_is_astronaut"]))
    crop = warp(image / 255, np.linalg.inv(crops[f"crop_{name}_tform"].astype(float)), output_shape=(224, 224))
    np.testing.assert_allclose(crop[112].T, crops[f"crop_{name}_row112"], rtol=0, atol=2e-5)
    return crop


def source(args, is_astronaut):
    from skimage.data import astronaut

    return astronaut()[args[0] : args[1], args[2] : args[3]] if is_astronaut else simg(*args)


def without(state, prefix):
    return {key.removeprefix(prefix): value for key, value in state.items()}


def encoded(network, images):
    with torch.inference_mode():
        return network.encode(images)


def distances(rows):
    return [np.linalg.norm(rows[i] - rows[j]) for i, j in combinations(range(3), 2)]


def test_deca_outputs(deca, golden, formula_images):
    with torch.inference_mode():
        outputs = deca.flame(torch.from_numpy(formula_images).permute(0, 3, 1, 2) / 255)
    np.testing.assert_allclose(outputs, golden["E_flame_out_formula"], **TOLERANCE)
    parts = dict(zip(E_FLAME, outputs.split(list(E_FLAME.values()), dim=1), strict=True))
    names = {"shape": "shape", "texture": "tex", "expression": "exp", "camera": "cam"}
    for ours, official in names.items():
        np.testing.assert_allclose(parts[ours], golden[f"E_flame_{official}"], **TOLERANCE)
    pose = torch.cat([parts["rotation"], parts["jaw"]], dim=1)
    np.testing.assert_allclose(pose, golden["E_flame_pose"], **TOLERANCE)
    np.testing.assert_allclose(parts["light"].view(-1, 9, 3), golden["E_flame_light"], **TOLERANCE)


def test_deca_columns(deca, golden, formula_images):
    columns = deca.extract(formula_images)
    expected = np.hstack([golden["E_flame_exp"], golden["E_flame_pose"]])
    np.testing.assert_allclose(columns["feature"], expected, **TOLERANCE)
    for k, name in enumerate(("cam_scale", "cam_x", "cam_y")):
        np.testing.assert_allclose(columns[name], golden["E_flame_cam"][:, k], **TOLERANCE)
    assert set(columns) == {"feature", "cam_scale", "cam_x", "cam_y"}


def test_emoca_features(emoca, golden, formula_images):
    feature = emoca.extract(formula_images)["feature"]
    np.testing.assert_allclose(feature[:, EXPRESSION], golden["E_expression_out_formula"], **TOLERANCE)
    np.testing.assert_allclose(feature[:, GLOBAL], golden["E_flame_pose"][:, :3], **TOLERANCE)
    np.testing.assert_allclose(feature[:, JAW], golden["E_flame_pose"][:, 3:], **TOLERANCE)
    assert feature.shape == (2, 56)
    assert feature.dtype == np.float32


def test_emoca_on_official_crops(emoca, golden, float_crops):
    code = encoded(emoca, float_crops)
    np.testing.assert_allclose(code.expression, golden["E_expression_out_crops"], **TOLERANCE)
    np.testing.assert_allclose(code.rotation, golden["pose_global_crops"], **TOLERANCE)
    np.testing.assert_allclose(code.jaw, golden["pose_jaw_crops"], **TOLERANCE)
    pose = torch.cat([code.rotation, code.jaw], dim=1)
    for name, rows in {
        "expression": code.expression,
        "pose6": pose,
        "global3": code.rotation,
        "jaw3": code.jaw,
    }.items():
        np.testing.assert_allclose(distances(rows.numpy()), golden[f"{name}_pair_l2_crops"], **TOLERANCE)


@pytest.fixture(scope="module")
def smirk_golden():
    return case("smirk")


@pytest.fixture(scope="module")
def smirk_images(smirk_golden, formula_images):
    from skimage.transform import warp

    photo = source(smirk_golden["crop_image_args"].tolist(), True)
    inverse = np.linalg.inv(smirk_golden["crop_tform"])
    crop = warp(photo, inverse, output_shape=(224, 224), preserve_range=True).astype(np.uint8)
    assert hashlib.sha256(crop.tobytes()).digest() == smirk_golden["crop_sha256"].tobytes()
    return np.concatenate([formula_images, crop[None]])


def test_smirk_columns(smirk, smirk_golden, smirk_images):
    columns = smirk.extract(smirk_images)
    parts = ("expression_params", "pose_params", "jaw_params")
    expected = np.hstack([smirk_golden[f"out_{part}"] for part in parts])
    np.testing.assert_allclose(columns["feature"], expected, **TOLERANCE)
    scalars = np.hstack([smirk_golden["out_cam"], smirk_golden["out_eyelid_params"]])
    names = ("cam_scale", "cam_x", "cam_y", "eyelid_left", "eyelid_right")
    np.testing.assert_allclose(np.stack([columns[name] for name in names], axis=1), scalars, **TOLERANCE)


def test_smirk_of_swapped_channels_is_the_known_bug(smirk, smirk_golden, smirk_images):
    feature = smirk.extract(smirk_images[2:, ..., ::-1])["feature"]
    np.testing.assert_allclose(feature[:, EXPRESSION], smirk_golden["bgr_input_expression"], **TOLERANCE)


def test_smirk_trunk_features(smirk, smirk_golden, smirk_images):
    images = torch.from_numpy(smirk_images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        maps = smirk.expression["encoder"](images)[-1]
    expected = smirk_golden["features_expression_checks"]
    np.testing.assert_allclose([checks(pooled) for pooled in maps.mean((2, 3))], expected, rtol=1e-4, atol=1e-3)
